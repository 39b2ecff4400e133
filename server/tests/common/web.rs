//! HTTP as a script would do it: JSON in, JSON out, and every refusal a problem document.

use super::chat::PASSWORD;
use super::{STEP, Server};
use reqwest::Method;
use serde_json::{Value, json};

/// A client of the REST interface.
pub struct Web {
    http: reqwest::Client,
    base: String,
}

/// Somebody who is logged in.
pub struct Person {
    pub id: String,
    pub token: String,
    pub refresh: String,
}

impl Person {
    /// Of an answer of register or login.
    pub fn of(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let tokens = &answer["tokens"];
        Self {
            id: text(&answer["user"]["id"]),
            token: text(&tokens["access_token"]),
            refresh: text(&tokens["refresh_token"]),
        }
    }
}

impl Web {
    pub fn new(server: &Server) -> Self {
        // A connection for each request, as scripts do it: one that is kept would be a dead one after a restart.
        let http = reqwest::Client::builder().timeout(STEP).pool_max_idle_per_host(0).build().unwrap();
        Self { http, base: server.rest_url() }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.base))
    }

    /// Sends a request: status and body. What is refused must be a proper problem.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let bytes = response.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status >= 400 {
            assert_eq!(kind, "application/problem+json", "{status} {body}");
            let code = body["code"].as_str().expect("a stable code");
            assert_eq!(body["type"], json!(format!("urn:starling:problem:{code}")));
            assert_eq!(body["status"], json!(status));
            assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        }
        (status, body)
    }

    /// A call of somebody.
    pub async fn call(&self, who: &Person, call: &str, body: Value) -> (u16, Value) {
        let (method, path) = call.split_once(' ').unwrap();
        let request = self.request(method, path).bearer_auth(&who.token);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// The same where this status is due.
    pub async fn ok(&self, who: &Person, status: u16, call: &str, body: Value) -> Value {
        let (found, answer) = self.call(who, call, body).await;
        assert_eq!(found, status, "{call}: {answer}");
        answer
    }

    /// The same where a refusal is due.
    pub async fn refused(&self, who: &Person, status: u16, code: &str, call: &str, body: Value) {
        let (found, answer) = self.call(who, call, body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{call}: {answer}");
    }

    /// A call without a login.
    pub async fn open(&self, call: &str, body: Value) -> (u16, Value) {
        let (method, path) = call.split_once(' ').unwrap();
        let request = self.request(method, path);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub async fn register(&self, name: &str) -> Person {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        let (status, answer) = self.open("POST /v1/auth/register", body).await;
        assert_eq!(status, 201, "{answer}");
        Person::of(&answer)
    }
}
