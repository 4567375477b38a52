//! The databases and tables of a server, as its information schema lists them to the account.

use mysql_async::Conn;

use super::{
    connect::{Target, clean, literal},
    record::{Failure, Record, record, records},
    server::Server,
    tools::{self, Tool},
    version::Flavour,
};
use crate::error::{Error, Kind as ErrorKind, Result};

/// The server's own databases, never dumped.
const SYSTEM: [&str; 5] = ["information_schema", "mysql", "ndbinfo", "performance_schema", "sys"];

/// What is dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    One(String),
    /// All databases of the server but its own, by name.
    All(Vec<String>),
}

impl Scope {
    /// Every database of the server that the account sees, without the server's own.
    pub async fn all(connection: &mut Conn, target: &Target) -> Result<Self> {
        let rows = records(connection, "SELECT schema_name FROM information_schema.schemata ORDER BY schema_name").await;
        let rows = rows.map_err(|failure| asking(target, failure))?;
        let names = rows.iter().map(|row| row.owned(0));
        Ok(Self::All(names.filter(|name| !SYSTEM.contains(&name.to_ascii_lowercase().as_str())).collect()))
    }

    pub fn databases(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::All(names) => names,
        }
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Self::All(_))
    }

    /// `IN` and the list of the databases, for SQL in sessions of ours.
    pub fn list(&self) -> String {
        match self.databases() {
            [] => "IN ('')".into(),
            names => format!("IN ({})", names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Table,
    View,
    /// Of MariaDB.
    Sequence,
}

/// A table, view or sequence.
#[derive(Debug, Clone)]
pub struct Table {
    pub database: String,
    pub name: String,
    pub kind: Kind,
    /// `None` for views.
    pub engine: Option<String>,
    /// Data and indexes, bytes; an estimate.
    pub size: u64,
}

impl Table {
    /// `name`, or `database.name` where several databases are dumped.
    pub fn label(&self, scope: &Scope) -> String {
        if scope.is_all() { format!("{}.{}", self.database, self.name) } else { self.name.clone() }
    }
}

/// Everything of a scope that the account sees.
pub async fn tables(connection: &mut Conn, scope: &Scope, target: &Target) -> Result<Vec<Table>> {
    let sql = format!(
        "SELECT table_schema, table_name, table_type, engine, CAST(COALESCE(data_length, 0) + COALESCE(index_length, 0) AS UNSIGNED)
           FROM information_schema.tables WHERE table_schema {} ORDER BY table_schema, table_name",
        scope.list()
    );
    let rows = records(connection, &sql).await.map_err(|failure| asking(target, failure))?;
    let table = |row: &Record| Table {
        database: row.owned(0),
        name: row.owned(1),
        kind: match row.text(2) {
            "VIEW" | "SYSTEM VIEW" => Kind::View,
            "SEQUENCE" => Kind::Sequence,
            _ => Kind::Table,
        },
        engine: row.optional(3),
        size: row.number(4),
    };
    Ok(rows.iter().map(table).collect())
}

/// The engines whose tables a snapshot covers.
pub async fn transactional_engines(connection: &mut Conn, target: &Target) -> Result<Vec<String>> {
    let rows = records(connection, "SELECT engine FROM information_schema.engines WHERE transactions = 'YES'").await;
    Ok(rows.map_err(|failure| asking(target, failure))?.iter().map(|row| row.owned(0)).collect())
}

/// A column that is dumped: one that the server does not compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Such as `float`, `varchar`.
    pub data_type: String,
}

/// The tables with a FLOAT column that is dumped, by database and name, and all their dumped columns in order.
pub async fn float_tables(connection: &mut Conn, scope: &Scope, target: &Target) -> Result<Vec<FloatTable>> {
    const STORED: &str = "COALESCE(generation_expression, '') = ''";
    let sql = format!(
        "SELECT c.table_schema, c.table_name, c.column_name, c.data_type, COALESCE(c.column_default, '') LIKE '%nextval(%'
           FROM information_schema.columns c
           JOIN (SELECT DISTINCT table_schema, table_name FROM information_schema.columns
                  WHERE table_schema {list} AND data_type = 'float' AND {STORED}) f
             ON f.table_schema = c.table_schema AND f.table_name = c.table_name
          WHERE c.table_schema {list} AND COALESCE(c.generation_expression, '') = ''
          ORDER BY c.table_schema, c.table_name, c.ordinal_position",
        list = scope.list()
    );
    let rows = records(connection, &sql).await.map_err(|failure| asking(target, failure))?;
    let mut tables: Vec<FloatTable> = Vec::new();
    for row in rows {
        let (database, name) = (row.owned(0), row.owned(1));
        if tables.last().is_none_or(|last| (&last.database, &last.name) != (&database, &name)) {
            tables.push(FloatTable { database, name, columns: Vec::new(), needs_sequence: false });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(Column { name: row.owned(2), data_type: row.owned(3) });
            table.needs_sequence |= row.flag(4);
        }
    }
    Ok(tables)
}

/// A table with a FLOAT column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatTable {
    pub database: String,
    pub name: String,
    /// Without those that the server computes.
    pub columns: Vec<Column>,
    /// A default of it draws from a sequence, which must be there before it.
    pub needs_sequence: bool,
}

