//! Removing a database from the configuration; its backups stay.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::DatabaseId, permissions::Permission},
    error::Error,
    services::{Ctx, databases},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Form, Id, User},
    },
};

/// Removes a database. Its backups stay in the catalogue and in their stores.
#[utoipa::path(delete, path = "/api/databases/{id}", tag = "databases", params(("id" = DatabaseId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Envelope<Nothing>, Failure> {
    databases::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /databases/{id}/delete, confirmed by the typed name.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>, form: Form) -> Result<Redirect, Failure> {
    user.require(Permission::Configure)?;
    let database = databases::get(&ctx, &user, id).await?;
    if form.text("confirm") != database.name.trim() {
        return Err(Error::validation(format!("the database '{}' was not removed: its name was not typed", database.name))
            .hint("go back and type the name exactly")
            .into());
    }
    databases::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/databases?notice=removed"))
}
