//! One retention policy.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::ids::PolicyId,
    services::{
        Ctx,
        retention::{self, PolicyView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// One retention policy, with what it applies to.
#[utoipa::path(get, path = "/api/retention-policies/{id}", tag = "retention", params(("id" = PolicyId, Path)),
    responses((status = 200, body = Envelope<PolicyView>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<PolicyId>) -> Result<Envelope<PolicyView>, Failure> {
    Ok(envelope::ok(retention::get(&ctx, &user, id).await?))
}
