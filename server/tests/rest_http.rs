//! HTTP itself: what is no call, what is too large or too slow, what every answer carries, what the description says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rest_support;

use reqwest::{Method, StatusCode};
use rest_support::{Options, PASSWORD, Rig, is};
use serde_json::{Value, json};
use server::limits::{REST_BODY_BYTES_MAX, REST_HEADER_TIMEOUT};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_a_problem() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    is(&rig.send(rig.request(Method::GET, "/v2/nothing")).await, 404, "route_not_found");
    is(&rig.send(rig.request(Method::GET, "/v1/auth/login")).await, 405, "method_not_allowed");
    let response = rig.request(Method::PUT, "/v1/users/me").send().await.unwrap();
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("PATCH"), "{allow}");
    let login = || rig.request(Method::POST, "/v1/auth/login");
    let json_type = ("content-type", "application/json");
    is(&rig.send(login().body("{}")).await, 415, "unsupported_media_type");
    is(&rig.send(login().header("content-type", "text/plain").body("{}")).await, 415, "unsupported_media_type");
    is(&rig.send(login().header(json_type.0, json_type.1).body("{\"login\":")).await, 400, "malformed");
    is(&rig.send(login().header(json_type.0, json_type.1).body("")).await, 400, "malformed");
    is(&rig.send(login().header(json_type.0, json_type.1).body("[]")).await, 422, "invalid_field");
    is(&rig.send(login().header(json_type.0, json_type.1).body(b"{\"login\":\"\xff\"}".to_vec())).await, 400, "malformed");
    let deep = "[".repeat(REST_BODY_BYTES_MAX - 1);
    let (status, _) = rig.send(login().header(json_type.0, json_type.1).body(deep)).await;
    assert!(status.is_client_error(), "{status}");
    is(&rig.get(&ada, "/v1/rooms/17").await, 400, "malformed");
    is(&rig.get(&ada, "/v1/users/17").await, 400, "malformed");
    is(&rig.get(&ada, "/v1/rooms?limit=many").await, 422, "invalid_field");
    is(&rig.get(&ada, "/v1/rooms?limit=0").await, 422, "invalid_field");
    is(&rig.get(&ada, "/v1/rooms?page=2").await, 422, "invalid_field");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_refused_announced_or_not() {
    let rig = Rig::new().await;
    let body = json!({ "login": "a".repeat(REST_BODY_BYTES_MAX), "password": PASSWORD });
    is(&rig.post("/v1/auth/login", body).await, 413, "too_large");
    // In pieces, without a length: the server counts by itself.
    let mut stream = TcpStream::connect(rig.server.local_addr()).await.unwrap();
    let head =
        "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 16 * 1024, " ".repeat(16 * 1024));
    for _ in 0..5 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    rig.end().await;
}

