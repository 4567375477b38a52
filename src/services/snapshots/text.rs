//! Values and keys of rows as people read and write them.

use std::fmt::Write;

use crate::{
    domain::diff::ValueView,
    error::{Error, Result},
    snapshot::{Class, Key, Layout, RowRef, Table, bson_text, encode_part},
};

/// Bytes of a value that a list shows.
pub const SHOWN: usize = 1000;
/// Bytes of a whole value that is asked for.
pub const WHOLE: usize = 4 * 1024 * 1024;

/// A value for people, cut after about `limit` bytes of text.
pub fn view(class: Class, cell: Option<&[u8]>, limit: usize) -> ValueView {
    let Some(cell) = cell else { return ValueView::default() };
    let (text, cut) = text(class, cell, limit);
    ValueView { text: Some(text), bytes: cell.len() as u64, cut }
}

/// A value's text, and whether it is only its beginning.
fn text(class: Class, cell: &[u8], limit: usize) -> (String, bool) {
    match (class, cell) {
        (Class::Bytes, _) | (Class::Any, [b'b', ..]) => {
            let bytes = if class == Class::Any { &cell[1..] } else { cell };
            let shown = &bytes[..bytes.len().min(limit / 2)];
            (format!("\\x{}", hex::encode(shown)), shown.len() < bytes.len())
        }
        (Class::Any, [_, rest @ ..]) => shorten(&String::from_utf8_lossy(&rest[..rest.len().min(limit + 4)]), limit, rest.len()),
        (Class::Bson, _) => {
            let mut json = String::new();
            bson_text(cell, &mut json);
            let length = json.len();
            shorten(&json, limit, length)
        }
        _ => shorten(&String::from_utf8_lossy(&cell[..cell.len().min(limit + 4)]), limit, cell.len()),
    }
}

/// The first `limit` bytes of a text, up to a whole character; `length` is that of the whole.
fn shorten(text: &str, limit: usize, length: usize) -> (String, bool) {
    if length <= limit {
        return (text.to_owned(), false);
    }
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].to_owned(), true)
}

/// True when a value's text holds `wanted`, which is in lower case.
pub fn holds(class: Class, cell: &[u8], wanted: &str) -> bool {
    text(class, cell, usize::MAX / 4).0.to_lowercase().contains(wanted)
}

/// What names a row in addresses: the key's value where that is plain text, a JSON array of several, else its bytes in hex
/// behind `~`.
pub fn key_text(table: &Table, layout: &Layout, row: RowRef<'_>) -> Result<String> {
    let exact = || {
        let mut text = String::from("~");
        for byte in row.key {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    };
    let classes: Vec<_> = table.stored().map(|column| column.class).collect();
    let plain = !layout.keyless() && layout.key_columns().iter().all(|at| !matches!(classes[*at], Class::Any | Class::Bson));
    if !plain {
        return Ok(exact());
    }
    let cells = layout.decode(row)?.cells;
    let mut values = Vec::new();
    for at in layout.key_columns() {
        let cell = cells[*at].as_deref().unwrap_or_default();
        match (classes[*at], std::str::from_utf8(cell)) {
            (Class::Bytes, _) => values.push(format!("\\x{}", hex::encode(cell))),
            (_, Ok(text)) => values.push(text.to_owned()),
            (_, Err(_)) => return Ok(exact()),
        }
    }
    match &values[..] {
        [value] if value.starts_with(['~', '[']) || value.is_empty() => Ok(exact()),
        [value] => Ok(value.clone()),
        _ => Ok(serde_json::Value::from(values).to_string()),
    }
}

/// The keys that a person may mean by `text` (see [`key_text`]): several only where a column holds values of any type.
/// Errors when it cannot name a row of this table.
pub fn keys_meant(table: &Table, text: &str) -> Result<Vec<Vec<u8>>> {
    let wrong = |why: &str| Error::validation(format!("'{}' is no key of {}: {why}", text.escape_debug(), table.name));
    if let Some(digits) = text.strip_prefix('~') {
        return Ok(vec![hex::decode(digits).map_err(|_| wrong("behind ~ only hex digits are expected"))?]);
    }
    let Key::Columns { columns } = &table.key else {
        return Err(wrong("the table has no key; name a row by the `key` that a page gives"));
    };
    let values: Vec<String> = if columns.len() == 1 && !text.starts_with('[') {
        vec![text.to_owned()]
    } else {
        let values: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|_| wrong("write the values of its columns as a JSON array"))?;
        values.into_iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
    };
    if values.len() != columns.len() {
        return Err(wrong(&format!("it has {} columns: {}", columns.len(), columns.join(", "))));
    }
    let mut keys = vec![Vec::new()];
    for (column, value) in columns.iter().zip(&values) {
        let class = table.stored().find(|stored| stored.name == *column).map_or(Class::Other, |stored| stored.class);
        let cells = cells_meant(class, value);
        keys = keys
            .iter()
            .flat_map(|key| {
                cells.iter().map(move |cell| {
                    let mut key = key.clone();
                    encode_part(&mut key, class, cell);
                    key
                })
            })
            .collect();
    }
    Ok(keys)
}

/// The cells of a class that a text may stand for.
fn cells_meant(class: Class, text: &str) -> Vec<Vec<u8>> {
    let bytes = || text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok());
    match class {
        Class::Bytes => vec![bytes().unwrap_or_else(|| text.as_bytes().to_vec())],
        Class::Any => {
            let tagged = |tag: u8, value: &[u8]| [&[tag], value].concat();
            let mut cells: Vec<_> = b"tir".iter().map(|tag| tagged(*tag, text.as_bytes())).collect();
            cells.extend(bytes().map(|bytes| tagged(b'b', &bytes)));
            cells
        }
        Class::Bson => ids_meant(text),
        _ => vec![text.as_bytes().to_vec()],
    }
}

