//! Looking at the rows of a backup without restoring it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    blocking, open, open_of,
    text::{SHOWN, WHOLE, holds, key_text, keys_meant, view},
};
use crate::{
    db,
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupStatus, VerifyState},
        browse::{RowColumn, RowPage, RowQuery, RowVersion, RowView, TableInfo},
        diff::Change,
        filter::BackupFilter,
        ids::BackupId,
        page::PageRequest,
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
    services::Ctx,
    snapshot::{Class, Key, Layout, RowCursor, RowRef, Snapshot, Table, TableEntry},
};

/// How long one call looks through rows for a text.
const SEARCH: Duration = Duration::from_millis(1500);
/// Bytes of a page's values together; a page ends early rather than grow beyond.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Snapshots that a history looks at, the newest.
const HISTORY: u32 = 100;

/// The tables in the snapshot of a backup.
pub async fn tables(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<Vec<TableInfo>> {
    actor.require(Permission::Download)?;
    Ok(table_list(&*open(ctx, actor.organization_id, id).await?))
}

/// The tables in a snapshot, by name.
pub fn table_list(snapshot: &Snapshot) -> Vec<TableInfo> {
    let tables = snapshot.schema().tables.iter();
    tables.filter_map(|table| Some(info(table, snapshot.entry(&table.name)?))).collect()
}

/// Rows of a table, as `name` or `schema.name`. Errors with `NotFound` when there is no such table, or no row with the key
/// that was asked for.
pub async fn rows(ctx: &Ctx, actor: &Actor, id: BackupId, table: &str, query: RowQuery) -> Result<RowPage> {
    actor.require(Permission::Download)?;
    let snapshot = open(ctx, actor.organization_id, id).await?;
    let table = table.to_owned();
    blocking("reading rows", move || page_of(&snapshot, &table, &query)).await
}

/// See [`rows`]. Blocks.
pub fn page_of(snapshot: &Snapshot, table: &str, query: &RowQuery) -> Result<RowPage> {
    let reader = Reader::new(snapshot, table)?;
    match (&query.key, query.q.as_deref().filter(|q| !q.is_empty())) {
        (Some(key), _) => reader.one(key, query.full),
        (None, Some(q)) => reader.search(q, query),
        (None, None) => reader.page(query),
    }
}

/// What one row was in every snapshot of the same database, the newest first: only the moments at which it changed. Looks
/// at the newest hundred snapshots. Snapshots that do not tell of it (without the table, or a sample that leaves the row
/// out) are passed over.
pub async fn history(ctx: &Ctx, actor: &Actor, id: BackupId, table: &str, key: &str) -> Result<Vec<RowVersion>> {
    actor.require(Permission::Download)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    let own = open_of(ctx, actor.organization_id, &backup).await?;
    // Errors in the name or the key are told once, by the backup that was asked for.
    let keys = keys_meant(find(&own, table)?, key)?;
    let label = find(&own, table)?.name.to_string();
    let mut versions = Versions::default();
    for backup in siblings(ctx, actor, &backup).await? {
        let snapshot = open_of(ctx, actor.organization_id, &backup).await.map_err(|error| {
            error.while_doing(format!("reading the snapshot of backup {} of {}", backup.id, backup.moment.unwrap_or(backup.created_at)))
        })?;
        let (label, key, keys) = (label.clone(), key.to_owned(), keys.clone());
        let Some(seen) = blocking("reading a row", move || Seen::of(&snapshot, &label, &key, &keys)).await? else { continue };
        versions.add(&backup, seen);
    }
    versions.list.reverse();
    Ok(versions.list)
}

/// Completed backups of the same database that have snapshots, the oldest first.
async fn siblings(ctx: &Ctx, actor: &Actor, backup: &Backup) -> Result<Vec<Backup>> {
    let filter = BackupFilter {
        database_id: backup.database_id,
        status: Some(BackupStatus::Completed),
        q: backup.database_id.is_none().then(|| backup.database_name.clone()),
        ..BackupFilter::default()
    };
    let page = db::backups::list(&ctx.db, actor.organization_id, &filter, PageRequest { page: 1, limit: 200 }).await?;
    let mut found: Vec<_> = page
        .items
        .into_iter()
        .filter(|other| {
            other.engine == backup.engine
                && other.database_name == backup.database_name
                && other.artifact(ArtifactKind::Snapshot).is_some()
                && (other.verify_state != VerifyState::Corrupt || other.id == backup.id)
        })
        .take(HISTORY as usize)
        .collect();
    found.sort_by_key(|backup| backup.moment);
    Ok(found)
}

/// What one snapshot tells of a row.
struct Seen {
    columns: Vec<RowColumn>,
    row: Option<RowView>,
    /// The cells whole: values that are shown cut may differ behind the cut.
    cells: Vec<Option<bytes::Bytes>>,
    count: u64,
}

impl Seen {
    /// `None` when the snapshot does not tell.
    fn of(snapshot: &Snapshot, label: &str, key: &str, keys: &[Vec<u8>]) -> Result<Option<Self>> {
        let Ok(reader) = Reader::new(snapshot, label) else { return Ok(None) };
        // The key's columns may have had other types then: what a person means by it is asked anew.
        let mut candidates = keys.to_vec();
        if let Ok(own) = keys_meant(reader.table, key) {
            candidates.extend(own.into_iter().filter(|key| !keys.contains(key)));
        }
        for key in candidates {
            if let Some((key, value)) = snapshot.get(&reader.table.name, &key)? {
                let row = RowRef { key: &key, value: &value };
                let decoded = reader.layout.decode(row)?;
                let shown = reader.view(row, SHOWN)?;
                return Ok(Some(Self { columns: reader.columns, row: Some(shown), cells: decoded.cells, count: decoded.count }));
            }
        }
        let gone = Self { columns: reader.columns, row: None, cells: Vec::new(), count: 0 };
        Ok((reader.entry.sample.is_none()).then_some(gone))
    }

    /// Names of the columns in which this differs from `before`.
    fn changed(&self, before: &Self) -> Vec<String> {
        let value = |seen: &Self, name: &str| {
            let at = seen.columns.iter().position(|column| column.name == name)?;
            Some((seen.columns[at].class.clone(), seen.cells.get(at).cloned().flatten()))
        };
        let names: BTreeSet<_> = self.columns.iter().chain(&before.columns).map(|column| column.name.clone()).collect();
        names.into_iter().filter(|name| value(self, name) != value(before, name)).collect()
    }
}

/// Versions as they grow, the oldest first.
#[derive(Default)]
struct Versions {
    list: Vec<RowVersion>,
    last: Option<Seen>,
}

impl Versions {
    fn add(&mut self, backup: &Backup, seen: Seen) {
        let (change, changed) = match (self.last.as_ref().filter(|last| last.row.is_some()), &seen.row) {
            // Not there yet, or still gone.
            (None, None) => {
                if let Some(last) = self.list.last_mut() {
                    last.snapshots += 1;
                }
                return;
            }
            (None, Some(_)) => (Change::Added, Vec::new()),
            (Some(_), None) => (Change::Removed, Vec::new()),
            (Some(before), Some(_)) => {
                let changed = seen.changed(before);
                if changed.is_empty() && seen.count == before.count {
                    if let Some(last) = self.list.last_mut() {
                        last.snapshots += 1;
                    }
                    return;
                }
                (Change::Changed, changed)
            }
        };
        self.list.push(RowVersion {
            backup_id: backup.id,
            moment: backup.moment.unwrap_or(backup.created_at),
            change,
            columns: seen.columns.clone(),
            row: seen.row.clone(),
            changed,
            snapshots: 1,
        });
        self.last = Some(seen);
    }
}

/// One table of a snapshot.
struct Reader<'a> {
    snapshot: &'a Snapshot,
    table: &'a Table,
    entry: &'a TableEntry,
    layout: Layout,
    classes: Vec<Class>,
    columns: Vec<RowColumn>,
}

