//! The real binary as a child process, in a folder of its own, on 127.0.0.1.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod chat;
pub mod process;
pub mod raw;
pub mod scan;
pub mod web;

#[allow(unused_imports)]
pub use process::{Server, Stored};
#[allow(unused_imports)]
pub use raw::{Hooked, Raw};

use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::room::{CommandHead, CreateRoom, SettingsTail, Subscribe, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{Command, Event, EventBody, Key, RoomId, UserId};
use starling_client::rest::{LoggedIn, Registration, Rest};
use std::time::Duration;
use uuid::Uuid;

/// Longer than every step of every test on a busy machine; a step that hangs fails.
pub const STEP: Duration = Duration::from_secs(30);

/// Fails the test if the step takes too long.
pub async fn step<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP, work).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Makes an account.
pub async fn register(server: &Server, name: &str) -> LoggedIn {
    register_at(&Rest::new(&server.rest_url()).unwrap(), name).await
}

/// The same, on any server.
pub async fn register_at(rest: &Rest, name: &str) -> LoggedIn {
    let registration = Registration {
        username: name.into(),
        email: format!("{name}@example.org"),
        password: "a long enough password".into(),
        display_name: None,
    };
    rest.register(&registration).await.unwrap()
}

/// A fresh idempotency key.
pub fn key() -> Key {
    Key(Uuid::new_v4())
}

/// Room and fresh key of a command.
pub fn head(room: RoomId) -> CommandHead {
    CommandHead { room, key: key(), retry: false }
}

/// A message with a key of its own.
pub fn post(room: RoomId, text: &str) -> Command {
    post_as(head(room), text)
}

/// A message.
pub fn post_as(head: CommandHead, text: &str) -> Command {
    Command::PostMessage(PostMessage { head, body: Body::text(text), mentions: Vec::new(), tail: MessageTail::default() })
}

/// A group with these members.
pub fn create_group(key: Key, members: Vec<UserId>) -> Command {
    let settings = SettingsTail { name: Some("Harbour".into()), ..SettingsTail::default() };
    Command::CreateRoom(CreateRoom { key, kind: kind::GROUP, members, settings })
}

/// A subscription from a cursor on.
pub fn subscribe(room: RoomId, epoch: u64, after_seq: u64) -> Command {
    Command::Subscribe(Subscribe { room, epoch, after_seq, tail: EmptyTail::default() })
}

/// The text of a message.
pub fn text_of(event: &Event) -> Option<String> {
    match &event.body {
        EventBody::MessagePosted(posted) => Some(String::from_utf8_lossy(&posted.body.bytes).into_owned()),
        _ => None,
    }
}

/// Small, seeded, the same everywhere: SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
