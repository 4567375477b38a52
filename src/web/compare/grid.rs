//! The parts of a report as the page draws them: the list of tables, the chosen table with its columns and rows.

use super::{
    cells::{self, Cell, Half},
    place::{PAGE, Place, View, address},
    tree::{self, Step},
    words,
};
use crate::domain::{
    diff::{Change, ChangePage, ChangeView, ColumnDiff, DiffSummary, SchemaChange, TableDiff},
    ids::DiffId,
};

/// Tables listed at most; more are found by their names.
const LISTED: usize = 300;
/// From so many columns on only those that changed are shown, unless the reader wants all.
const MANY_COLUMNS: usize = 12;

/// The list of tables.
pub struct Tables {
    pub differing: Vec<Entry>,
    /// Differing tables that the list has no room for.
    pub more: usize,
    pub equal: Vec<Entry>,
    /// There are so many that a search helps.
    pub searchable: bool,
    pub differing_count: usize,
    pub count: usize,
}

/// A table in the list.
pub struct Entry {
    pub name: Name,
    pub link: String,
    pub here: bool,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub badges: Vec<String>,
}

/// A table's name in two parts, the first of which says little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// `public.` where tables of several schemas are compared.
    pub schema: String,
    pub own: String,
    pub full: String,
}

impl Tables {
    pub fn new(id: &DiffId, summary: &DiffSummary, place: &Place, chosen: Option<&str>) -> Self {
        let wanted = place.find.as_deref().unwrap_or_default().to_lowercase();
        let one_schema = has_one_schema(&summary.tables);
        let entry = |table: &TableDiff| Entry {
            name: name(&table.name, one_schema),
            link: place.on_table(&table.name).link(id),
            here: chosen == Some(table.name.as_str()),
            added: table.added,
            removed: table.removed,
            changed: table.changed,
            badges: badges(table),
        };
        let found = summary.tables.iter().filter(|table| table.name.to_lowercase().contains(&wanted));
        let (equal, mut differing): (Vec<&TableDiff>, Vec<&TableDiff>) = found.partition(|table| table.is_equal() && table.hidden == 0);
        differing.sort_by_key(|table| (std::cmp::Reverse(table.changes()), &table.name));
        Self {
            more: differing.len().saturating_sub(LISTED),
            differing: differing.iter().take(LISTED).map(|table| entry(table)).collect(),
            equal: equal.iter().take(LISTED).map(|table| entry(table)).collect(),
            searchable: summary.tables.len() > 12 || !wanted.is_empty(),
            differing_count: summary.tables.iter().filter(|table| !table.is_equal()).count(),
            count: summary.tables.len(),
        }
    }
}

/// What is shown when the address names no table: the one with the most changes.
pub fn first_table(summary: &DiffSummary) -> Option<&TableDiff> {
    let differing = summary.tables.iter().filter(|table| !table.is_equal());
    differing.max_by_key(|table| (table.changes(), std::cmp::Reverse(&table.name)))
}

/// True when the names of all tables begin with the same schema.
pub fn common_schema<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut schemas = names.map(|name| name.split_once('.').map(|parts| parts.0));
    match schemas.next() {
        Some(Some(first)) => schemas.all(|schema| schema == Some(first)),
        _ => false,
    }
}

fn has_one_schema(tables: &[TableDiff]) -> bool {
    common_schema(tables.iter().map(|table| table.name.as_str()))
}

/// A table's name in its two parts.
pub fn name(full: &str, one_schema: bool) -> Name {
    let (schema, own) = match full.split_once('.') {
        Some((_, own)) if one_schema => (String::new(), own.to_owned()),
        Some((schema, own)) => (format!("{schema}."), own.to_owned()),
        None => (String::new(), full.to_owned()),
    };
    Name { schema, own, full: full.to_owned() }
}

fn badges(table: &TableDiff) -> Vec<String> {
    let mut badges = Vec::new();
    match table.table {
        Some(Change::Added) => badges.push("new table".into()),
        Some(Change::Removed) => badges.push("table removed".into()),
        _ => {}
    }
    if let Some(before) = &table.renamed_from {
        badges.push(format!("was {before}"));
    }
    if table.keyless {
        badges.push("no key".into());
    }
    if let Some(share) = table.sampled {
        badges.push(format!("sample of {}%", (share * 1000.0).round() / 10.0));
    }
    if table.hidden > 0 {
        badges.push(format!("{} hidden", crate::domain::amount::grouped(&table.hidden.to_string())));
    }
    badges
}

