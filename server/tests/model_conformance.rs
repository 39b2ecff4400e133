//! The conformance suite against the model store that the property test of the world uses: what the world is tested on behaves as the
//! stores that it runs on. The model keeps logs and their projections; accounts, logins and pages for people are not in it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store_suite;

use client_protocol::chat::{HistoryPage, Message, SearchPage};
use client_protocol::room::{MemberEntry, RoomEntry};
use client_protocol::{Key, NodeId, RoomId, SessionId, UserId};
use components::edge::StoreReply;
use components::rows::{MemberRow, RoomRow};
use server::store::check::RoomCheck;
use server::store::dump::{DumpCursor, DumpPage, Item};
use server::store::{
    Account, Answer, HistoryQuery, Login, ProfilePatch, ReplySink, Rotation, SearchQuery, SentQuery, Store, StoreError,
    StoreMeta, StoreWork, UserPage, UserSearch,
};
use std::sync::{Arc, Mutex, OnceLock};
use store_suite::Backend;
use systems::testing::ModelStore;

/// The model behind the trait. Its data outlives it, as a folder outlives a database.
struct Model {
    data: Arc<Mutex<ModelStore>>,
    sink: OnceLock<ReplySink>,
}

fn now<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

/// What the model does not keep: a case that asks for it fails.
fn not_kept<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("the model keeps logs and projections only".into()))))
}

