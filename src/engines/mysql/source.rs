//! Rows of one moment, by the binary protocol, in which no value loses a bit, from one snapshot.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    catalogue::Scope,
    cells::{Cells, check_received},
    connect::{Target, failed, ident},
    describe::{Described, describe},
    instant,
    patterns::Choice,
    server::Server,
    version::Flavour,
    watch::Limits,
};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run, time::Moment},
    engines::rows::{KeyRange, Order, RowSource, SourceFacts},
    error::{Error, Kind, Result},
    snapshot::{Key, Part, RowSender, Schema, Table, TableName, encode_part, parts},
};

/// What is looked at, and how.
pub struct Scene {
    pub target: Target,
    pub server: Server,
    pub scope: Scope,
    pub choice: Choice,
    pub options: Settings,
}

impl Scene {
    /// A table's name as SQL.
    pub fn qualified(&self, name: &TableName) -> String {
        match (&name.schema, self.scope.databases()) {
            (Some(database), _) => format!("{}.{}", ident(database), ident(&name.name)),
            (None, [database, ..]) => format!("{}.{}", ident(database), ident(&name.name)),
            (None, []) => ident(&name.name),
        }
    }
}

/// A snapshot that lasts as long as its connection.
pub struct MysqlSource {
    reader: Conn,
    scene: Scene,
    facts: SourceFacts,
    described: Described,
    no_rows: bool,
}

impl MysqlSource {
    /// Opens a snapshot of its own.
    pub async fn open(settings: &Settings, options: &Settings, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        let all = options.flag("allDatabases");
        let mut reader = if all { target.connect_to_server(run).await? } else { target.connect(run).await? };
        let opening = async {
            let server = Server::read(&mut reader, &target).await?;
            let scope = if all { Scope::all(&mut reader, &target).await? } else { Scope::One(target.database()?.to_owned()) };
            let choice = Choice::of(options);
            let everything = super::catalogue::tables(&mut reader, &scope, &target).await?;
            choice.check(&everything, &scope)?;
            instant::begin(&mut reader, &target).await?;
            let moment = instant::now(&mut reader, &target).await?;
            Ok((Scene { target: target.clone(), server, scope, choice, options: options.clone() }, Moment(moment)))
        };
        let (scene, moment) = run.until_cancelled(opening).await?;
        Self::on(reader, scene, moment, Vec::new(), run).await
    }

    /// Reads from a snapshot that has begun already.
    pub async fn on(mut reader: Conn, scene: Scene, moment: Moment, mut warnings: Vec<String>, run: &Run) -> Result<Self> {
        let no_rows = scene.options.flag("schemaOnly");
        if no_rows {
            warnings.push("the options ask for the schema only: tables have no rows".to_owned());
        }
        limit(&mut reader, &scene).await?;
        let mut described = run.until_cancelled(describe(&mut reader, &scene, run)).await?;
        warnings.append(&mut described.warnings);
        let facts = SourceFacts { moment, server_version: scene.server.to_string(), marks: Default::default(), warnings };
        Ok(Self { reader, scene, facts, described, no_rows })
    }

    fn explain(&self, error: Error) -> Error {
        self.scene.target.explain(error)
    }

    /// Ends the statement in work, whose rows nobody takes: the connection would read them to their end.
    async fn stop(&mut self, run: &Run) {
        if let Ok(mut other) = self.scene.target.connect_to_server(run).await {
            // Where it cannot be ended, it only takes longer.
            let _ = other.query_drop(format!("KILL QUERY {}", self.reader.id())).await;
            let _ = other.disconnect().await;
        }
        // What is left of its answer, its end included, is taken here and not by the next statement.
        for _ in 0..3 {
            if self.reader.query_drop("DO 0").await.is_ok() {
                break;
            }
        }
    }
}

/// No statement of the connection runs or waits longer than the options say.
async fn limit(reader: &mut Conn, scene: &Scene) -> Result<()> {
    let limits = Limits::of(&scene.options);
    let lock = limits.lock.map(|limit| format!("lock_wait_timeout = {}", limit.as_secs()));
    let statement = limits.statement.map(|limit| match scene.server.flavour {
        Flavour::MySql => format!("max_execution_time = {}", limit.as_millis()),
        Flavour::MariaDb => format!("max_statement_time = {}", limit.as_secs()),
    });
    for setting in lock.into_iter().chain(statement) {
        let done = reader.query_drop(format!("SET SESSION {setting}")).await;
        done.map_err(|cause| scene.target.explain(failed("setting the time limits", cause)))?;
    }
    Ok(())
}

#[async_trait]
impl RowSource for MysqlSource {
    fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    fn schema(&self) -> &Schema {
        &self.described.schema
    }

    fn order(&self, table: &Table) -> Order {
        if self.described.ordered.contains(&table.name) { Order::Key } else { Order::Any }
    }

    fn estimate(&self, table: &Table) -> Option<u64> {
        self.described.estimates.get(&table.name).copied()
    }