/// The chosen table.
pub struct Chosen {
    pub name: Name,
    pub table: TableDiff,
    pub badges: Vec<String>,
    pub columns: Vec<Column>,
    /// Names of the key's columns, for the head of the pinned column.
    pub key: String,
    pub rows: Vec<Row>,
    pub total: Option<u64>,
    pub ignored: u64,
    /// The number of the first row shown, from 1.
    pub first: u64,
    pub only: bool,
    /// Columns that are not shown because nothing changed in them.
    pub left_out: usize,
    pub histogram: Vec<Bar>,
    pub links: Links,
    /// Fields of the address, for forms.
    pub fields: Vec<(&'static str, String)>,
}

/// Where the switches of the chosen table lead.
pub struct Links {
    pub inline: String,
    pub side: String,
    pub schema: String,
    pub only: String,
    pub all_kinds: String,
    pub added: String,
    pub removed: String,
    pub changed: String,
    pub any_column: String,
    pub plain: String,
    pub previous: Option<String>,
    pub next: Option<String>,
    /// Ends of the addresses of patches: `&table=...`.
    pub patch: String,
}

/// The head of a column.
pub struct Column {
    pub name: String,
    pub type_name: String,
    pub changed: u64,
    /// `new` or `gone`.
    pub side: &'static str,
    pub filtered: bool,
    /// Filters on the column, or no more; empty where nothing changed in it.
    pub link: String,
    /// Its place among the columns of the page.
    place: usize,
}

/// How often a column changed.
pub struct Bar {
    pub name: String,
    pub changed: u64,
    pub share: String,
    pub percent: f64,
    pub filter: String,
    pub filtered: bool,
    /// Leaves its changes out, or takes them in again; empty where the name cannot stand in a list.
    pub ignore: String,
    pub ignored: bool,
}

/// A changed row.
pub struct Row {
    pub at: u64,
    pub kind: Change,
    pub key: Vec<String>,
    pub counts: Option<(u64, u64)>,
    /// In the order of the columns; empty side by side.
    pub cells: Vec<Cell>,
    pub lines: Vec<Line>,
    /// Lines that are not shown because nothing changed in them.
    pub left_out: usize,
}

/// One column of a row side by side.
pub struct Line {
    pub column: String,
    pub changed: bool,
    pub before: Half,
    pub after: Half,
    pub steps: Vec<Step>,
    pub inside: usize,
    /// Whole values; empty where all is shown.
    pub before_link: String,
    pub after_link: String,
}

impl Chosen {
    pub fn new(id: &DiffId, summary: &DiffSummary, table: &TableDiff, place: &Place, page: ChangePage) -> Self {
        let only = place.only().unwrap_or(page.columns.len() > MANY_COLUMNS);
        let shown = shown_columns(&page, table, only);
        let columns: Vec<Column> = shown.iter().map(|&at| column(id, place, table, &page.columns, at)).collect();
        let view = place.view();
        let rows = page.changes.iter().map(|change| row(id, table, &page, &columns, change, view, only)).collect();
        let keys: Vec<&str> = page.columns.iter().filter(|column| column.key).map(|column| column.name.as_str()).collect();
        Self {
            name: name(&table.name, has_one_schema(&summary.tables)),
            badges: badges(table),
            key: if keys.is_empty() { if table.keyless { "row" } else { "key" }.to_owned() } else { keys.join(", ") },
            left_out: page.columns.iter().filter(|column| !column.key).count() - columns.len(),
            columns,
            rows,
            total: page.total,
            ignored: page.ignored,
            first: u64::from(place.page() - 1) * u64::from(PAGE) + 1,
            only,
            histogram: histogram(id, place, table),
            links: links(id, place, table, &page, only),
            fields: place.fields(),
            table: table.clone(),
        }
    }

    /// The last row shown.
    pub fn last(&self) -> u64 {
        self.first + (self.rows.len() as u64).saturating_sub(1)
    }

