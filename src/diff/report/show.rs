//! Values as people read them.

use crate::{
    diff::values::storage,
    domain::diff::ValueView,
    snapshot::{BsonValue, Class, bson_text, number_text, write_value},
};

/// Bytes of a value that a page shows.
const SHOWN: usize = 2048;

/// The text of a value, all of it.
pub fn text(class: Class, value: &[u8]) -> String {
    match class {
        Class::Any => {
            let (class, value) = storage(value);
            text(class, value)
        }
        Class::Bytes => format!("\\x{}", hex::encode(value)),
        Class::Boolean => match value {
            b"t" => "true".to_owned(),
            b"f" => "false".to_owned(),
            _ => lossy(value),
        },
        Class::Bson => {
            let mut out = String::new();
            bson_text(value, &mut out);
            out
        }
        _ => lossy(value),
    }
}

/// The text of one field of a document: digits of numbers, and canonical extended JSON of all else.
pub fn field_text(value: BsonValue<'_>) -> String {
    number_text(value).unwrap_or_else(|| exact_text(value))
}

/// Canonical extended JSON, which names the type of a number.
pub fn exact_text(value: BsonValue<'_>) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// A document with one field.
pub fn alone(name: &[u8], value: BsonValue<'_>) -> Vec<u8> {
    let length = (name.len() + value.bytes.len() + 7) as i32;
    [&length.to_le_bytes()[..], &[value.kind], name, &[0], value.bytes, &[0]].concat()
}

/// A value as a page shows it: cut where it is long, unless `whole`. `size` is that of the value itself, in bytes.
pub fn view(mut text: String, size: usize, whole: bool) -> ValueView {
    let cut = !whole && text.len() > SHOWN;
    if cut {
        text.truncate(text.floor_char_boundary(SHOWN));
    }
    ValueView { text: Some(text), bytes: size as u64, cut }
}

/// A cell as a page shows it.
pub fn cell(class: Class, value: Option<&[u8]>, whole: bool) -> ValueView {
    let Some(value) = value else { return ValueView::default() };
    let (class, value) = if class == Class::Any { storage(value) } else { (class, value) };
    // Two digits a byte, after the two characters in front: no more of it is made than shown.
    if class == Class::Bytes && !whole && value.len() > SHOWN / 2 - 1 {
        return ValueView { text: Some(text(class, &value[..SHOWN / 2 - 1])), bytes: value.len() as u64, cut: true };
    }
    view(text(class, value), value.len(), whole)
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_by_their_class_and_cut_on_a_character() {
        assert_eq!(text(Class::Bytes, b"\x01\xff"), "\\x01ff");
        assert_eq!((text(Class::Any, b"i7"), text(Class::Any, b"b\x01")), ("7".to_owned(), "\\x01".to_owned()));
        assert_eq!(
            (text(Class::Boolean, b"t"), text(Class::Boolean, b"f"), text(Class::Boolean, b"x")),
            ("true".into(), "false".into(), "x".into())
        );
        let long = "é".repeat(SHOWN);
        let shown = cell(Class::Text, Some(format!("a{long}").as_bytes()), false);
        assert_eq!((shown.text.as_ref().unwrap().len(), shown.cut, shown.bytes), (SHOWN - 1, true, 2 * SHOWN as u64 + 1));
        let whole = cell(Class::Text, Some(long.as_bytes()), true);
        assert_eq!((whole.text.as_deref(), whole.cut), (Some(&long[..]), false));
        let raw = cell(Class::Bytes, Some(&[7; 5000]), false);
        assert_eq!((raw.text.unwrap().len(), raw.cut, raw.bytes), (SHOWN, true, 5000));
        assert_eq!(cell(Class::Text, None, false), ValueView::default());
    }
}
