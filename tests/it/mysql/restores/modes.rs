//! Each way to restore, and its options.

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};
use serde_json::json;

use super::{Bench, databases, execute, number, plan, plan_into, refused, rows, settings, tool_dump};
use crate::support::mysql::{Flavour, PASSWORD, Server, ident, shared};

const BOTH: [Flavour; 2] = [Flavour::MySql97, Flavour::MariaDb1011];

const SHOP: &[&str] = &[
    "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50))",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT, CONSTRAINT its_customer FOREIGN KEY (customer) REFERENCES customers (id))",
    "CREATE TABLE log (what TEXT)",
    "INSERT INTO customers (name) VALUES ('a'), ('b'), ('c')",
    "INSERT INTO orders (customer) VALUES (1), (2), (2), (NULL)",
    "CREATE VIEW open AS SELECT * FROM orders WHERE customer IS NOT NULL",
    "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES ('x')",
    "CREATE PROCEDURE p() SELECT 1",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DO DELETE FROM log",
];

/// A shop, and a dump of it.
pub async fn shop(server: &Server) -> (String, String) {
    let name = server.database("shop").await;
    execute(server, &name, SHOP).await;
    let dump = tool_dump(server, &["--routines", "--events", "--triggers", &name]);
    (name, dump)
}

#[tokio::test]
async fn new_refuses_a_database_that_exists_and_a_failure_leaves_none() {
    for server in BOTH.map(shared) {
        let (name, dump) = shop(server).await;
        execute(server, &name, &["DELETE FROM orders"]).await;
        let bench = Bench::new();
        let error = refused(bench.restore_script(server, &name, dump, plan(RestoreMode::New, json!({}))).await, &[&name, "exists already"]);
        assert_eq!(error.kind.code(), "CONFLICT");
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM orders").await, 0);
        let fresh = format!("{name}_fresh");
        let script = "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1);\n\nINSERT INTO nope\n VALUES (1);\nINSERT INTO a VALUES (2);\n";
        let into = plan_into(RestoreMode::New, &fresh);
        refused(bench.restore_script(server, &name, script, into.clone()).await, &["line 4", "nope", "dropped again"]);
        assert_eq!(databases(server, &fresh).await, Vec::<String>::new());
        let lenient = RestorePlan { engine: json!({"stopOnError": false}).as_object().unwrap().clone(), ..into };
        let outcome = bench.restore_script(server, &name, script, lenient).await.unwrap();
        assert_eq!((outcome.tables[0].rows, outcome.tables.len()), (2, 1));
        assert!(outcome.warnings.iter().any(|warning| warning.contains("line 4")), "{:?}", outcome.warnings);
    }
}

#[tokio::test]
async fn drop_replaces_everything_and_a_failure_leaves_everything() {
    for server in BOTH.map(shared) {
        let (name, dump) = shop(server).await;
        let before = super::round_trip::picture(server, &name).await;
        let bench = Bench::new();
        // The event that fails to be made comes after the tables were exchanged.
        let broken = dump.replace("EVERY 1 DAY", "EVERY 1 DOY");
        let error = bench.restore_script(server, &name, broken, plan(RestoreMode::Drop, json!({}))).await;
        refused(error, &["DOY", "the database is as it was"]);
        assert_eq!(super::round_trip::picture(server, &name).await, before);
        let broken = dump.replace("INSERT INTO `orders`", "INSERT INTO `ordres`");
        refused(
            bench.restore_script(server, &name, broken, plan(RestoreMode::Drop, json!({}))).await,
            &["ordres", "the database is as it was"],
        );
        assert_eq!(super::round_trip::picture(server, &name).await, before);

        execute(
            server,
            &name,
            &["DROP VIEW open", "CREATE TABLE later (a INT)", "DELETE FROM orders", "CREATE VIEW mine AS SELECT 1", "DROP PROCEDURE p"],
        )
        .await;
        let outcome = bench.restore_script(server, &name, dump, plan(RestoreMode::Drop, json!({"analyze": true}))).await.unwrap();
        assert_eq!(outcome.warnings, Vec::<String>::new());
        assert_eq!(super::round_trip::picture(server, &name).await, before);
        assert_eq!(databases(server, &name).await, std::slice::from_ref(&name));
        execute(server, &name, &["INSERT INTO orders (customer) VALUES (3)"]).await;
        let parent = format!(
            "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.key_column_usage WHERE table_schema = '{name}' AND referenced_table_schema = '{name}'"
        );
        assert_eq!(number(server, &name, &parent).await, 1, "the foreign key leads to the new table");
        let mut connection = server.connect(&name).await;
        let refusal = mysql_async::prelude::Queryable::query_drop(&mut connection, "INSERT INTO orders (customer) VALUES (99)").await;
        assert!(refusal.is_err(), "and is in force");
    }
}