    /// Rows that the options hid are all there is.
    pub fn is_all_hidden(&self) -> bool {
        self.table.changes() == 0 && self.table.hidden > 0
    }
}

/// Places of the columns that are drawn; those of the key stand in the pinned column.
fn shown_columns(page: &ChangePage, table: &TableDiff, only: bool) -> Vec<usize> {
    let differs = |column: &ColumnDiff| column.changed > 0 || column.before != column.after;
    let some = table.columns.iter().chain(&page.columns).any(differs);
    let wanted = |column: &ColumnDiff| !column.key && (!only || !some || differs(column));
    (0..page.columns.len()).filter(|&at| wanted(&page.columns[at])).collect()
}

fn column(id: &DiffId, place: &Place, table: &TableDiff, columns: &[ColumnDiff], at: usize) -> Column {
    let column = &columns[at];
    let filtered = place.column.as_deref() == Some(column.name.as_str());
    let changed = column.changed.max(table.columns.iter().find(|known| known.name == column.name).map_or(0, |known| known.changed));
    let link = match (filtered, changed > 0) {
        (true, _) => place.on_column(None).link(id),
        (false, true) => place.on_column(Some(&column.name)).link(id),
        (false, false) => String::new(),
    };
    let side = match (column.before, column.after) {
        (false, true) => "new",
        (true, false) => "gone",
        _ => "",
    };
    Column { name: column.name.clone(), type_name: column.type_name.clone(), changed, side, filtered, link, place: at }
}

fn row(id: &DiffId, table: &TableDiff, page: &ChangePage, columns: &[Column], change: &ChangeView, view: View, only: bool) -> Row {
    let drawn =
        columns.iter().filter_map(|column| Some((column, change.cells.get(column.place)?, page.columns[column.place].class.as_str())));
    let mut row = Row {
        at: change.at,
        kind: change.kind,
        key: change.key.clone(),
        counts: change.counts,
        cells: Vec::new(),
        lines: Vec::new(),
        left_out: 0,
    };
    if view != View::Side {
        row.cells = drawn.map(|(_, cell, class)| cells::cell(cell, change.kind, class)).collect();
        return row;
    }
    for (column, cell, class) in drawn {
        if only && change.kind == Change::Changed && !cell.changed {
            row.left_out += 1;
            continue;
        }
        let (before, after) = cells::halves(cell, change.kind, class);
        let link = |half: &Half, side| match half.more {
            Some(_) => value_link(id, &table.name, change.at, &column.name, side),
            None => String::new(),
        };
        row.lines.push(Line {
            column: column.name.clone(),
            changed: cell.changed && change.kind == Change::Changed,
            before_link: link(&before, "before"),
            after_link: link(&after, "after"),
            steps: tree::steps(&cell.paths),
            inside: cell.paths.len(),
            before,
            after,
        });
    }
    row
}

/// Where one whole value is.
pub fn value_link(id: &DiffId, table: &str, at: u64, column: &str, side: &'static str) -> String {
    let fields = [("table", table.to_owned()), ("at", at.to_string()), ("column", column.to_owned()), ("side", side.to_owned())];
    address(&format!("/diffs/{id}/value"), fields)
}

fn histogram(id: &DiffId, place: &Place, table: &TableDiff) -> Vec<Bar> {
    let ignored = place.ignored();
    let mut bars: Vec<Bar> = table
        .columns
        .iter()
        .filter(|column| column.changed > 0)
        .map(|column| {
            let is_ignored = ignored.contains(&column.name.as_str());
            let filtered = place.column.as_deref() == Some(column.name.as_str());
            Bar {
                name: column.name.clone(),
                changed: column.changed,
                share: words::share(column.changed, table.changed),
                percent: (column.changed as f64 * 100.0 / table.changed.max(1) as f64).clamp(0.5, 100.0),
                filter: place.on_column(if filtered { None } else { Some(&column.name) }).link(id),
                filtered,
                ignore: match (column.name.contains(','), is_ignored) {
                    (true, _) => String::new(),
                    (false, true) => place.regarding(&column.name).link(id),
                    (false, false) => place.ignoring(&column.name).link(id),
                },
                ignored: is_ignored,
            }
        })
        .collect();
    bars.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
    bars
}

fn links(id: &DiffId, place: &Place, table: &TableDiff, page: &ChangePage, only: bool) -> Links {
    let here = place.at_table(&table.name);
    let link = |place: Place| place.link(id);
    let last_of_page = u64::from(here.page()) * u64::from(PAGE);
    let next = match (&page.next, page.total) {
        (Some(next), _) => Some(link(here.from_next(next))),
        (None, Some(total)) if total > last_of_page => Some(link(here.on_page(here.page() + 1))),
        _ => None,
    };
    let filter = here.filter(&table.name);
    let kind = filter.kind.map(|kind| kind.as_str().to_owned());
    let patch = [("table", filter.table), ("kind", kind), ("column", filter.column), ("q", filter.q), ("ignore", filter.ignore)];
    let patch = patch.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Links {
        inline: link(here.viewed(View::Inline)),
        side: link(here.viewed(View::Side)),
        schema: link(here.viewed(View::Schema)),
        only: link(here.showing_only(!only)),
        all_kinds: link(here.of_kind(None)),
        added: link(here.of_kind(Some(Change::Added))),
        removed: link(here.of_kind(Some(Change::Removed))),
        changed: link(here.of_kind(Some(Change::Changed))),
        any_column: link(here.on_column(None)),
        plain: link(place.on_table(&table.name)),
        // A text search finds its pages one after the other: only its start is known.
        previous: match here.page() {
            1 => None,
            _ if here.next.is_some() => Some(link(here.on_page(1))),
            page => Some(link(here.on_page(page - 1))),
        },
        next,
        patch: address("", patch).replacen('?', "&", 1),
    }
}

/// A change of the schema.
pub struct SchemaRow {
    pub change: SchemaChange,
    pub before: Vec<cells::Piece>,
    pub after: Vec<cells::Piece>,
}

/// Changes of the schema, of one table or of all.
pub fn schema_rows(summary: &DiffSummary, table: Option<&str>) -> Vec<SchemaRow> {
    let wanted = summary.schema.iter().filter(|change| table.is_none() || change.table.as_deref() == table);
    wanted
        .map(|change| {
            let value = |text: &Option<String>| {
                text.as_ref().map(|text| crate::domain::diff::ValueView { text: Some(text.clone()), bytes: text.len() as u64, cut: false })
            };
            let view = crate::domain::diff::CellView {
                changed: true,
                before: value(&change.before),
                after: value(&change.after),
                paths: Vec::new(),
            };
            let (before, after) = cells::halves(&view, change.change, "text");
            SchemaRow { change: change.clone(), before: before.pieces, after: after.pieces }
        })
        .collect()
}
