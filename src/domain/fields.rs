//! Setting fields: data that drives forms, API validation, documentation tables and the conformance tests.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What a field holds and how it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum FieldKind {
    /// One line of text; control characters are refused.
    Text,
    /// Text that is sealed in the catalogue and never returned.
    Secret,
    /// Lines of text that are sealed in the catalogue and never returned, such as a private key.
    SecretLines,
    /// Lines of text that may hold line breaks.
    Lines,
    Integer {
        min: i64,
        max: i64,
    },
    Bool,
    /// One of these values.
    Choice {
        of: &'static [&'static str],
    },
    /// A path on this machine.
    Path,
    /// A list of text; a form writes one per line.
    List,
}

/// One field of an engine, a store or a notifier.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub kind: FieldKind,
    pub required: bool,
    /// As a form would show it; `""` means none.
    pub default: &'static str,
    pub help: &'static str,
    /// It says where the secrets beside it are sent: they are not kept when it changes.
    pub binds_secrets: bool,
    /// Its choices stand in order of safety: secrets are kept when it moves to a later one.
    pub safer_later: bool,
    /// Heading that a form puts it under, away from the main fields; `""` means among these.
    pub section: &'static str,
    /// It is filled in by what was found at these other fields when it was first used (a host key): it is forgotten
    /// when one of them changes and it does not.
    pub learned_from: &'static [&'static str],
}

impl Field {
    pub const fn new(name: &'static str, label: &'static str, kind: FieldKind) -> Self {
        Self {
            name,
            label,
            kind,
            required: false,
            default: "",
            help: "",
            binds_secrets: false,
            safer_later: false,
            section: "",
            learned_from: &[],
        }
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub const fn binds_secrets(mut self) -> Self {
        self.binds_secrets = true;
        self
    }

    pub const fn safer_later(mut self) -> Self {
        self.safer_later = true;
        self
    }

    pub const fn section(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    pub const fn learned_from(mut self, fields: &'static [&'static str]) -> Self {
        self.learned_from = fields;
        self
    }

    pub fn is_secret(&self) -> bool {
        matches!(self.kind, FieldKind::Secret | FieldKind::SecretLines)
    }

    /// True unless the secrets beside it would go elsewhere, or less safely, after a change from `old` to `new`.
    pub fn keeps_secrets(&self, new: &Map<String, Value>, old: &Map<String, Value>) -> bool {
        !self.binds_secrets || self.is_same(new, old) || self.is_safer(new, old)
    }

    fn is_safer(&self, new: &Map<String, Value>, old: &Map<String, Value>) -> bool {
        let FieldKind::Choice { of } = self.kind else { return false };
        let place = |settings: &Map<String, Value>| {
            let value = self.read(settings.get(self.name)).ok()??;
            of.iter().position(|choice| value == *choice)
        };
        self.safer_later && matches!((place(new), place(old)), (Some(new), Some(old)) if new > old)
    }

    /// True when both settings say the same of this field, however they write it.
    pub fn is_same(&self, one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
        self.read(one.get(self.name)) == self.read(other.get(self.name))
    }

    /// The field's value from JSON or from a form's text, in its canonical JSON type; `None` when it is absent or blank.
    fn read(&self, value: Option<&Value>) -> Result<Option<Value>, String> {
        let value = match value {
            None | Some(Value::Null) if self.default.is_empty() => return Ok(None),
            None | Some(Value::Null) => &Value::String(self.default.to_owned()),
            Some(Value::String(text)) if text.is_empty() && !self.default.is_empty() => &Value::String(self.default.to_owned()),
            Some(value) => value,
        };
        let text = value.as_str();
        if text == Some("") {
            return Ok(None);
        }
        let wrong = |what: &str| Err(format!("must be {what}"));
        match self.kind {
            FieldKind::Text | FieldKind::Secret | FieldKind::Path => match text {
                Some(text) if text.chars().any(char::is_control) => wrong("one line without control characters"),
                Some(text) => Ok(Some(text.into())),
                None => wrong("text"),
            },
            FieldKind::Lines | FieldKind::SecretLines => text.map(|text| Some(text.into())).ok_or_else(|| "must be text".to_owned()),
            FieldKind::Integer { min, max } => match value.as_i64().or_else(|| text?.trim().parse().ok()) {
                Some(number) if (min..=max).contains(&number) => Ok(Some(number.into())),
                _ => wrong(&format!("a whole number from {min} to {max}")),
            },
            FieldKind::Bool => match (value.as_bool(), text) {
                (Some(on), _) => Ok(Some(on.into())),
                (None, Some("true" | "on" | "1" | "yes")) => Ok(Some(true.into())),
                (None, Some("false" | "off" | "0" | "no")) => Ok(Some(false.into())),
                _ => wrong("true or false"),
            },
            FieldKind::Choice { of } => match text {
                Some(text) if of.contains(&text) => Ok(Some(text.into())),
                _ => wrong(&format!("one of {}", of.join(", "))),
            },
            FieldKind::List => {
                let items: Vec<Value> = match value {
                    Value::Array(items) if items.iter().all(Value::is_string) => items.clone(),
                    Value::String(text) => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Value::from).collect(),
                    _ => return wrong("a list of text"),
                };
                let unfit = |item: &Value| item.as_str().is_none_or(|text| text.trim().is_empty() || text.contains('\0'));
                if items.iter().any(unfit) {
                    return wrong("a list of text, none of it blank or with a NUL character");
                }
                Ok((!items.is_empty()).then_some(Value::Array(items)))
            }
        }
    }
}

