//! Rows of a database at one moment: one read transaction on the live file, or the finished copy of a dump.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    cells,
    connect::{self, Source},
    describe::{describe, estimates},
    faults::fault,
    library_version, on_thread, quote,
};
use crate::{
    domain::{run::Run, time::Moment},
    engines::{
        DumpFacts,
        rows::{KeyRange, Order, RowSource, SourceFacts},
    },
    error::{Error, Kind, Result},
    snapshot::{Class, Key, Part, RowSender, Schema, Table, TableName, encode_part, parts},
};

/// Where rows are read from.
enum Held {
    Live(Source),
    /// The folder goes when the last who needs it is gone.
    Copy(Connection, Arc<TempDir>),
}

impl Held {
    fn connection(&self) -> &Connection {
        match self {
            Self::Live(source) => source.connection(),
            Self::Copy(connection, _) => connection,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Live(source) => &source.path,
            Self::Copy(_, folder) => folder.path(),
        }
    }

    fn failed(&self, doing: &str, cause: rusqlite::Error) -> Error {
        fault(Kind::Database, doing, self.path(), cause)
    }
}

/// One moment. Its transaction ends when this is dropped.
pub(super) struct SqliteSource {
    held: Arc<Mutex<Held>>,
    facts: SourceFacts,
    schema: Schema,
    estimates: BTreeMap<String, u64>,
}

impl SqliteSource {
    /// Begins a read transaction on the file as it is. With a write-ahead log nobody waits for it.
    pub(super) fn live(path: &Path, patience: Duration, run: &Run) -> Result<Self> {
        let source = Source::open(path, patience, run)?;
        let mode: String = source.ask("PRAGMA journal_mode", patience, run)?;
        let mut warnings = super::probe::warnings(&source, &mode);
        if mode != "wal" {
            warnings.push(format!(
                "journal mode '{mode}': other connections cannot commit while the rows are read; with the journal mode WAL they could"
            ));
        }
        let connection = source.connection();
        let failed = |cause| fault(Kind::Database, "reading", &source.path, cause);
        connect::quiet(connection).map_err(failed)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        // The first read is what the moment is of.
        source.ask::<i64>("SELECT count(*) FROM sqlite_schema", patience, run)?;
        let facts = SourceFacts { moment: Moment::now(), server_version: library_version(), marks: BTreeMap::new(), warnings };
        let schema = describe(connection).map_err(failed)?;
        let estimates = estimates(connection).map_err(failed)?;
        Ok(Self { held: Arc::new(Mutex::new(Held::Live(source))), facts, schema, estimates })
    }

    /// Reads the finished copy of a dump, `file` in its folder.
    pub(super) fn copy(folder: Arc<TempDir>, file: &str, dump: &DumpFacts, run: &Run) -> Result<Self> {
        let connection = connect::untrusted(&folder.path().join(file), run)?;
        let held = Held::Copy(connection, folder);
        let failed = |cause| held.failed("reading the copy in", cause);
        held.connection().execute_batch("PRAGMA query_only = ON; BEGIN").map_err(failed)?;
        let schema = describe(held.connection()).map_err(failed)?;
        let counts = dump.counts.iter().flatten();
        let facts = SourceFacts {
            moment: dump.moment,
            server_version: dump.server_version.clone(),
            marks: BTreeMap::new(),
            // Those of the dump are told with the dump.
            warnings: Vec::new(),
        };
        let estimates = counts.map(|count| (count.name.clone(), count.rows)).collect();
        Ok(Self { held: Arc::new(Mutex::new(held)), facts, schema, estimates })
    }
}

#[async_trait]
impl RowSource for SqliteSource {
    fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn order(&self, table: &Table) -> Order {
        if rowid(table).is_some() { Order::Key } else { Order::Any }
    }

    fn estimate(&self, table: &Table) -> Option<u64> {
        self.estimates.get(&table.name.name).copied()
    }

