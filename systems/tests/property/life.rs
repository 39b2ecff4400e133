//! A life: does what the operations say, then lets everything settle and has it checked.

use crate::checks;
use crate::ops::{Act, Flavour, From, Op};
use crate::reference::Reference;
use client_protocol::chat::{Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail, PinChanged, ReactionChanged};
use client_protocol::room::{LIVE, MemberChanged, RoleChanged, SettingsChanged, SettingsTail, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{Command, EventBody, Key, RoomId, UserId};
use components::edge::Control;
use components::time::Tuning;
use std::collections::BTreeMap;
use systems::testing::{ClientId, Cluster, EPOCH, Foreign, On, Request, commands};

const USERS: u8 = 4;
const DEVICES: u8 = 6;

/// A device: at most one connection, and what it knows from earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Device {
    pub(crate) client: Option<On<ClientId>>,
    /// How often it connected: each time to another node.
    pub(crate) connected: usize,
    pub(crate) cursors: BTreeMap<RoomId, u64>,
}

/// A command that was sent, maybe more than once.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) who: u8,
    pub(crate) command: Command,
    /// Each time: the request, and whether it said that it is a retry.
    pub(crate) requests: Vec<(On<Request>, bool)>,
    pub(crate) rest: Vec<On<u64>>,
}

/// A life as it goes on.
pub(crate) struct Life {
    pub(crate) flavour: Flavour,
    pub(crate) s: Cluster,
    pub(crate) users: Vec<UserId>,
    pub(crate) devices: Vec<Device>,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) sent: Vec<Sent>,
}

/// Lives; answers everything that came out.
pub(crate) fn live(seed: u64, flavour: Flavour, ops: &[Op]) -> Vec<u8> {
    let idle_us = if flavour == Flavour::Restarts { 300_000 } else { 2_500_000 };
    let nodes = if let Flavour::Nodes(count) = flavour { count } else { 1 };
    let mut s = Cluster::new(nodes, Tuning { idle_us, ..Tuning::default() });
    (0..nodes).for_each(|node| s.at(node).transcript = Some(Vec::new()));
    let users: Vec<_> = (1..=USERS).map(|n| s.user(n)).collect();
    let devices = (0..DEVICES).map(|_| Device::default()).collect();
    let mut life = Life { flavour, s, users, devices, rooms: Vec::new(), sent: Vec::new() };
    life.begin(seed);
    let one_in = match flavour {
        Flavour::Calm => 0,
        Flavour::Faults => 3,
        Flavour::OtherNode | Flavour::Restarts | Flavour::Nodes(_) => 8,
    };
    life.s.chaos(Some((seed, one_in)));
    for op in ops {
        life.step(*op);
    }
    life.s.chaos(None);
    checks::settle(&mut life);
    (0..nodes).flat_map(|node| life.s.at(node).transcript.take().unwrap()).collect()
}

impl Life {
    fn begin(&mut self, seed: u64) {
        let [a, b, c, _] = self.users[..] else { unreachable!() };
        let first = self.client(0);
        self.rooms = vec![
            self.create(first, kind::PUBLIC, &[b]),
            self.create(first, kind::GROUP, &[b, c]),
            self.create(first, kind::DIRECT, &[b]),
            RoomId::self_log(a),
        ];
        if seed.is_multiple_of(2) {
            // A long log, beyond what hydrating brings along: readers need pages.
            for _ in 0..200 {
                self.foreign(self.rooms[0], a, Act::Post);
            }
            (0..self.s.count()).for_each(|node| self.s.at(node).restart(false));
        }
    }

    fn create(&mut self, client: On<ClientId>, kind: u8, members: &[UserId]) -> RoomId {
        let key = self.s.key();
        self.s.ask(client, commands::create(key, kind, members)).tail.room.unwrap()
    }

    /// Whose device it is: some users have two.
    pub(crate) fn who(device: u8) -> usize {
        usize::from(device % DEVICES % USERS)
    }

    /// The connection of a device, made if need be.
    pub(crate) fn client(&mut self, device: u8) -> On<ClientId> {
        let at = usize::from(device % DEVICES);
        if let Some(client) = self.devices[at].client {
            if self.s.client(client).connected {
                return client;
            }
            self.remember(at);
        }
        let node = (at + self.devices[at].connected) % self.s.count();
        self.devices[at].connected += 1;
        let client = On(node, self.s.at(node).connect_device(self.users[Self::who(device)], at as u32));
        self.devices[at].client = Some(client);
        client
    }

    /// What the last connection knew, the next one goes on from.
    fn remember(&mut self, at: usize) {
        if let Some(client) = self.devices[at].client.take() {
            let next = &self.s.client(client).next;
            self.devices[at].cursors.extend(next.iter().map(|(room, next)| (*room, next - 1)));
        }
    }

