//! Room: making, joining, leaving, roles, settings; who may do what, and who may know of what.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{LIVE, SettingsTail, kind, role};
use client_protocol::{Code, Command, EventBody, Key, RoomId, ServerFrame, UserId};
use systems::testing::{AppendFault, ClientId, EPOCH, Foreign, Scenario, commands};

/// Makes a command of (room, key, who is asked about, someone else).
type Verb = fn(RoomId, Key, UserId, UserId) -> Command;

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
fn a_direct_room_exists_once_and_has_two_members_for_ever() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let (key_a, key_b) = (s.key(), s.key());
    let one = s.send(a, commands::create(key_a, kind::DIRECT, &[bob]));
    let other = s.send(b, commands::create(key_b, kind::DIRECT, &[alice]));
    s.run();
    let room = RoomId::direct(alice, bob);
    for request in [one, other] {
        assert_eq!((s.code(request), s.reply(request).tail.room), (Code::Ok, Some(room)));
    }
    assert_eq!(s.store.model.head(room), 1);
    let forbidden: [Verb; 6] = [
        |room, key, _, _| commands::leave(room, key),
        |room, key, _, carol| commands::add(room, key, carol),
        |room, key, bob, _| commands::kick(room, key, bob),
        |room, key, bob, _| commands::ban(room, key, bob),
        |room, key, bob, _| commands::set_role(room, key, bob, role::OWNER),
        |room, key, _, _| commands::update(room, key, SettingsTail { name: Some("us".into()), ..SettingsTail::default() }),
    ];
    for make in forbidden {
        let key = s.key();
        assert_eq!(s.ask_code(a, make(room, key, bob, carol)), Code::Forbidden);
    }
    let seq = s.posted(b, room, "pin me");
    let key = s.key();
    s.done(a, commands::pin(room, key, seq));
    for members in [vec![], vec![alice], vec![bob, carol]] {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::create(key, kind::DIRECT, &members)), Code::InvalidField);
    }
}

#[test]
fn a_room_is_made_once_for_a_key() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let key = s.key();
    let one = s.ask(a, commands::create(key, kind::GROUP, &[]));
    s.restart(false);
    let a = s.connect(alice);
    let again = s.ask(a, commands::create(key, kind::GROUP, &[]));
    assert_eq!((one.seq, one.tail.room), (again.seq, again.tail.room));
    assert_eq!(s.store.model.head(one.tail.room.unwrap()), 1);
}

#[test]
fn members_must_exist() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let nobody = UserId::from_bytes([9; 16]);
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::create(key, kind::GROUP, &[nobody])), Code::NotFound);
    let room = s.create(a, kind::GROUP, &[]);
    for make in [commands::add, commands::ban] as [fn(RoomId, Key, UserId) -> Command; 2] {
        let key = s.key();
        assert_eq!(s.ask_code(a, make(room, key, nobody)), Code::NotFound);
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
fn the_last_owner_does_not_leave_others_behind() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::leave(room, key)), Code::Conflict);
    let key = s.key();
    s.done(b, commands::leave(room, key));
    let key = s.key();
    s.done(a, commands::leave(room, key));
    assert_eq!(s.store.model.log(room).row.members, 0);
}

#[test]
fn settings_are_checked_and_kept() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let with = |settings: SettingsTail, code: Code, s: &mut Scenario| {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::update(room, key, settings)), code);
    };
    let none = SettingsTail::default;
    with(SettingsTail { name: Some("n".repeat(129)), ..none() }, Code::TooLarge, &mut s);
    with(SettingsTail { name: Some("a\nb".into()), ..none() }, Code::InvalidField, &mut s);
    with(SettingsTail { topic: Some("t".repeat(1_025)), ..none() }, Code::TooLarge, &mut s);
    with(SettingsTail { post_role: Some(9), ..none() }, Code::InvalidField, &mut s);
    with(SettingsTail { name: Some("name".into()), post_role: Some(role::MODERATOR), ..none() }, Code::Ok, &mut s);
    with(SettingsTail { topic: Some("topic".into()), ..none() }, Code::Ok, &mut s);
    let row = &s.store.model.log(room).row;
    assert_eq!((row.name.as_str(), row.topic.as_str(), row.post_role), ("name", "topic", role::MODERATOR));
    let request = s.post(b, room, "quiet");
    s.run();
    assert_eq!(s.code(request), Code::Forbidden);
    s.posted(a, room, "loud");
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

