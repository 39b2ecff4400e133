//! Queries: one request and one answer on a stream of its own, so that bulk reads never hold up live events.

use super::endpoint::close_code;
use super::session::FrameReader;
use super::table::EdgeDeps;
use crate::limits::QUERY_TIMEOUT;
use crate::transport::{Connection, SendStream};
use client_protocol::frame::Frame;
use client_protocol::session::Reply;
use client_protocol::{CloseCode, Code, FrameError, Query, ServerFrame, UserId};
use std::sync::Arc;

/// A stream that a client opened beside its session.
pub(super) struct Asked {
    /// Its connection.
    pub(super) connection: Connection,
    /// Who asks.
    pub(super) user: UserId,
    /// Where the answer goes.
    pub(super) stream: SendStream,
    /// Where the query comes from.
    pub(super) reader: FrameReader,
}

/// Reads one query, answers it and finishes the stream. A stream that ends or stays silent instead is reset; one that breaks the
/// protocol closes the connection.
pub(super) async fn answer(deps: EdgeDeps, asked: Asked) {
    let Asked { connection, user, mut stream, mut reader } = asked;
    let answered = tokio::time::timeout(QUERY_TIMEOUT, async {
        let Some(frame) = reader.next().await? else { return Ok(false) };
        let answer = find(&deps, user, &frame).await?;
        Ok(stream.write_all(answer.encode()).await.is_ok())
    })
    .await;
    match answered {
        Ok(Ok(true)) => {
            // Fails only if the peer has stopped the stream, or the connection is gone.
            let _gone = stream.finish();
        }
        Ok(Err(code)) => connection.close(close_code(code), b"a query"),
        Ok(Ok(false)) | Err(_) => {
            stream.reset(close_code(CloseCode::ProtocolError));
        }
    }
}

/// The answer to the frame of a query; an error where it does not even say which request it is.
async fn find(deps: &EdgeDeps, user: UserId, frame: &Frame) -> Result<ServerFrame, CloseCode> {
    Ok(match Query::decode(frame) {
        Ok((request, query)) => {
            let queries = Arc::clone(&deps.queries);
            let answer = deps.background.spawn(async move { queries.handle(user, request, query).await });
            answer.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a query failed");
                ServerFrame::Reply(request, Reply::refused(Code::Internal, ""))
            })
        }
        Err(FrameError::UnknownKind { request: Some(request), kind }) => {
            ServerFrame::Reply(request, Reply::refused(Code::UnknownKind, format!("kind {kind:#06x}")))
        }
        Err(FrameError::Body { request: Some(request), source, .. }) => {
            ServerFrame::Reply(request, Reply::refused(Code::Malformed, source.to_string()))
        }
        Err(_) => return Err(CloseCode::ProtocolError),
    })
}