/// Two lists of fields as one; `C` is `A + B`.
pub const fn join<const A: usize, const B: usize, const C: usize>(first: [Field; A], second: [Field; B]) -> [Field; C] {
    assert!(A + B == C, "C is the length of both lists together");
    let mut all = [Field::new("", "", FieldKind::Text); C];
    let mut at = 0;
    while at < C {
        all[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    all
}

/// Checks settings against their fields and brings them into canonical form, with defaults filled in.
/// Every problem is reported at once, by field; keys that are no field are refused.
pub fn validate(fields: &[Field], settings: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut problems = Vec::new();
    let mut valid = Map::new();
    for field in fields {
        match field.read(settings.get(field.name)) {
            Ok(Some(value)) => {
                valid.insert(field.name.to_owned(), value);
            }
            Ok(None) if field.required => problems.push((field.name.to_owned(), "is required".to_owned())),
            Ok(None) => {}
            Err(problem) => problems.push((field.name.to_owned(), problem)),
        }
    }
    for key in settings.keys().filter(|key| fields.iter().all(|field| field.name != key.as_str())) {
        problems.push((key.clone(), "is not a known setting".to_owned()));
    }
    if problems.is_empty() { Ok(valid) } else { Err(Error::validation("some settings are not valid").fields(problems)) }
}

/// Typed reads of validated settings.
pub trait SettingsExt {
    fn text(&self, name: &str) -> Option<&str>;
    fn integer(&self, name: &str) -> Option<i64>;
    /// False when absent.
    fn flag(&self, name: &str) -> bool;
    /// Empty when absent.
    fn list(&self, name: &str) -> Vec<&str>;
}

impl SettingsExt for Map<String, Value> {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).and_then(Value::as_array).map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[Field] = &[
        Field::new("host", "Host", FieldKind::Text).required(),
        Field::new("port", "Port", FieldKind::Integer { min: 1, max: 65535 }).default("5432"),
        Field::new("clean", "Clean", FieldKind::Bool),
        Field::new("tables", "Tables", FieldKind::List),
    ];

    fn check(settings: Value, expect: Result<Value, Vec<&str>>) {
        match (validate(FIELDS, settings.as_object().unwrap()), expect) {
            (Ok(valid), Ok(expect)) => assert_eq!(Value::Object(valid), expect),
            (Err(error), Err(names)) => {
                assert_eq!(error.fields.iter().map(|field| field.0.as_str()).collect::<Vec<_>>(), names);
            }
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn settings_from_json_and_from_forms_end_in_the_same_form() {
        check(json!({"host": "db"}), Ok(json!({"host": "db", "port": 5432})));
        check(
            json!({"host": "db", "port": "6000", "clean": "on", "tables": "a\n b \n"}),
            Ok(json!({"host": "db", "port": 6000, "clean": true, "tables": ["a", "b"]})),
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        check(json!({"port": 0, "clean": 3, "tables": [1], "extra": 1}), Err(vec!["host", "port", "clean", "tables", "extra"]));
        check(json!({"host": "a\nlocal-infile=1"}), Err(vec!["host"]));
    }
}
