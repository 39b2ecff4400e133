//! How sessions come to be: attempts with pauses, and TLS over TCP for the peers.

use super::wire::Wire;
use crate::limits::{CONNECT_ATTEMPTS, CONNECT_PAUSE, CONNECT_PAUSE_MAX, CONNECT_TIMEOUT};
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
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

/// Connects to a peer on this machine.
///
/// # Errors
///
/// What failed, in words.
pub async fn secured(address: SocketAddr, tls: &TlsConnector) -> Result<(TlsStream<TcpStream>, Wire), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let wire = Wire::Tcp(Arc::new(stream.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?));
    let name = "localhost".try_into().map_err(|error| format!("{error}"))?;
    let stream = tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
    Ok((stream, wire))
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
}
