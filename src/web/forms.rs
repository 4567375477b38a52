//! Forms made from the setting fields of an engine or a store, and read back into settings.

use serde_json::{Map, Value};

use super::extract::Form;
use crate::{
    domain::fields::{Field, FieldKind},
    engines::network::fields::tls_meaning,
};

/// One field as a template draws it, see `parts/field.html`.
#[derive(Debug, Clone, Default)]
pub struct FormField {
    /// The form's name for it: a prefix and the field's own name.
    pub name: String,
    pub label: String,
    pub help: String,
    /// `text`, `password`, `number`, `check`, `select`, `lines` or `secret-lines`.
    pub control: &'static str,
    pub value: String,
    pub checked: bool,
    pub choices: Vec<String>,
    pub required: bool,
    /// May be left blank, and then there is no value.
    pub optional: bool,
    pub min: i64,
    pub max: i64,
    /// Says of a secret that is known where it comes from: leaving the field blank keeps it. Empty when none is known.
    pub kept: &'static str,
    /// Heading it stands under; empty among the main fields.
    pub section: &'static str,
    /// It has another value than a form that nobody touched.
    pub changed: bool,
    pub problem: Option<String>,
}

/// Draws `fields` with `values`. `stored` names the secrets that are set; `problems` are by the field's own name.
pub fn draw(prefix: &str, fields: &[Field], values: &Map<String, Value>, stored: &[&str], problems: &[(String, String)]) -> Vec<FormField> {
    fields.iter().map(|field| draw_one(prefix, field, values, stored, problems)).collect()
}

fn draw_one(prefix: &str, field: &Field, values: &Map<String, Value>, stored: &[&str], problems: &[(String, String)]) -> FormField {
    let value = match values.get(field.name) {
        Some(value) => form_text(value),
        None => field.default.to_owned(),
    };
    let stored = stored.contains(&field.name);
    let mut drawn = FormField {
        name: format!("{prefix}{}", field.name),
        label: field.label.to_owned(),
        help: field.help.to_owned(),
        // A stored secret need not be typed again.
        required: field.required && !stored,
        optional: !field.required && field.default.is_empty(),
        kept: if stored { "unchanged" } else { "" },
        section: field.section,
        changed: stored || (!field.is_secret() && !field.is_same(values, &Map::new())),
        problem: problems.iter().find(|problem| problem.0 == field.name).map(|problem| problem.1.clone()),
        control: "text",
        ..FormField::default()
    };
    match field.kind {
        FieldKind::Text | FieldKind::Path => drawn.value = value,
        FieldKind::Secret => drawn.control = "password",
        FieldKind::SecretLines => drawn.control = "secret-lines",
        FieldKind::Integer { min, max } => (drawn.control, drawn.value, drawn.min, drawn.max) = ("number", value, min, max),
        FieldKind::Bool => (drawn.control, drawn.checked) = ("check", value == "true"),
        FieldKind::Choice { of } => {
            drawn.control = "select";
            drawn.choices = of.iter().map(|&choice| choice.to_owned()).collect();
            drawn.value = value;
        }
        FieldKind::Lines | FieldKind::List => (drawn.control, drawn.value) = ("lines", value),
    }
    drawn
}

/// Fields under one heading, folded away until they matter.
pub struct Section {
    pub title: &'static str,
    /// What its first field says, which decides whether the others matter.
    pub state: String,
    pub open: bool,
    pub fields: Vec<FormField>,
}

/// The main fields, and the others by their headings in order.
pub fn by_section(fields: Vec<FormField>) -> (Vec<FormField>, Vec<Section>) {
    let (main, others): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.section.is_empty());
    let mut sections: Vec<Section> = Vec::new();
    for field in others {
        let open = field.changed || field.problem.is_some();
        match sections.iter_mut().find(|section| section.title == field.section) {
            Some(section) => {
                section.open |= open;
                section.fields.push(field);
            }
            None => {
                let state = match field.value.as_str() {
                    "" | "none" => "off".to_owned(),
                    mode if field.control == "select" && !tls_meaning(mode).is_empty() => format!("{mode}: {}", tls_meaning(mode)),
                    value => value.to_owned(),
                };
                sections.push(Section { title: field.section, state, open, fields: vec![field] });
            }
        }
    }
    (main, sections)
}

/// The settings that a form holds for these fields, not yet validated. A blank secret is left out: it stays as it is.
pub fn read(prefix: &str, fields: &[Field], form: &Form) -> Map<String, Value> {
    let mut settings = Map::new();
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        let value = match field.kind {
            FieldKind::Bool => Value::Bool(form.has(&name)),
            FieldKind::Secret | FieldKind::SecretLines if form.raw(&name).is_empty() => continue,
            FieldKind::Secret | FieldKind::SecretLines | FieldKind::Lines => form.raw(&name).replace("\r\n", "\n").into(),
            _ => form.text(&name).into(),
        };
        settings.insert(field.name.to_owned(), value);
    }
    settings
}

/// A setting's value as a form shows it: lists one per line.
fn form_text(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A setting's value as a page shows it.
pub fn setting_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fields::validate;

    const FIELDS: &[Field] = &[
        Field::new("host", "Host", FieldKind::Text).required().default("localhost"),
        Field::new("port", "Port", FieldKind::Integer { min: 1, max: 65535 }).default("5432"),
        Field::new("password", "Password", FieldKind::Secret).required(),
        Field::new("tls", "TLS", FieldKind::Bool).default("true"),
        Field::new("tables", "Tables", FieldKind::List),
    ];

    fn form(pairs: &[(&str, &str)]) -> Form {
        Form(pairs.iter().map(|(name, value)| (format!("settings.{name}"), (*value).to_owned())).collect())
    }

    #[test]
    fn what_a_form_sends_is_what_the_api_would_take() {
        let sent = form(&[("host", " db "), ("port", "6000"), ("password", " pw "), ("tables", "a\r\nb")]);
        let settings = validate(FIELDS, &read("settings.", FIELDS, &sent)).unwrap();
        assert_eq!(Value::Object(settings), json!({"host": "db", "port": 6000, "password": " pw ", "tls": false, "tables": ["a", "b"]}));
    }

    #[test]
    fn a_stored_secret_is_neither_shown_nor_asked_for_again() {
        let values = json!({"host": "db", "password": "must not be shown"});
        let drawn = draw("settings.", FIELDS, values.as_object().unwrap(), &["password"], &[("host".into(), "is odd".into())]);
        let password = drawn.iter().find(|field| field.name == "settings.password").unwrap();
        assert_eq!((password.value.as_str(), password.kept, password.required), ("", "unchanged", false));
        assert_eq!(drawn[0].problem.as_deref(), Some("is odd"));
        assert!(drawn[3].checked, "the default of a switch shows");
        assert!(!read("settings.", FIELDS, &form(&[("password", "")])).contains_key("password"));
    }
}
