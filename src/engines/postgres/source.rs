//! Rows and schema of one moment of a database: read-only, on one connection.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use tokio_postgres::Client;

use super::{
    catalog::{self, Catalog, Held},
    connect::{Target, failed, ident},
    copy::{Lines, Reader, recycle},
    objects::{self, Names},
    range,
    scope::Scope,
    server::Facts,
    session::{PIN, Session, begin, limited, millis},
    touched,
};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run, time::Moment},
    engines::{KeyRange, Order, RowSource, SourceFacts},
    error::{Error, Result},
    snapshot::{RowSender, Schema, Table, TableName},
};

/// Scratch space that is kept from row to row, bytes.
const KEPT: usize = 4 * 1024 * 1024;

/// An open moment.
pub struct PgSource {
    session: Session,
    target: Target,
    facts: SourceFacts,
    schema: Schema,
    held: BTreeMap<TableName, Held>,
    no_rows: bool,
}

impl PgSource {
    /// A moment of its own.
    pub async fn open(settings: &Settings, options: &Settings, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        let opening = async {
            let session = Session::open(&target, run).await?;
            let facts = Facts::read(&session, &target).await?;
            session.work(run, begin(&session, options)).await?;
            Self::read(session, target.clone(), options, facts.server(), run).await
        };
        opening.await.map_err(|error| target.explain(error))
    }

    /// The moment that a session already stands in, its tables locked.
    pub async fn read(session: Session, target: Target, options: &Settings, server_version: String, run: &Run) -> Result<Self> {
        let reading = async {
            let setting = |cause| failed(format!("preparing to read {target}"), &cause);
            session.batch_execute(PIN).await.map_err(setting)?;
            let row = session.query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8", &[]).await.map_err(setting)?;
            let (schema, catalog) = read_schema(&session, options).await?;
            let marks = touched::marks(&session, &catalog).await?;
            let limits = format!(
                "SET lock_timeout = {}; SET statement_timeout = {}",
                millis(options, "lockTimeoutSeconds"),
                millis(options, "statementTimeoutSeconds")
            );
            session.batch_execute(&limits).await.map_err(setting)?;
            Ok((Moment(row.get(0)), schema, catalog, marks))
        };
        let (moment, schema, catalog, marks) = session.work(run, reading).await?;
        let mut warnings = catalog.warnings;
        let no_rows = options.flag("schemaOnly");
        if no_rows {
            warnings.push("the options ask for the schema only: tables have no rows".into());
        }
        let facts = SourceFacts { moment, server_version, marks, warnings };
        Ok(Self { session, target, facts, schema, held: catalog.held, no_rows })
    }

    /// Says that this moment is a dump's: its time is the dump's too.
    pub fn at(mut self, moment: Moment) -> Self {
        self.facts.moment = moment;
        self
    }

    fn held(&self, table: &Table) -> Result<&Held> {
        self.held.get(&table.name).ok_or_else(|| Error::not_found(format!("table {}", table.name)))
    }

    async fn copy(&self, sql: &str, table: &Table, out: &mut RowSender) -> Result<()> {
        let doing = || format!("reading the rows of {}", table.name);
        let broken = |cause| limited(failed(doing(), &cause), &cause);
        let pieces = self.session.copy_out(sql).await.map_err(broken)?;
        tokio::pin!(pieces);
        let mut lines = Lines::default();
        let mut reader = Reader::new(table.stored().map(|column| column.class));
        let mut cells = Vec::new();
        while let Some(piece) = pieces.try_next().await.map_err(broken)? {
            let mut full = false;
            lines.feed(&piece, |line| {
                let mut row = recycle(std::mem::take(&mut cells));
                reader.read(line, &mut row)?;
                full |= out.push(&row)?;
                cells = recycle(row);
                Ok(())
            })?;
            if full {
                reader.shrink(KEPT);
                out.flush().await?;
            }
        }
        lines.end()?;
        out.flush().await
    }
}

#[async_trait]
impl RowSource for PgSource {
    fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn order(&self, table: &Table) -> Order {
        match self.held.get(&table.name) {
            Some(held) if held.ordered => Order::Key,
            _ => Order::Any,
        }
    }

    fn estimate(&self, table: &Table) -> Option<u64> {
        self.held.get(&table.name).and_then(|held| held.estimate)
    }

    async fn rows(&mut self, table: &Table, range: &KeyRange, mut out: RowSender, run: &Run) -> Result<()> {
        if self.no_rows {
            return Ok(());
        }
        let sql = select(table, self.held(table)?, range)?;
        let done = self.session.work(run, self.copy(&sql, table, &mut out)).await;
        done.map_err(|error| if error.is_cancelled() { error } else { self.target.explain(error) })
    }

    async fn touched(
        &mut self,
        table: &Table,
        ranges: &[(KeyRange, u64)],
        marks: &BTreeMap<String, String>,
        run: &Run,
    ) -> Result<Option<Vec<bool>>> {
        match touched::oldest_open(table, &self.facts.marks, marks, ranges) {
            Err(why) => {
                run.info(format!("every row of {} is read: {why}", table.name));
                Ok(None)
            }
            Ok(oldest) => {
                let looking = touched::look(&self.session, table, self.held(table)?, ranges, oldest);
                let found = self.session.work(run, looking).await;
                found.map(Some).map_err(|error| self.target.explain(error))
            }
        }
    }
}

/// Every row of the table in the range, in the order of the keys where an index gives it.
fn select(table: &Table, held: &Held, range: &KeyRange) -> Result<String> {
    let columns: Vec<String> = table.stored().map(|column| ident(&column.name)).collect();
    let mut conditions: Vec<String> = held.only_leaves().into_iter().collect();
    conditions.extend(range::condition(&held.key, range)?);
    let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let order: Vec<&str> = held.key.iter().map(|column| column.expression.as_str()).filter(|_| held.ordered).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    Ok(format!("COPY (SELECT {} FROM {}{filter}{order}) TO STDOUT", columns.join(", "), held.from))
}

/// Tables and objects that the options choose.
pub async fn read_schema(client: &Client, options: &Settings) -> Result<(Schema, Catalog)> {
    let scope = Scope::read(client, options).await?;
    let mut catalog = catalog::read(client, &scope).await?;
    let names = Names { own: &catalog.own, logical: &catalog.logical };
    let (objects, warnings) = objects::read(client, &scope, &names).await?;
    catalog.warnings.extend(warnings);
    Ok((Schema { tables: std::mem::take(&mut catalog.tables), objects }, catalog))
}

impl Held {
    /// The condition that leaves out the rows of partitions that are not in scope.
    pub fn only_leaves(&self) -> Option<String> {
        let leaves: Vec<String> = self.leaves.iter().map(u32::to_string).collect();
        self.partial.then(|| format!("tableoid IN (0{}{})", if leaves.is_empty() { "" } else { ", " }, leaves.join(", ")))
    }
}
