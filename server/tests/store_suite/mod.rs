//! What every store must do, written once. A store runs it with [`conformance!`] and a [`Backend`], which opens the same data each
//! time it is asked to.

#![allow(dead_code, unused_imports, unused_macros, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod accounts;
pub mod append;
pub mod erase;
pub mod fold_model;
pub mod history;
pub mod lists;
pub mod log;
pub mod operators;
pub mod projection;
pub mod search;

use bytes::Bytes;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::edge::{AppendReply, AppendRequest, AppendThen, Found, Read, ReadRequest, Record, RoomSnapshot, StoreReply};
use components::rows::NowRow;
use log::Log;
use server::store::{Store, StoreWork};
use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A store being opened.
pub type Opening = Pin<Box<dyn Future<Output = Arc<dyn Store>> + Send>>;

/// Where a test's data is, fresh for each test, and how to open it.
pub struct Backend {
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    _place: Box<dyn Any + Send + Sync>,
}

impl Backend {
    /// `place` is kept until the test is over; `open` opens the data in it, again after a close.
    pub fn new(place: impl Any + Send + Sync, open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), _place: Box::new(place) }
    }
}

/// Long enough for anything that a store does.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open store and the replies that it gave.
pub struct Rig {
    pub store: Arc<dyn Store>,
    replies: UnboundedReceiver<StoreReply>,
    early: HashMap<u64, StoreReply>,
    last_token: u64,
    // Last: a store is closed before its place goes.
    backend: Backend,
}

fn connect(store: &Arc<dyn Store>) -> UnboundedReceiver<StoreReply> {
    let (sender, receiver) = unbounded_channel();
    store.connect(Arc::new(move |replies| {
        for reply in replies {
            let _gone = sender.send(reply);
        }
    }));
    receiver
}

impl Rig {
    pub async fn new(backend: Backend) -> Self {
        let store = (backend.open)().await;
        let replies = connect(&store);
        Self { backend, store, replies, early: HashMap::new(), last_token: 0 }
    }

    /// Closes the store and opens its data again.
    pub async fn reopen(self) -> Self {
        let Self { backend, store, replies, last_token, .. } = self;
        let closing = store.clone();
        tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        drop((store, replies));
        let store = (backend.open)().await;
        let replies = connect(&store);
        Self { backend, store, replies, early: HashMap::new(), last_token }
    }

    pub fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// The final reply with this token.
    async fn reply(&mut self, token: u64) -> StoreReply {
        loop {
            if let Some(reply) = self.early.remove(&token) {
                return reply;
            }
            let reply =
                tokio::time::timeout(PATIENCE, self.replies.recv()).await.expect("a reply in time").expect("an open store");
            match &reply {
                StoreReply::Append(AppendReply { then: AppendThen::InDoubt, .. }) => continue,
                StoreReply::Append(append) => self.early.insert(append.token, reply),
                StoreReply::Read(token, _) => self.early.insert(*token, reply),
            };
        }
    }

    pub async fn append_reply(&mut self, token: u64) -> AppendReply {
        match self.reply(token).await {
            StoreReply::Append(reply) => reply,
            other => panic!("{other:?} answers an append"),
        }
    }

    /// Appends records and says what the store answers.
    pub async fn append(&mut self, room: RoomId, expected_seq: u64, records: Vec<Record>) -> AppendReply {
        let token = self.token();
        let request = AppendRequest { room, token, expected_seq, records };
        self.store.submit(StoreWork { appends: vec![request], ..StoreWork::default() });
        let reply = self.append_reply(token).await;
        assert_eq!(reply.room, room);
        reply
    }

    /// Appends events that must go in.
    pub async fn write_all(&mut self, log: &mut Log, bodies: Vec<(UserId, EventBody)>) -> Vec<Record> {
        let expected_seq = log.seq + 1;
        let records: Vec<Record> = bodies.into_iter().map(|(actor, body)| log.record(actor, body)).collect();
        let reply = self.append(log.room, expected_seq, records.clone()).await;
        assert_eq!((reply.appended, reply.then), (records.len(), AppendThen::Done));
        records
    }

    /// Appends an event that must go in.
    pub async fn write(&mut self, log: &mut Log, actor: UserId, body: EventBody) -> Event {
        self.write_all(log, vec![(actor, body)]).await.remove(0).event
    }

    pub async fn read(&mut self, read: Read) -> Found {
        let token = self.token();
        self.store.submit(StoreWork { reads: vec![ReadRequest { token, read }], ..StoreWork::default() });
        match self.reply(token).await {
            StoreReply::Read(_, found) => found,
            other => panic!("{other:?} answers a read"),
        }
    }

