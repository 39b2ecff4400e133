//! Access: user x kind of room x verb; what outsiders may know of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{LIVE, SettingsTail, kind, role};
use client_protocol::{Code, Command, Key, RoomId, ServerFrame, UserId};
use systems::testing::{ClientId, EPOCH, Scenario, commands};

/// A room with everyone in it that matters, and someone who is not.
struct Cast {
    s: Scenario,
    room: RoomId,
    users: [UserId; 7],
    clients: [ClientId; 7],
}

const OWNER: usize = 0;
const ADMIN: usize = 1;
const MODERATOR: usize = 2;
const MEMBER: usize = 3;
const LEFT: usize = 4;
const BANNED: usize = 5;
const OUTSIDER: usize = 6;

fn cast(room_kind: u8) -> Cast {
    let mut s = Scenario::new();
    let users = [1, 2, 3, 4, 5, 6, 7].map(|n| s.user(n));
    let clients = users.map(|user| s.connect(user));
    let room = s.create(clients[OWNER], room_kind, &users[1..6]);
    let owner = clients[OWNER];
    for (user, role) in [(ADMIN, role::ADMIN), (MODERATOR, role::MODERATOR)] {
        let key = s.key();
        s.done(owner, commands::set_role(room, key, users[user], role));
    }
    let key = s.key();
    s.done(clients[LEFT], commands::leave(room, key));
    let key = s.key();
    s.done(owner, commands::ban(room, key, users[BANNED]));
    s.posted(clients[MEMBER], room, "a message of the member");
    Cast { s, room, users, clients }
}

impl Cast {
    fn code(&mut self, who: usize, command: impl FnOnce(RoomId, Key, &[UserId; 7], u64) -> Command) -> Code {
        let key = self.s.key();
        // Everyone's own message, if they may have one, else the member's.
        let message = self.s.store.model.head(self.room);
        let command = command(self.room, key, &self.users, message);
        self.s.ask_code(self.clients[who], command)
    }
}

type Make = fn(RoomId, Key, &[UserId; 7], u64) -> Command;

/// A command, and the least role that may do it to a member's message or to a plain member.
const VERBS: [(&str, Make, u8); 11] = [
    ("post", |room, key, _, _| commands::post(room, key, "x"), role::MEMBER),
    ("react", |room, key, _, seq| commands::react(room, key, seq, "+1"), role::MEMBER),
    ("unreact", |room, key, _, seq| commands::unreact(room, key, seq, "+1"), role::MEMBER),
    ("add", |room, key, users, _| commands::add(room, key, users[LEFT]), role::MEMBER),
    ("pin", |room, key, _, seq| commands::pin(room, key, seq), role::MODERATOR),
    ("unpin", |room, key, _, seq| commands::unpin(room, key, seq), role::MODERATOR),
    ("kick", |room, key, users, _| commands::kick(room, key, users[MEMBER]), role::MODERATOR),
    ("ban", |room, key, users, _| commands::ban(room, key, users[MEMBER]), role::MODERATOR),
    ("unban", |room, key, users, _| commands::unban(room, key, users[BANNED]), role::MODERATOR),
    ("settings", |room, key, _, _| commands::update(room, key, SettingsTail::default()), role::ADMIN),
    ("role", |room, key, users, _| commands::set_role(room, key, users[MEMBER], role::MODERATOR), role::ADMIN),
];

#[test]
fn every_verb_needs_its_role() {
    for room_kind in [kind::GROUP, kind::PUBLIC] {
        for (name, make, least) in VERBS {
            for (who, role) in [(OWNER, 4), (ADMIN, 3), (MODERATOR, 2), (MEMBER, 1)] {
                // The member is about whom it is: they do it to themselves, which is another matter.
                if who == MEMBER && matches!(name, "kick" | "ban" | "role") {
                    continue;
                }
                let mut cast = cast(room_kind);
                let code = cast.code(who, make);
                let expected = if role >= least { Code::Ok } else { Code::Forbidden };
                assert_eq!(code, expected, "{name} by role {role} in a room of kind {room_kind}");
            }
        }
    }
}

#[test]
fn outsiders_learn_nothing_of_a_group_and_little_of_a_public_room() {
    for room_kind in [kind::GROUP, kind::PUBLIC] {
        for (name, make, _) in VERBS {
            let mut cast = cast(room_kind);
            for who in [OUTSIDER, LEFT, BANNED] {
                let code = cast.code(who, make);
                let expected = match (room_kind, who) {
                    (kind::GROUP, _) => Code::NotFound,
                    (_, BANNED) => Code::Banned,
                    _ => Code::Forbidden,
                };
                assert_eq!(code, expected, "{name} by {who} in a room of kind {room_kind}");
            }
        }
        let mut cast = cast(room_kind);
        for (who, public) in [(OUTSIDER, Code::Ok), (LEFT, Code::Ok), (BANNED, Code::Banned)] {
            let code = cast.code(who, |room, key, _, _| commands::join(room, key));
            assert_eq!(code, if room_kind == kind::PUBLIC { public } else { Code::NotFound });
        }
    }
}

