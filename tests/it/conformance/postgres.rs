//! PostgreSQL.

use std::{path::PathBuf, sync::OnceLock};

use async_trait::async_trait;
use dbsnap::{
    domain::{database::Settings, fields::validate},
    engines::{self, Engine},
};

use super::home::{CUSTOMERS, Home};
use crate::support::{
    postgres::{Options, PASSWORD, Server, ident, programs},
    tls::AUTHORITY,
};

const MAJOR: u32 = 15;
/// Only with a client certificate of this name.
const CERTIFIED: &str = "certified";
const ACCESS: &str = "hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-full
host all certified 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
";

pub enum Postgres {
    Shared(&'static Server),
    Own(Server),
}

impl Postgres {
    pub async fn shared() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = Self::Shared(SERVER.get_or_init(start));
        server.make_account().await;
        server
    }

    /// Makes the account unless it is there.
    async fn make_account(&self) {
        let sql = format!(
            "DO $$ BEGIN PERFORM pg_advisory_xact_lock(1); IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{CERTIFIED}') THEN
               CREATE ROLE {CERTIFIED} SUPERUSER LOGIN PASSWORD '{PASSWORD}'; END IF; END $$"
        );
        self.run("postgres", &sql).await;
    }

    fn server(&self) -> &Server {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }

    async fn run(&self, database: &str, sql: &str) {
        self.server().connect(database).await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

/// Speaks TLS to those who want it.
fn start() -> Server {
    let identity = AUTHORITY.server(&["127.0.0.1", "localhost"]);
    Server::start_with(MAJOR, &Options { tls: Some((&identity, &AUTHORITY)), access: Some(ACCESS), ..Options::default() })
}

#[async_trait]
impl Home for Postgres {
    fn label(&self) -> String {
        format!("PostgreSQL {}", self.server().major)
    }

    fn engine(&self) -> &'static dyn Engine {
        engines::find("postgresql").unwrap()
    }

    fn settings(&self, database: &str) -> Settings {
        let settings = self.engine().settings_from_url(&self.server().url(database)).unwrap();
        validate(self.engine().info().connection, &settings).unwrap()
    }

    fn tool_dirs(&self) -> Vec<PathBuf> {
        vec![programs(MAJOR)]
    }

    async fn make(&self, purpose: &str) -> String {
        let name = self.server().database(purpose).await;
        let sql = format!(
            "CREATE TABLE customers AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, {CUSTOMERS}) i;
             ALTER TABLE customers ADD PRIMARY KEY (id); CREATE TABLE unsold (a int)"
        );
        self.run(&name, &sql).await;
        name
    }

    async fn make_heavy(&self, database: &str, megabytes: u32) {
        let body = "string_agg(md5(random()::text), '')";
        let sql = format!(
            "CREATE TABLE heavy (id int PRIMARY KEY, body text); ALTER TABLE heavy ALTER body SET STORAGE EXTERNAL;
             INSERT INTO heavy SELECT i, (SELECT {body} FROM generate_series(1, 320 + i % 2)) FROM generate_series(1, {}) i",
            megabytes * 100
        );
        self.run(database, &sql).await;
    }

    async fn add_table(&self, database: &str, table: &str) {
        let client = self.server().connect(database).await;
        client.batch_execute(&format!("CREATE TABLE {} (name text)", ident(table))).await.unwrap();
        client.execute(&format!("INSERT INTO {} VALUES ($1)", ident(table)), &[&table]).await.unwrap();
    }

    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)> {
        let client = self.server().connect(database).await;
        let names = client.query("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace", &[]);
        let mut contents = Vec::new();
        for row in names.await.unwrap() {
            let name: String = row.get(0);
            let rows = client.query(&format!("SELECT t::text FROM {} t ORDER BY 1", ident(&name)), &[]).await.unwrap();
            contents.push((name, rows.iter().map(|row| row.get(0)).collect()));
        }
        contents.sort();
        contents
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        let client = self.server().connect("postgres").await;
        let rows = client.query("SELECT datname::text FROM pg_database WHERE starts_with(datname, $1) ORDER BY 1", &[&prefix]).await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn remove(&self, database: &str) {
        self.run("postgres", &format!("DROP DATABASE {}", ident(database))).await;
    }

    async fn of_its_own(&self) -> Option<Box<dyn Home>> {
        let own = Self::Own(start());
        own.make_account().await;
        Some(Box::new(own))
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
