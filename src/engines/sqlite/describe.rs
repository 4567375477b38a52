//! The schema of a database as snapshots keep it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    ask, definition, quote,
    schema::{self, same},
};
use crate::snapshot::{Class, Column, Key, Object, ObjectKind, Schema, Table, TableName};

/// The object that stands for the database itself and has its settings.
pub(super) const DATABASE: &str = "main";

/// Settings that applications keep in the file, and the encoding of text, which is fixed when the file is made.
pub(super) const SETTINGS: &[&str] = &["application_id", "user_version", "encoding"];

/// Everything of the main database but its rows.
pub(super) fn describe(connection: &Connection) -> rusqlite::Result<Schema> {
    let tables = schema::tables(connection, "main")?;
    let statements = schema::objects(connection, "main")?;
    let mut schema = Schema::default();
    for table in tables.iter().filter(|table| !table.is_virtual()) {
        let own = statements.iter().find(|object| object.kind == "table" && object.name == table.name);
        let definition = own.map(|object| object.sql.trim().to_owned()).unwrap_or_default();
        let described = Describing { connection, table, tables: &tables, definition }.all(&mut schema.objects)?;
        schema.tables.push(described);
    }
    for object in statements {
        let is_virtual = || tables.iter().any(|table| table.is_virtual() && table.name == object.name);
        let (kind, belongs) = match object.kind.as_str() {
            "index" => (ObjectKind::Index, true),
            "trigger" => (ObjectKind::Trigger, true),
            "view" => (ObjectKind::View, false),
            // It has no rows of its own: they are in its shadow tables, which are tables like any other.
            _ if is_virtual() => (ObjectKind::View, false),
            _ => continue,
        };
        let table = belongs.then_some(object.table.as_str());
        schema.objects.push(plain(kind, table, &object.name, object.sql.trim().to_owned()));
    }
    let mut database = plain(ObjectKind::Namespace, None, DATABASE, String::new());
    for setting in SETTINGS {
        let value = connection.query_row(&format!("PRAGMA main.{setting}"), [], text)?;
        database.options.insert((*setting).to_owned(), value);
    }
    schema.objects.push(database);
    schema.tables.sort_by(|a, b| a.name.cmp(&b.name));
    schema.objects.sort_by(|a, b| (&a.name, a.kind, &a.table).cmp(&(&b.name, b.kind, &b.table)));
    Ok(schema)
}

/// A pragma's answer, a number or text.
fn text(row: &Row<'_>) -> rusqlite::Result<String> {
    use rusqlite::types::ValueRef;

    Ok(match row.get_ref(0)? {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    })
}

fn plain(kind: ObjectKind, table: Option<&str>, name: &str, definition: String) -> Object {
    Object {
        kind,
        table: table.map(|table| TableName::new(None, table)),
        name: TableName::new(None, name),
        definition,
        options: BTreeMap::new(),
        references: None,
    }
}

struct Describing<'a> {
    connection: &'a Connection,
    table: &'a schema::Table,
    tables: &'a [schema::Table],
    definition: String,
}

/// A column as `table_xinfo` tells it.
struct Told {
    column: Column,
    /// Its place in the primary key, from 1; 0 where it is not part of it.
    key: i64,
}

/// An index that has no statement of its own, or one.
struct Unique {
    name: String,
    /// `c` by a statement, `u` by a constraint, `pk`.
    origin: String,
    partial: bool,
    /// `None` for an expression.
    columns: Vec<Option<String>>,
}

