//! Queries: one request and one answer on a stream of its own, so that bulk reads never hold up live events.

use super::session::FrameReader;
use super::table::EdgeDeps;
use crate::limits::QUERY_TIMEOUT;
use client_protocol::session::Reply;
use client_protocol::{Code, FrameError, Query, ServerFrame, UserId};
use std::sync::Arc;

/// Reads one query, answers it and finishes the stream.
pub(super) async fn answer(deps: EdgeDeps, user: UserId, mut stream: quinn::SendStream, mut reader: FrameReader) {
    let answered = tokio::time::timeout(QUERY_TIMEOUT, async {
        let frame = reader.next().await.ok().flatten()?;
        let answer = match Query::decode(&frame) {
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
            Err(_) => return None,
        };
        stream.write_all(&answer.encode()).await.ok()
    })
    .await;
    if matches!(answered, Ok(Some(()))) {
        // Fails only if the peer has stopped the stream, or the connection is gone.
        let _gone = stream.finish();
    } else {
        let _gone = stream.reset(super::endpoint::close_code(client_protocol::CloseCode::ProtocolError));
    }
}
