//! The key of a MongoDB document: its `_id`, the same for numbers that are equal whatever their type.

use super::{
    bson::{BsonValue, Damaged, bson_fields, kind},
    bson_text::{write_id, write_value},
    number::{LONGEST, Number, number},
};

/// The kinds of values in the order in which MongoDB compares them.
mod bracket {
    pub const MIN_KEY: u8 = 0x0a;
    pub const UNDEFINED: u8 = 0x0f;
    pub const NULL: u8 = 0x14;
    pub const NUMBER: u8 = 0x1e;
    pub const STRING: u8 = 0x3c;
    pub const OBJECT: u8 = 0x46;
    pub const ARRAY: u8 = 0x50;
    pub const BINARY: u8 = 0x5a;
    pub const OBJECT_ID: u8 = 0x64;
    pub const BOOLEAN: u8 = 0x6e;
    pub const DATE: u8 = 0x78;
    pub const TIMESTAMP: u8 = 0x82;
    pub const REGEX: u8 = 0x8c;
    pub const DB_POINTER: u8 = 0x96;
    pub const CODE: u8 = 0xa0;
    pub const CODE_WITH_SCOPE: u8 = 0xaa;
    pub const MAX_KEY: u8 = 0xf0;
    /// The value cannot be read: its type and bytes follow.
    pub const DAMAGED: u8 = 0xf8;
    /// The document cannot be read: its bytes follow.
    pub const NO_DOCUMENT: u8 = 0xf9;
}

/// Ends an object or array: less than every bracket. Also ends a text inside one, where a zero is followed by [`ESCAPE`].
const END: u8 = 0;
const ESCAPE: u8 = 0xff;
// The first byte of a number.
const NAN: u8 = 1;
const LOWEST: u8 = 2;
const NEGATIVE: u8 = 3;
const ZERO: u8 = 4;
const POSITIVE: u8 = 5;
const HIGHEST: u8 = 6;
/// An exponent is written with this added.
const BIAS: i32 = 0x4000;
/// Ends the digits: less than every pair of them.
const LAST: u8 = 1;
/// Values inside one another; a server takes fewer.
const DEEPEST: usize = 200;

/// Bytes that are equal for documents whose `_id` MongoDB holds for the same, and that order as its `_id` index does where
/// its collation is the simple one. A document without an `_id` has the key of null.
pub fn document_key(document: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    match id_of(document) {
        Ok(Some(id)) => {
            out.push(bracket_of(id.kind));
            if put(&mut out, id, 0, DEEPEST).is_err() {
                out.clear();
                out.extend([bracket::DAMAGED, id.kind]);
                out.extend_from_slice(id.bytes);
            }
        }
        Ok(None) => out.push(bracket::NULL),
        Err(Damaged) => {
            out.push(bracket::NO_DOCUMENT);
            out.extend_from_slice(document);
        }
    }
    out
}

/// The `_id` for people: hex, text and digits as they are, any other value as canonical extended JSON; "" without one.
pub fn document_id_text(document: &[u8]) -> String {
    let mut out = String::new();
    if let Ok(Some(id)) = id_of(document) {
        write_id(id, &mut out);
    }
    out
}

/// The `_id` as canonical extended JSON, which names its type; `null` without one.
pub fn document_id_json(document: &[u8]) -> String {
    let mut out = String::new();
    write_value(id_of(document).ok().flatten().unwrap_or(BsonValue { kind: kind::NULL, bytes: &[] }), &mut out);
    out
}

/// The first `_id` of a document. Errors when the document is damaged before it.
pub fn id_of(document: &[u8]) -> Result<Option<BsonValue<'_>>, Damaged> {
    for field in bson_fields(document) {
        let field = field?;
        if field.name == b"_id" {
            return Ok(Some(field.value));
        }
    }
    Ok(None)
}

/// A document with nothing but an `_id` of this key: for keys of ObjectIds, text, dates and whole numbers of 64 bits, whose
/// values the key tells. A server is asked with it for what comes after a key.
pub fn document_of_key(key: &[u8]) -> Option<Vec<u8>> {
    let (bracket, rest) = key.split_first()?;
    let (kind, value) = match *bracket {
        bracket::OBJECT_ID if rest.len() == 12 => (kind::OBJECT_ID, rest.to_vec()),
        bracket::STRING => {
            std::str::from_utf8(rest).ok()?;
            let length = i32::try_from(rest.len() + 1).ok()?;
            (kind::STRING, [length.to_le_bytes().as_slice(), rest, &[0]].concat())
        }
        bracket::DATE => {
            let millis = u64::from_be_bytes(rest.try_into().ok()?) ^ 1 << 63;
            (kind::DATE, millis.to_le_bytes().to_vec())
        }
        bracket::NUMBER => (kind::INT64, whole(rest)?.to_le_bytes().to_vec()),
        _ => return None,
    };
    let length = u32::try_from(4 + 1 + 4 + value.len() + 1).ok()?;
    Some([length.to_le_bytes().as_slice(), &[kind], b"_id\0", &value, &[0]].concat())
}

