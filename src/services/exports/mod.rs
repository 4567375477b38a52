//! Exports: a table of a backup, or the changes of one, as a file behind a link that works once and not for long.
//!
//! A link's token is random, of 256 bits, and only its hash is kept: it can neither be guessed nor read from the catalogue,
//! and looking it up by its hash gives nothing away by timing.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;

use super::{Ctx, audit, backup::Download, compare, snapshots};
use crate::{
    auth::token,
    db,
    domain::{
        diff::{ChangeFilter, PatchFormat},
        export::{ExportFormat, ExportLink, ExportRequest},
        ids::ExportId,
        naming,
        permissions::{Actor, Permission, Role},
        restore::Direction,
        stream::ByteStream,
        time::Moment,
    },
    engines::{self, Script},
    error::{Error, Result},
    snapshot::{ChangeKind, Class, Layout, Row, RowChange, RowCursor, Snapshot, Table},
};

mod stream;
pub mod text;

pub(super) use stream::{Out, stream};

/// How long a link waits for its use.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// How long a link is remembered after its end, milliseconds: whoever comes late is told why.
const REMEMBERED_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A new link. It is shown here and never again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeLink {
    /// With BASE_URL set a whole address, else one relative to this server.
    pub url: String,
    pub file_name: String,
    pub expires_at: Moment,
}

/// What is behind a link.
pub enum Taken {
    File(Download),
    /// It was used, or its time is over.
    Over,
    Unknown,
}

/// Makes a link to one download. Errors when the table is not there, or the format is none of the engine.
pub async fn make(ctx: &Arc<Ctx>, actor: &Actor, request: ExportRequest) -> Result<MadeLink> {
    actor.require(Permission::Download)?;
    let name = described(ctx, actor, &request).await?;
    let now = Moment::now();
    let link = ExportLink {
        id: ExportId::new(),
        file_name: format!("{name}_{}_{}.{}", naming::safe_name(&request.table), now.utc().format("%Y%m%d_%H%M%S"), request.format),
        what: request,
        made_by: actor.name.clone(),
        created_at: now,
        expires_at: later(now, LIFE),
    };
    let token = token::generate();
    db::export_links::insert(&ctx.db, actor.organization_id, &link, &token::hash(token.expose())).await?;
    audit::record(ctx, actor, "export.link", link.id, json!({ "what": link.what, "expiresAt": link.expires_at })).await?;
    let path = format!("/exports/{}", token.expose());
    let url = match &ctx.config.base_url {
        Some(base) => format!("{}{path}", base.as_str().trim_end_matches('/')),
        None => path,
    };
    Ok(MadeLink { url, file_name: link.file_name, expires_at: link.expires_at })
}

/// Uses a link: whoever holds it gets the file, once.
pub async fn take(ctx: &Arc<Ctx>, token: &str) -> Result<Taken> {
    let hash = token::hash(token);
    let now = Moment::now();
    let Some((organization_id, link)) = db::export_links::take(&ctx.db, &hash, now).await? else {
        return Ok(if db::export_links::known(&ctx.db, &hash).await? { Taken::Over } else { Taken::Unknown });
    };
    // Who made the link was allowed to download then, and answers for it.
    let holder = Actor { organization_id, role: Role::Operator, name: format!("link of {}", link.made_by), ..Actor::system() };
    let stream = open(ctx, &holder, link.what.clone()).await?;
    audit::record(ctx, &holder, "export.download", link.id, json!({ "what": link.what })).await?;
    db::export_links::expire(&ctx.db, Moment(now.0 - REMEMBERED_MS)).await?;
    Ok(Taken::File(Download { file_name: link.file_name, size: None, stream }))
}

/// The beginning of the file's name. Errors unless it can be exported.
async fn described(ctx: &Arc<Ctx>, actor: &Actor, request: &ExportRequest) -> Result<String> {
    match (request.backup_id, request.diff_id) {
        (Some(id), None) => {
            let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
            script(&backup.engine, request.format)?;
            let snapshot = snapshots::open(ctx, actor.organization_id, id).await?;
            find_table(&snapshot, &request.table)?;
            Ok(naming::safe_name(&backup.database_name))
        }
        (None, Some(id)) => {
            let diff = compare::get(ctx, actor, id).await?;
            script(&diff.engine, request.format)?;
            let known = diff.summary.iter().flat_map(|summary| &summary.tables).any(|table| table.name == request.table);
            if !known {
                return Err(Error::not_found(format_args!("the table {} in this comparison", request.table)));
            }
            Ok(format!("{}_changes", naming::safe_name(&diff.database_name)))
        }
        _ => Err(Error::validation("an export needs either backupId or diffId")),
    }
}

