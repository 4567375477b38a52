//! What a comparison found, as counts and as a line of text.

use super::{
    merge::Tally,
    pair::{RowSpec, Which},
    report::{columns_of, columns_of_fields},
};
use crate::domain::diff::{Change, DiffSummary, TableDiff};

/// Columns named in a line; the others are counted.
const NAMED: usize = 5;

impl RowSpec {
    /// What became of the table.
    pub fn table_diff(&self, tally: &Tally) -> TableDiff {
        let name = |which| self.table(which).map(|table| table.name.to_string());
        let columns = if self.documents { columns_of_fields(&tally.fields, &tally.columns) } else { columns_of(self, &tally.columns) };
        let mut notes = self.notes.clone();
        if tally.order > 0 {
            notes.push(format!("in {} of the changed rows only the order of fields differs", tally.order));
        }
        TableDiff {
            name: name(Which::After).or_else(|| name(Which::Before)).unwrap_or_default(),
            table: match (self.table(Which::Before), self.table(Which::After)) {
                (None, _) => Some(Change::Added),
                (_, None) => Some(Change::Removed),
                _ => None,
            },
            renamed_from: None,
            added: tally.added,
            removed: tally.removed,
            changed: tally.changed,
            unchanged: tally.unchanged,
            hidden: tally.hidden,
            keyless: self.keyless(),
            sampled: None,
            columns,
            notes,
        }
    }
}

/// One line for people: `users: 12 added, 3 changed (email 2, plan 1); orders unchanged; 2 schema changes`.
pub fn summary_text(summary: &DiffSummary) -> String {
    let (equal, different): (Vec<_>, Vec<_>) = summary.tables.iter().partition(|table| table.is_equal());
    let mut parts: Vec<String> = different.into_iter().map(table_text).collect();
    match &equal[..] {
        [] => {}
        [..] if parts.is_empty() && summary.schema.is_empty() => parts.push("nothing changed".to_owned()),
        few if few.len() <= 3 => {
            parts.push(format!("{} unchanged", few.iter().map(|table| &table.name[..]).collect::<Vec<_>>().join(", ")))
        }
        many => parts.push(format!("{} tables unchanged", many.len())),
    }
    match summary.schema.len() {
        0 => {}
        1 => parts.push("1 schema change".to_owned()),
        many => parts.push(format!("{many} schema changes")),
    }
    let hidden: u64 = summary.tables.iter().map(|table| table.hidden).sum();
    if hidden > 0 {
        parts.push(format!("{hidden} hidden by the options"));
    }
    if parts.is_empty() { "nothing to compare".to_owned() } else { parts.join("; ") }
}

/// One table: `users: 12 added, 3 changed (email 2, plan 1)`.
pub fn table_text(table: &TableDiff) -> String {
    let mut said = Vec::new();
    match table.table {
        Some(Change::Added) => said.push("new table".to_owned()),
        Some(Change::Removed) => said.push("table removed".to_owned()),
        _ => {}
    }
    if let Some(old) = &table.renamed_from {
        said.push(format!("likely renamed from {old}"));
    }
    let counts = [(table.added, "added"), (table.removed, "removed"), (table.changed, "changed")];
    for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
        said.push(format!("{count} {word}"));
    }
    if table.changed > 0 {
        let mut columns: Vec<_> = table.columns.iter().filter(|column| column.changed > 0).collect();
        columns.sort_by_key(|column| std::cmp::Reverse(column.changed));
        let mut named: Vec<_> = columns.iter().take(NAMED).map(|column| format!("{} {}", column.name, column.changed)).collect();
        if columns.len() > NAMED {
            named.push(format!("{} more", columns.len() - NAMED));
        }
        if let Some(last) = said.last_mut().filter(|_| !named.is_empty()) {
            last.push_str(&format!(" ({})", named.join(", ")));
        }
    }
    if said.is_empty() { format!("{} unchanged", table.name) } else { format!("{}: {}", table.name, said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diff::{ColumnDiff, SchemaChange};

    #[test]
    fn a_comparison_reads_as_one_line() {
        let column = |name: &str, changed| ColumnDiff { name: name.into(), changed, ..ColumnDiff::default() };
        let users = TableDiff {
            name: "users".into(),
            added: 12,
            changed: 3,
            hidden: 4,
            columns: vec![column("id", 0), column("plan", 1), column("email", 2)],
            ..TableDiff::default()
        };
        let orders = TableDiff { name: "orders".into(), unchanged: 9, ..TableDiff::default() };
        let mut summary = DiffSummary { tables: vec![users, orders.clone()], ..DiffSummary::default() };
        assert_eq!(summary_text(&summary), "users: 12 added, 3 changed (email 2, plan 1); orders unchanged; 4 hidden by the options");
        summary.tables = vec![orders.clone()];
        assert_eq!(summary_text(&summary), "nothing changed");
        summary.tables = vec![
            TableDiff { table: Some(Change::Added), added: 2, ..orders.clone() },
            TableDiff { table: Some(Change::Removed), ..orders.clone() },
            TableDiff { renamed_from: Some("old".into()), ..orders.clone() },
        ];
        summary.tables.extend(vec![orders.clone(); 4]);
        let change = |name: &str| SchemaChange {
            table: None,
            object: "table".into(),
            name: name.into(),
            change: Change::Added,
            text: String::new(),
            before: None,
            after: None,
        };
        summary.schema = vec![change("a"), change("b")];
        let expect =
            "orders: new table, 2 added; orders: table removed; orders: likely renamed from old; 4 tables unchanged; 2 schema changes";
        assert_eq!(summary_text(&summary), expect);
        assert_eq!(table_text(&orders), "orders unchanged");
        assert_eq!(summary_text(&DiffSummary::default()), "nothing to compare");
    }
}
