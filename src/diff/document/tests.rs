//! Documents, their differences and the patches that close them.

use mongodb::bson::{Bson, DateTime, Decimal128, Document, doc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn told(before: &str, after: &str) -> Vec<String> {
    show(&json_paths(before.as_bytes(), after.as_bytes()).unwrap())
}

fn show(paths: &[PathChange]) -> Vec<String> {
    let none = String::new;
    paths
        .iter()
        .map(|path| {
            let order = if path.order { " order" } else { "" };
            let (before, after) = (path.before.clone().unwrap_or_else(none), path.after.clone().unwrap_or_else(none));
            format!("{} {}{order} {before} > {after}", path.change.sign(), path.path)
        })
        .collect()
}

fn bson_told(before: &Document, after: &Document) -> Vec<String> {
    show(&bson_paths(&before.to_vec().unwrap(), &after.to_vec().unwrap()).unwrap())
}

#[test]
fn json_differs_by_its_values_and_not_by_its_text() {
    for (before, after) in [
        (r#"{"a": 1, "b": [1.0, 1e2]}"#, r#"{"b":[1,100.00],"a":1.000}"#),
        (r#""\u0041""#, r#""A""#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ("-0", "0.0"),
        ("100000000000000000000000000001", "1.00000000000000000000000000001e29"),
    ] {
        assert!(json_equal(before.as_bytes(), after.as_bytes()), "{before} {after}");
    }
    for (before, after) in [
        ("1", "\"1\""),
        ("null", "\"null\""),
        ("9007199254740993", "9007199254740992"),
        ("[1,2]", "[2,1]"),
        (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
        ("{}", "[]"),
        ("1e99999999999999999999", "1e99999999999999999998"),
    ] {
        assert!(!json_equal(before.as_bytes(), after.as_bytes()), "{before} {after}");
    }
    assert!(json_paths(b"{", b"{}").is_none() && json_paths(b"\xff", b"1").is_none() && !json_equal(b"x", b"y") && json_equal(b"x", b"x"));
}

#[test]
fn paths_name_what_differs() {
    assert_eq!(
        told(r#"{"a/b~c": {"x": 1, "y": 2}, "gone": [1]}"#, r#"{"a/b~c": {"x": 3, "y": 2}, "new": "n"}"#),
        ["~ /a~1b~0c/x 1 > 3", "− /gone [1] > ", "+ /new  > \"n\""]
    );
    assert_eq!(told("1", "2"), ["~  1 > 2"]);
    assert_eq!(told(r#"{"": {"": 1}}"#, r#"{"": {"": 2}}"#), ["~ // 1 > 2"]);
    assert_eq!(told(r#"{"a": 1, "b": 2}"#, r#"{"b": 2, "a": 1}"#), [r#"~  order ["a","b"] > ["b","a"]"#]);
    assert_eq!(told(r#"{"o": {"a": 1, "b": 2}}"#, r#"{"o": {"b": 3, "a": 1}}"#).len(), 2);
}

#[test]
fn one_element_that_comes_or_goes_is_one_path() {
    assert_eq!(told("[1,2,3,4]", "[1,9,2,3,4]"), ["+ /1  > 9"]);
    assert_eq!(told("[1,2,3,4]", "[2,3,4]"), ["− /0 1 > "]);
    assert_eq!(told(r#"[{"n":1},{"n":2},{"n":3}]"#, r#"[{"n":1},{"n":5},{"n":3.0},{"n":4}]"#), ["+ /3  > {\"n\":4}", "~ /1/n 2 > 5"]);
    let long = |skip: usize| serde_json::to_string(&(0..3000).filter(|n| *n != skip).collect::<Vec<_>>()).unwrap();
    assert_eq!(told(&long(9999), &long(1500)), ["− /1500 1500 > "]);
}

#[test]
fn bson_tells_types_exponents_and_order_apart() {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    assert_eq!(bson_told(&doc! { "n": 1 }, &doc! { "n": 1_i64 }), ["~ /n 1 (int32) > 1 (int64)"]);
    assert_eq!(bson_told(&doc! { "n": "1" }, &doc! { "n": 1.0 }), ["~ /n \"1\" (string) > 1.0 (double)"]);
    assert_eq!(bson_told(&doc! { "n": decimal("1.1") }, &doc! { "n": decimal("1.10") }), ["~ /n 1.1 > 1.10"]);
    assert_eq!(bson_told(&doc! { "n": f64::NAN, "z": 0.0 }, &doc! { "n": -f64::NAN, "z": -0.0 }), [""; 0]);
    assert_eq!(
        bson_told(&doc! { "n": decimal("NaN"), "z": decimal("0.0") }, &doc! { "n": decimal("-NaN"), "z": decimal("-0.0") }),
        [""; 0]
    );
    assert_eq!(
        bson_told(&doc! { "a": 1, "b": { "c": 1, "d": 2 } }, &doc! { "a": 1, "b": { "d": 2, "c": 1 } }),
        [r#"~ /b order ["c","d"] > ["d","c"]"#]
    );
    let (before, after) = (doc! { "a": 1, "b": 2 }.to_vec().unwrap(), doc! { "b": 2, "a": 1 }.to_vec().unwrap());
    assert!(bson_equal_but_for_order(&before, &after).unwrap());
    assert!(!bson_equal_but_for_order(&before, &doc! { "b": 2, "a": 1_i64 }.to_vec().unwrap()).unwrap());
    assert_eq!(
        bson_told(&doc! { "d": DateTime::from_millis(0), "l": ["a", "b"] }, &doc! { "d": DateTime::from_millis(1), "l": ["b"] }),
        [r#"~ /d {"$date":{"$numberLong":"0"}} > {"$date":{"$numberLong":"1"}}"#, "− /l/0 \"a\" > "]
    );
    assert!(bson_paths(b"", &before).is_err());
}

#[test]
fn fields_of_a_document_are_told_by_name() {
    let fields = |before: Option<Document>, after: Option<Document>| {
        let bytes = |document: Option<Document>| document.map(|document| document.to_vec().unwrap());
        let told = top_level_fields(bytes(before).as_deref(), bytes(after).as_deref());
        told.iter().map(|(name, changed)| format!("{name}{}", if *changed { "!" } else { "" })).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fields(Some(doc! { "_id": 1, "a": 1, "b": 2 }), Some(doc! { "_id": 1, "b": 3, "c": 4 })), "_id a! b! c!");
    assert_eq!(fields(Some(doc! { "a": 1, "b": f64::NAN }), Some(doc! { "b": -f64::NAN, "a": 1 })), "a b (field order)!");
    assert_eq!(fields(None, Some(doc! { "a": 1 })), "a!");
    assert_eq!(fields(Some(doc! { "o": { "x": 1, "y": 2 } }), Some(doc! { "o": { "y": 2, "x": 1 } })), "o!");
    assert!(top_level_fields(Some(b"x"), None).is_empty());
}

#[test]
fn output_is_bounded_whatever_the_documents_hold() {
    let big = |seed: usize| {
        serde_json::to_string(&(0..20_000).map(|n| (format!("k{n}"), json!(n * seed))).collect::<serde_json::Map<_, _>>()).unwrap()
    };
    let paths = json_paths(big(1).as_bytes(), big(2).as_bytes()).unwrap();
    assert_eq!((paths.len(), paths[PATHS].after.as_deref()), (PATHS + 1, Some("… and 18999 more changes")));
    let operations: Vec<Value> = serde_json::from_str(&json_operations(big(1).as_bytes(), big(2).as_bytes()).unwrap()).unwrap();
    assert_eq!((operations.len(), operations[0]["path"].as_str()), (1, Some("")));
    let text = |letter: &str| serde_json::to_string(&letter.repeat(1_000_000)).unwrap();
    assert!(told(&text("é"), &text("f"))[0].len() < 3 * TEXT);
    // Deeper than it is gone into, and deeper than a parser with recursion survives.
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
    let paths = json_paths(deep("1").as_bytes(), deep("2").as_bytes()).unwrap();
    assert!(paths.len() == 1 && (100..=256).contains(&paths[0].path.len()));
}

/// Applies a patch the plain way.
fn apply(mut document: Value, operations: &str) -> Value {
    let operations: Vec<Value> = serde_json::from_str(operations).unwrap();
    for operation in operations {
        let (path, value) = (operation["path"].as_str().unwrap(), operation.get("value").cloned());
        let Some((parent, name)) = path.rsplit_once('/') else {
            document = value.unwrap();
            continue;
        };
        let name = name.replace("~1", "/").replace("~0", "~");
        match (document.pointer_mut(parent).unwrap(), operation["op"].as_str().unwrap()) {
            (Value::Object(object), "remove") => assert!(object.remove(&name).is_some()),
            (Value::Object(object), _) => drop(object.insert(name, value.unwrap())),
            (Value::Array(items), "remove") => drop(items.remove(name.parse().unwrap())),
            (Value::Array(items), "add") => items.insert(name.parse().unwrap(), value.unwrap()),
            (Value::Array(items), _) => items[name.parse::<usize>().unwrap()] = value.unwrap(),
            _ => panic!("{path}"),
        }
    }
    document
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        "[a~/\"\\\\é]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[ab~/]{0,2}", inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    let leaf =
        prop_oneof![Just(Bson::Null), (0..3).prop_map(Bson::Int32), (0..3_i64).prop_map(Bson::Int64), "[ab]{0,1}".prop_map(Bson::from)];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Bson::from),
            prop::collection::vec(("[ab/]", inner), 0..4).prop_map(|fields| Bson::Document(fields.into_iter().collect())),
        ]
    });
    prop::collection::vec(("[abc]", value), 0..4).prop_map(|fields| fields.into_iter().collect())
}

fn text(document: &Document) -> String {
    let mut out = String::new();
    crate::snapshot::bson_text(&document.to_vec().unwrap(), &mut out);
    out
}

proptest! {
    #[test]
    fn a_patch_makes_one_json_value_the_other(before in any_json(), after in any_json()) {
        let (old, new) = (before.to_string(), after.to_string());
        let operations = json_operations(old.as_bytes(), new.as_bytes()).unwrap();
        prop_assert_eq!(apply(before.clone(), &operations), after.clone(), "{}", operations);
        prop_assert_eq!(json_equal(old.as_bytes(), new.as_bytes()), before == after);
        prop_assert_eq!(json_paths(old.as_bytes(), new.as_bytes()).unwrap().is_empty(), before == after);
        prop_assert!(json_paths(old.as_bytes(), old.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn a_patch_makes_one_document_the_other(before in any_document(), after in any_document()) {
        let (old, new) = (before.to_vec().unwrap(), after.to_vec().unwrap());
        let operations = bson_operations(&old, &new).unwrap();
        let value = |document: &Document| serde_json::from_str::<Value>(&text(document)).unwrap();
        prop_assert_eq!(apply(value(&before), &operations), value(&after), "{}", operations);
        prop_assert_eq!(bson_paths(&old, &new).unwrap().is_empty(), old == new);
        let changed = top_level_fields(Some(&old), Some(&new)).iter().any(|(_, changed)| *changed);
        prop_assert_eq!(changed, old != new);
    }

    #[test]
    fn hostile_documents_never_panic(at in any::<usize>(), byte in any::<u8>(), document in any_document(), other in any_document()) {
        let (mut bytes, other) = (document.to_vec().unwrap(), other.to_vec().unwrap());
        let place = at % bytes.len();
        bytes[place] = byte;
        let _ = bson_paths(&bytes, &other);
        let _ = bson_operations(&other, &bytes);
        top_level_fields(Some(&bytes), Some(&other));
        let mut json = text(&document).into_bytes();
        let place = at % json.len();
        json[place] = byte;
        let _ = json_paths(&json, b"{}");
        let _ = json_operations(&json, text(&document).as_bytes());
    }
}
