//! Administration: the tool `starling admin` and what it talks to.
//!
//! The embedded store is locked by the server that has it open, so the tool asks the running server: over a socket in the data folder that only
//! its owner can open (0600). That needs no port, no secret and no TLS, and works on any store. A request is one line of JSON; the answer is
//! lines of JSON, the last of which is `done` or `error`. What works on a store that nobody serves from (restore, copy) opens it itself.
//!
//! | file | what |
//! |---|---|
//! | [`request`] | requests and answers |
//! | [`serve`] | the socket |
//! | [`handle`] | what each request does |
//! | [`verify`] | logs, projections and references compared |
//! | [`backup`] | the stream of a backup |
//! | [`offline`] | restore and copy |
//! | [`cli`], [`tool`], [`show`] | the tool: arguments; what it does; what people see |

pub mod backup;
pub mod cli;
mod handle;
pub mod offline;
pub mod request;
pub mod serve;
mod show;
mod tool;
mod verify;

use crate::auth::Accounts;
use crate::erase::Eraser;
use crate::store::Store;
use crate::world::WorldHandle;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What requests work with.
#[derive(Clone)]
pub struct Admin {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Accounts.
    pub accounts: Arc<Accounts>,
    /// Rooms.
    pub world: WorldHandle,
    /// Erases.
    pub eraser: Eraser,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Where the socket of a data folder is.
#[must_use]
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("admin.sock")
}
