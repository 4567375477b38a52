//! Everything a database can hold comes back as it was, row by row and definition by definition.

use dbsnap::domain::restore::RestoreMode;
use mysql_async::{Row, Value, prelude::Queryable as _};

use super::{Bench, plan_into, rows, tool_dump};
use crate::support::mysql::{Flavour, Server, ident, shared};

/// A database with one of everything.
pub async fn everything(server: &Server) -> String {
    let name = server.database("everything").await;
    let fixture = if server.flavour.is_mariadb() { "everything_mariadb.sql" } else { "everything_mysql.sql" };
    let path = format!("{}/tests/fixtures/mysql/{fixture}", env!("CARGO_MANIFEST_DIR"));
    let client = if server.flavour.is_mariadb() { "mariadb" } else { "mysql" };
    let source = format!("source {path}");
    let sourcing = if server.flavour.is_mariadb() { "--abort-source-on-error" } else { "--commands=ON" };
    server.tool(server.flavour, client, &[sourcing, "--default-character-set=utf8mb4", "--comments", "-e", &source, &name]);
    name
}

/// Every definition and every row, as text.
pub async fn picture(server: &Server, database: &str) -> Vec<String> {
    let mut connection = server.connect(database).await;
    connection.query_drop("SET sql_mode = ''").await.unwrap();
    let mut picture = Vec::new();
    let tables: Vec<(String, String)> = connection
        .query("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1")
        .await
        .unwrap();
    for (table, kind) in tables {
        let row: Row = connection.query_first(format!("SHOW CREATE TABLE {}", ident(&table))).await.unwrap().unwrap();
        picture.push(format!("{table} {kind}: {}", row.get::<String, _>(1).unwrap()));
        if kind == "SEQUENCE" {
            let next: Option<Row> = connection.query_first(format!("SELECT next_not_cached_value FROM {}", ident(&table))).await.unwrap();
            picture.push(format!("{next:?}"));
            continue;
        }
        let columns: Vec<String> = connection
            .exec("SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position", (&table,))
            .await
            .unwrap();
        let columns: Vec<String> = columns.iter().map(|column| ident(column)).collect();
        // The binary protocol: a FLOAT has all its digits.
        let found: Vec<Row> = connection.exec(format!("SELECT {} FROM {}", columns.join(", "), ident(&table)), ()).await.unwrap();
        let mut lines: Vec<String> = found.into_iter().map(|row| format!("{table}: {:?}", row.unwrap())).collect();
        lines.sort();
        picture.extend(lines);
    }
    for (names, word, column) in [
        ("SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1", "TRIGGER", 2),
        (
            "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION' ORDER BY 1",
            "FUNCTION",
            2,
        ),
        (
            "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE' ORDER BY 1",
            "PROCEDURE",
            2,
        ),
        ("SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY 1", "EVENT", 3),
    ] {
        for name in connection.query::<String, _>(names).await.unwrap() {
            let row: Row = connection.query_first(format!("SHOW CREATE {word} {}", ident(&name))).await.unwrap().unwrap();
            let mode: Value = row.get(1).unwrap();
            picture.push(format!("{word} {name} {mode:?}: {}", row.get::<String, _>(column).unwrap()));
        }
    }
    connection.disconnect().await.unwrap();
    picture
}

pub async fn assert_same(server: &Server, one: &str, other: &str) {
    let (one, other) = (picture(server, one).await, picture(server, other).await);
    assert!(one.len() > 5);
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

async fn check(flavour: Flavour) {
    let server = shared(flavour);
    let source = everything(server).await;
    let dump = tool_dump(server, &["--routines", "--events", "--triggers", "--hex-blob", "--single-transaction", &source]);
    let target = format!("{source}_copy");
    let bench = Bench::new();
    let outcome = bench.restore_script(server, &source, dump.clone(), plan_into(RestoreMode::New, &target)).await.unwrap();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert_same(server, &source, &target).await;
    let counted: Vec<_> = outcome.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert!(
        counted.contains(&("customers", 5)) && counted.contains(&("odd `name`. $x;", 2)) && counted.contains(&("empty", 0)),
        "{counted:?}"
    );
    assert!(!counted.iter().any(|(name, _)| *name == "zz_first"), "a view is no table");

    // In the place of a changed one.
    super::execute(server, &target, &["DROP VIEW aa_second", "DELETE FROM orders", "CREATE TABLE later (a INT)", "DROP FUNCTION twice"])
        .await;
    bench.restore_script(server, &target, dump.clone(), plan_into(RestoreMode::Drop, &target)).await.unwrap();
    assert_same(server, &source, &target).await;
    bench.restore_script(server, &target, dump, plan_into(RestoreMode::Clean, &target)).await.unwrap();
    assert_same(server, &source, &target).await;
    let left: Vec<(String,)> =
        rows(server, "", &format!("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '{source}%dbsnap%'")).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn everything_of_mysql_comes_back() {
    check(Flavour::MySql97).await;
}

#[tokio::test]
async fn everything_of_mariadb_comes_back() {
    check(Flavour::MariaDb1011).await;
}

#[tokio::test]
async fn everything_of_the_newer_mariadb_comes_back() {
    check(Flavour::MariaDb118).await;
}

#[tokio::test]
async fn a_portable_database_moves_between_the_flavours() {
    for (from, to) in
        [(Flavour::MariaDb1011, Flavour::MySql97), (Flavour::MariaDb118, Flavour::MySql97), (Flavour::MySql97, Flavour::MariaDb1011)]
    {
        let (from, to) = (shared(from), shared(to));
        let source = from.database("portable").await;
        super::execute(
            from,
            &source,
            &[
                "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT, j JSON, at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP)",
                // Values for generated columns stand in MariaDB's dumps, and MySQL refuses them.
                if from.flavour.is_mariadb() {
                    "CREATE TABLE b (a INT, v DECIMAL(10,2) DEFAULT 1.5, FOREIGN KEY (a) REFERENCES a (id))"
                } else {
                    "CREATE TABLE b (a INT, v DECIMAL(10,2) GENERATED ALWAYS AS (a * 1.5) STORED, FOREIGN KEY (a) REFERENCES a (id))"
                },
                "INSERT INTO a (t, j) VALUES ('é🐘\\\\\\'', '{\"a\": 1}'), (NULL, NULL)",
                "INSERT INTO b (a) VALUES (1), (2), (NULL)",
                "CREATE VIEW v AS SELECT a.t, b.v FROM a JOIN b ON a.id = b.a",
                "CREATE TRIGGER tr BEFORE INSERT ON b FOR EACH ROW SET NEW.a = COALESCE(NEW.a, 1)",
                "CREATE PROCEDURE p() BEGIN SELECT 1; END",
            ],
        )
        .await;
        let dump = tool_dump(from, &["--routines", "--events", "--triggers", "--hex-blob", "--databases", &source]);
        let target = format!("{source}_from_{:?}", from.flavour);
        let outcome = Bench::new().restore_script(to, "", dump, plan_into(RestoreMode::New, &target)).await.unwrap();
        assert_eq!(outcome.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [2, 3], "{:?}", outcome.warnings);
        for sql in ["SELECT id, t, CAST(at AS CHAR) FROM a ORDER BY 1", "SELECT a, CAST(v AS CHAR), '' FROM b ORDER BY 1"] {
            let read = async |server: &Server, name: &str| rows::<(Option<i64>, Option<String>, Option<String>)>(server, name, sql).await;
            assert_eq!(read(from, &source).await, read(to, &target).await);
        }
        assert_eq!(super::number(to, &target, "SELECT COUNT(*) FROM v").await, 2);
    }
}
