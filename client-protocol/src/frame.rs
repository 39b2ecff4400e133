//! Frames: the outer layer of every stream and datagram.
//!
//! On a stream a frame is `length` (`u32`, little endian, of what follows), `kind` (`u16`, little endian), then, for requests and
//! their answers, the request's id (varint `u64`), then the body. In a datagram the length is left out. Kinds are numbers with one
//! meaning for ever; a server answers a request of a kind that it does not know with `unknown_kind`, a client skips such frames.

use crate::codec::{self, CodecError, Decode};
use crate::ids::RoomId;
use crate::limits::FRAME_BYTES_MAX;
use crate::tail::EmptyTail;
use crate::{chat, notification, presence, room, session};
use bytes::Bytes;

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of the kind.
pub const KIND_BYTES: usize = 2;

/// A frame that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above the bound.
    #[error("a frame of {length} bytes is above {max}")]
    TooLarge {
        /// The length announced.
        length: usize,
        /// The bound in force.
        max: usize,
    },
    /// The frame is too short to have a kind.
    #[error("a frame of {0} bytes has no kind")]
    TooShort(usize),
    /// The kind is not known here.
    #[error("unknown kind {kind:#06x}")]
    UnknownKind {
        /// The kind.
        kind: u16,
        /// The request's id, where the frame has one.
        request: Option<u64>,
    },
    /// The body cannot be decoded.
    #[error("kind {kind:#06x}: {source}")]
    Body {
        /// The kind.
        kind: u16,
        /// The request's id, where it could be read.
        request: Option<u64>,
        /// Why not.
        source: CodecError,
    },
}

/// A frame whose body is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The kind.
    pub kind: u16,
    /// What follows the kind.
    pub rest: Bytes,
}

impl Frame {
    /// Splits a frame (without its length) into kind and rest.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooShort`] below two bytes.
    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        if frame.len() < KIND_BYTES {
            return Err(FrameError::TooShort(frame.len()));
        }
        let head = frame.split_to(KIND_BYTES);
        Ok(Self { kind: u16::from_le_bytes([head[0], head[1]]), rest: frame })
    }

    /// Splits whole frames off a byte stream: `None` until a whole one is there.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the length is above `max` (at most [`FRAME_BYTES_MAX`]) or too short for a kind.
    pub fn split(buffer: &mut bytes::BytesMut, max: usize) -> Result<Option<Self>, FrameError> {
        let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > max.min(FRAME_BYTES_MAX) {
            return Err(FrameError::TooLarge { length, max: max.min(FRAME_BYTES_MAX) });
        }
        if length < KIND_BYTES {
            return Err(FrameError::TooShort(length));
        }
        if buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let mut whole = buffer.split_to(LENGTH_BYTES + length).freeze();
        let _ = whole.split_to(LENGTH_BYTES);
        Self::parse(whole).map(Some)
    }
}

/// Writes a frame with its length in front.
fn with_length(kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.extend_from_slice(&kind.to_le_bytes());
    write(&mut out);
    let length = (out.len() - LENGTH_BYTES) as u32;
    out[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Bytes::from(out)
}

/// The frame of consecutive `records` (already encoded), the first one being `first_seq`.
#[must_use]
pub fn events_frame(room: RoomId, first_seq: u64, count: u32, records: &[u8]) -> Bytes {
    with_length(kinds::EVENTS, |out| {
        out.reserve(records.len() + 32);
        codec::encode_into(&(room, first_seq, count, EmptyTail {}), out);
        out.extend_from_slice(records);
    })
}

fn decode_events(rest: &Bytes) -> Result<chat::Events, CodecError> {
    let ((room, first_seq, count, _tail), used) = codec::decode_prefix::<(RoomId, u64, u32, EmptyTail)>(rest)?;
    Ok(chat::Events { room, first_seq, count, records: rest.slice(used..) })
}

fn body<T: Decode<()>>(kind: u16, request: Option<u64>, bytes: &[u8]) -> Result<T, FrameError> {
    codec::decode(bytes).map_err(|source| FrameError::Body { kind, request, source })
}

fn request_id(kind: u16, bytes: &[u8]) -> Result<(u64, usize), FrameError> {
    codec::decode_prefix(bytes).map_err(|source| FrameError::Body { kind, request: None, source })
}

macro_rules! requests {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident($ty:ty) = $kind:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_meta])* $variant($ty),)* }

        impl $name {
            /// Every kind: name and number.
            pub const KINDS: &'static [(&'static str, u16)] = &[$((stringify!($variant), $kind),)*];

            /// The number of the kind.
            #[must_use]
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$variant(_) => $kind,)* }
            }

            /// The whole frame of the request `id`, length included.
            #[must_use]
            pub fn frame(&self, id: u64) -> Bytes {
                with_length(self.kind(), |out| {
                    codec::encode_into(&id, out);
                    match self { $(Self::$variant(value) => codec::encode_into(value, out),)* }
                })
            }

            /// Decodes a request: its id and body.
            ///
            /// # Errors
            ///
            /// [`FrameError::UnknownKind`] and [`FrameError::Body`], with the request's id where it can be read.
            pub fn decode(frame: &Frame) -> Result<(u64, Self), FrameError> {
                let (id, used) = request_id(frame.kind, &frame.rest)?;
                let rest = &frame.rest[used..];
                Ok((id, match frame.kind {
                    $($kind => Self::$variant(body($kind, Some(id), rest)?),)*
                    kind => return Err(FrameError::UnknownKind { kind, request: Some(id) }),
                }))
            }
        }
    };
}

