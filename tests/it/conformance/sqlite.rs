//! SQLite: a folder with files.

use async_trait::async_trait;
use dbsnap::{
    domain::database::Settings,
    engines::{self, Engine},
};
use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

use super::home::{CUSTOMERS, Home};

pub struct Sqlite(TempDir);

impl Sqlite {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, database: &str) -> String {
        self.0.path().join(database).to_str().unwrap().to_owned()
    }

    fn open(&self, database: &str) -> Connection {
        Connection::open(self.path(database)).unwrap()
    }
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[async_trait]
impl Home for Sqlite {
    fn label(&self) -> String {
        "SQLite".into()
    }

    fn engine(&self) -> &'static dyn Engine {
        engines::find("sqlite").unwrap()
    }

    fn settings(&self, database: &str) -> Settings {
        Settings::from_iter([("path".to_owned(), self.path(database).into())])
    }

    fn target(&self, database: &str) -> String {
        self.path(database)
    }

    async fn make(&self, purpose: &str) -> String {
        let sql = format!(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name); CREATE TABLE unsold (a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CUSTOMERS}) INSERT INTO customers SELECT i, randomblob(200) FROM n"
        );
        self.open(purpose).execute_batch(&sql).unwrap();
        purpose.to_owned()
    }

    async fn make_heavy(&self, database: &str, megabytes: u32) {
        let sql = format!(
            "CREATE TABLE heavy (id INTEGER PRIMARY KEY, body BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO heavy SELECT i, randomblob(10000) FROM n",
            megabytes * 100
        );
        self.open(database).execute_batch(&sql).unwrap();
    }

    async fn add_table(&self, database: &str, table: &str) {
        let connection = self.open(database);
        connection.execute_batch(&format!("CREATE TABLE {} (name TEXT)", ident(table))).unwrap();
        connection.execute(&format!("INSERT INTO {} VALUES (?1)", ident(table)), [table]).unwrap();
    }

    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)> {
        let connection = self.open(database);
        let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1").unwrap();
        let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let rows = |table: &str| {
            let mut select = connection.prepare(&format!("SELECT * FROM {} ORDER BY 1", ident(table))).unwrap();
            let width = select.column_count();
            let text = |row: &rusqlite::Row<'_>| {
                (0..width).map(|at| row.get::<_, Value>(at).map(|value| format!("{value:?}"))).collect::<Result<Vec<_>, _>>()
            };
            select.query_map([], text).unwrap().map(|row| row.unwrap().join("|")).collect()
        };
        names.iter().map(|name| (name.clone(), rows(name))).collect()
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    async fn remove(&self, database: &str) {
        std::fs::remove_file(self.path(database)).unwrap();
    }
}
