//! Makes what a schema has and a database has not, in whatever order its parts need each other.

use std::collections::BTreeSet;

use super::{
    catalog::quoted,
    connect::{failed, ident, literal},
    session::Session,
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
    snapshot::{Column, Object, ObjectKind, Schema, Table, TableName},
};

/// What is wanted, what was there at first and what is there now.
pub struct Making<'a> {
    pub session: &'a Session,
    pub wanted: &'a Schema,
    pub first: &'a Schema,
    pub present: &'a Schema,
    pub run: &'a Run,
}

/// One statement and what it is for.
struct Task {
    what: String,
    sql: String,
    /// Without it no rows can be written.
    needed: bool,
}

impl Making<'_> {
    /// Schemas, extensions, types, routines, sequences and tables. Errors when a table cannot be made.
    pub async fn before_rows(&self) -> Result<Vec<String>> {
        use ObjectKind::{Extension, Namespace, Routine, Sequence, Type};
        let mut tasks = Vec::new();
        for object in self.missing(&[Namespace, Extension, Type, Sequence, Routine]) {
            // An identity's sequence comes with its column.
            if !object.options.contains_key("identity of") {
                tasks.push(Task { what: label(object), sql: object.definition.clone(), needed: object.kind == Namespace });
            }
        }
        for table in &self.wanted.tables {
            self.table(table, &mut tasks)?;
        }
        for object in self.missing(&[Sequence]) {
            if let Some(owner) = object.options.get("owned by") {
                let sql = format!("ALTER SEQUENCE {} OWNED BY {owner}", quoted(&object.name));
                tasks.push(Task { what: format!("the owner of {}", label(object)), sql, needed: false });
            }
        }
        let left = self.all(tasks).await?;
        let (needed, left): (Vec<_>, Vec<_>) = left.into_iter().partition(|(task, _)| task.needed);
        if let Some((task, error)) = needed.into_iter().next() {
            return Err(error.while_doing(format!("making {}", task.what)));
        }
        // What tables did not need is tried again after the rows.
        Ok(left.into_iter().filter(|(task, _)| !task.what.starts_with("routine")).map(told).collect())
    }

    /// Keys, constraints, indexes, views, triggers and the like, and the values of sequences.
    pub async fn after_rows(&self) -> Result<Vec<String>> {
        use ObjectKind::{Check, Event, ForeignKey, Index, Policy, PrimaryKey, Routine, Trigger, Unique, View};
        let mut tasks = Vec::new();
        for object in self.missing(&[PrimaryKey, Unique, Check, Index, Routine, View, ForeignKey, Trigger, Event, Policy]) {
            tasks.extend(statement(object).map(|sql| Task { what: label(object), sql, needed: false }));
            tasks.extend(state(object).map(|sql| Task { what: format!("the state of {}", label(object)), sql, needed: false }));
        }
        for object in self.new_objects() {
            tasks.extend(comment(object).map(|sql| Task { what: format!("the comment on {}", label(object)), sql, needed: false }));
            if let (ObjectKind::Sequence, Some(value)) = (object.kind, object.options.get("value")) {
                let called = object.options.get("called").is_none_or(|called| called == "true");
                let value: i64 = value.parse().map_err(|_| Error::validation(format!("{} has the value '{value}'", label(object))))?;
                let sql = format!("SELECT setval({}, {value}, {called})", literal(&quoted(&object.name)));
                tasks.push(Task { what: format!("the value of {}", label(object)), sql, needed: false });
            }
        }
        for table in self.wanted.tables.iter().filter(|table| !has_table(self.first, &table.name)) {
            tasks.extend(properties(table));
        }
        Ok(self.all(tasks).await?.into_iter().map(told).collect())
    }

    /// Objects that are wanted and are not there, in the order of these kinds.
    fn missing(&self, kinds: &[ObjectKind]) -> Vec<&Object> {
        let there: BTreeSet<_> = self.present.objects.iter().map(|object| (object.kind, &object.table, &object.name)).collect();
        let missing = |object: &&Object| !there.contains(&(object.kind, &object.table, &object.name));
        kinds.iter().flat_map(|kind| self.wanted.objects.iter().filter(|object| object.kind == *kind).filter(missing)).collect()
    }

    /// Objects that were not there at first.
    fn new_objects(&self) -> impl Iterator<Item = &Object> {
        let there: BTreeSet<_> = self.first.objects.iter().map(|object| (object.kind, &object.table, &object.name)).collect();
        self.wanted.objects.iter().filter(move |object| !there.contains(&(object.kind, &object.table, &object.name)))
    }

    /// Tries the statements until no more of them succeed: what needs another waits for it. Returns those that failed.
    async fn all(&self, mut tasks: Vec<Task>) -> Result<Vec<(Task, Error)>> {
        loop {
            let before = tasks.len();
            let mut left = Vec::new();
            for task in tasks {
                self.run.check()?;
                match self.session.batch_execute(&format!("SAVEPOINT made;\n{};\nRELEASE SAVEPOINT made", task.sql)).await {
                    Ok(()) => {}
                    Err(cause) if cause.as_db_error().is_some() => {
                        let back = self.session.batch_execute("ROLLBACK TO SAVEPOINT made; RELEASE SAVEPOINT made").await;
                        back.map_err(|cause| failed("going on after a statement that failed", &cause))?;
                        left.push((task, failed("the server refused it", &cause)));
                    }
                    Err(cause) => return Err(failed(format!("making {}", task.what), &cause)),
                }
            }
            if left.is_empty() || left.len() == before {
                return Ok(left);
            }
            tasks = left.into_iter().map(|(task, _)| task).collect();
        }
    }

    fn table(&self, table: &Table, tasks: &mut Vec<Task>) -> Result<()> {
        let there = self.present.tables.iter().find(|other| other.name == table.name);
        let name = quoted(&table.name);
        let what = format!("table {}", table.name);
        if there.is_none() {
            let columns = table.columns.iter().map(|column| self.column(table, column)).collect::<Vec<_>>();
            let option = |key: &str| table.options.get(key).map(String::as_str);
            let mut sql = format!(
                "CREATE {}TABLE {name} ({})",
                if option("persistence") == Some("unlogged") { "UNLOGGED " } else { "" },
                columns.join(", ")
            );
            for (key, before, after) in [("inherits", " INHERITS (", ")"), ("partition by", " PARTITION BY ", ""), ("with", " WITH (", ")")]
            {
                if let Some(value) = option(key) {
                    sql.push_str(&format!("{before}{value}{after}"));
                }
            }
            tasks.push(Task { what: what.clone(), sql, needed: true });
        }
        for (key, value) in &table.options {
            let Some(part) = key.strip_prefix("partition ").filter(|part| *part != "by") else { continue };
            if there.is_none_or(|there| !there.options.contains_key(key)) {
                let sql = format!("CREATE TABLE {part} PARTITION {value}");
                tasks.push(Task { what: format!("partition {part} of {}", table.name), sql, needed: true });
            }
        }
        Ok(())
    }

    fn column(&self, table: &Table, column: &Column) -> String {
        let mut sql = format!("{} {}", ident(&column.name), column.type_name);
        let option = |key: &str| column.options.get(key);
        if let Some(collation) = option("collation") {
            sql.push_str(&format!(" COLLATE {collation}"));
        }
        if let Some(identity) = option("identity") {
            sql.push_str(&format!(" GENERATED {identity} AS IDENTITY{}", self.identity(table, column)));
        } else if let Some(expression) = &column.generated {
            let kind = if option("generated").is_some() { "VIRTUAL" } else { "STORED" };
            sql.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {kind}"));
        } else if let Some(default) = &column.default {
            sql.push_str(&format!(" DEFAULT {default}"));
        }
        if !column.nullable {
            sql.push_str(" NOT NULL");
        }
        sql
    }

    /// The name and options of an identity's sequence.
    fn identity(&self, table: &Table, column: &Column) -> String {
        let sequence = self.wanted.objects.iter().filter(|object| object.kind == ObjectKind::Sequence).find(|object| {
            object.table.as_ref() == Some(&table.name)
                && object.options.get("identity of").is_some_and(|of| *of == named(&table.name, &column.name))
        });
        let Some(sequence) = sequence else { return String::new() };
        let options = sequence.definition.split_once(" START WITH ").map(|(_, rest)| format!(" START WITH {rest}")).unwrap_or_default();
        format!(" (SEQUENCE NAME {}{options})", quoted(&sequence.name))
    }
}

