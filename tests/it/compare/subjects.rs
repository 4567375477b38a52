//! A database of each engine that changes in a way the test knows.

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mysql_async::prelude::Queryable;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support;

/// Rows of the table `items` at first.
pub const ITEMS: u32 = 2000;

#[async_trait]
pub trait Subject: Send + Sync {
    /// As the API is given it.
    fn input(&self) -> Value;

    /// What confirms a restore into it.
    fn name(&self) -> String;

    /// Makes the tables and their rows.
    async fn begin(&self);

    /// One item more, one less, two renamed; a visit to `a` more and the one to `b` less.
    async fn change(&self);

    /// What the product is told of the engine's programs, as an environment variable.
    fn programs(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Runs a patch of statements; `None` where the engine has no such language.
    async fn run(&self, _patch: &str) -> Option<()> {
        None
    }

    /// There are no tables without a key.
    fn keyed_only(&self) -> bool {
        false
    }
}

fn begin_statements() -> Vec<String> {
    let rows = |from: u32, to: u32, row: &dyn Fn(u32) -> String| (from..=to).map(row).collect::<Vec<_>>().join(", ");
    vec![
        "CREATE TABLE items (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL, price DECIMAL(10, 2))".into(),
        "CREATE TABLE visits (place VARCHAR(20), times INTEGER)".into(),
        "CREATE TABLE untouched (id INTEGER NOT NULL PRIMARY KEY, said VARCHAR(20))".into(),
        format!("INSERT INTO items VALUES {}", rows(1, ITEMS, &|id| format!("({id}, 'item {id}', {id}.50)"))),
        "INSERT INTO visits VALUES ('a', NULL), ('a', NULL), ('b', 1)".into(),
        format!("INSERT INTO untouched VALUES {}", rows(1, 300, &|id| format!("({id}, 'said {id}')"))),
    ]
}

const CHANGES: [&str; 5] = [
    "INSERT INTO items VALUES (5001, 'it''s new', NULL)",
    "DELETE FROM items WHERE id = 7",
    "UPDATE items SET name = 'renamed' WHERE id IN (3, 1999)",
    "INSERT INTO visits VALUES ('a', NULL)",
    "DELETE FROM visits WHERE place = 'b'",
];

pub struct Sqlite(TempDir);

impl Sqlite {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn all(&self, statements: &[String]) {
        let connection = Connection::open(self.0.path().join("subject.db")).unwrap();
        statements.iter().for_each(|statement| connection.execute_batch(statement).unwrap());
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn input(&self) -> Value {
        json!({"engine": "sqlite", "settings": {"path": self.0.path().join("subject.db")}})
    }

    fn name(&self) -> String {
        "subject.db".into()
    }

    async fn begin(&self) {
        self.all(&begin_statements());
    }

    async fn change(&self) {
        self.all(&CHANGES.map(str::to_owned));
    }

    async fn run(&self, patch: &str) -> Option<()> {
        self.all(&[patch.to_owned()]);
        Some(())
    }
}

pub struct Postgres {
    server: &'static support::postgres::Server,
    database: String,
}

impl Postgres {
    pub async fn new() -> Self {
        let server = support::postgres::shared(15);
        Self { server, database: server.database("compared").await }
    }

    pub async fn all(&self, statements: &[String]) {
        let client = self.server.connect(&self.database).await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
    }
}

#[async_trait]
impl Subject for Postgres {
    fn programs(&self) -> Option<(&'static str, String)> {
        Some(("PG_BIN_DIRS", support::postgres::programs(15).display().to_string()))
    }

    fn input(&self) -> Value {
        json!({"url": self.server.url(&self.database)})
    }

    fn name(&self) -> String {
        self.database.clone()
    }

    async fn begin(&self) {
        self.all(&begin_statements()).await;
    }

    async fn change(&self) {
        self.all(&CHANGES.map(str::to_owned)).await;
    }

    async fn run(&self, patch: &str) -> Option<()> {
        self.all(&[patch.to_owned()]).await;
        Some(())
    }
}

pub struct Mysql {
    server: &'static support::mysql::Server,
    database: String,
}

impl Mysql {
    pub async fn new(flavour: support::mysql::Flavour) -> Self {
        let server = support::mysql::shared(flavour);
        Self { server, database: server.database("compared").await }
    }

    async fn all(&self, statements: &[String]) {
        let mut connection = self.server.connect(&self.database).await;
        for statement in statements {
            connection.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        connection.disconnect().await.unwrap();
    }
}

#[async_trait]
impl Subject for Mysql {
    fn input(&self) -> Value {
        json!({"url": self.server.url(&self.database)})
    }

    fn name(&self) -> String {
        self.database.clone()
    }

    async fn begin(&self) {
        self.all(&begin_statements()).await;
    }

    async fn change(&self) {
        self.all(&CHANGES.map(str::to_owned)).await;
    }

    fn programs(&self) -> Option<(&'static str, String)> {
        Some(("MYSQL_BIN_DIRS", support::mysql::programs(self.server.flavour).display().to_string()))
    }

    async fn run(&self, patch: &str) -> Option<()> {
        // A statement ends at the end of its line in what these changes hold.
        let statements = patch.split(";\n").map(|part| part.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n"));
        let statements: Vec<_> = statements.filter(|statement| !statement.trim().is_empty()).collect();
        self.all(&statements).await;
        Some(())
    }
}

pub struct Mongodb {
    server: &'static support::mongodb::Server,
    database: String,
}

impl Mongodb {
    pub fn new() -> Self {
        let server = support::mongodb::shared();
        Self { server, database: server.database("compared") }
    }
}

#[async_trait]
impl Subject for Mongodb {
    fn input(&self) -> Value {
        json!({"url": self.server.url(&self.database)})
    }

    fn name(&self) -> String {
        self.database.clone()
    }

    async fn begin(&self) {
        let database = self.server.connect().await.database(&self.database);
        let items = (1..=i64::from(ITEMS)).map(|id| doc! { "_id": id, "name": format!("item {id}"), "price": { "cents": id * 100 } });
        database.collection::<Document>("items").insert_many(items).await.unwrap();
        let untouched = (1..=300).map(|id| doc! { "_id": format!("key {id}"), "said": id });
        database.collection::<Document>("untouched").insert_many(untouched).await.unwrap();
    }

    async fn change(&self) {
        let items = self.server.connect().await.database(&self.database).collection::<Document>("items");
        items.insert_one(doc! { "_id": 5001_i64, "name": "it's new" }).await.unwrap();
        items.delete_one(doc! { "_id": 7_i64 }).await.unwrap();
        for id in [3_i64, 1999] {
            items.update_one(doc! { "_id": id }, doc! { "$set": { "name": "renamed" } }).await.unwrap();
        }
    }

    fn keyed_only(&self) -> bool {
        true
    }
}
