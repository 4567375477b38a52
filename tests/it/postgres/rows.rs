//! Rows and schema of one moment, read from real servers.

use dbsnap::{
    domain::fields::validate,
    engines::{Engine, KeyRange, RowSource},
    error::Result,
    snapshot::{Class, Layout, Row, Table, TableName, rows as channel},
};
use serde_json::{Value, json};

use super::{Bench, ENGINE, round_trip::everything, settings};
use crate::support::postgres::{Server, ident, shared};

/// Rows as text, for people; bytes as hex.
pub type Found = Vec<Vec<Option<String>>>;

impl Bench {
    pub async fn source(&self, server: &Server, database: &str, options: Value) -> Result<Box<dyn RowSource>> {
        let options = validate(ENGINE.info().dump_options, options.as_object().unwrap())?;
        ENGINE.open_source(&settings(server, database), &options, &self.run()).await
    }

    /// The rows of a table with their keys, in the order they come.
    pub async fn pairs(&self, source: &mut dyn RowSource, table: &Table, range: &KeyRange) -> Result<Vec<(Vec<u8>, Row)>> {
        let (sender, mut receiver) = channel(table)?;
        let layout = Layout::of(table)?;
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(batch) = receiver.recv().await {
                for row in batch.iter() {
                    let row = row.unwrap();
                    all.push((row.key.to_vec(), layout.decode(row).unwrap()));
                }
            }
            all
        });
        let done = source.rows(table, range, sender, &self.run()).await;
        let rows = gather.await.unwrap();
        done.map(|()| rows)
    }

    pub async fn rows_of(&self, source: &mut dyn RowSource, table: &Table) -> Found {
        let pairs = self.pairs(source, table, &KeyRange::all()).await.unwrap_or_else(|error| panic!("{}: {error}", table.name));
        let classes: Vec<Class> = table.stored().map(|column| column.class).collect();
        pairs.iter().map(|(_, row)| texts(&classes, row)).collect()
    }
}

fn texts(classes: &[Class], row: &Row) -> Vec<Option<String>> {
    let text = |(class, cell): (&Class, &Option<bytes::Bytes>)| {
        cell.as_ref().map(|cell| match class {
            Class::Bytes => format!("\\x{}", hex::encode(cell)),
            _ => String::from_utf8(cell.to_vec()).unwrap(),
        })
    };
    classes.iter().zip(&row.cells).map(text).collect()
}

pub fn table<'a>(source: &'a dyn RowSource, name: &str) -> &'a Table {
    source.schema().tables.iter().find(|table| table.name == TableName::new(Some("public"), name)).unwrap_or_else(|| panic!("{name}"))
}

/// What the server itself says that the values are, one by one.
async fn expected(server: &Server, database: &str, table: &Table) -> Found {
    let client = server.connect(database).await;
    let pinned = "SET extra_float_digits = 3; SET TimeZone = 'UTC'; SET search_path = pg_catalog; SET lc_monetary = 'C'";
    client.batch_execute(pinned).await.unwrap();
    let names: Vec<String> = table
        .stored()
        .map(|column| ident(&column.name))
        .map(|name| format!("CASE WHEN num_nulls({name}) = 0 THEN concat({name}) END"))
        .collect();
    let name = format!("{}.{}", ident(table.name.schema.as_deref().unwrap()), ident(&table.name.name));
    let only = if table.options.contains_key("partition by") { "" } else { "ONLY " };
    let rows = client.query(&format!("SELECT {} FROM {only}{name}", names.join(", ")), &[]).await;
    rows.unwrap_or_else(|error| panic!("{name}: {error:?}")).iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
}

async fn check_everything(major: u32) {
    let server = shared(major);
    let database = everything(server).await;
    let bench = Bench::new();
    let mut source = bench.source(server, &database, json!({})).await.unwrap();
    let tables = source.schema().tables.clone();
    let names: Vec<String> = tables.iter().map(|table| table.name.name.clone()).collect();
    for (name, there) in [("types", true), ("events", true), ("events_2025", false), ("hashed_0", false), ("parent", true), ("child", true)]
    {
        assert_eq!(names.iter().any(|known| known == name), there, "{name}");
    }
    for table in &tables {
        let mut found = bench.rows_of(source.as_mut(), table).await;
        let mut expect = expected(server, &database, table).await;
        found.sort();
        expect.sort();
        assert_eq!(found, expect, "{} of PostgreSQL {major}", table.name);
    }
    let facts = source.facts();
    assert!(facts.server_version.starts_with(&format!("PostgreSQL {major}.")), "{}", facts.server_version);
    assert_eq!(facts.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn every_value_is_read_as_postgresql_13_writes_it() {
    check_everything(13).await;
}

#[tokio::test]
async fn every_value_is_read_as_postgresql_15_writes_it() {
    check_everything(15).await;
}

#[tokio::test]
async fn every_value_is_read_as_postgresql_17_writes_it() {
    check_everything(17).await;
}

#[tokio::test]
async fn every_value_is_read_as_postgresql_18_writes_it() {
    check_everything(18).await;
}
