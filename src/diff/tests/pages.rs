//! Filters and pages of a report against a list.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::sample::{Cells, Dice, Memory, column, compare, store, table};
use crate::{
    diff::{
        Bits,
        merge::{ChangeRef, ChangeSink, Tally},
        pair::{RowSpec, Which},
        report::{Report, ReportWriter},
    },
    domain::diff::{Change, ChangeFilter, ChangeView, DiffOptions, DiffSummary},
    snapshot::{ChangeKind, Class, Layout, Table},
};

const CHANGES: [Change; 3] = [Change::Added, Change::Removed, Change::Changed];

/// A keyed table with `width` columns of text.
fn wide(width: usize) -> Table {
    let mut columns = vec![column("id", Class::Integer)];
    columns.extend((0..width).map(|at| column(&format!("c{at}"), Class::Text)));
    table(columns, &["id"])
}

/// A report of `count` changes, each with the columns that `change` gives.
fn written(table: &Table, count: u64, mut change: impl FnMut(u64) -> (ChangeKind, Vec<usize>)) -> (Report, Memory) {
    let spec = RowSpec::of(Some(table), Some(table), &DiffOptions::default()).unwrap();
    let memory = Memory::default();
    let mut writer = ReportWriter::new(memory.output(), "test", "db", None).unwrap();
    writer.begin(&spec).unwrap();
    let layout = Layout::of(table).unwrap();
    for at in 0..count {
        let (kind, columns) = change(at);
        let id = at.to_string();
        let row = |side: &str| {
            let texts: Vec<_> = (1..table.columns.len())
                .map(|place| if columns.contains(&place) { format!("{side}{at}") } else { "same".into() })
                .collect();
            let cells: Vec<_> = std::iter::once(Some(id.as_bytes())).chain(texts.iter().map(|text| Some(text.as_bytes()))).collect();
            let (mut key, mut value) = (Vec::new(), Vec::new());
            layout.encode(&cells, &mut key, &mut value).unwrap();
            (key, value)
        };
        let ((key, before), (_, after)) = (row("old"), row("new"));
        let columns: Bits = columns.into_iter().collect();
        let before = (kind != ChangeKind::Added).then_some(&before[..]);
        let after = (kind != ChangeKind::Removed).then_some(&after[..]);
        writer.change(&ChangeRef { kind, key: &key, before, after, columns: &columns }).unwrap();
    }
    writer.end(&spec, &Tally::default()).unwrap();
    writer.finish(&DiffSummary::default()).unwrap();
    let report = Report::open(Arc::new(memory.clone()), None).unwrap();
    memory.take_reads();
    (report, memory)
}

fn all(report: &Report, filter: &ChangeFilter, limit: u32) -> (Vec<ChangeView>, u64) {
    let mut views = Vec::new();
    let mut ignored = 0;
    for page in 1.. {
        let shown = report.page(filter, page, limit, None).unwrap();
        ignored = shown.ignored;
        if shown.changes.is_empty() {
            assert_eq!(shown.total, Some(views.len() as u64));
            break;
        }
        views.extend(shown.changes);
    }
    (views, ignored)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn filters_take_exactly_what_a_list_would(seed: u64) {
        let mut dice = Dice(seed);
        let width = dice.pick(&[1, 3, 20]);
        let table = wide(width);
        let mut list = Vec::new();
        let (report, _) = written(&table, 3000, |at| {
            let kind = dice.pick(&[ChangeKind::Added, ChangeKind::Removed, ChangeKind::Changed, ChangeKind::Changed]);
            let mut columns: Vec<usize> = (1..=width).filter(|_| dice.roll(4) == 0).collect();
            if columns.is_empty() {
                columns.push(1);
            }
            if kind != ChangeKind::Changed {
                columns.clear();
            }
            list.push((at, kind, columns.clone()));
            (kind, columns)
        });
        for kind in [None, Some(Change::Added), Some(Change::Changed)] {
            for column in [None, Some(1), Some(width)] {
                for ignore in [vec![], vec![1], (1..=width).collect::<Vec<_>>()] {
                    let name = |place: usize| format!("c{}", place - 1);
                    let filter = ChangeFilter {
                        kind,
                        column: column.map(name),
                        ignore: (!ignore.is_empty()).then(|| ignore.iter().map(|place| name(*place)).collect::<Vec<_>>().join(", ")),
                        ..ChangeFilter::default()
                    };
                    let wanted = |entry: &&(u64, ChangeKind, Vec<usize>)| {
                        kind.is_none_or(|kind| CHANGES.iter().position(|other| *other == kind) == Some(entry.1 as usize))
                            && column.is_none_or(|column| entry.2.contains(&column))
                    };
                    let hidden = |entry: &(u64, ChangeKind, Vec<usize>)| !entry.2.is_empty() && entry.2.iter().all(|place| ignore.contains(place));
                    let expect: Vec<_> = list.iter().filter(wanted).filter(|entry| !hidden(entry)).map(|entry| entry.0).collect();
                    let (views, ignored) = all(&report, &filter, 700);
                    prop_assert_eq!(views.iter().map(|view| view.at).collect::<Vec<_>>(), expect.clone());
                    prop_assert_eq!(ignored, list.iter().filter(wanted).filter(|entry| hidden(entry)).count() as u64);
                    let streamed: Vec<_> = report.changes("t", &filter).unwrap().map(|change| change.unwrap().0).collect();
                    prop_assert_eq!(streamed, expect);
                }
            }
        }
    }
}

