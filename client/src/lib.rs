//! Native client of the Starling chat server.
//!
//! A [`Client`] is a session: it connects over QUIC, reconnects by itself with growing, random waits, follows rooms from a cursor so
//! that no event comes twice and none is missed, sends commands again with the same idempotency key until their outcome is known, and
//! renews its access token before it ends. Every call ends within a bound, every queue has one ([`limits`]).
//!
//! It is not a cache: it keeps no messages, and no state of rooms beyond the cursors of the ones that it follows.
//!
//! ```no_run
//! use starling_client::rest::{Login, Rest};
//! use starling_client::{After, Client, EventBody, NewRoom, RoomItem};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let rest = Rest::new("http://127.0.0.1:8080")?;
//! let login = rest.login(&Login::new("alice", "correct horse battery staple")).await?;
//! let me = login.user.id;
//!
//! let client = Client::builder("127.0.0.1:4433")
//!     .ca_file("data/cert.pem")
//!     .tokens(rest.tokens(login.tokens))
//!     .connect()
//!     .await?;
//!
//! let room = client.create_room(NewRoom::public("Lobby")).await?;
//! let mut events = client.subscribe(room, After::Start).await?;
//! client.post(room, "Hello").await?;
//!
//! while let Some(item) = events.next().await {
//!     match item {
//!         RoomItem::Event(event) => {
//!             if let EventBody::MessagePosted(message) = event.body {
//!                 println!("{} {}: {}", event.head.seq, event.head.actor, String::from_utf8_lossy(&message.body.bytes));
//!                 if event.head.actor == me {
//!                     break;
//!                 }
//!             }
//!         }
//!         RoomItem::Reset { cursor, .. } => println!("missed everything up to {}: read the history", cursor.seq),
//!         RoomItem::Ended { code, .. } => println!("the room ended for us: {code}"),
//!         _ => {}
//!     }
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```

mod backoff;
mod builder;
mod client;
mod commands;
mod connection;
mod cursors;
mod entry;
mod error;
mod items;
pub mod limits;
mod live;
mod pulse;
mod query;
mod requests;
pub mod rest;
mod session;
mod subscription;
mod tls;
mod token;

pub use builder::ClientBuilder;
pub use client::Client;
pub use client_protocol as protocol;
pub use client_protocol::{CloseCode, Code, Command, DeviceId, Event, EventBody, Key, RoomId, UserId};
pub use commands::{NewRoom, Post, command_head, new_key};
pub use connection::transport;
pub use error::{ClientError, TokenError};
pub use items::{SessionItem, SessionItems};
pub use query::Page;
pub use requests::Acked;
pub use subscription::{After, Cursor, RoomEvents, RoomItem};
pub use tls::Trust;
pub use token::{AccessToken, TokenFuture, TokenProvider, TokenRequest};
