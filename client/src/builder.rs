//! How a session is set up.

use crate::client::Client;
use crate::connection::Connector;
use crate::error::ClientError;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT, KEEP_ALIVE, KEEP_ALIVE_MIN, REQUEST_DEADLINE};
use crate::session;
use crate::tls::Trust;
use crate::token::TokenProvider;
use client_protocol::DeviceId;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Made by [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    address: String,
    server_name: Option<String>,
    trust: Option<Trust>,
    tokens: Option<Arc<dyn TokenProvider>>,
    device: Option<DeviceId>,
    connect_timeout: Duration,
    keep_alive: Duration,
    request_deadline: Duration,
    backoff: (Duration, Duration),
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("address", &self.address).field("device", &self.device).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            server_name: None,
            trust: None,
            tokens: None,
            device: None,
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            request_deadline: REQUEST_DEADLINE,
            backoff: (BACKOFF_MIN, BACKOFF_MAX),
        }
    }

    /// Which servers are trusted. There is no default: without it, [`Self::connect`] fails.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Trusts the certificates in a PEM file, and what they issued.
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.trust(Trust::CaFile(path.into()))
    }

    /// The name that the certificate must be for; the host of the address if this is not called.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Where access tokens come from.
    pub fn tokens(mut self, tokens: impl TokenProvider) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// The installation that this is. A second connection of the same device replaces the first; so programs that run at the same
    /// time need different ones. A random one if this is not called.
    pub fn device(mut self, device: DeviceId) -> Self {
        self.device = Some(device);
        self
    }

    /// Time for look-up, handshake and `Welcome` of one connection ([`CONNECT_TIMEOUT`] if this is not called).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often a quiet connection says something ([`KEEP_ALIVE`] if this is not called, [`KEEP_ALIVE_MIN`] at least). A server that crashed
    /// and came back is noticed by the next packet: shorter costs it and the battery more, and notices sooner.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.max(KEEP_ALIVE_MIN);
        self
    }

    /// Time after which a call without a final answer ends ([`REQUEST_DEADLINE`] if this is not called).
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.request_deadline = deadline;
        self
    }

    /// Shortest and longest wait between tries to reconnect ([`BACKOFF_MIN`] and [`BACKOFF_MAX`] if this is not called).
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = (min, max.max(min));
        self
    }

    /// Connects. From then on the client reconnects by itself; the first connection is tried once, so that wrong settings show.
    ///
    /// Must be called inside a tokio runtime with I/O and time enabled: the session is a task of it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Config`], [`ClientError::Token`], [`ClientError::Connect`], [`ClientError::Tls`], and [`ClientError::Closed`]
    /// where the server refused.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let missing = |what: &str| ClientError::Config(format!("{what} is missing"));
        let trust = self.trust.ok_or_else(|| missing("trust"))?;
        let tokens = self.tokens.ok_or_else(|| missing("a token provider"))?;
        let connector = Connector {
            address: self.address,
            server_name: self.server_name,
            tls: Arc::new(trust.config()?),
            loopback_only: matches!(trust, Trust::AnyOnLoopback),
            device: self.device.unwrap_or_else(|| DeviceId(Uuid::new_v4())),
            timeout: self.connect_timeout,
            keep_alive: self.keep_alive,
        };
        session::start(connector, tokens, self.backoff, self.request_deadline).await
    }
}
