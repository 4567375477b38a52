//! The tables of a backup, and the rows of one.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::place::{PAGE, Place, row_link};
use crate::{
    domain::{
        backup::Backup,
        browse::{RowPage, RowView, TableInfo},
        ids::BackupId,
        permissions::Permission,
    },
    services::{Ctx, backup, snapshots::browse},
    web::{
        compare::{
            cells::{self, Cell, Look, TIGHT},
            grid::{Name, common_schema, name},
        },
        error::{Failure, message},
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
    },
};

/// Tables listed at most; more are found by their names.
const LISTED: usize = 300;

/// A table in the list.
struct Entry {
    name: Name,
    link: String,
    here: bool,
    rows: u64,
    sampled: Option<String>,
}

/// A row of the chosen table.
struct Row {
    link: String,
    /// The cells of the key; of a table without one, nothing.
    key: Vec<Cell>,
    cells: Vec<Cell>,
    count: u64,
}

/// The chosen table.
struct Chosen {
    info: TableInfo,
    name: Name,
    sampled: Option<String>,
    rows: Vec<Row>,
    total: Option<u64>,
    searched: u64,
    /// The number of the first row shown, from 1; 0 in a search.
    first: u64,
    previous: Option<String>,
    next: Option<String>,
    plain: String,
}

#[derive(Template)]
#[template(path = "pages/browse/rows.html")]
struct Page {
    layout: Layout,
    backup: Backup,
    place: Place,
    count: usize,
    rows: u64,
    entries: Vec<Entry>,
    more: usize,
    chosen: Option<Chosen>,
    /// There is no row with the key that was asked for.
    no_such_key: bool,
    problem: Option<(String, Option<String>)>,
}

/// GET /backups/{id}/browse?table=
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<BackupId>,
    Query(place): Query<Place>,
) -> Result<Html<String>, Failure> {
    user.require(Permission::Download)?;
    let backup = backup::get(&ctx, &user, id).await?;
    let tables = browse::tables(&ctx, &user, id).await?;
    let table = place.table.clone().or_else(|| tables.first().filter(|_| tables.len() == 1).map(|table| table.label.clone()));
    let (mut chosen, mut problem, mut no_such_key) = (None, None, false);
    if let Some(table) = &table {
        let info = tables.iter().find(|info| info.label == *table || info.name == *table);
        match browse::rows(&ctx, &user, id, table, place.query()).await {
            Ok(rows) => {
                no_such_key = rows.rows.is_empty() && place.key.is_some();
                chosen = Some(Chosen::new(id, &tables, &place.at(table), rows));
            }
            // What was typed as a key may be none: the form stays, with what is wrong.
            Err(error) => {
                chosen = info.map(|info| Chosen::new(id, &tables, &place.at(table), none_of(info)));
                problem = Some((message(&error), error.hint));
            }
        }
    }
    let layout = layout.titled(format!("Browse {}", backup.database_name));
    let (entries, more) = entries(id, &tables, &place, table.as_deref());
    let (count, rows) = (tables.len(), tables.iter().map(|table| table.rows).sum());
    Ok(render(&ctx, &Page { layout, backup, place, count, rows, entries, more, chosen, no_such_key, problem })?)
}

fn none_of(info: &TableInfo) -> RowPage {
    RowPage { table: info.clone(), rows: Vec::new(), page: 1, limit: PAGE, total: Some(0), searched: 0, next: None }
}

fn entries(id: BackupId, tables: &[TableInfo], place: &Place, chosen: Option<&str>) -> (Vec<Entry>, usize) {
    let wanted = place.find.as_deref().unwrap_or_default().to_lowercase();
    let one_schema = common_schema(tables.iter().map(|table| table.label.as_str()));
    let found: Vec<&TableInfo> = tables.iter().filter(|table| table.label.to_lowercase().contains(&wanted)).collect();
    let entry = |table: &&TableInfo| Entry {
        name: name(&table.label, one_schema),
        link: place.on_table(&table.label).link(&id),
        here: chosen == Some(table.label.as_str()),
        rows: table.rows,
        sampled: sample(table),
    };
    (found.iter().take(LISTED).map(entry).collect(), found.len().saturating_sub(LISTED))
}

/// `sample of 10%` where not all rows are kept.
fn sample(table: &TableInfo) -> Option<String> {
    table.sampled.map(|share| format!("sample of {}%", (share * 1000.0).round() / 10.0))
}

impl Chosen {
    fn new(id: BackupId, tables: &[TableInfo], place: &Place, page: RowPage) -> Self {
        let searching = place.q.is_some() || place.key.is_some();
        let label = page.table.label.clone();
        let row = |row: &RowView| {
            let drawn = |key: bool| {
                let cells = row.cells.iter().zip(&page.table.columns).filter(move |(_, column)| column.key == key);
                cells.map(|(value, _)| cells::plain(value, TIGHT)).collect()
            };
            Row { link: row_link(&id, &label, &row.key), key: drawn(true), cells: drawn(false), count: row.count }
        };
        Self {
            name: name(&label, common_schema(tables.iter().map(|table| table.label.as_str()))),
            sampled: sample(&page.table),
            rows: page.rows.iter().map(row).collect(),
            total: page.total,
            searched: page.searched,
            first: if searching { 0 } else { u64::from(place.page() - 1) * u64::from(PAGE) + 1 },
            previous: match (searching, place.page()) {
                (true, _) => place.after.is_some().then(|| place.at_start().link(&id)),
                (false, 1) => None,
                (false, page) => Some(place.on_page(page - 1).link(&id)),
            },
            next: match &page.next {
                Some(next) => Some(place.at_key_after(next).link(&id)),
                None => (!searching && place.page() < page.pages()).then(|| place.on_page(place.page() + 1).link(&id)),
            },
            plain: place.on_table(&label).link(&id),
            info: page.table,
        }
    }

    fn last(&self) -> u64 {
        self.first + (self.rows.len() as u64).saturating_sub(1)
    }
}
