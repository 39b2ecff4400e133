//! Writing to session streams: at once where the transport takes it, else in a task that waits.

use super::endpoint::close_code;
use super::table::Edge;
use crate::limits::CLOSE_TIMEOUT;
use crate::transport::{Connection, SendStream};
use bytes::Bytes;
use client_protocol::CloseCode;
use components::edge::SessionHandle;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How far writing without waiting came.
pub(super) enum Written {
    /// Everything.
    All,
    /// The peer must take something first.
    Blocked,
    /// The peer does not want the stream any more, or the connection is gone.
    Broken,
}

/// Writes as much as the stream takes without waiting. Most sessions are never slow: a task and a wake-up for each of their frames would
/// cost more than the write. A stream that is blocked must be handed to [`write_later`], which tries again before it waits: nothing that
/// wakes nobody in between is lost.
pub(super) fn write_now(stream: &mut SendStream, backlog: &mut VecDeque<Bytes>) -> Written {
    let context = Context::from_waker(Waker::noop());
    while !backlog.is_empty() {
        let chunks = backlog.make_contiguous();
        let outcome = stream.poll_write_chunks(&context, chunks);
        match outcome {
            Poll::Ready(Ok(written)) => {
                backlog.drain(..written.chunks);
            }
            Poll::Ready(Err(_)) => return Written::Broken,
            Poll::Pending => return Written::Blocked,
        }
    }
    Written::All
}

/// Waits until the peer has taken what was written, then gives the stream back.
pub(super) async fn write_later(edge: Rc<Edge>, handle: SessionHandle, mut stream: SendStream) {
    loop {
        let Some((mut frames, replies)) = edge.take_backlog(handle) else { return };
        if frames.is_empty() {
            break;
        }
        if stream.write_all_chunks(&mut frames).await.is_err() {
            edge.broken(handle);
            return;
        }
        edge.replied(handle, replies);
    }
    edge.written(handle, stream);
}

/// Closes a connection once the peer has what was written to it, or has not taken it in time.
pub(super) fn close_after_sending(connection: Connection, mut stream: SendStream, code: CloseCode) {
    tokio::task::spawn_local(async move {
        if stream.finish().is_ok() {
            let _late = tokio::time::timeout(CLOSE_TIMEOUT, stream.stopped()).await;
        }
        connection.close(close_code(code), b"");
    });
}

/// Closes a connection that does not take what is still to be said to it.
pub(super) fn close_in_time(connection: Connection, code: CloseCode) {
    tokio::task::spawn_local(async move {
        if tokio::time::timeout(CLOSE_TIMEOUT, connection.closed()).await.is_err() {
            connection.close(close_code(code), b"");
        }
    });
}
