//! One database: what it is, how it is protected, its backups.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, Redirect},
};

use crate::{
    domain::{
        backup::Backup,
        database::Settings,
        fields::Field,
        filter::BackupFilter,
        ids::DatabaseId,
        page::{Page, PageRequest},
    },
    engines::network::fields::tls_meaning,
    services::{
        Ctx,
        backup::{self, BackupRequest},
        databases::{self, DatabaseView},
        schedules::{self, Dependent, Parents, ScheduleView},
    },
    web::{
        compare::picker::{self, Point},
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        forms::setting_text,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/databases/show.html")]
struct Show {
    layout: Layout,
    database: DatabaseView,
    /// Label and text of the connection settings and dump options that are set.
    settings: Vec<(String, String)>,
    backups: Page<Backup>,
    /// The newest backups that can be compared, newest first.
    points: Vec<Point>,
    schedules: Vec<ScheduleView>,
    /// Schedules of other databases that run after these.
    dependents: Vec<Dependent>,
    pager: Pager,
}

/// One database, without secrets.
#[utoipa::path(get, path = "/api/databases/{id}", tag = "databases", params(("id" = DatabaseId, Path)),
    responses((status = 200, body = Envelope<DatabaseView>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Envelope<DatabaseView>, Failure> {
    Ok(envelope::ok(databases::get(&ctx, &user, id).await?))
}

/// GET /databases/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Id(id): Id<DatabaseId>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let database = databases::get(&ctx, &user, id).await?;
    let filter = BackupFilter { database_id: Some(id), ..BackupFilter::default() };
    let backups = backup::list(&ctx, &user, &filter, PageRequest { limit: page.limit.min(20), ..page }).await?;
    let settings = described(&database)?;
    let pager = Pager::new(&uri, &backups);
    let points = picker::points(&ctx, &user, id, 12).await?;
    let schedules = schedules::of_database(&ctx, &user, id).await?;
    let dependents = schedules::dependents(&ctx, &user, Parents::Of(id)).await?;
    let layout = layout.titled(database.name.clone());
    Ok(render(&ctx, &Show { layout, database, settings, backups, points, schedules, dependents, pager })?)
}

/// POST /databases/{id}/backup: back up now.
pub async fn back_up(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Redirect, Failure> {
    let backup = backup::start(&ctx, &user, BackupRequest { database_id: id, options: None }).await?;
    Ok(Redirect::to(&format!("/backups/{}", backup.id)))
}

/// Label and text of what is set otherwise than it would be by itself and does not stand in the address: the main
/// connection settings, how the way to the server is protected, the dump options.
fn described(database: &DatabaseView) -> crate::error::Result<Vec<(String, String)>> {
    let info = crate::engines::find(&database.engine)?.info();
    // A switch that is off is as if it had never been touched.
    let off = |field: &Field, values: &Settings| field.default.is_empty() && values.get(field.name) == Some(&false.into());
    let is_set = |field: &&Field, values: &Settings| !field.is_same(values, &Settings::new()) && !off(field, values);
    let text_of = |field: &Field| database.settings.get(field.name).map(setting_text).unwrap_or_default();
    let secret = |field: &&Field| database.secrets_set.contains(&field.name);
    let main = info.connection.iter().filter(|field| field.section.is_empty());
    let main = main.filter(|field| secret(field) || is_set(field, &database.settings)).filter_map(|field| {
        let text = if field.is_secret() { "set, not shown".to_owned() } else { text_of(field) };
        (!database.address.contains(&text)).then(|| (field.label.to_owned(), text))
    });
    let options = &database.backup_options.engine;
    let dump = info.dump_options.iter().filter(|field| is_set(field, options));
    let dump = dump.map(|field| (field.label.to_owned(), options.get(field.name).map(setting_text).unwrap_or_default()));
    Ok(main.chain(way(database)).chain(dump).collect())
}

/// How the server is reached: TLS, an SSH tunnel, a proxy. Empty for an engine without a server.
fn way(database: &DatabaseView) -> Vec<(String, String)> {
    let text = |name: &str| database.settings.get(name).map(setting_text).filter(|text| !text.is_empty());
    let mut rows = Vec::new();
    if let Some(mode) = text("tlsMode") {
        rows.push(("TLS".to_owned(), format!("{mode}: {}", tls_meaning(&mode))));
    }
    if let Some(host) = text("sshHost") {
        let user = text("sshUser").map(|user| format!("{user}@")).unwrap_or_default();
        let port = text("sshPort").filter(|port| port != "22").map(|port| format!(":{port}")).unwrap_or_default();
        rows.push(("SSH tunnel".to_owned(), format!("through {user}{host}{port}")));
        rows.push(("SSH host key".to_owned(), text("sshHostKey").unwrap_or_else(|| "kept at the first connection".to_owned())));
    }
    if let Some(kind) = text("proxyType").filter(|kind| kind != "none") {
        let port = text("proxyPort").map(|port| format!(":{port}")).unwrap_or_default();
        rows.push(("Proxy".to_owned(), format!("{kind} {}{port}", text("proxyHost").unwrap_or_default())));
    }
    rows
}