/// Reads back what [`put_number`] wrote, where it is a whole number.
fn whole(key: &[u8]) -> Option<i64> {
    let (sign, rest) = key.split_first()?;
    let negative = match *sign {
        ZERO if rest.is_empty() => return Some(0),
        POSITIVE => false,
        NEGATIVE => true,
        _ => return None,
    };
    let plain: Vec<u8> = rest.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    let (exponent, pairs) = plain.split_first_chunk::<2>()?;
    let exponent = usize::try_from(i32::from(u16::from_be_bytes(*exponent)) - BIAS).ok().filter(|exponent| *exponent <= 19)?;
    let (last, pairs) = pairs.split_last()?;
    let mut digits = String::new();
    for pair in pairs {
        let pair = pair.checked_sub(LAST + 1).filter(|pair| *pair < 100 && *last == LAST)?;
        digits.push_str(&format!("{pair:02}"));
    }
    let digits = digits.trim_end_matches('0');
    let sign = if negative { "-" } else { "" };
    if digits.len() > exponent { None } else { format!("{sign}{digits:0<exponent$}").parse().ok() }
}

fn bracket_of(kind: u8) -> u8 {
    match kind {
        kind::MIN_KEY => bracket::MIN_KEY,
        kind::UNDEFINED => bracket::UNDEFINED,
        kind::NULL => bracket::NULL,
        kind::DOUBLE | kind::INT32 | kind::INT64 | kind::DECIMAL128 => bracket::NUMBER,
        kind::STRING | kind::SYMBOL => bracket::STRING,
        kind::DOCUMENT => bracket::OBJECT,
        kind::ARRAY => bracket::ARRAY,
        kind::BINARY => bracket::BINARY,
        kind::OBJECT_ID => bracket::OBJECT_ID,
        kind::BOOLEAN => bracket::BOOLEAN,
        kind::DATE => bracket::DATE,
        kind::TIMESTAMP => bracket::TIMESTAMP,
        kind::REGEX => bracket::REGEX,
        kind::DB_POINTER => bracket::DB_POINTER,
        kind::CODE => bracket::CODE,
        kind::CODE_WITH_SCOPE => bracket::CODE_WITH_SCOPE,
        _ => bracket::MAX_KEY,
    }
}

/// Appends the value without its bracket. `inside` an object or array, what has no length of its own is ended.
fn put(out: &mut Vec<u8>, value: BsonValue<'_>, inside: usize, deepest: usize) -> Result<(), Damaged> {
    match value.kind {
        kind::MIN_KEY | kind::UNDEFINED | kind::NULL | kind::MAX_KEY => {}
        kind::DOUBLE | kind::INT32 | kind::INT64 | kind::DECIMAL128 => put_number(out, value)?,
        kind::STRING | kind::SYMBOL | kind::CODE => put_text(out, value.text().ok_or(Damaged)?, inside > 0),
        kind::DOCUMENT => put_fields(out, value.bytes, true, inside, deepest)?,
        kind::ARRAY => put_fields(out, value.bytes, false, inside, deepest)?,
        kind::BINARY => {
            let (subtype, bytes) = value.binary().ok_or(Damaged)?;
            out.extend((bytes.len() as u32).to_be_bytes());
            out.push(subtype);
            out.extend_from_slice(bytes);
        }
        kind::OBJECT_ID | kind::BOOLEAN => out.extend_from_slice(value.bytes),
        kind::DATE => out.extend((u64::from_le_bytes(value.fixed().ok_or(Damaged)?) ^ 1 << 63).to_be_bytes()),
        kind::TIMESTAMP => out.extend(u64::from_le_bytes(value.fixed().ok_or(Damaged)?).to_be_bytes()),
        kind::REGEX => {
            let (pattern, options) = value.regex().ok_or(Damaged)?;
            put_text(out, pattern, true);
            put_text(out, options, true);
        }
        kind::DB_POINTER => {
            let (namespace, id) = value.db_pointer().ok_or(Damaged)?;
            out.extend((namespace.len() as u32).to_be_bytes());
            out.extend_from_slice(namespace);
            out.extend_from_slice(id);
        }
        kind::CODE_WITH_SCOPE => {
            let (code, scope) = value.code_with_scope().ok_or(Damaged)?;
            put_text(out, code, true);
            put_fields(out, scope, true, inside, deepest)?;
        }
        _ => return Err(Damaged),
    }
    Ok(())
}

