//! The two halves of a stream.

use super::connection::{Core, Handle, Interest};
use bytes::Bytes;
use quinn_proto::{Chunk, ConnectionError, FinishError, StreamId, VarInt, Written};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Why a stream takes nothing more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The peer does not want it.
    #[error("stopped by the peer: code {0}")]
    Stopped(VarInt),
    /// It was finished or reset.
    #[error("the stream is closed")]
    Closed,
    /// The connection has ended.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
}

/// Why nothing more can be read from a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The peer gave it up.
    #[error("reset by the peer: code {0}")]
    Reset(VarInt),
    /// It was read to its end or stopped.
    #[error("the stream is closed")]
    Closed,
    /// The connection has ended.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
}

/// The sending half. Dropping it finishes it: what was written is still sent.
pub struct SendStream {
    handle: Rc<Handle>,
    id: StreamId,
}

impl SendStream {
    pub(super) const fn new(handle: Rc<Handle>, id: StreamId) -> Self {
        Self { handle, id }
    }

    fn core(&self) -> &Rc<Core> {
        &self.handle.0
    }

    /// Writes as much of `chunks` as the stream takes; what was taken is advanced past. Pending where it takes nothing: the task is woken
    /// when it may again.
    pub fn poll_write_chunks(&mut self, context: &Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<Written, WriteError>> {
        let mut inner = self.core().inner.borrow_mut();
        if let Some(error) = &inner.error {
            return Poll::Ready(Err(error.clone().into()));
        }
        let written = inner.proto.send_stream(self.id).write_chunks(chunks);
        match written {
            Ok(written) => {
                drop(inner);
                self.core().touch();
                Poll::Ready(Ok(written))
            }
            Err(quinn_proto::WriteError::Blocked) => {
                inner.wait(Interest::Writable(self.id), context);
                Poll::Pending
            }
            Err(quinn_proto::WriteError::Stopped(code)) => Poll::Ready(Err(WriteError::Stopped(code))),
            Err(quinn_proto::WriteError::ClosedStream) => Poll::Ready(Err(WriteError::Closed)),
        }
    }

    /// Writes all of `chunks`, waiting where need be. If it is dropped before its end, the chunks say what was not written.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub async fn write_all_chunks(&mut self, mut chunks: &mut [Bytes]) -> Result<(), WriteError> {
        while !chunks.is_empty() {
            let written = poll_fn(|context| self.poll_write_chunks(context, chunks)).await?;
            chunks = &mut chunks[written.chunks..];
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub async fn write_all(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.write_all_chunks(&mut [bytes]).await
    }

    /// Says that nothing more follows. What was written is still sent.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: it was finished before, or the peer does not want it.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let finished = self.core().inner.borrow_mut().proto.send_stream(self.id).finish();
        self.core().touch();
        finished.map_err(|error| match error {
            FinishError::Stopped(code) => WriteError::Stopped(code),
            FinishError::ClosedStream => WriteError::Closed,
        })
    }

    /// Gives the stream up: what was not delivered is lost. Nothing happens if it is closed.
    pub fn reset(&mut self, code: VarInt) {
        let _closed = self.core().inner.borrow_mut().proto.send_stream(self.id).reset(code);
        self.core().touch();
    }

    /// Waits until the peer has everything up to the finish, does not want the stream, or is gone.
    pub async fn stopped(&self) {
        poll_fn(|context| {
            let mut inner = self.core().inner.borrow_mut();
            if inner.error.is_some() || !matches!(inner.proto.send_stream(self.id).stopped(), Ok(None)) {
                return Poll::Ready(());
            }
            inner.wait(Interest::Done(self.id), context);
            Poll::Pending
        })
        .await;
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let mut inner = self.core().inner.borrow_mut();
        inner.forget(Interest::Writable(self.id));
        if inner.error.is_some() {
            return;
        }
        if let Err(FinishError::Stopped(code)) = inner.proto.send_stream(self.id).finish() {
            let _closed = inner.proto.send_stream(self.id).reset(code);
        }
        drop(inner);
        self.core().touch();
    }
}

/// The receiving half. Dropping it before its end tells the peer to stop.
pub struct RecvStream {
    handle: Rc<Handle>,
    id: StreamId,
    read_to_end: bool,
}

impl RecvStream {
    pub(super) const fn new(handle: Rc<Handle>, id: StreamId) -> Self {
        Self { handle, id, read_to_end: false }
    }

    /// The next bytes in order, at most `bytes_max` of them; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn read_chunk(&mut self, bytes_max: usize) -> Result<Option<Chunk>, ReadError> {
        let found = poll_fn(|context| self.poll_chunk(context, bytes_max)).await;
        // An end is told once; so is a reset.
        self.read_to_end |= matches!(found, Ok(None) | Err(ReadError::Reset(_)));
        found
    }

    fn poll_chunk(&self, context: &Context<'_>, bytes_max: usize) -> Poll<Result<Option<Chunk>, ReadError>> {
        if self.read_to_end {
            return Poll::Ready(Ok(None));
        }
        let mut guard = self.handle.0.inner.borrow_mut();
        let inner = &mut *guard;
        let mut stream = inner.proto.recv_stream(self.id);
        let Ok(mut chunks) = stream.read(true) else { return Poll::Ready(Err(ReadError::Closed)) };
        let found = chunks.next(bytes_max);
        let must_say = chunks.finalize().should_transmit();
        let found = match found {
            Ok(found) => Poll::Ready(Ok(found)),
            Err(quinn_proto::ReadError::Reset(code)) => Poll::Ready(Err(ReadError::Reset(code))),
            Err(quinn_proto::ReadError::Blocked) => match &inner.error {
                Some(error) => Poll::Ready(Err(error.clone().into())),
                None => {
                    inner.wait(Interest::Readable(self.id), context);
                    Poll::Pending
                }
            },
        };
        drop(guard);
        if must_say {
            self.handle.0.touch();
        }
        found
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let mut inner = self.handle.0.inner.borrow_mut();
        inner.forget(Interest::Readable(self.id));
        if self.read_to_end || inner.error.is_some() {
            return;
        }
        let _closed = inner.proto.recv_stream(self.id).stop(VarInt::from_u32(0));
        drop(inner);
        self.handle.0.touch();
    }
}
