//! MySQL and MariaDB.

use std::path::PathBuf;

use async_trait::async_trait;
use dbsnap::{
    domain::{database::Settings, fields::validate},
    engines::{self, Engine},
};
use mysql_async::{Row, prelude::Queryable};

use super::home::{CUSTOMERS, Home};
use crate::support::mysql::{CERTIFIED, FLAVOURS, Options, Server, ident, programs, shared};

pub enum Mysql {
    Shared(&'static Server),
    Own(Server),
}

impl Mysql {
    /// One for each flavour.
    pub fn shared() -> Vec<Box<dyn Home>> {
        FLAVOURS.iter().map(|flavour| Box::new(Self::Shared(shared(*flavour))) as Box<dyn Home>).collect()
    }

    fn server(&self) -> &Server {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }

    async fn run(&self, database: &str, statements: &[&str]) {
        let mut connection = self.server().connect(database).await;
        for statement in statements {
            connection.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        connection.disconnect().await.unwrap();
    }
}

#[async_trait]
impl Home for Mysql {
    fn label(&self) -> String {
        format!("{:?}", self.server().flavour)
    }

    fn engine(&self) -> &'static dyn Engine {
        engines::find("mysql").unwrap()
    }

    fn settings(&self, database: &str) -> Settings {
        let settings = self.engine().settings_from_url(&self.server().url(database)).unwrap();
        validate(self.engine().info().connection, &settings).unwrap()
    }

    fn tool_dirs(&self) -> Vec<PathBuf> {
        vec![programs(self.server().flavour)]
    }

    async fn make(&self, purpose: &str) -> String {
        let name = self.server().database(purpose).await;
        let fill = format!(
            "INSERT INTO customers WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CUSTOMERS}) SELECT i, sha2(i, 256) FROM n"
        );
        let depth = if self.server().flavour.is_mariadb() {
            "SET max_recursive_iterations = 100000"
        } else {
            "SET cte_max_recursion_depth = 100000"
        };
        let tables = "CREATE TABLE customers (id INT PRIMARY KEY, name TEXT)";
        self.run(&name, &[depth, tables, "CREATE TABLE unsold (a INT)", &fill]).await;
        name
    }

    async fn make_heavy(&self, database: &str, megabytes: u32) {
        let mut connection = self.server().connect(database).await;
        connection.query_drop("CREATE TABLE heavy (id INT PRIMARY KEY, body MEDIUMBLOB)").await.unwrap();
        for id in 0..megabytes * 2 {
            let mut body = vec![0; 512 * 1024];
            rand::fill(&mut body[..]);
            connection.exec_drop("INSERT INTO heavy VALUES (?, ?)", (id, body)).await.unwrap();
        }
        connection.disconnect().await.unwrap();
    }

    async fn add_table(&self, database: &str, table: &str) {
        let mut connection = self.server().connect(database).await;
        connection.query_drop(format!("CREATE TABLE {} (name TEXT)", ident(table))).await.unwrap();
        connection.exec_drop(format!("INSERT INTO {} VALUES (?)", ident(table)), (table,)).await.unwrap();
        connection.disconnect().await.unwrap();
    }

    fn odd_tables(&self) -> Vec<&'static str> {
        // No character beyond U+FFFF: MariaDB refuses such names, MySQL writes question marks.
        vec!["sp ace", "quo\"te", "it's", "back`tick", "dot.ted", "dol$lar", "--help", "new\nline", "semi;colon", "back\\slash", "☃ tötal"]
    }

    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)> {
        let mut connection = self.server().connect(database).await;
        let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_type = 'BASE TABLE'";
        let names: Vec<String> = connection.query(names).await.unwrap();
        let mut contents = Vec::new();
        for name in names {
            let rows: Vec<Row> = connection.exec(format!("SELECT * FROM {} ORDER BY 1", ident(&name)), ()).await.unwrap();
            let text = |row: Row| row.unwrap().iter().map(|value| value.as_sql(true)).collect::<Vec<_>>().join("|");
            contents.push((name, rows.into_iter().map(text).collect()));
        }
        connection.disconnect().await.unwrap();
        contents.sort();
        contents
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        let mut connection = self.server().connect("").await;
        let mut names: Vec<String> = connection.query("SELECT schema_name FROM information_schema.schemata").await.unwrap();
        connection.disconnect().await.unwrap();
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        names
    }

    async fn remove(&self, database: &str) {
        self.run("", &[&format!("DROP DATABASE {}", ident(database))]).await;
    }

    async fn of_its_own(&self) -> Option<Box<dyn Home>> {
        Some(Box::new(Self::Own(Server::start(self.server().flavour, &Options::default()))))
    }

    fn encrypt(&self, settings: &mut Settings, certificate: bool) {
        if certificate {
            settings.insert("user".into(), CERTIFIED.into());
        }
    }

    fn kill(&self) {
        self.server().crash();
    }
}