impl Store for Model {
    fn meta(&self) -> StoreMeta {
        StoreMeta { epoch: 1, node: NodeId(1) }
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn is_shared(&self) -> bool {
        false
    }
    fn connect(&self, sink: ReplySink) {
        assert!(self.sink.set(sink).is_ok(), "connected once");
    }
    fn submit(&self, work: StoreWork) {
        let mut data = self.data.lock().unwrap();
        let appends = work.appends.iter().map(|request| StoreReply::Append(data.append(request)));
        let mut replies: Vec<_> = appends.collect();
        replies.extend(work.reads.iter().map(|request| data.read(request)));
        for (room, seq) in work.levels {
            data.level(room, seq);
        }
        drop(data);
        self.sink.get().expect("connected")(replies);
    }
    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>> {
        now(self.data.lock().unwrap().dirty_rooms())
    }
    fn close(&self) {}
    fn create_account(&self, _account: Account) -> Answer<'_, ()> {
        not_kept()
    }
    fn account(&self, _user: UserId) -> Answer<'_, Option<Account>> {
        not_kept()
    }
    fn account_by_name(&self, _name: String) -> Answer<'_, Option<Account>> {
        not_kept()
    }
    fn update_profile(&self, _user: UserId, _patch: ProfilePatch, _now_ms: u64) -> Answer<'_, Option<Account>> {
        not_kept()
    }
    fn set_account_status(&self, _user: UserId, _status: u8, _now_ms: u64) -> Answer<'_, Option<Account>> {
        not_kept()
    }
    fn create_login(&self, _login: Login, _token_hash: [u8; 32]) -> Answer<'_, ()> {
        not_kept()
    }
    fn rotate_login(&self, _shown: [u8; 32], _next: [u8; 32], _now_ms: u64, _expires_ms: u64) -> Answer<'_, Rotation> {
        not_kept()
    }
    fn logins(&self, _user: UserId) -> Answer<'_, Vec<Login>> {
        not_kept()
    }
    fn end_login(&self, _user: UserId, _login: SessionId) -> Answer<'_, bool> {
        not_kept()
    }
    fn login_is_live(&self, _login: SessionId) -> Answer<'_, bool> {
        not_kept()
    }
    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>> {
        now(self.data.lock().unwrap().rooms.get(&room).map(|log| log.row.clone()))
    }
    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>> {
        now(self.data.lock().unwrap().rooms.get(&room).and_then(|log| log.members.get(&user).cloned()))
    }
    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)> {
        let entries = self.data.lock().unwrap().entries_of(user);
        let end = offset + limit;
        let next = if entries.len() > end as usize { end } else { 0 };
        now((entries.into_iter().skip(offset as usize).take(limit as usize).collect(), next))
    }
    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>> {
        now(self.data.lock().unwrap().entries_of(user).into_iter().find(|entry| entry.room == room))
    }
    fn public_rooms(&self, _name: String, _after: RoomId, _limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)> {
        not_kept()
    }
    fn members(&self, _room: RoomId, _after: UserId, _limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)> {
        not_kept()
    }
    fn history(&self, _query: HistoryQuery) -> Answer<'_, HistoryPage> {
        not_kept()
    }
    fn search(&self, _query: SearchQuery) -> Answer<'_, SearchPage> {
        not_kept()
    }
    fn search_users(&self, _query: UserSearch) -> Answer<'_, UserPage> {
        not_kept()
    }
    fn erasing(&self) -> Answer<'_, Vec<(UserId, Key)>> {
        not_kept()
    }
    fn erase_key(&self, _user: UserId) -> Answer<'_, Option<Key>> {
        not_kept()
    }
    fn finish_erase(&self, _user: UserId) -> Answer<'_, ()> {
        not_kept()
    }
    fn rooms_ever(&self, _user: UserId, _after: Option<RoomId>, _limit: usize) -> Answer<'_, Vec<RoomId>> {
        not_kept()
    }
    fn sent(&self, _query: SentQuery) -> Answer<'_, Vec<(Key, u64)>> {
        not_kept()
    }
    fn messages(&self, _room: RoomId, _viewer: UserId, _seqs: Vec<u64>) -> Answer<'_, Vec<Message>> {
        not_kept()
    }
    fn erase(&self, _room: RoomId, _user: UserId, _seqs: Vec<u64>, _erased_seq: u64) -> Answer<'_, ()> {
        not_kept()
    }
    fn purge(&self) -> Answer<'_, ()> {
        not_kept()
    }
    fn accounts(&self, _after: Option<UserId>, _limit: usize) -> Answer<'_, Vec<Account>> {
        not_kept()
    }
    fn set_password(&self, _user: UserId, _hash: String, _now_ms: u64) -> Answer<'_, Option<Account>> {
        not_kept()
    }
    fn rooms(&self, _after: Option<RoomId>, _limit: usize) -> Answer<'_, Vec<RoomRow>> {
        not_kept()
    }
    fn stats(&self) -> Answer<'_, Vec<(String, u64)>> {
        not_kept()
    }
    fn check(&self, _room: RoomId, _mend: bool) -> Answer<'_, RoomCheck> {
        not_kept()
    }
    fn dump(&self, _after: Option<DumpCursor>) -> Answer<'_, DumpPage> {
        not_kept()
    }
    fn load(&self, _items: Vec<Item>, _last: bool) -> Answer<'_, ()> {
        not_kept()
    }
}

async fn model() -> Backend {
    let data = Arc::new(Mutex::new(ModelStore::default()));
    Backend::new((), move || {
        let store: Arc<dyn Store> = Arc::new(Model { data: Arc::clone(&data), sink: OnceLock::new() });
        Box::pin(async move { store })
    })
}

// Left out beside accounts and pages: an append that leaves a gap, which the model takes for a fault of the world and panics on, and the
// cases that read pages of history.
store_suite::conformance! { model;
    append: dense_and_durable, records_come_back_identical, conflict_says_what_stands_there, duplicate_is_named,
        prefix_before_a_duplicate_goes_in, duplicate_inside_a_batch, duplicate_after_reopen, keys_are_of_room_and_actor,
        many_rooms_at_once, large_batch, empty_append, reopen_keeps_everything, pages_are_dense, dirty_until_level,
        notified_seq_survives_appends, tail_reaches_back_to_what_was_notified, ten_thousand_members, meta_is_kept;
    projection: join_and_leave, kick_ban_unban, roles_and_owners, settings, reactions, pins,
        read_marks_only_grow, target_and_key_reads, own_logs_are_no_rooms, heads_of_rooms_that_go_on;
    lists: rooms_newest_first, unread_follows_marks, left_rooms_are_not_listed, direct_rooms_name_the_peer;
}
