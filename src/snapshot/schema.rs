//! Everything of a database but its rows, at one moment.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A table's name, unquoted; `schema` is `None` where the engine has none (MySQL, MongoDB, SQLite).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableName {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub name: String,
}

impl TableName {
    pub fn new(schema: Option<&str>, name: &str) -> Self {
        Self { schema: schema.map(str::to_owned), name: name.to_owned() }
    }
}

/// `schema.name`, for people.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Tables and objects, each list sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    pub tables: Vec<Table>,
    /// Everything else, constraints and indexes of tables included.
    pub objects: Vec<Object>,
}

/// A table or collection whose rows are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    #[serde(flatten)]
    pub name: TableName,
    /// In their order in the table, generated ones included.
    pub columns: Vec<Column>,
    pub key: Key,
    /// The statement that makes the table alone, where the engine gives one (SQLite, MySQL); "" otherwise.
    #[serde(default)]
    pub definition: String,
    /// Such as `collation`, `engine`, `comment`, `partition by`, `validator`: what differs is a schema change.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Table {
    /// The columns that rows have values for, in order: a row's cells are theirs.
    pub fn stored(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.generated.is_none())
    }
}

/// One column. A MongoDB collection has one, `document`, which is its key too: by the `_id` in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    pub name: String,
    /// As the engine writes it, such as `numeric(10,2)`.
    #[serde(rename = "type")]
    pub type_name: String,
    pub class: Class,
    pub nullable: bool,
    /// As the engine writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The expression of a generated column: its values are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// Such as `collation`, `identity`, `comment`, `auto_increment`: what differs is a schema change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How the values of a column are written as bytes, and so how they are shown and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Decimal digits, `-` before a negative number, no leading zeros.
    Integer,
    /// Digits with a point, with every digit of its scale; `NaN`, `Infinity`, `-Infinity`.
    Decimal,
    /// The shortest text that reads back as the same IEEE number (of 4 or 8 bytes); `NaN`, `Infinity`, `-Infinity`, `-0`.
    Float,
    /// `t` or `f`.
    Boolean,
    /// UTF-8, as far as the database keeps it.
    Text,
    /// The bytes themselves.
    Bytes,
    /// Lower case with hyphens, 36 characters.
    Uuid,
    /// `YYYY-MM-DD`.
    Date,
    /// `HH:MM:SS[.fraction]`, with an offset where the type has one.
    Time,
    /// `YYYY-MM-DD HH:MM:SS[.fraction]` without a zone.
    Timestamp,
    /// The same with `+00` at its end: an instant, in UTC.
    Instant,
    /// JSON text as the database writes it.
    Json,
    /// One BSON document.
    Bson,
    /// SQLite: one byte `i`, `r`, `t` or `b` for the storage class; then digits, the shortest text of the number, text, or bytes.
    Any,
    /// The engine's own text of any other type.
    Other,
}

/// What names a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "by")]
pub enum Key {
    /// These stored columns together, never null: the primary key, or a unique index where there is none.
    Columns { columns: Vec<String> },
    /// Nothing but the whole row: rows are a multiset, each with how often it is there.
    Row,
}

/// Anything of the schema that is not a table or a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    pub kind: ObjectKind,
    /// The table it belongs to: of constraints, indexes, triggers, policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
    /// Its own name; a routine's with its argument types.
    #[serde(flatten)]
    pub name: TableName,
    /// The statement that makes it, or the part that says all of it (`PRIMARY KEY (id)`), as the engine writes it and the
    /// same every time it is asked.
    pub definition: String,
    /// What is beside the definition, such as a sequence's `value`: what differs is a schema change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Of a foreign key: the table it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<TableName>,
}

/// Kinds of objects, in the order in which a restore makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    Namespace,
    Extension,
    Type,
    Sequence,
    PrimaryKey,
    Unique,
    Check,
    Index,
    ForeignKey,
    Routine,
    View,
    Trigger,
    Event,
    Policy,
}

impl ObjectKind {
    /// As a person reads it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Namespace => "schema",
            Self::Extension => "extension",
            Self::Type => "type",
            Self::Sequence => "sequence",
            Self::PrimaryKey => "primary key",
            Self::Unique => "unique constraint",
            Self::Check => "check",
            Self::Index => "index",
            Self::ForeignKey => "foreign key",
            Self::Routine => "routine",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Event => "event",
            Self::Policy => "policy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_are_written_for_people() {
        assert_eq!(TableName::new(Some("public"), "users").to_string(), "public.users");
        assert_eq!(TableName::new(None, "users").to_string(), "users");
        use ObjectKind::*;
        let kinds =
            [Namespace, Extension, Type, Sequence, PrimaryKey, Unique, Check, Index, ForeignKey, Routine, View, Trigger, Event, Policy];
        let labels: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.label()).collect();
        assert_eq!(labels.len(), kinds.len());
        assert!(labels.iter().all(|label| label.chars().all(|c| c.is_ascii_lowercase() || c == ' ')) && kinds.is_sorted());
    }
}
