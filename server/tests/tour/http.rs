//! REST: accounts, rooms, messages.

use crate::common::Server;
use crate::common::chat::PASSWORD;
use crate::common::web::{Person, Web};
use serde_json::{Value, json};

const NONE: Value = Value::Null;

/// Values of a field of the members of a list.
fn column(list: &Value, field: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|object| object[field].clone()).collect()
}

#[tokio::test]
async fn accounts_and_logins() {
    let server = Server::start(&[]);
    let web = Web::new(&server);
    let ann = web.register("ann").await;
    let taken = json!({ "username": "ANN", "email": "x@example.org", "password": PASSWORD });
    let (status, problem) = web.open("POST /v1/auth/register", taken).await;
    assert_eq!((status, &problem["code"]), (409, &json!("username_taken")));
    let short = json!({ "username": "bob", "email": "bob@example.org", "password": "short" });
    let (status, problem) = web.open("POST /v1/auth/register", short).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid_field")));
    for login in [json!({ "login": "ann", "password": "wrong wrong" }), json!({ "login": "nobody", "password": PASSWORD })] {
        let (status, problem) = web.open("POST /v1/auth/login", login).await;
        assert_eq!((status, &problem["code"]), (401, &json!("invalid_credentials")));
    }
    let login = json!({ "login": "ann@example.org", "password": PASSWORD });
    let (status, answer) = web.open("POST /v1/auth/login", login).await;
    assert_eq!((status, &answer["tokens"]["token_type"]), (200, &json!("Bearer")));
    let second = Person::of(&answer);

    // A refresh token is good once; whoever shows it again ends the whole login, and no other.
    let (status, fresh) = web.open("POST /v1/auth/refresh", json!({ "refresh_token": second.refresh })).await;
    assert_eq!(status, 200, "{fresh}");
    let renewed = Person::of(&json!({ "user": { "id": second.id }, "tokens": fresh }));
    assert_ne!(renewed.refresh, second.refresh);
    web.ok(&renewed, 200, "GET /v1/users/me", NONE).await;
    let (status, problem) = web.open("POST /v1/auth/refresh", json!({ "refresh_token": second.refresh })).await;
    assert_eq!((status, &problem["code"]), (401, &json!("session_revoked")));
    let (status, _) = web.open("POST /v1/auth/refresh", json!({ "refresh_token": renewed.refresh })).await;
    assert_eq!(status, 401, "its successor has ended too");
    web.refused(&renewed, 401, "session_revoked", "GET /v1/users/me", NONE).await;
    web.ok(&ann, 200, "GET /v1/users/me", NONE).await;

    let change = json!({ "display_name": "Ann B.", "bio": "Knits.", "avatar_url": "https://example.org/ann.png" });
    let me = web.ok(&ann, 200, "PATCH /v1/users/me", change).await;
    assert_eq!((&me["display_name"], &me["email"]), (&json!("Ann B."), &json!("ann@example.org")));
    web.refused(&ann, 422, "invalid_field", "PATCH /v1/users/me", json!({ "nickname": "A" })).await;
    let ben = web.register("ben").await;
    let seen = web.ok(&ben, 200, &format!("GET /v1/users/{}", ann.id), NONE).await;
    assert_eq!((&seen["bio"], &seen["username"], seen.get("email")), (&json!("Knits."), &json!("ann"), None));
    assert_eq!(web.ok(&ben, 200, "GET /v1/users/by-name/ann", NONE).await, seen);
    let nobody = format!("GET /v1/users/{}", uuid::Uuid::new_v4());
    web.refused(&ben, 404, "not_found", &nobody, NONE).await;

    let sessions = web.ok(&ann, 200, "GET /v1/auth/sessions", NONE).await;
    assert_eq!(column(&sessions["sessions"], "current"), [json!(true)]);
    web.ok(&ann, 204, "POST /v1/auth/logout", NONE).await;
    web.refused(&ann, 401, "session_revoked", "GET /v1/users/me", NONE).await;
    let (status, _) = web.open("POST /v1/auth/refresh", json!({ "refresh_token": ann.refresh })).await;
    assert_eq!(status, 401);
    let (status, problem) = web.open("GET /v1/rooms", NONE).await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    let (_, keys) = web.open("GET /.well-known/jwks.json", NONE).await;
    assert_eq!(column(&keys["keys"], "kty"), [json!("OKP")]);
}

