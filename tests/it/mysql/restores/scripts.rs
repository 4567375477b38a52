//! Scripts that no backup of ours wrote: of other tools, of other hands, cut, huge.

use dbsnap::{
    domain::restore::{RestoreMode, RestorePlan},
    engines,
};
use serde_json::json;

use super::{Bench, ENGINE, execute, number, plan, plan_into, refused, tool_dump};
use crate::support::mysql::{Flavour, shared};

const BOTH: [Flavour; 2] = [Flavour::MySql97, Flavour::MariaDb1011];

#[tokio::test]
async fn a_script_as_php_my_admin_writes_it_is_restored() {
    let script = "-- phpMyAdmin SQL Dump\nSET SQL_MODE = \"NO_AUTO_VALUE_ON_ZERO\";\nSTART TRANSACTION;\nSET time_zone = \"+00:00\";\n\
        /*!40101 SET NAMES utf8mb4 */;\n--\n-- Database: `x`\n--\nDELIMITER $$\nCREATE PROCEDURE `p` ()   BEGIN SELECT 1; END$$\n\nDELIMITER ;\n\
        CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `a` text\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n\
        INSERT INTO `t` (`id`, `a`) VALUES\n(1, 'a;\\'b'),\n(0, 'DELIMITER $$');\nALTER TABLE `t`\n  ADD PRIMARY KEY (`id`);\n\
        ALTER TABLE `t`\n  MODIFY `id` int NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=3;\nCOMMIT;\n";
    for server in BOTH.map(shared) {
        let name = server.database("admin").await;
        let outcome = Bench::new().restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await.unwrap();
        assert_eq!((outcome.tables[0].rows, outcome.tables[0].name.as_str()), (2, "t"));
        assert_eq!(number(server, &name, "SELECT CAST(COUNT(*) AS SIGNED) FROM t WHERE a = 'a;''b' OR id = 0").await, 2);
    }
}

#[tokio::test]
async fn options_of_the_dump_programs_are_understood() {
    for server in BOTH.map(shared) {
        let (name, _) = super::modes::shop(server).await;
        for options in [
            &["--skip-extended-insert", "--complete-insert"][..],
            &["--compact", "--skip-opt"],
            &["--replace", "--skip-quote-names"],
            &["--insert-ignore", "--tz-utc", "--skip-comments"],
            &["--databases", "--add-drop-database"],
            &["--no-autocommit", "--skip-add-locks", "--order-by-primary", "--dump-date"],
            &["--default-character-set=latin1", "--skip-set-charset"],
        ] {
            let mut args: Vec<&str> = options.to_vec();
            args.push(&name);
            let dump = tool_dump(server, &args);
            let target = format!("{name}_with_options");
            let outcome = Bench::new()
                .restore_script(server, "", dump, plan_into(RestoreMode::New, &target))
                .await
                .unwrap_or_else(|error| panic!("{options:?}: {error}"));
            let rows: Vec<u64> = outcome.tables.iter().map(|table| table.rows).collect();
            assert_eq!(rows, [3, 0, 4], "{options:?}");
            execute(server, "", &[&format!("DROP DATABASE {target}")]).await;
        }
    }
}

#[tokio::test]
async fn scripts_that_cannot_be_whole_are_refused_before_anything_runs() {
    for server in BOTH.map(shared) {
        let name = server.database("cut").await;
        let begin = "CREATE TABLE t (a INT);\n";
        for (script, words) in [
            (format!("{begin}INSERT INTO t VALUES (1),(2"), "cut short"),
            (format!("{begin}SELECT 'x"), "cut short"),
            (format!("-- MySQL dump 10.13\n{begin}"), "Dump completed"),
            (format!("-- MariaDB dump 10.19\n{begin}-- Dump completed on 2026-01-01\n{begin}"), "Dump completed"),
            (" ".to_owned(), "is empty"),
        ] {
            refused(Bench::new().restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await, &[words]);
        }
        let counts = super::inspect(begin.as_bytes()).unwrap();
        let expected: Vec<_> = counts.into_iter().map(|table| dbsnap::domain::artifact::TableCount { rows: 1, ..table }).collect();
        let other = Bench::new().restore_bytes(server, &name, begin.into(), &expected, plan(RestoreMode::Append, json!({}))).await;
        refused(other, &["manifest", "t has 0 rows instead of 1"]);
        assert_eq!(
            number(server, &name, "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.tables WHERE table_schema = DATABASE()").await,
            0
        );
    }
}

