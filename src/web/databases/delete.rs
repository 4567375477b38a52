//! Removing a database from the configuration; its backups stay.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::DatabaseId, permissions::Permission},
    error::Error,
    services::{Ctx, databases, schedules::Removal},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Form, Id, Query, User},
    },
};

/// Removes a database and its schedules. Its backups stay in the catalogue and in their stores. CONFLICT names the schedules of
/// other databases that run after its own, unless they are to be disabled.
#[utoipa::path(delete, path = "/api/databases/{id}", tag = "databases", params(("id" = DatabaseId, Path), Removal),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DatabaseId>,
    Query(removal): Query<Removal>,
) -> Result<Envelope<Nothing>, Failure> {
    databases::delete(&ctx, &user, id, removal).await?;
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
    databases::delete(&ctx, &user, id, Removal { disable_dependents: form.has("disableDependents") }).await?;
    Ok(Redirect::to("/databases?notice=removed"))
}
