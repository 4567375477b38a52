//! What an account may, next to what a backup needs.

use dbsnap::domain::database::Probe;
use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::{Bench, account, by_hand, contents, refused, run, settings, settings_as};
use crate::support::mysql::{FLAVOURS, Flavour, PASSWORD, Server, ident, shared};

async fn shop(server: &Server, purpose: &str) -> String {
    let name = server.database(purpose).await;
    let objects = [
        "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT)",
        "INSERT INTO t VALUES (1, 0.1)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id",
        "CREATE PROCEDURE prc () SELECT 1",
        "CREATE FUNCTION fnc () RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE EVENT evt ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' DO SELECT 1",
    ];
    run(server, &name, &objects).await;
    name
}

async fn probe(server: &Server, user: &str, database: &str) -> Probe {
    Bench::with(server.flavour).probe(&settings_as(server, user, database)).await.unwrap()
}

#[tokio::test]
async fn the_script_makes_an_account_that_reads_everything_and_writes_nothing() {
    for flavour in FLAVOURS {
        let server = Server::start(flavour, &crate::support::mysql::Options::default());
        let name = shop(&server, "odd`_%name").await;
        run(&server, "", &["CREATE DATABASE `odd``xxnam`", "CREATE TABLE `odd``xxnam`.t (a INT)"]).await;
        let bench = Bench::with(flavour);
        for all in [false, true] {
            let database = if all { "" } else { &name };
            let whole = bench.probe(&settings(&server, database)).await.unwrap();
            let facts = whole.account.unwrap();
            assert_eq!(facts.beyond_reading, ["everything (ALL PRIVILEGES)"]);
            assert_eq!((whole.read_only, facts.missing.len()), (Some(false), 0), "{:?}", facts.missing);
            assert!(whole.warnings.iter().any(|warning| warning.contains("everything (ALL PRIVILEGES)")), "{:?}", whole.warnings);

            let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
            let script = format!("DROP USER IF EXISTS 'dbsnap_backup'@'%';\n{}", facts.script.replace("CHANGE_ME", &password));
            assert_eq!(by_hand(flavour, &server, "", script.as_bytes()), "", "{script}");
            let readable = probe(&server, "dbsnap_backup", database).await;
            assert_eq!((readable.read_only, readable.account.unwrap().missing), (Some(true), vec![]), "{flavour:?}");
            let dumped = bench.dump_with(&settings_as(&server, "dbsnap_backup", &name), json!({})).await.unwrap();
            assert!(dumped.facts.warnings.is_empty(), "{:?}", dumped.facts.warnings);
            let copy = server.database("copy").await;
            assert_eq!(by_hand(flavour, &server, &copy, &dumped.dump), "");
            assert_eq!(contents(&server, &copy).await, contents(&server, &name).await, "{flavour:?}");

            let mut connection = server.connect_as("dbsnap_backup", PASSWORD, &name).await;
            for sql in ["INSERT INTO t VALUES (2, 2)", "DROP TABLE t", "CREATE TABLE x (a INT)", "CALL prc()"] {
                assert!(connection.query_drop(sql).await.is_err(), "{flavour:?} {sql}");
            }
            if !all {
                assert!(connection.query_drop("SELECT * FROM `odd``xxnam`.t").await.is_err(), "the name in the grant is no pattern");
            }
            connection.disconnect().await.unwrap();
        }
        if flavour == Flavour::MySql97 {
            let dumped = bench.dump_with(&settings_as(&server, "dbsnap_backup", ""), json!({"allDatabases": true})).await.unwrap();
            assert!(dumped.text().contains("PROCEDURE `prc`") && dumped.facts.warnings.is_empty(), "{:?}", dumped.facts.warnings);
        }
    }
}

#[tokio::test]
async fn each_missing_grant_is_named() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = shop(server, "missing").await;
        let database = ident(&name);
        let routine = match flavour {
            Flavour::MySql97 => "SHOW_ROUTINE on *.*".to_owned(),
            Flavour::MariaDb1011 => "SELECT on mysql.proc".to_owned(),
            Flavour::MariaDb118 => format!("SHOW CREATE ROUTINE on {database}.*"),
        };
        account(server, "half", &[&format!("SELECT ON {database}.*")]).await;
        let facts = probe(server, "half", &name).await.account.unwrap();
        let expect: Vec<String> =
            ["SHOW VIEW", "TRIGGER", "EVENT"].iter().map(|privilege| format!("{privilege} on {database}.*")).collect();
        assert_eq!(facts.missing, [&expect[..], &[routine.clone(), "RELOAD on *.*".into()]].concat(), "{flavour:?}");

        let bench = Bench::with(flavour);
        let half = settings_as(server, "half", &name);
        refused(bench.dump_with(&half, json!({})).await, &["denied", "grant SHOW VIEW on"]);
        let less = json!({"events": false, "excludeTables": ["v"]});
        let dumped = bench.dump_with(&half, less).await.unwrap();
        assert!(dumped.warns(&["half@%", "TRIGGER on", &routine]), "{:?}", dumped.facts.warnings);
        assert!(!dumped.warns(&["EVENT on"]), "what is not wanted is not missing");
    }
}

#[tokio::test]
async fn tables_that_the_account_cannot_see_are_told_of() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = shop(server, "hidden").await;
        account(server, "one_table", &[&format!("SELECT, SHOW VIEW, TRIGGER ON {}.t", ident(&name))]).await;
        let dumped = Bench::with(flavour).dump_with(&settings_as(server, "one_table", &name), json!({"events": false})).await.unwrap();
        assert!(dumped.warns(&["SELECT on"]), "{:?}", dumped.facts.warnings);
    }
}

#[tokio::test]
async fn rights_by_roles_count_and_rights_beyond_reading_are_named() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = shop(server, "roles").await;
        account(server, "actor", &[]).await;
        let default =
            if flavour.is_mariadb() { "SET DEFAULT ROLE reader FOR 'actor'@'%'" } else { "SET DEFAULT ROLE reader TO 'actor'@'%'" };
        let place = ident(&name);
        run(
            server,
            "",
            &[
                "DROP ROLE IF EXISTS reader",
                "CREATE ROLE reader",
                &format!("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE, UPDATE, CREATE VIEW ON {place}.* TO reader"),
                &format!("GRANT INSERT (id) ON {place}.t TO 'actor'@'%'"),
                "GRANT reader TO 'actor'@'%'",
                default,
            ],
        )
        .await;
        let probe = probe(server, "actor", &name).await;
        let facts = probe.account.unwrap();
        let beyond = [format!("write rows in {name}"), format!("change the schema in {name}"), format!("run routines in {name}")];
        assert_eq!(facts.beyond_reading, beyond, "{flavour:?}");
        assert!(facts.missing.iter().all(|missing| !missing.starts_with("SELECT on `")), "{:?}", facts.missing);
        assert_eq!((facts.user.as_str(), probe.read_only), ("actor@%", Some(false)));
    }
}
