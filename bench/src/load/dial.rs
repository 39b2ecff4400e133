//! How sessions come to be: attempts with pauses, and TLS over TCP for the peers.

use super::wire::Wire;
use crate::limits::{CONNECT_ATTEMPTS, CONNECT_PAUSE, CONNECT_PAUSE_MAX, CONNECT_TIMEOUT, SLOW_WINDOW_BYTES};
use crate::tls::{self, Tickets};
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Tries `open` until it works, [`CONNECT_ATTEMPTS`] times, each with a time limit and a longer pause before it than the last.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn retried<T, F: Future<Output = Result<T, String>>>(open: impl FnMut() -> F) -> Result<T, String> {
    retried_after(CONNECT_PAUSE, open).await
}

async fn retried_after<T, F>(mut pause: Duration, mut open: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let mut why = String::new();
    for attempt in 0..CONNECT_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(CONNECT_PAUSE_MAX);
        }
        why = match tokio::time::timeout(CONNECT_TIMEOUT, open()).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(why)) => why,
            Err(_) => format!("nothing within {CONNECT_TIMEOUT:?}"),
        };
    }
    Err(why)
}

/// How a peer on this machine is reached over TCP.
#[derive(Clone)]
pub struct Route {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl Route {
    /// To `address`, with trust in the certificates `ca_pem` only.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificates, in words.
    pub fn new(address: SocketAddr, ca_pem: &str, tickets: Tickets) -> Result<Self, String> {
        Ok(Self { address, tls: Arc::new(tls::client(ca_pem, tickets)?) })
    }

    /// The same for another client, which has no tickets yet.
    #[must_use]
    pub fn of_another(&self, tickets: Tickets) -> Self {
        Self { address: self.address, tls: Arc::new(tickets.of_another(&self.tls)) }
    }

    /// Connects; who will not read has a small buffer, so that the server soon has to hold things back.
    ///
    /// # Errors
    ///
    /// What failed, in words.
    pub async fn secured(&self, is_slow: bool) -> Result<(TlsStream<TcpStream>, Wire), String> {
        let stream = connect(self.address, is_slow).await.map_err(|error| format!("connecting: {error}"))?;
        let wire = Wire::Tcp(Arc::new(stream.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?));
        let name = "localhost".try_into().map_err(|error| format!("{error}"))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        Ok((stream, wire))
    }
}

async fn connect(address: SocketAddr, is_slow: bool) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_slow {
        // Before it connects, since the handshake says how far the window can grow.
        socket.set_recv_buffer_size(SLOW_WINDOW_BYTES)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends a connection as a client does that leaves: says so, and waits until the server has ended its side too. What comes meanwhile is
/// dropped. Our side ends first, so that the kernel keeps the port for a while; on loopback Linux gives it out again after a second.
pub async fn leave(mut stream: TlsStream<TcpStream>) {
    if stream.shutdown().await.is_ok() {
        let mut dropped = [0; 1_024];
        while stream.read(&mut dropped).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn attempts_are_bounded_and_the_last_failure_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut tried = 0;
        let failed = runtime.block_on(retried_after(Duration::from_millis(1), || {
            tried += 1;
            let why = format!("attempt {tried}");
            async { Err::<(), _>(why) }
        }));
        assert_eq!(failed, Err(format!("attempt {CONNECT_ATTEMPTS}")));
        assert_eq!(runtime.block_on(retried(|| async { Ok(7) })), Ok(7));
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn who_will_not_read_has_a_small_buffer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let size = |is_slow| {
            let stream = runtime.block_on(connect(listener.local_addr().unwrap(), is_slow)).unwrap();
            socket2::SockRef::from(&stream).recv_buffer_size().unwrap()
        };
        // Linux doubles what is asked for, and takes its own share of that.
        assert!(size(true) <= 2 * SLOW_WINDOW_BYTES as usize && size(false) > 2 * SLOW_WINDOW_BYTES as usize);
    }
}
