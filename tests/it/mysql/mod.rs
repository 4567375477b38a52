//! MySQL and MariaDB: real servers of both, dumped and restored through the engine, with the client programs of each.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::{Probe, Settings},
        fields::validate,
        restore::{RestoreMode, RestorePlan},
        run::{Learned, Run},
        stream::{ByteStream, PIECE, channel},
    },
    engines::{DumpFacts, DumpSource, Engine, RestoreOutcome, RestoreRequest, mysql::Mysql},
    error::Result,
};
use futures_util::{StreamExt, stream};
use mysql_async::{Value as SqlValue, prelude::Queryable as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{
    mysql::{ADMIN, FLAVOURS, Flavour, PASSWORD, Server, ident, programs},
    observer::Seen,
};

mod account;
mod dump;
mod faults;
mod float;
mod names;
mod options;
mod restores;
mod rogue;
mod rows_read;
mod rows_written;
mod tools;

/// Only the programs of the tests' own servers.
pub static ENGINE: Mysql = Mysql { usual_places: false };

/// The surroundings of operations, and what they told.
pub struct Bench {
    pub scratch: TempDir,
    pub cancel: CancellationToken,
    pub seen: Arc<Seen>,
    pub tool_dirs: Vec<PathBuf>,
}

/// The plain bytes of a dump and what is known of it.
pub struct Dumped {
    pub facts: DumpFacts,
    pub dump: Bytes,
    pub tables: Vec<TableCount>,
}

impl Dumped {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.dump).into_owned()
    }

    /// True when one of the warnings holds all these words.
    pub fn warns(&self, words: &[&str]) -> bool {
        self.facts.warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)))
    }
}

impl Bench {
    /// With the client programs of every flavour.
    pub fn new() -> Self {
        Self { tool_dirs: FLAVOURS.iter().map(|flavour| programs(*flavour)).collect(), ..Self::with(Flavour::MySql97) }
    }

    /// With the client programs of one flavour alone.
    pub fn with(flavour: Flavour) -> Self {
        Self {
            scratch: TempDir::new().unwrap(),
            cancel: CancellationToken::new(),
            seen: Arc::default(),
            tool_dirs: vec![programs(flavour)],
        }
    }

    /// The surroundings of one operation, in a scratch folder of its own.
    pub fn run(&self) -> Run {
        let scratch = TempDir::new_in(self.scratch.path()).unwrap().keep();
        Run {
            cancel: self.cancel.clone(),
            observer: self.seen.clone(),
            scratch,
            tool_dirs: self.tool_dirs.clone(),
            learned: Learned::default(),
            limits: Default::default(),
        }
    }

    pub async fn dump(&self, server: &Server, database: &str, options: Value) -> Result<Dumped> {
        self.dump_with(&settings(server, database), options).await
    }

    pub async fn dump_with(&self, settings: &Settings, options: Value) -> Result<Dumped> {
        let options = validate(ENGINE.info().dump_options, options.as_object().unwrap())?;
        let run = self.run();
        let mut dump = ENGINE.open_dump(settings, &options, false, &run).await?;
        let facts = dump.facts().clone();
        let (out, mut input) = channel();
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                all.extend_from_slice(&piece);
            }
            Bytes::from(all)
        });
        dump.write(ArtifactKind::Dump, out, &run).await?;
        let dump = gather.await.unwrap();
        Ok(Dumped { facts, tables: inspect(&dump)?, dump })
    }

    pub async fn probe(&self, settings: &Settings) -> Result<Probe> {
        ENGINE.probe(settings, &self.run()).await
    }

    pub async fn restore_script(
        &self,
        server: &Server,
        database: &str,
        script: impl AsRef<[u8]>,
        plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        self.restore_bytes(server, database, Bytes::copy_from_slice(script.as_ref()), &[], plan).await
    }

    pub async fn restore_bytes(
        &self,
        server: &Server,
        database: &str,
        bytes: Bytes,
        expected: &[TableCount],
        plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        self.restore_to(&settings(server, database), bytes, expected, plan).await
    }

    pub async fn restore_to(
        &self,
        settings: &Settings,
        bytes: Bytes,
        expected: &[TableCount],
        mut plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        plan.engine = validate(ENGINE.info().restore_options, &plan.engine)?;
        ENGINE.restore(RestoreRequest { settings, plan: &plan, source: &Memory(bytes), expected }, &self.run()).await
    }

    pub fn log(&self) -> String {
        self.seen.log.lock().unwrap().join("\n")
    }
}

/// A dump in memory.
struct Memory(Bytes);

