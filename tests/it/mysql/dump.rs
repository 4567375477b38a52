//! What a dump holds: everything, as the server has it, in one file that stock clients restore.

use serde_json::json;

use super::{Bench, by_hand, contents, run};
use crate::support::mysql::{FLAVOURS, Flavour, Server, ident, shared};

/// A database with a column of every type and an object of every kind.
async fn everything(server: &Server) -> String {
    let name = server.database("everything").await;
    let types = "CREATE TABLE types (id INT PRIMARY KEY AUTO_INCREMENT, ti TINYINT, b1 BOOL, si SMALLINT UNSIGNED, mi MEDIUMINT, bi BIGINT UNSIGNED,
        de DECIMAL(30,10), fl FLOAT, fld FLOAT(7,3), db DOUBLE, bt BIT(12), da DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, tm TIME(2), ye YEAR,
        ch CHAR(5), vc VARCHAR(50), bin BINARY(4), vb VARBINARY(10), tb TINYBLOB, bl BLOB, mt MEDIUMTEXT, js JSON, en ENUM('a','b''c'),
        se SET('x','y'), ge GEOMETRY, zf INT(6) ZEROFILL, gv INT AS (ti + 1) VIRTUAL, gs VARCHAR(60) AS (CONCAT(vc, '!')) STORED)";
    let first = r#"INSERT INTO types (ti, b1, si, mi, bi, de, fl, fld, db, bt, da, dt, ts, tm, ye, ch, vc, bin, vb, tb, bl, mt, js, en, se, ge, zf) VALUES
        (-128, 1, 65535, -8388608, 18446744073709551615, 12345678901234567890.0123456789, 16777217, 1234.567, 0.1e-300, b'101010101010',
         '1000-01-01', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01.001', '-838:59:59.00', 1901, 'a', 'it''s "q" \\ \n\r\t\0 \Z é 🐬', x'00ff0a27',
         x'', x'00', x'deadbeef005c27', 'long', '{"a": [1, "b''\\"", null], "é": 1.5}', 'b''c', 'x,y', ST_GeomFromText('POINT(1 2)'), 42)"#;
    let objects = [
        "CREATE TABLE child (id INT PRIMARY KEY, parent INT, fl FLOAT, FOREIGN KEY (parent) REFERENCES types (id))",
        "INSERT INTO types (ti) VALUES (NULL), (0)",
        "INSERT INTO child VALUES (1, 1, 0.1), (2, NULL, NULL)",
        "CREATE TABLE log (n INT)",
        "CREATE TABLE unused (f FLOAT)",
        "CREATE VIEW seen AS SELECT id, fl FROM types",
        "CREATE VIEW again AS SELECT * FROM seen",
        "CREATE TRIGGER noted AFTER INSERT ON child FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
        "CREATE PROCEDURE proc () BEGIN SELECT ';;', \"it's\"; END",
        "CREATE FUNCTION func (a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
        "CREATE EVENT evt ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' DO DELETE FROM log",
    ];
    run(server, &name, &[&["SET sql_mode = ''", types, first][..], &objects].concat()).await;
    if server.flavour.is_mariadb() {
        let own = ["CREATE SEQUENCE sq START WITH 7", "CREATE TABLE own (u UUID, i INET6, f FLOAT)"];
        run(server, &name, &own).await;
        run(server, &name, &["INSERT INTO own VALUES ('123e4567-e89b-12d3-a456-426614174000', '::1', 0.3)"]).await;
    } else {
        let own = ["CREATE TABLE own (id INT PRIMARY KEY, v VECTOR(2), f FLOAT, hidden INT INVISIBLE DEFAULT 5)"];
        run(server, &name, &own).await;
        run(server, &name, &["INSERT INTO own (id, v, f, hidden) VALUES (1, STRING_TO_VECTOR('[1,2]'), 0.3, 9)"]).await;
    }
    name
}

#[tokio::test]
async fn everything_comes_back_by_the_stock_client() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = everything(server).await;
        let bench = Bench::with(flavour);
        let dumped = bench.dump(server, &name, json!({})).await.unwrap();
        assert_eq!(dumped.facts.warnings, [""; 0], "{flavour:?}");
        let text = dumped.text();
        assert!(text.starts_with("-- M"), "{flavour:?}: the sandbox line is gone: {:.60}", text);
        assert_eq!(text.matches("-- Dump completed").count(), 1);
        assert!(text.trim_end().lines().last().unwrap().starts_with("-- Dump completed on "));
        let copy = server.database("copy").await;
        assert_eq!(by_hand(flavour, server, &copy, &dumped.dump), "");
        assert_eq!(contents(server, &copy).await, contents(server, &name).await, "{flavour:?}");
    }
}