#[tokio::test]
async fn clean_replaces_what_the_dump_holds_and_append_adds() {
    for server in BOTH.map(shared) {
        let (name, dump) = shop(server).await;
        let bench = Bench::new();
        execute(server, &name, &["DELETE FROM orders", "CREATE TABLE mine (a INT)"]).await;
        let refusal = bench.restore_script(server, &name, dump.clone(), plan(RestoreMode::Append, json!({}))).await;
        refused(refusal, &["already exists", "still there", "new database"]);
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM orders").await, 0, "append drops nothing");
        bench.restore_script(server, &name, dump.clone(), plan(RestoreMode::Clean, json!({}))).await.unwrap();
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM orders").await, 4);
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM mine").await, 0, "what the dump does not hold stays");
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM log").await, 0, "no trigger fired");

        execute(server, &name, &["DELETE FROM orders", "DELETE FROM customers"]).await;
        let rows_only = RestorePlan { content: RestoreContent::Data, ..plan(RestoreMode::Append, json!({})) };
        let outcome = bench.restore_script(server, &name, dump.clone(), rows_only).await.unwrap();
        assert_eq!(
            outcome.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect::<Vec<_>>(),
            [("customers", 3), ("log", 4), ("orders", 4)]
        );
        assert!(outcome.warnings.iter().any(|warning| warning.contains("triggers fired")), "{:?}", outcome.warnings);
        let rows_only = RestorePlan { content: RestoreContent::Data, ..plan(RestoreMode::Append, json!({})) };
        refused(bench.restore_script(server, &name, dump.clone(), rows_only).await, &["Duplicate entry", "line "]);

        let schema = RestorePlan { content: RestoreContent::Schema, ..plan_into(RestoreMode::New, &format!("{name}_schema")) };
        let outcome = bench.restore_script(server, &name, dump, schema).await.unwrap();
        assert!(outcome.tables.is_empty());
        assert_eq!(number(server, &format!("{name}_schema"), "SELECT COUNT(*) FROM orders").await, 0);
    }
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused() {
    let server = shared(Flavour::MariaDb1011);
    let (name, dump) = shop(server).await;
    for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean] {
        let wrong = RestorePlan { content: RestoreContent::Data, ..plan(mode, json!({})) };
        refused(Bench::new().restore_script(server, &name, dump.clone(), wrong).await, &["rows alone", "append"]);
    }
    for into in ["mysql", "a\nb"] {
        refused(Bench::new().restore_script(server, &name, dump.clone(), plan_into(RestoreMode::New, into)).await, &["name"]);
    }
    refused(Bench::new().restore_script(server, "not_there", dump, plan(RestoreMode::Append, json!({}))).await, &["not_there"]);
}

#[tokio::test]
async fn definers_are_kept_with_a_warning_or_dropped_for_an_account_without_rights_on_others() {
    for server in BOTH.map(shared) {
        let (name, dump) = shop(server).await;
        let dump = dump.replace("DEFINER=`admin`@`%`", "DEFINER=`gone`@`10.0.0.%`");
        assert!(dump.contains("gone"));
        let target = format!("{name}_definers");
        let outcome = Bench::new().restore_script(server, &name, dump.clone(), plan_into(RestoreMode::New, &target)).await.unwrap();
        assert!(outcome.warnings.iter().any(|warning| warning.contains("gone@10.0.0.%")), "{:?}", outcome.warnings);
        let of = |target: &str| format!("SELECT definer FROM information_schema.triggers WHERE trigger_schema = '{target}'");
        assert_eq!(rows::<String>(server, "", &of(&target)).await, ["gone@10.0.0.%"]);

        // An account that may do everything in one database and nothing else.
        let own = format!("{name}_own");
        let user = format!("u_{name}");
        execute(
            server,
            "",
            &[
                &format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{}'", PASSWORD.replace('\\', "\\\\").replace('\'', "''")),
                &format!("GRANT ALL ON {}.* TO '{user}'@'%'", ident(&own)),
                &format!("GRANT SELECT ON {}.* TO '{user}'@'%'", ident(&name)),
            ],
        )
        .await;
        let mut limited = settings(server, &name);
        limited.insert("user".into(), user.clone().into());
        let into = |definers: &str| RestorePlan { target_name: Some(own.clone()), ..plan(RestoreMode::New, json!({"definers": definers})) };
        let refusal = Bench::new().restore_to(&limited, dump.clone().into(), &[], into("keep")).await;
        refused(refusal, &["definers", "drop", "dropped again"]);
        Bench::new().restore_to(&limited, dump.into(), &[], into("drop")).await.unwrap();
        assert_eq!(rows::<String>(server, "", &of(&own)).await, [format!("{user}@%")]);
        assert_eq!(number(server, &own, "SELECT COUNT(*) FROM open").await, 3);
    }
}

#[tokio::test]
async fn gtids_and_the_binary_log_are_left_alone_unless_wanted() {
    let server = shared(Flavour::MySql97);
    let name = server.database("gtid").await;
    let script = "SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\nSET @@SESSION.SQL_LOG_BIN= 0;\n\
        SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';\nCREATE TABLE t (a INT);\n\
        SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;\n";
    Bench::new().restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await.unwrap();
    let purged = "SELECT CAST(COUNT(*) AS SIGNED) FROM (SELECT @@GLOBAL.gtid_executed AS g) x WHERE g LIKE '%3e11fa47%'";
    assert_eq!(number(server, &name, purged).await, 0);
    Bench::new().restore_script(server, &name, script, plan(RestoreMode::Clean, json!({"gtid": true}))).await.unwrap();
    assert_eq!(number(server, &name, purged).await, 1);
}