    fn room(&self, room: u8) -> RoomId {
        self.rooms[usize::from(room) % self.rooms.len()]
    }

    fn user(&self, user: u8) -> UserId {
        self.users[usize::from(user % USERS)]
    }

    fn target(&self, room: RoomId, near: u8) -> u64 {
        // Mostly near the head, sometimes nothing that is there.
        (self.s.model().head(room) + 1).saturating_sub(u64::from(near % 8))
    }

    pub(crate) fn command(&mut self, room: RoomId, act: Act) -> Command {
        let key = self.s.key();
        match act {
            Act::Post => commands::post(room, key, "text"),
            Act::Mention(user) => commands::mention(room, key, "you", &[self.user(user)]),
            Act::Edit(near) => commands::edit(room, key, self.target(room, near), "edited"),
            Act::Delete(near) => commands::delete(room, key, self.target(room, near)),
            Act::React(near) => commands::react(room, key, self.target(room, near), "+1"),
            Act::Unreact(near) => commands::unreact(room, key, self.target(room, near), "+1"),
            Act::Pin(near) => commands::pin(room, key, self.target(room, near)),
            Act::Unpin(near) => commands::unpin(room, key, self.target(room, near)),
            Act::Join => commands::join(room, key),
            Act::Leave => commands::leave(room, key),
            Act::Add(user) => commands::add(room, key, self.user(user)),
            Act::Kick(user) => commands::kick(room, key, self.user(user)),
            Act::Ban(user) => commands::ban(room, key, self.user(user)),
            Act::Unban(user) => commands::unban(room, key, self.user(user)),
            Act::SetRole(user, role) => commands::set_role(room, key, self.user(user), role),
            Act::PostRole(role) => {
                commands::update(room, key, SettingsTail { post_role: Some(role), ..SettingsTail::default() })
            }
        }
    }

