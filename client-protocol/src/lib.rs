//! The Starling wire protocol: frames, commands, events, codes and limits.
//!
//! This crate is what a client and a server must agree on, and nothing else: it opens no socket, keeps no state and knows no
//! ECS. `docs/protocol.md` describes the same bytes in words, so that clients can be written in any language.
//!
//! One feature has one file, of the same name as in `components` and `systems`: [`session`], [`room`], [`chat`],
//! [`presence`], [`notification`]. Beside them: [`frame`] (the outer layer), [`event`] (records of a room's log), [`mod@tail`] (how a
//! body grows), [`codec`] (the only place that knows the encoding library), [`codes`], [`limits`] and [`ids`].

pub mod chat;
pub mod codec;
pub mod codes;
pub mod event;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod notification;
pub mod presence;
pub mod room;
pub mod session;
pub mod tail;

pub use codec::{CodecError, Decode, Encode};
pub use codes::{CloseCode, Code};
pub use event::{Event, EventBody, EventHead};
pub use frame::{ClientFrame, Command, Frame, FrameError, Query, ServerFrame};
pub use ids::{DeviceId, Key, NodeId, RoomId, SessionId, UserId};

/// ALPN protocol name of the native transport (RFC 7301): QUIC, TLS 1.3.
pub const ALPN: &[u8] = b"starling/1";

/// The minor version of the protocol that this crate speaks. Minor versions only add optional fields and kinds.
pub const MINOR_VERSION: u16 = 0;
