//! Stores: where logs, their projections and accounts are kept.
//!
//! One trait, [`Store`], and one conformance suite (`server/tests/store_conformance.rs`) that runs against every implementation. The
//! world talks to a store through [`Store::submit`] and the sink given to [`Store::connect`]: plain requests out, plain replies in,
//! no call that blocks. Everything else here is for REST and queries.
//!
//! What a store must hold (DESIGN: the one write): an append is durable before it is answered; the log of a room is dense; (room, actor,
//! key) is unique; what is not known is said to be in doubt, never guessed.

mod blocks;
pub mod check;
pub mod dump;
pub mod embedded;
pub mod lots;
pub mod mongo;
mod shown;
pub mod words;

use client_protocol::chat::{HistoryPage, Message, SearchPage};
use client_protocol::room::{MemberEntry, RoomEntry};
use client_protocol::{Decode, Encode, Key, NodeId, RoomId, SessionId, UserId};
use components::edge::{AppendRequest, ReadRequest, StoreReply};
use components::rows::{MemberRow, RoomRow};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Work of one tick, handed to the store.
#[derive(Debug, Default)]
pub struct StoreWork {
    /// Appends, at most one open for a room.
    pub appends: Vec<AppendRequest>,
    /// Reads.
    pub reads: Vec<ReadRequest>,
    /// Rooms whose followers are level with the log up to a seq.
    pub levels: Vec<(RoomId, u64)>,
}

/// Where a store puts its replies to [`StoreWork`]; called from the store's own threads, in batches as they become durable.
pub type ReplySink = Arc<dyn Fn(Vec<StoreReply>) + Send + Sync>;

/// What a store call answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or takes no work; trying again later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be read: a fault of ours, or a damaged disk.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
    /// A username is taken.
    #[error("the username is taken")]
    UsernameTaken,
    /// An e-mail address is taken.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// What is to be loaded goes into an empty store only.
    #[error("the store is not empty")]
    NotEmpty,
}

/// What the store knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreMeta {
    /// Changes when a backup is restored.
    pub epoch: u64,
    /// This node, random on the first start of a data folder and kept.
    pub node: NodeId,
}

/// An account and its profile.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct Account {
    /// Who, for ever.
    pub user: UserId,
    /// Unique; lower case.
    pub username: String,
    /// Unique; lower case.
    pub email: String,
    /// Shown name.
    pub display_name: String,
    /// A line about themselves.
    pub bio: String,
    /// Where their picture is; empty where there is none.
    pub avatar_url: String,
    /// PHC string of the password's hash.
    pub password_hash: String,
    /// See [`components::rows::account`].
    pub status: u8,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Unix time in milliseconds.
    pub updated_ms: u64,
}

/// What a user may change of their profile; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfilePatch {
    /// Shown name.
    pub display_name: Option<String>,
    /// A line about themselves.
    pub bio: Option<String>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
}

/// A login: a family of refresh tokens, of which only the newest is good.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct Login {
    /// Names the login; `sid` in access tokens.
    pub login: SessionId,
    /// Whose.
    pub user: UserId,
    /// What the client calls itself.
    pub label: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Last refresh, Unix time in milliseconds.
    pub used_ms: u64,
    /// When the newest refresh token ends, Unix time in milliseconds.
    pub expires_ms: u64,
}

/// What became of a refresh token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was the newest one; the new one is stored in its place.
    Rotated(Login),
    /// It was used before: somebody copied it. The login is ended.
    Reused(Login),
    /// It is unknown, ended or too old.
    Refused,
}