/// Documents that have nothing but an `_id`, of each type that `text` may be of.
fn ids_meant(text: &str) -> Vec<Vec<u8>> {
    let document = |kind: u8, value: &[u8]| {
        let length = (4 + 1 + 4 + value.len() + 1) as u32;
        [&length.to_le_bytes()[..], &[kind], b"_id\0", value, &[0]].concat()
    };
    let string = [&(text.len() as u32 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
    let mut ids = vec![document(0x02, &string)];
    if text.len() == 24
        && let Ok(id) = hex::decode(text)
    {
        ids.push(document(0x07, &id));
    }
    if let Ok(number) = text.parse::<i64>() {
        ids.push(document(0x12, &number.to_le_bytes()));
    } else if let Ok(number) = text.parse::<f64>() {
        ids.push(document(0x01, &number.to_le_bytes()));
    }
    if let Ok(uuid) = uuid::Uuid::parse_str(text) {
        ids.push(document(0x05, &[&16_u32.to_le_bytes()[..], &[4], uuid.as_bytes()].concat()));
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Column, TableName};

    fn table(columns: &[(&str, Class)], key: Key) -> Table {
        let column = |(name, class): &(&str, Class)| Column {
            name: (*name).to_owned(),
            type_name: String::new(),
            class: *class,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        };
        let columns = columns.iter().map(column).collect();
        Table { name: TableName::new(None, "t"), columns, key, definition: String::new(), options: Default::default() }
    }

    fn named_and_found(table: &Table, cells: &[Option<&[u8]>]) -> String {
        let layout = Layout::of(table).unwrap();
        let (mut key, mut value) = Default::default();
        layout.encode(cells, &mut key, &mut value).unwrap();
        let text = key_text(table, &layout, RowRef { key: &key, value: &value }).unwrap();
        assert!(keys_meant(table, &text).unwrap().contains(&key), "{text}");
        text
    }

    #[test]
    fn a_row_is_found_by_the_name_that_a_page_gives_it() {
        let by = |columns: &[&str]| Key::Columns { columns: columns.iter().map(|name| (*name).to_owned()).collect() };
        let one = table(&[("id", Class::Integer), ("a", Class::Text)], by(&["id"]));
        assert_eq!(named_and_found(&one, &[Some(b"-42"), None]), "-42");
        let two = table(&[("a", Class::Text), ("b", Class::Bytes), ("c", Class::Uuid)], by(&["b", "a"]));
        assert_eq!(named_and_found(&two, &[Some(b"x\"y"), Some(b"\0\xff"), None]), r#"["\\x00ff","x\"y"]"#);
        let text = table(&[("a", Class::Text)], by(&["a"]));
        for odd in [&b"~"[..], b"[1]", b"", b"\xff\0"] {
            assert!(named_and_found(&text, &[Some(odd)]).starts_with('~'), "{odd:?}");
        }
        let any = table(&[("k", Class::Any)], by(&["k"]));
        assert!(named_and_found(&any, &[Some(b"i7")]).starts_with('~'));
        named_and_found(&table(&[("a", Class::Text)], Key::Row), &[None]);
    }

    #[test]
    fn a_person_names_a_key_by_its_value_and_what_cannot_be_one_is_refused() {
        let by = |columns: &[&str]| Key::Columns { columns: columns.iter().map(|name| (*name).to_owned()).collect() };
        let any = table(&[("k", Class::Any)], by(&["k"]));
        assert_eq!(keys_meant(&any, "7").unwrap().len(), 3);
        let documents = table(&[("document", Class::Bson)], by(&["document"]));
        assert_eq!(keys_meant(&documents, "64f0c0ffee64f0c0ffee64f0").unwrap().len(), 2);
        let two = table(&[("a", Class::Integer), ("b", Class::Text)], by(&["a", "b"]));
        assert_eq!(keys_meant(&two, r#"[1, "x"]"#).unwrap(), keys_meant(&two, r#"["1","x"]"#).unwrap());
        for wrong in ["1", "[1]", "~xyz"] {
            assert!(keys_meant(&two, wrong).unwrap_err().to_string().contains("is no key of t"), "{wrong}");
        }
        assert!(keys_meant(&table(&[("a", Class::Text)], Key::Row), "x").is_err());
    }

    #[test]
    fn values_are_shown_by_their_class_and_cut_at_whole_characters() {
        let check = |class, cell: &[u8], expect: &str, cut| {
            let shown = view(class, Some(cell), 4);
            assert_eq!((shown.text.as_deref(), shown.cut, shown.bytes), (Some(expect), cut, cell.len() as u64));
        };
        check(Class::Text, b"abcd", "abcd", false);
        check(Class::Text, "abcä".as_bytes(), "abc", true);
        check(Class::Bytes, b"\x01\xff", "\\x01ff", false);
        check(Class::Bytes, b"\x01\xff\x02", "\\x01ff", true);
        check(Class::Any, b"t12", "12", false);
        check(Class::Any, b"b\x0a", "\\x0a", false);
        check(Class::Any, b"i12345", "1234", true);
        assert_eq!(view(Class::Text, None, 4), ValueView::default());
        assert!(holds(Class::Text, "ÄPFEL".as_bytes(), "äpf") && !holds(Class::Integer, b"12", "3"));
    }
}
