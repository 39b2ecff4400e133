//! One connection: look-up, handshake, `Hello` and `Welcome`, and frames on the session stream.

use crate::error::ClientError;
use crate::limits::{
    CLOSE_LINGER, CLOSE_WAIT, CONNECTION_WINDOW_BYTES, DATAGRAM_BYTES_MAX, IDLE_TIMEOUT, SEND_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
};
use bytes::{Bytes, BytesMut};
use client_protocol::limits::{FRAME_BYTES_MAX, TOKEN_BYTES_MAX};
use client_protocol::session::{Hello, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, CloseCode, DeviceId, Frame, MINOR_VERSION, ServerFrame};
use quinn::VarInt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The transport of every connection, but for its keep-alive. Programs with endpoints of their own, such as load generators, are so what
/// the library's users are.
#[must_use]
pub fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        // The server opens no streams.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX)
        // A client says little: probing for larger packets would cost both sides more than it saves.
        .mtu_discovery_config(None)
        .max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    transport
}

/// Makes connections to one server.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    /// `HOST:PORT`, looked up for every connection.
    pub(crate) address: String,
    /// The name that the certificate must be for; the host if `None`.
    pub(crate) server_name: Option<String>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) loopback_only: bool,
    pub(crate) device: DeviceId,
    pub(crate) timeout: Duration,
    pub(crate) keep_alive: Duration,
}

/// A session that was welcomed.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) frames: FrameReader,
    pub(crate) welcome: Welcome,
}

impl Connector {
    /// Connects and says hello.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`], [`ClientError::Tls`], [`ClientError::Closed`] if the server refused, [`ClientError::Protocol`].
    pub(crate) async fn connect(&self, token: String) -> Result<Established, ClientError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ClientError::Config(format!("a token of {} bytes is above {TOKEN_BYTES_MAX}", token.len())));
        }
        let late = || ClientError::Connect(format!("no answer from {} in {:?}", self.address, self.timeout));
        let deadline = Instant::now() + self.timeout;
        tokio::time::timeout_at(deadline, self.connect_and_greet(token, deadline)).await.map_err(|_| late())?
    }

    async fn connect_and_greet(&self, token: String, deadline: Instant) -> Result<Established, ClientError> {
        let unreachable = |what: String| ClientError::Connect(format!("{}: {what}", self.address));
        let found = tokio::net::lookup_host(&self.address).await.map_err(|error| unreachable(error.to_string()))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let mut last = unreachable("the name has no address".into());
        for (tried, address) in addresses.iter().enumerate() {
            if self.loopback_only && !address.ip().is_loopback() {
                return Err(ClientError::Config(format!(
                    "{address} is not on this machine: its certificate must be checked"
                )));
            }
            let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match tokio::time::timeout(share, self.handshake(*address)).await {
                Ok(Ok((endpoint, connection))) => return self.greet(endpoint, connection, token).await,
                // A server that answers and is not trusted is not tried again at its other addresses.
                Ok(Err(error @ ClientError::Tls(_))) => return Err(error),
                Ok(Err(error)) => last = error,
                Err(_) => last = unreachable(format!("no answer in {share:?}")),
            }
        }
        Err(last)
    }

    async fn handshake(&self, address: SocketAddr) -> Result<(quinn::Endpoint, quinn::Connection), ClientError> {
        let unreachable = |what: String| ClientError::Connect(format!("{address}: {what}"));
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A socket of its own for each connection: after a change of network the old one may be of no use.
        let endpoint = quinn::Endpoint::client(SocketAddr::new(any, 0)).map_err(|error| unreachable(error.to_string()))?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => host_of(&self.address).to_owned(),
        };
        let connecting = endpoint
            .connect_with(self.quic_config()?, address, &name)
            .map_err(|error| ClientError::Config(error.to_string()))?;
        match connecting.await {
            Ok(connection) => Ok((endpoint, connection)),
            Err(error) => Err(match ClientError::from(&error) {
                ClientError::Closed { code: None, reason } => unreachable(reason),
                other => other,
            }),
        }
    }

    fn quic_config(&self) -> Result<quinn::ClientConfig, ClientError> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(Arc::clone(&self.tls))
            .map_err(|error| ClientError::Config(error.to_string()))?;
        let mut transport = transport();
        transport.keep_alive_interval(Some(self.keep_alive));
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }

    async fn greet(
        &self,
        endpoint: quinn::Endpoint,
        connection: quinn::Connection,
        token: String,
    ) -> Result<Established, ClientError> {
        let (mut send, recv) = connection.open_bi().await.map_err(|error| ClientError::from(&error))?;
        let hello = Hello { minor: MINOR_VERSION, features: 0, device: self.device, token, tail: EmptyTail::default() };
        if let Err(error) = send.write_all(&ClientFrame::Hello(hello).encode()).await {
            return Err(lost_writing(&connection, &error).await);
        }
        let mut frames = FrameReader::new(recv);
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(lost(&connection, "the stream ended").await),
            Err(ReadError::Stream(what)) => return Err(lost(&connection, &what).await),
            Err(ReadError::Protocol(error)) => return Err(error),
        };
        match ServerFrame::decode(&frame)? {
            ServerFrame::Welcome(welcome) => Ok(Established { endpoint, connection, send, frames, welcome }),
            other => Err(ClientError::Protocol(format!("{other:?} where Welcome was due"))),
        }
    }
}