impl<'a> Reader<'a> {
    fn new(snapshot: &'a Snapshot, name: &str) -> Result<Self> {
        let table = find(snapshot, name)?;
        let entry = snapshot.entry(&table.name).ok_or_else(|| missing(name))?;
        let layout = Layout::of(table)?;
        let classes = table.stored().map(|column| column.class).collect();
        Ok(Self { snapshot, table, entry, layout, classes, columns: columns(table) })
    }

    fn view(&self, row: RowRef<'_>, limit: usize) -> Result<RowView> {
        let decoded = self.layout.decode(row)?;
        let cells = decoded.cells.iter().zip(&self.classes).map(|(cell, class)| view(*class, cell.as_deref(), limit)).collect();
        Ok(RowView { key: key_text(self.table, &self.layout, row)?, cells, count: decoded.count })
    }

    fn answer(&self, rows: Vec<RowView>, query: &RowQuery, total: Option<u64>) -> RowPage {
        RowPage { table: info(self.table, self.entry), rows, page: query.page.max(1), limit: limit(query), total, searched: 0, next: None }
    }

    fn page(&self, query: &RowQuery) -> Result<RowPage> {
        let offset = u64::from(query.page.max(1) - 1) * u64::from(limit(query));
        let batch = self.snapshot.page(&self.table.name, offset, limit(query) as usize)?;
        let rows = batch.iter().map(|row| self.view(row?, SHOWN)).collect::<Result<Vec<_>>>()?;
        Ok(self.answer(rows, query, Some(self.entry.distinct)))
    }

