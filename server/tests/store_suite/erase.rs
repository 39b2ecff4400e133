//! Erase and export: what a user did is found, and leaves nothing but ids, seqs and keys.

use super::Rig;
use super::accounts::account;
use super::append::group;
use super::log::{Log, created, deleted, edited, member, posted, room, user};
use client_protocol::chat::Message;
use client_protocol::room::kind::PUBLIC;
use client_protocol::room::{ErasedTail, UserErased};
use client_protocol::{EventBody, Key, RoomId, UserId};
use components::edge::{AppendThen, Found, Read};
use components::rows::account as status;
use server::store::words::Wanted;
use server::store::{HistoryQuery, SearchQuery, SentQuery};

fn erased(user: UserId, heir: Option<UserId>) -> EventBody {
    EventBody::UserErased(UserErased { user, tail: ErasedTail { heir } })
}

/// All events of a user in a room, a few at a time.
async fn sent(rig: &Rig, room: RoomId, user: UserId) -> Vec<(Key, u64)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let some = rig.store.sent(SentQuery { room, user, after, limit: 3 }).await.unwrap();
        assert!(some.len() <= 3);
        let Some(&(last, _)) = some.last() else { return all };
        after = Some(last);
        all.extend(some);
    }
}

async fn seqs_of(rig: &Rig, room: RoomId, user: UserId) -> Vec<u64> {
    let mut seqs: Vec<u64> = sent(rig, room, user).await.into_iter().map(|(_, seq)| seq).collect();
    seqs.sort_unstable();
    seqs
}

async fn erase(rig: &Rig, log: &Log, who: UserId, erased_seq: u64) {
    let seqs = seqs_of(rig, log.room, who).await;
    rig.store.erase(log.room, who, seqs, erased_seq).await.unwrap();
}

async fn history(rig: &Rig, log: &Log) -> Vec<Message> {
    let query = HistoryQuery { room: log.room, viewer: user(1), before: 0, after: 0, limit: 100, last_seq: u64::MAX };
    rig.store.history(query).await.unwrap().messages
}

async fn found(rig: &Rig, log: &Log, text: &str) -> usize {
    let wanted = Wanted::parse(text).unwrap();
    let query = SearchQuery { room: log.room, viewer: user(1), wanted, before: 0, last_seq: u64::MAX, limit: 50 };
    rig.store.search(query).await.unwrap().messages.len()
}

/// User 2 posted, edited and deleted, between what others did.
async fn cast(rig: &mut Rig) -> Log {
    let mut log = group(rig, 1).await;
    let bodies = vec![
        (user(2), posted("secret one")),
        (user(1), posted("open one")),
        (user(2), edited(2, "secret edited")),
        (user(2), posted("secret two")),
        (user(2), deleted(5)),
        (user(1), posted("open two")),
    ];
    rig.write_all(&mut log, bodies).await;
    log
}

pub async fn all_rooms_ever(mut rig: Rig) {
    for n in 1..=5 {
        let mut log = Log::new(room(n));
        rig.write(&mut log, user(1), created(PUBLIC, "", &[user(2)])).await;
        match n {
            2 => drop(rig.write(&mut log, user(2), EventBody::MemberLeft(member(user(2)))).await),
            3 => drop(rig.write(&mut log, user(1), EventBody::MemberBanned(member(user(2)))).await),
            _ => {}
        }
    }
    let all: Vec<RoomId> = (1..=5).map(room).collect();
    assert_eq!(rig.store.rooms_ever(user(2), None, 100).await.unwrap(), all);
    assert_eq!(rig.store.rooms_ever(user(2), None, 2).await.unwrap(), all[..2]);
    assert_eq!(rig.store.rooms_ever(user(2), Some(room(2)), 2).await.unwrap(), all[2..4]);
    assert_eq!(rig.store.rooms_ever(user(2), Some(room(5)), 2).await.unwrap(), []);
    assert_eq!(rig.store.rooms_ever(user(3), None, 2).await.unwrap(), []);
}

pub async fn what_a_user_sent(mut rig: Rig) {
    let log = cast(&mut rig).await;
    assert_eq!(seqs_of(&rig, log.room, user(2)).await, [2, 4, 5, 6]);
    assert_eq!(seqs_of(&rig, log.room, user(1)).await, [1, 3, 7]);
    assert_eq!(seqs_of(&rig, log.room, user(3)).await, [] as [u64; 0]);
    let mut messages = rig.store.messages(log.room, user(2), vec![2, 4, 5, 6, 99]).await.unwrap();
    messages.sort_by_key(|message| message.seq);
    let shown: Vec<_> = messages.iter().map(|message| (message.seq, message.deleted, message.body.bytes.clone())).collect();
    assert_eq!(shown, [(2, false, b"secret edited".to_vec()), (5, true, Vec::new())]);
}

pub async fn erase_leaves_no_body(mut rig: Rig) {
    let mut log = cast(&mut rig).await;
    assert_eq!(found(&rig, &log, "secret").await, 1);
    rig.write(&mut log, user(2), erased(user(2), None)).await;
    for _ in 0..2 {
        erase(&rig, &log, user(2), 8).await;
        let shown: Vec<_> = history(&rig, &log).await.into_iter().map(|m| (m.seq, m.deleted, m.body.bytes)).collect();
        let open = |seq, text: &str| (seq, false, text.as_bytes().to_vec());
        assert_eq!(shown, [(2, true, vec![]), open(3, "open one"), (5, true, vec![]), open(7, "open two")]);
        assert_eq!((found(&rig, &log, "secret").await, found(&rig, &log, "open").await), (0, 2));
    }
    let records = rig.page(log.room, 1, 8).await;
    let seqs: Vec<u64> = records.iter().map(|record| record.event.head.seq).collect();
    assert_eq!(seqs, (1..=8).collect::<Vec<u64>>(), "the log stays dense");
    let bytes = super::bytes_of(&records);
    assert!(!bytes.windows(6).any(|part| part == b"secret"));
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!((now.deleted, now.as_of, now.body, now.edits), (true, 8, None, vec![]));
    let (_, now) = rig.target(log.room, 5).await.unwrap();
    assert_eq!((now.deleted, now.as_of), (true, 6), "what was deleted before stays as it was");

    let rig = rig.reopen().await;
    assert_eq!(found(&rig, &log, "secret").await, 0);
    assert_eq!(history(&rig, &log).await.iter().filter(|message| message.deleted).count(), 2);
}

