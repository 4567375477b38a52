//! Removing a retention policy.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::ids::PolicyId,
    services::{Ctx, retention},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Id, User},
    },
};

/// Removes a retention policy. Refused while a schedule or a database uses it.
#[utoipa::path(delete, path = "/api/retention-policies/{id}", tag = "retention", params(("id" = PolicyId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<PolicyId>) -> Result<Envelope<Nothing>, Failure> {
    retention::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /retention-policies/{id}/delete
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<PolicyId>) -> Result<Redirect, Failure> {
    retention::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/retention-policies?notice=policy-removed"))
}
