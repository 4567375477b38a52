//! Starting a restore.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::wizard;
use crate::{
    domain::{permissions::Permission, restore::Restore},
    services::{
        Ctx,
        restore::{self, RestoreRequest},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, status},
        extract::{Body, Form, User},
        html::Layout,
    },
};

/// Queues a restore. `confirm` must be the target's name: the database's, or the file's for SQLite.
#[utoipa::path(post, path = "/api/restores", tag = "restores", request_body = RestoreRequest,
    responses((status = 202, body = Envelope<Restore>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<RestoreRequest>,
) -> Result<(StatusCode, Envelope<Restore>), Failure> {
    Ok(envelope::accepted(restore::start(&ctx, &user, request).await?))
}

/// POST /restores: the wizard's last step. What is wrong is shown there again.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Restore)?;
    let started = match wizard::read(&ctx, &user, &form).await {
        Ok(request) => restore::start(&ctx, &user, request).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(restore) => Ok(Redirect::to(&format!("/restores/{}", restore.id)).into_response()),
        Err(error) => {
            let page = wizard::confirm_page(&ctx, &user, layout, &form, Some(&error)).await?;
            Ok((status(&error), page).into_response())
        }
    }
}