pub async fn erase_keeps_keys_and_members(mut rig: Rig) {
    let mut log = cast(&mut rig).await;
    let before = sent(&rig, log.room, user(2)).await;
    rig.write(&mut log, user(2), erased(user(2), None)).await;
    erase(&rig, &log, user(2), 8).await;
    for (key, seq) in before {
        match rig.read(Read::Key { room: log.room, actor: user(2), key }).await {
            Found::Key(Some((found, _))) => assert_eq!(found, seq),
            other => panic!("{other:?}"),
        }
    }
    // A retry of an old key still gets its seq.
    let key = Key::derived(b't', log.room, 2);
    let mut next = log.clone();
    let retry = next.record_with_key(user(2), key, posted("secret one"));
    let reply = rig.append(log.room, 9, vec![retry]).await;
    assert!(matches!(reply.then, AppendThen::Duplicate { seq: 2, .. }), "{reply:?}");
    let member = rig.store.member(log.room, user(2)).await.unwrap().unwrap();
    assert_eq!((member.is_member(), member.left_seq), (false, 8));
    assert_eq!(rig.store.room(log.room).await.unwrap().unwrap().members, 1);
    assert_eq!(rig.store.rooms_of(user(2), 0, 10).await.unwrap().0.len(), 0);
}

/// What happened to a message between the event and the blanking means nothing; what others and later events say stays.
pub async fn erase_is_as_of_its_event(mut rig: Rig) {
    let mut log = cast(&mut rig).await;
    rig.write(&mut log, user(2), erased(user(2), None)).await;
    rig.write(&mut log, user(1), super::log::reacted(2, "+1")).await;
    rig.write(&mut log, user(1), super::log::pinned(2)).await;
    rig.write(&mut log, user(1), posted("later")).await;
    rig.store.erase(log.room, user(2), (1..=11).collect(), 8).await.unwrap();
    let messages = history(&rig, &log).await;
    let first = messages.iter().find(|message| message.seq == 2).unwrap();
    assert!(first.deleted && first.reactions.is_empty() && !first.pinned);
    assert_eq!(rig.target(log.room, 2).await.unwrap().1.as_of, 8);
    assert_eq!(found(&rig, &log, "open").await + found(&rig, &log, "later").await, 3, "others' messages stay");
}

pub async fn last_owner_leaves_an_heir(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), erased(user(1), Some(user(2)))).await;
    let row = rig.store.room(log.room).await.unwrap().unwrap();
    assert_eq!((row.members, row.owners), (1, 1));
    let heir = rig.store.member(log.room, user(2)).await.unwrap().unwrap();
    assert_eq!((heir.role, heir.seq), (client_protocol::room::role::OWNER, 2));
}

pub async fn an_erase_is_remembered_until_it_is_finished(rig: Rig) {
    for (n, name) in [(1, "ada"), (2, "bob"), (3, "eve")] {
        rig.store.create_account(account(n, name)).await.unwrap();
    }
    assert_eq!(rig.store.erasing().await.unwrap(), []);
    rig.store.set_account_status(user(1), status::ERASED, 5).await.unwrap();
    rig.store.set_account_status(user(2), status::DISABLED, 5).await.unwrap();
    rig.store.set_account_status(user(3), status::ERASED, 5).await.unwrap();
    let rig = rig.reopen().await;
    let mut erasing = rig.store.erasing().await.unwrap();
    erasing.sort_unstable();
    let [(ada, ada_key), (eve, eve_key)] = erasing[..] else { panic!("{erasing:?}") };
    assert_eq!((ada, eve), (user(1), user(3)));
    assert_ne!(ada_key, eve_key);
    for (n, key) in [(1, Some(ada_key)), (2, None), (3, Some(eve_key)), (4, None)] {
        assert_eq!(rig.store.erase_key(user(n)).await.unwrap(), key, "{n}");
    }
    rig.store.set_account_status(user(3), status::ERASED, 6).await.unwrap();
    rig.store.finish_erase(user(1)).await.unwrap();
    rig.store.finish_erase(user(1)).await.unwrap();
    let rig = rig.reopen().await;
    assert_eq!(rig.store.erasing().await.unwrap(), [(user(3), eve_key)], "it goes on with the same key");
    assert_eq!(
        (rig.store.erase_key(user(1)).await.unwrap(), rig.store.erase_key(user(3)).await.unwrap()),
        (None, Some(eve_key))
    );
    let account = rig.store.account(user(1)).await.unwrap().unwrap();
    assert_eq!((account.username.as_str(), account.email.as_str(), account.display_name.as_str()), ("", "", ""));
}

pub async fn purge_changes_nothing_that_can_be_read(mut rig: Rig) {
    let log = cast(&mut rig).await;
    let before = rig.page(log.room, 1, 100).await;
    rig.store.purge().await.unwrap();
    assert_eq!(rig.page(log.room, 1, 100).await, before);
    let mut rig = rig.reopen().await;
    assert_eq!(rig.page(log.room, 1, 100).await, before);
    assert_eq!(found(&rig, &log, "open").await, 2);
}
