//! What happens to every request, whatever it asks: a bound on its time, a net for panics, headers, a line in the log, a count.

use super::problem::{Problem, RestCode};
use crate::limits::REST_REQUEST_TIMEOUT;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use client_protocol::Code;
use std::any::Any;
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;

/// Headers of every answer that does not say otherwise: nothing here is to be kept, guessed at, framed or passed on.
const HEADERS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    // The docs page brings its own scripts and inline styles; nothing is loaded from elsewhere.
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    ),
];

/// Puts the layers around the calls, the last one outermost.
pub(super) fn around<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .method_not_allowed_fallback(|| async { Problem::rest(RestCode::MethodNotAllowed, "") })
        .fallback(|| async { Problem::rest(RestCode::RouteNotFound, "") })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(bound_time))
        .layer(from_fn(add_headers))
        .layer(from_fn(count))
}

fn panicked(panic: Box<dyn Any + Send>) -> axum::http::Response<axum::body::Body> {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = %text, "a request panicked");
    Problem::of(Code::Internal, "").into_response()
}

async fn bound_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REST_REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        // What it had begun may still happen.
        Err(_) => {
            Problem::of(Code::OutcomeUnknown, "the request took too long; send it again with the same key").into_response()
        }
    }
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn count(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    // The pattern, not the path: ids would make a series of each request.
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let (status, elapsed) = (response.status().as_u16(), start.elapsed());
    tracing::debug!(%method, %route, status, elapsed_us = elapsed.as_micros() as u64, "request");
    let known_method = if method.as_str().len() <= 7 { method.as_str().to_owned() } else { "other".to_owned() };
    let labels = [("route", route.clone()), ("method", known_method), ("status", status.to_string())];
    metrics::counter!("starling_rest_requests_total", &labels).increment(1);
    metrics::histogram!("starling_rest_request_seconds", "route" => route).record(elapsed);
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn ask(router: Router, path: &str) -> (u16, serde_json::Value) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_has_an_unknown_outcome() {
        let router = around(Router::new().route("/slow", get(std::future::pending::<&str>)));
        let start = tokio::time::Instant::now();
        let (status, problem) = ask(router, "/slow").await;
        assert_eq!(start.elapsed().as_secs(), REST_REQUEST_TIMEOUT.as_secs());
        assert_eq!((status, problem["code"].as_str().unwrap()), (504, "outcome_unknown"));
    }

    async fn broken() -> &'static str {
        panic!("a fault of ours")
    }

    #[tokio::test]
    async fn a_request_that_panics_says_nothing_of_why() {
        let (status, problem) = ask(around(Router::new().route("/broken", get(broken))), "/broken").await;
        assert_eq!((status, problem["code"].as_str().unwrap()), (500, "internal"));
        assert!(!problem.to_string().contains("fault of ours"));
    }
}
