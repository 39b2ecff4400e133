//! What operators ask of a store: lists, checks, everything out and into an empty store. The other store is an embedded one.

use super::accounts::account;
use super::append::group;
use super::log::{Log, created, deleted, edited, pinned, posted, reacted, read_marked, room, user};
use super::{Backend, Rig, search};
use client_protocol::room::kind::PUBLIC;
use client_protocol::room::{ErasedTail, UserErased};
use client_protocol::{EventBody, RoomId, SessionId};
use components::rows::account as status;
use server::store::dump::{Counts, Item};
use server::store::embedded::{EmbeddedOptions, EmbeddedStore};
use server::store::words::Wanted;
use server::store::{HistoryQuery, Login, Rotation, SearchQuery, Store, StoreError};
use std::sync::Arc;

async fn embedded() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let backend = Backend::new(folder, move || {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path, &EmbeddedOptions::default()).unwrap());
        Box::pin(async move { store })
    });
    Rig::new(backend).await
}

/// Two rooms with everything that can happen in one, an own log, accounts of all states, logins.
async fn fill(rig: &mut Rig) {
    for (n, name) in [(1, "ada"), (2, "bob"), (3, "eve")] {
        rig.store.create_account(account(n, name)).await.unwrap();
    }
    rig.store.set_account_status(user(3), status::DISABLED, 9).await.unwrap();
    let mut log = group(rig, 1).await;
    let bodies = vec![
        (user(1), posted("high tide")),
        (user(2), posted("low tide")),
        (user(1), edited(2, "spring tide")),
        (user(2), reacted(2, "+1")),
        (user(1), pinned(3)),
        (user(1), posted("gone")),
        (user(1), deleted(7)),
        (user(1), edited(7, "late")),
    ];
    rig.write_all(&mut log, bodies).await;
    let mut public = Log::new(room(2));
    rig.write(&mut public, user(2), created(PUBLIC, "Harbour", &[user(1)])).await;
    rig.write(&mut public, user(2), posted("secret tide")).await;
    rig.write(&mut public, user(2), edited(2, "secret ebb")).await;
    let erased = UserErased { user: user(2), tail: ErasedTail { heir: Some(user(1)) } };
    rig.write(&mut public, user(2), EventBody::UserErased(erased)).await;
    rig.store.erase(public.room, user(2), vec![1, 2, 3, 4], 4).await.unwrap();
    let mut own = Log::new(RoomId::self_log(user(1)));
    rig.write(&mut own, user(1), read_marked(log.room, 7, 3, 2)).await;
    let login = Login {
        login: SessionId::from_bytes([5; 16]),
        user: user(1),
        label: "tablet".to_owned(),
        created_ms: 1,
        used_ms: 1,
        expires_ms: 9_000_000_000_000,
    };
    rig.store.create_login(login, [1; 32]).await.unwrap();
    for n in 1..4 {
        let rotated = rig.store.rotate_login([n; 32], [n + 1; 32], 2, 9_000_000_000_000).await.unwrap();
        assert!(matches!(rotated, Rotation::Rotated(_)));
    }
}

async fn dump(store: &dyn Store) -> Vec<Item> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = store.dump(after).await.unwrap();
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

async fn load(store: &dyn Store, items: &[Item], lot: usize) {
    for some in items.chunks(lot) {
        store.load(some.to_vec(), false).await.unwrap();
    }
    store.load(Vec::new(), true).await.unwrap();
}

async fn found(rig: &Rig, room: RoomId, text: &str) -> Vec<u64> {
    let wanted = Wanted::parse(text).unwrap();
    let query = SearchQuery { room, viewer: user(1), wanted, before: 0, last_seq: u64::MAX, limit: 50 };
    rig.store.search(query).await.unwrap().messages.iter().map(|message| message.seq).collect()
}

