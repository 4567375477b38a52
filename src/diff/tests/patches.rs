//! Patches: what they say, and that both directions lead to the other side.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::sample::{Cells, Dice, column, compare, store, table};
use crate::{
    diff::{Direction, json_patch},
    domain::diff::{ChangeFilter, DiffOptions},
    snapshot::{Class, Table},
};

fn patch(table: &Table, before: &[Cells], after: &[Cells], direction: Direction) -> Value {
    let (_, report, _) = compare((table, &store(table, before)), (table, &store(table, after)), &DiffOptions::default(), 1);
    let pieces: Vec<_> = json_patch(&report, &ChangeFilter::default(), direction, "A", "B").unwrap().map(|piece| piece.unwrap()).collect();
    serde_json::from_str(&pieces.concat()).unwrap()
}

fn row(texts: &[Option<&str>]) -> Cells {
    texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect()
}

#[test]
fn a_patch_tells_rows_and_operations_within_values() {
    let columns = vec![
        column("id", Class::Integer),
        column("name", Class::Text),
        column("raw", Class::Bytes),
        column("data", Class::Json),
        column("on", Class::Boolean),
    ];
    let users = table(columns, &["id"]);
    let before = [row(&[Some("1"), Some("Ann"), Some("x"), Some("{\"a\": 1}"), Some("t")]), row(&[Some("2"), None, None, None, None])];
    let after =
        [row(&[Some("1"), None, Some("x"), Some("{\"a\": 2}"), Some("f")]), row(&[Some("3"), Some("\"q\""), Some("y"), None, None])];
    let applied = patch(&users, &before, &after, Direction::Apply);
    let expect = json!([
        {"table": "t", "op": "change", "key": {"id": 1},
         "before": {"name": "Ann", "data": {"a": 1}, "on": true}, "after": {"name": null, "data": {"a": 2}, "on": false},
         "operations": {"data": [{"op": "replace", "path": "/a", "value": 2}]}},
        {"table": "t", "op": "remove", "key": {"id": 2}, "before": {"id": 2, "name": null, "raw": null, "data": null, "on": null}},
        {"table": "t", "op": "add", "key": {"id": 3}, "after": {"id": 3, "name": "\"q\"", "raw": {"$hex": "79"}, "data": null, "on": null}},
    ]);
    assert_eq!(applied["changes"], expect);
    assert_eq!((&applied["direction"], &applied["from"], &applied["to"]), (&json!("apply"), &json!("A"), &json!("B")));
    let reverted = patch(&users, &before, &after, Direction::Revert);
    assert_eq!(reverted["changes"][1]["op"], "add");
    assert_eq!(reverted["changes"][0]["operations"]["data"][0]["value"], 1);
    assert_eq!(reverted["changes"], patch(&users, &after, &before, Direction::Apply)["changes"]);
    let none = patch(&users, &before, &before, Direction::Apply);
    assert_eq!(none["changes"], json!([]));
}

#[test]
fn rows_without_a_key_are_told_with_their_counts() {
    let log = table(vec![column("line", Class::Text)], &[]);
    let line = |text| row(&[Some(text)]);
    let changes = patch(&log, &[line("a"), line("a")], &[line("a"), line("b")], Direction::Apply)["changes"].clone();
    let told: Vec<_> = changes.as_array().unwrap().iter().map(|change| (change["op"].clone(), change["count"].clone())).collect();
    assert!(
        told.contains(&(json!("remove"), json!({"before": 2, "after": 1})))
            && told.contains(&(json!("add"), json!({"before": 0, "after": 1})))
    );
}

/// Applies a patch to rows of text by their first column.
fn apply(rows: &[Cells], patch: &Value) -> BTreeMap<String, Value> {
    let text = |cell: &Option<Vec<u8>>| cell.as_ref().map_or(Value::Null, |cell| Value::from(String::from_utf8_lossy(cell)));
    let mut applied: BTreeMap<String, Value> = rows
        .iter()
        .map(|row| (text(&row[0]).as_str().unwrap().to_owned(), json!({"id": text(&row[0]), "a": text(&row[1]), "b": text(&row[2])})))
        .collect();
    for change in patch["changes"].as_array().unwrap() {
        let key = change["key"]["id"].as_str().unwrap().to_owned();
        match change["op"].as_str().unwrap() {
            "add" => assert!(applied.insert(key, change["after"].clone()).is_none()),
            "remove" => assert_eq!(applied.remove(&key), Some(change["before"].clone())),
            _ => {
                let row = applied.get_mut(&key).unwrap();
                for (column, value) in change["after"].as_object().unwrap() {
                    assert_eq!(row[column], change["before"][column], "guarded by the old value");
                    row[column] = value.clone();
                }
            }
        }
    }
    applied
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn apply_leads_to_the_rows_after_and_revert_back(seed: u64) {
        let mut dice = Dice(seed);
        let of = table(vec![column("id", Class::Text), column("a", Class::Text), column("b", Class::Text)], &["id"]);
        let mut rows = |count: u64| -> Vec<Cells> {
            let ids: std::collections::BTreeSet<u64> = (0..count).map(|_| dice.roll(60)).collect();
            let mut cell = || (dice.roll(4) > 0).then(|| dice.roll(3).to_string().into_bytes());
            ids.into_iter().map(|id| vec![Some(id.to_string().into_bytes()), cell(), cell()]).collect()
        };
        let (before, after) = (rows(40), rows(40));
        let nothing = json!({"changes": []});
        prop_assert_eq!(apply(&before, &patch(&of, &before, &after, Direction::Apply)), apply(&after, &nothing));
        prop_assert_eq!(apply(&after, &patch(&of, &before, &after, Direction::Revert)), apply(&before, &nothing));
    }
}
