//! Figures for monitoring systems.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use crate::{
    config::AuthMode,
    domain::permissions::Actor,
    services::{
        Ctx,
        metrics::{self, CONTENT_TYPE},
    },
    web::{
        error::Failure,
        extract::{User, unauthorized},
    },
};

/// GET /metrics: for the holder of METRICS_TOKEN, and for whoever is signed in or has an API key. Without sign-in
/// (AUTH_MODE=none) for all, unless METRICS_TOKEN is set.
pub async fn text(State(ctx): State<Arc<Ctx>>, user: Option<User>, headers: HeaderMap) -> Result<Response, Failure> {
    let anybody = ctx.config.auth_mode == AuthMode::None && ctx.config.metrics_token.is_some();
    let actor = match user {
        _ if holds_token(&ctx, &headers) => Actor::system(),
        Some(user) if !anybody => user.0.actor,
        _ => return Err(unauthorized().hint("send METRICS_TOKEN or an API key as `Authorization: Bearer <token>`").into()),
    };
    let text = metrics::text(&ctx, &actor).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn holds_token(ctx: &Ctx, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    match (&ctx.config.metrics_token, sent) {
        (Some(token), Some((scheme, sent))) => {
            scheme.eq_ignore_ascii_case("bearer") && bool::from(sent.trim().as_bytes().ct_eq(token.expose().as_bytes()))
        }
        _ => false,
    }
}
