//! The OpenAPI document: what is the same for every operation is added here.

use axum::http::Method;
use utoipa::{
    OpenApi as _, ToSchema,
    openapi::{
        Content, OpenApi, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::envelope::{ErrorBody, ErrorDetails, ErrorEnvelope, FieldProblem, Meta};
use crate::domain::diff::{PatchFormat, Side};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "DBSnap",
        description = "Back up, verify and restore databases. Every answer is an envelope: `success`, then `data` or `error`."
    ),
    // The last two stand in queries only.
    components(schemas(ErrorEnvelope, ErrorBody, ErrorDetails, FieldProblem, Meta, PatchFormat, Side)),
    tags(
        (name = "databases"), (name = "projects"), (name = "engines"), (name = "schedules"), (name = "backups"), (name = "restores"), (name = "diffs"),
        (name = "exports"), (name = "jobs"), (name = "retention"), (name = "stores"), (name = "notifiers"),
        (name = "accounts"), (name = "audit"), (name = "system"), (name = "health"), (name = "events")
    )
)]
struct Base;

/// The head of the document.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds the error answer and the ways to authenticate to every operation.
pub fn finish(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("apiKey", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("dbsnap_session"))));
    document.security =
        Some(vec![SecurityRequirement::new("apiKey", Vec::<String>::new()), SecurityRequirement::new("session", Vec::<String>::new())]);
    for item in document.paths.paths.values_mut() {
        for (_, operation) in of_item(item) {
            let failed = ResponseBuilder::new()
                .description("The request was refused or failed.")
                .content("application/json", Content::new(Some(RefOr::Ref(Ref::from_schema_name(ErrorEnvelope::name())))));
            operation.responses.responses.entry("default".into()).or_insert_with(|| RefOr::T(failed.build()));
        }
    }
    document
}

/// Every operation of a document.
pub fn operations(document: &OpenApi) -> Vec<(Method, String)> {
    let mut document = document.clone();
    let of_path =
        |(path, item): (&String, &mut PathItem)| of_item(item).into_iter().map(|(method, _)| (method, path.clone())).collect::<Vec<_>>();
    document.paths.paths.iter_mut().flat_map(of_path).collect()
}

fn of_item(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let slots = [
        (Method::GET, item.get.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ];
    slots.into_iter().filter_map(|(method, operation)| Some((method, operation?))).collect()
}