#[test]
fn a_room_that_is_not_there_and_one_that_is_hidden_answer_alike() {
    let mut cast = cast(kind::GROUP);
    let hidden = cast.room;
    let absent = RoomId::from_bytes([77; 16]);
    for make in [
        |room, key| commands::post(room, key, "x"),
        |room, key| commands::join(room, key),
        |room, key| commands::delete(room, key, 1),
        |room, _| commands::subscribe(room, EPOCH, LIVE),
        |room, _| commands::subscribe(room, EPOCH, 0),
        |room, _| commands::mark(room, 1),
    ] as [fn(RoomId, Key) -> Command; 6]
    {
        let key = cast.s.key();
        let one = cast.s.ask(cast.clients[OUTSIDER], make(hidden, key));
        let other = cast.s.ask(cast.clients[OUTSIDER], make(absent, key));
        assert_eq!(one, other);
        assert_eq!(one.code(), Code::NotFound);
    }
}

#[test]
fn who_may_subscribe() {
    for room_kind in [kind::GROUP, kind::PUBLIC] {
        let mut cast = cast(room_kind);
        let room = cast.room;
        let hidden = |public| if room_kind == kind::PUBLIC { public } else { Code::NotFound };
        for (who, live, start) in [
            (MEMBER, Code::Ok, Code::Ok),
            // Whoever went may still read what they missed of their time there.
            (LEFT, hidden(Code::Forbidden), Code::Ok),
            (BANNED, hidden(Code::Banned), Code::Ok),
            (OUTSIDER, hidden(Code::Forbidden), hidden(Code::Forbidden)),
        ] {
            assert_eq!(cast.s.ask_code(cast.clients[who], commands::subscribe(room, EPOCH, LIVE)), live, "{who}");
            assert_eq!(cast.s.ask_code(cast.clients[who], commands::subscribe(room, EPOCH, 0)), start, "{who}");
        }
        let seen = |who: usize| cast.s.client(cast.clients[who]).seqs(room);
        assert_eq!(seen(LEFT), [1, 2, 3, 4]);
        assert_eq!(seen(BANNED), [1, 2, 3, 4, 5]);
        assert_eq!(seen(MEMBER), [1, 2, 3, 4, 5, 6]);
        let ended = |who: usize| {
            cast.s.client(cast.clients[who]).picked(|frame| match frame {
                ServerFrame::SubscriptionEnded(ended) => Some((ended.last_seq, ended.code)),
                _ => None,
            })
        };
        assert_eq!(ended(LEFT), [(4, Code::NotFound.number())]);
        assert_eq!(ended(BANNED), [(5, Code::Banned.number())]);
    }
}

#[test]
fn ranks_hold_among_those_above_members() {
    let mut cast = cast(kind::GROUP);
    for (who, user, new, expected) in [
        (MODERATOR, ADMIN, role::MEMBER, Code::Forbidden),
        (ADMIN, OWNER, role::MEMBER, Code::Forbidden),
        (ADMIN, MEMBER, role::ADMIN, Code::Forbidden),
        (ADMIN, OUTSIDER, role::MEMBER, Code::NotFound),
        (OWNER, OWNER, role::MEMBER, Code::Conflict),
        (ADMIN, ADMIN, role::OWNER, Code::Conflict),
        (OWNER, ADMIN, role::OWNER, Code::Ok),
        (OWNER, OWNER, role::MEMBER, Code::Ok),
        (ADMIN, ADMIN, role::MODERATOR, Code::Conflict),
    ] {
        let code = cast.code(who, |room, key, users, _| commands::set_role(room, key, users[user], new));
        assert_eq!(code, expected, "{who} gives {user} {new}");
    }
    let code = cast.code(MODERATOR, |room, key, users, _| commands::kick(room, key, users[ADMIN]));
    assert_eq!(code, Code::Forbidden);
    let code = cast.code(MODERATOR, |room, key, users, _| commands::ban(room, key, users[MODERATOR]));
    assert_eq!(code, Code::Conflict, "leave instead");
}

#[test]
fn what_is_so_already_says_since_when() {
    let mut cast = cast(kind::PUBLIC);
    let head = cast.s.store.model.head(cast.room);
    for (who, make, seq) in [
        (MEMBER, (|room, key, _, _| commands::join(room, key)) as Make, 1),
        (OWNER, |room, key, users, _| commands::add(room, key, users[MEMBER]), 1),
        (OWNER, |room, key, users, _| commands::ban(room, key, users[BANNED]), 5),
        (OWNER, |room, key, users, _| commands::set_role(room, key, users[ADMIN], role::ADMIN), 2),
    ] {
        let key = cast.s.key();
        let command = make(cast.room, key, &cast.users, head);
        assert_eq!(cast.s.done(cast.clients[who], command), seq);
    }
    assert_eq!(cast.s.store.model.head(cast.room), head);
}
