//! Commands: everything that changes something. Each call makes an idempotency key, is sent again until its outcome is known, and is
//! therefore done at most once.

use crate::client::Client;
use crate::cursors::Wish;
use crate::error::ClientError;
use crate::limits::TYPING_ROOMS_MAX;
use crate::requests::Acked;
use crate::session::{Order, answered};
use crate::subscription::{After, ReaderSignal, RoomEvents};
use client_protocol::chat::{
    Attachment, Body, EditMessage, MessageTail, PostMessage, React, Relation, TargetMessage, relation,
};
use client_protocol::frame::LENGTH_BYTES;
use client_protocol::limits::TYPING_INTERVAL_MS;
use client_protocol::notification::MarkRead;
use client_protocol::presence::{SetPresence, Typing, WatchPresence};
use client_protocol::room::{
    ChangeMember, CommandHead, CreateRoom, JoinRoom, LeaveRoom, SetRole, SettingsTail, UpdateRoom, kind,
};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Command, Key, RoomId, UserId};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

/// A fresh idempotency key.
#[must_use]
pub fn new_key() -> Key {
    Key(Uuid::now_v7())
}

/// Room and fresh key of a command.
#[must_use]
pub fn command_head(room: RoomId) -> CommandHead {
    CommandHead { room, key: new_key(), retry: false }
}

/// A message to post. A text is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Post {
    /// The body, at most [`client_protocol::limits::BODY_BYTES_MAX`] bytes.
    pub body: Body,
    /// Users that it mentions, at most [`client_protocol::limits::MENTIONS_MAX`].
    pub mentions: Vec<UserId>,
    /// The message of the same room that it answers.
    pub reply_to: Option<u64>,
    /// The message of the same room whose thread it belongs to; not together with `reply_to`.
    pub thread: Option<u64>,
    /// Files that are kept elsewhere, at most [`client_protocol::limits::ATTACHMENTS_MAX`].
    pub attachments: Vec<Attachment>,
    /// The idempotency key, where the caller keeps its own; else one is made. The same key in the same room is the same message.
    pub key: Option<Key>,
}

impl From<&str> for Post {
    fn from(text: &str) -> Self {
        Self { body: Body::text(text), ..Self::default() }
    }
}

impl From<String> for Post {
    fn from(text: String) -> Self {
        Self { body: Body::text(text), ..Self::default() }
    }
}

/// A room to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRoom {
    /// See [`client_protocol::room::kind`].
    pub kind: u8,
    /// First members besides the creator, at most [`client_protocol::limits::FIRST_MEMBERS_MAX`]; a direct room has exactly one.
    pub members: Vec<UserId>,
    /// Name, topic and other settings.
    pub settings: SettingsTail,
    /// The idempotency key, where the caller keeps its own; else one is made.
    pub key: Option<Key>,
}

impl NewRoom {
    /// The direct room with a user.
    #[must_use]
    pub fn direct(user: UserId) -> Self {
        Self { kind: kind::DIRECT, members: vec![user], ..Self::default() }
    }

    /// A room that members are added to.
    #[must_use]
    pub fn group(name: impl Into<String>, members: Vec<UserId>) -> Self {
        let settings = SettingsTail { name: Some(name.into()), ..SettingsTail::default() };
        Self { kind: kind::GROUP, members, settings, key: None }
    }

    /// A room that everybody may join.
    #[must_use]
    pub fn public(name: impl Into<String>) -> Self {
        Self { kind: kind::PUBLIC, ..Self::group(name, Vec::new()) }
    }
}

/// All of these end as [`Client::send`] does.
impl Client {
    /// Sends a command and waits for its outcome. For what the methods below do not cover: keys of one's own, fields of later versions.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`]: nothing was done. [`ClientError::Unknown`]: it may have been done; the same key is safe to send again.
    /// [`ClientError::Timeout`]: it was not sent before the deadline. Else why the session ended.
    pub async fn send(&self, command: Command) -> Result<Acked, ClientError> {
        let deadline = Instant::now() + self.shared.request_deadline;
        let (answer, waiting) = oneshot::channel();
        self.order(Order::Command { command, deadline, answer }, deadline).await?;
        answered(waiting, self).await
    }