#[test]
fn a_kick_and_a_post_in_one_tick_have_the_order_of_the_log() {
    for kick_first in [true, false] {
        let mut s = Scenario::new();
        let (alice, bob) = (s.user(1), s.user(2));
        let (a, b) = (s.connect(alice), s.connect(bob));
        let room = s.create(a, kind::PUBLIC, &[bob]);
        let key = s.key();
        let kick = commands::kick(room, key, bob);
        let (kick, post) = if kick_first {
            let kick = s.send(a, kick);
            (kick, s.post(b, room, "too late"))
        } else {
            let post = s.post(b, room, "in time");
            (s.send(a, kick), post)
        };
        s.run();
        assert_eq!(s.code(kick), Code::Ok);
        let log = s.store.model.log(room);
        if kick_first {
            assert_eq!(s.code(post), Code::Forbidden);
            assert_eq!(log.row.head, 2);
        } else {
            assert_eq!(s.code(post), Code::Ok);
            assert!(matches!(log.event(3).unwrap().body, EventBody::MemberKicked(_)));
        }
    }
}

#[test]
fn commands_about_one_who_was_just_added_wait_for_it() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[]);
    let keys = [s.key(), s.key(), s.key(), s.key()];
    let requests = [
        s.send(a, commands::add(room, keys[0], bob)),
        s.send(a, commands::set_role(room, keys[1], bob, role::MODERATOR)),
        s.send(b, commands::post(room, keys[2], "thanks")),
        s.send(a, commands::kick(room, keys[3], bob)),
    ];
    s.run();
    assert_eq!(requests.map(|request| (s.code(request), s.reply(request).seq)), [2, 3, 4, 5].map(|seq| (Code::Ok, seq)));
}

#[test]
fn another_nodes_kick_is_learned_from_the_conflict() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[bob]);
    s.subscribe(b, room, 0);
    let key = s.key();
    let kick = EventBody::MemberKicked(client_protocol::room::MemberChanged {
        user: bob,
        tail: client_protocol::tail::EmptyTail::default(),
    });
    s.store.fail_append(room, AppendFault::conflict(vec![Foreign { actor: alice, key, body: kick }]));
    let request = s.post(b, room, "still here?");
    s.run();
    assert_eq!(s.code(request), Code::Forbidden);
    assert_eq!(s.client(b).seqs(room), [1, 2]);
    assert!(!s.client(b).next.contains_key(&room), "the subscription ended");
}

#[test]
fn an_event_that_must_be_understood_stops_its_room_only() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let strange = s.create(a, kind::GROUP, &[bob]);
    let other = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, strange, 0);
    s.subscribe(b, other, 0);
    let key = s.key();
    let body = EventBody::Unknown { kind: 0x8fff, bytes: vec![0] };
    s.store.fail_append(strange, AppendFault::conflict(vec![Foreign { actor: alice, key, body }]));
    let request = s.post(a, strange, "into the unknown");
    s.run();
    assert_eq!(s.code(request), Code::Unavailable);
    let ended = s.client(b).picked(|frame| match frame {
        ServerFrame::SubscriptionEnded(ended) => Some((ended.room, ended.last_seq, ended.code)),
        _ => None,
    });
    assert_eq!(ended, [(strange, 1, Code::Unavailable.number())]);
    s.posted(a, other, "all well here");
    assert_eq!(s.client(b).texts(other), ["all well here"]);
    // It stays so, also for one who brings it in anew.
    s.advance(120_000);
    assert_eq!(s.ask_code(b, commands::subscribe(strange, EPOCH, 0)), Code::Unavailable);
    let request = s.post(a, strange, "still?");
    s.run();
    assert_eq!(s.code(request), Code::Unavailable);
}

#[test]
fn an_event_of_an_unknown_kind_that_needs_no_understanding_is_passed_on() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, 0);
    let key = s.key();
    let body = EventBody::Unknown { kind: 0x0fff, bytes: vec![1, 2, 3] };
    s.store.fail_append(room, AppendFault::conflict(vec![Foreign { actor: alice, key, body }]));
    s.posted(a, room, "after it");
    assert_eq!(s.client(a).seqs(room), [1, 2, 3]);
}

#[test]
fn rooms_and_users_leave_memory_and_come_back() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    s.posted(a, room, "one");
    s.disconnect(b);
    s.advance(200_000);
    let population = s.population();
    assert_eq!((population.rooms, population.users, population.hot_log_bytes), (0, 1, 0));
    s.posted(a, room, "two");
    let b = s.connect(bob);
    s.subscribe(b, room, 0);
    assert_eq!(s.client(b).texts(room), ["one", "two"]);
    s.disconnect(a);
    s.disconnect(b);
    s.advance(200_000);
    assert_eq!(s.population(), systems::core::Population::default());
}

#[test]
fn a_room_with_a_reader_stays_in_memory() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let expires_ms = s.now.wall_ms + 3_600_000;
    let a = s.connect_with(alice, 1, expires_ms);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, 0);
    s.advance(200_000);
    assert_eq!(s.population().rooms, 1);
    s.done(a, commands::unsubscribe(room));
    s.advance(200_000);
    assert_eq!(s.population().rooms, 0);
}
