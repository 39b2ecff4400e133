//! The load harness: starts a server, loads it from a separate process, and reports what it cost.
//!
//! | module | what |
//! |---|---|
//! | [`scenario`], [`presets`] | what is asked of a server: rooms, members, devices, sends a second |
//! | [`schedule`] | when each send is due; made before the run, never moved by what the server does |
//! | [`target`] | the servers that can be measured, and how users and rooms come to be there |
//! | [`load`] | the load process: connections, sends at their due times, what arrives and when |
//! | [`tls`] | how all of them are spoken to in secret |
//! | [`floor`] | what delivering costs at least |
//! | [`control`] | JSON lines between the two processes |
//! | [`procfs`], [`machine`] | what the kernel says about a process and about the machine |
//! | [`capacity`] | whether the system lets us have what a scenario needs |
//! | [`pairs`] | what is compared with what, and what the ratio should be |
//! | [`campaign`], [`ramp`] | rounds of scenarios and targets in turn; the ramp |
//! | [`interrupt`] | what is done when somebody ends it
//! | [`run`] | one round: start, populate, load, sample, stop |
//! | [`report`] | figures, verdict, text and JSON |
//! | [`html`] | the whole campaign as one page |
//!
//! Latency is taken from the time at which a send was due, not from when it was written, so a server that stalls is charged for
//! everything that should have been sent meanwhile. Sender and receiver are the same process, hence the same clock.

pub mod campaign;
pub mod capacity;
pub mod cli;
pub mod control;
pub mod error;
pub mod floor;
pub mod histogram;
pub mod html;
pub mod interrupt;
pub mod limits;
pub mod load;
pub mod machine;
pub mod pairs;
pub mod presets;
pub mod procfs;
pub mod ramp;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod target;
pub mod tls;
