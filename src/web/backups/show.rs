//! One backup: can it be trusted, what is in it, how it came to be.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupStatus, VerifyState},
        copy::BackupCopy,
        ids::BackupId,
    },
    services::{Ctx, backup, copies},
    web::{
        compare::place::address,
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
#[template(path = "pages/backups/show.html")]
struct Show {
    layout: Layout,
    backup: Backup,
    /// Of the job that makes it.
    log: LiveLog,
    /// What has to be typed to delete it.
    confirm: String,
    store: String,
    copies: Vec<BackupCopy>,
    /// Stores whose manifests do not say yet whether it is pinned.
    untold: Vec<String>,
}

/// One backup with its artifacts and row counts.
#[utoipa::path(get, path = "/api/backups/{id}", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Backup>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Backup>, Failure> {
    Ok(envelope::ok(backup::get(&ctx, &user, id).await?))
}

/// GET /backups/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<BackupId>,
    Query(query): Query<LogQuery>,
) -> Result<Html<String>, Failure> {
    let backup = backup::get(&ctx, &user, id).await?;
    let log = LiveLog::load(&ctx, &user, backup.job_id, backup.status.is_over(), format!("/backups/{id}"), query.level).await?;
    let store = crate::services::stores::get(&ctx, &user, backup.store_id).await?.name;
    let copies = copies::list(&ctx, &user, id).await?;
    let untold = backup::pins_to_write(&ctx, &user, id).await?;
    let layout = layout.titled(format!("Backup of {}", backup.database_name));
    let confirm = super::delete::confirmation(&backup);
    Ok(render(&ctx, &Show { layout, backup, log, confirm, store, copies, untold })?)
}

/// Where the rows of a table are looked at.
fn browse_link(backup: &Backup, table: &str) -> String {
    address(&format!("/backups/{}/browse", backup.id), [("table", table.to_owned())])
}