#[tokio::test]
async fn rows_of_thirty_megabytes_pass() {
    for server in BOTH.map(shared) {
        let name = server.database("large").await;
        let large = "x'; -- \\n".replace('\'', "''").repeat(3_300_000);
        let script = format!("CREATE TABLE t (a LONGTEXT);\nINSERT INTO t VALUES ('{large}'),('{large}');\n");
        let outcome = Bench::new().restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await;
        // Two such rows in one statement are more than these servers take at once.
        assert!(outcome.is_ok() || outcome.unwrap_err().to_string().contains("max_allowed_packet"));
        let script = format!("CREATE TABLE t (a LONGTEXT);\nINSERT INTO t VALUES ('{large}');\nINSERT INTO t VALUES ('{large}');\n");
        let outcome = Bench::new().restore_script(server, &name, script, plan(RestoreMode::Clean, json!({}))).await.unwrap();
        assert_eq!(outcome.tables[0].rows, 2);
        assert!(number(server, &name, "SELECT CAST(MIN(LENGTH(a)) AS SIGNED) FROM t").await > 25_000_000);
    }
}

#[tokio::test]
async fn scripts_are_recognised_by_the_engine_they_are_for() {
    let postgres = engines::find("postgresql").unwrap();
    for server in BOTH.map(shared) {
        let name = super::round_trip::everything(server).await;
        for options in
            [&["--routines"][..], &["--compact"], &["--skip-comments"], &["--databases"], &["--skip-comments", "--no-create-info"]]
        {
            let mut args: Vec<&str> = options.to_vec();
            args.extend(["--hex-blob", &name]);
            let dump = tool_dump(server, &args);
            let head = &dump.as_bytes()[..dump.len().min(1024)];
            assert!(
                dbsnap::engines::Engine::recognise(&ENGINE, head).is_some() && postgres.recognise(head).is_none(),
                "{options:?}: {dump:.300}"
            );
        }
    }
}

#[tokio::test]
async fn names_of_the_scripts_own_database_are_those_of_the_target() {
    for server in BOTH.map(shared) {
        let name = server.database("qualified").await;
        let script = "CREATE TABLE `src`.`t` (a INT);\nINSERT INTO `src`.`t` VALUES (1);\nCREATE TRIGGER src.tr BEFORE INSERT ON src.t FOR EACH ROW SET NEW.a = 1;\n\
            ALTER DATABASE `src` CHARACTER SET latin1;\nDROP TABLE IF EXISTS src.gone;\n";
        let target = format!("{name}_target");
        let outcome = Bench::new().restore_script(server, &name, script, plan_into(RestoreMode::New, &target)).await.unwrap();
        assert_eq!(outcome.tables[0].rows, 1);
        let two = format!("{script}CREATE TABLE other.t (a INT);\n");
        refused(Bench::new().restore_script(server, &name, two, plan_into(RestoreMode::New, "x")).await, &["several databases"]);
        let chosen = RestorePlan {
            engine: json!({"fromDatabase": "src"}).as_object().unwrap().clone(),
            ..plan_into(RestoreMode::New, &format!("{name}_one"))
        };
        let two = format!("{script}CREATE TABLE other.t (a INT);\n");
        Bench::new().restore_script(server, &name, two, chosen).await.unwrap();
    }
}
