//! A table of a backup as a file, behind a link that works once.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::place::Place;
use crate::{
    domain::{
        export::{ExportFormat, ExportRequest},
        ids::BackupId,
    },
    services::{
        Ctx,
        exports::{self, MadeLink},
    },
    web::{
        error::Failure,
        extract::{Form, Htmx, Id, User},
        filters,
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "parts/export_link.html")]
struct Part {
    link: MadeLink,
}

#[derive(Template)]
#[template(path = "pages/browse/export.html")]
struct Page {
    layout: Layout,
    link: MadeLink,
    table: String,
    back: String,
}

/// POST /backups/{id}/browse/export with `table` and `format`
pub async fn submit(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Htmx(part): Htmx,
    Id(id): Id<BackupId>,
    form: Form,
) -> Result<Html<String>, Failure> {
    let format = form.parse::<ExportFormat>("format")?.unwrap_or(ExportFormat::Csv);
    let table = form.raw("table").to_owned();
    let request = ExportRequest { backup_id: Some(id), diff_id: None, table: table.clone(), format };
    let link = exports::make(&ctx, &user, request).await?;
    if part {
        return Ok(render(&ctx, &Part { link })?);
    }
    let back = Place::default().on_table(&table).link(&id);
    Ok(render(&ctx, &Page { layout: layout.titled("Export"), link, table, back })?)
}