/// A column as the server's own quoting writes it: with quotes only where they are needed.
fn named(table: &TableName, column: &str) -> String {
    let plain = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let quote = |name: &str| if plain(name) { name.to_owned() } else { ident(name) };
    [table.schema.as_deref().unwrap_or_default(), &table.name, column].map(quote).join(".")
}

fn has_table(schema: &Schema, name: &TableName) -> bool {
    schema.tables.iter().any(|table| table.name == *name)
}

fn label(object: &Object) -> String {
    match &object.table {
        Some(table) => format!("{} {} of {table}", object.kind.label(), object.name),
        None => format!("{} {}", object.kind.label(), object.name),
    }
}

fn told((task, error): (Task, Error)) -> String {
    format!("{} was not made: {error}", task.what)
}

/// The table that the object is really on: a partition may have its own.
fn on(object: &Object) -> Option<String> {
    object.options.get("partition").cloned().or_else(|| object.table.as_ref().map(quoted))
}

fn statement(object: &Object) -> Option<String> {
    Some(match object.kind {
        ObjectKind::PrimaryKey | ObjectKind::Unique | ObjectKind::Check | ObjectKind::ForeignKey => {
            format!("ALTER TABLE {} ADD CONSTRAINT {} {}", on(object)?, ident(&object.name.name), object.definition)
        }
        _ => object.definition.clone(),
    })
}

