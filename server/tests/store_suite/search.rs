//! Search: messages by their words, users by the start of a name.

use super::Rig;
use super::accounts::account;
use super::append::group;
use super::log::{Log, deleted, edited, pinned, posted, user};
use client_protocol::EventBody;
use client_protocol::chat::{Body, MessagePosted, MessageTail, SearchPage, format};
use components::rows::account as status;
use server::store::words::Wanted;
use server::store::{NameCursor, ProfilePatch, SearchQuery, UserPage, UserSearch};

pub fn query(log: &Log, text: &str) -> SearchQuery {
    let wanted = Wanted::parse(text).unwrap();
    SearchQuery { room: log.room, viewer: user(1), wanted, before: 0, last_seq: u64::MAX, limit: 50 }
}

async fn ask(rig: &Rig, query: SearchQuery) -> SearchPage {
    rig.store.search(query).await.unwrap()
}

fn seqs(page: &SearchPage) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq).collect()
}

/// All that a search finds, page by page.
pub async fn all(rig: &Rig, query: SearchQuery) -> Vec<u64> {
    let (mut found, mut before) = (Vec::new(), query.before);
    loop {
        let page = ask(rig, SearchQuery { before, ..query.clone() }).await;
        assert!(page.messages.len() <= query.limit as usize);
        found.extend(seqs(&page));
        if page.next == 0 {
            return found;
        }
        assert!(before == 0 || page.next < before, "a search moves on");
        before = page.next;
    }
}

async fn found(rig: &Rig, log: &Log, text: &str) -> Vec<u64> {
    all(rig, query(log, text)).await
}

pub async fn by_words(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for text in ["The high tide at noon", "tides and boats", "HIGH water", "Café Ångström", "東京 tide"] {
        rig.write(&mut log, user(1), posted(text)).await;
    }
    let other = group(&mut rig, 2).await;
    assert_eq!(found(&rig, &log, "tide").await, [6, 3, 2]);
    assert_eq!(found(&rig, &log, "tide ").await, [6, 2], "a whole word");
    assert_eq!(found(&rig, &log, "high").await, [4, 2]);
    assert_eq!(found(&rig, &log, "TIDE, high").await, [2], "all words, in any order");
    assert_eq!(found(&rig, &log, "cafe angs").await, [5]);
    assert_eq!(found(&rig, &log, "京").await, [6]);
    assert_eq!(found(&rig, &log, "tid noon").await, [] as [u64; 0], "only the last word may be a start");
    assert_eq!(found(&rig, &log, "whale").await, [] as [u64; 0]);
    assert_eq!(found(&rig, &other, "tide").await, [] as [u64; 0], "words are of one room");
    let message = ask(&rig, query(&log, "angstrom")).await.messages.remove(0);
    assert_eq!((message.body, message.message_no, message.as_of), (Body::text("Café Ångström"), 4, 6));
    let rig = rig.reopen().await;
    assert_eq!(found(&rig, &log, "tide").await, [6, 3, 2]);
}

pub async fn paged_newest_first(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let texts = (0..60).map(|n| (user(1), posted(if n % 3 == 0 { "tide high" } else { "tide low" }))).collect();
    rig.write_all(&mut log, texts).await;
    let first = ask(&rig, SearchQuery { limit: 8, ..query(&log, "high tide") }).await;
    assert_eq!(seqs(&first), (0..8).map(|n| 59 - 3 * n).collect::<Vec<u64>>());
    assert!(first.next > 0 && first.next <= 38, "{}", first.next);
    let expected: Vec<u64> = (0..20).map(|n| 59 - 3 * n).collect();
    for limit in [1, 7, 8, 20, 50] {
        assert_eq!(all(&rig, SearchQuery { limit, ..query(&log, "high tide") }).await, expected, "{limit}");
        assert_eq!(all(&rig, SearchQuery { limit, ..query(&log, "hi") }).await, expected, "{limit}");
    }
    let below = all(&rig, SearchQuery { before: 20, ..query(&log, "high") }).await;
    assert_eq!(below, [17, 14, 11, 8, 5, 2]);
}

