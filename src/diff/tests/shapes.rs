//! Keys and columns that changed their type, noise that is hidden, and documents.

use super::sample::{Cells, add, added, column, compare, store, table};
use crate::{
    diff::{
        bson::tests::{document, int, string},
        pair::RowSpec,
    },
    domain::diff::{Change, ChangeFilter, DiffOptions},
    snapshot::{Class, Column, Table},
};

fn cells(texts: &[&str]) -> Cells {
    texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect()
}

fn typed(name: &str, class: Class, type_name: &str) -> Column {
    Column { type_name: type_name.to_owned(), ..column(name, class) }
}

fn counts(before: (&Table, &[&[&str]]), after: (&Table, &[&[&str]]), options: &DiffOptions) -> (u64, u64, u64, u64, u64) {
    let rows = |rows: &[&[&str]]| rows.iter().map(|row| cells(row)).collect::<Vec<_>>();
    let (ours, theirs) = (store(before.0, &rows(before.1)), store(after.0, &rows(after.1)));
    let (tally, ..) = compare((before.0, &ours), (after.0, &theirs), options, 3);
    (tally.added, tally.removed, tally.changed, tally.unchanged, tally.hidden)
}

#[test]
fn a_key_that_became_wider_or_text_still_pairs_its_rows() {
    let of = |class, type_name: &str| table(vec![typed("id", class, type_name), column("v", Class::Text)], &["id"]);
    let rows: &[&[&str]] = &[&["1", "a"], &["2", "b"], &["10", "c"]];
    let edited: &[&[&str]] = &[&["1", "a"], &["2", "B"], &["11", "c"]];
    let plain = DiffOptions::default();
    let wider = (of(Class::Integer, "integer"), of(Class::Integer, "bigint"));
    assert!(!RowSpec::of(Some(&wider.0), Some(&wider.1), &plain).unwrap().needs_rekey());
    assert_eq!(counts((&wider.0, rows), (&wider.1, edited), &plain), (1, 1, 1, 1, 0));
    let text = of(Class::Text, "text");
    let spec = RowSpec::of(Some(&wider.0), Some(&text), &plain).unwrap();
    assert!(spec.needs_rekey() && spec.notes[0].contains("paired by what their keys say"), "{:?}", spec.notes);
    assert_eq!(counts((&wider.0, rows), (&text, edited), &plain), (1, 1, 1, 1, 0));
    let scaled = of(Class::Decimal, "numeric(5,2)");
    assert_eq!(counts((&wider.0, rows), (&scaled, &[&["1.00", "a"], &["2.00", "b"], &["10.00", "c"]]), &plain), (0, 0, 0, 3, 0));
    let any = of(Class::Any, "");
    assert_eq!(counts((&wider.0, rows), (&any, &[&["i1", "a"], &["r2", "b"], &["t10", "c"]]), &plain), (1, 1, 0, 2, 0));
    let flag = of(Class::Boolean, "boolean");
    assert_eq!(counts((&flag, &[&["t", "a"]]), (&wider.0, &[&["1", "a"]]), &plain), (0, 0, 0, 1, 0));
    let at = (of(Class::Timestamp, "timestamp"), of(Class::Instant, "timestamptz"));
    let moments: (&[&[&str]], &[&[&str]]) =
        (&[&["2024-01-01 00:00:00", "a"], &["infinity", "b"]], &[&["2024-01-01 00:00:00.0+00", "a"], &["infinity", "b"]]);
    assert_eq!(counts((&at.0, moments.0), (&at.1, moments.1), &plain), (0, 0, 0, 2, 0));
    let spec = RowSpec::of(Some(&at.0), Some(&at.1), &plain).unwrap();
    assert!(spec.notes.iter().any(|note| note.contains("taken as UTC")), "{:?}", spec.notes);
}

#[test]
fn another_key_compares_whole_rows() {
    let columns = || vec![column("a", Class::Integer), column("b", Class::Text)];
    let (by_a, by_b, by_row, turned) =
        (table(columns(), &["a"]), table(columns(), &["b"]), table(columns(), &[]), table(columns(), &["b", "a"]));
    let plain = DiffOptions::default();
    let (rows, edited): (&[&[&str]], &[&[&str]]) = (&[&["1", "x"], &["2", "y"]], &[&["1", "x"], &["2", "z"]]);
    assert_eq!(counts((&by_a, rows), (&by_b, edited), &plain), (1, 1, 0, 1, 0));
    assert_eq!(counts((&by_a, rows), (&by_row, edited), &plain), (1, 1, 0, 1, 0));
    let both = table(columns(), &["a", "b"]);
    assert_eq!(counts((&both, rows), (&turned, edited), &plain), (1, 1, 0, 1, 0));
    let spec = RowSpec::of(Some(&by_a), Some(&by_b), &plain).unwrap();
    assert!(spec.keyless() && spec.notes[0].contains("compared as a whole"));
}

