//! What all clients of the test share: rooms, the ledger, when to stop.

use crate::common::Server;
use crate::common::raw::Place;
use client_protocol::{Event, EventBody, EventHead, Key, RoomId, UserId};
use sha2::{Digest, Sha256};
use starling_client::rest::{LoggedIn, Login, Rest, RestTokens};
use starling_client::{Client, TokenError, TokenRequest};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Enough of a hash to know a body by.
pub(crate) fn hash(body: &[u8]) -> String {
    Sha256::digest(body)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is kept of an event that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) head: EventHead,
    pub(crate) kind: u16,
    /// The hash of its body, if it is a message.
    pub(crate) message: Option<String>,
    /// The user who is never there was mentioned.
    pub(crate) mentions: bool,
}

impl Seen {
    pub(crate) fn new(event: Event, load: &Load) -> Self {
        let kind = event.body.kind();
        let (message, mentions) = match &event.body {
            EventBody::MessagePosted(posted) => (Some(hash(&posted.body.bytes)), posted.mentions.contains(&load.mentioned)),
            _ => (None, false),
        };
        Self { head: event.head, kind, message, mentions }
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) room: RoomId,
    pub(crate) actor: UserId,
    pub(crate) key: Key,
    pub(crate) seq: u64,
    pub(crate) hash: String,
}

/// The load.
pub(crate) struct Load {
    pub(crate) place: Place,
    pub(crate) rooms: Vec<RoomId>,
    /// Whom some messages mention.
    pub(crate) mentioned: UserId,
    /// One message in so many does.
    pub(crate) mention_every: u64,
    ledger: Mutex<File>,
    ledger_path: PathBuf,
    acknowledged: AtomicU64,
    stopping: AtomicBool,
    heads: OnceLock<BTreeMap<RoomId, u64>>,
}

impl Load {
    pub(crate) fn new(place: Place, rooms: Vec<RoomId>, (mentioned, mention_every): (UserId, u64), ledger: &Path) -> Self {
        Self {
            place,
            rooms,
            mentioned,
            mention_every,
            ledger: Mutex::new(File::create_new(ledger).unwrap()),
            ledger_path: ledger.to_owned(),
            acknowledged: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            heads: OnceLock::new(),
        }
    }

    /// Writes an acknowledgement down.
    pub(crate) fn record(&self, line: &Line) {
        let Line { room, actor, key, seq, hash } = line;
        writeln!(self.ledger.lock().unwrap(), "{room} {actor} {key} {seq} {hash}").unwrap();
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything that was written down.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.ledger_path).unwrap();
        text.lines()
            .map(|line| {
                let mut words = line.split(' ');
                let mut word = || words.next().unwrap();
                Line {
                    room: word().parse().unwrap(),
                    actor: word().parse().unwrap(),
                    key: word().parse().unwrap(),
                    seq: word().parse().unwrap(),
                    hash: word().into(),
                }
            })
            .collect()
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for one more acknowledgement; how long that took.
    pub(crate) async fn until_acknowledged(&self, time: Duration) -> Option<Duration> {
        let (began, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() == before {
            if began.elapsed() > time {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some(began.elapsed())
    }

    /// No new messages from now on; those that have begun are finished.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The last events of the rooms, now that there will be no more.
    pub(crate) fn set_heads(&self, heads: BTreeMap<RoomId, u64>) {
        self.heads.set(heads).unwrap();
    }

    /// The last events of the rooms, once they are known.
    pub(crate) fn heads(&self) -> Option<&BTreeMap<RoomId, u64>> {
        self.heads.get()
    }
}

/// A user whose tokens are renewed, over crashes too.
pub(crate) struct Account {
    login: LoggedIn,
    rest: Rest,
    tokens: tokio::sync::Mutex<RestTokens>,
}

impl Account {
    pub(crate) fn new(server: &Server, login: LoggedIn) -> Self {
        let rest = Rest::new(&server.rest_url()).unwrap();
        let tokens = tokio::sync::Mutex::new(rest.tokens(login.tokens.clone()));
        Self { login, rest, tokens }
    }

    pub(crate) fn user(&self) -> UserId {
        self.login.user.id
    }

    async fn access(&self, fresh: bool) -> Result<starling_client::AccessToken, TokenError> {
        let mut tokens = self.tokens.lock().await;
        match tokens.access(fresh).await {
            // A refresh whose answer was lost with the server: the token that was shown twice has ended the login.
            Err(TokenError::Denied(_)) => {
                let login = Login::new(&self.login.user.username, "a long enough password");
                let again = self.rest.login(&login).await.map_err(|error| TokenError::Temporary(error.to_string()))?;
                *tokens = self.rest.tokens(again.tokens);
                tokens.access(false).await
            }
            other => other,
        }
    }

    /// An access token; waits for the server if need be.
    pub(crate) async fn token(&self) -> String {
        loop {
            match self.access(false).await {
                Ok(token) => return token.token,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub(crate) async fn library_client(self: &std::sync::Arc<Self>, server: &Server) -> Client {
        let account = std::sync::Arc::clone(self);
        let tokens = move |request: TokenRequest| {
            let account = std::sync::Arc::clone(&account);
            async move { account.access(request.fresh).await }
        };
        let backoff = (Duration::from_millis(10), Duration::from_millis(100));
        let builder = Client::builder(server.quic.to_string()).ca_file(server.certificate()).tokens(tokens);
        // A try that met a dead port is given up soon.
        builder.backoff(backoff.0, backoff.1).connect_timeout(Duration::from_secs(3)).connect().await.unwrap()
    }
}
