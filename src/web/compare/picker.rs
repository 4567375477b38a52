//! Asking for a comparison, and the earlier ones.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    request::{self, LIVE},
    words::{self, Totals},
};
use crate::{
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupStatus, VerifyState},
        diff::{Diff, DiffOptions, DiffStatus, DiffTier},
        filter::{BackupFilter, DatabaseFilter, DiffFilter},
        ids::DatabaseId,
        page::{Page, PageRequest},
        permissions::Permission,
    },
    error::{Error, Result},
    services::{
        Ctx, backup,
        compare::{self, DiffRequest},
        databases::{self, DatabaseView},
    },
    web::{
        error::{Failure, message, status},
        extract::{Form, Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

/// What the address says of the sides.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Chosen {
    database_id: Option<DatabaseId>,
    before: Option<String>,
    after: Option<String>,
}

/// A backup that can be a side.
pub struct Point {
    pub value: String,
    pub backup: Backup,
    /// The one before it in time.
    pub previous: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/compare/picker.html")]
struct Picker {
    layout: Layout,
    databases: Vec<DatabaseView>,
    database: Option<DatabaseView>,
    points: Vec<Point>,
    before: String,
    after: String,
    options: DiffOptions,
    /// The options are not as they are by themselves.
    opened: bool,
    diffs: Page<Diff>,
    filter: DiffFilter,
    filtered: bool,
    pager: Pager,
    here: String,
    problem: Option<(String, Option<String>)>,
}

/// GET /compare
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(chosen): Query<Chosen>,
    Query(filter): Query<DiffFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let picker = draw(&ctx, &user, layout, &uri, chosen, filter, page).await?;
    Ok(render(&ctx, &picker)?)
}

/// POST /compare: starts the comparison. What is wrong is shown in the form again.
pub async fn submit(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::RunBackups)?;
    let started = match request::read(&form) {
        Ok((before, after, options)) => compare::start(&ctx, &user, DiffRequest { before, after, options }).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(diff) => Ok(Redirect::to(&format!("/diffs/{}", diff.id)).into_response()),
        Err(error) => {
            let side = |name: &str| Some(form.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
            let chosen = Chosen { database_id: form.parse("databaseId")?, before: side("before"), after: side("after") };
            let mut picker = draw(&ctx, &user, layout, &uri, chosen, DiffFilter::default(), PageRequest::default()).await?;
            picker.options = request::options(&form).unwrap_or_default();
            picker.opened = picker.options != DiffOptions::default() || !error.fields.is_empty();
            picker.problem = Some((said(&error), error.hint.clone()));
            Ok((status(&error), render(&ctx, &picker)?).into_response())
        }
    }
}

/// The error with the problems of single fields.
fn said(error: &Error) -> String {
    let fields: Vec<String> = error.fields.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
    if fields.is_empty() { message(error) } else { format!("{}: {}", message(error), fields.join(", ")) }
}

async fn draw(
    ctx: &Ctx,
    user: &User,
    layout: Layout,
    uri: &axum::http::Uri,
    chosen: Chosen,
    filter: DiffFilter,
    page: PageRequest,
) -> Result<Picker> {
    let databases = databases::list(ctx, user, &DatabaseFilter::default(), PageRequest { page: 1, limit: 200 }).await?.items;
    let named = chosen.database_id.or_else(|| databases.iter().find(|database| database.last_good.is_some()).map(|database| database.id));
    let database = match named.or_else(|| databases.first().map(|database| database.id)) {
        Some(id) => Some(databases::get(ctx, user, id).await?),
        None => None,
    };
    let points = match &database {
        Some(database) => points(ctx, user, database.id, 100).await?,
        None => Vec::new(),
    };
    let newest = points.first().map_or(String::new(), |point| point.value.clone());
    let diffs = compare::list(ctx, user, &filter, PageRequest { limit: page.limit.min(20), ..page }).await?;
    let filtered = filter.status.is_some() || filter.q.is_some() || filter.backup_id.is_some();
    Ok(Picker {
        pager: Pager::new(uri, &diffs),
        here: uri.to_string(),
        layout: layout.titled("Compare"),
        before: chosen.before.unwrap_or(newest),
        after: chosen.after.unwrap_or_else(|| LIVE.into()),
        options: DiffOptions::default(),
        opened: false,
        databases,
        database,
        points,
        diffs,
        filter,
        filtered,
        problem: None,
    })
}

/// The backups of a database that can be compared, newest first.
pub async fn points(ctx: &Ctx, user: &User, database: DatabaseId, most: u32) -> Result<Vec<Point>> {
    let filter = BackupFilter { database_id: Some(database), status: Some(BackupStatus::Completed), ..BackupFilter::default() };
    let backups = backup::list(ctx, user, &filter, PageRequest { page: 1, limit: most }).await?;
    let good = backups
        .items
        .into_iter()
        .filter(|backup| backup.artifact(ArtifactKind::Snapshot).is_some() && backup.verify_state != VerifyState::Corrupt);
    let mut points: Vec<Point> = good.map(|backup| Point { value: backup.id.to_string(), backup, previous: None }).collect();
    let values: Vec<String> = points.iter().skip(1).map(|point| point.value.clone()).collect();
    points.iter_mut().zip(values).for_each(|(point, previous)| point.previous = Some(previous));
    Ok(points)
}

/// The result of an earlier comparison, a few words.
fn result_of(diff: &Diff) -> String {
    match &diff.summary {
        Some(summary) if diff.status == DiffStatus::Completed => words::headline(summary),
        _ => String::new(),
    }
}

fn totals_of(diff: &Diff) -> Totals {
    diff.summary.as_ref().filter(|_| diff.status == DiffStatus::Completed).map(Totals::of).unwrap_or_default()
}
