//! The index of words: what it has of messages that are changed while they are indexed, and after crashes.

use super::super::index::Reread;
use super::*;
use crate::store::SearchQuery;
use crate::store::words::Wanted;
use client_protocol::limits::SEARCH_PAGE_MAX;

/// A room whose first block is complete with its event 129: message n is event n + 1, and has the words `tide` and `n<event>`.
fn filled() -> (Log, Vec<Record>) {
    let mut log = Log::new(room(1));
    let mut records = vec![log.record(user(1), created(GROUP, "group", &[user(2)]))];
    records.extend((2..=129).map(|seq| log.record(user(1), posted(&format!("tide n{seq} secret-{seq}")))));
    (log, records)
}

impl Rig {
    fn done(&self, log: &mut Log, actor: UserId, body: EventBody) {
        let record = log.record(actor, body);
        assert_eq!(self.append(log.room, record.event.head.seq, vec![record]), AppendThen::Done);
    }

    /// What a search finds on its first page.
    fn search(&self, text: &str) -> Vec<u64> {
        let wanted = Wanted::parse(text).unwrap();
        let limit = SEARCH_PAGE_MAX as u32;
        let query = SearchQuery { room: room(1), viewer: user(1), wanted, before: 0, last_seq: u64::MAX, limit };
        let page = runtime().block_on(self.store.search(query)).unwrap();
        page.messages.into_iter().map(|message| message.seq).collect()
    }

    /// The documents of the index, as they are stored.
    fn blocks(&self) -> Vec<Document> {
        let link = &self.store.shared.link;
        self.store.shared.handle.block_on(documents(link, Collection::Words))
    }

    /// The words of the first block, once it is indexed.
    fn words(&self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let words = self.blocks().first().and_then(|block| block.get_binary_generic("words").ok().cloned());
            if let Some(words) = words {
                return words;
            }
            assert!(Instant::now() < deadline, "a block was never indexed: {:?}", self.blocks());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_clean(&self, what: &str) {
        let check = runtime().block_on(self.store.check(room(1), false)).unwrap();
        assert_eq!(check.differences, Vec::<String>::new(), "{what}");
    }
}

fn has(words: &[u8], word: &str) -> bool {
    words.windows(word.len()).any(|found| found == word.as_bytes())
}

fn changes(rig: &Rig) -> Vec<i64> {
    rig.blocks().iter().map(|block| block.get_i64("changes").unwrap()).collect()
}

#[test]
fn a_block_is_indexed_when_it_is_complete_and_anew_after_a_change() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let (mut log, records) = filled();
    let (most, last) = records.split_at(128);
    assert_eq!(rig.append(log.room, 1, most.to_vec()), AppendThen::Done);
    assert_eq!(rig.append(log.room, 129, last.to_vec()), AppendThen::Done);
    let words = rig.words();
    assert!(has(&words, "n2") && has(&words, "n129"));
    assert_eq!((rig.search("n77"), rig.search("tide n129")), (vec![77], vec![129]));
    assert_eq!(rig.search("tide").len(), SEARCH_PAGE_MAX);
    // An edit takes the words out before it is answered, and the next search has the block indexed again.
    rig.done(&mut log, user(1), edited(77, "neap"));
    let block = rig.blocks().remove(0);
    assert!(!block.contains_key("words") && !block.contains_key("seqs"), "{block}");
    assert_eq!((rig.search("n77"), rig.search("neap")), (vec![], vec![77]));
    let words = rig.words();
    assert!(has(&words, "neap") && !has(&words, "n77") && has(&words, "n78"));
    assert_eq!((rig.search("n77"), rig.search("neap"), changes(&rig)), (vec![], vec![77], vec![1]));
    rig.is_clean("after an edit");
    // What changes no words does not touch them.
    rig.done(&mut log, user(2), reacted(77, "tea"));
    assert_eq!((rig.words(), changes(&rig)), (words, vec![1]));
    rig.done(&mut log, user(1), deleted(77));
    assert_eq!((rig.search("neap"), rig.search("n78")), (vec![], vec![78]));
    assert!(!has(&rig.words(), "neap"));
    rig.is_clean("after a delete");
    // An erase is one, too.
    let events = (2..=40).collect();
    runtime().block_on(rig.store.erase(log.room, user(1), events, 1_000)).unwrap();
    let block = rig.blocks().remove(0);
    assert!(!block.contains_key("words"), "{block}");
    assert_eq!((rig.search("n40"), rig.search("n41")), (vec![], vec![41]));
    assert!(!has(&rig.words(), "n40"));
}

