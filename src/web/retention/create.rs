//! Adding a retention policy.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, PolicyForm};
use crate::{
    domain::permissions::Permission,
    services::{
        Ctx,
        retention::{self, PolicyInput, PolicyView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, User},
        html::Layout,
    },
};

/// Adds a retention policy. It deletes nothing before it is chosen for a schedule or a database.
#[utoipa::path(post, path = "/api/retention-policies", tag = "retention", request_body = PolicyInput,
    responses((status = 201, body = Envelope<PolicyView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<PolicyInput>,
) -> Result<(StatusCode, Envelope<PolicyView>), Failure> {
    Ok(envelope::created(retention::create(&ctx, &user, input).await?))
}

/// GET /retention-policies/new
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    user.require(Permission::DeleteBackups)?;
    form::draw(&ctx, &user, layout, None, PolicyForm::blank(&ctx), None).await
}

/// POST /retention-policies
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let made = match form::read(&form) {
        Ok(input) => retention::create(&ctx, &user, input).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => Ok(Redirect::to("/retention-policies?notice=saved").into_response()),
        Err(error) => form::draw(&ctx, &user, layout, None, PolicyForm::typed(&form), Some(error)).await,
    }
}
