//! Changing a database.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, DatabaseForm};
use crate::{
    domain::{ids::DatabaseId, permissions::Permission},
    services::{
        Ctx,
        databases::{self, DatabaseInput, DatabaseView},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, status},
        extract::{Body, Form, Id, User},
        html::{Layout, render},
    },
};

/// Changes a database. A secret setting that is left out stays as it is.
#[utoipa::path(put, path = "/api/databases/{id}", tag = "databases", params(("id" = DatabaseId, Path)), request_body = DatabaseInput,
    responses((status = 200, body = Envelope<DatabaseView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DatabaseId>,
    Body(input): Body<DatabaseInput>,
) -> Result<Envelope<DatabaseView>, Failure> {
    Ok(envelope::ok(databases::update(&ctx, &user, id, input).await?))
}

/// GET /databases/{id}/edit
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<DatabaseId>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let database = databases::get(&ctx, &user, id).await?;
    let title = format!("Edit {}", database.name);
    let form = DatabaseForm::stored(&ctx, &user, database).await?;
    Ok(render(&ctx, &form::Page::new(layout.titled(title), form))?.into_response())
}

/// POST /databases/{id}
pub async fn submit(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<DatabaseId>,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let result = match form::read(&form) {
        Ok(input) => databases::update(&ctx, &user, id, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(Redirect::to(&format!("/databases/{id}?notice=saved")).into_response()),
        Err(error) => {
            let database = databases::get(&ctx, &user, id).await?;
            let title = format!("Edit {}", database.name);
            let shown = DatabaseForm::typed(&ctx, &user, &form, Some(database), &error).await?;
            Ok((status(&error), render(&ctx, &form::Page::new(layout.titled(title), shown))?).into_response())
        }
    }
}
