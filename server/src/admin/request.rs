//! What the tool asks, and what it is told. JSON, one object a line, so that a script can talk to the socket too.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A request. A user is named by id, username or e-mail address; a room by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Makes an account.
    CreateUser {
        /// Username.
        username: String,
        /// E-mail address.
        email: String,
        /// Password.
        password: String,
        /// Shown name; the username where there is none.
        display_name: Option<String>,
    },
    /// Sets a password and ends all logins.
    ResetPassword {
        /// Whose.
        user: String,
        /// The new one.
        password: String,
    },
    /// Lists accounts.
    Users {},
    /// Lets an account act, or not.
    SetActive {
        /// Whose.
        user: String,
        /// Whether it may.
        active: bool,
    },
    /// Lists rooms.
    Rooms {},
    /// Bans a user from a room.
    Ban {
        /// The room.
        room: String,
        /// The user.
        user: String,
    },
    /// Lifts a ban.
    Unban {
        /// The room.
        room: String,
        /// The user.
        user: String,
    },
    /// Gives a member a role.
    Role {
        /// The room.
        room: String,
        /// The member.
        user: String,
        /// The role.
        role: crate::rest::rooms::Role,
    },
    /// Everything that is kept of a user.
    Export {
        /// The user.
        user: String,
    },
    /// Erases a user.
    Erase {
        /// The user.
        user: String,
    },
    /// Figures about the store.
    Stats {},
    /// Compares logs, projections and references.
    Verify {},
    /// As `Verify`, and makes projections anew where they differ.
    Rebuild {
        /// Only this room.
        room: Option<String>,
    },
    /// A backup: after the line `backup` come its bytes, and nothing else.
    Backup {},
    /// Has what was overwritten or removed leave the disk.
    Compact {},
}

/// The line that says how far something has come.
#[must_use]
pub fn progress(done: u64, total: u64) -> Value {
    json!({ "type": "progress", "done": done, "total": total })
}

/// The last line, where it went well.
#[must_use]
pub fn done() -> Value {
    json!({ "type": "done" })
}

/// The last line, where it did not.
#[must_use]
pub fn error(code: &str, message: &str) -> Value {
    json!({ "type": "error", "code": code, "message": message })
}
