//! Dump options.

use serde_json::{Value, json};

use super::{Bench, Dumped, refused, run};
use crate::support::mysql::{FLAVOURS, Flavour, Options, Server, shared};

async fn shop(server: &Server) -> String {
    let name = server.database("options").await;
    let objects = [
        "CREATE TABLE orders (id INT PRIMARY KEY)",
        "INSERT INTO orders VALUES (1)",
        "CREATE TABLE order_log (id INT PRIMARY KEY, f FLOAT)",
        "INSERT INTO order_log VALUES (1, 0.1)",
        "CREATE TABLE people (id INT PRIMARY KEY)",
        "INSERT INTO people VALUES (1)",
        "CREATE VIEW open_orders AS SELECT * FROM orders",
        "CREATE TRIGGER trg BEFORE INSERT ON orders FOR EACH ROW SET NEW.id = NEW.id",
        "CREATE PROCEDURE prc () SELECT 1",
        "CREATE EVENT evt ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' DO SELECT 1",
    ];
    run(server, &name, &objects).await;
    name
}

async fn dump(server: &Server, name: &str, options: Value) -> Dumped {
    Bench::with(server.flavour).dump(server, name, options).await.unwrap()
}

#[tokio::test]
async fn each_option_leaves_out_what_it_says() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = shop(server).await;
        const MARKS: [&str; 10] = [
            "CREATE TABLE `orders`",
            "INSERT INTO `orders`",
            "CREATE TABLE `order_log`",
            "INSERT INTO `order_log`",
            "CREATE TABLE `people`",
            "INSERT INTO `people`",
            "VIEW `open_orders` AS",
            "TRIGGER",
            "PROCEDURE",
            "EVENT",
        ];
        for (options, expect) in [
            (json!({}), "1111111111"),
            (json!({"schemaOnly": true}), "1010101111"),
            (json!({"dataOnly": true}), "0101010000"),
            (json!({"triggers": false, "routines": false, "events": false}), "1111111000"),
            (json!({"includeTables": ["orders"]}), "1100000100"),
            (json!({"includeTables": ["order*", "open_*"]}), "1111001100"),
            (json!({"excludeTables": ["order*"]}), "0000111011"),
            (json!({"includeTables": ["order*"], "excludeTables": ["*_log"]}), "1100000100"),
        ] {
            let text = dump(server, &name, options.clone()).await.text();
            let found: String = MARKS.iter().map(|mark| if text.contains(mark) { '1' } else { '0' }).collect();
            assert_eq!(found, expect, "{flavour:?} {options}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_dumped_is_refused() {
    let server = shared(Flavour::MySql97);
    let name = shop(server).await;
    let bench = Bench::with(Flavour::MySql97);
    refused(bench.dump(server, &name, json!({"schemaOnly": true, "dataOnly": true})).await, &["schema only and data only"]);
    refused(bench.dump(server, &name, json!({"includeTables": ["orders", "ordesr"]})).await, &["'ordesr'", "check the tables"]);
}

#[tokio::test]
async fn transaction_ids_are_written_as_chosen() {
    let args = ["--log-bin=binlog", "--server-id=1", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"];
    let server = Server::start(Flavour::MySql97, &Options { args: &args, ..Options::default() });
    let name = shop(&server).await;
    let check = |options: Value, expect: (bool, bool)| {
        let (server, name) = (&server, &name);
        async move {
            let text = dump(server, name, options.clone()).await.text();
            let statement = text.lines().any(|line| line.starts_with("SET @@GLOBAL.GTID_PURGED"));
            assert_eq!((statement, text.contains("GTID_PURGED")), expect, "{options}");
        }
    };
    check(json!({}), (false, false)).await;
    check(json!({"gtid": "comment"}), (false, true)).await;
    check(json!({"gtid": "on"}), (true, true)).await;
    let text = dump(&server, &name, json!({"gtid": "on"})).await.text();
    assert!(text.find("SQL_LOG_BIN= 0").unwrap() < text.find("CREATE TABLE").unwrap(), "nothing of the restore is logged");

    let server = Server::start(Flavour::MariaDb1011, &Options { args: &["--log-bin=binlog", "--server-id=1"], ..Options::default() });
    let name = shop(&server).await;
    assert!(!dump(&server, &name, json!({})).await.text().contains("gtid_slave_pos"));
    assert!(dump(&server, &name, json!({"gtid": "comment"})).await.text().contains("-- SET GLOBAL gtid_slave_pos"));
    assert!(dump(&server, &name, json!({"gtid": "on"})).await.text().contains("\nSET GLOBAL gtid_slave_pos"));
}
