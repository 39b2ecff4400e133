//! A REST server on a real store and a world that answers by a script.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use client_protocol::session::Reply;
use client_protocol::{Code, Command, UserId};
use components::edge::{Control, Input};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use server::auth::accounts::Rates;
use server::auth::ratelimit::Rate;
use server::auth::{Accounts, PasswordPool, Tokens};
use server::config::Config;
use server::erase::Eraser;
use server::keys::Keys;
use server::queries::Queries;
use server::rest::{RestDeps, RestServer};
use server::store::embedded::{EmbeddedOptions, EmbeddedStore};
use server::store::{Store, StoreWork};
use server::telemetry;
use server::world::WorldHandle;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What the scripted world answers to a command; `None`: nothing at all.
pub type Script = Box<dyn FnMut(UserId, &Command) -> Option<Reply> + Send>;

/// See the module.
pub struct Rig {
    pub base: String,
    pub http: reqwest::Client,
    pub store: Arc<dyn Store>,
    pub accounts: Arc<Accounts>,
    pub draining: Arc<AtomicBool>,
    pub script: Arc<Mutex<Script>>,
    pub commands: Arc<Mutex<Vec<(UserId, Command)>>>,
    pub controls: Arc<Mutex<Vec<Control>>>,
    pub server: RestServer,
    world_task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// How a [`Rig`] differs from the usual one.
pub struct Options {
    pub register: Rate,
    pub login: Rate,
    pub password_threads: usize,
    pub password_queue: usize,
    pub jwt_secret: Option<&'static str>,
    pub forwarded_for: bool,
    pub connections_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        let open = Rate { times: 0, period: Duration::from_secs(60) };
        Self {
            register: open,
            login: open,
            password_threads: 1,
            password_queue: 64,
            jwt_secret: None,
            forwarded_for: false,
            connections_max: 100,
        }
    }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let secret = options.jwt_secret.map(|secret| server::config::Secret::new(secret.into()));
        let config = Config { jwt_secret: secret, ..Config::default() };
        let keys = Keys::load_or_create(dir.path(), &config).unwrap();
        let embedded = EmbeddedOptions { free_bytes_min: 0, ..EmbeddedOptions::default() };
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&dir.path().join("store"), &embedded).unwrap());
        let world = WorldHandle::default();
        let replies = world.clone();
        store.connect(Arc::new(move |batch| replies.store_replies(batch)));
        let passwords = PasswordPool::start(options.password_threads, options.password_queue).unwrap();
        let rates = Rates { register: options.register, login: options.login };
        let tokens = Tokens::from_config(&keys, &config);
        let accounts = Arc::new(Accounts::new(Arc::clone(&store), world.clone(), tokens, passwords, rates));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_, _| Some(Reply::done(7)))));
        let (commands, controls) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let world_task =
            tokio::spawn(play(world.clone(), Arc::clone(&script), Arc::clone(&commands), Arc::clone(&controls)));
        let draining = Arc::new(AtomicBool::new(false));
        let deps = RestDeps {
            accounts: Arc::clone(&accounts),
            eraser: Eraser::new(Arc::clone(&store), world.clone(), Arc::clone(&accounts)),
            queries: Queries::new(Arc::clone(&store)),
            world,
            store: Arc::clone(&store),
            metrics: Some(telemetry::init_metrics().unwrap()),
            draining: Arc::clone(&draining),
            forwarded_for: options.forwarded_for,
            connections_max: options.connections_max,
        };
        let server = RestServer::start("127.0.0.1:0".parse().unwrap(), deps).await.unwrap();
        let base = format!("http://{}", server.local_addr());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base, http, store, accounts, draining, script, commands, controls, server, world_task, _dir: dir }
    }

    /// Ends everything.
    pub async fn end(self) {
        self.server.shutdown().await.unwrap();
        self.world_task.abort();
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }

    pub fn answer(&self, script: impl FnMut(UserId, &Command) -> Option<Reply> + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Appends events to a log that nobody else writes.
    pub async fn append(&self, request: components::edge::AppendRequest) {
        let (room, last) = (request.room, request.expected_seq + request.records.len() as u64 - 1);
        self.store.submit(StoreWork { appends: vec![request], ..StoreWork::default() });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.store.room(room).await.unwrap().is_none_or(|row| row.head < last) {
            assert!(tokio::time::Instant::now() < deadline, "the append never came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request; gives status and JSON (null where there is none).
    pub async fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn call(&self, who: &Person, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let mut request = self.request(method, path).bearer_auth(&who.access);
        if !body.is_null() {
            request = request.json(&body);
        }
        self.send(request).await
    }

    pub async fn get(&self, who: &Person, path: &str) -> (StatusCode, Value) {
        self.call(who, Method::GET, path, Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn register(&self, name: &str) -> Person {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        let (status, answer) = self.post("/v1/auth/register", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Person::of(&answer["user"]["id"], &answer["tokens"])
    }

    /// The last command that the world was given.
    pub fn last_command(&self) -> Command {
        self.commands.lock().unwrap().last().expect("a command").1.clone()
    }
}

pub const PASSWORD: &str = "correct horse";

/// A user with tokens.
#[derive(Debug, Clone)]
pub struct Person {
    pub user: UserId,
    pub access: String,
    pub refresh: String,
    pub login: String,
}

impl Person {
    pub fn of(id: &Value, tokens: &Value) -> Self {
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Self {
            user: id.as_str().unwrap().parse().unwrap(),
            access: text("access_token"),
            refresh: text("refresh_token"),
            login: text("session_id"),
        }
    }
}

/// Status and code of a problem, which must be a whole one.
pub fn problem((status, body): &(StatusCode, Value)) -> (u16, String) {
    assert_eq!(body["status"], status.as_u16(), "{body}");
    let code = body["code"].as_str().unwrap_or_else(|| panic!("{status} {body} is no problem")).to_owned();
    assert_eq!(body["type"], format!("urn:starling:problem:{code}"));
    assert!(body["title"].is_string() && body["detail"].is_string());
    (status.as_u16(), code)
}

/// As [`problem`], for comparison.
pub fn is(answer: &(StatusCode, Value), status: u16, code: &str) {
    assert_eq!(problem(answer), (status, code.to_owned()), "{}", answer.1);
}

async fn play(
    world: WorldHandle,
    script: Arc<Mutex<Script>>,
    commands: Arc<Mutex<Vec<(UserId, Command)>>>,
    controls: Arc<Mutex<Vec<Control>>>,
) {
    loop {
        world.arrived().await;
        let arrivals = world.take();
        controls.lock().unwrap().extend(arrivals.control);
        for input in arrivals.commands {
            let Input::Rest { token, user, command } = input else { continue };
            let reply = (script.lock().unwrap())(user, &command);
            commands.lock().unwrap().push((user, *command));
            if let Some(reply) = reply {
                world.answer(token, reply);
            }
        }
    }
}

/// Refuses everything with this code.
pub fn refusing(code: Code) -> impl FnMut(UserId, &Command) -> Option<Reply> + Send + 'static {
    move |_, _| Some(Reply::refused(code, "because"))
}