/// A store. Implementations keep the same order of methods.
pub trait Store: Send + Sync + 'static {
    /// What the store knows of itself.
    fn meta(&self) -> StoreMeta;

    /// Whether it takes writes now.
    fn is_ready(&self) -> bool;

    /// Whether other processes may write to the same logs: then the world looks for what they wrote.
    fn is_shared(&self) -> bool;

    // The world's side.

    /// Gives the sink for replies; once, before the first [`Store::submit`].
    fn connect(&self, sink: ReplySink);

    /// Takes work; never blocks. Each append is answered with a final reply (and may be answered `InDoubt` before), each read once.
    fn submit(&self, work: StoreWork);

    /// Rooms whose followers may not have finished: of this server, since its last run too, and of servers that are gone.
    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>>;

    /// Stops the writer after what was submitted is durable. Blocks; nothing may be submitted afterwards.
    fn close(&self);

    // Accounts.

    /// Adds an account. Username and e-mail must be folded to lower case before.
    fn create_account(&self, account: Account) -> Answer<'_, ()>;

    /// An account by id.
    fn account(&self, user: UserId) -> Answer<'_, Option<Account>>;

    /// An account by username or e-mail, folded to lower case.
    fn account_by_name(&self, name: String) -> Answer<'_, Option<Account>>;

    /// Changes a profile; answers the account after it, or `None` if there is none.
    fn update_profile(&self, user: UserId, patch: ProfilePatch, now_ms: u64) -> Answer<'_, Option<Account>>;

    /// Sets an account's status; answers the account after it, or `None` if there is none.
    fn set_account_status(&self, user: UserId, status: u8, now_ms: u64) -> Answer<'_, Option<Account>>;

    // Logins.

    /// Adds a login with the hash of its first refresh token. Durable before it answers.
    fn create_login(&self, login: Login, token_hash: [u8; 32]) -> Answer<'_, ()>;

    /// Shows a refresh token (its hash); if it is the newest of its login, the next one takes its place, atomically.
    fn rotate_login(&self, shown: [u8; 32], next: [u8; 32], now_ms: u64, expires_ms: u64) -> Answer<'_, Rotation>;

    /// The logins of a user that have not ended, newest first.
    fn logins(&self, user: UserId) -> Answer<'_, Vec<Login>>;

    /// Ends a login; says whether there was one.
    fn end_login(&self, user: UserId, login: SessionId) -> Answer<'_, bool>;

    /// Whether a login has not ended.
    fn login_is_live(&self, login: SessionId) -> Answer<'_, bool>;

    // Rooms, for queries. What a user may see is decided by the caller (`crate::queries`).

    /// A room.
    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>>;

    /// A user's membership of a room.
    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>>;

    /// Rooms that a user is a member of, newest event first; answers the page and where the next one starts (0: nowhere).
    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)>;

    /// A room as the list of `user`, who is or was a member of it, shows it; `None` for others.
    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>>;

    /// Public rooms by id above `after`, whose name has `name` in it (case folded; empty matches all); and whether there are more.
    fn public_rooms(&self, name: String, after: RoomId, limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)>;

    /// Members with ids above `after`; and whether there are more.
    fn members(&self, room: RoomId, after: UserId, limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)>;

    /// A page of messages as they are now, for `viewer`, none above `last_seq`, and none as a later event made it, unless it is
    /// deleted. See [`client_protocol::chat::History`].
    fn history(&self, query: HistoryQuery) -> Answer<'_, HistoryPage>;

    // Search. What is found follows from [`words`]; each query does bounded work and says where to go on.

    /// Messages of a room by their words as they are now, newest first. Of those that an event after `last_seq` edited, the ones that have
    /// the words after it and before it.
    fn search(&self, query: SearchQuery) -> Answer<'_, SearchPage>;

    /// Accounts that were not erased, by the start of a name, in the order of the names.
    fn search_users(&self, query: UserSearch) -> Answer<'_, UserPage>;

    // Erase and export.

    /// Accounts whose status was set to erased and whose erase was not said to be finished ([`Store::finish_erase`]). Each with the key of
    /// the events that erase them: made at random with the status, since one that the user can know could be taken, and kept, since
    /// an erase that goes on must not be another one. At most [`ERASING_MAX`](crate::limits::ERASING_MAX): the others when these are finished.
    fn erasing(&self) -> Answer<'_, Vec<(UserId, Key)>>;

    /// The key of the events that erase a user; `None` where no erase of theirs is open.
    fn erase_key(&self, user: UserId) -> Answer<'_, Option<Key>>;

    /// The erase of a user was carried out in all rooms.
    fn finish_erase(&self, user: UserId) -> Answer<'_, ()>;

    /// Rooms that a user is or was a member of, or was kept out of, by id above `after`; at most `limit`.
    fn rooms_ever(&self, user: UserId, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomId>>;

    /// Events of a user in a room: key and seq, in the order of the keys.
    fn sent(&self, query: SentQuery) -> Answer<'_, Vec<(Key, u64)>>;

    /// The messages among these events of a room, as they are now.
    fn messages(&self, room: RoomId, viewer: UserId, seqs: Vec<u64>) -> Answer<'_, Vec<Message>>;

    /// Makes of events of a user what their erase by event `erased_seq` makes of them ([`systems::fold::erase`]): the bodies leave the log,
    /// the projections and search, and are not found again once this was answered. Events of others, and later ones, stay.
    fn erase(&self, room: RoomId, user: UserId, seqs: Vec<u64>, erased_seq: u64) -> Answer<'_, ()>;

    /// Has what was overwritten or removed leave the disk, where a store keeps it for a while. May take long.
    fn purge(&self) -> Answer<'_, ()>;

    // For operators.

    /// Accounts with ids above `after`, at most `limit`, erased ones too.
    fn accounts(&self, after: Option<UserId>, limit: usize) -> Answer<'_, Vec<Account>>;

    /// Sets the hash of a password; answers the account after it, or `None` if there is none.
    fn set_password(&self, user: UserId, hash: String, now_ms: u64) -> Answer<'_, Option<Account>>;

    /// Rooms and own logs with ids above `after`, at most `limit`.
    fn rooms(&self, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomRow>>;

    /// Figures about the store: what, and how many. Estimates are called so.
    fn stats(&self) -> Answer<'_, Vec<(String, u64)>>;

    /// Compares the projections of a room with its log ([`check`]) and, if `mend` says so, makes them anew where they differ. The room takes no
    /// events while it is mended.
    fn check(&self, room: RoomId, mend: bool) -> Answer<'_, check::RoomCheck>;

    /// The next pieces of everything that the store holds ([`dump`]), also while it works.
    fn dump(&self, after: Option<dump::DumpCursor>) -> Answer<'_, dump::DumpPage>;

    /// Takes pieces of a dump, in their order, into a store that was empty before the first of them ([`StoreError::NotEmpty`]); nobody else
    /// may use it meanwhile. `last` says that these are all: then the store has a new epoch, and may be opened to serve.
    fn load(&self, items: Vec<dump::Item>, last: bool) -> Answer<'_, ()>;
}

/// Asks what a user did in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentQuery {
    /// The room.
    pub room: RoomId,
    /// The user.
    pub user: UserId,
    /// Events with keys above this one; `None` starts.
    pub after: Option<Key>,
    /// Events wanted, at least 1.
    pub limit: usize,
}

