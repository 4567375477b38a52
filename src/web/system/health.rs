//! Health for machines: no session is needed, nothing is told.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    error::Error,
    services::{Ctx, system},
    web::{
        envelope::{self, Envelope, ErrorEnvelope},
        error::Failure,
    },
};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/api/health/live", tag = "health", responses((status = 200, body = Envelope<Health>)))]
pub async fn live() -> Envelope<Health> {
    envelope::ok(Health { status: "ok" })
}

/// The catalogue answers and the local store can be written to; 503 otherwise.
#[utoipa::path(get, path = "/api/health/ready", tag = "health",
    responses((status = 200, body = Envelope<Health>), (status = 503, body = ErrorEnvelope)))]
pub async fn ready(State(ctx): State<Arc<Ctx>>) -> Response {
    match system::ready(&ctx).await {
        Ok(()) => envelope::ok(Health { status: "ok" }).into_response(),
        Err(error) => {
            // Who asks is not known: the cause is for the log.
            tracing::warn!(%error, "not ready");
            let told = Error::new(error.kind, "not ready").hint("the log says why").retryable();
            (StatusCode::SERVICE_UNAVAILABLE, Failure(told)).into_response()
        }
    }
}