async fn open(ctx: &Arc<Ctx>, actor: &Actor, request: ExportRequest) -> Result<ByteStream> {
    match (request.backup_id, request.diff_id) {
        (Some(id), _) => {
            let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
            let snapshot = snapshots::open(ctx, actor.organization_id, id).await?;
            let script = script(&backup.engine, request.format)?;
            let title = format!("Rows of {} of {}, backup {id}", request.table, backup.database_name);
            Ok(stream(move |out| write_table(&snapshot, &request, script, &title, out)))
        }
        (_, Some(id)) => {
            let filter = ChangeFilter { table: Some(request.table), ..ChangeFilter::default() };
            match request.format {
                ExportFormat::Sql => {
                    compare::patch(ctx, actor, id, PatchFormat::Sql, Direction::Apply, &filter).await.map(|file| file.stream)
                }
                ExportFormat::Csv => compare::patch::table_text(ctx, actor, id, &filter, true).await,
                ExportFormat::JsonLines => compare::patch::table_text(ctx, actor, id, &filter, false).await,
            }
        }
        _ => Err(Error::internal("an export of nothing")),
    }
}

/// The engine's script, where the format is one. Errors when the engine has none.
fn script(engine: &str, format: ExportFormat) -> Result<Option<&'static dyn Script>> {
    if format != ExportFormat::Sql {
        return Ok(None);
    }
    let engine = engines::find(engine)?;
    match engine.script() {
        Some(script) => Ok(Some(script)),
        None => Err(Error::validation(format!("{} has no SQL", engine.info().label)).hint("choose jsonl or csv")),
    }
}

/// The table of a snapshot by the name that people write. Errors when there is none.
pub(super) fn find_table<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Table> {
    let found = snapshot.schema().tables.iter().find(|table| table.name.to_string() == name);
    found
        .filter(|table| snapshot.entry(&table.name).is_some())
        .ok_or_else(|| Error::not_found(format_args!("the table {name} in this backup")))
}

/// Every row of a table. A row that is there several times, in a table without a key, is written as often.
fn write_table(snapshot: &Snapshot, request: &ExportRequest, script: Option<&dyn Script>, title: &str, out: &mut Out) -> Result<()> {
    let table = find_table(snapshot, &request.table)?;
    let layout = Layout::of(table)?;
    let columns: Vec<_> = table.stored().map(|column| (column.name.as_str(), column.class)).collect();
    let mut rows = snapshot.cursor(&table.name, None, None)?;
    match (request.format, script) {
        (ExportFormat::Sql, Some(script)) => out.push(&script.begin(title))?,
        (ExportFormat::Csv, _) => header(&columns, out)?,
        _ => {}
    }
    while let Some(row) = rows.peek()? {
        let row = layout.decode(row)?;
        rows.advance()?;
        match (request.format, script) {
            (ExportFormat::Sql, Some(script)) => {
                let change = RowChange { kind: ChangeKind::Added, before: None, after: Some(row) };
                out.push(&script.change(table, &change)?)?;
            }
            (ExportFormat::Csv, _) => repeat(&row, out, |row, text| csv_row(&columns, row, text))?,
            _ => repeat(&row, out, |row, text| json_row(&columns, row, text))?,
        }
    }
    if let Some(script) = script {
        out.push(&script.end())?;
    }
    Ok(())
}

fn repeat(row: &Row, out: &mut Out, write: impl Fn(&Row, &mut String) -> Result<()>) -> Result<()> {
    for _ in 0..row.count {
        write(row, out.text())?;
        out.pass()?;
    }
    Ok(())
}

pub(super) fn header(columns: &[(&str, Class)], out: &mut Out) -> Result<()> {
    for (at, (name, _)) in columns.iter().enumerate() {
        if at > 0 {
            out.text().push(',');
        }
        text::csv(out.text(), Class::Text, Some(name.as_bytes()))?;
    }
    out.push("\r\n")
}

fn csv_row(columns: &[(&str, Class)], row: &Row, out: &mut String) -> Result<()> {
    for (at, ((_, class), cell)) in columns.iter().zip(&row.cells).enumerate() {
        if at > 0 {
            out.push(',');
        }
        text::csv(out, *class, cell.as_deref())?;
    }
    out.push_str("\r\n");
    Ok(())
}

/// One object on one line; of a collection, the document itself.
fn json_row(columns: &[(&str, Class)], row: &Row, out: &mut String) -> Result<()> {
    json_object(columns, row, out)?;
    out.push('\n');
    Ok(())
}

/// A row as a JSON object; a document as itself.
pub(super) fn json_object(columns: &[(&str, Class)], row: &Row, out: &mut String) -> Result<()> {
    if let ([(_, Class::Bson)], [Some(document)]) = (columns, &row.cells[..]) {
        return text::json(out, Class::Bson, Some(document));
    }
    out.push('{');
    for (at, ((name, class), cell)) in columns.iter().zip(&row.cells).enumerate() {
        if at > 0 {
            out.push(',');
        }
        text::quoted(out, name);
        out.push(':');
        text::json(out, *class, cell.as_deref())?;
    }
    out.push('}');
    Ok(())
}

fn later(moment: Moment, by: Duration) -> Moment {
    Moment(moment.0 + i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2))
}