/// Both show the same.
async fn same(one: &mut Rig, other: &mut Rig) {
    for id in [room(1), room(2), RoomId::self_log(user(1))] {
        assert_eq!(one.store.room(id).await.unwrap(), other.store.room(id).await.unwrap());
        assert_eq!(one.page(id, 1, 100).await, other.page(id, 1, 100).await);
        assert_eq!(one.room(id).await, other.room(id).await);
        let query = HistoryQuery { room: id, viewer: user(2), before: 0, after: 0, limit: 100, last_seq: u64::MAX };
        assert_eq!(one.store.history(query).await.unwrap(), other.store.history(query).await.unwrap());
        for text in ["tide", "spring", "gone", "late", "secret"] {
            assert_eq!(found(one, id, text).await, found(other, id, text).await, "{text}");
        }
        for rig in [&one, &other] {
            let check = rig.store.check(id, false).await.unwrap();
            assert_eq!((check.count, check.differences), (0, vec![]));
        }
    }
    for n in 1..=4 {
        assert_eq!(one.store.account(user(n)).await.unwrap(), other.store.account(user(n)).await.unwrap());
        let (listed, _) = one.store.rooms_of(user(n), 0, 10).await.unwrap();
        let (others, _) = other.store.rooms_of(user(n), 0, 10).await.unwrap();
        let rooms = |list: &[client_protocol::room::RoomEntry]| list.iter().map(|entry| entry.room).collect::<Vec<_>>();
        assert_eq!(rooms(&listed), rooms(&others));
        let ever = one.store.rooms_ever(user(n), None, 10).await.unwrap();
        assert_eq!(ever, other.store.rooms_ever(user(n), None, 10).await.unwrap());
    }
    assert_eq!(one.store.logins(user(1)).await.unwrap(), other.store.logins(user(1)).await.unwrap());
    assert_eq!(one.store.account_by_name("ada".into()).await.unwrap().unwrap().user, user(1));
    assert_eq!(other.store.account_by_name("ada@example.org".into()).await.unwrap().unwrap().user, user(1));
}

pub async fn everything_goes_to_another_store(mut rig: Rig) {
    fill(&mut rig).await;
    let items = dump(&*rig.store).await;
    let mut counts = Counts::default();
    items.iter().for_each(|item| counts.add(item));
    assert_eq!(counts, Counts { rooms: 3, events: 14, logins: 1, accounts: 3 });
    let mut other = embedded().await;
    load(&*other.store, &items, 4).await;
    same(&mut rig, &mut other).await;
    // What a login's tokens are came along, those that were used too.
    let reused = other.store.rotate_login([2; 32], [9; 32], 3, 9_000_000_000_000).await.unwrap();
    assert!(matches!(reused, Rotation::Reused(_)), "{reused:?}");
    let epoch = rig.store.meta().epoch;
    assert!(other.reopen().await.store.meta().epoch > epoch, "cursors of the old store are void");
}

pub async fn everything_comes_from_another_store(rig: Rig) {
    let mut other = embedded().await;
    fill(&mut other).await;
    load(&*rig.store, &dump(&*other.store).await, 3).await;
    let mut rig = rig.reopen().await;
    same(&mut other, &mut rig).await;
    let rotated = rig.store.rotate_login([4; 32], [9; 32], 3, 9_000_000_000_000).await.unwrap();
    assert!(matches!(rotated, Rotation::Rotated(_)), "{rotated:?}");
    assert!(rig.store.dirty_rooms().await.unwrap().contains(&room(1)), "followers go on where they were");
    // It is a store like any other: what comes next is taken, and what was there is known.
    let mut log = Log { room: room(1), seq: 9, message_no: 3, time_ms: 2_000_000 };
    rig.write(&mut log, user(1), posted("after all that")).await;
    assert_eq!(found(&rig, room(1), "after").await, [10]);
}

/// Enough messages for several blocks of words, with holes, and one of two authors erased.
pub async fn words_of_many_messages_come_along(rig: Rig) {
    let mut other = embedded().await;
    let mut log = group(&mut other, 1).await;
    let author = |seq: u64| user(if seq.is_multiple_of(2) { 1 } else { 2 });
    for first in [2, 102, 202] {
        let posts = (first..first + 100).map(|seq| (author(seq), posted(&format!("tide n{seq}")))).collect();
        other.write_all(&mut log, posts).await;
    }
    other.write_all(&mut log, (2..302).step_by(7).map(|seq| (user(1), deleted(seq))).collect()).await;
    let erased = EventBody::UserErased(UserErased { user: user(2), tail: ErasedTail { heir: Some(user(1)) } });
    let erased_seq = other.write(&mut log, user(2), erased).await.head.seq;
    other
        .store
        .erase(log.room, user(2), (2..302).filter(|seq| author(*seq) == user(2)).collect(), erased_seq)
        .await
        .unwrap();
    other.write_all(&mut log, (0..50).map(|_| (user(1), posted("late tide"))).collect()).await;
    load(&*rig.store, &dump(&*other.store).await, 90).await;
    let rig = rig.reopen().await;
    let stays = |seq: &u64| author(*seq) == user(1) && !(seq - 2).is_multiple_of(7);
    let expected: Vec<u64> = (2..302).filter(stays).chain(erased_seq + 1..=erased_seq + 50).rev().collect();
    for rig in [&other, &rig] {
        assert_eq!(search::all(rig, search::query(&log, "tide ")).await, expected);
        assert_eq!(search::all(rig, search::query(&log, "n150 tide")).await, [150]);
        assert_eq!(search::all(rig, search::query(&log, "n151")).await, [] as [u64; 0], "erased");
        assert_eq!(search::all(rig, search::query(&log, "n2 ")).await, [] as [u64; 0], "deleted");
        let check = rig.store.check(log.room, false).await.unwrap();
        assert_eq!((check.count, check.differences), (0, vec![]));
    }
}