requests! {
    /// A request on the session stream.
    Command {
        /// Renews the token.
        Reauth(session::Reauth) = 0x0101;
        /// Makes a room.
        CreateRoom(room::CreateRoom) = 0x0110;
        /// Joins a public room.
        JoinRoom(room::JoinRoom) = 0x0111;
        /// Leaves a room.
        LeaveRoom(room::LeaveRoom) = 0x0112;
        /// Adds a user to a room.
        AddMember(room::ChangeMember) = 0x0113;
        /// Removes a member.
        KickMember(room::ChangeMember) = 0x0114;
        /// Removes a member, or keeps a user out, for good.
        BanMember(room::ChangeMember) = 0x0115;
        /// Lifts a ban.
        UnbanMember(room::ChangeMember) = 0x0116;
        /// Gives a member another role.
        SetRole(room::SetRole) = 0x0117;
        /// Changes settings.
        UpdateRoom(room::UpdateRoom) = 0x0118;
        /// Sends a room's events from a cursor on.
        Subscribe(room::Subscribe) = 0x0120;
        /// Ends that.
        Unsubscribe(room::Unsubscribe) = 0x0121;
        /// Posts a message.
        PostMessage(chat::PostMessage) = 0x0130;
        /// Replaces the body of a message.
        EditMessage(chat::EditMessage) = 0x0131;
        /// Deletes a message.
        DeleteMessage(chat::TargetMessage) = 0x0132;
        /// Adds a reaction.
        AddReaction(chat::React) = 0x0133;
        /// Takes a reaction back.
        RemoveReaction(chat::React) = 0x0134;
        /// Pins a message.
        PinMessage(chat::TargetMessage) = 0x0135;
        /// Unpins a message.
        UnpinMessage(chat::TargetMessage) = 0x0136;
        /// Moves the read mark.
        MarkRead(notification::MarkRead) = 0x0137;
        /// Watches users.
        WatchPresence(presence::WatchPresence) = 0x0140;
        /// Sets the own state.
        SetPresence(presence::SetPresence) = 0x0141;
    }
}

requests! {
    /// A request on a stream of its own, answered on that stream.
    Query {
        /// Messages of a room.
        History(chat::History) = 0x0180;
        /// Members of a room.
        ListMembers(room::ListMembers) = 0x0181;
        /// Rooms of the user.
        ListRooms(room::ListRooms) = 0x0182;
        /// Messages of a room by their words.
        Search(chat::Search) = 0x0183;
    }
}

/// Numbers of the kinds that are no request.
pub mod kinds {
    /// [`crate::session::Hello`].
    pub const HELLO: u16 = 0x0100;
    /// [`crate::session::Reauth`], for edges, which check tokens before the world sees the rest.
    pub const REAUTH: u16 = 0x0101;
    /// [`crate::presence::Typing`].
    pub const TYPING: u16 = 0x0150;
    /// [`crate::session::Welcome`].
    pub const WELCOME: u16 = 0x0200;
    /// [`crate::session::Reply`].
    pub const REPLY: u16 = 0x0201;
    /// [`crate::session::Goaway`].
    pub const GOAWAY: u16 = 0x0202;
    /// [`crate::room::Rooms`], pushed.
    pub const ROOMS: u16 = 0x0210;
    /// [`crate::chat::Events`].
    pub const EVENTS: u16 = 0x0211;
    /// [`crate::room::Bump`].
    pub const BUMP: u16 = 0x0212;
    /// [`crate::room::Reset`].
    pub const RESET: u16 = 0x0213;
    /// [`crate::room::SubscriptionEnded`].
    pub const SUBSCRIPTION_ENDED: u16 = 0x0214;
    /// [`crate::presence::Presence`].
    pub const PRESENCE: u16 = 0x0240;
    /// [`crate::presence::TypingNotice`].
    pub const TYPING_NOTICE: u16 = 0x0250;
    /// [`crate::chat::HistoryPage`], answers a query.
    pub const HISTORY_PAGE: u16 = 0x0280;
    /// [`crate::room::Members`], answers a query.
    pub const MEMBERS_PAGE: u16 = 0x0281;
    /// [`crate::room::Rooms`], answers a query.
    pub const ROOMS_PAGE: u16 = 0x0282;
    /// [`crate::chat::SearchPage`], answers a query.
    pub const SEARCH_PAGE: u16 = 0x0283;
}

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientFrame {
    /// The first frame of a session.
    Hello(session::Hello),
    /// A request on the session stream.
    Request(u64, Command),
    /// A request on a stream of its own.
    Query(u64, Query),
    /// Datagram: the user is typing.
    Typing(presence::Typing),
}