    async fn rows(&mut self, table: &Table, range: &KeyRange, mut out: RowSender, run: &Run) -> Result<()> {
        let held = Arc::clone(&self.held);
        let reading = Reading::of(table, range)?;
        on_thread(run, move |run| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = |cause| held.failed(&format!("reading the rows of {} from", reading.name), cause);
            // The connection listened to another operation until now.
            connect::obey(held.connection(), run).map_err(failed)?;
            reading.send(held.connection(), &mut out, run, &failed)?;
            match &*held {
                Held::Live(source) => source.check_unchanged(),
                Held::Copy(..) => Ok(()),
            }
        })
        .await
    }
}

/// The column that is the rowid, where it alone is the key: then the table itself is in the order of the keys.
fn rowid(table: &Table) -> Option<&str> {
    match &table.key {
        Key::Columns { columns } if columns.len() == 1 => {
            table.columns.iter().find(|column| column.name == columns[0] && column.class == Class::Integer).map(|column| &*column.name)
        }
        _ => None,
    }
}

/// One pass over the rows of a table.
struct Reading {
    name: TableName,
    sql: String,
    classes: Vec<Class>,
    /// Places of the key's columns, where the keys must be looked at one by one.
    key: Vec<usize>,
    range: KeyRange,
}

impl Reading {
    fn of(table: &Table, range: &KeyRange) -> Result<Self> {
        let stored: Vec<_> = table.stored().collect();
        let names: Vec<String> = stored.iter().map(|column| quote(&column.name)).collect();
        let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
        let mut sql = format!("SELECT {names} FROM main.{}", quote(&table.name.name));
        let mut key = Vec::new();
        if let Some(rowid) = rowid(table) {
            let rowid = quote(rowid);
            let bounds = [(&range.after, ">"), (&range.to, "<=")];
            let bounds = bounds.into_iter().filter_map(|(bound, sign)| bound.as_ref().map(|bound| (bound, sign)));
            let bounds = bounds.map(|(bound, sign)| Ok(format!("{rowid} {sign} {}", number(bound)?))).collect::<Result<Vec<_>>>()?;
            if !bounds.is_empty() {
                sql += &format!(" WHERE {}", bounds.join(" AND "));
            }
            sql += &format!(" ORDER BY {rowid}");
        } else if let Key::Columns { columns } = &table.key
            && *range != KeyRange::all()
        {
            key = columns.iter().filter_map(|name| stored.iter().position(|column| column.name == *name)).collect();
        }
        let classes = stored.iter().map(|column| column.class).collect();
        Ok(Self { name: table.name.clone(), sql, classes, key, range: range.clone() })
    }

    fn send(&self, connection: &Connection, out: &mut RowSender, run: &Run, failed: &dyn Fn(rusqlite::Error) -> Error) -> Result<()> {
        let mut statement = connection.prepare(&self.sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let (mut bytes, mut ends, mut key) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(row) = rows.next().map_err(failed)? {
            bytes.clear();
            ends.clear();
            for (at, class) in self.classes.iter().enumerate() {
                let start = bytes.len();
                let there = cells::push(&mut bytes, *class, row.get_ref(at).map_err(failed)?);
                ends.push(there.then_some((start, bytes.len())));
            }
            let cells: Vec<Option<&[u8]>> = ends.iter().map(|place| place.map(|(start, end)| &bytes[start..end])).collect();
            if !self.wants(&cells, &mut key) {
                continue;
            }
            if out.push(&cells)? {
                run.check()?;
                out.blocking_flush()?;
            }
        }
        run.check()?;
        out.blocking_flush()
    }

    /// Whether the key lies in the range, where the query has not chosen.
    fn wants(&self, cells: &[Option<&[u8]>], key: &mut Vec<u8>) -> bool {
        if self.key.is_empty() {
            return true;
        }
        key.clear();
        for at in &self.key {
            encode_part(key, self.classes[*at], cells[*at].unwrap_or_default());
        }
        self.range.holds(key)
    }
}

/// A bound of a range as a rowid, brought within those that there can be.
fn number(bound: &[u8]) -> Result<i64> {
    match parts(bound)?.as_slice() {
        [Part::Integer(number)] => Ok(i64::try_from(*number).unwrap_or(if *number < 0 { i64::MIN } else { i64::MAX })),
        _ => Err(Error::internal("a range of rows whose bound is no rowid")),
    }
}
