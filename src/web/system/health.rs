//! Health for machines: no session is needed. What is wrong is told only to those who are signed in.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    domain::permissions::Permission,
    error::{Error, Kind},
    services::{
        Ctx,
        health::{self, Check},
    },
    web::{
        envelope::{self, Envelope, ErrorEnvelope},
        error::Failure,
        extract::User,
    },
};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    /// What was looked at, for those who are signed in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// The process answers.
#[utoipa::path(get, path = "/api/health/live", tag = "health", responses((status = 200, body = Envelope<Health>)))]
pub async fn live() -> Envelope<Health> {
    envelope::ok(Health { status: "ok", checks: Vec::new() })
}

/// The catalogue answers, the local store can be written to, no disk is full, workers are alive, the scheduler looks at
/// the schedules, and every loop in the background goes round; 503 otherwise. Those who are signed in are told each check by name.
#[utoipa::path(get, path = "/api/health/ready", tag = "health",
    responses((status = 200, body = Envelope<Health>), (status = 503, body = ErrorEnvelope)))]
pub async fn ready(State(ctx): State<Arc<Ctx>>, user: Option<User>) -> Response {
    let told = user.is_some_and(|user| user.may(Permission::View));
    let checks = health::checks(&ctx).await;
    let failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    if failed.is_empty() {
        return envelope::ok(Health { status: "ok", checks: if told { checks } else { Vec::new() } }).into_response();
    }
    for check in &failed {
        tracing::warn!(check = check.name, problem = check.detail, "not ready");
    }
    let error = Error::new(Kind::Internal, "not ready").retryable();
    let error = match told {
        true => error.fields(failed.into_iter().map(|check| (check.name.to_owned(), check.detail.clone())).collect()),
        // Who asks is not known: the cause is for the log.
        false => error.hint("the log says why, and so does this address to those who are signed in"),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Failure(error)).into_response()
}
