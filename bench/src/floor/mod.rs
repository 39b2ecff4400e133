//! Floors: the least that delivering can cost, to hold Starling against. None of them knows users, stores anything or sees a world.
//!
//! | module | what |
//! |---|---|
//! | [`quic`] | quinn alone: a message is written to the stream of each member of its room |
//! | [`aead`] | for each delivery one seal and one `sendmsg`, nothing else |

pub mod aead;
pub mod quic;
