//! The description of the calls (OpenAPI 3.1): what all of them have in common. What each is stands beside its handler.

use super::Problem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};
use utoipa::openapi::{SecurityRequirement, path::PathItem};
use utoipa::{PartialSchema, ToSchema};

/// Name of the way to show a token.
const BEARER: &str = "access_token";

/// The description before any call.
pub(super) fn description() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("Access token of register, login or refresh"))
        .build();
    let components = ComponentsBuilder::new()
        .schema(Problem::name(), Problem::schema())
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build();
    let about = "Real-time chat. Times are Unix milliseconds, ids are UUIDs. Writes to rooms take an `Idempotency-Key` header: the \
                 same key gives the same answer for ever.";
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Starling").version(env!("CARGO_PKG_VERSION")).description(Some(about)).build())
        .components(Some(components))
        .security(Some([SecurityRequirement::new(BEARER, Vec::<String>::new())]))
        .build()
}

/// Adds to every call what it may answer if it does not succeed.
pub(super) fn complete(description: &mut OpenApi) {
    let schema = RefOr::Ref(Ref::from_schema_name(Problem::name()));
    let response = ResponseBuilder::new()
        .description("A problem (RFC 9457); `code` is stable")
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build())
        .build();
    for item in description.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            operation.responses.responses.insert("default".into(), RefOr::T(response.clone()));
        }
    }
}