#[test]
fn a_page_of_a_million_changes_reads_one_or_two_blocks() {
    let table = wide(4);
    let (report, memory) = written(&table, 1_000_000, |at| {
        let kind = [ChangeKind::Changed, ChangeKind::Changed, ChangeKind::Added, ChangeKind::Removed][at as usize % 4];
        (kind, if kind == ChangeKind::Changed { vec![1 + at as usize / 300_000] } else { vec![] })
    });
    let check = |filter: &ChangeFilter, page: u32, first: Option<u64>, total: u64| {
        let shown = report.page(filter, page, 100, None).unwrap();
        assert_eq!((shown.changes.first().map(|change| change.at), shown.total), (first, Some(total)), "{filter:?}");
        assert!(memory.take_reads() <= 2, "{filter:?}");
    };
    check(&ChangeFilter::default(), 1, Some(0), 1_000_000);
    check(&ChangeFilter::default(), 9_999, Some(999_800), 1_000_000);
    check(&ChangeFilter::default(), 10_001, None, 1_000_000);
    check(&ChangeFilter { kind: Some(Change::Added), ..ChangeFilter::default() }, 2_000, Some(799_602), 250_000);
    check(&ChangeFilter { column: Some("c3".into()), ..ChangeFilter::default() }, 1, Some(900_000), 50_000);
    check(
        &ChangeFilter { ignore: Some("c0,c1,c2".into()), kind: Some(Change::Changed), ..ChangeFilter::default() },
        2,
        Some(900_200),
        50_000,
    );
    assert_eq!(report.change("t", 777_777).unwrap().before.unwrap().cells[0].as_deref(), Some(&b"777777"[..]));
    assert_eq!(memory.take_reads(), 1);
}

#[test]
fn a_search_ends_with_its_time_and_goes_on_where_it_stopped() {
    let table = wide(2);
    let (report, _) = written(&table, 20_000, |_| (ChangeKind::Changed, vec![2]));
    let filter = ChangeFilter { q: Some("NEW1234".into()), ..ChangeFilter::default() };
    let whole = report.page_within(&filter, 1, 100, None, Duration::MAX).unwrap();
    assert_eq!((whole.changes.len(), whole.total, whole.next), (11, Some(11), None));
    let (mut found, mut from, mut calls) = (Vec::new(), None::<String>, 0);
    loop {
        let part = report.page_within(&filter, 1, 4, from.as_deref(), Duration::ZERO).unwrap();
        found.extend(part.changes);
        calls += 1;
        match part.next {
            Some(next) => from = Some(next),
            None => break,
        }
        assert_eq!(part.total, None);
    }
    assert_eq!(found, whole.changes);
    assert!(calls > 10, "a block is read at each call");
    let second = report.page_within(&filter, 2, 4, None, Duration::MAX).unwrap();
    assert_eq!(second.changes[..], whole.changes[4..8]);
    let none = |q: &str| {
        let filter = ChangeFilter { q: Some(q.into()), ..ChangeFilter::default() };
        report.page_within(&filter, 1, 9, None, Duration::MAX).unwrap().total
    };
    assert_eq!(none("same"), Some(0), "values that did not change are not searched");
    assert_eq!(report.changes("t", &filter).unwrap().count(), 11);
    assert!(report.page(&filter, 1, 4, Some("odd")).is_err());
}

#[test]
fn long_values_are_cut_in_pages_and_whole_when_asked_for() {
    let table = table(vec![column("id", Class::Integer), column("raw", Class::Bytes), column("text", Class::Text)], &["id"]);
    let row = |raw: &[u8], text: Option<&str>| -> Cells {
        vec![Some(b"1".to_vec()), Some(raw.to_vec()), text.map(|text| text.as_bytes().to_vec())]
    };
    let (before, after) = (store(&table, &[row(&[1; 5000], None)]), store(&table, &[row(&[2; 5000], Some("x"))]));
    let (_, report, _) = compare((&table, &before), (&table, &after), &DiffOptions::default(), 0);
    let view = report.view("t", 0).unwrap();
    let raw = view.cells[1].before.as_ref().unwrap();
    assert_eq!((raw.cut, raw.bytes, &raw.text.as_ref().unwrap()[..6]), (true, 5000, "\\x0101"));
    let whole = report.value("t", 0, "raw", Which::After).unwrap().unwrap();
    assert_eq!((whole.cut, whole.text.unwrap().len()), (false, 10_002));
    assert_eq!(report.value("t", 0, "text", Which::Before).unwrap().unwrap().text, None);
    assert!(report.value("t", 0, "odd", Which::Before).is_err() && report.value("t", 1, "raw", Which::Before).is_err());
    assert!(report.page(&ChangeFilter { table: Some("odd".into()), ..ChangeFilter::default() }, 1, 1, None).is_err());
}