#[test]
fn noise_is_hidden_and_counted() {
    let users = table(
        vec![column("id", Class::Integer), column("seen", Class::Instant), column("score", Class::Float), column("name", Class::Text)],
        &["id"],
    );
    let at = "2024-01-01 00:00:00+00";
    let before: &[&[&str]] = &[&["1", at, "1", "a"], &["2", at, "1", "a"], &["3", at, "1", "a"], &["4", at, "1", "a"]];
    let after: &[&[&str]] =
        &[&["1", "2025-01-01 00:00:00+00", "1", "a"], &["2", at, "1.01", "A"], &["3", at, "2", "a"], &["4", at, "1", "a"]];
    assert_eq!(counts((&users, before), (&users, after), &DiffOptions::default()), (0, 0, 3, 1, 0));
    let options = DiffOptions { ignore_columns: vec!["t.se*".into()], float_tolerance: 0.1, ignore_case: true, ..DiffOptions::default() };
    assert_eq!(counts((&users, before), (&users, after), &options), (0, 0, 1, 1, 2));
    let keyless = table(users.columns.clone(), &[]);
    let ignoring = DiffOptions { ignore_columns: vec!["seen".into()], ..DiffOptions::default() };
    assert_eq!(counts((&keyless, before), (&keyless, after), &ignoring), (2, 2, 0, 2, 0));
    let spec = RowSpec::of(Some(&keyless), Some(&keyless), &ignoring).unwrap();
    assert!(spec.notes[0].contains("not counted"), "{:?}", spec.notes);
}

#[test]
fn documents_are_told_by_their_fields() {
    let users = table(vec![column("document", Class::Bson)], &["document"]);
    let user = |id: i32, name: &str, extra: &[(u8, &'static str, Vec<u8>)]| {
        let mut fields = vec![(0x10, "_id", int(id)), (0x02, "name", string(name))];
        fields.extend(extra.iter().cloned());
        document(&fields)
    };
    let rows = |documents: &[(u8, Vec<u8>)]| {
        let mut rows = Default::default();
        for (key, document) in documents {
            let mut value = vec![0];
            crate::snapshot::varint::put(&mut value, document.len() as u64);
            value.extend_from_slice(document);
            let mut id = Vec::new();
            crate::snapshot::push_text(&mut id, &[*key]);
            add(&mut rows, false, id, value);
        }
        rows
    };
    let seen = |at: i32| (0x10, "seen", int(at));
    let turned = document(&[(0x02, "name", string("d")), (0x10, "_id", int(4))]);
    let before = rows(&[(1, user(1, "a", &[])), (2, user(2, "b", &[seen(1)])), (3, user(3, "c", &[])), (4, user(4, "d", &[]))]);
    let after = rows(&[(1, user(1, "A", &[(0x08, "new", vec![1])])), (2, user(2, "b", &[seen(2)])), (4, turned), (5, user(5, "e", &[]))]);
    let options = DiffOptions { ignore_columns: vec!["seen".into()], ..DiffOptions::default() };
    let (tally, report, _) = compare((&users, &before), (&users, &after), &options, 5);
    assert_eq!((tally.added, tally.removed, tally.changed, tally.hidden, tally.order), (1, 1, 2, 1, 1));
    let page = report.page(&ChangeFilter::default(), 1, 10, None).unwrap();
    let columns: Vec<_> = page.columns.iter().map(|column| (column.name.as_str(), column.changed)).collect();
    assert_eq!(columns, [("name", 1), ("new", 1), ("_id", 0), ("seen", 0), ("(field order)", 1)]);
    assert_eq!(page.changes[0].key, ["1"]);
    let name = &page.changes[0].cells[0];
    assert_eq!((name.before.as_ref().unwrap().text.as_deref(), name.changed), (Some("\"a\""), true));
    assert!(page.changes[0].cells[1].before.is_none() && page.changes[0].cells[1].after.is_some());
    assert!(page.changes.iter().any(|change| change.kind == Change::Added && change.cells[0].after.is_some() && change.key == ["5"]));
    let found =
        report.page(&ChangeFilter { q: Some("E".into()), kind: Some(Change::Added), ..ChangeFilter::default() }, 1, 10, None).unwrap();
    assert_eq!((found.changes.len(), found.total), (1, Some(1)), "only the added one");
    let by_column = report.page(&ChangeFilter { column: Some("new".into()), ..ChangeFilter::default() }, 1, 10, None).unwrap();
    assert_eq!(by_column.total, Some(1));
}

#[test]
fn a_table_of_one_side_is_told_whole() {
    let users = table(vec![column("id", Class::Integer), column("name", Class::Text)], &["id"]);
    let rows = store(&users, &[cells(&["1", "a"]), cells(&["2", "b"])]);
    let (tally, report) = added(&users, &rows);
    assert_eq!((tally.added, tally.rows), (2, 2));
    assert!(report.summary().is_none(), "it is not finished");
    let page = report.page(&ChangeFilter::default(), 1, 10, None).unwrap();
    assert_eq!((page.total, page.changes[1].key.clone()), (Some(2), vec!["2".to_owned()]));
    assert_eq!(report.tables("t").unwrap(), (None, Some(users)));
}
