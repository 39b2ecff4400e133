//! History: pages of messages as they are now.

use super::Rig;
use super::append::group;
use super::log::{Log, deleted, edited, member, mentioning, pinned, posted, reacted, room, user};
use client_protocol::EventBody;
use client_protocol::chat::{Body, HistoryPage, Message, ReactionCount};
use client_protocol::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use client_protocol::tail::EmptyTail;
use server::store::HistoryQuery;

const ALL: HistoryQuery = HistoryQuery {
    room: client_protocol::RoomId::from_bytes([0; 16]),
    viewer: client_protocol::UserId::from_bytes([0; 16]),
    before: 0,
    after: 0,
    limit: 100,
    last_seq: u64::MAX,
};

async fn page(rig: &Rig, log: &Log, query: HistoryQuery) -> HistoryPage {
    rig.store.history(HistoryQuery { room: log.room, viewer: user(1), ..query }).await.unwrap()
}

fn seqs(page: &HistoryPage) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq).collect()
}

/// Messages 2 to 21.
async fn twenty(rig: &mut Rig) -> Log {
    let mut log = group(rig, 1).await;
    rig.write_all(&mut log, (0..20).map(|n| (user(1), posted(&n.to_string()))).collect()).await;
    log
}

pub async fn pages_backwards(mut rig: Rig) {
    let log = twenty(&mut rig).await;
    let newest = page(&rig, &log, HistoryQuery { limit: 8, ..ALL }).await;
    assert_eq!((seqs(&newest), newest.more, newest.head), ((14..=21).collect(), true, 21));
    let older = page(&rig, &log, HistoryQuery { before: 14, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&older), older.more), ((6..=13).collect(), true));
    let oldest = page(&rig, &log, HistoryQuery { before: 6, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&oldest), oldest.more), ((2..=5).collect(), false));
    let exact = page(&rig, &log, HistoryQuery { before: 6, limit: 4, ..ALL }).await;
    assert_eq!((seqs(&exact), exact.more), ((2..=5).collect(), false));
    let message = &newest.messages[7];
    assert_eq!((message.message_no, message.as_of, message.actor), (20, 21, user(1)));
    assert_eq!(message.body, Body::text("19"));
}

pub async fn pages_forwards(mut rig: Rig) {
    let log = twenty(&mut rig).await;
    let next = page(&rig, &log, HistoryQuery { after: 1, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&next), next.more), ((2..=9).collect(), true));
    let next = page(&rig, &log, HistoryQuery { after: 17, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&next), next.more), ((18..=21).collect(), false));
    let next = page(&rig, &log, HistoryQuery { after: 21, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&next), next.more), (vec![], false));
    let next = page(&rig, &log, HistoryQuery { after: 99, limit: 8, ..ALL }).await;
    assert_eq!((seqs(&next), next.more), (vec![], false));
}

pub async fn bounds(mut rig: Rig) {
    let log = twenty(&mut rig).await;
    // Both bounds: the newest of what is between them.
    let between = page(&rig, &log, HistoryQuery { after: 5, before: 12, limit: 4, ..ALL }).await;
    assert_eq!((seqs(&between), between.more), ((8..=11).collect(), true));
    let between = page(&rig, &log, HistoryQuery { after: 5, before: 8, limit: 4, ..ALL }).await;
    assert_eq!((seqs(&between), between.more), ((6..=7).collect(), false));
    // Bounds that cross.
    let none = page(&rig, &log, HistoryQuery { after: 12, before: 5, ..ALL }).await;
    assert_eq!((seqs(&none), none.more), (vec![], false));
    // What the viewer may not see is not there, in both directions.
    let seen = page(&rig, &log, HistoryQuery { last_seq: 10, limit: 4, ..ALL }).await;
    assert_eq!((seqs(&seen), seen.more), ((7..=10).collect(), true));
    let seen = page(&rig, &log, HistoryQuery { last_seq: 10, after: 7, ..ALL }).await;
    assert_eq!((seqs(&seen), seen.more), ((8..=10).collect(), false));
    let seen = page(&rig, &log, HistoryQuery { last_seq: 10, before: 15, limit: 2, ..ALL }).await;
    assert_eq!((seqs(&seen), seen.more), ((9..=10).collect(), true));
    let seen = page(&rig, &log, HistoryQuery { last_seq: 0, ..ALL }).await;
    assert_eq!((seqs(&seen), seen.more), (vec![], false));
}

pub async fn interleaved_events_do_not_count(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for n in 10..20 {
        rig.write(&mut log, user(1), posted(&n.to_string())).await;
        rig.write(&mut log, user(1), EventBody::MemberAdded(member(user(n)))).await;
        rig.write(&mut log, user(1), reacted(2, "+1")).await;
    }
    // Messages are 2, 5, 8, … 29.
    let newest = page(&rig, &log, HistoryQuery { limit: 3, ..ALL }).await;
    assert_eq!((seqs(&newest), newest.more), (vec![23, 26, 29], true));
    let older = page(&rig, &log, HistoryQuery { before: 22, limit: 3, ..ALL }).await;
    assert_eq!(seqs(&older), vec![14, 17, 20]);
    let newer = page(&rig, &log, HistoryQuery { after: 3, limit: 3, ..ALL }).await;
    assert_eq!((seqs(&newer), newer.messages[0].message_no), (vec![5, 8, 11], 2));
    let seen = page(&rig, &log, HistoryQuery { last_seq: 10, limit: 2, ..ALL }).await;
    assert_eq!(seqs(&seen), vec![5, 8]);
}

