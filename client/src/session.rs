//! The session's task: connects, lets [`crate::live`] run the connection, decides what follows its end.

use crate::backoff::{Backoff, between};
use crate::client::Client;
use crate::connection::{self, Connector, Established};
use crate::cursors::{Cursors, Wish};
use crate::error::{ClientError, TokenError};
use crate::items::{SessionItem, SessionItems};
use crate::limits::{
    ORDERS_MAX, PROTOCOL_ERRORS_MAX, REQUESTS_MAX, SERVER_WAIT_MAX, SESSION_ITEMS_MAX, STABLE_AFTER, TOKEN_TIMEOUT,
};
use crate::live;
use crate::requests::{Answer, Purpose, Requests};
use crate::token::{AccessToken, TokenProvider, TokenRequest};
use client_protocol::presence::{SetPresence, WatchPresence};
use client_protocol::session::Welcome;
use client_protocol::{CloseCode, Command};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

/// What handles ask of the session's task.
#[derive(Debug)]
pub(crate) enum Order {
    Command { command: Command, deadline: Instant, answer: Answer },
    Subscribe(Wish),
}

/// A connection that stands.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) connection: quinn::Connection,
    pub(crate) welcome: Arc<Welcome>,
}

/// What handles may know of the connection.
#[derive(Debug, Clone)]
pub(crate) enum LinkState {
    Online(Link),
    /// With what was said last.
    Offline(Arc<Welcome>),
    Closed(ClientError),
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// Lost or closed by the server.
    Lost(ClientError),
    /// The server broke the protocol.
    Protocol(ClientError),
    /// The server asked to connect anew, and the time for it has come.
    Goaway,
    /// The application closed the session, or dropped its last handle.
    Stopped,
}

/// The state that outlives connections.
pub(crate) struct Session {
    pub(crate) connector: Connector,
    pub(crate) tokens: Arc<dyn TokenProvider>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) link: watch::Sender<LinkState>,
    pub(crate) items: broadcast::Sender<SessionItem>,
    pub(crate) requests: Requests,
    pub(crate) cursors: Cursors,
    /// What is put back on each connection.
    pub(crate) watched: Option<WatchPresence>,
    pub(crate) presence: Option<SetPresence>,
    /// The server said when to come back.
    pub(crate) reconnect_after: Option<Instant>,
    backoff: Backoff,
    protocol_errors: u32,
}

/// Makes the first connection and starts the task.
pub(crate) async fn start(
    connector: Connector,
    tokens: Arc<dyn TokenProvider>,
    backoff: (Duration, Duration),
    request_deadline: Duration,
) -> Result<Client, ClientError> {
    let established = attach(connector.clone(), Arc::clone(&tokens), false).await?;
    let (orders_in, orders) = mpsc::channel(ORDERS_MAX);
    let (items, items_out) = broadcast::channel(SESSION_ITEMS_MAX);
    let (stop_in, stop) = watch::channel(false);
    let (link, link_out) = watch::channel(LinkState::Online(link_of(&established)));
    let wake = Arc::new(Notify::new());
    let session = Session {
        connector,
        tokens,
        orders,
        stop,
        wake: Arc::clone(&wake),
        link,
        items,
        requests: Requests::default(),
        cursors: Cursors::default(),
        watched: None,
        presence: None,
        reconnect_after: None,
        backoff: Backoff::new(backoff.0, backoff.1),
        protocol_errors: 0,
    };
    let client = Client::new(orders_in, link_out, stop_in, wake, SessionItems::new(items_out), request_deadline);
    tokio::spawn(session.run(established));
    Ok(client)
}

fn link_of(established: &Established) -> Link {
    Link { connection: established.connection.clone(), welcome: Arc::new(established.welcome.clone()) }
}

