//! A cluster: several nodes on one store, in the same virtual time. Each has clients of its own and faults of its own on its way to the
//! store; the store's data is one.

use super::client::{Client, ClientId, Request};
use super::faults::{Chaos, Rng};
use super::model_store::ModelStore;
use super::run::TICKS_MAX;
use super::scenario::{EPOCH, NODE, Scenario, TICK_US};
use client_protocol::session::Reply;
use client_protocol::{Command, Key, NodeId, UserId};
use components::time::{Node, Tuning};

/// Something of a node: a client, a request, the token of a REST request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct On<T>(pub usize, pub T);

/// Nodes on one store.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Scenario>,
    /// The node in whose store the data is.
    holder: usize,
}

impl Cluster {
    /// So many nodes. One alone has its store to itself.
    #[must_use]
    pub fn new(count: usize, tuning: Tuning) -> Self {
        let node = |n: usize| Node { node: NodeId(NODE.0 + n as u32), epoch: EPOCH, shared_store: count > 1, tuning };
        let nodes = (0..count).map(|n| Scenario::on(node(n), (n as u64) << 48, |_| {})).collect();
        Self { nodes, holder: 0 }
    }

    /// A node, with the data in its store. Its time is that of the cluster: only the cluster lets it pass.
    pub fn at(&mut self, node: usize) -> &mut Scenario {
        if node != self.holder {
            let data = std::mem::take(&mut self.nodes[self.holder].store.model);
            self.nodes[node].store.model = data;
            self.holder = node;
        }
        &mut self.nodes[node]
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Scenario] {
        &self.nodes
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The data.
    #[must_use]
    pub fn model(&self) -> &ModelStore {
        &self.nodes[self.holder].store.model
    }

    /// The data, to be changed behind the nodes' backs.
    pub fn model_mut(&mut self) -> &mut ModelStore {
        &mut self.nodes[self.holder].store.model
    }

    /// Faults by chance from now on, one in so many requests to the store; `None` ends them.
    pub fn chaos(&mut self, chaos: Option<(u64, u64)>) {
        for (at, node) in (0..).zip(&mut self.nodes) {
            node.store.chaos = chaos.map(|(seed, one_in)| Chaos { rng: Rng(seed.wrapping_add(at)), one_in });
        }
    }

    // People and what they do, as in a scenario.

    /// The id of user `n`; they have an account.
    pub fn user(&mut self, n: u8) -> UserId {
        let holder = self.holder;
        self.nodes[holder].user(n)
    }

    /// A new connection of a user to a node.
    pub fn connect(&mut self, node: usize, user: UserId) -> On<ClientId> {
        On(node, self.at(node).connect(user))
    }

    /// A client.
    #[must_use]
    pub fn client(&self, On(node, client): On<ClientId>) -> &Client {
        self.nodes[node].client(client)
    }

    /// Every client that there was.
    pub fn clients(&self) -> impl Iterator<Item = On<ClientId>> + use<> {
        let counts: Vec<_> = self.nodes.iter().map(|node| node.clients.len()).collect();
        counts.into_iter().enumerate().flat_map(|(node, count)| (0..count).map(move |client| On(node, ClientId(client))))
    }

    /// The client breaks off.
    pub fn disconnect(&mut self, On(node, client): On<ClientId>) {
        self.at(node).disconnect(client);
    }

    /// A key that was not used before.
    pub fn key(&mut self) -> Key {
        let holder = self.holder;
        self.nodes[holder].key()
    }

    /// Sends a command.
    pub fn send(&mut self, On(node, client): On<ClientId>, command: Command) -> On<Request> {
        On(node, self.at(node).send(client, command))
    }

    /// The answer to a request, if it has come.
    #[must_use]
    pub fn answer(&self, On(node, request): On<Request>) -> Option<&Reply> {
        self.nodes[node].answer(request)
    }

    /// Sends a command, lets all nodes come to rest, and answers the reply.
    ///
    /// # Panics
    ///
    /// If there is none by then.
    pub fn ask(&mut self, client: On<ClientId>, command: Command) -> Reply {
        let request = self.send(client, command);
        self.run();
        self.answer(request).unwrap_or_else(|| panic!("no answer to {request:?}")).clone()
    }

    // Time.

    /// Every node ticks once; who is first changes.
    pub fn tick(&mut self) {
        for node in self.order() {
            self.at(node).tick();
        }
    }

    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.nodes.len();
        let first = (self.nodes[0].now.mono_us / TICK_US) as usize;
        (0..count).map(move |n| (first + n) % count)
    }

    /// Lets those tick that have something to do; whether there were any.
    fn tick_busy(&mut self) -> bool {
        if !self.nodes.iter().any(Scenario::has_work) {
            return false;
        }
        for node in self.order() {
            if self.nodes[node].has_work() {
                self.at(node).tick();
            } else {
                self.nodes[node].pass(TICK_US);
            }
        }
        true
    }

    fn pass(&mut self, us: u64) {
        for node in &mut self.nodes {
            node.pass(us);
        }
    }

    /// Ticks until nothing is under way anywhere. Timers that are set for later are left.
    ///
    /// # Panics
    ///
    /// If that does not come.
    pub fn run(&mut self) {
        for _ in 0..TICKS_MAX {
            if self.tick_busy() {
                continue;
            }
            let Some(due_us) = self.nodes.iter().filter_map(|node| node.store.next_us()).min() else { return };
            let timer_us = self.nodes.iter().filter_map(|node| node.next_due_us).min().unwrap_or(u64::MAX);
            self.pass(due_us.min(timer_us).saturating_sub(self.nodes[0].now.mono_us).max(1));
        }
        panic!("the nodes do not come to rest");
    }

    /// Lets time pass, with a tick of a node whenever it has something to do.
    ///
    /// # Panics
    ///
    /// If a node never ends what it does.
    pub fn advance(&mut self, ms: u64) {
        let until_us = self.nodes[0].now.mono_us + ms * 1_000;
        for _ in 0..TICKS_MAX {
            let now_us = self.nodes[0].now.mono_us;
            if now_us >= until_us {
                return;
            }
            if !self.tick_busy() {
                let due = |node: &Scenario| [node.store.next_us(), node.next_due_us].into_iter().flatten().min();
                let due_us = self.nodes.iter().filter_map(due).min().unwrap_or(until_us);
                self.pass(due_us.clamp(now_us + 1, until_us) - now_us);
            }
        }
        panic!("the nodes do not come to rest");
    }
}
