//! The HTTP server: connections, their number and their time.
//!
//! Every connection is bounded in what it may hold and how long it may do nothing: the first request must come within
//! [`REST_HEADER_TIMEOUT`], later headers too once begun, and a connection without a request ends after [`REST_IDLE_TIMEOUT`]. Beyond
//! [`RestDeps::connections_max`] connections wait with the operating system.

use super::{Api, PeerAddr, RestDeps, router};
use crate::limits::{DRAIN_TIMEOUT, REST_HEADER_BYTES_MAX, REST_HEADER_TIMEOUT, REST_IDLE_TIMEOUT, REST_STREAMS_MAX};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

/// Pause after `accept` failed, so that a lack of file descriptors does not become a loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the metrics recorder tidies up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves REST on `listener` until `shutdown` ends; then takes no new connection, lets open requests finish, and ends at most
/// [`DRAIN_TIMEOUT`] later.
///
/// # Errors
///
/// Where the listener cannot be used at all; failures of single connections are no errors.
pub async fn serve(listener: TcpListener, deps: RestDeps, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let api: Api = Arc::new(deps);
    let (metrics, connections_max) = (api.metrics.clone(), api.connections_max);
    let router = router(api);
    let (stop, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = async {
            // The place first: whoever finds none waits in the backlog of the operating system.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = &mut shutdown => break,
            _ = upkeep.tick() => {
                if let Some(metrics) = &metrics {
                    metrics.run_upkeep();
                }
                continue;
            }
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept => match accepted {
                (Ok(place), Ok(connection)) => (place, connection),
                (_, Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                // The semaphore is never closed.
                (Err(_), _) => break,
            },
        };
        let (router, stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            metrics::gauge!("starling_rest_connections").increment(1.0);
            if let Err(error) = serve_connection(stream, peer, router, stopped).await {
                tracing::debug!(%error, %peer, "a connection failed");
            }
            metrics::gauge!("starling_rest_connections").decrement(1.0);
            drop(place);
        });
    }
    drop(listener);
    let _nobody_left = stop.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
        tracing::warn!(open = connections.len(), "REST connections were cut: their requests took too long");
    }
    Ok(())
}

/// What a connection does, as far as its time is concerned.
#[derive(Debug)]
struct Activity {
    open: AtomicUsize,
    total: AtomicU64,
    idle_since: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self { open: AtomicUsize::new(0), total: AtomicU64::new(0), idle_since: Mutex::new(Instant::now()) }
    }

    /// Counts a request until what it returns is dropped.
    fn begin(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.total.fetch_add(1, Ordering::SeqCst);
        OpenRequest(Arc::clone(self))
    }

    /// When the connection has been idle for too long, if nothing happens before.
    fn deadline(&self) -> Instant {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.open.load(Ordering::SeqCst), self.total.load(Ordering::SeqCst)) {
            (0, 0) => since + REST_HEADER_TIMEOUT,
            (0, _) => since + REST_IDLE_TIMEOUT,
            // Requests are bounded themselves.
            _ => Instant::now() + REST_IDLE_TIMEOUT,
        }
    }
}

struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(REST_HEADER_TIMEOUT)
        .max_headers(64)
        .max_buf_size(REST_HEADER_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(REST_STREAMS_MAX)
        .max_header_list_size(REST_HEADER_BYTES_MAX as u32)
        .keep_alive_interval(REST_IDLE_TIMEOUT / 2)
        .keep_alive_timeout(REST_HEADER_TIMEOUT);
    builder
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let activity = Arc::new(Activity::new());
    let counted = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let open = counted.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddr(peer));
        let answer = router.clone().oneshot(request);
        async move {
            let answer: Result<_, Infallible> = answer.await;
            drop(open);
            answer
        }
    });
    let builder = http();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = *stopped.borrow();
    if stopping {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(activity.deadline().into()) => {
                if activity.deadline() <= Instant::now() {
                    return Ok(());
                }
            }
        }
    }
}

/// A REST server in a task of its own. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct RestServer {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl RestServer {
    /// Listens on `address` (port 0 takes a free one) and begins to serve, on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened on.
    pub async fn start(address: SocketAddr, deps: RestDeps) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, deps, async move {
            // Whether told to or left alone: both end it.
            let _stopped = stopped.await;
        }));
        Ok(Self { local_addr, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops it: open requests finish, at most [`DRAIN_TIMEOUT`] from now.
    ///
    /// # Errors
    ///
    /// What [`serve`] ended with.
    pub async fn shutdown(self) -> io::Result<()> {
        let _gone = self.stop.send(());
        self.task.await.map_err(io::Error::other)?
    }
}
