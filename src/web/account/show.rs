//! The reader's own account.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    domain::{
        account::{ApiKey, Session},
        ids::SessionId,
        permissions::Role,
        secret::Secret,
    },
    error::Error,
    services::{Ctx, accounts},
    web::{
        error::{Failure, message, status},
        extract::User,
        filters,
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/account/show.html")]
struct Page {
    layout: Layout,
    sessions: Vec<Session>,
    current: Option<SessionId>,
    keys: Vec<ApiKey>,
    roles: Vec<Role>,
    /// Shown once, right after it was made.
    new_key: Option<String>,
    problem: Option<(String, Option<String>)>,
}

/// GET /account
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    draw(&ctx, &user, layout, None, None).await
}

/// The page, with a new key or with what was wrong.
pub async fn draw(
    ctx: &Arc<Ctx>,
    user: &User,
    layout: Layout,
    new_key: Option<Secret>,
    error: Option<&Error>,
) -> Result<Response, Failure> {
    let page = Page {
        layout: layout.titled("Your account"),
        sessions: accounts::sessions(ctx, user).await?,
        current: user.0.session.as_ref().map(|session| session.id),
        keys: accounts::api_keys(ctx, user).await?,
        roles: [Role::Viewer, Role::Operator, Role::Admin].into_iter().filter(|role| role.capped_by(user.role) == *role).collect(),
        new_key: new_key.map(|key| key.expose().to_owned()),
        problem: error.map(|error| (message(error), error.hint.clone())),
    };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}
