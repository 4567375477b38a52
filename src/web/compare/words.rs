//! What a comparison found, in words.

use super::grid::{self, Name};
use crate::domain::diff::{Change, Diff, DiffOptions, DiffSummary, DiffTier, Provenance, TableDiff};

/// Tables of which the story tells.
const TOLD: usize = 4;

/// Sums over all tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub hidden: u64,
    /// Changes of the schema.
    pub schema: u64,
    /// Tables with changed rows, and those that came, went or were renamed.
    pub differing: u64,
    pub tables: u64,
}

impl Totals {
    pub fn of(summary: &DiffSummary) -> Self {
        let mut totals = Self { schema: summary.schema.len() as u64, tables: summary.tables.len() as u64, ..Self::default() };
        for table in &summary.tables {
            totals.added += table.added;
            totals.removed += table.removed;
            totals.changed += table.changed;
            totals.hidden += table.hidden;
            totals.differing += u64::from(!table.is_equal());
        }
        totals
    }

    pub fn rows(&self) -> u64 {
        self.added + self.removed + self.changed
    }

    /// True when neither rows nor definitions nor tables differ.
    pub fn is_nothing(&self) -> bool {
        self.rows() == 0 && self.schema == 0 && self.differing == 0
    }
}

/// The answer to "what changed", one line; the numbers of rows stand beside it.
pub fn headline(summary: &DiffSummary) -> String {
    let totals = Totals::of(summary);
    let schema = match totals.schema {
        0 => None,
        1 => Some("1 definition differs".to_owned()),
        many => Some(format!("{} definitions differ", grouped(many))),
    };
    let differ = if totals.differing == 1 { "differs" } else { "differ" };
    let tables = (totals.differing > 0)
        .then(|| format!("{} of {} table{} {differ}", grouped(totals.differing), grouped(totals.tables), s(totals.tables)));
    match (tables, schema) {
        (Some(tables), Some(schema)) => format!("{tables}, and {schema}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) if totals.hidden > 0 => "No differences but those that are hidden".into(),
        (None, None) => "No differences".into(),
    }
}

/// What changed in the tables that changed most, as a person tells it.
pub fn story(summary: &DiffSummary) -> String {
    let mut differing: Vec<&TableDiff> = summary.tables.iter().filter(|table| !table.is_equal()).collect();
    differing.sort_by_key(|table| (std::cmp::Reverse(table.changes()), &table.name));
    let one_schema = grid::common_schema(summary.tables.iter().map(|table| table.name.as_str()));
    let told: Vec<String> = differing.iter().take(TOLD).map(|table| sentence(table, &grid::name(&table.name, one_schema))).collect();
    match differing.len().saturating_sub(TOLD) {
        0 => told.join("; "),
        more => format!("{}; and {} more table{}", told.join("; "), grouped(more as u64), s(more as u64)),
    }
}

fn sentence(table: &TableDiff, name: &Name) -> String {
    let name = format!("{}{}", name.schema, name.own);
    let what = match table.table {
        Some(Change::Added) => return format!("{name} is new with {} row{}", grouped(table.added), s(table.added)),
        Some(Change::Removed) => return format!("{name} is gone with {} row{}", grouped(table.removed), s(table.removed)),
        _ => [(table.added, "added"), (table.removed, "removed"), (table.changed, "changed")],
    };
    let mut columns: Vec<_> = table.columns.iter().filter(|column| column.changed > 0).collect();
    columns.sort_by_key(|column| std::cmp::Reverse(column.changed));
    let most: Vec<String> = columns.iter().take(3).map(|column| format!("{} {}", column.name, grouped(column.changed))).collect();
    let more = if columns.len() > 3 { ", …" } else { "" };
    let inside = if most.is_empty() { String::new() } else { format!(" ({}{more})", most.join(", ")) };
    let said: Vec<String> = what.iter().filter(|count| count.0 > 0).map(|(number, verb)| format!("{} {verb}", grouped(*number))).collect();
    let renamed = table.renamed_from.as_ref().map(|before| format!(" (was {before})")).unwrap_or_default();
    match said.is_empty() {
        true => format!("{name}{renamed}"),
        false => format!("{name}{renamed}: {}{inside}", said.join(", ")),
    }
}

/// How it was found out, in short sentences.
pub fn provenance(provenance: &Provenance) -> Vec<String> {
    let read = provenance.rows.saturating_sub(provenance.rows_skipped);
    let mut parts = vec![format!(
        "{} row{} compared in {}",
        grouped(provenance.rows),
        s(provenance.rows),
        crate::web::filters::duration_text(provenance.duration_ms)
    )];
    if provenance.leaves > 0 {
        parts.push(format!("{} of {} leaves skipped by hash", grouped(provenance.leaves_skipped), grouped(provenance.leaves)));
    }
    if provenance.rows_skipped > 0 {
        parts.push(format!("{} row{} read", grouped(read), s(read)));
    }
    parts.push(tier(&provenance.tier).to_owned());
    parts
}

fn tier(tier: &str) -> &str {
    match tier {
        "hash" => "equal parts known by their hashes",
        "fast" => "fast: the server vouched for unchanged rows",
        "full" => "full: every row was read",
        other => other,
    }
}

/// The options that are not as they are by themselves.
pub fn options(options: &DiffOptions) -> Vec<String> {
    let plain = DiffOptions::default();
    let mut said = Vec::new();
    if !options.tables.is_empty() {
        said.push(format!("only tables {}", options.tables.join(", ")));
    }
    if !options.ignore_columns.is_empty() {
        said.push(format!("without columns {}", options.ignore_columns.join(", ")));
    }
    if options.float_tolerance > 0.0 {
        said.push(format!("floats equal within {}", options.float_tolerance));
    }
    if options.time_tolerance_ms > 0 {
        said.push(format!("times equal within {} ms", grouped(options.time_tolerance_ms)));
    }
    if options.ignore_case {
        said.push("upper and lower case are equal".into());
    }
    if options.ignore_trailing_space {
        said.push("spaces at the end do not count".into());
    }
    if options.tier == DiffTier::Full {
        said.push("every live row read".into());
    }
    if options.rows_per_second != plain.rows_per_second {
        said.push(format!("at most {} live rows per second", grouped(options.rows_per_second)));
    }
    said
}

/// True when a full comparison would read more than this one did.
pub fn may_be_verified(diff: &Diff) -> bool {
    diff.options.tier != DiffTier::Full && diff.summary.as_ref().is_some_and(|summary| summary.provenance.tier == "fast")
}

/// How many of `all` as a person says it: `98%`, `less than 1%`.
pub fn share(part: u64, all: u64) -> String {
    match (part.saturating_mul(100)).checked_div(all) {
        None | Some(0) if part == 0 => "0%".into(),
        None | Some(0) => "less than 1%".into(),
        Some(99) if part < all => "99%".into(),
        Some(percent) => format!("{percent}%"),
    }
}

fn s(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

fn grouped(number: u64) -> String {
    crate::domain::amount::count(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diff::{ColumnDiff, SchemaChange};

    fn summary(tables: &[(u64, u64, u64)], schema: usize) -> DiffSummary {
        let table = |&(added, removed, changed): &(u64, u64, u64)| TableDiff { added, removed, changed, ..TableDiff::default() };
        let change = SchemaChange {
            table: None,
            object: "index".into(),
            name: "i".into(),
            change: Change::Added,
            text: String::new(),
            before: None,
            after: None,
        };
        let tables: Vec<TableDiff> = tables.iter().map(table).collect();
        let equal = schema == 0 && tables.iter().all(TableDiff::is_equal);
        DiffSummary { equal, tables, schema: vec![change; schema], ..DiffSummary::default() }
    }

    #[test]
    fn the_headline_says_what_changed() {
        for (tables, schema, text) in [
            (&[(0, 0, 0)][..], 0, "No differences"),
            (&[(1, 0, 0), (0, 0, 0)], 0, "1 of 2 tables differs"),
            (&[(11_359, 402, 108)], 2, "1 of 1 table differs, and 2 definitions differ"),
            (&[(0, 0, 0)], 1, "1 definition differs"),
        ] {
            assert_eq!(headline(&summary(tables, schema)), text);
        }
        let hidden = DiffSummary { tables: vec![TableDiff { hidden: 4, ..TableDiff::default() }], ..summary(&[], 0) };
        assert_eq!(headline(&hidden), "No differences but those that are hidden");
    }

    #[test]
    fn the_story_names_what_changed_most() {
        let column = |name: &str, changed| ColumnDiff { name: name.into(), changed, ..ColumnDiff::default() };
        let users = TableDiff {
            name: "users".into(),
            added: 12,
            changed: 1003,
            columns: vec![column("plan", 1), column("id", 0), column("email", 1002)],
            ..TableDiff::default()
        };
        let coupons = TableDiff { name: "coupons".into(), table: Some(Change::Added), added: 1, ..TableDiff::default() };
        let told = story(&DiffSummary { tables: vec![coupons, users], ..DiffSummary::default() });
        assert_eq!(told, "users: 12 added, 1,003 changed (email 1,002, plan 1); coupons is new with 1 row");
    }

    #[test]
    fn shares_never_claim_all_or_nothing_wrongly() {
        for (part, all, text) in
            [(0, 9, "0%"), (1, 1000, "less than 1%"), (98, 100, "98%"), (999, 1000, "99%"), (5, 5, "100%"), (0, 0, "0%")]
        {
            assert_eq!(share(part, all), text);
        }
    }
}