    async fn order(&self, order: Order, deadline: Instant) -> Result<(), ClientError> {
        match tokio::time::timeout_at(deadline, self.shared.orders.send(order)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed().await),
            Err(_) => Err(ClientError::Timeout),
        }
    }

    /// Makes a room, or finds it: a direct room exists once, and the same key makes the same room. Its id comes with it.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn create_room(&self, room: NewRoom) -> Result<RoomId, ClientError> {
        let key = room.key.unwrap_or_else(new_key);
        let user = self.user()?;
        let expected = match room.members.as_slice() {
            [peer] if room.kind == kind::DIRECT => RoomId::direct(user, *peer),
            _ => RoomId::created(user, key),
        };
        let command = CreateRoom { key, kind: room.kind, members: room.members, settings: room.settings };
        let acked = self.send(Command::CreateRoom(command)).await?;
        Ok(acked.room.unwrap_or(expected))
    }

    /// Joins a public room.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn join(&self, room: RoomId) -> Result<Acked, ClientError> {
        self.send(Command::JoinRoom(JoinRoom { head: command_head(room), tail: EmptyTail::default() })).await
    }

    /// Leaves a room.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn leave(&self, room: RoomId) -> Result<Acked, ClientError> {
        self.send(Command::LeaveRoom(LeaveRoom { head: command_head(room), tail: EmptyTail::default() })).await
    }

    /// Adds a user to a room.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn add_member(&self, room: RoomId, user: UserId) -> Result<Acked, ClientError> {
        self.send(Command::AddMember(change_member(room, user))).await
    }

    /// Removes a member, who may come back.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn kick(&self, room: RoomId, user: UserId) -> Result<Acked, ClientError> {
        self.send(Command::KickMember(change_member(room, user))).await
    }

    /// Removes a member, or keeps a user out, for good.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn ban(&self, room: RoomId, user: UserId) -> Result<Acked, ClientError> {
        self.send(Command::BanMember(change_member(room, user))).await
    }

    /// Lifts a ban.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn unban(&self, room: RoomId, user: UserId) -> Result<Acked, ClientError> {
        self.send(Command::UnbanMember(change_member(room, user))).await
    }

    /// Gives a member another [`client_protocol::room::role`].
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn set_role(&self, room: RoomId, user: UserId, role: u8) -> Result<Acked, ClientError> {
        let command = SetRole { head: command_head(room), user, role, tail: EmptyTail::default() };
        self.send(Command::SetRole(command)).await
    }

    /// Changes settings; those not given stay.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn update_room(&self, room: RoomId, settings: SettingsTail) -> Result<Acked, ClientError> {
        self.send(Command::UpdateRoom(UpdateRoom { head: command_head(room), settings })).await
    }

    /// Posts a message. Once this returns `Ok`, the message is on stable storage, and its seq will not change.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn post(&self, room: RoomId, post: impl Into<Post>) -> Result<Acked, ClientError> {
        let post = post.into();
        let reply = post.reply_to.map(|seq| Relation { kind: relation::REPLY, seq });
        let thread = post.thread.map(|seq| Relation { kind: relation::THREAD, seq });
        let attachments = (!post.attachments.is_empty()).then_some(post.attachments);
        let head = CommandHead { room, key: post.key.unwrap_or_else(new_key), retry: false };
        let tail = MessageTail { relation: reply.or(thread), attachments };
        let command = PostMessage { head, body: post.body, mentions: post.mentions, tail };
        self.send(Command::PostMessage(command)).await
    }

    /// Replaces the body of one's own message.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn edit(&self, room: RoomId, message: u64, body: Body) -> Result<Acked, ClientError> {
        let command = EditMessage { head: command_head(room), target: message, body, tail: EmptyTail::default() };
        self.send(Command::EditMessage(command)).await
    }

    /// Deletes a message: its body is blanked wherever it was kept.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn delete(&self, room: RoomId, message: u64) -> Result<Acked, ClientError> {
        self.send(Command::DeleteMessage(target(room, message))).await
    }

    /// Adds a reaction: an emoji or a short name, at most [`client_protocol::limits::REACTION_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn react(&self, room: RoomId, message: u64, reaction: impl Into<String>) -> Result<Acked, ClientError> {
        self.send(Command::AddReaction(react(room, message, reaction.into()))).await
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn unreact(&self, room: RoomId, message: u64, reaction: impl Into<String>) -> Result<Acked, ClientError> {
        self.send(Command::RemoveReaction(react(room, message, reaction.into()))).await
    }

    /// Pins a message.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn pin(&self, room: RoomId, message: u64) -> Result<Acked, ClientError> {
        self.send(Command::PinMessage(target(room, message))).await
    }

    /// Unpins a message.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn unpin(&self, room: RoomId, message: u64) -> Result<Acked, ClientError> {
        self.send(Command::UnpinMessage(target(room, message))).await
    }

    /// Moves the read mark up to a seq; it never moves back.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn mark_read(&self, room: RoomId, seq: u64) -> Result<Acked, ClientError> {
        self.send(Command::MarkRead(MarkRead { room, seq, tail: EmptyTail::default() })).await
    }

    /// Watches the presence of these users instead of those before, across reconnects; states come by [`Self::session_items`]. At most
    /// [`client_protocol::limits::PRESENCE_WATCH_MAX`] users.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn watch_presence(&self, users: Vec<UserId>) -> Result<(), ClientError> {
        let command = Command::WatchPresence(WatchPresence { users, tail: EmptyTail::default() });
        self.send(command).await.map(|_| ())
    }

    /// Sets one's own [`client_protocol::presence::state`], across reconnects: online or away.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn set_presence(&self, state: u8) -> Result<(), ClientError> {
        let command = Command::SetPresence(SetPresence { state, tail: EmptyTail::default() });
        self.send(command).await.map(|_| ())
    }

    /// Says that the user types in a room that the session is subscribed to. Lossy: dropped where there is no connection, and sent at most
    /// every three seconds for a room; call it on every key. Returns whether it was sent.
    pub fn typing(&self, room: RoomId) -> bool {
        let now = Instant::now();
        let interval = Duration::from_millis(TYPING_INTERVAL_MS);
        let mut last = self.shared.typing.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&room).is_some_and(|time| now < *time + interval) {
            return false;
        }
        let crate::session::LinkState::Online(link) = self.shared.link.borrow().clone() else { return false };
        let notice = ClientFrame::Typing(Typing { room, tail: EmptyTail::default() }).encode();
        let sent = link.connection.send_datagram(notice.slice(LENGTH_BYTES..)).is_ok();
        if sent {
            last.retain(|_, time| now < *time + interval);
            if last.len() < TYPING_ROOMS_MAX {
                last.insert(room, now);
            }
        }
        sent
    }

    /// Follows a room, or one's own log ([`RoomId::self_log`]): every event after the place given, in order, each once, across
    /// reconnects. One stream a room, and at most [`client_protocol::limits::SUBSCRIPTIONS_MAX`] rooms at a time.
    ///
    /// # Errors
    ///
    /// [`ClientError::AlreadySubscribed`], [`ClientError::Refused`], [`ClientError::Timeout`], or why the session ended.
    pub async fn subscribe(&self, room: RoomId, after: After) -> Result<RoomEvents, ClientError> {
        let deadline = Instant::now() + self.shared.request_deadline;
        let (answer, waiting) = oneshot::channel();
        let signal = ReaderSignal::new(std::sync::Arc::clone(&self.shared.wake));
        self.order(Order::Subscribe(Wish { room, after, deadline, signal, answer }), deadline).await?;
        answered(waiting, self).await
    }
}

fn change_member(room: RoomId, user: UserId) -> ChangeMember {
    ChangeMember { head: command_head(room), user, tail: EmptyTail::default() }
}

fn target(room: RoomId, target: u64) -> TargetMessage {
    TargetMessage { head: command_head(room), target, tail: EmptyTail::default() }
}

fn react(room: RoomId, target: u64, reaction: String) -> React {
    React { head: command_head(room), target, reaction, tail: EmptyTail::default() }
}
