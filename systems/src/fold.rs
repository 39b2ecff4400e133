//! The fold: what a room's log means. One function on plain data, used by the world on its rooms and by stores for their projections,
//! so that both always say the same.
//!
//! The fold is total: every sequence of events has one meaning on every node. An event that has nothing to change (an edit after
//! a delete, a reaction that is there already) changes nothing but the head.

use client_protocol::chat::Body;
use client_protocol::limits::{EDITS_MAX, REACTION_KINDS_MAX, REACTIONS_MAX};
use client_protocol::room::{SettingsTail, kind, role};
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow, membership};

/// A log that cannot be folded: the room is to be left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The next event is not the one after the head.
    #[error("event {found} follows {head}")]
    NotDense {
        /// Seq of the head.
        head: u64,
        /// Seq of the event.
        found: u64,
    },
    /// The event changes authority in a way that this version does not know.
    #[error("event {seq} has kind {kind:#06x}, which this version must understand and does not")]
    MustUnderstand {
        /// Seq of the event.
        seq: u64,
        /// Its kind.
        kind: u16,
    },
}

/// The rows that a log is folded into. The world keeps members only; stores keep all.
pub trait Rows {
    /// A membership, if there ever was one.
    fn member(&self, user: UserId) -> Option<MemberRow>;
    /// Writes one.
    fn put_member(&mut self, row: MemberRow);
    /// Whether the event `seq` is a message, and what it is now. The world answers `None`: it keeps no messages.
    fn message(&self, seq: u64) -> Option<NowRow>;
    /// Writes what a message is now.
    fn put_message(&mut self, seq: u64, now: NowRow);
    /// Blanks the body of the event `seq` (a message or an edit), wherever it is kept.
    fn blank(&mut self, seq: u64);
    /// How far the owner of this own log has read `room`.
    fn mark(&self, room: RoomId) -> Option<MarkRow>;
    /// Writes it.
    fn put_mark(&mut self, room: RoomId, mark: MarkRow);
}

/// Folds one event into the rows.
///
/// # Errors
///
/// [`FoldError`]; then nothing was changed.
pub fn apply(event: &Event, row: &mut RoomRow, rows: &mut impl Rows) -> Result<(), FoldError> {
    let head = &event.head;
    if head.seq != row.head + 1 {
        return Err(FoldError::NotDense { head: row.head, found: head.seq });
    }
    if event.body.stops_old_nodes() {
        return Err(FoldError::MustUnderstand { seq: head.seq, kind: event.body.kind() });
    }
    row.head = head.seq;
    row.message_no = head.message_no;
    row.time_ms = head.time_ms;
    match &event.body {
        EventBody::RoomCreated(created) => {
            row.kind = created.kind;
            row.creator = head.actor;
            row.created_ms = head.time_ms;
            apply_settings(row, &created.settings);
            let owner = if created.kind == kind::DIRECT { role::MEMBER } else { role::OWNER };
            enter(event, row, rows, head.actor, owner);
            for user in &created.members {
                enter(event, row, rows, *user, role::MEMBER);
            }
        }
        EventBody::SettingsChanged(changed) => apply_settings(row, &changed.settings),
        EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) => {
            enter(event, row, rows, changed.user, role::MEMBER);
        }
        EventBody::MemberLeft(changed) => go(event, row, rows, changed.user, membership::LEFT),
        EventBody::MemberKicked(changed) => go(event, row, rows, changed.user, membership::KICKED),
        EventBody::MemberBanned(changed) => go(event, row, rows, changed.user, membership::BANNED),
        EventBody::MemberUnbanned(changed) => {
            if let Some(mut member) = rows.member(changed.user).filter(|member| member.state == membership::BANNED) {
                member.state = membership::KICKED;
                member.seq = head.seq;
                rows.put_member(member);
            }
        }
        EventBody::RoleChanged(changed) => give_role(event, row, rows, changed.user, changed.role),
        EventBody::UserErased(erased) => {
            go(event, row, rows, erased.user, membership::LEFT);
            if let Some(heir) = erased.tail.heir {
                give_role(event, row, rows, heir, role::OWNER);
            }
        }
        EventBody::ReadMarked(marked) => {
            row.kind = kind::SELF;
            let mark = MarkRow { epoch: marked.epoch, seq: marked.seq, message_no: marked.message_no };
            if rows.mark(marked.room).is_none_or(|old| (old.epoch, old.seq) < (mark.epoch, mark.seq)) {
                rows.put_mark(marked.room, mark);
            }
        }
        EventBody::RoomListed(_) | EventBody::RoomUnlisted(_) | EventBody::Notified(_) => row.kind = kind::SELF,
        EventBody::MessagePosted(_) => {}
        body => apply_to_message(event, body, rows),
    }
    Ok(())
}

