//! One fault at a time, at the worst moment.

use crate::proxy::{Fault, Proxy};
use crate::store_suite::log::{Log, created, deleted, edited, key, member, posted, room, user};
use crate::{Node, assert_log};
use client_protocol::EventBody;
use client_protocol::room::kind::GROUP;
use components::edge::{AppendThen, Record};
use mongo_server::Database;
use server::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Longer than a call may take: its outcome is unknown by then.
const LATE: Duration = Duration::from_millis(2_500);

/// A room with one event, a node that reaches the database through a proxy, and what its log is.
struct Scene {
    proxy: Proxy,
    node: Node,
    log: Log,
    records: Vec<Record>,
    database: Database,
}

impl Scene {
    async fn new() -> Self {
        let database = mongo_server::database();
        let proxy = Proxy::start(database.address()).await;
        let node = Node::open(&proxy.uri(database.name())).await;
        let mut scene = Self { proxy, node, log: Log::new(room(1)), records: Vec::new(), database };
        scene.write(vec![created(GROUP, "group", &[user(2)])]).await;
        scene
    }

    fn next(&mut self, bodies: Vec<EventBody>) -> Vec<Record> {
        bodies.into_iter().map(|body| self.log.record(user(1), body)).collect()
    }

    /// Appends events, which must go in.
    async fn write(&mut self, bodies: Vec<EventBody>) -> bool {
        let expected_seq = self.log.seq + 1;
        let records = self.next(bodies);
        let answered = self.node.append(self.log.room, expected_seq, records.clone()).await;
        assert_eq!((answered.appended, &answered.then), (records.len(), &AppendThen::Done));
        assert!(answered.first_after < Duration::from_secs(2), "no answer for {:?}", answered.first_after);
        self.records.extend(records);
        answered.was_in_doubt
    }

    /// Goes on as usual, and looks at everything.
    async fn end(mut self) {
        self.proxy.heal();
        self.write(vec![posted("and on")]).await;
        self.node.close().await;
        assert_log(&self.database.uri, &self.log, &self.records).await;
    }
}

fn messages(count: usize) -> Vec<EventBody> {
    (0..count).map(|n| posted(&n.to_string())).collect()
}

