//! One restore: how it goes, or how it went.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        ids::RestoreId,
        restore::{Direction, Restore, RestoreMode, RestoreStatus},
    },
    services::{Ctx, restore},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        jobs::{live::LiveLog, logs::LogQuery},
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/restores/show.html")]
struct Show {
    layout: Layout,
    restore: Restore,
    log: LiveLog,
}

/// One restore.
#[utoipa::path(get, path = "/api/restores/{id}", tag = "restores", params(("id" = RestoreId, Path)),
    responses((status = 200, body = Envelope<Restore>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<RestoreId>) -> Result<Envelope<Restore>, Failure> {
    Ok(envelope::ok(restore::get(&ctx, &user, id).await?))
}

/// GET /restores/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<RestoreId>,
    Query(query): Query<LogQuery>,
) -> Result<Html<String>, Failure> {
    let restore = restore::get(&ctx, &user, id).await?;
    let log = LiveLog::load(&ctx, &user, restore.job_id, restore.status.is_over(), format!("/restores/{id}"), query.level).await?;
    let layout = layout.titled(format!("Restore of {}", restore.source_label));
    Ok(render(&ctx, &Show { layout, restore, log })?)
}