pub async fn up_to_what_the_viewer_may_see(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write_all(&mut log, (0..10).map(|_| (user(1), posted("tide"))).collect()).await;
    assert_eq!(all(&rig, SearchQuery { last_seq: 5, ..query(&log, "tide") }).await, [5, 4, 3, 2]);
    assert_eq!(all(&rig, SearchQuery { last_seq: 5, before: 4, ..query(&log, "ti") }).await, [3, 2]);
    assert_eq!(all(&rig, SearchQuery { last_seq: 0, ..query(&log, "tide") }).await, [] as [u64; 0]);
    // Nor what was edited into an old message afterwards.
    let first = 2;
    let last_seq = log.seq;
    rig.write(&mut log, user(1), edited(first, "zebra")).await;
    assert_eq!(found(&rig, &log, "zebra").await, [first]);
    assert_eq!(all(&rig, SearchQuery { last_seq, ..query(&log, "zebra") }).await, [] as [u64; 0]);
    // Nor a message by words that it has no more.
    assert_eq!(all(&rig, SearchQuery { last_seq, ..query(&log, "tide") }).await, (3..=11).rev().collect::<Vec<u64>>());
    rig.write(&mut log, user(1), edited(first, "zebra on the tide")).await;
    assert_eq!(all(&rig, SearchQuery { last_seq, ..query(&log, "tide") }).await, (2..=11).rev().collect::<Vec<u64>>());
}

pub async fn follows_edits_and_deletes(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("high tide")).await;
    rig.write(&mut log, user(1), posted("low tide")).await;
    rig.write(&mut log, user(1), edited(2, "spring tide")).await;
    assert_eq!(found(&rig, &log, "high").await, [] as [u64; 0]);
    assert_eq!(found(&rig, &log, "spring").await, [2]);
    assert_eq!(found(&rig, &log, "tide").await, [3, 2]);
    rig.write(&mut log, user(1), edited(2, "neap")).await;
    assert_eq!(found(&rig, &log, "tide").await, [3]);
    rig.write(&mut log, user(1), pinned(2)).await;
    assert_eq!(found(&rig, &log, "neap").await, [2], "a pin changes no words");
    rig.write(&mut log, user(1), deleted(2)).await;
    rig.write(&mut log, user(1), deleted(3)).await;
    rig.write(&mut log, user(1), edited(3, "late tide")).await;
    for text in ["high", "spring", "neap", "tide", "late"] {
        assert_eq!(found(&rig, &log, text).await, [] as [u64; 0], "{text}");
    }
    // Posted, edited and deleted in one batch.
    let batch =
        vec![(user(1), posted("ebb")), (user(1), edited(10, "flow")), (user(1), deleted(10)), (user(1), posted("ebb"))];
    rig.write_all(&mut log, batch).await;
    assert_eq!((found(&rig, &log, "ebb").await, found(&rig, &log, "flow").await), (vec![13], vec![]));
}

pub async fn opaque_bodies_are_not_found(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let body = Body { format: format::OPAQUE, bytes: b"tide".to_vec() };
    let opaque = EventBody::MessagePosted(MessagePosted { body, mentions: Vec::new(), tail: MessageTail::default() });
    rig.write(&mut log, user(1), opaque).await;
    let body = Body { format: format::MARKDOWN, bytes: b"**tide**".to_vec() };
    let markdown = EventBody::MessagePosted(MessagePosted { body, mentions: Vec::new(), tail: MessageTail::default() });
    rig.write(&mut log, user(1), markdown).await;
    assert_eq!(found(&rig, &log, "tide").await, [3]);
}