/// As MongoDB compares objects: field by field, first the bracket, then the name, then the value.
fn put_fields(out: &mut Vec<u8>, document: &[u8], named: bool, inside: usize, deepest: usize) -> Result<(), Damaged> {
    if inside == deepest {
        return Err(Damaged);
    }
    for field in bson_fields(document) {
        let field = field?;
        out.push(bracket_of(field.value.kind));
        if named {
            put_text(out, field.name, true);
        }
        put(out, field.value, inside + 1, deepest)?;
    }
    out.push(END);
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &[u8], ended: bool) {
    if !ended {
        out.extend_from_slice(text);
        return;
    }
    for byte in text {
        out.push(*byte);
        if *byte == END {
            out.push(ESCAPE);
        }
    }
    out.push(END);
}

/// NaN, -infinity, negative, zero, positive, infinity: one byte. Then, of finite numbers other than zero, the exponent in two
/// bytes and the digits in pairs; of negative ones the complement.
fn put_number(out: &mut Vec<u8>, value: BsonValue<'_>) -> Result<(), Damaged> {
    let mut buffer = [0; LONGEST];
    let (negative, exponent, digits) = match number(value, &mut buffer).ok_or(Damaged)? {
        Number::Finite { negative, exponent, digits } if !digits.is_empty() => (negative, exponent, digits),
        other => {
            out.push(match other {
                Number::NaN => NAN,
                Number::Infinity { negative: true } => LOWEST,
                Number::Infinity { negative: false } => HIGHEST,
                Number::Finite { .. } => ZERO,
            });
            return Ok(());
        }
    };
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    // Between -6,176 and 6,145: of the largest and smallest Decimal128.
    out.extend(((exponent + BIAS) as u16).to_be_bytes());
    for pair in digits.chunks(2) {
        let second = pair.get(1).unwrap_or(&b'0');
        out.push((pair[0] - b'0') * 10 + (second - b'0') + LAST + 1);
    }
    out.push(LAST);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{
        Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc, oid::ObjectId, spec::BinarySubtype,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::bson_text;

    fn document(id: impl Into<Bson>) -> Vec<u8> {
        doc! { "before": 1, "_id": id.into(), "after": "x" }.to_vec().unwrap()
    }

    fn key(id: impl Into<Bson>) -> Vec<u8> {
        document_key(&document(id))
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse::<Decimal128>().unwrap())
    }

    #[test]
    fn kinds_and_values_order_as_mongodb_orders_them() {
        let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() });
        let regex = |pattern: &str, options: &str| {
            Bson::RegularExpression(Regex { pattern: pattern.try_into().unwrap(), options: options.try_into().unwrap() })
        };
        let scope = |code: &str, scope| Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: code.into(), scope });
        let ordered: Vec<Bson> = vec![
            Bson::MinKey,
            Bson::Undefined,
            Bson::Null,
            f64::NAN.into(),
            f64::NEG_INFINITY.into(),
            decimal("-9.99E+6144"),
            f64::MIN.into(),
            i64::MIN.into(),
            (i64::MIN + 1).into(),
            (-100).into(),
            (-12).into(),
            decimal("-11.5"),
            (-1).into(),
            (-0.1).into(),
            (-5e-324).into(),
            decimal("-1E-6176"),
            0.into(),
            decimal("1E-6176"),
            5e-324.into(),
            decimal("0.1"),
            0.1.into(),
            decimal("0.1000000000000000055511151231257828"),
            1.into(),
            decimal("1.000000000000000000000000000000001"),
            1.5.into(),
            9_i64.into(),
            10.into(),
            11.into(),
            100.into(),
            9_007_199_254_740_992.0.into(),
            9_007_199_254_740_993_i64.into(),
            9_007_199_254_740_994.0.into(),
            i64::MAX.into(),
            9_223_372_036_854_775_808.0.into(),
            f64::MAX.into(),
            decimal("9.999999999999999999999999999999999E+6144"),
            f64::INFINITY.into(),
            "".into(),
            "\0".into(),
            "a".into(),
            "a\0".into(),
            "aa".into(),
            "b".into(),
            "é".into(),
            Bson::Document(doc! {}),
            Bson::Document(doc! { "b": 1 }),
            Bson::Document(doc! { "b": 1, "a": 0 }),
            Bson::Document(doc! { "b": 2 }),
            Bson::Document(doc! { "c": 0 }),
            Bson::Document(doc! { "a": "" }),
            Bson::Document(doc! { "a": "a" }),
            Bson::Document(doc! { "a": "a\0" }),
            Bson::Document(doc! { "a": "aa", "b": 1 }),
            Bson::Document(doc! { "a": [] }),
            Bson::Document(doc! { "a": [1] }),
            Bson::Document(doc! { "a": [1, 2] }),
            Bson::Array(vec![]),
            binary(0, b""),
            binary(0, b"z"),
            binary(4, b"a"),
            binary(0, b"aa"),
            ObjectId::from_bytes([0; 12]).into(),
            ObjectId::from_bytes([255; 12]).into(),
            false.into(),
            true.into(),
            DateTime::from_millis(i64::MIN).into(),
            DateTime::from_millis(-1).into(),
            DateTime::from_millis(0).into(),
            Timestamp { time: 0, increment: 9 }.into(),
            Timestamp { time: 1, increment: 0 }.into(),
            Timestamp { time: u32::MAX, increment: 0 }.into(),
            regex("a", ""),
            regex("a", "i"),
            regex("b", ""),
            Bson::JavaScriptCode("a".into()),
            scope("a", doc! {}),
            scope("a", doc! { "x": 1 }),
            Bson::MaxKey,
        ];
        let keys: Vec<_> = ordered.iter().map(|id| key(id.clone())).collect();
        for (at, pair) in keys.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{:?} < {:?}: {:x?} {:x?}", ordered[at], ordered[at + 1], pair[0], pair[1]);
        }
    }

    #[test]
    fn what_mongodb_holds_for_equal_has_the_same_key() {
        let equal: [&[Bson]; 8] = [
            &[1.into(), 1_i64.into(), 1.0.into(), decimal("1"), decimal("1.00"), decimal("100E-2")],
            &[0.into(), 0_i64.into(), 0.0.into(), (-0.0).into(), decimal("0"), decimal("-0.00"), decimal("0E+6000")],
            &[f64::NAN.into(), (-f64::NAN).into(), decimal("NaN"), decimal("-NaN")],
            &[f64::INFINITY.into(), decimal("Infinity")],
            &[f64::NEG_INFINITY.into(), decimal("-Infinity")],
            &[(-2.5).into(), decimal("-2.5")],
            &["s".into(), Bson::Symbol("s".into())],
            &[doc! { "a": 1, "b": [2.0] }.into(), doc! { "a": 1.0, "b": [2] }.into()],
        ];
        for values in equal {
            let keys: Vec<_> = values.iter().map(|id| key(id.clone())).collect();
            assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{values:?} {keys:x?}");
        }
        assert_eq!(document_key(&doc! { "a": 1 }.to_vec().unwrap()), key(Bson::Null));
        assert_ne!(key(doc! { "a": 1, "b": 2 }), key(doc! { "b": 2, "a": 1 }));
        assert_ne!(key("1"), key(1));
    }

    #[test]
    fn damaged_documents_have_keys_too_and_no_two_the_same() {
        let whole = document(doc! { "a": [1, "x"], "b": { "c": 1.5 } });
        let mut keys = std::collections::BTreeSet::from([document_key(&whole)]);
        for cut in 0..whole.len() {
            assert!(keys.insert(document_key(&whole[..cut])), "{cut}");
        }
        let mut deep = doc! {};
        for _ in 0..400 {
            deep = doc! { "d": deep };
        }
        assert_eq!(key(deep)[0], bracket::DAMAGED);
    }

    #[test]
    fn ids_are_shown_as_people_know_them() {
        let id = ObjectId::from_bytes([0xab; 12]);
        for (value, text, json) in [
            (Bson::from(id), "abababababababababababab", r#"{"$oid":"abababababababababababab"}"#),
            ("a \"b\"".into(), "a \"b\"", r#""a \"b\"""#),
            (5.into(), "5", r#"{"$numberInt":"5"}"#),
            (1.5.into(), "1.5", r#"{"$numberDouble":"1.5"}"#),
            (decimal("1.10"), "1.10", r#"{"$numberDecimal":"1.10"}"#),
            (doc! { "a": true }.into(), r#"{"a":true}"#, r#"{"a":true}"#),
        ] {
            assert_eq!((document_id_text(&document(value.clone())), document_id_json(&document(value))), (text.into(), json.into()));
        }
        assert_eq!((document_id_text(b""), document_id_json(b"")), (String::new(), "null".into()));
    }

    #[test]
    fn keys_tell_the_value_of_the_usual_ids() {
        let usual: [Bson; 11] = [
            ObjectId::from_bytes([7; 12]).into(),
            "text \0 é".into(),
            "".into(),
            DateTime::from_millis(-5).into(),
            0.into(),
            (-120).into(),
            1_000_000.into(),
            i64::MAX.into(),
            i64::MIN.into(),
            decimal("12E+3"),
            7.0.into(),
        ];
        for id in usual {
            let expected = key(id.clone());
            assert_eq!(document_key(&document_of_key(&expected).unwrap()), expected, "{id}");
        }
        for id in [1.5.into(), decimal("1E+40"), f64::NAN.into(), true.into(), Bson::MinKey, doc! { "a": 1 }.into()] {
            assert_eq!(document_of_key(&key(id)), None);
        }
        assert_eq!(document_of_key(&[]), None);
    }

    fn any_number() -> impl Strategy<Value = Bson> {
        prop_oneof![
            any::<i32>().prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            (-1000_i64..1000).prop_map(Bson::Int64),
            any::<u64>().prop_map(|bits| Bson::Double(f64::from_bits(bits))),
            (-1000..1000).prop_map(|eighths| Bson::Double(f64::from(eighths) / 8.0)),
            (any::<i64>(), -400_i32..330).prop_map(|(digits, exponent)| decimal(&format!("{digits}E{exponent}"))),
            (-1000..1000_i32, 0..4_u32).prop_map(|(digits, places)| decimal(&format!("{digits}E-{places}"))),
        ]
    }

    /// Every number as a whole number of `10^-1100`, in decimal digits: exact, and slow.
    fn naive(number: &Bson) -> Option<(bool, String)> {
        let plain = match number {
            Bson::Int32(number) => number.to_string(),
            Bson::Int64(number) => number.to_string(),
            Bson::Double(number) if number.is_finite() => format!("{number:.1100}"),
            Bson::Decimal128(number) => {
                let text = number.to_string();
                let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap();
                let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
                let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
                let zeros = 1100 - fraction.len() as i32 + exponent;
                let digits = format!("{whole}{fraction}{}", "0".repeat(usize::try_from(zeros).ok()?));
                let digits = format!("{digits:0>1100}");
                let (whole, fraction) = digits.split_at(digits.len() - 1100);
                format!("{sign}{whole}.{fraction}")
            }
            _ => return None,
        };
        let (negative, plain) = plain.strip_prefix('-').map_or((false, plain.as_str()), |rest| (true, rest));
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let digits = format!("{whole}{fraction:0<1100}");
        let digits = digits.trim_start_matches('0').to_owned();
        Some((negative && !digits.is_empty(), format!("{digits:0>3000}")))
    }

    proptest! {
        #[test]
        fn numbers_of_all_types_order_by_their_exact_value(one in any_number(), two in any_number()) {
            let (Some((minus_one, first)), Some((minus_two, second))) = (naive(&one), naive(&two)) else { return Ok(()) };
            let expected = match (minus_one, minus_two) {
                (false, false) => first.cmp(&second),
                (true, true) => second.cmp(&first),
                (true, false) => std::cmp::Ordering::Less,
                (false, true) => std::cmp::Ordering::Greater,
            };
            prop_assert_eq!(key(one).cmp(&key(two)), expected);
        }

        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..200_usize, byte in any::<u8>()) {
            document_of_key(&bytes);
            document_key(&bytes);
            document_id_text(&bytes);
            bson_text(&bytes, &mut String::new());
            let length = (bytes.len() + 5) as u32;
            let mut framed = length.to_le_bytes().to_vec();
            framed.append(&mut bytes);
            framed.push(0);
            document_key(&framed);
            bson_text(&framed, &mut String::new());
            let mut good = document(doc! { "a": [1, "x", { "b": Bson::JavaScriptCode("c".into()) }], "d": decimal("1.5") });
            let place = at % good.len();
            good[place] = byte;
            document_key(&good);
            document_id_json(&good);
            bson_text(&good, &mut String::new());
        }

        #[test]
        fn objects_order_as_their_fields_do(one in any::<(i32, String)>(), two in any::<(i32, String)>()) {
            let object = |(number, text): &(i32, String)| Document::from_iter([("n".to_owned(), Bson::from(*number)), ("t".to_owned(), text.as_str().into())]);
            prop_assert_eq!(key(object(&one)).cmp(&key(object(&two))), one.cmp(&two));
        }
    }
}
