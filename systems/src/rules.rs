//! The rules: who may do what in a room, decided on the durable state at the moment in which the seq is given.
//!
//! Plain functions on plain data. A refusal says as little as the asker may know: outsiders of a room that is not public get
//! `not_found`, whatever they ask.

mod operator;

pub use operator::complete;

use crate::fold::{may_react, target_of};
use client_protocol::limits::{EDITS_MAX, ROOM_MEMBERS_MAX, USER_ROOMS_MAX};
use client_protocol::room::{SettingsTail, kind, role};
use client_protocol::session::Reply;
use client_protocol::{Code, EventBody, RoomId, UserId};
use components::edge::Target;
use components::room::RoomState;
use components::rows::{MemberRow, membership};

/// What the rules answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be appended.
    Append,
    /// There is nothing to append: it is so already, by this event.
    Already {
        /// The event.
        seq: u64,
    },
    /// It is refused.
    Refuse(Reply),
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who.
    pub actor: UserId,
    /// What.
    pub body: &'a EventBody,
    /// The event that it refers to, if it does and there is one.
    pub target: Option<&'a Target>,
    /// What is known of the accounts that it is about (see [`about`]).
    pub accounts: Accounts,
    /// The time that the event would have, Unix time in milliseconds.
    pub time_ms: u64,
    /// Members that events of the same batch bring in.
    pub entering: usize,
    /// One of those who would come in (see [`enters`]) is in as many rooms as a user may be.
    pub crowded: bool,
    /// The server itself asks, for its operator or to erase a user: roles do not matter.
    pub operator: bool,
}

/// What is known of the accounts that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// All are there and active, or there are none to look at.
    Active,
    /// All are there, some are disabled or erased.
    Inactive,
    /// Some are not there.
    Missing,
}

/// The users whose accounts a command needs to look at.
#[must_use]
pub fn about(body: &EventBody) -> &[UserId] {
    match body {
        EventBody::MemberAdded(changed) | EventBody::MemberBanned(changed) => std::slice::from_ref(&changed.user),
        EventBody::RoomCreated(created) => &created.members,
        _ => &[],
    }
}

/// The users who come into a room with an event.
pub fn enters(body: &EventBody, actor: UserId) -> impl Iterator<Item = UserId> {
    let (one, several): (Option<UserId>, &[UserId]) = match body {
        EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) => (Some(changed.user), &[]),
        EventBody::RoomCreated(created) => (Some(actor), &created.members),
        _ => (None, &[]),
    };
    one.into_iter().chain(several.iter().copied().filter(move |user| Some(*user) != one))
}

/// The event of the same room that a command refers to: what it is about, or what it answers.
#[must_use]
pub fn refers_to(body: &EventBody) -> Option<u64> {
    match body {
        EventBody::MessagePosted(posted) => posted.tail.relation.map(|relation| relation.seq),
        other => target_of(other),
    }
}

fn too_many_rooms() -> Verdict {
    refuse(Code::TooManyRooms, &format!("a user is in at most {USER_ROOMS_MAX} rooms"))
}

fn refuse(code: Code, detail: &str) -> Verdict {
    Verdict::Refuse(Reply::refused(code, detail))
}

/// Decides.
#[must_use]
pub fn decide(state: &RoomState, ask: &Ask<'_>) -> Verdict {
    let row = &state.row;
    if let EventBody::RoomCreated(_) = ask.body {
        // The id of a room follows from its creator and key, or from its two users: if it is there, it is the one.
        return match (row.head, ask.accounts) {
            (1.., _) => Verdict::Already { seq: 1 },
            (0, Accounts::Active) if ask.crowded => too_many_rooms(),
            (0, Accounts::Active) => Verdict::Append,
            (0, _) => refuse(Code::NotFound, "no such user among the members"),
        };
    }
    if ask.operator {
        return operator::decide(state, ask.body);
    }
    if RoomId::self_log(ask.actor) == row.room {
        return match ask.body {
            EventBody::RoomListed(_) | EventBody::RoomUnlisted(_) | EventBody::ReadMarked(_) | EventBody::Notified(_) => {
                Verdict::Append
            }
            _ => refuse(Code::Forbidden, "nothing is posted to one's own log"),
        };
    }
    let me = state.members.get(&ask.actor);
    if let Some(refusal) = refuse_outsider(row.head, row.kind, me, ask.body) {
        return refusal;
    }
    match (ask.body, me) {
        (EventBody::MemberJoined(_), _) => decide_join(state, me, ask),
        (_, None) => refuse(Code::NotFound, ""),
        (EventBody::MemberLeft(_), Some(me)) => decide_leave(state, me),
        (EventBody::MemberAdded(changed), Some(me)) => decide_add(state, me, changed.user, ask),
        (EventBody::MemberKicked(changed), Some(me)) => decide_remove(state, me, changed.user, false),
        (EventBody::MemberBanned(changed), Some(me)) => {
            if ask.accounts == Accounts::Missing {
                return refuse(Code::NotFound, "no such user");
            }
            decide_remove(state, me, changed.user, true)
        }
        (EventBody::MemberUnbanned(changed), Some(me)) => decide_unban(state, me, changed.user),
        (EventBody::RoleChanged(changed), Some(me)) => decide_role(state, me, changed.user, changed.role),
        (EventBody::SettingsChanged(changed), Some(me)) => decide_settings(row.kind, me, &changed.settings),
        (EventBody::MessagePosted(_), Some(me)) => {
            if me.role < row.post_role {
                refuse(Code::Forbidden, "the room takes posts from higher roles only")
            } else if refers_to(ask.body).is_some() && ask.target.is_none_or(|target| !target.event.body.is_message()) {
                refuse(Code::NotFound, "no such message to refer to")
            } else {
                mute_or_append(me, ask)
            }
        }
        (_, Some(me)) => decide_about_message(state, me, ask),
    }
}

