//! Comparisons of real snapshots, written and opened.

use std::{collections::BTreeMap, sync::Arc};

use super::sample::{Cells, Memory, column, store, table};
use crate::{
    diff::{
        ReportWriter, RowSpec, likeness,
        merge::{Tally, compare_rows},
    },
    domain::{
        diff::{ChangeFilter, DiffOptions, DiffSummary},
        time::Moment,
    },
    snapshot::{Class, RowRef, Schema, Snapshot, SnapshotFacts, Table, TableName, Writer},
};

fn snapshot(table: &Table, rows: &[Cells]) -> (Snapshot, Memory) {
    let memory = Memory::default();
    let mut writer = Writer::new(memory.output(), None, "test", "db").unwrap();
    writer.begin(table, None).unwrap();
    for (key, value) in store(table, rows) {
        writer.push(RowRef { key: &key, value: &value }).unwrap();
    }
    writer.end().unwrap();
    let facts = SnapshotFacts {
        engine: "test".into(),
        database: "db".into(),
        moment: Moment(0),
        server_version: String::new(),
        marks: BTreeMap::new(),
        warnings: Vec::new(),
        partial: false,
        dbsnap_version: String::new(),
    };
    writer.finish(&Schema { tables: vec![table.clone()], objects: Vec::new() }, &facts).unwrap();
    let snapshot = Snapshot::open(Arc::new(memory.clone()), None).unwrap();
    memory.take_reads();
    (snapshot, memory)
}

fn compared(before: &Snapshot, after: &Snapshot) -> (Tally, Vec<u64>) {
    let name = TableName::new(None, "t");
    let spec = RowSpec::of(before.table(&name), after.table(&name), &DiffOptions::default()).unwrap();
    let memory = Memory::default();
    let mut writer = ReportWriter::new(memory.output(), "test", "db", None).unwrap();
    writer.begin(&spec).unwrap();
    let (mut one, mut other) = (before.cursor(&name, None, None).unwrap(), after.cursor(&name, None, None).unwrap());
    let tally = compare_rows(&mut one, &mut other, &spec, &mut writer, &mut |_: &Tally| Ok(())).unwrap();
    writer.end(&spec, &tally).unwrap();
    let report = writer.reader(Arc::new(memory));
    let places = report.changes("t", &ChangeFilter::default()).unwrap().map(|change| {
        let change = change.unwrap().1;
        let row = change.after.or(change.before).unwrap();
        String::from_utf8_lossy(row.cells[0].as_deref().unwrap()).parse().unwrap()
    });
    let places = places.collect();
    writer.finish(&DiffSummary::default()).unwrap();
    (tally, places)
}

fn rows(count: u64) -> Vec<Cells> {
    (0..count).map(|at| vec![Some(at.to_string().into_bytes()), Some(format!("{}-{at}", "x".repeat(40)).into_bytes())]).collect()
}

#[test]
fn snapshots_are_compared_by_their_leaves() {
    let table = table(vec![column("id", Class::Integer), column("v", Class::Text)], &["id"]);
    let before = rows(40_000);
    let mut after = before.clone();
    after[5][1] = Some(b"changed".to_vec());
    after[20_000][1] = None;
    after.remove(30_000);
    after.push(vec![Some(b"50000".to_vec()), None]);
    let ((ours, one), (theirs, other)) = (snapshot(&table, &before), snapshot(&table, &after));
    let (tally, places) = compared(&ours, &theirs);
    assert_eq!(places, [5, 20_000, 30_000, 50_000]);
    assert_eq!((tally.added, tally.removed, tally.changed, tally.unchanged), (1, 1, 2, 39_997));
    assert_eq!(tally.rows, 80_000);
    assert!(tally.rows_skipped > 60_000, "{tally:?}");
    assert!(one.take_reads() + other.take_reads() < 60, "only what changed is read");
    let (equal, ..) = compared(&ours, &snapshot(&table, &before).0);
    assert_eq!((equal.unchanged, equal.rows_skipped), (40_000, 80_000));
}

#[test]
fn a_table_under_another_name_is_recognised_by_its_rows() {
    let of = |name: &str| Table {
        name: TableName::new(None, name),
        ..table(vec![column("id", Class::Integer), column("v", Class::Text)], &["id"])
    };
    let (one, other) = (of("one"), of("other"));
    let before = rows(1000);
    let mut edited = before.clone();
    edited.iter_mut().step_by(10).for_each(|row| row[1] = None);
    let share = |after: &[Cells]| likeness(&snapshot(&one, &before).0, &one.name, &snapshot(&other, after).0, &other.name).unwrap();
    assert_eq!(share(&before), 1.0);
    assert!(share(&edited) > 0.8 && share(&before[..900]) > 0.8);
    assert!(share(&before[..100]) < 0.2 && share(&[]) == 0.0);
    let other_rows: Vec<Cells> = before.iter().map(|row| vec![row[0].clone(), None]).collect();
    assert_eq!(share(&other_rows), 0.0);
}