impl ClientFrame {
    /// The whole frame, length included (a datagram leaves the first [`LENGTH_BYTES`] out).
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => with_length(kinds::HELLO, |out| codec::encode_into(hello, out)),
            Self::Request(id, command) => command.frame(*id),
            Self::Query(id, query) => query.frame(*id),
            Self::Typing(typing) => with_length(kinds::TYPING, |out| codec::encode_into(typing, out)),
        }
    }

    /// Decodes a frame from a client.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnknownKind`] and [`FrameError::Body`].
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        match frame.kind {
            kinds::HELLO => body(kinds::HELLO, None, &frame.rest).map(Self::Hello),
            kinds::TYPING => body(kinds::TYPING, None, &frame.rest).map(Self::Typing),
            0x0180..=0x01ff => Query::decode(frame).map(|(id, query)| Self::Query(id, query)),
            _ => Command::decode(frame).map(|(id, command)| Self::Request(id, command)),
        }
    }
}

macro_rules! server_frames {
    (
        plain { $($(#[$plain_meta:meta])* $plain:ident($plain_ty:ty) = $plain_kind:path;)* }
        answers { $($(#[$answer_meta:meta])* $answer:ident($answer_ty:ty) = $answer_kind:path;)* }
    ) => {
        /// A frame from the server.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ServerFrame {
            $($(#[$plain_meta])* $plain($plain_ty),)*
            $($(#[$answer_meta])* $answer(u64, $answer_ty),)*
            /// Events of a room.
            Events(chat::Events),
        }

        impl ServerFrame {
            /// Every kind: name and number.
            pub const KINDS: &'static [(&'static str, u16)] = &[
                $((stringify!($plain), $plain_kind),)*
                $((stringify!($answer), $answer_kind),)*
                ("Events", kinds::EVENTS),
            ];

            /// The whole frame, length included (a datagram leaves the first [`LENGTH_BYTES`] out).
            #[must_use]
            pub fn encode(&self) -> Bytes {
                match self {
                    $(Self::$plain(value) => with_length($plain_kind, |out| codec::encode_into(value, out)),)*
                    $(Self::$answer(id, value) => with_length($answer_kind, |out| {
                        codec::encode_into(id, out);
                        codec::encode_into(value, out);
                    }),)*
                    Self::Events(events) => events_frame(events.room, events.first_seq, events.count, &events.records),
                }
            }

            /// Decodes a frame from the server.
            ///
            /// # Errors
            ///
            /// [`FrameError::UnknownKind`], which a client skips, and [`FrameError::Body`].
            pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
                match frame.kind {
                    $($plain_kind => body(frame.kind, None, &frame.rest).map(Self::$plain),)*
                    $($answer_kind => {
                        let (id, used) = request_id(frame.kind, &frame.rest)?;
                        Ok(Self::$answer(id, body(frame.kind, Some(id), &frame.rest[used..])?))
                    })*
                    kinds::EVENTS => decode_events(&frame.rest)
                        .map(Self::Events)
                        .map_err(|source| FrameError::Body { kind: kinds::EVENTS, request: None, source }),
                    kind => Err(FrameError::UnknownKind { kind, request: None }),
                }
            }
        }
    };
}

server_frames! {
    plain {
        /// Answer to `Hello`.
        Welcome(session::Welcome) = kinds::WELCOME;
        /// The server closes soon.
        Goaway(session::Goaway) = kinds::GOAWAY;
        /// Rooms of the user, after `Welcome`.
        Rooms(room::Rooms) = kinds::ROOMS;
        /// Something happened in a room that the session is not subscribed to.
        Bump(room::Bump) = kinds::BUMP;
        /// A cursor is void.
        Reset(room::Reset) = kinds::RESET;
        /// A subscription ended.
        SubscriptionEnded(room::SubscriptionEnded) = kinds::SUBSCRIPTION_ENDED;
        /// Who came and went.
        Presence(presence::Presence) = kinds::PRESENCE;
        /// Datagram: someone is typing.
        TypingNotice(presence::TypingNotice) = kinds::TYPING_NOTICE;
    }
    answers {
        /// Answer to a request.
        Reply(session::Reply) = kinds::REPLY;
        /// Answer to `Query::History`.
        HistoryPage(chat::HistoryPage) = kinds::HISTORY_PAGE;
        /// Answer to `Query::ListMembers`.
        MembersPage(room::Members) = kinds::MEMBERS_PAGE;
        /// Answer to `Query::ListRooms`.
        RoomsPage(room::Rooms) = kinds::ROOMS_PAGE;
        /// Answer to `Query::Search`.
        SearchPage(chat::SearchPage) = kinds::SEARCH_PAGE;
    }
}