/// One who is not a member may join a public room, and learns nothing of another one.
fn refuse_outsider(head: u64, room_kind: u8, me: Option<&MemberRow>, body: &EventBody) -> Option<Verdict> {
    if head > 0 && me.is_some_and(MemberRow::is_member) {
        return None;
    }
    let banned = me.is_some_and(|me| me.state == membership::BANNED);
    Some(match (head > 0 && room_kind == kind::PUBLIC, body) {
        (false, _) => refuse(Code::NotFound, ""),
        (true, _) if banned => refuse(Code::Banned, ""),
        (true, EventBody::MemberJoined(_)) => return None,
        (true, _) => refuse(Code::Forbidden, "not a member"),
    })
}

fn decide_join(state: &RoomState, me: Option<&MemberRow>, ask: &Ask<'_>) -> Verdict {
    match me {
        Some(me) if me.is_member() => Verdict::Already { seq: me.joined_seq },
        _ if state.row.members as usize + ask.entering >= ROOM_MEMBERS_MAX => refuse(Code::RoomFull, ""),
        _ if ask.crowded => too_many_rooms(),
        _ => Verdict::Append,
    }
}

fn decide_leave(state: &RoomState, me: &MemberRow) -> Verdict {
    if state.row.kind == kind::DIRECT {
        refuse(Code::Forbidden, "a direct room is not left")
    } else if me.role == role::OWNER && state.row.owners == 1 && state.row.members > 1 {
        refuse(Code::Conflict, "the last owner gives the role to someone else before leaving")
    } else {
        Verdict::Append
    }
}

fn decide_add(state: &RoomState, me: &MemberRow, user: UserId, ask: &Ask<'_>) -> Verdict {
    if state.row.kind == kind::DIRECT {
        return refuse(Code::Forbidden, "a direct room has two members");
    }
    if ask.accounts != Accounts::Active {
        return refuse(Code::NotFound, "no such user");
    }
    match state.members.get(&user) {
        Some(there) if there.is_member() => Verdict::Already { seq: there.joined_seq },
        Some(banned) if banned.state == membership::BANNED && me.role < role::MODERATOR => {
            refuse(Code::Banned, "the user is banned")
        }
        Some(banned) if banned.state == membership::BANNED => {
            refuse(Code::Conflict, "the user is banned: lift the ban first")
        }
        _ if state.row.members as usize + ask.entering >= ROOM_MEMBERS_MAX => refuse(Code::RoomFull, ""),
        _ if ask.crowded => too_many_rooms(),
        _ => Verdict::Append,
    }
}

fn decide_remove(state: &RoomState, me: &MemberRow, user: UserId, ban: bool) -> Verdict {
    if me.role < role::MODERATOR {
        return refuse(Code::Forbidden, "needs the role of moderator");
    }
    if user == me.user {
        return refuse(Code::Conflict, "leave instead");
    }
    match state.members.get(&user) {
        Some(them) if them.is_member() && them.role >= me.role => refuse(Code::Forbidden, "their role is not below yours"),
        Some(them) if them.is_member() => Verdict::Append,
        Some(them) if ban && them.state == membership::BANNED => Verdict::Already { seq: them.seq },
        _ if ban => Verdict::Append,
        _ => refuse(Code::NotFound, "not a member"),
    }
}

fn decide_unban(state: &RoomState, me: &MemberRow, user: UserId) -> Verdict {
    if me.role < role::MODERATOR {
        return refuse(Code::Forbidden, "needs the role of moderator");
    }
    match state.members.get(&user) {
        Some(them) if them.state == membership::BANNED => Verdict::Append,
        _ => refuse(Code::Conflict, "not banned"),
    }
}