impl Describing<'_> {
    fn all(self, objects: &mut Vec<Object>) -> rusqlite::Result<Table> {
        let told = self.columns()?;
        let uniques = self.uniques()?;
        let mut key: Vec<&Told> = told.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        let primary: Vec<String> = key.iter().map(|column| column.column.name.clone()).collect();
        // Any other primary key has an index of its own, or is the table itself.
        let rowid_alias = self.table.has_rowid && primary.len() == 1 && uniques.iter().all(|index| index.origin != "pk");
        let key = self.key(&told, &uniques, &primary, rowid_alias)?;
        let mut columns: Vec<Column> = told.into_iter().map(|told| told.column).collect();
        if rowid_alias && let Some(column) = columns.iter_mut().find(|column| column.name == primary[0]) {
            column.class = Class::Integer;
            column.nullable = false;
        }
        let own = Some(self.table.name.as_str());
        if !primary.is_empty() {
            objects.push(plain(ObjectKind::PrimaryKey, own, &self.table.name, format!("PRIMARY KEY ({})", quoted(&primary))));
        }
        for index in uniques.iter().filter(|index| index.origin == "u") {
            let names: Vec<String> = index.columns.iter().flatten().cloned().collect();
            let name = self.free_name(objects, ObjectKind::Unique, &names);
            objects.push(plain(ObjectKind::Unique, own, &name, format!("UNIQUE ({})", quoted(&names))));
        }
        self.foreign_keys(objects)?;
        if let Some(value) = schema::sequence(self.connection, "main", &self.table.name)? {
            let mut sequence = plain(ObjectKind::Sequence, own, &self.table.name, "AUTOINCREMENT".to_owned());
            sequence.options.insert("value".to_owned(), value.to_string());
            objects.push(sequence);
        }
        let mut options = BTreeMap::new();
        for (name, on) in [("strict", self.table.is_strict), ("without rowid", !self.table.has_rowid)] {
            if on {
                options.insert(name.to_owned(), "yes".to_owned());
            }
        }
        Ok(Table { name: TableName::new(None, &self.table.name), columns, key, definition: self.definition, options })
    }

    fn columns(&self) -> rusqlite::Result<Vec<Told>> {
        let mut statement = self.connection.prepare(
            r#"SELECT name, type, "notnull", dflt_value, hidden, pk FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 ORDER BY cid"#,
        )?;
        let mut rows = statement.query([&self.table.name])?;
        let mut columns = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, hidden, key): (String, i64, i64) = (row.get(0)?, row.get(4)?, row.get(5)?);
            // Known to be generated, whether its expression was found or not.
            let generated = (hidden > 1).then(|| definition::generated(&self.definition, &name).unwrap_or_default());
            let mut options = BTreeMap::new();
            if hidden > 1 {
                options.insert("generated".to_owned(), if hidden == 2 { "virtual" } else { "stored" }.to_owned());
            }
            let (_, collation, _, _, autoincrement) =
                self.connection.column_metadata(Some("main"), self.table.name.as_str(), name.as_str())?;
            let collation = collation.map(|name| name.to_string_lossy().into_owned()).filter(|name| !same(name, "BINARY"));
            options.extend(collation.map(|name| ("collation".to_owned(), name)));
            if autoincrement {
                options.insert("autoincrement".to_owned(), "yes".to_owned());
            }
            let not_null: bool = row.get(2)?;
            let column = Column {
                nullable: !not_null && (self.table.has_rowid || key == 0),
                name,
                type_name: row.get(1)?,
                class: Class::Any,
                default: row.get(3)?,
                generated,
                options,
            };
            columns.push(Told { column, key });
        }
        Ok(columns)
    }

    fn uniques(&self) -> rusqlite::Result<Vec<Unique>> {
        let mut list =
            self.connection.prepare(r#"SELECT name, origin, partial FROM pragma_index_list(?1, 'main') WHERE "unique" ORDER BY name"#)?;
        let mut columns = self.connection.prepare("SELECT name FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno")?;
        let mut rows = list.query([&self.table.name])?;
        let mut uniques = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let columns = columns.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            uniques.push(Unique { name, origin: row.get(1)?, partial: row.get(2)?, columns });
        }
        Ok(uniques)
    }

    /// What names a row: never anything that can be null.
    fn key(&self, told: &[Told], uniques: &[Unique], primary: &[String], rowid_alias: bool) -> rusqlite::Result<Key> {
        let columns = |columns: Vec<String>| Key::Columns { columns };
        if !primary.is_empty() {
            let nullable = |name: &String| told.iter().any(|told| told.column.name == *name && told.column.nullable);
            let doubtful: Vec<&String> = primary.iter().filter(|name| nullable(name)).collect();
            // SQLite lets nulls into such a primary key, for old applications' sake.
            if rowid_alias || !self.has_nulls(&doubtful)? {
                return Ok(columns(primary.to_vec()));
            }
        }
        let sure = |name: &Option<String>| {
            name.as_ref().is_some_and(|name| {
                told.iter().any(|told| told.column.name == *name && !told.column.nullable && told.column.generated.is_none())
            })
        };
        let usable = uniques.iter().filter(|index| !index.partial && index.columns.iter().all(sure));
        let best = usable.min_by_key(|index| (index.columns.len(), index.name.clone()));
        Ok(best.map_or(Key::Row, |index| columns(index.columns.iter().flatten().cloned().collect())))
    }

    fn has_nulls(&self, columns: &[&String]) -> rusqlite::Result<bool> {
        if columns.is_empty() {
            return Ok(false);
        }
        let nulls: Vec<String> = columns.iter().map(|name| format!("{} IS NULL", quote(name))).collect();
        ask(self.connection, &format!("SELECT EXISTS (SELECT 1 FROM main.{} WHERE {})", quote(&self.table.name), nulls.join(" OR ")))
    }

    fn foreign_keys(&self, objects: &mut Vec<Object>) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(
            r#"SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq"#,
        )?;
        let mut rows = statement.query([&self.table.name])?;
        let mut keys: BTreeMap<i64, (String, Vec<String>, Vec<String>, String)> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let key = keys.entry(row.get(0)?).or_default();
            key.0 = row.get(1)?;
            key.1.push(row.get(2)?);
            key.2.extend(row.get::<_, Option<String>>(3)?);
            let action = |event: &str, action: String| match action.as_str() {
                "NO ACTION" => String::new(),
                _ => format!(" ON {event} {action}"),
            };
            key.3 = action("UPDATE", row.get(4)?) + &action("DELETE", row.get(5)?);
        }
        for (other, from, to, actions) in keys.into_values() {
            let name = self.free_name(objects, ObjectKind::ForeignKey, &from);
            let there = if to.is_empty() { String::new() } else { format!(" ({})", quoted(&to)) };
            let definition = format!("FOREIGN KEY ({}) REFERENCES {}{there}{actions}", quoted(&from), quote(&other));
            let mut key = plain(ObjectKind::ForeignKey, Some(&self.table.name), &name, definition);
            let other = self.tables.iter().find(|table| same(&table.name, &other)).map_or(other.as_str(), |table| &table.name);
            key.references = Some(TableName::new(None, other));
            objects.push(key);
        }
        Ok(())
    }

    /// A name for a constraint that SQLite gives none, from its columns.
    fn free_name(&self, objects: &[Object], kind: ObjectKind, columns: &[String]) -> String {
        let base = format!("{} ({})", self.table.name, columns.join(", "));
        let taken = |name: &str| objects.iter().any(|object| object.kind == kind && object.name.name == name);
        let numbered = (2..).map(|number| format!("{base} {number}"));
        std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).expect("numbers do not end")
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// Estimates of rows per table from the last ANALYZE; empty where there was none.
pub(super) fn estimates(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let known: Option<i64> =
        connection.query_row("SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_stat1'", [], |row| row.get(0)).optional()?;
    let mut estimates = BTreeMap::new();
    if known.is_some() {
        let mut statement = connection.prepare("SELECT tbl, CAST(stat AS INTEGER) FROM main.sqlite_stat1 WHERE tbl IS NOT NULL")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let rows: u64 = row.get::<_, i64>(1)?.unsigned_abs();
            let most = estimates.entry(row.get::<_, String>(0)?).or_insert(0);
            *most = rows.max(*most);
        }
    }
    Ok(estimates)
}