    fn one(&self, key: &str, full: bool) -> Result<RowPage> {
        let mut rows = Vec::new();
        for key in keys_meant(self.table, key)? {
            if let Some((key, value)) = self.snapshot.get(&self.table.name, &key)? {
                rows.push(self.view(RowRef { key: &key, value: &value }, if full { WHOLE } else { SHOWN })?);
            }
        }
        let total = rows.len() as u64;
        Ok(self.answer(rows, &RowQuery::default(), Some(total)))
    }

    /// Looks through rows in their order until the page is full or the time is up.
    fn search(&self, q: &str, query: &RowQuery) -> Result<RowPage> {
        let wanted = q.to_lowercase();
        let after = match &query.after {
            Some(text) => Some(hex::decode(text).map_err(|_| Error::validation("`after` is not what a page gave as `next`"))?),
            None => None,
        };
        let begun = Instant::now();
        let mut cursor = self.snapshot.cursor(&self.table.name, after.as_deref(), None)?;
        let (mut rows, mut searched, mut bytes, mut next) = (Vec::new(), 0_u64, 0, None);
        while let Some(row) = cursor.peek()? {
            searched += 1;
            let decoded = self.layout.decode(row)?;
            let held =
                decoded.cells.iter().zip(&self.classes).any(|(cell, class)| cell.as_ref().is_some_and(|cell| holds(*class, cell, &wanted)));
            if held {
                let view = self.view(row, SHOWN)?;
                bytes += view.cells.iter().filter_map(|cell| cell.text.as_ref()).map(String::len).sum::<usize>();
                rows.push(view);
            }
            let full = rows.len() >= limit(query) as usize || bytes > PAGE_BYTES;
            if full || (searched.is_multiple_of(64) && begun.elapsed() > SEARCH) {
                next = Some(hex::encode(row.key));
            }
            cursor.advance()?;
            if next.is_some() {
                break;
            }
        }
        if cursor.peek()?.is_none() {
            next = None;
        }
        let total = (next.is_none() && after.is_none()).then_some(rows.len() as u64);
        Ok(RowPage { searched, next, ..self.answer(rows, query, total) })
    }
}

fn limit(query: &RowQuery) -> u32 {
    query.limit.clamp(1, 200)
}

/// The table called `name` or `schema.name`. A bare name counts where only one schema has such a table.
pub fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Table> {
    let tables = &snapshot.schema().tables;
    if let Some(table) = tables.iter().find(|table| table.name.to_string() == name) {
        return Ok(table);
    }
    let mut bare = tables.iter().filter(|table| table.name.name == name);
    match (bare.next(), bare.next()) {
        (Some(table), None) => Ok(table),
        (Some(one), Some(other)) => {
            Err(Error::validation(format!("'{name}' may be {} or {}", one.name, other.name)).hint("name its schema too"))
        }
        (None, _) => Err(missing(name)),
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(format_args!("table '{name}' in the snapshot"))
}

fn info(table: &Table, entry: &TableEntry) -> TableInfo {
    TableInfo {
        label: table.name.to_string(),
        schema: table.name.schema.clone(),
        name: table.name.name.clone(),
        columns: columns(table),
        key: key_columns(table).to_vec(),
        rows: entry.rows,
        distinct: entry.distinct,
        bytes: entry.bytes,
        sampled: entry.sample,
        root: hex::encode(entry.root),
    }
}

fn columns(table: &Table) -> Vec<RowColumn> {
    let key = key_columns(table);
    let columns = table.stored().map(|column| RowColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        class: class_name(column.class),
        key: key.contains(&column.name),
    });
    columns.collect()
}

fn key_columns(table: &Table) -> &[String] {
    match &table.key {
        Key::Columns { columns } => columns,
        Key::Row => &[],
    }
}

/// A class as JSON has it.
fn class_name(class: Class) -> String {
    format!("{class:?}").to_lowercase()
}