/// A start that very many words have, beside one that few have.
pub async fn starts_of_many_words(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for lot in 0..3 {
        let texts = (0..100).map(|n| (user(1), posted(&format!("x{}y common", lot * 100 + n)))).collect();
        rig.write_all(&mut log, texts).await;
    }
    let every: Vec<u64> = (2..=301).rev().collect();
    assert_eq!(found(&rig, &log, "x").await, every);
    assert_eq!(found(&rig, &log, "common x").await, every);
    assert_eq!(found(&rig, &log, "x29").await.len(), 11, "x29y and x290y to x299y");
    assert_eq!(found(&rig, &log, "common x150").await, [152]);
}

/// As many large messages as fit in a frame, and the rest on the next pages.
pub async fn search_page_fits_in_a_frame(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let filler = "tide ".repeat(1_600);
    rig.write_all(&mut log, (0..20).map(|_| (user(1), posted(&filler))).collect()).await;
    let page = ask(&rig, query(&log, "tide")).await;
    assert!(client_protocol::codec::encode(&page).len() < client_protocol::limits::FRAME_BYTES_MAX);
    assert!(page.next > 0);
    assert_eq!(found(&rig, &log, "tide").await, (2..=21).rev().collect::<Vec<u64>>());
}

async fn users(rig: &Rig, start: &str, after: Option<NameCursor>, limit: u32) -> UserPage {
    rig.store.search_users(UserSearch { start: start.to_owned(), after, limit }).await.unwrap()
}

async fn names(rig: &Rig, start: &str) -> Vec<String> {
    users(rig, start, None, 100).await.accounts.into_iter().map(|account| account.username).collect()
}

pub async fn users_by_name(rig: Rig) {
    for (n, username, shown) in [(1, "ada", "Ada King Lovelace"), (2, "bob", "Bôb"), (3, "adam", "Zoé"), (4, "king", "King")]
    {
        let account = server::store::Account { display_name: shown.to_owned(), ..account(n, username) };
        rig.store.create_account(account).await.unwrap();
    }
    assert_eq!(names(&rig, "ada").await, ["ada", "adam"]);
    assert_eq!(names(&rig, "king").await, ["king", "ada"], "each once, at its first name");
    assert_eq!(names(&rig, "king l").await, ["ada"]);
    assert_eq!(names(&rig, "zoe").await, ["adam"]);
    assert_eq!(names(&rig, "bo").await, ["bob"]);
    assert_eq!(names(&rig, "lace").await, [] as [&str; 0]);
    let patch = ProfilePatch { display_name: Some("Countess".to_owned()), ..ProfilePatch::default() };
    rig.store.update_profile(user(1), patch, 5).await.unwrap();
    assert_eq!(names(&rig, "king").await, ["king"]);
    assert_eq!(names(&rig, "count").await, ["ada"]);
    rig.store.set_account_status(user(2), status::ERASED, 6).await.unwrap();
    assert_eq!(names(&rig, "bo").await, [] as [&str; 0]);
    let rig = rig.reopen().await;
    assert_eq!(names(&rig, "ada").await, ["ada", "adam"]);
}

pub async fn users_paged(rig: Rig) {
    for n in 0..25 {
        rig.store.create_account(account(n, &format!("sailor{n:02}"))).await.unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = users(&rig, "sail", after, 10).await;
        assert!(page.accounts.len() <= 10);
        found.extend(page.accounts.into_iter().map(|account| account.username));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..25).map(|n| format!("sailor{n:02}")).collect::<Vec<_>>());
    // A place that is no longer there, or was never, is a place all the same.
    let page = users(&rig, "sail", Some(NameCursor { name: "sailor22x".to_owned(), user: user(9) }), 10).await;
    assert_eq!(page.accounts.len(), 2);
    let page = users(&rig, "sail", Some(NameCursor { name: "z".to_owned(), user: user(9) }), 10).await;
    assert_eq!((page.accounts.len(), page.next), (0, None));
}