/// Whatever happens to whichever write of an append: it is in once, and so is what follows from it.
async fn once_in_spite_of(fault: Fault) {
    for collection in ["events", "rooms", "dirty", "members"] {
        for command in ["insert", "update"] {
            let mut scene = Scene::new().await;
            scene.proxy.next(command, collection, 1, fault.clone());
            scene.write(messages(1)).await;
            scene.write(messages(5)).await;
            let mut join = messages(2);
            join.push(EventBody::MemberAdded(member(user(3))));
            scene.write(join).await;
            let row = scene.node.store.room(scene.log.room).await.unwrap().unwrap();
            assert_eq!(row.members, 3, "{fault:?} of {command} on {collection}");
            scene.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_a_write() {
    once_in_spite_of(Fault::CutBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_the_reply_of_a_write() {
    once_in_spite_of(Fault::CutAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_lands_after_its_sender_gave_up() {
    for count in [1, 5] {
        let mut scene = Scene::new().await;
        scene.proxy.next("insert", "events", 1, Fault::Late(LATE));
        assert!(scene.write(messages(count)).await, "it was in doubt");
        scene.write(messages(count)).await;
        tokio::time::sleep(LATE).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_come_too_late() {
    for collection in ["events", "rooms"] {
        let mut scene = Scene::new().await;
        let command = if collection == "events" { "insert" } else { "update" };
        scene.proxy.next(command, collection, 2, Fault::LateReply(LATE));
        scene.write(messages(3)).await;
        scene.end().await;
    }
}

/// The slot goes to another node while the first insert is held; when it arrives at last, it changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_is_faster_than_a_write_that_is_held() {
    let mut scene = Scene::new().await;
    let mut other = Node::open(&scene.database.uri).await;
    let held = Arc::new(Notify::new());
    scene.proxy.next("insert", "events", 1, Fault::Held(Arc::clone(&held)));
    let mut foreign = scene.log.clone();
    let mine = scene.next(messages(3));
    let token = scene.node.submit(scene.log.room, 2, mine);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let theirs = vec![foreign.record_with_key(user(2), key(9), posted("faster"))];
    let answered = other.append(foreign.room, 2, theirs.clone()).await;
    assert_eq!(answered.then, AppendThen::Done);
    let answered = scene.node.answer(token).await;
    assert!(answered.was_in_doubt && answered.first_after < Duration::from_secs(2));
    assert_eq!((answered.appended, answered.then), (0, AppendThen::Conflict { log: theirs.clone() }));
    held.notify_waiters();
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.records.extend(theirs);
    scene.log = foreign;
    other.close().await;
    scene.end().await;
}

/// The reply is lost that said how many went in before a key that is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_and_a_duplicate_of_which_nobody_heard() {
    for fault in [Fault::CutAfter, Fault::CutBefore, Fault::Late(LATE)] {
        let mut scene = Scene::new().await;
        let known = scene.log.record_with_key(user(1), key(1), posted("known"));
        let time_ms = known.event.head.time_ms;
        assert_eq!(scene.node.append(scene.log.room, 2, vec![known.clone()]).await.then, AppendThen::Done);
        scene.records.push(known);
        let before = scene.log.clone();
        let mut batch = scene.next(messages(2));
        batch.push(scene.log.record_with_key(user(1), key(1), posted("known again")));
        batch.extend(scene.next(messages(1)));
        scene.proxy.next("insert", "events", 1, fault.clone());
        let answered = scene.node.append(scene.log.room, 3, batch.clone()).await;
        assert_eq!((answered.appended, answered.then), (2, AppendThen::Duplicate { seq: 2, time_ms }), "{fault:?}");
        scene.records.extend(batch[..2].iter().cloned());
        scene.log = Log { seq: before.seq + 2, message_no: before.message_no + 2, ..scene.log };
        tokio::time::sleep(if matches!(fault, Fault::Late(_)) { LATE } else { Duration::ZERO }).await;
        scene.end().await;
    }
}

/// A majority read does not see yet what the index saw: neither answer may be given before it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_and_not_visible_yet() {
    // Another node's event.
    let mut scene = Scene::new().await;
    let mut other = Node::open(&scene.database.uri).await;
    let mut foreign = scene.log.clone();
    let theirs = vec![foreign.record_with_key(user(2), key(9), posted("faster"))];
    assert_eq!(other.append(foreign.room, 2, theirs.clone()).await.then, AppendThen::Done);
    scene.proxy.next("find", "events", 5, Fault::FindsNothing);
    let late = scene.next(messages(1));
    let answered = scene.node.append(scene.log.room, 2, late).await;
    assert_eq!((answered.appended, answered.then), (0, AppendThen::Conflict { log: theirs.clone() }));
    scene.log = foreign;
    scene.records.extend(theirs);
    other.close().await;
    scene.end().await;

    // Our own, of which the reply was lost.
    let mut scene = Scene::new().await;
    let (mut cut, mut blind) = (1, 5);
    scene.proxy.rule(move |command, collection| match (command, collection) {
        ("insert", "events") if cut > 0 => {
            cut -= 1;
            Some(Fault::CutAfter)
        }
        ("find", "events") if cut == 0 && blind > 0 => {
            blind -= 1;
            Some(Fault::FindsNothing)
        }
        _ => None,
    });
    assert!(scene.write(messages(2)).await);
    scene.end().await;
}

/// Bodies that are blanked stay so, whichever write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_blanks_in_spite_of_lost_updates() {
    for nth in 0..4 {
        let mut scene = Scene::new().await;
        scene.write(vec![posted("secret-one")]).await;
        scene.write(vec![edited(2, "secret-two")]).await;
        let mut seen = 0;
        scene.proxy.rule(move |command, _| {
            seen += usize::from(command == "update");
            (command == "update" && seen == nth + 1).then_some(Fault::CutAfter)
        });
        let delete = scene.next(vec![deleted(2)]);
        let answered = scene.node.append(scene.log.room, 4, delete).await;
        assert_eq!(answered.then, AppendThen::Done);
        let page = scene.node.said(scene.log.room).await;
        assert!(!page.contains("secret-"), "update {nth} was lost: {page}");
        scene.node.close().await;
    }
}
