//! Identifiers. All but [`NodeId`] are UUIDs (RFC 9562) and travel as their 16 bytes, most significant first.

use crate::codec::library::{DecodeError, Decoder, EncodeError, Encoder};
use crate::codec::{Decode, Encode};
use std::fmt;
use uuid::Uuid;

/// Namespace of the ids that Starling derives by name (UUIDv5, RFC 9562 section 5.5).
pub const NAMESPACE: Uuid = Uuid::from_bytes(*b"starling/ids/v1\0");

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the id.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.0.as_bytes().encode(encoder)
            }
        }

        impl<Context> Decode<Context> for $name {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                <[u8; 16] as Decode<Context>>::decode(decoder).map(Self::from_bytes)
            }
        }

        crate::codec::library::impl_borrow_decode!($name);
    };
}

id! {
    /// A user account, for ever: it stays when the account is erased.
    UserId
}
id! {
    /// A room, or a user's own log (then it equals the user's id).
    RoomId
}
id! {
    /// A login: made by `login`, ended by `logout` or by revocation. Named `sid` in tokens.
    SessionId
}
id! {
    /// An installation of a client. A new connection of a device replaces the one before.
    DeviceId
}
id! {
    /// An idempotency key: (room, actor, key) is unique for ever. Clients make a fresh UUID (v4 or v7) for each command and send it
    /// again with every retry of that command.
    Key
}

impl RoomId {
    /// The id of the one direct room of two users, whichever of them asks: UUIDv5 of the two ids, the smaller one first.
    #[must_use]
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self::derived(b'd', low.bytes(), high.bytes())
    }

    /// The id of the room that `creator` makes with the command `key`: a retry names the same room.
    #[must_use]
    pub fn created(creator: UserId, key: Key) -> Self {
        Self::derived(b'r', creator.bytes(), key.bytes())
    }

    /// The log of the user's own: room lists, read marks, notifications.
    #[must_use]
    pub const fn self_log(user: UserId) -> Self {
        Self(user.0)
    }

    fn derived(what: u8, a: &[u8; 16], b: &[u8; 16]) -> Self {
        let mut name = [what; 33];
        name[1..17].copy_from_slice(a);
        name[17..].copy_from_slice(b);
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }
}

impl Key {
    /// The key that the server gives an event which follows from another one: of `room` and `seq`, of sort `what`.
    #[must_use]
    pub fn derived(what: u8, room: RoomId, seq: u64) -> Self {
        let mut name = [what; 25];
        name[1..17].copy_from_slice(room.bytes());
        name[17..].copy_from_slice(&seq.to_be_bytes());
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// The key for the text of an `Idempotency-Key` header: the UUID where it is one, else a UUIDv5 of the text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Uuid::parse_str(text).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, text.as_bytes())))
    }
}

/// A server process that appends events. Unique within a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct NodeId(pub u32);
