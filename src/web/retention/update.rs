//! Changing a retention policy.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, PolicyForm};
use crate::{
    domain::{ids::PolicyId, permissions::Permission},
    services::{
        Ctx,
        retention::{self, PolicyInput, PolicyView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, Id, User},
        html::Layout,
    },
};

/// Changes a retention policy. It takes effect with the next run.
#[utoipa::path(put, path = "/api/retention-policies/{id}", tag = "retention", params(("id" = PolicyId, Path)), request_body = PolicyInput,
    responses((status = 200, body = Envelope<PolicyView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<PolicyId>,
    Body(input): Body<PolicyInput>,
) -> Result<Envelope<PolicyView>, Failure> {
    Ok(envelope::ok(retention::update(&ctx, &user, id, input).await?))
}

/// GET /retention-policies/{id}/edit
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<PolicyId>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    user.require(Permission::DeleteBackups)?;
    let stored = retention::get(&ctx, &user, id).await?;
    let shown = PolicyForm::stored(&stored.policy);
    form::draw(&ctx, &user, layout, Some(stored), shown, None).await
}

/// POST /retention-policies/{id}
pub async fn submit(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<PolicyId>,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    user.require(Permission::DeleteBackups)?;
    let saved = match form::read(&form) {
        Ok(input) => retention::update(&ctx, &user, id, input).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(_) => Ok(Redirect::to("/retention-policies?notice=saved").into_response()),
        Err(error) => {
            let stored = retention::get(&ctx, &user, id).await?;
            form::draw(&ctx, &user, layout, Some(stored), PolicyForm::typed(&form), Some(error)).await
        }
    }
}
