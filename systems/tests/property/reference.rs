//! The reference: who is what in a room, and what they may do, written a second time and shorter. It reads a whole log and knows
//! nothing of how the world decides.

use client_protocol::room::{kind, role};
use client_protocol::{Event, EventBody, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// A room after some of its events.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// Kind of the room; 0 before its first event.
    pub(crate) kind: u8,
    /// Lowest role that may post.
    pub(crate) post_role: u8,
    /// Members now, and their roles.
    pub(crate) roles: BTreeMap<UserId, u8>,
    /// Banned users.
    pub(crate) banned: BTreeSet<UserId>,
    /// Messages: who wrote them, and whether they are deleted.
    pub(crate) messages: BTreeMap<u64, (UserId, bool)>,
    /// How many messages there are.
    pub(crate) message_no: u64,
    head: u64,
    time_ms: u64,
}

impl Reference {
    /// Reads a whole log.
    pub(crate) fn of(log: &[Event]) -> Self {
        let mut room = Self::default();
        for event in log {
            room.take(event);
        }
        room
    }

    fn role(&self, user: UserId) -> u8 {
        self.roles.get(&user).copied().unwrap_or(0)
    }

    fn owners(&self) -> usize {
        self.roles.values().filter(|role| **role == role::OWNER).count()
    }

    /// Whether `actor` may do this now.
    pub(crate) fn allows(&self, actor: UserId, body: &EventBody) -> bool {
        let me = self.role(actor);
        let direct = self.kind == kind::DIRECT;
        let author = |seq: &u64| self.messages.get(seq).map(|message| message.0);
        if let EventBody::RoomCreated(_) = body {
            return self.kind == 0;
        }
        if let EventBody::MemberJoined(_) = body {
            return self.kind == kind::PUBLIC && !self.banned.contains(&actor);
        }
        if me == 0 {
            return false;
        }
        let below = |user: &UserId| me >= role::MODERATOR && self.role(*user) < me;
        match body {
            EventBody::MemberLeft(_) => !direct && (me < role::OWNER || self.owners() > 1 || self.roles.len() == 1),
            EventBody::MemberAdded(changed) => !direct && !self.banned.contains(&changed.user),
            EventBody::MemberKicked(changed) => self.role(changed.user) > 0 && below(&changed.user),
            EventBody::MemberBanned(changed) => below(&changed.user),
            EventBody::MemberUnbanned(changed) => me >= role::MODERATOR && self.banned.contains(&changed.user),
            EventBody::RoleChanged(changed) => {
                let them = self.role(changed.user);
                let own_step_down = changed.user == actor && changed.role < me && (me < role::OWNER || self.owners() > 1);
                let admin = me == role::ADMIN && them < role::ADMIN && changed.role < role::ADMIN;
                let other = changed.user != actor && (me == role::OWNER || admin);
                !direct && them > 0 && (own_step_down || other)
            }
            EventBody::SettingsChanged(changed) => {
                !direct && me >= role::ADMIN && changed.settings.post_role.is_none_or(|role| role <= me)
            }
            EventBody::MessagePosted(_) => me >= self.post_role,
            EventBody::MessageEdited(edit) => author(&edit.target) == Some(actor),
            EventBody::MessageDeleted(delete) => {
                author(&delete.target).is_some_and(|author| author == actor || me >= role::MODERATOR)
            }
            EventBody::ReactionAdded(change) | EventBody::ReactionRemoved(change) => author(&change.target).is_some(),
            EventBody::MessagePinned(change) | EventBody::MessageUnpinned(change) => {
                author(&change.target).is_some() && (direct || me >= role::MODERATOR)
            }
            _ => false,
        }
    }

    /// The next event: it must be dense, later, counted, and allowed.
    pub(crate) fn take(&mut self, event: &Event) {
        let head = &event.head;
        assert_eq!(head.seq, self.head + 1, "P2: the log is dense");
        assert!(head.time_ms >= self.time_ms, "P5: time never goes back");
        assert!(self.allows(head.actor, &event.body), "P5: the log allows what is in it: {event:?} after {self:?}");
        self.message_no += u64::from(event.body.is_message());
        assert_eq!(head.message_no, self.message_no, "P8: messages are counted without a gap");
        self.head = head.seq;
        self.time_ms = head.time_ms;
        match &event.body {
            EventBody::RoomCreated(created) => {
                self.kind = created.kind;
                self.post_role = created.settings.post_role.unwrap_or(role::MEMBER);
                let first = if created.kind == kind::DIRECT { role::MEMBER } else { role::OWNER };
                self.roles.extend(created.members.iter().map(|user| (*user, role::MEMBER)));
                self.roles.insert(head.actor, first);
            }
            EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) => {
                self.roles.entry(changed.user).or_insert(role::MEMBER);
            }
            EventBody::MemberLeft(changed) | EventBody::MemberKicked(changed) => {
                self.roles.remove(&changed.user);
            }
            EventBody::MemberBanned(changed) => {
                self.roles.remove(&changed.user);
                self.banned.insert(changed.user);
            }
            EventBody::MemberUnbanned(changed) => {
                self.banned.remove(&changed.user);
            }
            EventBody::RoleChanged(changed) => {
                self.roles.insert(changed.user, changed.role);
            }
            EventBody::SettingsChanged(changed) => {
                self.post_role = changed.settings.post_role.unwrap_or(self.post_role);
            }
            EventBody::MessagePosted(_) => {
                self.messages.insert(head.seq, (head.actor, false));
            }
            EventBody::MessageDeleted(delete) => {
                if let Some(message) = self.messages.get_mut(&delete.target) {
                    message.1 = true;
                }
            }
            _ => {}
        }
    }
}
