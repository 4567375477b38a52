//! Cancelling and deleting a comparison.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::ids::DiffId,
    services::{Ctx, compare},
    web::{
        error::Failure,
        extract::{Id, User},
    },
};

/// POST /diffs/{id}/cancel
pub async fn cancel(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Redirect, Failure> {
    compare::cancel(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/diffs/{id}?notice=cancelling")))
}

/// POST /diffs/{id}/delete
pub async fn delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Redirect, Failure> {
    compare::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/compare?notice=diff-deleted"))
}