#[tokio::test]
async fn each_flavours_program_dumps_the_others_server_and_says_so() {
    for (tool, server) in [
        (Flavour::MySql97, Flavour::MariaDb1011),
        (Flavour::MySql97, Flavour::MariaDb118),
        (Flavour::MariaDb1011, Flavour::MySql97),
        (Flavour::MariaDb118, Flavour::MySql97),
    ] {
        let home = shared(server);
        let name = home.database("crossed").await;
        let rows = "INSERT INTO t VALUES (1, 0.1, 'it''s', x'00ff'), (2, 16777217, '🐬', NULL)";
        let table = "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, s VARCHAR(20) CHARACTER SET utf8mb4, b BLOB)";
        run(home, &name, &[table, rows, "CREATE VIEW v AS SELECT f FROM t", "CREATE TABLE plain AS SELECT id, s FROM t"]).await;
        let dumped = Bench::with(tool).dump(home, &name, json!({})).await.unwrap();
        assert!(dumped.warns(&["is not made for"]), "{:?}", dumped.facts.warnings);
        let copy = home.database("copy").await;
        assert_eq!(by_hand(server, home, &copy, &dumped.dump), "");
        assert_eq!(contents(home, &copy).await, contents(home, &name).await, "{tool:?} {server:?}");
    }
}

#[tokio::test]
async fn mariadbs_program_is_refused_where_it_would_write_values_that_cannot_be_restored() {
    let server = shared(Flavour::MySql97);
    let name = server.database("generated").await;
    run(server, &name, &["CREATE TABLE t (a INT, b INT AS (a + 1) STORED)"]).await;
    let result = Bench::with(Flavour::MariaDb1011).dump(server, &name, json!({})).await;
    super::refused(result, &["generated columns", "install mysql-client", "MYSQL_BIN_DIRS"]);
}

#[tokio::test]
async fn rows_larger_than_the_usual_packet_are_whole() {
    for flavour in [Flavour::MySql97, Flavour::MariaDb1011] {
        let server = shared(flavour);
        let name = server.database("huge").await;
        let fill = "INSERT INTO plain VALUES (1, REPEAT(x'00ff27', 10500000)), (2, 'small')";
        let tables =
            ["CREATE TABLE plain (id INT PRIMARY KEY, b LONGBLOB)", "CREATE TABLE floats (id INT PRIMARY KEY, b LONGBLOB, f FLOAT)"];
        run(server, &name, &[tables[0], tables[1], fill, "INSERT INTO floats SELECT id, b, 0.1 FROM plain"]).await;
        let dumped = Bench::with(flavour).dump(server, &name, json!({})).await.unwrap();
        assert!(dumped.dump.len() > 4 * 31_000_000);
        let rows: Vec<_> = dumped.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
        assert!(rows.contains(&("plain", 2)) && rows.contains(&("floats", 2)), "{rows:?}");
        let text = dumped.text();
        assert!(text.contains("00FF2700FF27") && text.contains("INSERT INTO `floats`"));
        run(server, "", &[&format!("DROP DATABASE {}", ident(&name))]).await;
    }
}

#[tokio::test]
async fn all_databases_of_a_server_are_one_dump_that_makes_them() {
    for flavour in [Flavour::MySql97, Flavour::MariaDb1011] {
        let server = Server::start(flavour, &crate::support::mysql::Options::default());
        for name in ["shop", "crm`x", "-h"] {
            let made = format!("CREATE DATABASE {} CHARACTER SET latin1", ident(name));
            run(&server, "", &[&made]).await;
            run(
                &server,
                name,
                &["CREATE TABLE f (id INT PRIMARY KEY, f FLOAT)", "INSERT INTO f VALUES (1, 16777217)", "CREATE TABLE t (a INT)"],
            )
            .await;
            run(&server, name, &["CREATE VIEW v AS SELECT f FROM f", "CREATE PROCEDURE p () SELECT 1"]).await;
        }
        let dumped = Bench::with(flavour).dump(&server, "", json!({"allDatabases": true})).await.unwrap();
        assert!(!dumped.text().contains("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `mysql`"));
        let mut before = Vec::new();
        for name in ["shop", "crm`x", "-h"] {
            before.push(contents(&server, name).await);
            run(&server, "", &[&format!("DROP DATABASE {}", ident(name))]).await;
        }
        assert_eq!(by_hand(flavour, &server, "", &dumped.dump), "");
        for (name, before) in ["shop", "crm`x", "-h"].iter().zip(before) {
            assert_eq!(contents(&server, name).await, before, "{name}");
        }
    }
}

#[tokio::test]
async fn an_old_client_restores_a_dump_of_a_new_server() {
    let server = shared(Flavour::MariaDb118);
    let name = server.database("new").await;
    run(server, &name, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"]).await;
    let dumped = Bench::with(Flavour::MariaDb118).dump(server, &name, json!({})).await.unwrap();
    let copy = server.database("copy").await;
    // MySQL's client and MariaDB's before 10.5.25 stop at the sandbox line.
    assert_eq!(by_hand(Flavour::MySql97, server, &copy, &dumped.dump), "");
    assert_eq!(contents(server, &copy).await, contents(server, &name).await);
}