fn apply_settings(row: &mut RoomRow, settings: &SettingsTail) {
    if let Some(name) = &settings.name {
        row.name.clone_from(name);
    }
    if let Some(topic) = &settings.topic {
        row.topic.clone_from(topic);
    }
    row.post_role = settings.post_role.unwrap_or(row.post_role);
    row.edit_window_s = settings.edit_window_s.unwrap_or(row.edit_window_s);
}

fn enter(event: &Event, row: &mut RoomRow, rows: &mut impl Rows, user: UserId, role: u8) {
    let old = rows.member(user);
    if old.as_ref().is_some_and(MemberRow::is_member) {
        return;
    }
    row.members += 1;
    row.owners += u32::from(role == role::OWNER);
    rows.put_member(MemberRow {
        room: row.room,
        user,
        state: membership::MEMBER,
        role,
        joined_seq: event.head.seq,
        left_seq: 0,
        muted_until_ms: old.map_or(0, |old| old.muted_until_ms),
        seq: event.head.seq,
    });
}

fn give_role(event: &Event, row: &mut RoomRow, rows: &mut impl Rows, user: UserId, role: u8) {
    if let Some(mut member) = rows.member(user).filter(MemberRow::is_member) {
        row.owners -= u32::from(member.role == role::OWNER);
        row.owners += u32::from(role == role::OWNER);
        member.role = role;
        member.seq = event.head.seq;
        rows.put_member(member);
    }
}

fn go(event: &Event, row: &mut RoomRow, rows: &mut impl Rows, user: UserId, state: u8) {
    let seq = event.head.seq;
    match rows.member(user) {
        Some(mut member) if member.is_member() => {
            row.members -= 1;
            row.owners -= u32::from(member.role == role::OWNER);
            member.state = state;
            member.left_seq = seq;
            member.seq = seq;
            rows.put_member(member);
        }
        // Only a ban means something for one who is not there.
        Some(mut member) if state == membership::BANNED => {
            member.state = state;
            member.seq = seq;
            rows.put_member(member);
        }
        None if state == membership::BANNED => rows.put_member(MemberRow {
            room: row.room,
            user,
            state,
            role: role::MEMBER,
            joined_seq: 0,
            left_seq: 0,
            muted_until_ms: 0,
            seq,
        }),
        _ => {}
    }
}

