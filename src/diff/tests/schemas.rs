//! Schemas compared, each difference as a line.

use super::sample::{column, table};
use crate::{
    diff::{compare_schema, compare_schema_renamed, is_counter, pair_tables},
    snapshot::{Class, Column, Key, Object, ObjectKind, Schema, Table, TableName},
};

fn typed(name: &str, type_name: &str) -> Column {
    Column { type_name: type_name.to_owned(), ..column(name, Class::Text) }
}

fn named(name: &str, columns: Vec<Column>) -> Table {
    let key = columns[0].name.clone();
    Table { name: TableName::new(None, name), ..table(columns, &[&key]) }
}

fn object(kind: ObjectKind, on: Option<&str>, name: &str, definition: &str) -> Object {
    Object {
        kind,
        table: on.map(|table| TableName::new(None, table)),
        name: TableName::new(None, name),
        definition: definition.to_owned(),
        options: Default::default(),
        references: None,
    }
}

fn lines(before: &Schema, after: &Schema) -> Vec<String> {
    compare_schema(before, after).into_iter().map(|change| change.text).collect()
}

fn schema(tables: Vec<Table>, objects: Vec<Object>) -> Schema {
    Schema { tables, objects }
}

#[test]
fn every_change_of_a_column_is_one_line() {
    let before = named("users", vec![typed("id", "integer"), typed("email", "varchar(80)"), typed("gone", "text"), typed("n", "int")]);
    let mut after = named("users", vec![typed("id", "bigint"), typed("n", "int"), typed("email", "varchar(200)"), typed("new", "text")]);
    after.columns[1].default = Some("0".into());
    after.columns[1].generated = Some("id + 1".into());
    after.columns[2].nullable = false;
    after.columns[2].options.insert("collation".into(), "C".into());
    after.options.insert("engine".into(), "InnoDB".into());
    let expect = [
        "table users: engine none → InnoDB",
        "table users: order of columns id, email, n → id, n, email",
        "column users.email: collation none → C",
        "column users.email: null → not null",
        "column users.email: type varchar(80) → varchar(200)",
        "column users.gone: removed, text",
        "column users.id: type integer → bigint",
        "column users.n: default none → 0",
        "column users.n: generated as none → id + 1",
        "column users.new: added, text",
    ];
    assert_eq!(lines(&schema(vec![before.clone()], vec![]), &schema(vec![after], vec![])), expect);
    let turned = Table { key: Key::Row, definition: "CREATE TABLE users (id, CHECK (id > 1))".into(), ..before.clone() };
    let expect = ["key of users: id → the whole row", "table users: definition \"\" → CREATE TABLE users (id, CHECK (id > 1))"];
    assert_eq!(lines(&schema(vec![before], vec![]), &schema(vec![turned], vec![])), expect);
}

#[test]
fn objects_come_go_change_and_are_renamed() {
    let users = named("users", vec![typed("id", "integer")]);
    let mut sequence = object(ObjectKind::Sequence, None, "ids", "CREATE SEQUENCE ids");
    sequence.options.insert("value".into(), "5".into());
    let mut moved = sequence.clone();
    moved.options.insert("value".into(), "7".into());
    moved.options.insert("cache".into(), "2".into());
    let before = vec![
        object(ObjectKind::Index, Some("users"), "a", "CREATE INDEX a ON users (id)"),
        object(ObjectKind::View, None, "v", "SELECT 1"),
        object(ObjectKind::Check, Some("users"), "c", "CHECK (id > 0)"),
        sequence,
    ];
    let after = vec![
        object(ObjectKind::Index, Some("users"), "b", "CREATE INDEX b ON users (id)"),
        object(ObjectKind::View, None, "v", "SELECT 2"),
        object(ObjectKind::Trigger, Some("users"), "t", "CREATE TRIGGER t"),
        moved,
    ];
    let changes = compare_schema(&schema(vec![users.clone()], before), &schema(vec![users], after));
    let expect = [
        "sequence ids: cache none → 2",
        "view v: SELECT 1 → SELECT 2",
        "sequence value of ids: 5 → 7",
        "index users.a: renamed to b",
        "check users.c: removed, CHECK (id > 0)",
        "trigger users.t: added, CREATE TRIGGER t",
    ];
    let mut told: Vec<_> = changes.iter().map(|change| change.text.as_str()).collect();
    told.sort();
    let mut expect = expect.to_vec();
    expect.sort();
    assert_eq!(told, expect);
    assert_eq!(changes.iter().filter(|change| is_counter(change)).count(), 1);
}

#[test]
fn a_table_is_told_as_a_whole_and_a_rename_as_such() {
    let (old, new) =
        (named("old", vec![typed("id", "integer"), typed("v", "text")]), named("new", vec![typed("id", "integer"), typed("v", "text")]));
    let before = schema(vec![old.clone()], vec![object(ObjectKind::PrimaryKey, Some("old"), "p", "PRIMARY KEY (id)")]);
    let after = schema(vec![new.clone()], vec![object(ObjectKind::PrimaryKey, Some("new"), "p", "PRIMARY KEY (id)")]);
    assert_eq!(lines(&before, &after), ["table new: added", "table old: removed"]);
    let whole = compare_schema(&before, &after);
    assert_eq!(whole[0].after.as_deref(), Some("id integer\nv text\nprimary key p: PRIMARY KEY (id)"));
    let renamed = compare_schema_renamed(&before, &after, &[(old.name.clone(), new.name.clone())]);
    assert_eq!(renamed.iter().map(|change| change.text.as_str()).collect::<Vec<_>>(), ["table old: likely renamed to new"]);
}

#[test]
fn tables_pair_by_name_and_by_likeness_where_that_is_asked_for() {
    let columns = || vec![typed("id", "integer"), typed("v", "text")];
    let before = schema(vec![named("a", columns()), named("b", columns()), named("c", vec![typed("x", "text")])], vec![]);
    let after = schema(vec![named("a", columns()), named("d", columns()), named("e", columns())], vec![]);
    let names = |pairs: Vec<crate::diff::TablePair<'_>>| -> Vec<(Option<String>, Option<String>)> {
        let name = |table: Option<&Table>| table.map(|table| table.name.to_string());
        pairs.into_iter().map(|pair| (name(pair.before), name(pair.after))).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    let plain = names(pair_tables(&before, &after, &[], None).unwrap());
    assert_eq!(plain, [(some("a"), some("a")), (some("b"), None), (some("c"), None), (None, some("d")), (None, some("e"))]);
    let mut likeness = |_: &Table, after: &Table| Ok(if after.name.name == "e" { 0.9 } else { 0.6 });
    let pairs = pair_tables(&before, &after, &[], Some(&mut likeness)).unwrap();
    assert!(pairs.iter().any(|pair| pair.renamed));
    assert_eq!(names(pairs), [(some("a"), some("a")), (some("c"), None), (None, some("d")), (some("b"), some("e"))]);
    assert_eq!(names(pair_tables(&before, &after, &["c".into()], None).unwrap()), [(some("c"), None)]);
}
