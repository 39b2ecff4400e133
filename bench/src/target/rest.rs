//! Users and rooms over Starling's REST interface (docs/rest.md).
//!
//! Registering logs a user in: its answer has the tokens that `/v1/auth/login` would give, made and checked in the same way. A login of
//! its own would only add a second Argon2 hash for each user, before anything is measured.

use crate::error::BenchError;
use crate::limits::{REGISTER_IN_FLIGHT, REST_ATTEMPTS, REST_IN_FLIGHT, REST_TIMEOUT};
use crate::scenario::Scenario;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The password of all users; the server they are on is thrown away.
const PASSWORD: &str = "a password for the bench";

/// Answers after which the same is asked again.
const RETRIED: [StatusCode; 3] =
    [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// A REST client.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
}

#[derive(Deserialize)]
struct Registered {
    user: User,
    tokens: Tokens,
}

#[derive(Deserialize)]
struct User {
    id: Uuid,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
}

#[derive(Deserialize)]
struct Room {
    id: Uuid,
}

/// What of a problem document is of use here (RFC 9457).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    retry_after_ms: u64,
}

impl Rest {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// [`BenchError::Rest`] where no client can be made.
    pub fn new(base: &str) -> Result<Self, BenchError> {
        let http = reqwest::Client::builder()
            .timeout(REST_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| BenchError::Rest { call: base.to_owned(), why: error.to_string() })?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// Posts `body` and reads the answer; waits and tries again where the server is busy.
    async fn post<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<T, BenchError> {
        let failed = |why: String| BenchError::Rest { call: format!("POST {path}"), why };
        let mut why = String::new();
        // With the same key each time, so that an attempt whose outcome is not known can be made again.
        let key = Uuid::new_v4().to_string();
        for _ in 0..REST_ATTEMPTS {
            let mut request = self.http.post(format!("{}{path}", self.base)).header("Idempotency-Key", &key).json(body);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.map_err(|error| failed(error.to_string()))?;
            let status = answer.status();
            let bytes = answer.bytes().await.map_err(|error| failed(error.to_string()))?;
            if status.is_success() {
                return serde_json::from_slice(&bytes).map_err(|error| failed(format!("{status}, but {error}")));
            }
            let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
            why = format!("{status} {} {}", problem.code, problem.detail);
            if !RETRIED.contains(&status) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(problem.retry_after_ms.clamp(50, 5_000))).await;
        }
        Err(failed(why))
    }

    /// Reads the server's metrics.
    ///
    /// # Errors
    ///
    /// [`BenchError::Rest`] where there are none.
    pub async fn metrics(&self) -> Result<String, BenchError> {
        let failed = |error: reqwest::Error| BenchError::Rest { call: "GET /metrics".to_owned(), why: error.to_string() };
        let answer = self.http.get(format!("{}/metrics", self.base)).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.text().await.map_err(failed)
    }

    async fn register(self, username: String) -> Result<(Uuid, String), BenchError> {
        let body = json!({ "username": username, "email": format!("{username}@bench.example"), "password": PASSWORD });
        let registered: Registered = self.post("/v1/auth/register", None, &body).await?;
        Ok((registered.user.id, registered.tokens.access_token))
    }

    async fn create_room(self, token: String, name: String) -> Result<Uuid, BenchError> {
        let room: Room = self.post("/v1/rooms", Some(&token), &json!({ "kind": "public", "name": name })).await?;
        Ok(room.id)
    }

    async fn join(self, token: String, room: Uuid) -> Result<(), BenchError> {
        let _done: Value = self.post(&format!("/v1/rooms/{room}/join"), Some(&token), &json!({})).await?;
        Ok(())
    }
}

/// Users and rooms that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    /// Id of each user.
    pub users: Vec<Uuid>,
    /// Access token of each user.
    pub tokens: Vec<String>,
    /// Id of each room; user `u` is a member of the room [`Scenario::room_of_user`]`(u)`.
    pub rooms: Vec<Uuid>,
}

/// Makes the users and rooms of `scenario`, and lets the users join. Shows a bar where standard error is a terminal.
///
/// # Errors
///
/// [`BenchError::Rest`]: the first call that failed.
pub async fn populate(rest: &Rest, scenario: &Scenario) -> Result<Population, BenchError> {
    let (users, rooms) = (scenario.users(), scenario.all_rooms());
    let bar = ProgressBar::new(u64::from(users) * 2);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message("users and rooms");
    // Names of another run on the same server must not be taken.
    let run = Uuid::new_v4().simple().to_string();
    let run = &run[..8];
    let registering = (0..users).map(|user| rest.clone().register(format!("bench-{run}-{user}")));
    let (users_there, tokens): (Vec<Uuid>, Vec<String>) =
        gather(registering, REGISTER_IN_FLIGHT, &bar).await?.into_iter().unzip();
    let creating = (0..rooms).map(|room| {
        let owner = tokens[scenario.owner_of(room) as usize].clone();
        rest.clone().create_room(owner, format!("bench {run} {room}"))
    });
    let rooms = gather(creating, REST_IN_FLIGHT, &bar).await?;
    let others = (0..users).filter(|user| scenario.owner_of(scenario.room_of_user(*user)) != *user);
    let joining =
        others.map(|user| rest.clone().join(tokens[user as usize].clone(), rooms[scenario.room_of_user(user) as usize]));
    gather(joining, REST_IN_FLIGHT, &bar).await?;
    bar.finish_and_clear();
    Ok(Population { users: users_there, tokens, rooms })
}

/// Runs all calls, at most `in_flight` at a time; the results are in the order of the calls.
async fn gather<T, F>(calls: impl Iterator<Item = F>, in_flight: usize, bar: &ProgressBar) -> Result<Vec<T>, BenchError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BenchError>> + Send + 'static,
{
    let mut calls = calls.enumerate();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < in_flight
            && let Some((index, call)) = calls.next()
        {
            running.spawn(async move { (index, call.await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (index, result) = ended.map_err(|error| BenchError::Load(error.to_string()))?;
        results.push((index, result?));
        bar.inc(1);
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn results_keep_their_order_and_few_run_at_a_time() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calls = (0..50_u64).map(|n| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(Duration::from_millis(n % 3)).await;
                running.fetch_sub(1, SeqCst);
                Ok(n)
            }
        });
        let results = block_on(gather(calls, 4, &ProgressBar::hidden())).unwrap();
        assert_eq!(results, (0..50).collect::<Vec<_>>());
        assert!(most.load(SeqCst) <= 4);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let calls = (0..10).map(|n| async move { if n == 3 { Err(BenchError::Usage("no".into())) } else { Ok(n) } });
        assert!(block_on(gather(calls, 2, &ProgressBar::hidden())).is_err());
    }
}