    fn send(&mut self, device: u8, command: Command) {
        let client = self.client(device);
        let request = self.s.send(client, command.clone());
        let who = Self::who(device) as u8;
        self.sent.push(Sent { who, command, requests: vec![(request, false)], rest: Vec::new() });
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Act { who, room, act } => {
                let command = self.command(self.room(room), act);
                self.send(who, command);
            }
            Op::Rest { who, room, act } => {
                let command = self.command(self.room(room), act);
                let who = Self::who(who) as u8;
                // Whichever node takes it.
                let node = usize::from(room) % self.s.count();
                let user = self.user(who);
                let token = On(node, self.s.at(node).send_rest(user, command.clone()));
                self.sent.push(Sent { who, command, requests: Vec::new(), rest: vec![token] });
            }
            Op::Retry { which, flag } => self.retry(which, flag),
            Op::Create { who, kind, member } => {
                let (key, members) = (self.s.key(), [self.user(member)]);
                let user = self.users[Self::who(who)];
                self.send(who, commands::create(key, kind, &members));
                let made = if kind == kind::DIRECT { RoomId::direct(user, members[0]) } else { RoomId::created(user, key) };
                if !self.rooms.contains(&made) && user != members[0] {
                    self.rooms.push(made);
                }
            }
            Op::Subscribe { who, room, from } => self.subscribe(who, self.room(room), from),
            Op::Unsubscribe { who, room } => self.send(who, commands::unsubscribe(self.room(room))),
            Op::Mark { who, room, seq } => {
                let room = self.room(room);
                let seq = self.target(room, seq);
                self.send(who, commands::mark(room, seq));
            }
            Op::Block { who, blocked } => {
                let On(node, client) = self.client(who);
                self.s.at(node).block(client, blocked);
            }
            Op::Disconnect { who } => {
                if let Some(client) = self.devices[usize::from(who % DEVICES)].client {
                    self.s.disconnect(client);
                    self.remember(usize::from(who % DEVICES));
                }
            }
            Op::Watch { who } => self.send(who, commands::watch(&self.users.clone())),
            Op::Ticks(count) => (0..count).for_each(|_| self.s.tick()),
            Op::Wait { ms } => self.s.advance(u64::from(ms)),
            Op::Foreign { room, who, act } => self.foreign(self.room(room), self.user(who), act),
            Op::ForeignRetry { which } => self.foreign_retry(which),
            Op::Revoke { who } => {
                let revoked = Control::LoginRevoked { user: self.user(who), login: None };
                (0..self.s.count()).for_each(|node| self.s.at(node).control(revoked.clone()));
            }
            Op::Clock { node, back, ms } => {
                let node = usize::from(node) % self.s.count();
                let wall_ms = &mut self.s.at(node).now.wall_ms;
                *wall_ms = if back { *wall_ms - u64::from(ms) } else { *wall_ms + u64::from(ms) };
            }
            Op::Restart { node, late } => {
                let node = usize::from(node) % self.s.count();
                self.s.at(node).restart(late);
                for at in 0..self.devices.len() {
                    if self.devices[at].client.is_some_and(|client| client.0 == node) {
                        self.remember(at);
                    }
                }
                self.s.at(node).sweep();
            }
        }
    }

    fn retry(&mut self, which: u8, flag: bool) {
        if self.sent.is_empty() {
            return;
        }
        let at = usize::from(which) % self.sent.len();
        let (who, command) = (self.sent[at].who, self.sent[at].command.clone());
        let command = if flag { commands::retry(command) } else { command };
        let client = self.client(who);
        let request = self.s.send(client, command);
        self.sent[at].requests.push((request, flag));
    }

    fn subscribe(&mut self, who: u8, room: RoomId, from: From) {
        let client = self.client(who);
        let device = &self.devices[usize::from(who % DEVICES)];
        let live = self.s.client(client).next.get(&room).map(|next| next - 1);
        let known = live.or_else(|| device.cursors.get(&room).copied()).unwrap_or(0);
        let (epoch, after) = match from {
            From::Cursor => (EPOCH, known),
            From::Start => (EPOCH, 0),
            From::Live => (EPOCH, LIVE),
            From::Ahead => (EPOCH, self.s.model().head(room) + 3),
            From::OtherEpoch => (EPOCH + 1, known),
        };
        self.send(who, commands::subscribe(room, epoch, after));
    }

    /// The other node does what is allowed there: it knows the whole log.
    fn foreign(&mut self, room: RoomId, actor: UserId, act: Act) {
        let command = self.command(room, act);
        let key = commands::head_of(&command).map_or_else(|| self.s.key(), |head| head.key);
        self.foreign_command(room, actor, key, &command);
    }

    fn foreign_retry(&mut self, which: u8) {
        if self.sent.is_empty() {
            return;
        }
        let sent = &self.sent[usize::from(which) % self.sent.len()];
        let (actor, command) = (self.user(sent.who), sent.command.clone());
        if let Some(head) = commands::head_of(&command) {
            self.foreign_command(head.room, actor, head.key, &command);
        }
    }

    fn foreign_command(&mut self, room: RoomId, actor: UserId, key: Key, command: &Command) {
        let Some(log) = self.s.model().rooms.get(&room) else { return };
        if self.users.iter().any(|user| RoomId::self_log(*user) == room) {
            return;
        }
        let reference = Reference::of(&log.events);
        let Some(body) = body_of(actor, command).filter(|body| reference.allows(actor, body)) else { return };
        let wall_ms = self.s.nodes()[0].now.wall_ms;
        self.s.model_mut().append_foreign(room, Foreign { actor, key, body }, wall_ms);
    }
}

/// The event that a command asks for.
fn body_of(actor: UserId, command: &Command) -> Option<EventBody> {
    const TAIL: EmptyTail = EmptyTail {};
    let changed = |user| MemberChanged { user, tail: TAIL };
    Some(match command {
        Command::PostMessage(post) => EventBody::MessagePosted(MessagePosted {
            body: post.body.clone(),
            mentions: post.mentions.clone(),
            tail: MessageTail::default(),
        }),
        Command::EditMessage(edit) => {
            EventBody::MessageEdited(BodyEdited { target: edit.target, body: Body::text("elsewhere"), tail: TAIL })
        }
        Command::DeleteMessage(delete) => EventBody::MessageDeleted(MessageDeleted { target: delete.target, tail: TAIL }),
        Command::AddReaction(react) => {
            EventBody::ReactionAdded(ReactionChanged { target: react.target, reaction: react.reaction.clone(), tail: TAIL })
        }
        Command::PinMessage(pin) => EventBody::MessagePinned(PinChanged { target: pin.target, tail: TAIL }),
        Command::JoinRoom(_) => EventBody::MemberJoined(changed(actor)),
        Command::LeaveRoom(_) => EventBody::MemberLeft(changed(actor)),
        Command::AddMember(add) => EventBody::MemberAdded(changed(add.user)),
        Command::KickMember(kick) => EventBody::MemberKicked(changed(kick.user)),
        Command::BanMember(ban) => EventBody::MemberBanned(changed(ban.user)),
        Command::UnbanMember(unban) => EventBody::MemberUnbanned(changed(unban.user)),
        Command::SetRole(set) => EventBody::RoleChanged(RoleChanged { user: set.user, role: set.role, tail: TAIL }),
        Command::UpdateRoom(update) => EventBody::SettingsChanged(SettingsChanged { settings: update.settings.clone() }),
        _ => return None,
    })
}