/// Triggers and rules that do not simply fire.
fn state(object: &Object) -> Option<String> {
    let kind = if object.definition.starts_with("CREATE RULE") { "RULE" } else { "TRIGGER" };
    let name = ident(&object.name.name);
    let (word, way) = match object.options.get("enabled")?.as_str() {
        "no" => ("DISABLE", ""),
        "replica" => ("ENABLE", "REPLICA "),
        _ => ("ENABLE", "ALWAYS "),
    };
    Some(match object.kind {
        ObjectKind::Event => format!("ALTER EVENT TRIGGER {name} {word} {}", way.trim()),
        _ => format!("ALTER TABLE {} {word} {way}{kind} {name}", on(object)?),
    })
}

fn comment(object: &Object) -> Option<String> {
    let text = literal(object.options.get("comment")?);
    let (full, name) = (quoted(&object.name), ident(&object.name.name));
    let definition = object.definition.as_str();
    let on_table = || on(object).map(|table| format!("{name} ON {table}"));
    let what = match object.kind {
        ObjectKind::Namespace => format!("SCHEMA {name}"),
        ObjectKind::Extension => format!("EXTENSION {name}"),
        ObjectKind::Type if definition.starts_with("CREATE COLLATION") => format!("COLLATION {full}"),
        ObjectKind::Type if definition.starts_with("CREATE DOMAIN") => format!("DOMAIN {full}"),
        ObjectKind::Type => format!("TYPE {full}"),
        ObjectKind::Sequence => format!("SEQUENCE {full}"),
        ObjectKind::PrimaryKey | ObjectKind::Unique | ObjectKind::Check | ObjectKind::ForeignKey => format!("CONSTRAINT {}", on_table()?),
        ObjectKind::Index if definition.starts_with("CREATE STATISTICS") => format!("STATISTICS {full}"),
        ObjectKind::Index => format!("INDEX {full}"),
        ObjectKind::Routine => {
            let (routine, arguments) = object.name.name.split_once('(')?;
            format!("ROUTINE {}({arguments}", quoted(&TableName { schema: object.name.schema.clone(), name: routine.to_owned() }))
        }
        ObjectKind::View if definition.starts_with("CREATE MATERIALIZED") => format!("MATERIALIZED VIEW {full}"),
        ObjectKind::View => format!("VIEW {full}"),
        ObjectKind::Trigger if definition.starts_with("CREATE RULE") => format!("RULE {}", on_table()?),
        ObjectKind::Trigger => format!("TRIGGER {}", on_table()?),
        ObjectKind::Event => format!("EVENT TRIGGER {name}"),
        ObjectKind::Policy => format!("POLICY {}", on_table()?),
    };
    Some(format!("COMMENT ON {what} IS {text}"))
}

/// What is beside a table's definition.
fn properties(table: &Table) -> Vec<Task> {
    let name = quoted(&table.name);
    let mut statements = Vec::new();
    if let Some(comment) = table.options.get("comment") {
        statements.push(format!("COMMENT ON TABLE {name} IS {}", literal(comment)));
    }
    for column in &table.columns {
        if let Some(comment) = column.options.get("comment") {
            statements.push(format!("COMMENT ON COLUMN {name}.{} IS {}", ident(&column.name), literal(comment)));
        }
        if let Some(storage) = column.options.get("storage") {
            statements.push(format!("ALTER TABLE {name} ALTER COLUMN {} SET STORAGE {storage}", ident(&column.name)));
        }
    }
    let security = table.options.get("row security").map(String::as_str).unwrap_or_default();
    if ["enabled", "forced"].contains(&security) {
        statements.push(format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"));
    }
    if security.starts_with("forced") {
        statements.push(format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY"));
    }
    let what = || format!("a property of table {}", table.name);
    statements.into_iter().map(|sql| Task { what: what(), sql, needed: false }).collect()
}

/// The error of a step after one that failed.
pub fn spoiled(target: impl std::fmt::Display) -> Error {
    Error::new(Kind::Restore, format!("an earlier step on {target} has failed: nothing is changed"))
}