    async fn rows(&mut self, table: &Table, range: &KeyRange, mut out: RowSender, run: &Run) -> Result<()> {
        if self.no_rows {
            return Ok(());
        }
        let ordered = self.order(table) == Order::Key;
        let reading = Reading::of(table, self.scene.qualified(&table.name), range, ordered)?;
        let failed_at = |cause| failed(format!("reading the rows of {}", table.name), cause);
        // The lock on the table's definition goes with it.
        self.reader.query_drop("SAVEPOINT dbsnap").await.map_err(|cause| self.explain(failed_at(cause)))?;
        let sending = AssertUnwindSafe(reading.send(&mut self.reader, &mut out, run)).catch_unwind();
        let sent = run.until_cancelled(async { Ok(sending.await) }).await?;
        // The driver panics where a server breaks the protocol.
        let sent = sent.unwrap_or_else(|_| Err(Error::new(Kind::Database, "the server sends rows that are none")));
        if let Err(error) = sent {
            if !run.cancel.is_cancelled() {
                self.stop(run).await;
            }
            return Err(self.explain(error));
        }
        self.reader.query_drop("ROLLBACK TO SAVEPOINT dbsnap").await.map_err(|cause| self.explain(failed_at(cause)))
    }
}

/// One pass over the rows of a table.
struct Reading<'a> {
    table: &'a Table,
    sql: String,
    /// Places of the key's columns, where the keys must be looked at one by one.
    key: Vec<usize>,
    range: &'a KeyRange,
}

impl<'a> Reading<'a> {
    fn of(table: &'a Table, name: String, range: &'a KeyRange, ordered: bool) -> Result<Self> {
        let stored: Vec<_> = table.stored().collect();
        let columns: Vec<String> = stored.iter().map(|column| ident(&column.name)).collect();
        let columns = if columns.is_empty() { "NULL".to_owned() } else { columns.join(", ") };
        let mut sql = format!("SELECT /*!40001 SQL_NO_CACHE */ {columns} FROM {name}");
        let mut key = Vec::new();
        if let Key::Columns { columns } = &table.key {
            if ordered {
                let columns: Vec<String> = columns.iter().map(|column| ident(column)).collect();
                let bounds = [(&range.after, '>'), (&range.to, '<')];
                let bounds = bounds.into_iter().filter_map(|(bound, sign)| bound.as_ref().map(|bound| (bound, sign)));
                let bounds = bounds.map(|(bound, sign)| beyond(&columns, bound, sign)).collect::<Result<Vec<_>>>()?;
                if !bounds.is_empty() {
                    sql += &format!(" WHERE {}", bounds.join(" AND "));
                }
                sql += &format!(" ORDER BY {}", columns.join(", "));
            } else if *range != KeyRange::all() {
                key = columns.iter().filter_map(|name| stored.iter().position(|column| column.name == *name)).collect();
            }
        }
        Ok(Self { table, sql, key, range })
    }

    async fn send(&self, reader: &mut Conn, out: &mut RowSender, run: &Run) -> Result<()> {
        let failed_at = |cause| failed(format!("reading the rows of {}", self.table.name), cause);
        let classes: Vec<_> = self.table.stored().map(|column| column.class).collect();
        let mut cells = Cells::of(self.table.stored());
        let mut key = Vec::new();
        let no_columns = classes.is_empty();
        // By name and not from the driver's memory: what a table is may have changed.
        let statement = reader.prep(&self.sql).await.map_err(failed_at)?;
        let mut result = reader.exec_iter(&statement, ()).await.map_err(failed_at)?;
        check_received(result.columns_ref())?;
        while let Some(row) = result.next().await.map_err(failed_at)? {
            let values = row.unwrap();
            let values = if no_columns { &[][..] } else { &values[..] };
            let due = cells.with(values, |cells| {
                if !self.key.is_empty() {
                    key.clear();
                    for at in &self.key {
                        encode_part(&mut key, classes[*at], cells[*at].unwrap_or_default());
                    }
                    if !self.range.holds(&key) {
                        return Ok(false);
                    }
                }
                out.push(cells)
            })?;
            if due {
                out.flush().await?;
                run.check()?;
            }
        }
        drop(result);
        reader.close(statement).await.map_err(failed_at)?;
        out.flush().await
    }
}

/// The condition for keys after a bound, or up to it.
fn beyond(columns: &[String], bound: &[u8], sign: char) -> Result<String> {
    let bound = parts(bound)?.iter().map(literal).collect::<Result<Vec<_>>>()?;
    if bound.len() != columns.len() {
        return Err(Error::internal("a range of rows whose bound is of another key"));
    }
    let mut ways = Vec::new();
    for at in 0..bound.len() {
        let same = (0..at).map(|before| format!("{} = {}", columns[before], bound[before]));
        // The last part of an upper bound is in the range itself.
        let last = if sign == '<' && at + 1 == bound.len() { "<=".to_owned() } else { sign.to_string() };
        let conditions: Vec<String> = same.chain([format!("{} {last} {}", columns[at], bound[at])]).collect();
        ways.push(format!("({})", conditions.join(" AND ")));
    }
    // What an index is entered by.
    Ok(format!("{} {sign}= {} AND ({})", columns[0], bound[0], ways.join(" OR ")))
}

fn literal(part: &Part<'_>) -> Result<String> {
    match part {
        Part::Integer(number) => Ok(number.to_string()),
        Part::Bytes(bytes) => Ok(format!("x'{}'", hex::encode(bytes))),
        Part::Uuid(_) => Err(Error::internal("a range of rows whose bound is a uuid")),
    }
}