/// Asks for messages by their words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// The room.
    pub room: RoomId,
    /// Who looks (for [`client_protocol::chat::ReactionCount::mine`]).
    pub viewer: UserId,
    /// What is looked for.
    pub wanted: words::Wanted,
    /// Messages below this seq; 0 is no bound.
    pub before: u64,
    /// The last seq that the viewer may see.
    pub last_seq: u64,
    /// Messages wanted, 1 to [`client_protocol::limits::SEARCH_PAGE_MAX`].
    pub limit: u32,
}

/// Asks for users by the start of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSearch {
    /// The start of a name ([`words::fold_name`]), not empty.
    pub start: String,
    /// Names after this one.
    pub after: Option<NameCursor>,
    /// Accounts wanted, 1 to [`crate::limits::USERS_PAGE_MAX`].
    pub limit: u32,
}

/// A place in the order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameCursor {
    /// A name of the user ([`words::names_of`]).
    pub name: String,
    /// The user.
    pub user: UserId,
}

/// Accounts that were found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// The accounts, each once, at the first of its names that matches.
    pub accounts: Vec<Account>,
    /// Where to go on; `None` when everything was looked at.
    pub next: Option<NameCursor>,
}

/// Asks for a page of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The room.
    pub room: RoomId,
    /// Who looks (for [`client_protocol::chat::ReactionCount::mine`]).
    pub viewer: UserId,
    /// Messages below this seq, the newest of them; 0 is no bound.
    pub before: u64,
    /// Messages above this seq; if `before` is 0 and this is not, the oldest of them.
    pub after: u64,
    /// Messages wanted, 1 to [`client_protocol::limits::HISTORY_PAGE_MAX`].
    pub limit: u32,
    /// The last seq that the viewer may see.
    pub last_seq: u64,
}
