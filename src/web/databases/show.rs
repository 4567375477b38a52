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
        filter::BackupFilter,
        ids::DatabaseId,
        page::{Page, PageRequest},
    },
    services::{
        Ctx,
        backup::{self, BackupRequest},
        databases::{self, DatabaseView},
    },
    web::{
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
    Ok(render(&ctx, &Show { layout: layout.titled(database.name.clone()), database, settings, backups, pager })?)
}

/// POST /databases/{id}/backup: back up now.
pub async fn back_up(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Redirect, Failure> {
    let backup = backup::start(&ctx, &user, BackupRequest { database_id: id, options: None }).await?;
    Ok(Redirect::to(&format!("/backups/{}", backup.id)))
}

fn described(database: &DatabaseView) -> crate::error::Result<Vec<(String, String)>> {
    let info = crate::engines::find(&database.engine)?.info();
    let connection = info.connection.iter().map(|field| {
        let secret = database.secrets_set.contains(&field.name).then(|| "set, not shown".to_owned());
        (field.label, secret.or_else(|| database.settings.get(field.name).map(setting_text)))
    });
    let options = info.dump_options.iter().map(|field| (field.label, database.backup_options.engine.get(field.name).map(setting_text)));
    let set = connection.chain(options).filter_map(|(label, text)| Some((label.to_owned(), text?)));
    Ok(set.filter(|(_, text)| !text.is_empty() && text != "no" && *text != database.address).collect())
}
