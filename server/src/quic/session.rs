//! One connection: hello, then its frames and datagrams into the world and its queries to their tasks.

use super::endpoint::close_code;
use super::query;
use super::table::{Edge, OpenRequests};
use crate::auth::{AuthError, Identity};
use crate::limits::{DATAGRAM_BURST, DATAGRAM_RATE, READ_BYTES_MAX, REAUTH_BURST, REAUTH_RATE};
use crate::transport::{Connection, RecvStream, SendStream};
use bytes::BytesMut;
use client_protocol::frame::{Frame, kinds};
use client_protocol::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX, HELLO_TIMEOUT_MS, OPEN_REQUESTS_MAX};
use client_protocol::session::{Hello, Reply};
use client_protocol::{ClientFrame, CloseCode, Code, Command, FrameError, ServerFrame, codec};
use components::edge::{Control, Input, SessionHandle};
use components::rows::{AccountRow, account};
use components::user::RateBudget;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use systems::user::take_token;

/// Time from a handshake's start to a complete hello.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_millis(HELLO_TIMEOUT_MS);

/// Reads whole frames off a stream. Holds at most one frame and one read.
pub(super) struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream, frame_bytes_max: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame; `None` at the end of the stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, CloseCode> {
        loop {
            match Frame::split(&mut self.buffer, self.frame_bytes_max) {
                Ok(Some(frame)) => {
                    if self.buffer.is_empty() {
                        // An idle session keeps no buffer.
                        self.buffer = BytesMut::new();
                    }
                    return Ok(Some(frame));
                }
                Ok(None) => {}
                Err(FrameError::TooLarge { .. }) => return Err(CloseCode::FrameTooLarge),
                Err(_) => return Err(CloseCode::ProtocolError),
            }
            match self.stream.read_chunk(READ_BYTES_MAX).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}

/// Serves a connection until it ends. Its hello must have come by `deadline`.
pub(super) async fn serve(connection: Connection, deadline: tokio::time::Instant, edge: Rc<Edge>) {
    let hello = tokio::time::timeout_at(deadline, hello(&connection, &edge)).await;
    edge.handshakes.set(edge.handshakes.get() - 1);
    let (reader, stream, hello, identity) = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(code)) => return connection.close(close_code(code), b""),
        Err(_) => return connection.close(close_code(CloseCode::HelloTimeout), b""),
    };
    let open_requests = Rc::new(OpenRequests::default());
    let session = edge.register(connection.clone(), stream, Rc::clone(&open_requests));
    edge.deps.world.control(Control::Opened {
        session,
        account: AccountRow { user: identity.user, status: account::ACTIVE },
        login: identity.login,
        device: hello.device,
        expires_ms: identity.expires_ms,
        minor: hello.minor,
    });
    let registered = Registered { edge: Rc::clone(&edge), session };
    // Once more, now that the world knows the session: a login that ended while its token was being checked had no session to close yet.
    let code = match check_live(&edge, identity).await {
        Ok(()) => {
            let live = Live {
                edge: Rc::clone(&edge),
                connection: connection.clone(),
                session,
                identity,
                open_requests,
                started: Instant::now(),
                reauths: Cell::default(),
            };
            live.run(reader).await
        }
        Err(code) => code,
    };
    drop(registered);
    connection.close(close_code(code), b"");
}

/// A session that edge and world know of. However its task ends, they hear of it.
struct Registered {
    edge: Rc<Edge>,
    session: SessionHandle,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.edge.unregister(self.session);
        self.edge.deps.world.control(Control::Closed { session: self.session });
    }
}

type Greeted = (FrameReader, SendStream, Hello, Identity);

/// Waits for the session stream and its hello, and checks the token.
async fn hello(connection: &Connection, edge: &Rc<Edge>) -> Result<Greeted, CloseCode> {
    let (send, receive) = connection.accept_bi().await.map_err(|_| CloseCode::Normal)?;
    let mut reader = FrameReader::new(receive, HELLO_BYTES_MAX);
    let frame = reader.next().await?.ok_or(CloseCode::ProtocolError)?;
    let Ok(ClientFrame::Hello(hello)) = ClientFrame::decode(&frame) else { return Err(CloseCode::ProtocolError) };
    let identity = authenticate(edge, &hello.token).await?;
    reader.frame_bytes_max = FRAME_BYTES_MAX;
    Ok((reader, send, hello, identity))
}

/// Checks a token. Its signature is checked here and now: handing it to another thread costs more than the check, and there is one for
/// each handshake, which costs several.
async fn authenticate(edge: &Rc<Edge>, token: &str) -> Result<Identity, CloseCode> {
    let identity = edge.deps.accounts.identify(token).map_err(|error| close_code_of(&error))?;
    check_live(edge, identity).await?;
    Ok(identity)
}