#[tokio::test]
async fn rooms_and_members() {
    let server = Server::start(&[]);
    let web = Web::new(&server);
    let (ann, ben, cem) = (web.register("ann").await, web.register("ben").await, web.register("cem").await);

    let direct = json!({ "kind": "direct", "members": [ben.id] });
    let made = web.ok(&ann, 201, "POST /v1/rooms", direct.clone()).await;
    assert_eq!(web.ok(&ann, 200, "POST /v1/rooms", direct).await["id"], made["id"]);
    let other_way = json!({ "kind": "direct", "members": [ann.id] });
    assert_eq!(web.ok(&ben, 200, "POST /v1/rooms", other_way).await["id"], made["id"]);

    let public = json!({ "kind": "public", "name": "lobby", "topic": "Everybody" });
    let lobby = web.ok(&ann, 201, "POST /v1/rooms", public).await;
    let lobby = format!("/v1/rooms/{}", lobby["id"].as_str().unwrap());
    let found = web.ok(&cem, 200, "GET /v1/rooms/public?name=lob", NONE).await;
    assert_eq!((column(&found["rooms"], "name"), &found["more"]), (vec![json!("lobby")], &json!(false)));
    web.refused(&cem, 403, "forbidden", &format!("GET {lobby}/messages"), NONE).await;
    assert_eq!(web.ok(&cem, 200, &format!("POST {lobby}/join"), NONE).await["seq"], 2);
    assert_eq!(web.ok(&cem, 200, &format!("POST {lobby}/leave"), NONE).await["seq"], 3);

    let group = json!({ "kind": "group", "name": "crew", "members": [ben.id] });
    let crew = web.ok(&ann, 201, "POST /v1/rooms", group).await;
    assert_eq!((&crew["kind"], &crew["members"], &crew["creator"]), (&json!("group"), &json!(2), &json!(ann.id)));
    let crew = format!("/v1/rooms/{}", crew["id"].as_str().unwrap());
    web.refused(&cem, 404, "not_found", &format!("GET {crew}"), NONE).await;
    web.refused(&ben, 403, "forbidden", &format!("DELETE {crew}/members/{}", ann.id), NONE).await;
    web.ok(&ann, 200, &format!("POST {crew}/members"), json!({ "user": cem.id })).await;
    web.ok(&ann, 200, &format!("DELETE {crew}/members/{}", cem.id), NONE).await;
    web.ok(&ann, 200, &format!("PUT {crew}/bans/{}", cem.id), NONE).await;
    let (status, _) = web.call(&ann, &format!("POST {crew}/members"), json!({ "user": cem.id })).await;
    assert!((400..500).contains(&status), "a banned user was added");
    web.ok(&ann, 200, &format!("DELETE {crew}/bans/{}", cem.id), NONE).await;
    web.ok(&ann, 200, &format!("POST {crew}/members"), json!({ "user": cem.id })).await;
    let role = format!("PUT {crew}/members/{}/role", ben.id);
    web.refused(&cem, 403, "forbidden", &role, json!({ "role": "admin" })).await;
    web.refused(&ann, 422, "invalid_field", &role, json!({ "role": "captain" })).await;
    web.ok(&ann, 200, &role, json!({ "role": "admin" })).await;
    web.ok(&ben, 200, &format!("PATCH {crew}"), json!({ "topic": "Ropes" })).await;
    assert_eq!(web.ok(&cem, 200, &format!("GET {crew}"), NONE).await["topic"], "Ropes");
    let members = web.ok(&cem, 200, &format!("GET {crew}/members"), NONE).await;
    let mut roles: Vec<String> = column(&members["members"], "role").iter().map(ToString::to_string).collect();
    roles.sort();
    assert_eq!(roles, ["\"admin\"", "\"member\"", "\"owner\""]);
    let page = web.ok(&cem, 200, &format!("GET {crew}/members?limit=2"), NONE).await;
    assert_eq!((column(&page["members"], "user").len(), &page["more"]), (2, &json!(true)));
    let page = web.ok(&cem, 200, &format!("GET {crew}/members?limit=4294967295"), NONE).await;
    assert_eq!(column(&page["members"], "user").len(), 3, "more than the maximum is cut to it");
    for limit in ["0", "-1", "4294967296", "all"] {
        web.refused(&cem, 422, "invalid_field", &format!("GET {crew}/members?limit={limit}"), NONE).await;
    }

    let rooms = web.ok(&ann, 200, "GET /v1/rooms", NONE).await;
    assert_eq!(column(&rooms["rooms"], "kind"), ["group", "public", "direct"], "newest first");
    assert_eq!(rooms["rooms"][2]["peer"], json!(ben.id));
    web.refused(&ann, 400, "malformed", "GET /v1/rooms/no-id", NONE).await;
    web.refused(&ann, 404, "route_not_found", "GET /v1/channels", NONE).await;
    web.refused(&ann, 405, "method_not_allowed", "PUT /v1/rooms", NONE).await;
}