/// Edits, deletes, reactions and pins: what they make of the message.
fn apply_to_message(event: &Event, body: &EventBody, rows: &mut impl Rows) {
    let Some(target) = target_of(body) else { return };
    let Some(mut now) = rows.message(target) else { return };
    let seq = event.head.seq;
    if now.deleted {
        // The body of a late edit must not stay anywhere either.
        if matches!(body, EventBody::MessageEdited(_)) {
            rows.blank(seq);
        }
        return;
    }
    match body {
        EventBody::MessageEdited(edited) => {
            if now.edits.len() >= EDITS_MAX {
                // It changes nothing, so no delete would find its body.
                rows.blank(seq);
                return;
            }
            now.body = Some(edited.body.clone());
            now.edited_ms = event.head.time_ms;
            now.edits.push(seq);
        }
        EventBody::MessageDeleted(_) => {
            rows.blank(target);
            for edit in std::mem::take(&mut now.edits) {
                rows.blank(edit);
            }
            now = NowRow { deleted: true, edited_ms: now.edited_ms, ..NowRow::default() };
        }
        EventBody::ReactionAdded(changed) => {
            if !may_react(&now, event.head.actor, &changed.reaction) {
                return;
            }
            now.reactions.push((changed.reaction.clone(), event.head.actor));
        }
        EventBody::ReactionRemoved(changed) => {
            now.reactions.retain(|(reaction, user)| !(*user == event.head.actor && *reaction == changed.reaction));
        }
        EventBody::MessagePinned(_) => now.pinned = true,
        EventBody::MessageUnpinned(_) => now.pinned = false,
        _ => return,
    }
    now.as_of = seq;
    rows.put_message(target, now);
}

/// What the erase of its actor by event `erased_seq` makes of an event before that: a message is deleted, the body of an edit is gone. Rows
/// follow with [`apply`] at once but for this, which may be much and is done lot by lot; doing it twice changes nothing.
pub fn erase(event: &Event, rows: &mut impl Rows, erased_seq: u64) {
    let seq = event.head.seq;
    match &event.body {
        EventBody::MessageEdited(_) => rows.blank(seq),
        EventBody::MessagePosted(_) => {
            rows.blank(seq);
            erase_message(seq, rows, erased_seq);
        }
        _ => {}
    }
}

/// What [`erase`] makes of the rows of a message.
pub fn erase_message(seq: u64, rows: &mut impl Rows, erased_seq: u64) {
    let Some(now) = rows.message(seq) else { return };
    now.edits.iter().for_each(|edit| rows.blank(*edit));
    // What was done to it between the erase and this has no meaning: it was deleted by then.
    if !now.deleted || now.as_of > erased_seq {
        let edited_ms = now.edited_ms;
        rows.put_message(seq, NowRow { deleted: true, edited_ms, as_of: erased_seq, ..NowRow::default() });
    }
}

/// Whether `user` may add `reaction` to a message: it is not there yet, and the bounds hold.
#[must_use]
pub fn may_react(now: &NowRow, user: UserId, reaction: &str) -> bool {
    let there = now.reactions.iter().any(|(given, by)| given == reaction && *by == user);
    let kind_known = now.reactions.iter().any(|(given, _)| given == reaction);
    let kinds = || {
        let mut kinds: Vec<&str> = now.reactions.iter().map(|(given, _)| given.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.len()
    };
    !there && now.reactions.len() < REACTIONS_MAX && (kind_known || kinds() < REACTION_KINDS_MAX)
}

/// The message that an event is about.
#[must_use]
pub const fn target_of(body: &EventBody) -> Option<u64> {
    match body {
        EventBody::MessageEdited(body) => Some(body.target),
        EventBody::MessageDeleted(body) => Some(body.target),
        EventBody::ReactionAdded(body) | EventBody::ReactionRemoved(body) => Some(body.target),
        EventBody::MessagePinned(body) | EventBody::MessageUnpinned(body) => Some(body.target),
        _ => None,
    }
}

/// The same event without the body that it carried; `None` where it carries none. Seq, kind, actor and key stay.
#[must_use]
pub fn blanked(event: &Event) -> Option<Event> {
    let body = match &event.body {
        EventBody::MessagePosted(posted) => EventBody::MessagePosted(client_protocol::chat::MessagePosted {
            body: Body { format: posted.body.format, bytes: Vec::new() },
            mentions: Vec::new(),
            tail: client_protocol::chat::MessageTail { relation: posted.tail.relation, attachments: None },
        }),
        EventBody::MessageEdited(edited) => EventBody::MessageEdited(client_protocol::chat::BodyEdited {
            body: Body { format: edited.body.format, bytes: Vec::new() },
            ..edited.clone()
        }),
        _ => return None,
    };
    Some(Event { head: event.head.clone(), body })
}