/// Looks whether the login is live: on the background runtime where that asks the store.
async fn check_live(edge: &Rc<Edge>, identity: Identity) -> Result<(), CloseCode> {
    if edge.deps.accounts.is_known_live(identity.login) {
        return Ok(());
    }
    let accounts = std::sync::Arc::clone(&edge.deps.accounts);
    let checked = edge.deps.background.spawn(async move { accounts.check_live(identity.user, identity.login).await }).await;
    checked.map_err(|_| CloseCode::Internal)?.map_err(|error| close_code_of(&error))
}

fn close_code_of(error: &AuthError) -> CloseCode {
    match error {
        AuthError::TokenExpired => CloseCode::TokenExpired,
        AuthError::SessionRevoked => CloseCode::SessionRevoked,
        AuthError::AccountDisabled => CloseCode::AccountDisabled,
        AuthError::Unauthenticated => CloseCode::Unauthenticated,
        error => {
            tracing::debug!(%error, "a token could not be checked");
            CloseCode::Internal
        }
    }
}

/// A session that has said hello.
struct Live {
    edge: Rc<Edge>,
    connection: Connection,
    session: SessionHandle,
    identity: Identity,
    open_requests: Rc<OpenRequests>,
    started: Instant,
    reauths: Cell<RateBudget>,
}

impl Live {
    /// Microseconds since the session began, from 1 on.
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    async fn run(&self, mut reader: FrameReader) -> CloseCode {
        let mut datagrams = RateBudget::default();
        loop {
            let may_read = self.open_requests.count.get() < OPEN_REQUESTS_MAX;
            tokio::select! {
                biased;
                _ = self.connection.closed() => return CloseCode::Normal,
                frame = reader.next(), if may_read => match frame {
                    // Not accepted, so not answered: the connection is about to be closed.
                    Ok(Some(_)) if self.edge.deaf.get() => {}
                    Ok(Some(frame)) => if let Err(code) = self.take(frame).await { return code },
                    Ok(None) => return CloseCode::Normal,
                    Err(code) => return code,
                },
                // The next request is not read until one ends.
                () = self.open_requests.fewer.notified(), if !may_read => {}
                stream = self.connection.accept_bi() => match stream {
                    Ok((send, receive)) => self.query(send, receive),
                    Err(_) => return CloseCode::Normal,
                },
                datagram = self.connection.read_datagram() => match datagram {
                    Ok(bytes) => {
                        // Typing is all there is: what comes faster is dropped, as the network may drop it.
                        if take_token(&mut datagrams, self.now_us(), DATAGRAM_RATE, DATAGRAM_BURST).is_ok() {
                            let _full = self.edge.deps.world.input(Input::Datagram { session: self.session, bytes });
                        }
                    }
                    Err(_) => return CloseCode::Normal,
                },
            }
        }
    }

    async fn take(&self, frame: Frame) -> Result<(), CloseCode> {
        if frame.kind == kinds::HELLO {
            // It is said once, and has no request to answer.
            return Err(CloseCode::ProtocolError);
        }
        self.open_requests.count.set(self.open_requests.count.get() + 1);
        if frame.kind == kinds::REAUTH
            && let Ok((request, Command::Reauth(reauth))) = Command::decode(&frame)
        {
            self.reauth(request, &reauth.token).await;
            return Ok(());
        }
        let request = codec::decode_prefix::<u64>(&frame.rest).map(|(request, _)| request);
        if self.edge.deps.world.input(Input::Frame { session: self.session, kind: frame.kind, rest: frame.rest }) {
            return Ok(());
        }
        // The world's queue is full: refused before any work is done.
        let request = request.map_err(|_| CloseCode::ProtocolError)?;
        let refusal = ServerFrame::Reply(request, Reply::retry_after(Code::Overloaded, 1_000));
        self.edge.send(self.session, refusal.encode());
        Ok(())
    }

    async fn reauth(&self, request: u64, token: &str) {
        let mut budget = self.reauths.get();
        let taken = take_token(&mut budget, self.now_us(), REAUTH_RATE, REAUTH_BURST);
        self.reauths.set(budget);
        if let Err(wait_ms) = taken {
            let refusal = ServerFrame::Reply(request, Reply::retry_after(Code::RateLimited, wait_ms));
            return self.edge.send(self.session, refusal.encode());
        }
        let outcome = match authenticate(&self.edge, token).await {
            Ok(renewed) if renewed.user == self.identity.user && renewed.login == self.identity.login => {
                Ok(renewed.expires_ms)
            }
            Ok(_) => Err(CloseCode::Unauthenticated),
            Err(code) => Err(code),
        };
        self.edge.deps.world.control(Control::Reauthed { session: self.session, request, outcome });
    }

    fn query(&self, send: SendStream, receive: RecvStream) {
        let asked = query::Asked {
            connection: self.connection.clone(),
            user: self.identity.user,
            stream: send,
            reader: FrameReader::new(receive, FRAME_BYTES_MAX),
        };
        tokio::task::spawn_local(query::answer(self.edge.deps.clone(), asked));
    }
}
