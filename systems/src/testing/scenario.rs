//! A scenario: one core, one store, clients, and time that moves when the test says so.

use super::client::{Client, ClientId, Request};
use super::commands;
use super::faults::FaultyStore;
use crate::core::{Core, Inputs, Outputs};
use bevy_app::App;
use bytes::Bytes;
use client_protocol::frame::LENGTH_BYTES;
use client_protocol::session::Reply;
use client_protocol::{
    ClientFrame, Code, Command, DeviceId, Event, EventBody, Frame, Key, NodeId, RoomId, SessionId, UserId,
};
use components::edge::{Control, Input, Record, SessionHandle, StoreReply};
use components::rows::{AccountRow, account};
use components::time::{Node, Now, Tuning};
use std::collections::BTreeMap;

/// A tick, in microseconds.
pub const TICK_US: u64 = 1_000;
/// Unix time in milliseconds when a scenario begins.
pub const WALL_START_MS: u64 = 1_700_000_000_000;
/// The store's epoch.
pub const EPOCH: u64 = 7;
/// The node under test.
pub const NODE: NodeId = NodeId(1);
/// Text of an event's body, if it is a message or an edit.
pub(super) fn text_of(event: &Event) -> Option<String> {
    let body = match &event.body {
        EventBody::MessagePosted(posted) => &posted.body,
        EventBody::MessageEdited(edited) => &edited.body,
        _ => return None,
    };
    Some(String::from_utf8_lossy(&body.bytes).into_owned())
}

