//! Who sees what: rooms, members and messages, over REST and as queries of QUIC, on a real store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, unreachable_pub)]
#[path = "store_suite/log.rs"]
mod log;
mod rest_support;

use client_protocol::chat::History;
use client_protocol::notification::{ReadMarked, RoomListed};
use client_protocol::room::{ListMembers, ListRooms, MemberChanged, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, Query, RoomId, ServerFrame, UserId};
use components::edge::AppendRequest;
use log::Log;
use reqwest::{Method, StatusCode};
use rest_support::{Person, Rig, is};
use serde_json::{Value, json};
use server::queries::Queries;

fn changed(user: UserId) -> MemberChanged {
    MemberChanged { user, tail: EmptyTail {} }
}

async fn write(rig: &Rig, log: &mut Log, bodies: Vec<(UserId, EventBody)>) {
    let (room, expected_seq) = (log.room, log.seq + 1);
    let records = bodies.into_iter().map(|(actor, body)| log.record(actor, body)).collect();
    rig.append(AppendRequest { room, token: expected_seq, expected_seq, records }).await;
}

/// Ada owns a room of this kind with Bob (a member), Carl (left at 4), Dora (kicked at 5), Emma (banned at 6), Finn (banned at 7 without
/// ever having been there); Gina is nobody. Messages at 2, 3, 8, 9.
struct Cast {
    rig: Rig,
    room: RoomId,
    ada: Person,
    bob: Person,
    carl: Person,
    dora: Person,
    emma: Person,
    finn: Person,
    gina: Person,
}

async fn cast(room_kind: u8) -> Cast {
    let rig = Rig::new().await;
    let names = ["ada", "bob", "carl", "dora", "emma", "finn", "gina"];
    let mut people = Vec::new();
    for name in names {
        people.push(rig.register(name).await);
    }
    let [ada, bob, carl, dora, emma, finn, gina] = people.try_into().unwrap();
    let room = log::room(1);
    let mut log = Log::new(room);
    let a = ada.user;
    let bodies = vec![
        (a, log::created(room_kind, "the room", &[bob.user, carl.user, dora.user, emma.user])),
        (a, log::posted("one")),
        (bob.user, log::posted("two")),
        (carl.user, EventBody::MemberLeft(changed(carl.user))),
        (a, EventBody::MemberKicked(changed(dora.user))),
        (a, EventBody::MemberBanned(changed(emma.user))),
        (a, EventBody::MemberBanned(changed(finn.user))),
        (a, log::posted("three")),
        (bob.user, log::posted("four")),
    ];
    write(&rig, &mut log, bodies).await;
    // The world's followers would write these.
    for person in [&ada, &bob] {
        let listed = EventBody::RoomListed(RoomListed { room, seq: 1, tail: EmptyTail {} });
        write(&rig, &mut Log::new(RoomId::self_log(person.user)), vec![(person.user, listed)]).await;
    }
    Cast { rig, room, ada, bob, carl, dora, emma, finn, gina }
}

fn texts(page: &Value) -> Vec<&str> {
    page["messages"].as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap()).collect()
}

impl Cast {
    async fn messages(&self, who: &Person) -> (StatusCode, Value) {
        self.rig.get(who, &format!("/v1/rooms/{}/messages", self.room)).await
    }

    async fn document(&self, who: &Person) -> (StatusCode, Value) {
        self.rig.get(who, &format!("/v1/rooms/{}", self.room)).await
    }

    async fn members(&self, who: &Person) -> (StatusCode, Value) {
        self.rig.get(who, &format!("/v1/rooms/{}/members", self.room)).await
    }

    async fn read(&self, who: &Person) -> (StatusCode, Value) {
        self.rig.get(who, &format!("/v1/rooms/{}/read", self.room)).await
    }