impl FloatTable {
    pub fn is(&self, table: &Table) -> bool {
        table.kind == Kind::Table && (&self.database, &self.name) == (&table.database, &table.name)
    }
}

/// True when a table of the scope has a column that the server computes.
pub async fn has_generated_columns(connection: &mut Conn, scope: &Scope, target: &Target) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM information_schema.columns WHERE table_schema {} AND COALESCE(generation_expression, '') <> '' LIMIT 1",
        scope.list()
    );
    let found = record(connection, &sql).await.map_err(|failure| asking(target, failure))?;
    Ok(found.flag(0))
}

/// Names of routines whose text the account may not read, of those it sees.
pub async fn hidden_routines(connection: &mut Conn, scope: &Scope, target: &Target) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT CONCAT(routine_schema, '.', routine_name) FROM information_schema.routines
          WHERE routine_schema {} AND routine_definition IS NULL AND routine_body = 'SQL' ORDER BY 1",
        scope.list()
    );
    let rows = records(connection, &sql).await.map_err(|failure| asking(target, failure))?;
    Ok(rows.iter().map(|row| row.owned(0)).collect())
}

pub fn asking(target: &Target, failure: Failure) -> Error {
    target.explain(failure.while_doing(format!("reading the tables of {}", target.address)))
}

/// Warns when the program is not of the server's flavour; errors where it would write a dump that cannot be restored.
pub async fn foreign_tool(control: &mut Conn, server: &Server, tool: &Tool, scope: &Scope, target: &Target) -> Result<Vec<String>> {
    if tool.flavour == server.flavour {
        return Ok(Vec::new());
    }
    let package = tools::package(server.flavour);
    if server.flavour == Flavour::MySql && has_generated_columns(control, scope, target).await? {
        return Err(Error::new(
            ErrorKind::Database,
            format!("{tool} cannot dump {server}: it writes values for generated columns, which no restore accepts"),
        )
        .hint(format!("install {package} or set MYSQL_BIN_DIRS")));
    }
    Ok(vec![format!("{tool} is not made for {server}: install {package} or set MYSQL_BIN_DIRS")])
}

/// Warns of tables that no snapshot covers.
pub async fn not_transactional(control: &mut Conn, chosen: &[Table], scope: &Scope, target: &Target) -> Result<Vec<String>> {
    let engines = transactional_engines(control, target).await?;
    let covered = |engine: &String| engines.iter().any(|known| known.eq_ignore_ascii_case(engine));
    let torn: Vec<String> = chosen
        .iter()
        .filter(|table| table.kind == Kind::Table && table.engine.as_ref().is_some_and(|engine| !covered(engine)))
        .map(|table| format!("{} ({})", table.label(scope), clean(table.engine.as_deref().unwrap_or_default())))
        .collect();
    Ok(if torn.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "not in the snapshot, because their engine has no transactions: {}; rows written during the dump may be in them or not",
            torn.join(", ")
        )]
    })
}