/// A world in virtual time, its store and its clients.
pub struct Scenario {
    pub(super) core: Core,
    /// The store.
    pub store: FaultyStore,
    /// The time of the next tick.
    pub now: Now,
    /// The node.
    pub node: Node,
    pub(super) setup: fn(&mut App),
    pub(super) inputs: Inputs,
    pub(super) outputs: Outputs,
    /// Every client that there was.
    pub clients: Vec<Client>,
    pub(super) by_handle: BTreeMap<SessionHandle, ClientId>,
    /// Answers to REST requests.
    pub rest: BTreeMap<u64, Reply>,
    /// Committed events for other services.
    pub notices: Vec<(RoomId, Record)>,
    last_token: u64,
    last_key: u64,
    pub(super) next_due_us: Option<u64>,
    /// Ticks so far.
    pub ticks: u64,
    /// The last tick's sends of events.
    pub last_sends: usize,
    /// Everything that came out, if it is recorded.
    pub transcript: Option<Vec<u8>>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scenario({:?}, {:?})", self.now, self.core)
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// A world with default bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Tuning::default(), |_| {})
    }

    /// A world with these bounds and more plugins.
    #[must_use]
    pub fn with(tuning: Tuning, setup: fn(&mut App)) -> Self {
        Self::on(Node { node: NODE, epoch: EPOCH, shared_store: false, tuning }, 0, setup)
    }

    /// A world of this node, whose keys come after this one.
    #[must_use]
    pub fn on(node: Node, last_key: u64, setup: fn(&mut App)) -> Self {
        Self {
            core: Core::new(node.clone(), setup),
            store: FaultyStore::default(),
            now: Now { mono_us: 10_000_000, wall_ms: WALL_START_MS },
            node,
            setup,
            inputs: Inputs::default(),
            outputs: Outputs::default(),
            clients: Vec::new(),
            by_handle: BTreeMap::new(),
            rest: BTreeMap::new(),
            notices: Vec::new(),
            last_token: 0,
            last_key,
            next_due_us: None,
            ticks: 0,
            last_sends: 0,
            transcript: None,
        }
    }

    // People and connections.

    /// The id of user `n`; they have an account.
    pub fn user(&mut self, n: u8) -> UserId {
        let user = UserId::from_bytes([n; 16]);
        self.store.model.add_account(user);
        user
    }

    /// A new connection of a user, from a device of its own.
    pub fn connect(&mut self, user: UserId) -> ClientId {
        let device = self.clients.len() as u32;
        self.connect_device(user, device)
    }

    /// A new connection of a user from this device; its token lasts for ten minutes.
    pub fn connect_device(&mut self, user: UserId, device: u32) -> ClientId {
        let expires_ms = self.now.wall_ms + 600_000;
        self.connect_with(user, device, expires_ms)
    }

    /// A new connection with everything said.
    pub fn connect_with(&mut self, user: UserId, device: u32, expires_ms: u64) -> ClientId {
        let id = ClientId(self.clients.len());
        let session = SessionHandle { edge: 0, slot: id.0 as u32, generation: 1 };
        self.clients.push(Client::new(session, user));
        self.by_handle.insert(session, id);
        let status = self.store.model.accounts.get(&user).map_or(account::ACTIVE, |row| row.status);
        self.control(Control::Opened {
            session,
            account: AccountRow { user, status },
            login: Self::login(device),
            device: DeviceId::from_bytes(u128::from(device).to_be_bytes()),
            expires_ms,
            minor: 0,
        });
        id
    }

    /// The login that a device has.
    #[must_use]
    pub const fn login(device: u32) -> SessionId {
        SessionId::from_bytes((device as u128).to_be_bytes())
    }

    /// The client breaks off.
    pub fn disconnect(&mut self, client: ClientId) {
        let client = &mut self.clients[client.0];
        if client.connected {
            client.connected = false;
            let session = client.handle;
            self.control(Control::Closed { session });
        }
    }

    /// The edge says that the client takes nothing for now, or takes something again.
    pub fn block(&mut self, client: ClientId, blocked: bool) {
        let client = &mut self.clients[client.0];
        client.blocked = blocked;
        let session = client.handle;
        self.control(if blocked { Control::Blocked { session } } else { Control::Writable { session } });
    }

    /// Something happens to sessions or accounts.
    pub fn control(&mut self, control: Control) {
        self.inputs.control.push_back(control);
    }

    // Commands.

    /// A key that was not used before.
    pub fn key(&mut self) -> Key {
        self.last_key += 1;
        Key::from_bytes(u128::from(self.last_key).to_be_bytes())
    }

    /// Sends a command.
    pub fn send(&mut self, client: ClientId, command: Command) -> Request {
        let now_us = self.now.mono_us;
        let at = &mut self.clients[client.0];
        at.last_request += 1;
        let request = Request { client, id: at.last_request };
        let frame = command.frame(request.id).slice(LENGTH_BYTES..);
        at.open.insert(request.id, (command, now_us));
        let session = at.handle;
        let Frame { kind, rest } = Frame::parse(frame).unwrap();
        self.inputs.commands.push_back(Input::Frame { session, kind, rest });
        request
    }

    /// Sends a frame of any bytes. If they name a request, it may be answered.
    pub fn send_raw(&mut self, client: ClientId, kind: u16, rest: Bytes) {
        let now_us = self.now.mono_us;
        let at = &mut self.clients[client.0];
        if let Ok((request, _)) = client_protocol::codec::decode_prefix::<u64>(&rest) {
            at.open.entry(request).or_insert((commands::set_presence(0), now_us));
        }
        let session = at.handle;
        self.inputs.commands.push_back(Input::Frame { session, kind, rest });
    }

    /// The store says something that nobody asked for.
    pub fn store_says(&mut self, reply: StoreReply) {
        self.inputs.store.push_back(reply);
    }

    /// The next request of a client, whose frame the test makes itself.
    pub fn expect_answer(&mut self, client: ClientId) -> Request {
        let now_us = self.now.mono_us;
        let at = &mut self.clients[client.0];
        at.last_request += 1;
        at.open.insert(at.last_request, (commands::set_presence(0), now_us));
        Request { client, id: at.last_request }
    }

    /// Takes commands back that no tick has seen, as an edge does that deals with them itself.
    pub fn drop_commands(&mut self) {
        self.inputs.commands.clear();
    }

    /// Sends a datagram.
    pub fn send_datagram(&mut self, client: ClientId, frame: &ClientFrame) {
        self.send_raw_datagram(client, frame.encode().slice(LENGTH_BYTES..));
    }

    /// Sends a datagram of any bytes.
    pub fn send_raw_datagram(&mut self, client: ClientId, bytes: Bytes) {
        let session = self.clients[client.0].handle;
        self.inputs.commands.push_back(Input::Datagram { session, bytes });
    }

    /// Sends a command over REST; answers its token.
    pub fn send_rest(&mut self, user: UserId, command: Command) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        self.inputs.commands.push_back(Input::Rest { token, user, command: Box::new(command) });
        token
    }

    /// Has the server itself append an event; answers its token.
    pub fn send_decree(&mut self, room: RoomId, actor: UserId, body: EventBody) -> u64 {
        self.last_token += 1;
        let (token, key) = (self.last_token, self.key());
        self.inputs.commands.push_back(Input::Server { token, room, actor, key, body: Box::new(body) });
        token
    }

    /// How long inputs of the next tick have waited, in microseconds.
    pub fn queue_wait_us(&mut self, us: u64) {
        self.inputs.queue_wait_us = us;
    }

    // Answers.

    /// The answer to a request, if it has come.
    #[must_use]
    pub fn answer(&self, request: Request) -> Option<&Reply> {
        self.clients[request.client.0].replies.get(&request.id).map(|reply| &reply.0)
    }

    /// The answer to a request.
    ///
    /// # Panics
    ///
    /// If it has not come.
    #[must_use]
    pub fn reply(&self, request: Request) -> &Reply {
        self.answer(request).unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    /// The code of the answer.
    #[must_use]
    pub fn code(&self, request: Request) -> Code {
        self.reply(request).code()
    }

    /// Sends a command, lets the world come to rest, and answers the reply.
    pub fn ask(&mut self, client: ClientId, command: Command) -> Reply {
        let request = self.send(client, command);
        self.run();
        self.reply(request).clone()
    }

    /// As [`Self::ask`]: it must succeed. Answers the seq.
    pub fn done(&mut self, client: ClientId, command: Command) -> u64 {
        let reply = self.ask(client, command);
        assert_eq!(reply.code(), Code::Ok, "{reply:?}");
        reply.seq
    }

    /// As [`Self::ask`]: answers the code.
    pub fn ask_code(&mut self, client: ClientId, command: Command) -> Code {
        self.ask(client, command).code()
    }

    /// Makes a room and waits for it.
    pub fn create(&mut self, client: ClientId, kind: u8, members: &[UserId]) -> RoomId {
        let key = self.key();
        let reply = self.ask(client, commands::create(key, kind, members));
        assert_eq!(reply.code(), Code::Ok, "{reply:?}");
        reply.tail.room.expect("the room's id")
    }

    /// Sends a message; does not wait.
    pub fn post(&mut self, client: ClientId, room: RoomId, text: &str) -> Request {
        let key = self.key();
        self.send(client, commands::post(room, key, text))
    }

    /// Sends a message and waits; answers its seq.
    pub fn posted(&mut self, client: ClientId, room: RoomId, text: &str) -> u64 {
        let key = self.key();
        self.done(client, commands::post(room, key, text))
    }

    /// Subscribes from after this seq and waits.
    pub fn subscribe(&mut self, client: ClientId, room: RoomId, after_seq: u64) {
        let seq = self.ask(client, commands::subscribe(room, EPOCH, after_seq));
        assert_eq!(seq.code(), Code::Ok, "{seq:?}");
    }

    /// A client.
    #[must_use]
    pub fn client(&self, client: ClientId) -> &Client {
        &self.clients[client.0]
    }

    /// How many things are in memory.
    #[must_use]
    pub fn population(&self) -> crate::core::Population {
        self.core.population()
    }

    /// The core, for tests of plugins.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}
