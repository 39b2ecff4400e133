//! Writing to session streams: at once where the transport takes it, else in a task that waits.

use super::endpoint::close_code;
use super::table::Edge;
use crate::limits::CLOSE_TIMEOUT;
use bytes::Bytes;
use client_protocol::CloseCode;
use components::edge::SessionHandle;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Writes as much as the stream takes without waiting; whether that was everything. Most sessions are never slow: a task and a wake-up for
/// each of their frames would cost more than the write.
pub(super) fn write_now(stream: &mut quinn::SendStream, backlog: &mut VecDeque<Bytes>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    while !backlog.is_empty() {
        let chunks = backlog.make_contiguous();
        let outcome = pin!(stream.write_chunks(chunks)).poll(&mut context);
        match outcome {
            Poll::Ready(Ok(written)) => {
                backlog.drain(..written.chunks);
            }
            // Broken: the reading side sees it too and ends the session.
            Poll::Ready(Err(_)) => {
                backlog.clear();
            }
            Poll::Pending => return false,
        }
    }
    true
}

/// Waits until the peer has taken what was written, then gives the stream back.
pub(super) async fn write_later(edge: Rc<Edge>, handle: SessionHandle, mut stream: quinn::SendStream) {
    loop {
        let Some(mut frames) = edge.take_backlog(handle) else { return };
        if frames.is_empty() {
            break;
        }
        if stream.write_all_chunks(&mut frames).await.is_err() {
            break;
        }
    }
    edge.written(handle, stream);
}

/// Closes a connection once the peer has what was written to it, or has not taken it in time.
pub(super) fn close_after_sending(connection: quinn::Connection, mut stream: quinn::SendStream, code: CloseCode) {
    tokio::task::spawn_local(async move {
        if stream.finish().is_ok() {
            let _late = tokio::time::timeout(CLOSE_TIMEOUT, stream.stopped()).await;
        }
        connection.close(close_code(code), b"");
    });
}
