//! The world's door: how the edges hand in commands and wait for their results.

use client_protocol::session::Reply;
use client_protocol::{Code, Command, EventBody, Key, RoomId, UserId};
use components::edge::{Control, Input, StoreReply};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// How long REST waits for the world, a little longer than the world lets a request wait.
const REST_TIMEOUT: Duration = Duration::from_millis(client_protocol::limits::REQUEST_TIMEOUT_MS + 500);

/// What has come in since the last tick.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Commands.
    pub commands: VecDeque<Input>,
    /// Sessions and accounts.
    pub control: VecDeque<Control>,
    /// Store replies.
    pub store: VecDeque<StoreReply>,
    /// When the first of them came.
    pub since: Option<Instant>,
}

/// The world as its edges see it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WorldHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    arrivals: Mutex<Arrivals>,
    wake: Notify,
    rest: Mutex<RestWaiters>,
}

#[derive(Debug, Default)]
struct RestWaiters {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way; what is there is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WorldHandle {
    fn put(&self, put: impl FnOnce(&mut Arrivals)) {
        let mut arrivals = lock(&self.shared.arrivals);
        put(&mut arrivals);
        arrivals.since.get_or_insert_with(Instant::now);
        drop(arrivals);
        self.shared.wake.notify_one();
    }

    /// Hands in a command of a session. `false`: the queue is full and it was not taken.
    #[must_use]
    pub fn input(&self, input: Input) -> bool {
        let mut taken = true;
        self.put(|arrivals| {
            taken = arrivals.commands.len() < components::limits::INBOX_COMMANDS_MAX;
            if taken {
                arrivals.commands.push_back(input);
            }
        });
        taken
    }

    /// Says what happened to a session or an account.
    pub fn control(&self, control: Control) {
        self.put(|arrivals| arrivals.control.push_back(control));
    }

    /// Hands in store replies.
    pub fn store_replies(&self, replies: Vec<StoreReply>) {
        self.put(|arrivals| arrivals.store.extend(replies));
    }

    /// Runs a command of `user` (whose token was checked) and waits for its durable result, `outcome_unknown` after a bounded time.
    pub async fn command(&self, user: UserId, command: Command) -> Reply {
        self.ask(|token| Input::Rest { token, user, command: Box::new(command) }).await
    }

    /// Appends an event that the server itself wants, whatever the actor may do, and waits as [`WorldHandle::command`] does.
    pub async fn decree(&self, room: RoomId, actor: UserId, key: Key, body: EventBody) -> Reply {
        self.ask(|token| Input::Server { token, room, actor, key, body: Box::new(body) }).await
    }

    async fn ask(&self, input: impl FnOnce(u64) -> Input) -> Reply {
        let (sender, receiver) = oneshot::channel();
        let token = {
            let mut rest = lock(&self.shared.rest);
            rest.last += 1;
            let token = rest.last;
            rest.waiting.insert(token, sender);
            token
        };
        if !self.input(input(token)) {
            lock(&self.shared.rest).waiting.remove(&token);
            return Reply::retry_after(Code::Overloaded, 1_000);
        }
        match tokio::time::timeout(REST_TIMEOUT, receiver).await {
            Ok(Ok(reply)) => reply,
            _ => {
                lock(&self.shared.rest).waiting.remove(&token);
                Reply::refused(Code::OutcomeUnknown, "no answer in time; send the same key again")
            }
        }
    }

    /// Answers a REST request; nothing happens if it no longer waits.
    pub fn answer(&self, token: u64, reply: Reply) {
        if let Some(sender) = lock(&self.shared.rest).waiting.remove(&token) {
            let _gone = sender.send(reply);
        }
    }

    /// Takes everything that has come in.
    #[must_use]
    pub fn take(&self) -> Arrivals {
        std::mem::take(&mut *lock(&self.shared.arrivals))
    }

    /// Waits until something has come in.
    pub async fn arrived(&self) {
        self.shared.wake.notified().await;
    }
}