    /// As the world does, asks again where a store had no time: a large room on a machine that is busy.
    pub async fn room(&mut self, room: RoomId) -> RoomSnapshot {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.read(Read::Room { room }).await {
                Found::Room(snapshot) => return *snapshot,
                Found::Unavailable => assert!(tokio::time::Instant::now() < deadline, "the room cannot be read"),
                other => panic!("{other:?} answers a room"),
            }
        }
    }

    pub async fn page(&mut self, room: RoomId, first_seq: u64, last_seq: u64) -> Vec<Record> {
        match self.read(Read::Page { room, first_seq, last_seq }).await {
            Found::Page(records) => records,
            other => panic!("{other:?} answers a page"),
        }
    }

    pub async fn target(&mut self, room: RoomId, seq: u64) -> Option<(Event, NowRow)> {
        match self.read(Read::Target { room, seq }).await {
            Found::Target(target) => target.map(|target| (target.event, target.now)),
            other => panic!("{other:?} answers a target"),
        }
    }

    /// Says that followers are level up to `seq`.
    pub fn level(&self, room: RoomId, seq: u64) {
        self.store.submit(StoreWork { levels: vec![(room, seq)], ..StoreWork::default() });
    }
}

/// Tries until it holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The records of a page as one piece of bytes.
pub fn bytes_of(records: &[Record]) -> Bytes {
    records.iter().flat_map(|record| record.bytes.iter().copied()).collect()
}

/// Runs the suite against a store: `conformance!(backend)`, where `backend` is an `async fn() -> Backend`.
macro_rules! conformance {
    ($backend:ident) => {
        $crate::store_suite::conformance! { $backend;
            append: dense_and_durable, records_come_back_identical, conflict_says_what_stands_there, duplicate_is_named,
                prefix_before_a_duplicate_goes_in, duplicate_inside_a_batch, duplicate_after_reopen, keys_are_of_room_and_actor,
                many_rooms_at_once, large_batch, empty_append, first_append_must_start_at_one, reopen_keeps_everything,
                pages_are_dense, dirty_until_level, notified_seq_survives_appends, tail_reaches_back_to_what_was_notified,
                ten_thousand_members, meta_is_kept;
            projection: join_and_leave, kick_ban_unban, roles_and_owners, settings, edit, delete_leaves_no_body,
                delete_in_the_batch_of_the_message, late_edit_is_blanked, reactions, pins, read_marks_only_grow, target_and_key_reads,
                own_logs_are_no_rooms, heads_of_rooms_that_go_on, says_what_the_fold_says;
            history: pages_backwards, pages_forwards, bounds, interleaved_events_do_not_count, now_is_shown, deleted_stay_without_body,
                later_changes_are_not_shown_to_who_went, page_fits_in_a_frame, nothing_there;
            lists: rooms_newest_first, rooms_paged, unread_follows_marks, left_rooms_are_not_listed, direct_rooms_name_the_peer,
                rooms_page_fits_in_a_frame, public_rooms_by_name, members_paged;
            search: by_words, paged_newest_first, up_to_what_the_viewer_may_see, follows_edits_and_deletes,
                opaque_bodies_are_not_found, starts_of_many_words, search_page_fits_in_a_frame, users_by_name, users_paged;
            erase: all_rooms_ever, what_a_user_sent, erase_leaves_no_body, erase_keeps_keys_and_members, erase_is_as_of_its_event,
                last_owner_leaves_an_heir, an_erase_is_remembered_until_it_is_finished, purge_changes_nothing_that_can_be_read;
            operators: everything_goes_to_another_store, everything_comes_from_another_store, words_of_many_messages_come_along,
                only_an_empty_store_is_loaded, an_erase_is_done_again_after_a_load, accounts_and_rooms_are_listed, a_check_finds_nothing_and_changes_nothing;
            accounts: created_and_found, names_are_unique, racing_for_a_name, profile_is_patched, status_is_kept, erased_frees_names,
                account_reads_of_the_world, account_checks_of_the_world, login_rotates, login_reuse_ends_it, login_expires, logins_listed_and_ended,
                logins_survive_reopen, used_token_of_long_ago;
        }
    };
    ($backend:ident; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::store_suite::$module::$case($crate::store_suite::Rig::new(super::$backend().await).await).await;
            })+
        })+
    };
}
pub(crate) use conformance;