/// A token, then a connection with it. A server that refuses the token is asked once more with another one.
async fn attach(connector: Connector, tokens: Arc<dyn TokenProvider>, mut fresh: bool) -> Result<Established, ClientError> {
    let mut refused: Option<(String, ClientError)> = None;
    loop {
        let given = match token(&*tokens, fresh).await {
            Ok(given) => given.token,
            // The refusal says more than "the token is a fixed one".
            Err(error) => return Err(refused.map_or_else(|| error.into(), |(_, refusal)| refusal)),
        };
        if let Some((_, refusal)) = refused.take_if(|(token, _)| *token == given) {
            return Err(refusal);
        }
        match connector.connect(given.clone()).await {
            Err(error) if refused.is_none() && wants_other_token(&error) => {
                refused = Some((given, error));
                fresh = true;
            }
            result => return result,
        }
    }
}

fn wants_other_token(error: &ClientError) -> bool {
    let codes = [CloseCode::TokenExpired as u64, CloseCode::Unauthenticated as u64];
    matches!(error, ClientError::Closed { code: Some(code), .. } if codes.contains(code))
}

/// Asks the provider, within a time limit.
pub(crate) async fn token(tokens: &dyn TokenProvider, fresh: bool) -> Result<AccessToken, TokenError> {
    match tokio::time::timeout(TOKEN_TIMEOUT, tokens.token(TokenRequest::new(fresh))).await {
        Ok(answer) => answer,
        Err(_) => Err(TokenError::Temporary("the token provider took too long".into())),
    }
}

impl Session {
    async fn run(mut self, first: Established) {
        let mut established = first;
        let reason = loop {
            let since = Instant::now();
            let welcome = self.connected(&established);
            let end = live::run(&mut self, &mut established).await;
            tracing::debug!(?end, "connection ended");
            self.requests.on_disconnected();
            self.cursors.on_disconnected();
            self.link.send_replace(LinkState::Offline(Arc::clone(&welcome)));
            if since.elapsed() >= STABLE_AFTER {
                self.backoff.reset();
            }
            let again = self.after(end, &established, &welcome, since.elapsed() >= STABLE_AFTER).await;
            match again {
                Ok((reason, wait, fresh)) => match self.reconnect(reason, wait, fresh).await {
                    Ok(next) => established = next,
                    Err(reason) => break reason,
                },
                Err(reason) => break reason,
            }
        };
        self.finish(&reason);
    }

    /// A connection stands: everybody is told, and what belongs to the session is put back.
    fn connected(&mut self, established: &Established) -> Arc<Welcome> {
        let link = link_of(established);
        let welcome = Arc::clone(&link.welcome);
        self.link.send_replace(LinkState::Online(link));
        let _ = self.items.send(SessionItem::Connected { welcome: Arc::clone(&welcome) });
        self.cursors.on_connected(welcome.epoch);
        let now = Instant::now();
        let restored = [self.watched.clone().map(Command::WatchPresence), self.presence.clone().map(Command::SetPresence)];
        for command in restored.into_iter().flatten() {
            // One that still waits for its answer says the same.
            if !self.requests.has(command.kind()) {
                self.requests.push_own(command, Purpose::Restore, now);
            }
        }
        welcome
    }

    /// What follows the end of a connection: a reason, a wait and whether another token is needed; or the end of the session.
    async fn after(
        &mut self,
        end: LinkEnd,
        established: &Established,
        welcome: &Welcome,
        stable: bool,
    ) -> Result<(ClientError, Duration, bool), ClientError> {
        let (endpoint, connection) = (&established.endpoint, &established.connection);
        let range = welcome.reconnect_after_ms;
        let spread = between(Duration::from_millis(range.0.into()), Duration::from_millis(range.1.into()));
        let wait = spread.min(SERVER_WAIT_MAX);
        match end {
            LinkEnd::Stopped => {
                connection::close(endpoint, connection, CloseCode::Normal, "").await;
                Err(ClientError::closed_here())
            }
            LinkEnd::Goaway => {
                connection::close(endpoint, connection, CloseCode::Normal, "goaway").await;
                let reason = ClientError::Closed { code: Some(CloseCode::GoingAway as u64), reason: String::new() };
                Ok((reason, Duration::ZERO, false))
            }
            LinkEnd::Protocol(error) => {
                connection::close(endpoint, connection, CloseCode::ProtocolError, "").await;
                self.protocol_errors += 1;
                match self.protocol_errors >= PROTOCOL_ERRORS_MAX {
                    true => Err(error),
                    false => Ok((error, wait + self.backoff.next(), false)),
                }
            }
            LinkEnd::Lost(error) => {
                self.protocol_errors = 0;
                // In case it was only the stream that ended.
                connection.close(quinn::VarInt::from_u32(CloseCode::Normal as u32), b"");
                let fresh = wants_other_token(&error);
                if !error.is_temporary() && !fresh {
                    return Err(error);
                }
                if matches!(&error, ClientError::Closed { code: Some(code), .. } if *code == CloseCode::Overloaded as u64) {
                    self.backoff.at_least(2);
                }
                // A connection that lived for a while is lost with its server, not by its own doing.
                let wait = if stable { wait } else { wait + self.backoff.next() };
                let asked = self.reconnect_after.map(|time| time.saturating_duration_since(Instant::now()));
                Ok((error, asked.unwrap_or(wait), fresh))
            }
        }
    }