    /// Members see everything; those who were members read up to their going.
    async fn insiders(&self) {
        for member in [&self.ada, &self.bob] {
            let (status, page) = self.messages(member).await;
            assert_eq!((status, texts(&page)), (StatusCode::OK, vec!["one", "two", "three", "four"]));
            assert_eq!((&page["head"], &page["more"]), (&json!(9), &json!(false)));
            assert_eq!(self.document(member).await.1["members"], 2);
            assert_eq!(self.members(member).await.1["members"].as_array().unwrap().len(), 2);
            assert_eq!(self.read(member).await.0, StatusCode::OK);
        }
        for (who, last) in [(&self.carl, 4), (&self.dora, 5), (&self.emma, 6)] {
            let (status, page) = self.messages(who).await;
            assert_eq!((status, texts(&page)), (StatusCode::OK, vec!["one", "two"]));
            assert_eq!(page["head"], json!(last), "nothing of what came after");
            assert!(page["messages"].as_array().unwrap().iter().all(|message| message["as_of"].as_u64().unwrap() <= last));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_unknown_to_outsiders() {
    let cast = cast(kind::GROUP).await;
    cast.insiders().await;
    for who in [&cast.carl, &cast.dora, &cast.emma, &cast.finn, &cast.gina] {
        is(&cast.document(who).await, 404, "not_found");
        is(&cast.members(who).await, 404, "not_found");
        is(&cast.read(who).await, 404, "not_found");
    }
    for who in [&cast.finn, &cast.gina] {
        is(&cast.messages(who).await, 404, "not_found");
    }
    let nowhere = cast.rig.get(&cast.gina, &format!("/v1/rooms/{}", log::room(77))).await;
    assert_eq!(cast.document(&cast.gina).await, nowhere, "a room that one may not know of answers like none");
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_rooms_are_seen_but_not_read() {
    let cast = cast(kind::PUBLIC).await;
    cast.insiders().await;
    for who in [&cast.carl, &cast.dora, &cast.emma, &cast.finn, &cast.gina] {
        let (status, room) = cast.document(who).await;
        assert_eq!((status, &room["name"], &room["kind"]), (StatusCode::OK, &json!("the room"), &json!("public")));
        let code = if [cast.emma.user, cast.finn.user].contains(&who.user) { "banned" } else { "forbidden" };
        is(&cast.members(who).await, 403, code);
        is(&cast.read(who).await, 403, code);
    }
    is(&cast.messages(&cast.finn).await, 403, "banned");
    is(&cast.messages(&cast.gina).await, 403, "forbidden");
    let (_, found) = cast.rig.get(&cast.gina, "/v1/rooms/public?name=THE%20RO").await;
    assert_eq!(found["rooms"][0]["id"], json!(cast.room.to_string()));
    let (_, found) = cast.rig.get(&cast.gina, "/v1/rooms/public?name=other").await;
    assert_eq!(found, json!({ "rooms": [], "more": false }));
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_logs_are_no_rooms() {
    let cast = cast(kind::GROUP).await;
    let own = cast.ada.user;
    for rest in ["", "/messages", "/members", "/read"] {
        is(&cast.rig.get(&cast.ada, &format!("/v1/rooms/{own}{rest}")).await, 404, "not_found");
        is(&cast.rig.get(&cast.bob, &format!("/v1/rooms/{own}{rest}")).await, 404, "not_found");
    }
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_marks_and_pages() {
    let cast = cast(kind::GROUP).await;
    let (rig, ada, room) = (&cast.rig, &cast.ada, cast.room);
    let (_, list) = rig.get(ada, "/v1/rooms").await;
    assert!(list.get("next").is_none());
    let entry = &list["rooms"][0];
    assert_eq!((&entry["id"], &entry["role"], &entry["kind"]), (&json!(room.to_string()), &json!("owner"), &json!("group")));
    assert_eq!((&entry["head"], &entry["message_no"], &entry["unread"]), (&json!(9), &json!(4), &json!(4)));
    assert_eq!(rig.get(&cast.carl, "/v1/rooms").await.1["rooms"], json!([]));
    // What is stored is what is answered.
    let path = format!("/v1/rooms/{room}/read");
    let put = async |seq: u64| rig.call(ada, Method::PUT, &path, json!({ "seq": seq })).await.1;
    assert_eq!(cast.read(ada).await.1, json!({ "read_seq": 0, "unread": 4, "head": 9, "message_no": 4 }));
    let marked =
        EventBody::ReadMarked(ReadMarked { room, epoch: rig.store.meta().epoch, seq: 8, message_no: 3, tail: EmptyTail {} });
    let mut own = Log { seq: 1, ..Log::new(RoomId::self_log(ada.user)) };
    write(rig, &mut own, vec![(ada.user, marked)]).await;
    assert_eq!(cast.read(ada).await.1, json!({ "read_seq": 8, "unread": 1, "head": 9, "message_no": 4 }));
    assert_eq!(put(2).await["read_seq"], json!(8), "a mark never goes back");
    let page = async |args: &str| rig.get(ada, &format!("/v1/rooms/{room}/messages?{args}")).await.1;
    let newest = page("limit=2").await;
    assert_eq!((texts(&newest), &newest["more"]), (vec!["three", "four"], &json!(true)));
    let before = page("before=8&limit=2").await;
    assert_eq!((texts(&before), &before["more"]), (vec!["one", "two"], &json!(false)));
    let after = page("after=2&limit=2").await;
    assert_eq!((texts(&after), &after["more"]), (vec!["two", "three"], &json!(true)));
    let members = rig.get(ada, &format!("/v1/rooms/{room}/members?limit=1")).await.1;
    assert_eq!((members["members"].as_array().unwrap().len(), &members["more"]), (1, &json!(true)));
    let next = members["members"][0]["user"].as_str().unwrap();
    let members = rig.get(ada, &format!("/v1/rooms/{room}/members?after={next}")).await.1;
    assert_eq!((members["members"].as_array().unwrap().len(), &members["more"]), (1, &json!(false)));
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_there_is_not_made_again() {
    let cast = cast(kind::GROUP).await;
    let (rig, ada, bob) = (&cast.rig, &cast.ada, &cast.bob);
    let direct = RoomId::direct(ada.user, bob.user);
    let mut log = Log::new(direct);
    write(rig, &mut log, vec![(ada.user, log::created(kind::DIRECT, "", &[bob.user]))]).await;
    rig.answer(move |_, _| {
        let mut reply = client_protocol::session::Reply::done(1);
        reply.tail.room = Some(direct);
        Some(reply)
    });
    let body = json!({ "kind": "direct", "members": [ada.user.to_string()] });
    let (status, room) = rig.call(bob, Method::POST, "/v1/rooms", body).await;
    assert_eq!((status, &room["id"], &room["kind"]), (StatusCode::OK, &json!(direct.to_string()), &json!("direct")));
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_quic_see_the_same() {
    let cast = cast(kind::GROUP).await;
    let queries = Queries::new(cast.rig.store.clone());
    let (room, tail) = (cast.room, EmptyTail {});
    let history = |limit: u32| Query::History(History { room, before: 0, after: 0, limit, tail: EmptyTail {} });
    match queries.handle(cast.carl.user, 5, history(50)).await {
        ServerFrame::HistoryPage(5, page) => assert_eq!((page.messages.len(), page.head), (2, 4)),
        other => panic!("{other:?}"),
    }
    for (user, query, code) in [
        (cast.gina.user, history(50), Code::NotFound),
        (cast.ada.user, history(0), Code::InvalidField),
        (
            cast.carl.user,
            Query::ListMembers(ListMembers { room, after: UserId::default(), limit: 10, tail }),
            Code::NotFound,
        ),
    ] {
        match queries.handle(user, 6, query).await {
            ServerFrame::Reply(6, reply) => assert_eq!(reply.code(), code),
            other => panic!("{other:?}"),
        }
    }
    let ask = Query::ListMembers(ListMembers { room, after: UserId::default(), limit: 10_000, tail: EmptyTail {} });
    match queries.handle(cast.bob.user, 7, ask).await {
        ServerFrame::MembersPage(7, page) => assert_eq!((page.members.len(), page.more), (2, false)),
        other => panic!("{other:?}"),
    }
    match queries.handle(cast.bob.user, 8, Query::ListRooms(ListRooms { offset: 0, limit: 10, tail: EmptyTail {} })).await {
        ServerFrame::RoomsPage(8, page) => assert_eq!((page.rooms.len(), page.next), (1, 0)),
        other => panic!("{other:?}"),
    }
    cast.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_shows_what_one_may_read() {
    let cast = cast(kind::GROUP).await;
    let room = cast.room;
    let search = async |person: &Person, rest: &str| cast.rig.get(person, &format!("/v1/rooms/{room}/search?{rest}")).await;
    let (status, page) = search(&cast.ada, "q=o").await;
    assert_eq!((status, texts(&page)), (StatusCode::OK, vec!["one"]));
    let (_, page) = search(&cast.ada, "q=t&limit=1").await;
    assert_eq!(texts(&page), ["three"]);
    let (_, page) = search(&cast.ada, &format!("q=t&before={}", page["next"])).await;
    assert_eq!((texts(&page), &page["next"]), (vec!["two"], &Value::Null));
    let (_, page) = search(&cast.carl, "q=t").await;
    assert_eq!(texts(&page), ["two"], "up to his going");
    assert_eq!(page["messages"][0]["as_of"], 4);
    is(&search(&cast.gina, "q=t").await, 404, "not_found");
    for rest in ["q=", "q=...", "q=a&limit=0", "q=a+b+c+d+e+f+g+h+i", "text=x"] {
        is(&search(&cast.ada, rest).await, 422, "invalid_field");
    }

    let over = async |person: &Person, rest: &str| cast.rig.get(person, &format!("/v1/search?{rest}")).await;
    let (status, found) = over(&cast.bob, "q=fo").await;
    assert_eq!((status, found["rooms"].as_array().unwrap().len(), &found["next"]), (StatusCode::OK, 1, &Value::Null));
    assert_eq!((&found["rooms"][0]["room"], texts(&found["rooms"][0])), (&json!(room.to_string()), vec!["four"]));
    let (_, found) = over(&cast.carl, "q=t").await;
    assert_eq!(found["rooms"], json!([]), "rooms of which one is a member");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_found_by_the_start_of_a_name() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    for name in ["adam", "adele", "bob"] {
        rig.register(name).await;
    }
    let get = async |rest: &str| rig.get(&ada, &format!("/v1/users/search?{rest}")).await;
    let names = |page: &Value| -> Vec<String> {
        page["users"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let (status, page) = get("q=ÁD&limit=2").await;
    assert_eq!((status, names(&page)), (StatusCode::OK, vec!["ada".to_owned(), "adam".to_owned()]));
    assert!(page["users"][0].get("email").is_none());
    let (_, page) = get(&format!("q=ad&limit=2&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((names(&page), &page["next"]), (vec!["adele".to_owned()], &Value::Null));
    for rest in ["q=", "q=a&after=!", "q=a&limit=0", ""] {
        is(&get(rest).await, 422, "invalid_field");
    }
    is(&rig.send(rig.request(Method::GET, "/v1/users/search?q=a")).await, 401, "unauthenticated");
}
