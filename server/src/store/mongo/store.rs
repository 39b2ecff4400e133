//! The trait: which call goes where.

use super::writer::Job;
use super::{MongoStore, accounts, check, dump, erase, history, logins, names, query, search, settle};
use crate::limits::{MONGO_CALL_TIMEOUT, MONGO_CLOSE_TIMEOUT, MONGO_OPERATOR_TIMEOUT};
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
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};

impl Store for MongoStore {
    fn meta(&self) -> StoreMeta {
        self.shared.meta
    }

    fn is_ready(&self) -> bool {
        self.shared.link.health.is_ready()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn connect(&self, sink: ReplySink) {
        if self.shared.sink.set(sink).is_err() {
            tracing::error!("the store was connected twice; the first sink stays");
        }
    }

    fn submit(&self, work: StoreWork) {
        if !work.appends.is_empty() {
            self.send(Job::Append(work.appends));
        }
        if !work.levels.is_empty() {
            self.send(Job::Levels(work.levels));
        }
        for request in work.reads {
            self.read(request);
        }
    }

    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>> {
        let jobs = self.jobs.clone();
        self.query(async move |shared| {
            let settle::Dirty { own, orphaned } = settle::dirty_rooms(&shared).await?;
            for room in &orphaned {
                // Also where the room is in memory, and nobody reads its row.
                let _closed = jobs.send(Job::Heal(*room));
            }
            Ok(own.union(&orphaned).copied().collect())
        })
    }

    fn close(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.send(Job::Close);
        if running.ended.recv_timeout(MONGO_CLOSE_TIMEOUT * 2).is_err() {
            tracing::error!("the writer of the store did not end in time");
        }
        self.shared.queries.close();
        let (ended_in, ended) = sync_channel(1);
        let link = Arc::clone(&self.shared.link);
        running.runtime.spawn(async move {
            link.end().await;
            let _gone = ended_in.send(());
        });
        let _late = ended.recv_timeout(MONGO_CALL_TIMEOUT);
        running.runtime.shutdown_background();
    }

    fn create_account(&self, account: Account) -> Answer<'_, ()> {
        self.ask(async move |shared| accounts::create(&shared.link, account).await)
    }

    fn account(&self, user: UserId) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::by_id(&shared.link, user).await)
    }

    fn account_by_name(&self, name: String) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::by_name(&shared.link, &name).await)
    }

    fn update_profile(&self, user: UserId, patch: ProfilePatch, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::update_profile(&shared.link, user, patch, now_ms).await)
    }

    fn set_account_status(&self, user: UserId, status: u8, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::set_status(&shared.link, user, status, now_ms).await)
    }

    fn create_login(&self, login: Login, token_hash: [u8; 32]) -> Answer<'_, ()> {
        self.query(async move |shared| logins::create(&shared.link, &shared.sweep, login, token_hash).await)
    }

    fn rotate_login(&self, shown: [u8; 32], next: [u8; 32], now_ms: u64, expires_ms: u64) -> Answer<'_, Rotation> {
        self.query(async move |shared| logins::rotate(&shared.link, &shared.sweep, shown, next, now_ms, expires_ms).await)
    }

    fn logins(&self, user: UserId) -> Answer<'_, Vec<Login>> {
        self.query(async move |shared| logins::list(&shared.link, user).await)
    }

    fn end_login(&self, user: UserId, login: SessionId) -> Answer<'_, bool> {
        self.query(async move |shared| logins::end_one(&shared.link, user, login).await)
    }

    fn login_is_live(&self, login: SessionId) -> Answer<'_, bool> {
        self.query(async move |shared| logins::is_live(&shared.link, login).await)
    }

    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>> {
        self.query(async move |shared| query::room(&shared.link, room).await)
    }

    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>> {
        self.query(async move |shared| query::member(&shared.link, room, user).await)
    }

    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)> {
        self.query(async move |shared| query::rooms_of(&shared.link, shared.meta.epoch, user, offset, limit).await)
    }

    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>> {
        self.query(async move |shared| query::room_entry(&shared.link, shared.meta.epoch, user, room).await)
    }

    fn public_rooms(&self, name: String, after: RoomId, limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)> {
        self.query(async move |shared| query::public_rooms(&shared.link, &name, after, limit).await)
    }

    fn members(&self, room: RoomId, after: UserId, limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)> {
        self.query(async move |shared| query::members(&shared.link, room, after, limit).await)
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, HistoryPage> {
        self.query(async move |shared| history::page(&shared.link, &query).await)
    }

    fn search(&self, query: SearchQuery) -> Answer<'_, SearchPage> {
        let jobs = self.jobs.clone();
        self.query(async move |shared| {
            let unindexed = move |block| {
                let _closed = jobs.send(Job::Index(block));
            };
            search::page(&shared.link, &query, &unindexed).await
        })
    }

    fn search_users(&self, query: UserSearch) -> Answer<'_, UserPage> {
        self.query(async move |shared| names::users(&shared.link, &query).await)
    }

    fn erasing(&self) -> Answer<'_, Vec<(UserId, Key)>> {
        self.query(async |shared| accounts::erasing(&shared.link).await)
    }

    fn erase_key(&self, user: UserId) -> Answer<'_, Option<Key>> {
        self.query(async move |shared| accounts::erase_key(&shared.link, user).await)
    }

    fn finish_erase(&self, user: UserId) -> Answer<'_, ()> {
        self.query(async move |shared| accounts::finish_erase(&shared.link, user).await)
    }

    fn rooms_ever(&self, user: UserId, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomId>> {
        self.query(async move |shared| erase::rooms_ever(&shared.link, user, after, limit).await)
    }

    fn sent(&self, query: SentQuery) -> Answer<'_, Vec<(Key, u64)>> {
        self.query(async move |shared| erase::sent(&shared.link, &query).await)
    }

    fn messages(&self, room: RoomId, viewer: UserId, seqs: Vec<u64>) -> Answer<'_, Vec<Message>> {
        self.query(async move |shared| erase::messages(&shared.link, room, viewer, &seqs).await)
    }

    fn erase(&self, room: RoomId, user: UserId, seqs: Vec<u64>, erased_seq: u64) -> Answer<'_, ()> {
        self.query(async move |shared| erase::erase(&shared.link, room, user, &seqs, erased_seq).await)
    }

    // What was overwritten is gone for every read as soon as a majority has the write. When it leaves the files of the database is the
    // database's affair: there is no command for it that a server under load could be given.
    fn purge(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn accounts(&self, after: Option<UserId>, limit: usize) -> Answer<'_, Vec<Account>> {
        self.query(async move |shared| accounts::list(&shared.link, after, limit).await)
    }

    fn set_password(&self, user: UserId, hash: String, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::set_password(&shared.link, user, hash, now_ms).await)
    }

    fn rooms(&self, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomRow>> {
        self.query(async move |shared| query::rooms(&shared.link, after, limit).await)
    }

    fn stats(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.query(async move |shared| check::stats(&shared.link).await)
    }

    fn check(&self, room: RoomId, mend: bool) -> Answer<'_, RoomCheck> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| Ok(check::room(&shared.link, room, mend).await?))
    }

    fn dump(&self, after: Option<DumpCursor>) -> Answer<'_, DumpPage> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| Ok(dump::page(&shared.link, after.as_ref()).await?))
    }

    fn load(&self, items: Vec<Item>, last: bool) -> Answer<'_, ()> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| {
            let StoreMeta { node, epoch } = shared.meta;
            dump::load(&shared.link, node, epoch, items, last).await
        })
    }
}
