//! Commands, short: `post(room, key, "hello")`.

use client_protocol::chat::{Body, EditMessage, MessageTail, PostMessage, React, TargetMessage};
use client_protocol::notification::MarkRead;
use client_protocol::presence::{SetPresence, WatchPresence};
use client_protocol::room::{
    ChangeMember, CommandHead, CreateRoom, JoinRoom, LeaveRoom, SetRole, SettingsTail, Subscribe, Unsubscribe, UpdateRoom,
};
use client_protocol::tail::EmptyTail;
use client_protocol::{Command, Key, RoomId, UserId};

const TAIL: EmptyTail = EmptyTail {};

const fn head(room: RoomId, key: Key) -> CommandHead {
    CommandHead { room, key, retry: false }
}

/// Posts a message.
#[must_use]
pub fn post(room: RoomId, key: Key, text: &str) -> Command {
    mention(room, key, text, &[])
}

/// Posts a message that mentions users.
#[must_use]
pub fn mention(room: RoomId, key: Key, text: &str, users: &[UserId]) -> Command {
    let (body, mentions, tail) = (Body::text(text), users.to_vec(), MessageTail::default());
    Command::PostMessage(PostMessage { head: head(room, key), body, mentions, tail })
}

/// Edits a message.
#[must_use]
pub fn edit(room: RoomId, key: Key, target: u64, text: &str) -> Command {
    Command::EditMessage(EditMessage { head: head(room, key), target, body: Body::text(text), tail: TAIL })
}

const fn target(room: RoomId, key: Key, target: u64) -> TargetMessage {
    TargetMessage { head: head(room, key), target, tail: TAIL }
}

/// Deletes a message.
#[must_use]
pub const fn delete(room: RoomId, key: Key, seq: u64) -> Command {
    Command::DeleteMessage(target(room, key, seq))
}

/// Pins a message.
#[must_use]
pub const fn pin(room: RoomId, key: Key, seq: u64) -> Command {
    Command::PinMessage(target(room, key, seq))
}

/// Unpins a message.
#[must_use]
pub const fn unpin(room: RoomId, key: Key, seq: u64) -> Command {
    Command::UnpinMessage(target(room, key, seq))
}

/// Adds a reaction.
#[must_use]
pub fn react(room: RoomId, key: Key, target: u64, reaction: &str) -> Command {
    Command::AddReaction(React { head: head(room, key), target, reaction: reaction.into(), tail: TAIL })
}

/// Takes a reaction back.
#[must_use]
pub fn unreact(room: RoomId, key: Key, target: u64, reaction: &str) -> Command {
    Command::RemoveReaction(React { head: head(room, key), target, reaction: reaction.into(), tail: TAIL })
}

/// Makes a room.
#[must_use]
pub fn create(key: Key, kind: u8, members: &[UserId]) -> Command {
    Command::CreateRoom(CreateRoom { key, kind, members: members.to_vec(), settings: SettingsTail::default() })
}

/// Joins a room.
#[must_use]
pub const fn join(room: RoomId, key: Key) -> Command {
    Command::JoinRoom(JoinRoom { head: head(room, key), tail: TAIL })
}

/// Leaves a room.
#[must_use]
pub const fn leave(room: RoomId, key: Key) -> Command {
    Command::LeaveRoom(LeaveRoom { head: head(room, key), tail: TAIL })
}

const fn member(room: RoomId, key: Key, user: UserId) -> ChangeMember {
    ChangeMember { head: head(room, key), user, tail: TAIL }
}

/// Adds a user.
#[must_use]
pub const fn add(room: RoomId, key: Key, user: UserId) -> Command {
    Command::AddMember(member(room, key, user))
}

/// Removes a member.
#[must_use]
pub const fn kick(room: RoomId, key: Key, user: UserId) -> Command {
    Command::KickMember(member(room, key, user))
}

/// Bans a user.
#[must_use]
pub const fn ban(room: RoomId, key: Key, user: UserId) -> Command {
    Command::BanMember(member(room, key, user))
}

/// Lifts a ban.
#[must_use]
pub const fn unban(room: RoomId, key: Key, user: UserId) -> Command {
    Command::UnbanMember(member(room, key, user))
}

/// Gives a member another role.
#[must_use]
pub const fn set_role(room: RoomId, key: Key, user: UserId, role: u8) -> Command {
    Command::SetRole(SetRole { head: head(room, key), user, role, tail: TAIL })
}

/// Changes settings.
#[must_use]
pub const fn update(room: RoomId, key: Key, settings: SettingsTail) -> Command {
    Command::UpdateRoom(UpdateRoom { head: head(room, key), settings })
}

/// Subscribes from a cursor of this epoch.
#[must_use]
pub const fn subscribe(room: RoomId, epoch: u64, after_seq: u64) -> Command {
    Command::Subscribe(Subscribe { room, epoch, after_seq, tail: TAIL })
}

/// Ends a subscription.
#[must_use]
pub const fn unsubscribe(room: RoomId) -> Command {
    Command::Unsubscribe(Unsubscribe { room, tail: TAIL })
}

/// Moves the read mark.
#[must_use]
pub const fn mark(room: RoomId, seq: u64) -> Command {
    Command::MarkRead(MarkRead { room, seq, tail: TAIL })
}

/// Watches users.
#[must_use]
pub fn watch(users: &[UserId]) -> Command {
    Command::WatchPresence(WatchPresence { users: users.to_vec(), tail: TAIL })
}

/// Sets the own state.
#[must_use]
pub const fn set_presence(state: u8) -> Command {
    Command::SetPresence(SetPresence { state, tail: TAIL })
}

/// The same command, marked as one that may have been sent before.
#[must_use]
pub fn retry(mut command: Command) -> Command {
    if let Some(head) = head_mut(&mut command) {
        head.retry = true;
    }
    command
}

fn head_mut(command: &mut Command) -> Option<&mut CommandHead> {
    Some(match command {
        Command::JoinRoom(command) => &mut command.head,
        Command::LeaveRoom(command) => &mut command.head,
        Command::AddMember(command)
        | Command::KickMember(command)
        | Command::BanMember(command)
        | Command::UnbanMember(command) => &mut command.head,
        Command::SetRole(command) => &mut command.head,
        Command::UpdateRoom(command) => &mut command.head,
        Command::PostMessage(command) => &mut command.head,
        Command::EditMessage(command) => &mut command.head,
        Command::DeleteMessage(command) | Command::PinMessage(command) | Command::UnpinMessage(command) => &mut command.head,
        Command::AddReaction(command) | Command::RemoveReaction(command) => &mut command.head,
        _ => return None,
    })
}

/// Room and key of a command that becomes an event of a room that it names.
#[must_use]
pub fn head_of(command: &Command) -> Option<CommandHead> {
    head_mut(&mut command.clone()).map(|head| *head)
}