#[async_trait]
impl DumpSource for Memory {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::PlainSql)]
    }

    async fn open(&self, _: ArtifactKind) -> Result<ByteStream> {
        let pieces: Vec<_> = self.0.chunks(PIECE).map(|piece| Ok(self.0.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

pub fn settings(server: &Server, database: &str) -> Settings {
    let settings = ENGINE.settings_from_url(&server.url(database)).unwrap();
    validate(ENGINE.info().connection, &settings).unwrap()
}

/// Settings of another account than the administrator's.
pub fn settings_as(server: &Server, user: &str, database: &str) -> Settings {
    let mut settings = settings(server, database);
    settings.insert("user".into(), user.into());
    settings
}

/// What the engine's inspector says of these bytes.
pub fn inspect(bytes: &[u8]) -> Result<Vec<TableCount>> {
    let mut inspector = ENGINE.inspector(DumpFormat::PlainSql);
    for piece in bytes.chunks(PIECE) {
        inspector.feed(piece)?;
    }
    inspector.finish()
}

pub fn plan(mode: RestoreMode, engine: Value) -> RestorePlan {
    RestorePlan { mode, engine: engine.as_object().unwrap().clone(), ..RestorePlan::default() }
}

/// A plan for a database with another name than the one of the connection.
pub fn plan_into(mode: RestoreMode, name: &str) -> RestorePlan {
    RestorePlan { target_name: Some(name.to_owned()), ..plan(mode, json!({})) }
}

/// Runs statements one after the other.
pub async fn run(server: &Server, database: &str, statements: &[&str]) {
    let mut connection = server.connect(database).await;
    for statement in statements {
        connection.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.disconnect().await.unwrap();
}

/// An account with [`PASSWORD`] and these grants, each as `SELECT ON shop.*`.
pub async fn account(server: &Server, user: &str, grants: &[&str]) {
    let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
    let mut statements = vec![format!("DROP USER IF EXISTS '{user}'@'%'"), format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")];
    statements.extend(grants.iter().map(|grant| format!("GRANT {grant} TO '{user}'@'%'")));
    run(server, "", &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// The rows of a query by the binary protocol, in which FLOAT values have all their bits.
pub async fn rows(server: &Server, database: &str, sql: &str) -> Vec<Vec<SqlValue>> {
    let mut connection = server.connect(database).await;
    let rows: Vec<mysql_async::Row> = connection.exec(sql, ()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.disconnect().await.unwrap();
    rows.into_iter().map(mysql_async::Row::unwrap).collect()
}

/// Everything in a database as text: its rows by the binary protocol, and its definitions.
pub async fn contents(server: &Server, database: &str) -> Vec<String> {
    let text = |value: &SqlValue| match value {
        SqlValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    };
    let list = |sql: String| async move {
        rows(server, database, &sql).await.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect::<Vec<_>>()
    };
    let mut contents = Vec::new();
    let of = |what: &str, column: &str| format!("SELECT {column} FROM information_schema.{what}");
    let tables = of("tables", "table_name") + " WHERE table_schema = database() AND table_type <> 'VIEW' ORDER BY 1";
    for table in list(tables).await {
        contents.extend(list(format!("SHOW CREATE TABLE {}", ident(&table))).await);
        contents.extend(list(format!("SELECT * FROM {} ORDER BY 1", ident(&table))).await);
    }
    let views = of("views", "CONCAT(table_name, ': ', REPLACE(view_definition, REPLACE(database(), '`', '``'), '?'))");
    contents.extend(list(views + " WHERE table_schema = database() ORDER BY 1").await);
    let triggers = of("triggers", "CONCAT(trigger_name, ': ', action_statement, sql_mode)");
    contents.extend(list(triggers + " WHERE trigger_schema = database() ORDER BY 1").await);
    let routines = of("routines", "CONCAT(routine_name, ': ', routine_definition, sql_mode)");
    contents.extend(list(routines + " WHERE routine_schema = database() ORDER BY 1").await);
    let events = of("events", "CONCAT(event_name, ': ', event_definition)");
    contents.extend(list(events + " WHERE event_schema = database() ORDER BY 1").await);
    contents
}

/// Runs a script by a stock client, as a person does; returns what it says of errors, empty when there were none.
pub fn by_hand(client: Flavour, server: &Server, database: &str, script: &[u8]) -> String {
    let folder = TempDir::new().unwrap();
    let password = PASSWORD.replace('\\', r"\\").replace('"', "\\\"");
    let tls = if client.is_mariadb() { "ssl=0" } else { "get-server-public-key=1" };
    let options = format!("[client]\nhost=127.0.0.1\nport={}\nuser={ADMIN}\npassword=\"{password}\"\n{tls}\n", server.port);
    fs::write(folder.path().join("client.cnf"), options).unwrap();
    fs::write(folder.path().join("script.sql"), script).unwrap();
    let output = Command::new(programs(client).join("mysql"))
        .env_clear()
        .arg(format!("--defaults-file={}", folder.path().join("client.cnf").display()))
        .args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
        .arg(database)
        .stdin(Stdio::from(fs::File::open(folder.path().join("script.sql")).unwrap()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), !said.contains("ERROR"), "{said}");
    said
}

/// Errors that a person sees must name these things.
pub fn refused<T>(result: Result<T>, words: &[&str]) -> dbsnap::error::Error {
    let Err(error) = result else { panic!("expected an error with {words:?}") };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    error
}
