//! Random tables of every kind of key, in any order, against a map in memory.

use proptest::{collection, option, prelude::*};

use super::*;

/// One cell of each column: integer, uuid, text, bytes, SQLite's any.
type Cells = (Option<i64>, Option<u128>, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);

const CLASSES: [Class; 5] = [Class::Integer, Class::Uuid, Class::Text, Class::Bytes, Class::Any];

fn cells() -> impl Strategy<Value = Cells> {
    let integers = prop_oneof![-5..5_i64, any::<i64>()];
    let bytes = || prop_oneof![9 => collection::vec(0..4_u8, 0..6), 1 => collection::vec(any::<u8>(), 0..40_000)];
    (option::of(integers), option::of(any::<u128>()), option::of("[a-c\0é]{0,4}"), option::of(bytes()), option::of(bytes()))
}

fn any_table(key: &[usize]) -> Table {
    let mut table = keyed("t");
    let template = table.columns[0].clone();
    let column = |(at, class): (usize, &Class)| Column { name: format!("c{at}"), class: *class, ..template.clone() };
    table.columns = CLASSES.iter().enumerate().map(column).collect();
    table.key = match key {
        [] => Key::Row,
        _ => Key::Columns { columns: key.iter().map(|at| format!("c{at}")).collect() },
    };
    table
}

/// The cells as the engine gives them; null where the key does not allow it becomes something else.
fn texts(cells: &Cells, key: &[usize]) -> Vec<Option<Vec<u8>>> {
    let (integer, uuid, text, bytes, any) = cells.clone();
    let mut texts = vec![
        integer.map(|number| number.to_string().into_bytes()),
        uuid.map(|uuid| uuid::Uuid::from_u128(uuid).to_string().into_bytes()),
        text.map(String::into_bytes),
        bytes,
        any.map(|any| [&b"b"[..], &any].concat()),
    ];
    for at in key {
        texts[*at].get_or_insert_with(|| b"odd".to_vec());
    }
    texts
}

/// The cells of a row as bytes, and how often it is there.
type Counted = (Vec<Option<Vec<u8>>>, u64);

/// The rows with their counts, by key; and their cells by key.
struct Model {
    rows: Rows,
    cells: BTreeMap<Vec<u8>, Counted>,
}

fn model(layout: &Layout, list: &[Cells], sorter: &mut Sorter) -> Model {
    let mut model = Model { rows: Rows::new(), cells: BTreeMap::new() };
    for cells in list {
        let texts = texts(cells, layout.key_columns());
        let borrowed: Vec<_> = texts.iter().map(Option::as_deref).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        layout.encode(&borrowed, &mut key, &mut value).unwrap();
        if !layout.keyless() && model.rows.contains_key(&key) {
            continue;
        }
        sorter.push(RowRef { key: &key, value: &value }).unwrap();
        let count = &mut model.cells.entry(key.clone()).or_insert((texts, 0)).1;
        *count += 1;
        if layout.keyless() {
            value.splice(..1, [*count as u8]);
        }
        model.rows.insert(key, value);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_of_any_kind_is_read_back_as_it_was(
        list in collection::vec(cells(), 0..120),
        key in prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![1]), Just(vec![2]), Just(vec![3]), Just(vec![4]), Just(vec![3, 0]), Just(vec![0, 2, 1])],
        memory in prop_oneof![Just(1_usize), Just(3 << 20)],
        range in (0..130_usize, 0..130_usize),
    ) {
        let table = any_table(&key);
        let layout = Layout::of(&table).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), memory, &table.name, layout.keyless());
        let model = model(&layout, &list, &mut sorter);
        let sorted = rest(&mut sorter.finish().unwrap());
        prop_assert_eq!(&sorted, &model.rows);

        let (bytes, entry) = write(&table, &sorted, None, None);
        let snapshot = open(&bytes).unwrap();
        let total: u64 = model.cells.values().map(|(_, count)| count).sum();
        prop_assert_eq!((entry.rows, entry.seen, entry.distinct), (total, total, model.rows.len() as u64));
        prop_assert_eq!(snapshot.prove(&mut |_| Ok(())).unwrap(), total);
        for ((key, value), (texts, count)) in sorted.iter().zip(model.cells.values()) {
            let row = layout.decode(RowRef { key, value }).unwrap();
            prop_assert_eq!(row.count, *count);
            prop_assert!(row.cells.iter().map(Option::as_deref).eq(texts.iter().map(Option::as_deref)));
            prop_assert_eq!(&snapshot.get(&table.name, key).unwrap().unwrap().1, value);
        }
        let (offset, limit) = range;
        let page = snapshot.page(&table.name, offset as u64, limit).unwrap();
        let expected: Vec<_> = sorted.iter().skip(offset).take(limit).map(|(key, value)| RowRef { key, value }).collect();
        prop_assert_eq!(page.iter().map(|row| row.unwrap()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn rows_of_ten_megabytes_are_leaves_of_their_own() {
    let mut random = Random(8);
    let mut rows = some_rows(3_000, 60, 9);
    for key in [b"\x10\x81\x01".to_vec(), b"\x10\x81\x03".to_vec(), b"\x20zz\0".to_vec()] {
        rows.insert(key, some_value(10 << 20, &mut random));
    }
    let (bytes, entry) = write(&keyed("t"), &rows, None, None);
    let snapshot = open(&bytes).unwrap();
    let alone = snapshot.leaves(&name()).unwrap().filter(|leaf| leaf.as_ref().unwrap().rows == 1).count();
    assert!(alone >= 3 && entry.bytes > 30 << 20);
    assert!(rest(&mut snapshot.cursor(&name(), None, None).unwrap()) == rows);
    assert_eq!(snapshot.get(&name(), b"\x20zz\0").unwrap().unwrap().1.len(), (10 << 20) + 5);
}
