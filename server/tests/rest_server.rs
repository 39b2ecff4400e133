//! REST on the whole server: what is written is there, once, for those who may see it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use server::config::Config;
use server::{App, Running};

struct Server {
    running: Option<Running>,
    http: Client,
    base: String,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data: dir.path().join("data"),
            port: 0,
            quic_port: 0,
            register_per_ip: 0,
            login_per_ip: 0,
            drain_s: 0,
            ..Config::default()
        };
        let running = tokio::task::spawn_blocking(move || App::new(config).start().unwrap()).await.unwrap();
        let base = format!("http://{}", running.rest_address());
        let http = Client::builder().no_proxy().build().unwrap();
        Self { running: Some(running), http, base, _dir: dir }
    }

    async fn send(&self, token: &str, method: Method, path: &str, key: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn register(&self, name: &str) -> (String, String) {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": "correct horse" });
        let (status, answer) = self.send("", Method::POST, "/v1/auth/register", None, body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&answer["user"]["id"]), text(&answer["tokens"]["access_token"]))
    }

    async fn end(mut self) {
        let running = self.running.take().unwrap();
        tokio::task::spawn_blocking(move || running.shut_down()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_from_its_beginning() {
    let server = Server::start().await;
    let (_, ada) = server.register("ada").await;
    let (bob_id, bob) = server.register("bob").await;
    let (_, eve) = server.register("eve").await;
    let group = json!({ "kind": "group", "name": "plans", "members": [bob_id] });
    let (status, room) = server.send(&ada, Method::POST, "/v1/rooms", Some("make"), group.clone()).await;
    assert_eq!((status, &room["members"], &room["name"]), (StatusCode::CREATED, &json!(2), &json!("plans")), "{room}");
    let (status, again) = server.send(&ada, Method::POST, "/v1/rooms", Some("make"), group).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &room["id"]), "{again}");
    let path = |rest: &str| format!("/v1/rooms/{}{rest}", room["id"].as_str().unwrap());

    let hello = json!({ "text": "hello" });
    let (status, done) = server.send(&bob, Method::POST, &path("/messages"), Some("one"), hello.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{done}");
    let (_, retried) = server.send(&bob, Method::POST, &path("/messages"), Some("one"), hello.clone()).await;
    assert_eq!(retried, done, "the same key gives the same answer");
    let seq = done["seq"].as_u64().unwrap();
    let (status, refused) = server.send(&eve, Method::POST, &path("/messages"), None, hello.clone()).await;
    assert_eq!((status, &refused["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{refused}");

    let (_, list) = server.send(&ada, Method::GET, &path("/read"), None, Value::Null).await;
    assert_eq!((&list["unread"], &list["message_no"]), (&json!(1), &json!(1)), "{list}");
    let (_, read) = server.send(&ada, Method::PUT, &path("/read"), None, json!({ "seq": seq })).await;
    assert_eq!((&read["unread"], &read["read_seq"]), (&json!(0), &json!(seq)), "{read}");

    let about = |rest: &str| path(&format!("/messages/{seq}{rest}"));
    let (status, done) = server.send(&ada, Method::PUT, &about("/reactions/%F0%9F%91%8D"), None, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let (status, done) = server.send(&bob, Method::PATCH, &about(""), None, json!({ "text": "hello all" })).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let (_, page) = server.send(&ada, Method::GET, &path("/messages"), None, Value::Null).await;
    let message = &page["messages"][0];
    assert_eq!((&message["text"], &message["actor"]), (&json!("hello all"), &json!(bob_id)), "{page}");
    assert_eq!(message["reactions"], json!([{ "reaction": "👍", "count": 1, "mine": true }]));

    let kick = path(&format!("/members/{bob_id}"));
    assert_eq!(server.send(&ada, Method::DELETE, &kick, None, Value::Null).await.0, StatusCode::OK);
    assert_eq!(server.send(&ada, Method::POST, &path("/messages"), None, hello.clone()).await.0, StatusCode::CREATED);
    let (status, page) = server.send(&bob, Method::GET, &path("/messages"), None, Value::Null).await;
    assert_eq!((status, page["messages"].as_array().unwrap().len()), (StatusCode::OK, 1), "nothing after the going: {page}");
    let (_, retried) = server.send(&bob, Method::POST, &path("/messages"), Some("one"), hello.clone()).await;
    assert_eq!(retried["seq"], json!(seq), "also to one who may no longer post");
    let (status, _) = server.send(&bob, Method::POST, &path("/messages"), Some("two"), hello).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_and_public_rooms() {
    let server = Server::start().await;
    let (ada_id, ada) = server.register("ada").await;
    let (bob_id, bob) = server.register("bob").await;
    let (status, one) =
        server.send(&ada, Method::POST, "/v1/rooms", None, json!({ "kind": "direct", "members": [bob_id] })).await;
    assert_eq!(status, StatusCode::CREATED, "{one}");
    let (status, two) =
        server.send(&bob, Method::POST, "/v1/rooms", None, json!({ "kind": "direct", "members": [ada_id] })).await;
    assert_eq!((status, &two["id"]), (StatusCode::OK, &one["id"]), "{two}");

    let public = json!({ "kind": "public", "name": "Town Square" });
    let (_, room) = server.send(&ada, Method::POST, "/v1/rooms", None, public).await;
    let (_, found) = server.send(&bob, Method::GET, "/v1/rooms/public?name=town", None, Value::Null).await;
    assert_eq!(found["rooms"][0]["id"], room["id"], "{found}");
    let path = |rest: &str| format!("/v1/rooms/{}{rest}", room["id"].as_str().unwrap());
    assert_eq!(server.send(&bob, Method::GET, &path("/messages"), None, Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(server.send(&bob, Method::POST, &path("/join"), None, Value::Null).await.0, StatusCode::OK);
    assert_eq!(server.send(&bob, Method::GET, &path("/messages"), None, Value::Null).await.0, StatusCode::OK);
    let (_, rooms) = server.send(&bob, Method::GET, "/v1/rooms", None, Value::Null).await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 2, "{rooms}");
    server.end().await;
}
