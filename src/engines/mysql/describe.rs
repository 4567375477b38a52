//! The schema of a server's databases as snapshots keep it: columns and constraints from the information schema, and the
//! statements that the server itself writes for each thing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    catalogue::{self, Kind as TableKind, Table as Listed},
    cells::class_of,
    connect::{failed, ident},
    definitions_of::Statements,
    record::{Record, records},
    shape::Shape,
    source::Scene,
    version::Flavour,
};
use crate::{
    domain::{fields::SettingsExt, run::Run},
    error::Result,
    snapshot::{Class, Column, Key, Object, ObjectKind, Schema, Table, TableName},
};

/// The object that stands for a database itself and has its settings.
pub const DATABASE: &str = "database";

/// The columns of a foreign key, in their order, and those of the other table.
#[derive(Debug, Clone)]
pub struct Pointing {
    pub from: Vec<String>,
    pub to: Vec<String>,
}

/// What a connection sees.
#[derive(Default)]
pub struct Described {
    pub schema: Schema,
    /// Tables whose primary key gives the order of snapshots.
    pub ordered: HashSet<TableName>,
    /// Estimated rows.
    pub estimates: BTreeMap<TableName, u64>,
    /// Of foreign keys, by table and name: their columns and those they point to.
    pub foreign: BTreeMap<(TableName, String), Pointing>,
    pub warnings: Vec<String>,
}

/// Reads everything in the scene's scope. Locks on definitions are held for no longer than this takes.
pub async fn describe(connection: &mut Conn, scene: &Scene, run: &Run) -> Result<Described> {
    let everything = catalogue::tables(connection, &scene.scope, &scene.target).await?;
    let chosen: Vec<Listed> = everything.into_iter().filter(|table| scene.choice.takes(table, &scene.scope)).collect();
    let mut describing = Describing { connection, scene, described: Described::default() };
    describing.all(&chosen, run).await?;
    let mut described = describing.described;
    described.warnings.extend(catalogue::not_transactional(describing.connection, &chosen, &scene.scope, &scene.target).await?);
    described.schema.tables.sort_by(|a, b| a.name.cmp(&b.name));
    described.schema.objects.sort_by(|a, b| (&a.name, a.kind, &a.table).cmp(&(&b.name, b.kind, &b.table)));
    Ok(described)
}

struct Describing<'a> {
    connection: &'a mut Conn,
    scene: &'a Scene,
    described: Described,
}

/// An index as the information schema lists it.
struct Index {
    table: TableName,
    name: String,
    unique: bool,
    kind: String,
    hidden: bool,
    parts: Vec<IndexPart>,
}

struct IndexPart {
    /// "" for an expression.
    column: String,
    expression: String,
    prefix: String,
    descending: bool,
    nullable: bool,
}