pub async fn only_an_empty_store_is_loaded(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("here first")).await;
    let item = Item::Room { room: room(7), notified_seq: 0 };
    let refused = rig.store.load(vec![item], true).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty)), "{refused:?}");
    assert_eq!(rig.store.room(room(7)).await.unwrap(), None);
}

pub async fn an_erase_is_done_again_after_a_load(rig: Rig) {
    let mut other = embedded().await;
    other.store.create_account(account(1, "ada")).await.unwrap();
    let mut log = group(&mut other, 1).await;
    other.write(&mut log, user(1), posted("secret")).await;
    other.store.set_account_status(user(1), status::ERASED, 5).await.unwrap();
    load(&*rig.store, &dump(&*other.store).await, 100).await;
    let erasing: Vec<_> = rig.store.erasing().await.unwrap().into_iter().map(|(user, _)| user).collect();
    assert_eq!(erasing, [user(1)]);
    assert_eq!(rig.store.account_by_name(String::new()).await.unwrap(), None, "it has no name");
}

pub async fn accounts_and_rooms_are_listed(mut rig: Rig) {
    fill(&mut rig).await;
    let names = |list: Vec<server::store::Account>| list.into_iter().map(|one| one.username).collect::<Vec<_>>();
    assert_eq!(names(rig.store.accounts(None, 10).await.unwrap()), ["ada", "bob", "eve"]);
    assert_eq!(names(rig.store.accounts(None, 2).await.unwrap()), ["ada", "bob"]);
    assert_eq!(names(rig.store.accounts(Some(user(2)), 2).await.unwrap()), ["eve"]);
    assert_eq!(names(rig.store.accounts(Some(user(3)), 2).await.unwrap()), [] as [&str; 0]);
    let mut all = vec![room(1), room(2), RoomId::self_log(user(1))];
    all.sort_unstable();
    let ids = |list: Vec<components::rows::RoomRow>| list.into_iter().map(|row| row.room).collect::<Vec<_>>();
    assert_eq!(ids(rig.store.rooms(None, 10).await.unwrap()), all);
    assert_eq!(ids(rig.store.rooms(Some(all[0]), 1).await.unwrap()), [all[1]]);
    let changed = rig.store.set_password(user(1), "$argon2id$new".into(), 77).await.unwrap().unwrap();
    assert_eq!(
        (changed.password_hash.as_str(), changed.updated_ms, changed.username.as_str()),
        ("$argon2id$new", 77, "ada")
    );
    assert_eq!(rig.store.set_password(user(9), "x".into(), 1).await.unwrap(), None);
    let stats = rig.store.stats().await.unwrap();
    let of = |name: &str| stats.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
    assert_eq!((of("accounts"), of("logins"), of("rooms_and_own_logs")), (Some(3), Some(1), Some(3)));
}

pub async fn a_check_finds_nothing_and_changes_nothing(mut rig: Rig) {
    fill(&mut rig).await;
    for mend in [false, true, false] {
        for (id, events, messages) in [(room(1), 9, 3), (room(2), 4, 1), (RoomId::self_log(user(1)), 1, 0)] {
            let check = rig.store.check(id, mend).await.unwrap();
            assert_eq!((check.events, check.messages), (events, messages));
            assert_eq!((check.count, check.differences), (0, vec![]));
        }
    }
    let check = rig.store.check(room(9), false).await.unwrap();
    assert_eq!((check.events, check.count), (0, 0), "there is no such room, and nothing of it");
}