    /// Waits and connects until it works, serving orders meanwhile.
    async fn reconnect(
        &mut self,
        mut reason: ClientError,
        mut wait: Duration,
        fresh: bool,
    ) -> Result<Established, ClientError> {
        self.reconnect_after = None;
        loop {
            tracing::info!(%reason, ?wait, "not connected");
            let _ = self.items.send(SessionItem::Disconnected { reason: reason.clone(), reconnect_in: Some(wait) });
            self.offline(tokio::time::sleep(wait)).await?;
            let attaching = attach(self.connector.clone(), Arc::clone(&self.tokens), fresh);
            match self.offline(attaching).await? {
                Ok(established) => return Ok(established),
                Err(error) if error.is_temporary() => reason = error,
                Err(error) => return Err(error),
            }
            wait = self.backoff.next();
        }
    }

    /// Does `work` while there is no connection. Ends early when the session is stopped.
    async fn offline<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ClientError> {
        let mut work = std::pin::pin!(work);
        loop {
            let now = Instant::now();
            self.requests.expire(now);
            self.cursors.expire(now);
            let deadline = self.next_deadline(now);
            tokio::select! {
                done = &mut work => return Ok(done),
                order = self.orders.recv(), if self.requests.len() < REQUESTS_MAX => match order {
                    Some(order) => self.accept(order),
                    None => return Err(ClientError::closed_here()),
                },
                () = stopped(&mut self.stop) => return Err(ClientError::closed_here()),
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Takes an order.
    pub(crate) fn accept(&mut self, order: Order) {
        match order {
            Order::Command { command, deadline, answer } => {
                match &command {
                    Command::WatchPresence(watch) => self.watched = Some(watch.clone()),
                    Command::SetPresence(presence) => self.presence = Some(presence.clone()),
                    _ => {}
                }
                self.requests.push_call(command, answer, deadline);
            }
            Order::Subscribe(wish) => self.cursors.add(wish),
        }
    }

    /// When something is to be done, if nothing happens before.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        [self.requests.next_deadline(now), self.cursors.next_deadline(now)].into_iter().flatten().min()
    }

    fn finish(mut self, reason: &ClientError) {
        tracing::info!(%reason, "session ended");
        self.requests.fail_all(reason);
        self.cursors.fail_all(reason);
        let _ = self.items.send(SessionItem::Disconnected { reason: reason.clone(), reconnect_in: None });
        self.link.send_replace(LinkState::Closed(reason.clone()));
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            // Nobody listens if the call was dropped.
            match order {
                Order::Command { answer, .. } => drop(answer.send(Err(reason.clone()))),
                Order::Subscribe(wish) => drop(wish.answer.send(Err(reason.clone()))),
            }
        }
    }
}

/// Waits until the application closes the session or drops its last handle.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Sleeps until then, or for ever.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The oneshot of a call, its other end lost with the session's task.
pub(crate) async fn answered<T>(
    answer: oneshot::Receiver<Result<T, ClientError>>,
    client: &Client,
) -> Result<T, ClientError> {
    match answer.await {
        Ok(result) => result,
        Err(_) => Err(client.closed().await),
    }
}