#[test]
fn what_another_server_changed_meanwhile_is_not_indexed_as_it_was() {
    let database = mongo_server::database();
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rig, other) = (Rig::open(&database.uri, mine.path()), Rig::open(&database.uri, theirs.path()));
    let (mut log, records) = filled();
    // Of a block that two servers wrote to, the log is read.
    let (most, last) = records.split_at(127);
    assert_eq!(rig.append(log.room, 1, most.to_vec()), AppendThen::Done);
    log.seq = 127;
    log.message_no = 126;
    other.done(&mut log, user(1), edited(50, "neap"));
    assert_eq!(changes(&rig), [1]);
    // Its place was taken: the world reads what came, and sends the rest behind that.
    let then = rig.append(log.room, 128, last.to_vec());
    let then = if then == AppendThen::InDoubt { rig.appended.recv_timeout(PATIENCE).unwrap().then } else { then };
    assert!(matches!(then, AppendThen::Conflict { .. }), "{then:?}");
    let behind = last.iter().map(|record| log.record(user(1), record.event.body.clone())).collect();
    assert_eq!(rig.append(log.room, 129, behind), AppendThen::Done);
    let words = rig.words();
    assert!(has(&words, "neap") && !has(&words, "n50") && has(&words, "n51"));
    assert_eq!((rig.search("n50"), rig.search("neap")), (vec![], vec![50]));
    rig.is_clean("of two servers");
}

#[test]
fn what_was_changed_before_its_block_is_complete_is_not_indexed_as_it_was_posted() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let (mut log, records) = filled();
    let (most, last) = records.split_at(128);
    assert_eq!(rig.append(log.room, 1, most.to_vec()), AppendThen::Done);
    log.seq = 128;
    log.message_no = 127;
    rig.done(&mut log, user(1), edited(50, "neap"));
    rig.done(&mut log, user(1), last[0].event.body.clone());
    let words = rig.words();
    assert!(has(&words, "neap") && !has(&words, "n50") && has(&words, "n129"));
    assert_eq!((rig.search("n50"), rig.search("neap"), changes(&rig)), (vec![], vec![50], vec![1]));
    rig.is_clean("changed before its end");
}

#[test]
fn what_is_changed_while_its_block_is_indexed_is_not_indexed_as_it_was() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let (mut log, records) = filled();
    assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
    rig.words();
    let handle = rig.store.shared.handle.clone();
    let link = Arc::clone(&rig.store.shared.link);
    assert!(handle.block_on(Reread::read(&link, log.room, 0, 129)).unwrap().is_none(), "it is indexed");
    // Nobody indexes it while it is not searched.
    for (text, is_known) in [("neap", true), ("ebb", false)] {
        rig.done(&mut log, user(1), edited(50, text));
        if !is_known {
            let drop = async { link.collection::<Document>(Collection::Words).delete_many(doc! {}).await.unwrap() };
            handle.block_on(drop);
        }
        let before = handle.block_on(Reread::read(&link, log.room, 0, 129)).unwrap().unwrap();
        rig.done(&mut log, user(1), edited(51, text));
        assert!(!handle.block_on(before.write(&link)).unwrap(), "{text}: what was read is older than the change");
        assert!(!rig.blocks()[0].contains_key("words"));
        let after = handle.block_on(Reread::read(&link, log.room, 0, 129)).unwrap().unwrap();
        assert!(handle.block_on(after.write(&link)).unwrap());
        assert_eq!((rig.search("n51"), rig.search(text)), (vec![], vec![51, 50]));
    }
    rig.is_clean("changed while it was indexed");
}

#[test]
fn a_crash_between_a_change_and_its_words_leaves_no_word() {
    for crash_before in 0.. {
        let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
        let rig = Rig::open(&database.uri, folder.path());
        let (mut log, records) = filled();
        assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
        assert!(has(&rig.words(), "n77"));
        rig.store.shared.link.writes_left.store(crash_before, Ordering::SeqCst);
        let mut has_crashed = false;
        let changes = [(77, edited(77, "neap")), (78, deleted(78))];
        for (_, change) in &changes {
            let record = log.record(user(1), change.clone());
            has_crashed |= rig.append(log.room, record.event.head.seq, vec![record]) != AppendThen::Done;
            if has_crashed {
                break;
            }
        }
        rig.crash();
        let rig = Rig::open(&database.uri, folder.path());
        for room in runtime().block_on(rig.store.dirty_rooms()).unwrap() {
            assert!(matches!(rig.read(Read::Room { room }), Found::Room(_)));
        }
        let what = format!("a crash before write {crash_before}");
        assert_healed(&rig, log.room, &what);
        rig.is_clean(&what);
        let reached = rig.log(log.room).len() as u64;
        for (seq, _) in changes.iter().take((reached - 129) as usize) {
            assert_eq!(rig.search(&format!("n{seq}")), [] as [u64; 0], "{what}");
            assert!(!has(&rig.words(), &format!("n{seq}")), "{what}");
        }
        rig.store.close();
        if !has_crashed {
            assert!(crash_before > 4, "two changes are {crash_before} writes only");
            return;
        }
    }
}