async fn the_message(rig: &Rig, log: &Log) -> Message {
    page(rig, log, ALL).await.messages.remove(0)
}

pub async fn now_is_shown(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let first = rig.write(&mut log, user(1), mentioning("first", &[user(2)])).await;
    let event = rig.write(&mut log, user(1), edited(2, "second")).await;
    rig.write(&mut log, user(2), reacted(2, "tea")).await;
    rig.write(&mut log, user(1), reacted(2, "+1")).await;
    rig.write(&mut log, user(2), reacted(2, "+1")).await;
    rig.write(&mut log, user(1), pinned(2)).await;
    let message = the_message(&rig, &log).await;
    assert_eq!((message.body, message.edited_ms), (Body::text("second"), event.head.time_ms));
    assert_eq!((message.time_ms, message.key, message.mentions), (first.head.time_ms, first.head.key, vec![user(2)]));
    assert!(message.pinned && !message.deleted);
    let count = |reaction: &str, count, mine| ReactionCount {
        reaction: reaction.to_owned(),
        count,
        mine,
        tail: EmptyTail::default(),
    };
    assert_eq!(message.reactions, vec![count("tea", 1, false), count("+1", 2, true)]);
    assert_eq!(message.as_of, 7);
}

pub async fn deleted_stay_without_body(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), mentioning("first", &[user(2)])).await;
    rig.write(&mut log, user(1), posted("second")).await;
    rig.write(&mut log, user(1), reacted(2, "+1")).await;
    rig.write(&mut log, user(1), deleted(2)).await;
    let all = page(&rig, &log, ALL).await;
    assert_eq!(seqs(&all), vec![2, 3]);
    let message = &all.messages[0];
    assert!(message.deleted && message.body.bytes.is_empty() && message.mentions.is_empty() && message.reactions.is_empty());
    assert!(!all.messages[1].deleted);
}

pub async fn page_fits_in_a_frame(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let large = "x".repeat(BODY_BYTES_MAX);
    rig.write_all(&mut log, (0..30).map(|_| (user(1), posted(&large))).collect()).await;
    let mut before = 0;
    let mut found = Vec::new();
    loop {
        let page = page(&rig, &log, HistoryQuery { before, ..ALL }).await;
        assert!(client_protocol::codec::encode(&page).len() < FRAME_BYTES_MAX - 64);
        let older = seqs(&page);
        before = older[0];
        found.splice(0..0, older);
        if !page.more {
            break;
        }
    }
    assert_eq!(found, (2..=31).collect::<Vec<_>>());
}

pub async fn nothing_there(mut rig: Rig) {
    let log = group(&mut rig, 1).await;
    let none = page(&rig, &log, ALL).await;
    assert_eq!((seqs(&none), none.more, none.head), (vec![], false, 1));
    let none = page(&rig, &Log::new(room(2)), ALL).await;
    assert_eq!((seqs(&none), none.more, none.head), (vec![], false, 0));
}

pub async fn later_changes_are_not_shown_to_who_went(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let bodies = vec![
        (user(1), posted("first")),
        (user(1), posted("second")),
        (user(1), posted("third")),
        (user(1), edited(2, "early")),
        (user(2), reacted(3, "+1")),
        // Up to here.
        (user(1), edited(2, "late")),
        (user(1), edited(3, "late too")),
        (user(1), pinned(4)),
    ];
    rig.write_all(&mut log, bodies).await;
    let shown = |page: HistoryPage| -> Vec<_> {
        page.messages
            .into_iter()
            .map(|m| (String::from_utf8(m.body.bytes).unwrap(), m.edited_ms > 0, m.reactions.len(), m.pinned, m.as_of))
            .collect()
    };
    let all = shown(page(&rig, &log, ALL).await);
    let message = |text: &str, edited, reactions, pinned, as_of| (text.to_owned(), edited, reactions, pinned, as_of);
    assert_eq!(
        all,
        [message("late", true, 0, false, 9), message("late too", true, 1, false, 9), message("third", false, 0, true, 9)]
    );
    let seen = shown(page(&rig, &log, HistoryQuery { last_seq: 6, ..ALL }).await);
    assert_eq!(
        seen,
        [message("early", true, 0, false, 6), message("second", false, 0, false, 6), message("third", false, 0, false, 6)]
    );
    rig.write(&mut log, user(1), deleted(3)).await;
    let seen = page(&rig, &log, HistoryQuery { last_seq: 6, ..ALL }).await;
    assert!(seen.messages[1].deleted && seen.messages[1].body.bytes.is_empty(), "what is gone is gone for everybody");
}