/// The host in `HOST:PORT`, without the brackets of an IPv6 address.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Why frames cannot be read on.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The stream or the connection is gone.
    Stream(String),
    /// The bytes are no frames.
    Protocol(ClientError),
}

/// Splits a stream into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    recv: quinn::RecvStream,
    /// Bytes of the next frame: at most one frame and one read.
    buffer: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(recv: quinn::RecvStream) -> Self {
        Self { recv, buffer: BytesMut::new() }
    }

    /// The next frame; `None` at the end of the stream. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            let split = Frame::split(&mut self.buffer, FRAME_BYTES_MAX);
            if let Some(frame) = split.map_err(|error| ReadError::Protocol(error.into()))? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(FRAME_BYTES_MAX, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => return Err(ReadError::Stream("the stream ended inside a frame".into())),
                Err(error) => return Err(ReadError::Stream(error.to_string())),
            }
        }
    }
}

/// Why the connection is gone, given that a stream of it is. Waits a moment for the close to arrive, since a stream may end before it.
pub(crate) async fn lost(connection: &quinn::Connection, what: &str) -> ClientError {
    match tokio::time::timeout(CLOSE_WAIT, connection.closed()).await {
        Ok(error) => ClientError::from(&error),
        Err(_) => ClientError::Closed { code: None, reason: what.to_owned() },
    }
}

/// The same, for a write that failed.
pub(crate) async fn lost_writing(connection: &quinn::Connection, error: &quinn::WriteError) -> ClientError {
    lost(connection, &error.to_string()).await
}

/// Closes a connection and gives its last packets a moment.
pub(crate) async fn close(endpoint: &quinn::Endpoint, connection: &quinn::Connection, code: CloseCode, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
    let _ = tokio::time::timeout(CLOSE_LINGER, endpoint.wait_idle()).await;
}

/// Asks one question on a stream of its own.
///
/// # Errors
///
/// As [`Connector::connect`], without the ones of the handshake.
pub(crate) async fn ask(connection: &quinn::Connection, question: Bytes) -> Result<ServerFrame, ClientError> {
    let (mut send, recv) = connection.open_bi().await.map_err(|error| ClientError::from(&error))?;
    if let Err(error) = send.write_all(&question).await {
        return Err(lost_writing(connection, &error).await);
    }
    // The stream may be gone already, then the read says so.
    let _ = send.finish();
    match FrameReader::new(recv).next().await {
        Ok(Some(frame)) => Ok(ServerFrame::decode(&frame)?),
        Ok(None) => Err(lost(connection, "the query stream ended without an answer").await),
        Err(ReadError::Stream(what)) => Err(lost(connection, &what).await),
        Err(ReadError::Protocol(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        assert_eq!(host_of("chat.example:4433"), "chat.example");
        assert_eq!(host_of("[::1]:4433"), "::1");
        assert_eq!(host_of("127.0.0.1:1"), "127.0.0.1");
        assert_eq!(host_of("localhost"), "localhost");
    }
}