impl Index {
    fn definition(&self) -> String {
        let parts = self.parts.iter().map(|part| {
            let mut text = if part.column.is_empty() { part.expression.clone() } else { ident(&part.column) };
            if !part.prefix.is_empty() {
                text += &format!("({})", part.prefix);
            }
            text + if part.descending { " DESC" } else { "" }
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        let word = match (self.name.as_str(), self.unique, self.kind.as_str()) {
            ("PRIMARY", ..) => "PRIMARY KEY",
            (_, true, _) => "UNIQUE KEY",
            (_, _, "FULLTEXT") => "FULLTEXT KEY",
            (_, _, "SPATIAL") => "SPATIAL KEY",
            _ => "KEY",
        };
        let using = if matches!(self.kind.as_str(), "BTREE" | "FULLTEXT" | "SPATIAL" | "") {
            String::new()
        } else {
            format!(" USING {}", self.kind)
        };
        format!("{word} ({parts}){using}{}", if self.hidden { " INVISIBLE" } else { "" })
    }

    /// Whole columns that are never null and that rows have values for.
    fn names_rows(&self, table: &Table) -> bool {
        self.unique
            && self.parts.iter().all(|part| {
                part.prefix.is_empty() && !part.nullable && table.stored().any(|column| column.name == part.column && !column.nullable)
            })
    }
}

impl Describing<'_> {
    async fn ask(&mut self, sql: &str) -> Result<Vec<Record>> {
        let rows = records(self.connection, sql).await;
        rows.map_err(|failure| catalogue::asking(&self.scene.target, failure))
    }

    fn name(&self, database: &str, name: &str) -> TableName {
        TableName::new(self.scene.scope.is_all().then_some(database), name)
    }

    async fn all(&mut self, chosen: &[Listed], run: &Run) -> Result<()> {
        let mut tables = self.columns(chosen).await?;
        let indexes = self.indexes().await?;
        self.json_columns(&mut tables).await?;
        for table in &mut tables {
            self.key(table, &indexes);
        }
        let known: HashSet<TableName> = tables.iter().map(|table| table.name.clone()).collect();
        for index in indexes.iter().filter(|index| known.contains(&index.table)) {
            let kind = match (index.name.as_str(), index.unique) {
                ("PRIMARY", _) => ObjectKind::PrimaryKey,
                (_, true) => ObjectKind::Unique,
                _ => ObjectKind::Index,
            };
            self.push(kind, Some(&index.table), &index.name, index.definition());
        }
        self.foreign_keys(&known).await?;
        self.checks(&known).await?;
        self.databases().await?;
        self.described.schema.tables = tables;
        self.begin_savepoint().await?;
        let statements = self.statements(chosen, run).await;
        self.end_savepoint().await?;
        statements
    }

    /// Locks on definitions that were taken after it go when it ends.
    async fn begin_savepoint(&mut self) -> Result<()> {
        // Names and texts are written as mysqldump has them written.
        for sql in ["SAVEPOINT dbsnap", "SET SESSION sql_mode = '', sql_quote_show_create = 1"] {
            self.connection.query_drop(sql).await.map_err(|cause| self.scene.target.explain(failed("reading the definitions", cause)))?;
        }
        Ok(())
    }

    async fn end_savepoint(&mut self) -> Result<()> {
        let done = self.connection.query_drop("ROLLBACK TO SAVEPOINT dbsnap").await;
        done.map_err(|cause| self.scene.target.explain(failed("reading the definitions", cause)))
    }

    fn push(&mut self, kind: ObjectKind, table: Option<&TableName>, name: &str, definition: String) -> &mut Object {
        let schema = table.and_then(|table| table.schema.clone());
        self.described.schema.objects.push(Object {
            kind,
            table: table.cloned(),
            name: TableName { schema, name: name.to_owned() },
            definition,
            options: BTreeMap::new(),
            references: None,
        });
        self.described.schema.objects.last_mut().expect("it was just put there")
    }

    async fn columns(&mut self, chosen: &[Listed]) -> Result<Vec<Table>> {
        let mariadb = self.scene.server.flavour == Flavour::MariaDb;
        let list = self.scene.scope.list();
        let facts = self
            .ask(&format!(
                "SELECT table_schema, table_name, engine, table_collation, table_comment, COALESCE(create_options, ''), table_rows
                   FROM information_schema.tables WHERE table_schema {list} ORDER BY table_schema, table_name"
            ))
            .await?;
        let columns = self
            .ask(&format!(
                "SELECT table_schema, table_name, column_name, column_type, data_type, is_nullable, column_default, extra,
                        generation_expression, collation_name, column_comment
                   FROM information_schema.columns WHERE table_schema {list} ORDER BY table_schema, table_name, ordinal_position"
            ))
            .await?;
        let mut of_table: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
        for row in &columns {
            of_table.entry((row.owned(0), row.owned(1))).or_default().push(column(row, mariadb));
        }
        let is_chosen = |row: &Record| {
            chosen.iter().any(|table| table.kind == TableKind::Table && table.database == row.text(0) && table.name == row.text(1))
        };
        let mut tables = Vec::new();
        for row in facts.iter().filter(|row| is_chosen(row)) {
            let mut options = BTreeMap::new();
            for (at, name) in [(2, "engine"), (3, "collation"), (4, "comment"), (5, "create options")] {
                if !row.text(at).is_empty() {
                    options.insert(name.to_owned(), row.owned(at));
                }
            }
            let name = self.name(row.text(0), row.text(1));
            self.described.estimates.insert(name.clone(), row.number(6));
            let columns = of_table.remove(&(row.owned(0), row.owned(1))).unwrap_or_default();
            tables.push(Table { name, columns, key: Key::Row, definition: String::new(), options });
        }
        Ok(tables)
    }

    async fn indexes(&mut self) -> Result<Vec<Index>> {
        let known = self
            .ask("SELECT LOWER(column_name) FROM information_schema.columns WHERE LOWER(table_schema) = 'information_schema' AND LOWER(table_name) = 'statistics'")
            .await?;
        let has = |name: &str| known.iter().any(|row| row.text(0) == name);
        let expression = if has("expression") { "expression" } else { "NULL" };
        let hidden = match () {
            () if has("is_visible") => "is_visible = 'NO'",
            () if has("ignored") => "ignored = 'YES'",
            () => "0",
        };
        let rows = self
            .ask(&format!(
                "SELECT table_schema, table_name, index_name, non_unique, index_type, {hidden}, column_name, {expression}, sub_part,
                        collation = 'D', nullable
                   FROM information_schema.statistics WHERE table_schema {} ORDER BY table_schema, table_name, index_name, seq_in_index",
                self.scene.scope.list()
            ))
            .await?;
        let mut indexes: Vec<Index> = Vec::new();
        for row in rows {
            let (table, name) = (self.name(row.text(0), row.text(1)), row.owned(2));
            if indexes.last().is_none_or(|last| (&last.table, &last.name) != (&table, &name)) {
                let (unique, kind, hidden) = (!row.flag(3), row.owned(4), row.flag(5));
                indexes.push(Index { table, name, unique, kind, hidden, parts: Vec::new() });
            }
            let part = IndexPart {
                column: row.owned(6),
                expression: row.owned(7),
                prefix: row.owned(8),
                descending: row.flag(9),
                nullable: row.text(10) == "YES",
            };
            if let Some(index) = indexes.last_mut() {
                index.parts.push(part);
            }
        }
        Ok(indexes)
    }

    /// The primary key, or the shortest unique one that names every row.
    fn key(&mut self, table: &mut Table, indexes: &[Index]) {
        let usable = indexes.iter().filter(|index| index.table == table.name && index.names_rows(table));
        let Some(best) = usable.min_by_key(|index| (index.name != "PRIMARY", index.parts.len(), index.name.clone())) else { return };
        let sorts = |part: &IndexPart| {
            let column = table.columns.iter().find(|column| column.name == part.column);
            let binary = |name: &str| name.starts_with("binary") || name.starts_with("varbinary");
            !part.descending && column.is_some_and(|column| column.class == Class::Integer || binary(&column.type_name))
        };
        let option = |name: &str| table.options.get(name).map(String::as_str).unwrap_or_default();
        let clustered = option("engine").eq_ignore_ascii_case("InnoDB") && !option("create options").contains("partitioned");
        if best.name == "PRIMARY" && clustered && best.parts.iter().all(sorts) {
            self.described.ordered.insert(table.name.clone());
        }
        table.key = Key::Columns { columns: best.parts.iter().map(|part| part.column.clone()).collect() };
    }

    async fn foreign_keys(&mut self, known: &HashSet<TableName>) -> Result<()> {
        let rows = self
            .ask(&format!(
                "SELECT k.table_schema, k.table_name, k.constraint_name, k.column_name, k.referenced_table_schema, k.referenced_table_name,
                        k.referenced_column_name, r.update_rule, r.delete_rule
                   FROM information_schema.key_column_usage k
                   JOIN information_schema.referential_constraints r ON r.constraint_schema = k.constraint_schema
                        AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name
                  WHERE k.table_schema {} AND k.referenced_table_name IS NOT NULL
                  ORDER BY k.table_schema, k.table_name, k.constraint_name, k.ordinal_position",
                self.scene.scope.list()
            ))
            .await?;
        for rows in rows.chunk_by(|one, next| (0..3).all(|at| one.text(at) == next.text(at))) {
            let first = &rows[0];
            let table = self.name(first.text(0), first.text(1));
            if !known.contains(&table) {
                continue;
            }
            let list = |at: usize| rows.iter().map(|row| ident(row.text(at))).collect::<Vec<_>>().join(", ");
            let elsewhere = first.text(4) != first.text(0);
            let other = if elsewhere { format!("{}.{}", ident(first.text(4)), ident(first.text(5))) } else { ident(first.text(5)) };
            let action = |event: &str, at: usize| match first.text(at) {
                "NO ACTION" | "RESTRICT" | "" => String::new(),
                action => format!(" ON {event} {action}"),
            };
            let definition =
                format!("FOREIGN KEY ({}) REFERENCES {other} ({}){}{}", list(3), list(6), action("UPDATE", 7), action("DELETE", 8));
            let references = match elsewhere && !self.scene.scope.is_all() {
                true => TableName::new(Some(first.text(4)), first.text(5)),
                false => self.name(first.text(4), first.text(5)),
            };
            let names = |at: usize| rows.iter().map(|row| row.owned(at)).collect();
            let name = first.owned(2);
            self.described.foreign.insert((table.clone(), name.clone()), Pointing { from: names(3), to: names(6) });
            self.push(ObjectKind::ForeignKey, Some(&table), &name, definition).references = Some(references);
        }
        Ok(())
    }

    /// Conditions of tables; older servers have none.
    async fn conditions(&mut self) -> Result<Vec<Record>> {
        let list = self.scene.scope.list();
        let sql = match self.scene.server.flavour {
            Flavour::MariaDb => format!(
                "SELECT constraint_schema, table_name, constraint_name, check_clause, 1 FROM information_schema.check_constraints
                  WHERE constraint_schema {list} ORDER BY 1, 2, 3"
            ),
            Flavour::MySql if self.scene.server.version >= super::version::Version::new(8, 0, 16) => format!(
                "SELECT c.constraint_schema, t.table_name, c.constraint_name, c.check_clause, t.enforced = 'YES'
                   FROM information_schema.check_constraints c
                   JOIN information_schema.table_constraints t ON t.constraint_schema = c.constraint_schema
                        AND t.constraint_name = c.constraint_name AND t.constraint_type = 'CHECK'
                  WHERE c.constraint_schema {list} ORDER BY 1, 2, 3"
            ),
            Flavour::MySql => return Ok(Vec::new()),
        };
        self.ask(&sql).await
    }

    async fn checks(&mut self, known: &HashSet<TableName>) -> Result<()> {
        for row in self.conditions().await? {
            let table = self.name(row.text(0), row.text(1));
            if known.contains(&table) {
                let enforced = if row.flag(4) { "" } else { " NOT ENFORCED" };
                self.push(ObjectKind::Check, Some(&table), row.text(2), format!("CHECK ({}){enforced}", row.text(3)));
            }
        }
        Ok(())
    }

    /// MariaDB's JSON is text with a condition.
    async fn json_columns(&mut self, tables: &mut [Table]) -> Result<()> {
        if self.scene.server.flavour != Flavour::MariaDb {
            return Ok(());
        }
        let conditions: BTreeSet<(TableName, String)> =
            self.conditions().await?.iter().map(|row| (self.name(row.text(0), row.text(1)), row.text(3).to_ascii_lowercase())).collect();
        for table in tables {
            for column in table.columns.iter_mut().filter(|column| column.type_name.eq_ignore_ascii_case("longtext")) {
                let condition = format!("json_valid({})", ident(&column.name)).to_ascii_lowercase();
                if conditions.contains(&(table.name.clone(), condition)) {
                    column.class = Class::Json;
                }
            }
        }
        Ok(())
    }

    async fn databases(&mut self) -> Result<()> {
        let rows = self
            .ask(&format!(
                "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata
                  WHERE schema_name {} ORDER BY 1",
                self.scene.scope.list()
            ))
            .await?;
        for row in rows {
            // One database alone is the same under every name.
            let name = if self.scene.scope.is_all() { row.owned(0) } else { DATABASE.to_owned() };
            let object = self.push(ObjectKind::Namespace, None, &name, String::new());
            object.options.insert("character set".to_owned(), row.owned(1));
            object.options.insert("collation".to_owned(), row.owned(2));
        }
        Ok(())
    }

    async fn statements(&mut self, chosen: &[Listed], run: &Run) -> Result<()> {
        let options = &self.scene.options;
        let on = |name: &str| options.get(name).is_none() || options.flag(name);
        let only_tables = self.scene.choice.only_tables();
        let (triggers, routines, events) = (on("triggers"), on("routines") && !only_tables, on("events") && !only_tables);
        for database in self.scene.scope.databases().to_vec() {
            run.check()?;
            let mut statements = Statements::of(self.connection, &self.scene.target, &database).await?;
            let in_all = self.scene.scope.is_all();
            let schema = in_all.then_some(database.as_str());
            for table in self.described.schema.tables.iter_mut().filter(|table| !in_all || table.name.schema.as_deref() == schema) {
                run.check()?;
                let shape = Shape::of(&statements.table(&table.name.name).await?);
                table.definition = shape.definition;
                table.options.extend(shape.auto_increment.map(|number| ("auto_increment".to_owned(), number)));
                table.options.extend(shape.partition_by.map(|text| ("partition by".to_owned(), text)));
                table.options.remove("create options");
            }
            let here = chosen.iter().filter(|table| table.database == database);
            let mut objects = Vec::new();
            for table in here.clone() {
                match table.kind {
                    TableKind::View => objects.push(statements.view(&table.name).await?),
                    TableKind::Sequence => objects.push(statements.sequence(&table.name).await?),
                    TableKind::Table => {}
                }
            }
            if triggers {
                let tables: Vec<&str> = here.map(|table| table.name.as_str()).collect();
                objects.extend(
                    statements
                        .triggers()
                        .await?
                        .into_iter()
                        .filter(|trigger| trigger.table.as_ref().is_some_and(|table| tables.contains(&table.name.as_str()))),
                );
            }
            if routines {
                objects.extend(statements.routines().await?);
            }
            if events {
                objects.extend(statements.events().await?);
            }
            self.described.warnings.append(&mut statements.warnings);
            for mut object in objects {
                object.name.schema = schema.map(str::to_owned);
                if let Some(table) = &mut object.table {
                    table.schema = schema.map(str::to_owned);
                }
                self.described.schema.objects.push(object);
            }
        }
        Ok(())
    }
}

fn column(row: &Record, mariadb: bool) -> Column {
    let (extra, collation, comment) = (row.text(7).to_ascii_lowercase(), row.owned(9), row.owned(10));
    let generated = row.optional(8).filter(|expression| !expression.is_empty());
    let mut options = BTreeMap::new();
    for (name, value) in [("extra", extra), ("collation", collation), ("comment", comment)] {
        if !value.is_empty() {
            options.insert(name.to_owned(), value);
        }
    }
    Column {
        name: row.owned(2),
        type_name: row.owned(3),
        class: class_of(row.text(4)),
        nullable: row.text(5) == "YES",
        // MariaDB writes out that there is none.
        default: row.optional(6).filter(|default| !(mariadb && default == "NULL")),
        generated,
        options,
    }
}