fn decide_role(state: &RoomState, me: &MemberRow, user: UserId, new: u8) -> Verdict {
    let Some(them) = state.members.get(&user).filter(|them| them.is_member()) else {
        return refuse(Code::NotFound, "not a member");
    };
    if state.row.kind == kind::DIRECT {
        refuse(Code::Forbidden, "a direct room has no roles")
    } else if them.role == new {
        Verdict::Already { seq: them.seq }
    } else if user == me.user {
        // Whoever steps down themselves needs no rank, but an owner must remain.
        match new < me.role && !(me.role == role::OWNER && state.row.owners == 1) {
            true => Verdict::Append,
            false => refuse(Code::Conflict, "the last owner gives the role to someone else first"),
        }
    } else if me.role == role::OWNER || (me.role == role::ADMIN && them.role < role::ADMIN && new < role::ADMIN) {
        Verdict::Append
    } else {
        refuse(Code::Forbidden, "that role is not below yours")
    }
}

fn decide_settings(room_kind: u8, me: &MemberRow, settings: &SettingsTail) -> Verdict {
    if room_kind == kind::DIRECT {
        refuse(Code::Forbidden, "a direct room has no settings")
    } else if me.role < role::ADMIN {
        refuse(Code::Forbidden, "needs the role of admin")
    } else if settings.post_role.is_some_and(|post_role| post_role > me.role) {
        refuse(Code::Forbidden, "that role is above yours")
    } else {
        Verdict::Append
    }
}

fn mute_or_append(me: &MemberRow, ask: &Ask<'_>) -> Verdict {
    if ask.time_ms < me.muted_until_ms { refuse(Code::Muted, "") } else { Verdict::Append }
}

/// Edits, deletes, reactions and pins.
fn decide_about_message(state: &RoomState, me: &MemberRow, ask: &Ask<'_>) -> Verdict {
    if target_of(ask.body).is_none() {
        return refuse(Code::Forbidden, "not a command of this room");
    }
    let Some(target) = ask.target.filter(|target| target.event.body.is_message()) else {
        return refuse(Code::NotFound, "no such message");
    };
    let mine = target.event.head.actor == ask.actor;
    let now = &target.now;
    if now.deleted {
        return match ask.body {
            EventBody::MessageDeleted(_) => Verdict::Already { seq: now.as_of },
            _ => refuse(Code::MessageDeleted, ""),
        };
    }
    match ask.body {
        EventBody::MessageEdited(_) => {
            let window_ms = u64::from(state.row.edit_window_s) * 1_000;
            if !mine {
                refuse(Code::Forbidden, "only its author edits a message")
            } else if window_ms > 0 && ask.time_ms > target.event.head.time_ms + window_ms {
                refuse(Code::Forbidden, "the time for edits is over")
            } else if now.edits.len() >= EDITS_MAX {
                refuse(Code::LimitReached, "edits")
            } else {
                mute_or_append(me, ask)
            }
        }
        EventBody::MessageDeleted(_) if !mine && me.role < role::MODERATOR => {
            refuse(Code::Forbidden, "only its author and moderators delete a message")
        }
        EventBody::ReactionAdded(changed) => {
            let there = now.reactions.iter().any(|(given, by)| *given == changed.reaction && *by == ask.actor);
            // One that is there is added again, which changes nothing: it may be on its way out.
            if there || may_react(now, ask.actor, &changed.reaction) {
                mute_or_append(me, ask)
            } else {
                refuse(Code::LimitReached, "reactions")
            }
        }
        EventBody::MessagePinned(_) | EventBody::MessageUnpinned(_)
            if me.role < role::MODERATOR && state.row.kind != kind::DIRECT =>
        {
            refuse(Code::Forbidden, "needs the role of moderator")
        }
        _ => Verdict::Append,
    }
}

/// Whether an event may take rights away: nothing more joins its batch.
#[must_use]
pub const fn takes_rights(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::RoomCreated(_)
            | EventBody::MemberLeft(_)
            | EventBody::MemberKicked(_)
            | EventBody::MemberBanned(_)
            | EventBody::RoleChanged(_)
            | EventBody::SettingsChanged(_)
            | EventBody::UserErased(_)
    )
}

/// The user to whom an event gives rights: nothing more of theirs joins its batch.
#[must_use]
pub const fn gives_rights_to(body: &EventBody) -> Option<UserId> {
    match body {
        EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) | EventBody::MemberUnbanned(changed) => {
            Some(changed.user)
        }
        _ => None,
    }
}

/// The user whose membership a command is about, if they are not its actor.
#[must_use]
pub const fn subject(body: &EventBody) -> Option<UserId> {
    match body {
        EventBody::MemberAdded(changed)
        | EventBody::MemberKicked(changed)
        | EventBody::MemberBanned(changed)
        | EventBody::MemberUnbanned(changed) => Some(changed.user),
        EventBody::RoleChanged(changed) => Some(changed.user),
        EventBody::UserErased(erased) => Some(erased.user),
        _ => None,
    }
}

/// The seqs of a room that a user may read: everything while a member, up to their going afterwards.
#[must_use]
pub fn visible_until(member: Option<&MemberRow>) -> Option<u64> {
    match member {
        Some(member) if member.is_member() => Some(u64::MAX),
        Some(member) if member.left_seq > 0 => Some(member.left_seq),
        _ => None,
    }
}
