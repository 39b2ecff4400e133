//! What the server itself may do in a room, for its operator or to erase a user: no role is needed, yet a room keeps its owner.

use super::{Verdict, refuse};
use client_protocol::room::{kind, role};
use client_protocol::{Code, EventBody, UserId};
use components::room::RoomState;
use components::rows::{MemberRow, membership};

/// The server itself bans, lifts bans, gives roles and erases, in rooms that there are.
pub(super) fn decide(state: &RoomState, body: &EventBody) -> Verdict {
    let row = &state.row;
    let is_last_owner =
        |member: &MemberRow| member.is_member() && member.role == role::OWNER && row.owners == 1 && row.members > 1;
    let member = |user: &UserId| state.members.get(user);
    match body {
        _ if row.head == 0 || row.kind == kind::SELF => refuse(Code::NotFound, "no such room"),
        EventBody::UserErased(erased) if member(&erased.user).is_none() => refuse(Code::NotFound, "was never there"),
        EventBody::UserErased(_) => Verdict::Append,
        _ if row.kind == kind::DIRECT => refuse(Code::Forbidden, "a direct room has its two users for ever"),
        EventBody::MemberBanned(changed) => match member(&changed.user) {
            Some(there) if there.state == membership::BANNED => Verdict::Already { seq: there.seq },
            Some(there) if is_last_owner(there) => refuse(Code::Conflict, "the last owner; make someone else one first"),
            _ => Verdict::Append,
        },
        EventBody::MemberUnbanned(changed) => match member(&changed.user) {
            Some(there) if there.state == membership::BANNED => Verdict::Append,
            _ => refuse(Code::Conflict, "not banned"),
        },
        EventBody::RoleChanged(changed) => match member(&changed.user) {
            Some(there) if !there.is_member() => refuse(Code::NotFound, "not a member"),
            Some(there) if there.role == changed.role => Verdict::Already { seq: there.seq },
            Some(there) if is_last_owner(there) => refuse(Code::Conflict, "the last owner; make someone else one first"),
            Some(_) => Verdict::Append,
            None => refuse(Code::NotFound, "not a member"),
        },
        _ => refuse(Code::Forbidden, "not for operators"),
    }
}

/// Says in an event what follows from the state on which it is appended: who owns a room whose last owner is erased.
pub fn complete(state: &RoomState, body: &mut EventBody) {
    let EventBody::UserErased(erased) = body else { return };
    let owner = |member: &MemberRow| member.is_member() && member.role == role::OWNER;
    let is_last_owner = state.row.owners == 1 && state.members.get(&erased.user).is_some_and(owner);
    let others = state.members.values().filter(|member| member.is_member() && member.user != erased.user);
    // The highest role, and of those the one who has been there for longest.
    let heir = others.min_by_key(|member| (std::cmp::Reverse(member.role), member.joined_seq, member.user));
    erased.tail.heir = heir.filter(|_| is_last_owner).map(|heir| heir.user);
}