/// Schema 1 had the words in the events.
#[test]
fn words_leave_the_events() {
    [false, true].into_iter().for_each(words_leave);
}

fn words_leave(is_half_way: bool) {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let (log, records) = filled();
    assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
    rig.words();
    rig.store.close();
    let as_before = async {
        let link = Link::new(&database.uri).await.unwrap();
        let events = link.collection::<Document>(Collection::Events);
        events.update_many(doc! {}, doc! { "$set": { "words": ["tide"] } }).await.unwrap();
        link.collection::<Document>(Collection::Words).delete_many(doc! {}).await.unwrap();
        let meta = link.collection::<Document>(Collection::Meta);
        meta.update_one(doc! { "_id": "starling" }, doc! { "$set": { "version": 1_i64 } }).await.unwrap();
        let index = mongodb::IndexModel::builder().keys(doc! { "room_id": 1, "words": 1, "seq": 1 }).build();
        events.create_index(index).await.unwrap();
        link.end().await;
    };
    runtime().block_on(as_before);
    // A start that ended half-way: the index is gone, and some of the words.
    let half_way = async {
        let link = Link::new(&database.uri).await.unwrap();
        let events = link.collection::<Document>(Collection::Events);
        events.drop_index("room_id_1_words_1_seq_1").await.unwrap();
        events.update_one(doc! { "seq": 7_i64 }, doc! { "$unset": { "words": "" } }).await.unwrap();
        link.end().await;
    };
    if is_half_way {
        runtime().block_on(half_way);
    }
    let rig = Rig::open(&database.uri, folder.path());
    let link = Arc::clone(&rig.store.shared.link);
    let left = async move {
        let events = link.collection::<Document>(Collection::Events);
        let with_words = events.count_documents(doc! { "words": { "$exists": true } }).await.unwrap();
        (with_words, events.list_index_names().await.unwrap(), versions(&link).await)
    };
    let (with_words, indexes, versions) = rig.store.shared.handle.block_on(left);
    assert_eq!((with_words, versions), (0, vec![i64::from(SCHEMA)]));
    assert!(!indexes.iter().any(|name| name.contains("words")), "{indexes:?}");
    assert_eq!(rig.search("n77"), [77]);
    assert!(has(&rig.words(), "n77"), "a search has the block indexed");
}

#[test]
fn a_check_finds_and_mends_words() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let (log, records) = filled();
    assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
    let words = rig.words();
    let tamper = |id: String, change: Document| {
        let link = Arc::clone(&rig.store.shared.link);
        let update = async move {
            let blocks = link.collection::<Document>(Collection::Words);
            blocks.update_one(doc! { "_id": id }, change).upsert(true).await.unwrap();
        };
        rig.store.shared.handle.block_on(update);
    };
    let id = |block| super::super::ids::block_id(log.room, block);
    let binary = |bytes: &[u8]| super::super::documents::binary(bytes.to_vec());
    let seqs: Vec<u8> = (3..=130_u64).flat_map(u64::to_le_bytes).collect();
    for (block, set) in [
        (0, doc! { "words": binary(b"\x07strange\x01\x05") }),
        (0, doc! { "seqs": binary(&seqs) }),
        (0, doc! { "seqs": binary(b"few") }),
        (1, doc! { "changes": 0_i64, "seqs": binary(&seqs), "words": binary(&words) }),
    ] {
        tamper(id(block), doc! { "$set": set.clone() });
        let check = |mend| runtime().block_on(rig.store.check(log.room, mend)).unwrap().count;
        assert_eq!((check(false), check(true), check(false)), (1, 1, 0), "{set}");
        assert_eq!((rig.words(), rig.search("n77")), (words.clone(), vec![77]));
    }
    let left = rig.blocks();
    assert!(!left[1].contains_key("words"), "{left:?}");
}
