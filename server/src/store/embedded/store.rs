//! The trait: which call goes where.

use super::writer::{self, Erase, Job};
use super::{EmbeddedStore, accounts, check, dump, erase, history, logins, query, search};
use crate::limits::{STORE_READ_LOT, STORE_READ_THREADS};
use crate::store::check::RoomCheck;
use crate::store::dump::{DumpCursor, DumpPage, Item};
use crate::store::{
    Account, Answer, HistoryQuery, Login, ProfilePatch, ReplySink, Rotation, SearchQuery, SentQuery, Store, StoreMeta,
    StoreWork, UserPage, UserSearch,
};
use client_protocol::chat::{HistoryPage, Message, SearchPage};
use client_protocol::room::{MemberEntry, RoomEntry};
use client_protocol::{Key, RoomId, SessionId, UserId};
use components::rows::{MemberRow, RoomRow};
use std::sync::PoisonError;

impl Store for EmbeddedStore {
    fn meta(&self) -> StoreMeta {
        self.shared.meta
    }

    fn is_ready(&self) -> bool {
        self.shared.disk.is_ready()
    }

    /// The folder is locked: there is one process.
    fn is_shared(&self) -> bool {
        false
    }

    fn connect(&self, sink: ReplySink) {
        if self.shared.sink.set(sink).is_err() {
            tracing::error!("the store was connected twice; the first sink stays");
        }
    }

    fn submit(&self, work: StoreWork) {
        let mut taken = true;
        if !work.appends.is_empty() {
            taken &= self.jobs.send(Job::Append(work.appends)).is_ok();
        }
        if !work.levels.is_empty() {
            taken &= self.jobs.send(Job::Levels(work.levels)).is_ok();
        }
        // Most ticks have few: to wake a thread for each would cost more than they do.
        let mut reads = work.reads.into_iter().peekable();
        while reads.peek().is_some() {
            taken &= self.reads.send(Some(reads.by_ref().take(STORE_READ_LOT).collect())).is_ok();
        }
        if !taken {
            tracing::error!("work was submitted after the store was closed");
        }
    }

    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>> {
        self.blocking(writer::dirty_rooms)
    }

    fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        self.shared.queries.close();
        let mut told = self.jobs.send(Job::Close).is_ok();
        for _ in 0..STORE_READ_THREADS {
            told &= self.reads.send(None).is_ok();
        }
        for thread in threads {
            told &= thread.join().is_ok();
        }
        if !told {
            tracing::error!("a thread of the store had ended before");
        }
    }

    fn create_account(&self, account: Account) -> Answer<'_, ()> {
        self.blocking(|shared| accounts::create(shared, account))
    }

    fn account(&self, user: UserId) -> Answer<'_, Option<Account>> {
        self.reading(move |view| accounts::by_id(view, user))
    }

    fn account_by_name(&self, name: String) -> Answer<'_, Option<Account>> {
        self.reading(move |view| accounts::by_name(view, &name))
    }

    fn update_profile(&self, user: UserId, patch: ProfilePatch, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::update_profile(shared, user, patch, now_ms))
    }

    fn set_account_status(&self, user: UserId, status: u8, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::set_status(shared, user, status, now_ms))
    }

    fn create_login(&self, login: Login, token_hash: [u8; 32]) -> Answer<'_, ()> {
        self.blocking(move |shared| logins::create(shared, login, token_hash))
    }

    fn rotate_login(&self, shown: [u8; 32], next: [u8; 32], now_ms: u64, expires_ms: u64) -> Answer<'_, Rotation> {
        self.blocking(move |shared| logins::rotate(shared, shown, next, now_ms, expires_ms))
    }

    fn logins(&self, user: UserId) -> Answer<'_, Vec<Login>> {
        self.reading(move |view| logins::list(view, user))
    }

    fn end_login(&self, user: UserId, login: SessionId) -> Answer<'_, bool> {
        self.blocking(move |shared| logins::end_one(shared, user, login))
    }

    fn login_is_live(&self, login: SessionId) -> Answer<'_, bool> {
        self.reading(move |view| logins::is_live(view, login))
    }

    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>> {
        self.reading(move |view| query::room(view, room))
    }

    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>> {
        self.reading(move |view| query::member(view, room, user))
    }

    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)> {
        let epoch = self.shared.meta.epoch;
        self.reading(move |view| query::rooms_of(view, epoch, user, offset, limit))
    }

    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>> {
        let epoch = self.shared.meta.epoch;
        self.reading(move |view| query::room_entry(view, epoch, user, room))
    }

    fn public_rooms(&self, name: String, after: RoomId, limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)> {
        self.reading(move |view| query::public_rooms(view, &name, after, limit))
    }

    fn members(&self, room: RoomId, after: UserId, limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)> {
        self.reading(move |view| query::members(view, room, after, limit))
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, HistoryPage> {
        self.reading(move |view| history::page(view, &query))
    }

    fn search(&self, query: SearchQuery) -> Answer<'_, SearchPage> {
        self.reading(move |view| search::page(view, &query))
    }

    fn search_users(&self, query: UserSearch) -> Answer<'_, UserPage> {
        self.reading(move |view| search::users(view, &query))
    }

    fn erasing(&self) -> Answer<'_, Vec<(UserId, Key)>> {
        self.reading(erase::erasing)
    }

    fn erase_key(&self, user: UserId) -> Answer<'_, Option<Key>> {
        self.reading(move |view| erase::key_of(view, user))
    }

    fn finish_erase(&self, user: UserId) -> Answer<'_, ()> {
        self.blocking(move |shared| erase::finish(shared, user))
    }

    fn rooms_ever(&self, user: UserId, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomId>> {
        self.reading(move |view| erase::rooms_ever(view, user, after, limit))
    }

    fn sent(&self, query: SentQuery) -> Answer<'_, Vec<(Key, u64)>> {
        self.reading(move |view| erase::sent(view, &query))
    }

    fn messages(&self, room: RoomId, viewer: UserId, seqs: Vec<u64>) -> Answer<'_, Vec<Message>> {
        self.reading(move |view| erase::messages(view, room, viewer, &seqs))
    }

    fn erase(&self, room: RoomId, user: UserId, seqs: Vec<u64>, erased_seq: u64) -> Answer<'_, ()> {
        self.writing(|done| Job::Erase(Erase { room, user, seqs, erased_seq, done }))
    }

    fn purge(&self) -> Answer<'_, ()> {
        self.blocking(|shared| shared.tables.purge())
    }

    fn accounts(&self, after: Option<UserId>, limit: usize) -> Answer<'_, Vec<Account>> {
        self.reading(move |view| accounts::list(view, after, limit))
    }

    fn set_password(&self, user: UserId, hash: String, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::set_password(shared, user, hash, now_ms))
    }

    fn rooms(&self, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomRow>> {
        self.reading(move |view| query::rooms(view, after, limit))
    }

    fn stats(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.blocking(|shared| shared.tables.stats())
    }

    fn check(&self, room: RoomId, mend: bool) -> Answer<'_, RoomCheck> {
        if !mend {
            return self.reading(move |view| check::room(view, None, room));
        }
        self.writing(|done| Job::Mend(room, done))
    }

    fn dump(&self, after: Option<DumpCursor>) -> Answer<'_, DumpPage> {
        self.reading(move |view| dump::page(view, after.as_ref()))
    }

    fn load(&self, items: Vec<Item>, last: bool) -> Answer<'_, ()> {
        self.blocking(move |shared| dump::load(shared, items, last))
    }
}
