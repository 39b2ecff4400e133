//! Operations: whether the process runs, whether it takes work, and what it counts.

use super::{Api, Problem, RestCode};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use client_protocol::Code;
use serde::Serialize;
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// A state of the server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: other states are problems.
    pub status: &'static str,
}

/// Says that the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Says whether the store takes writes and the process does not end soon: 503 `unavailable` if not.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses((status = 200, body = Health)))]
pub async fn readyz(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    if api.draining.load(Ordering::SeqCst) {
        return Err(Problem::of(Code::Unavailable, "the server is about to end"));
    }
    if !api.store.is_ready() {
        return Err(Problem::of(Code::Unavailable, "the store takes no writes"));
    }
    Ok(Json(Health { status: "ok" }))
}

/// Metrics, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    match &api.metrics {
        Some(handle) => Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response()),
        None => Err(Problem::rest(RestCode::RouteNotFound, "this server does not count")),
    }
}