#[tokio::test]
async fn messages_keys_history_and_read_marks() {
    let server = Server::start(&[]);
    let web = Web::new(&server);
    let (ann, ben) = (web.register("ann").await, web.register("ben").await);
    let group = json!({ "kind": "group", "name": "crew", "members": [ben.id] });
    let room = web.ok(&ann, 201, "POST /v1/rooms", group).await;
    let crew = format!("/v1/rooms/{}", room["id"].as_str().unwrap());
    let messages = format!("{crew}/messages");

    let keyed = |key: &str| {
        let request = web.request("POST", &messages).bearer_auth(&ann.token).header("idempotency-key", key);
        request.json(&json!({ "text": "one" }))
    };
    for key in [String::new(), "x".repeat(256), "\u{e9}".to_owned()] {
        let (status, problem) = web.send(keyed(&key)).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_field")), "{key}");
    }
    let (status, first) = web.send(keyed("first-try")).await;
    assert_eq!((status, &first), (201, &json!({ "room": room["id"], "seq": 2 })));
    assert_eq!(web.send(keyed("first-try")).await, (201, first), "the same key, the same answer");
    for text in ["two", "three", "four", "five"] {
        web.ok(&ann, 201, &format!("POST {messages}"), json!({ "text": text, "format": "markdown" })).await;
    }
    web.refused(&ann, 422, "invalid_field", &format!("POST {messages}"), json!({ "text": "x", "colour": 1 })).await;
    web.refused(&ann, 422, "invalid_field", &format!("POST {messages}"), json!({})).await;

    let texts = async |query: &str| {
        let page = web.ok(&ben, 200, &format!("GET {messages}{query}"), NONE).await;
        (column(&page["messages"], "text"), page["more"] == json!(true))
    };
    assert_eq!(texts("").await, (["one", "two", "three", "four", "five"].map(Value::from).to_vec(), false));
    assert_eq!(texts("?limit=2").await, (["four", "five"].map(Value::from).to_vec(), true));
    assert_eq!(texts("?before=4&limit=1").await, (["two"].map(Value::from).to_vec(), true));
    assert_eq!(texts("?after=3&limit=2").await, (["three", "four"].map(Value::from).to_vec(), true));
    assert_eq!(texts("?after=5").await, (["five"].map(Value::from).to_vec(), false));

    let mark = web.ok(&ben, 200, &format!("PUT {crew}/read"), json!({ "seq": 4 })).await;
    assert_eq!(mark, json!({ "read_seq": 4, "unread": 2, "head": 6, "message_no": 5 }));
    let mark = web.ok(&ben, 200, &format!("PUT {crew}/read"), json!({ "seq": 3 })).await;
    assert_eq!(mark["read_seq"], 4, "a mark never goes back");

    web.refused(&ben, 403, "forbidden", &format!("PATCH {messages}/3"), json!({ "text": "mine" })).await;
    web.ok(&ann, 200, &format!("PATCH {messages}/3"), json!({ "text": "two, edited" })).await;
    web.ok(&ben, 200, &format!("PUT {messages}/3/reactions/👍"), NONE).await;
    web.ok(&ann, 200, &format!("PUT {messages}/3/reactions/👍"), NONE).await;
    web.ok(&ann, 200, &format!("DELETE {messages}/3/reactions/👍"), NONE).await;
    web.ok(&ann, 200, &format!("PUT {messages}/3/pin"), NONE).await;
    web.ok(&ann, 200, &format!("DELETE {messages}/4"), NONE).await;
    web.refused(&ann, 409, "message_deleted", &format!("PATCH {messages}/4"), json!({ "text": "again" })).await;
    web.refused(&ann, 404, "not_found", &format!("DELETE {messages}/999"), NONE).await;
    let page = web.ok(&ben, 200, &format!("GET {messages}?before=5"), NONE).await;
    let (edited, deleted) = (&page["messages"][1], &page["messages"][2]);
    assert_eq!((&edited["text"], &edited["pinned"]), (&json!("two, edited"), &json!(true)));
    assert_eq!(edited["reactions"], json!([{ "reaction": "👍", "count": 1, "mine": true }]));
    assert!(edited["edited_ms"].is_u64());
    assert_eq!((&deleted["deleted"], deleted.get("text"), &deleted["seq"]), (&json!(true), None, &json!(4)));

    // Who was removed keeps its past and gets no future.
    web.ok(&ann, 200, &format!("DELETE {crew}/members/{}", ben.id), NONE).await;
    web.ok(&ann, 201, &format!("POST {messages}"), json!({ "text": "without ben" })).await;
    web.refused(&ben, 404, "not_found", &format!("POST {messages}"), json!({ "text": "hello?" })).await;
    assert!(!texts("").await.0.contains(&json!("without ben")));
}
