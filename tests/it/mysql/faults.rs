//! What can go wrong while a dump is taken: it is told, with the next step, and nothing is left behind.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use dbsnap::{
    domain::{artifact::ArtifactKind, fields::validate, stream::channel},
    engines::Engine as _,
};
use mysql_async::prelude::Queryable as _;
use serde_json::{Map, Value, json};

use super::{Bench, ENGINE, refused, rows, run, settings, settings_as};
use crate::support::mysql::{FLAVOURS, Flavour, Options, PASSWORD, Server, shared};

/// A table whose rows are more than all pipes on the way hold.
async fn heavy(server: &Server) -> String {
    let name = server.database("heavy").await;
    run(server, &name, &["CREATE TABLE heavy (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)"]).await;
    for _ in 0..24 {
        run(server, &name, &["INSERT INTO heavy (b) VALUES (REPEAT('x', 1000000))"]).await;
    }
    name
}

fn options(options: Value) -> Map<String, Value> {
    validate(ENGINE.info().dump_options, options.as_object().unwrap()).unwrap()
}

#[tokio::test]
async fn wrong_settings_are_named_with_a_next_step() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let bench = Bench::with(flavour);
        let name = server.database("settings").await;
        let mut wrong = settings(server, &name);
        wrong.insert("password".into(), "wrong".into());
        let error = refused(bench.probe(&wrong).await, &["admin@127.0.0.1", "Access denied", "check user and password"]);
        assert!(!error.retryable);
        refused(bench.dump_with(&wrong, json!({})).await, &["check user and password"]);
        refused(bench.probe(&settings(server, "nowhere")).await, &["Unknown database", "check the database name"]);
        refused(bench.dump(server, "", json!({})).await, &["'database' is missing"]);
        let mut closed = settings(server, &name);
        closed.insert("port".into(), crate::support::leash::free_port().into());
        assert!(refused(bench.probe(&closed).await, &["check host and port"]).retryable);
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = settings(shared(Flavour::MySql97), "x");
    silent.insert("port".into(), listener.local_addr().unwrap().port().into());
    silent.insert("connectTimeout".into(), 1.into());
    assert!(Bench::with(Flavour::MySql97).probe(&silent).await.unwrap_err().retryable);
}

#[tokio::test]
async fn a_server_killed_in_mid_dump_fails_the_dump() {
    for flavour in FLAVOURS {
        let server = Server::start(flavour, &Options::default());
        let name = heavy(&server).await;
        let bench = Bench::with(flavour);
        let run = bench.run();
        let mut dump = ENGINE.open_dump(&settings(&server, &name), &options(json!({})), false, &run).await.unwrap();
        let (out, mut input) = channel();
        let (written, ()) = tokio::join!(dump.write(ArtifactKind::Dump, out, &run), async {
            input.recv().await.unwrap();
            server.crash();
            while input.recv().await.is_some() {}
        });
        refused(written, &[&format!("/{name}")]);
    }
}

#[tokio::test]
async fn a_cancel_ends_the_program_and_its_session() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = heavy(server).await;
        let bench = Bench::with(flavour);
        let run = bench.run();
        let mut dump = ENGINE.open_dump(&settings(server, &name), &options(json!({})), false, &run).await.unwrap();
        let (out, mut input) = channel();
        let (written, ()) = tokio::join!(dump.write(ArtifactKind::Dump, out, &run), async {
            input.recv().await.unwrap();
            bench.cancel.cancel();
        });
        assert!(written.unwrap_err().is_cancelled());
        drop(dump);
        let sessions = || {
            rows(
                server,
                "",
                "SELECT id FROM information_schema.processlist WHERE db = 'heavy_x' OR info LIKE '%SQL_NO_CACHE%' AND db LIKE 'heavy%'",
            )
        };
        let gone = async {
            while sessions().await.len() > 1 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("a session is left");
    }
}

#[tokio::test]
async fn a_locked_table_fails_the_dump_after_the_lock_timeout_or_the_stall_timeout() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("locked").await;
        run(server, &name, &["CREATE TABLE locked (a INT)"]).await;
        let mut holder = server.connect(&name).await;
        holder.query_drop("LOCK TABLES locked WRITE").await.unwrap();
        let bench = Bench::with(flavour);
        let result = bench.dump(server, &name, json!({"lockTimeoutSeconds": 1})).await;
        refused(result, &["waited for a lock longer than 1 s", "raise the lock timeout"]);
        let result = bench.dump(server, &name, json!({"lockTimeoutSeconds": 0, "stallTimeoutSeconds": 1})).await;
        refused(result, &["wrote nothing for 1 s", "raise the stall timeout"]);
        holder.query_drop("UNLOCK TABLES").await.unwrap();
        bench.dump(server, &name, json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_over_its_limit_is_ended() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = heavy(server).await;
        let bench = Bench::with(flavour);
        let run = bench.run();
        let options = options(json!({"statementTimeoutSeconds": 1}));
        let mut dump = ENGINE.open_dump(&settings(server, &name), &options, false, &run).await.unwrap();
        // Nobody reads: the server cannot send the rows on.
        let (out, _input) = channel();
        let written = tokio::time::timeout(Duration::from_secs(30), dump.write(ArtifactKind::Dump, out, &run)).await.unwrap();
        refused(written, &["ran longer than 1 s", "raise the statement timeout"]);
    }
}

#[tokio::test]
async fn tables_without_transactions_are_named() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("engines").await;
        run(
            server,
            &name,
            &["CREATE TABLE torn (a INT) ENGINE=MyISAM", "CREATE TABLE whole (a INT)", "CREATE TABLE held (a INT) ENGINE=MEMORY"],
        )
        .await;
        let bench = Bench::with(flavour);
        let dumped = bench.dump(server, &name, json!({})).await.unwrap();
        assert!(dumped.warns(&["torn (MyISAM)", "held (MEMORY)", "no transactions"]), "{:?}", dumped.facts.warnings);
        assert!(!dumped.warns(&["whole"]));
        let probe = bench.probe(&settings(server, &name)).await.unwrap();
        assert!(probe.warnings.iter().any(|warning| warning.contains("torn (MyISAM)")));
        let without = bench.dump(server, &name, json!({"excludeTables": ["torn", "held"]})).await.unwrap();
        assert!(without.facts.warnings.is_empty(), "{:?}", without.facts.warnings);
    }
}

#[tokio::test]
async fn the_password_is_in_a_private_file_and_nowhere_else() {
    let server = shared(Flavour::MySql97);
    let name = heavy(server).await;
    let bench = Bench::with(Flavour::MySql97);
    let run = bench.run();
    let mut dump = ENGINE.open_dump(&settings(server, &name), &options(json!({})), false, &run).await.unwrap();
    let (out, mut input) = channel();
    let looking = async {
        input.recv().await.unwrap();
        let mut seen = 0;
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let text = std::fs::read(process.path().join(file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(PASSWORD), "{}/{file}", process.path().display());
                seen += usize::from(text.contains(run.scratch.to_str().unwrap()) && file == "cmdline");
            }
        }
        assert!(seen > 0, "the program runs while this looks");
        for file in std::fs::read_dir(&run.scratch).unwrap().flatten() {
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{}", file.path().display());
        }
        while input.recv().await.is_some() {}
    };
    let (written, ()) = tokio::join!(dump.write(ArtifactKind::Dump, out, &run), looking);
    written.unwrap();
    assert!(!bench.log().contains(PASSWORD));
    refused(bench.dump_with(&settings_as(server, "nobody", &name), json!({})).await, &["nobody@"]);
}
