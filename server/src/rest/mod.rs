//! REST: accounts, rooms and messages as JSON over HTTP, for people, scripts and other services. `docs/rest.md` is its contract.
//!
//! Writes to rooms go to the world as the same commands that QUIC sessions send ([`crate::world::WorldHandle::command`]); reads go
//! to the store through [`crate::queries`]. Nothing is decided here but how things are spelled in JSON and in statuses.
//!
//! Layers, from the outside in: [`serve`] (connections), `layers` (time, panics, headers, counts), the handlers (one file a
//! feature), [`extract`] (what they take), [`problem`] (how they refuse).

pub mod auth;
pub mod extract;
mod layers;
pub mod members;
pub mod messages;
mod openapi;
pub mod ops;
pub mod problem;
pub mod rooms;
pub mod search;
mod serve;
pub mod users;

pub use problem::{Problem, RestCode};
pub use serve::{RestServer, serve};

use crate::auth::Accounts;
use crate::erase::Eraser;
use crate::queries::Queries;
use crate::store::Store;
use crate::world::WorldHandle;
use axum::Router;
use client_protocol::session::Reply;
use client_protocol::{Code, Command, RoomId};
use extract::Caller;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// What the calls work with.
#[derive(Clone)]
pub struct RestDeps {
    /// Accounts, logins, tokens.
    pub accounts: Arc<Accounts>,
    /// Erases of users.
    pub eraser: Eraser,
    /// Reads.
    pub queries: Queries,
    /// Writes.
    pub world: WorldHandle,
    /// Whether it takes writes.
    pub store: Arc<dyn Store>,
    /// What `/metrics` shows; 404 without.
    pub metrics: Option<PrometheusHandle>,
    /// Set when the process is about to end: `/readyz` says so, and load balancers look elsewhere.
    pub draining: Arc<AtomicBool>,
    /// Whether the client's address is the last one of `X-Forwarded-For`.
    pub forwarded_for: bool,
    /// Connections at a time; [`crate::limits::REST_CONNECTIONS_MAX`], but for tests.
    pub connections_max: usize,
}

impl fmt::Debug for RestDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestDeps").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

/// [`RestDeps`], shared by all requests.
pub type Api = Arc<RestDeps>;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// An event that a call made, durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Done {
    /// The room.
    pub room: Uuid,
    /// The event's place in the room's log; 0 where the call needed none.
    pub seq: u64,
}

impl Done {
    fn new(room: RoomId, reply: &Reply) -> Self {
        Self { room: room.0, seq: reply.seq }
    }
}

/// Has the world carry out a command; what it refuses is a problem.
async fn run(api: &Api, caller: Caller, command: Command) -> Result<Reply, Problem> {
    let reply = api.world.command(caller.0.user, command).await;
    match reply.code() {
        Code::Ok => Ok(reply),
        _ => Err(Problem::from_reply(reply)),
    }
}

fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::sessions))
        .routes(routes!(auth::end_session))
        .routes(routes!(auth::jwks))
        .routes(routes!(users::me, users::update_me, users::erase_me))
        .routes(routes!(users::export_me))
        .routes(routes!(users::search))
        .routes(routes!(users::user))
        .routes(routes!(users::user_by_name))
        .routes(routes!(rooms::create, rooms::list))
        .routes(routes!(rooms::public))
        .routes(routes!(rooms::room, rooms::update))
        .routes(routes!(members::join))
        .routes(routes!(members::leave))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::kick))
        .routes(routes!(members::ban, members::unban))
        .routes(routes!(members::set_role))
        .routes(routes!(members::read_state, members::mark_read))
        .routes(routes!(messages::post, messages::history))
        .routes(routes!(search::in_room))
        .routes(routes!(search::in_rooms))
        .routes(routes!(messages::edit, messages::delete))
        .routes(routes!(messages::react, messages::unreact))
        .routes(routes!(messages::pin, messages::unpin))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
        .routes(routes!(ops::metrics))
}

/// Every call, its description at `/openapi.json` and a page to read it at `/docs`.
pub fn router(api: Api) -> Router {
    let (calls, mut description) = documented().split_for_parts();
    openapi::complete(&mut description);
    let page = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .url("/openapi.json", description)
        // The page would otherwise ask a server elsewhere for a badge.
        .config(utoipa_swagger_ui::Config::default().validator_url("none").persist_authorization(true));
    layers::around(calls.merge(page)).with_state(api)
}