async fn closed_after(mut stream: TcpStream) -> (Duration, Vec<u8>) {
    let start = Instant::now();
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("it is closed");
    (start.elapsed(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_are_not_waited_for() {
    let rig = Rig::new().await;
    let open = async |bytes: &str| {
        let mut stream = TcpStream::connect(rig.server.local_addr()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    };
    let silent = open("").await;
    let half_a_preface = open("PRI * HT").await;
    let half_a_head = open("GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    let half_a_body =
        open("POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{")
            .await;
    let second_head = open("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /heal").await;
    let (silent, preface, head, body, second) = tokio::join!(
        closed_after(silent),
        closed_after(half_a_preface),
        closed_after(half_a_head),
        closed_after_answer(half_a_body, b"HTTP/1.1 408"),
        closed_after(second_head)
    );
    for (what, took) in
        [("silent", silent.0), ("preface", preface.0), ("head", head.0), ("body", body), ("second", second.0)]
    {
        assert!(took < REST_HEADER_TIMEOUT + Duration::from_secs(5), "{what}: {took:?}");
        assert!(took > REST_HEADER_TIMEOUT / 2, "{what}: {took:?}");
    }
    assert!(second.1.starts_with(b"HTTP/1.1 200"), "the first request was answered");
    rig.end().await;
}

async fn closed_after_answer(mut stream: TcpStream, expected: &[u8]) -> Duration {
    let start = Instant::now();
    let mut answer = vec![0; expected.len()];
    tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(answer, expected);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_readiness_and_metrics() {
    let rig = Rig::new().await;
    assert_eq!(rig.send(rig.request(Method::GET, "/healthz")).await, (StatusCode::OK, json!({ "status": "ok" })));
    assert_eq!(rig.send(rig.request(Method::GET, "/readyz")).await.0, StatusCode::OK);
    rig.draining.store(true, Ordering::SeqCst);
    is(&rig.send(rig.request(Method::GET, "/readyz")).await, 503, "unavailable");
    assert_eq!(rig.send(rig.request(Method::GET, "/healthz")).await.0, StatusCode::OK, "it still runs");
    let text = rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("starling_rest_requests_total{route=\"/healthz\""), "{text}");
    assert!(text.contains("starling_rest_request_seconds_bucket"));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_safe_headers() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    for (path, token) in [("/v1/users/me", true), ("/v1/users/me", false), ("/no/such", false), ("/docs/", false)] {
        let mut request = rig.request(Method::GET, path);
        if token {
            request = request.bearer_auth(&ada.access);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(response.headers()["x-frame-options"], "DENY", "{path}");
    }
    let jwks = rig.request(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(jwks.headers()["cache-control"], "public, max-age=300");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docs_page_needs_nobody_else() {
    let rig = Rig::new().await;
    let page = rig.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK, "{}", page.url());
    let page = page.text().await.unwrap();
    let attributes: Vec<&str> = page.split(['"', '\'']).collect();
    assert!(!attributes.iter().any(|text| text.starts_with("http") || text.starts_with("//")), "{page}");
    for name in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let part = rig.request(Method::GET, &format!("/docs/{name}")).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::OK, "{name}");
    }
    let setup = rig.request(Method::GET, "/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(setup.contains("/openapi.json") && setup.contains("\"validatorUrl\": \"none\""), "{setup}");
    rig.end().await;
}

/// The calls of the tables in docs/rest.md: method and path, with the names of parameters left out.
fn promised() -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for line in include_str!("../../docs/rest.md").lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap();
        let spans: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let path = spans.iter().find_map(|span| span.split_whitespace().find(|word| word.contains("/")));
        let path = path.unwrap_or_else(|| panic!("no path in {cell}")).split('?').next().unwrap();
        for span in &spans {
            match span.split_once(' ') {
                Some((method, _)) => calls.push((method.to_owned(), anonymous(path))),
                // `GET`, `PUT /path` or `POST /a`, `/b`.
                None if span.starts_with('/') => calls.push(("POST".into(), anonymous(&path.replace("/join", span)))),
                None => calls.push(((*span).to_owned(), anonymous(path))),
            }
        }
    }
    calls
}

fn anonymous(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_lists_every_call_and_every_call_is_there() {
    let rig = Rig::new().await;
    let (status, description) = rig.send(rig.request(Method::GET, "/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.push((method.to_uppercase(), anonymous(path)));
            assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object(), "{method} {path}");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
        }
    }
    let promised = promised();
    assert!(promised.len() >= 34, "{}", promised.len());
    for call in &promised {
        assert!(described.contains(call), "docs/rest.md promises {call:?}");
    }
    for call in described.iter().filter(|(_, path)| path.starts_with("/v1/")) {
        assert!(promised.contains(call), "docs/rest.md does not know {call:?}");
    }
    // Whatever is referred to is there.
    let text = description.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(description["components"]["schemas"][name].is_object(), "{name}");
    }
    for (method, path) in described {
        let path = path.replace("{}", "11111111-1111-1111-1111-111111111111");
        let answer = rig.send(rig.request(Method::from_bytes(method.as_bytes()).unwrap(), &path)).await;
        let code = answer.1["code"].as_str().unwrap_or("").to_owned();
        assert!(!["route_not_found", "method_not_allowed"].contains(&code.as_str()), "{method} {path}: {}", answer.1);
        let open = path.starts_with("/v1/auth/") && !path.contains("sessions") && !path.contains("logout");
        if path.starts_with("/v1/") && !open {
            assert_eq!(answer.0, StatusCode::UNAUTHORIZED, "{method} {path} needs a token");
        }
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_open_requests_finish() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let (begun, begins) = std::sync::mpsc::channel();
    rig.answer(move |_, _| {
        begun.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        Some(client_protocol::session::Reply::done(3))
    });
    let request = rig.request(Method::POST, "/v1/rooms/11111111-1111-1111-1111-111111111111/join").bearer_auth(&ada.access);
    let open = tokio::spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() });
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    let address = rig.server.local_addr();
    let start = Instant::now();
    rig.end().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(open.await.unwrap()["seq"], 3);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_so_many_connections_others_wait_for_a_place() {
    let rig = Rig::with(Options { connections_max: 2, ..Options::default() }).await;
    let address = rig.server.local_addr();
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut answered = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        answered.push(stream);
    }
    // The system takes the connection, and nobody reads from it.
    let mut third = TcpStream::connect(address).await.unwrap();
    third.write_all(request).await.unwrap();
    let mut bytes = [0; 512];
    assert!(tokio::time::timeout(Duration::from_millis(300), third.read(&mut bytes)).await.is_err());
    answered.pop();
    let read = tokio::time::timeout(Duration::from_secs(10), third.read(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    drop(answered);
    rig.end().await;
}
