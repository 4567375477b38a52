//! Names that could be taken for something else.

use serde_json::json;

use super::{Bench, by_hand, contents, run};
use crate::support::mysql::{FLAVOURS, ident, shared};

/// Names hold no character beyond U+FFFF: MariaDB refuses them, MySQL writes a question mark.
const NAMES: &[&str] = &[
    "a`b",
    "a.b",
    "a$b",
    "-h",
    "--all-databases",
    "--result-file=x",
    "☃",
    "a'b\"c\\d",
    "a b",
    "100%",
    "x;y",
    "*",
    "a#b",
    "\\n",
    "é",
    "..",
    "select",
    "a/b",
    "-- x",
];

#[tokio::test]
async fn odd_names_of_tables_are_dumped_restored_chosen_and_left_out() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("names").await;
        let tables: Vec<&str> = NAMES.iter().copied().chain(["new\nline", "tab\there"]).collect();
        for table in &tables {
            let quoted = ident(table);
            run(
                server,
                &name,
                &[&format!("CREATE TABLE {quoted} ({quoted} INT PRIMARY KEY)"), &format!("INSERT INTO {quoted} VALUES (7)")],
            )
            .await;
        }
        let bench = Bench::with(flavour);
        let whole = bench.dump(server, &name, json!({})).await.unwrap();
        let copy = server.database("copy").await;
        assert_eq!(by_hand(flavour, server, &copy, &whole.dump), "");
        assert_eq!(contents(server, &copy).await, contents(server, &name).await, "{flavour:?}");
        for table in NAMES.iter().filter(|table| **table != "*") {
            let only =
                bench.dump(server, &name, json!({"includeTables": [table]})).await.unwrap_or_else(|error| panic!("{table}: {error}"));
            assert_eq!(only.text().matches("INSERT INTO").count(), 1, "{table}");
            assert!(only.text().contains(&format!("INSERT INTO {} VALUES", ident(table))), "{table}");
        }
        let without = bench
            .dump(server, &name, json!({"excludeTables": NAMES.iter().filter(|name| **name != "*").collect::<Vec<_>>()}))
            .await
            .unwrap();
        assert_eq!(without.text().matches("INSERT INTO").count(), 3, "the star, the line break and the tab");
    }
}

#[tokio::test]
async fn odd_names_of_tables_and_columns_with_floats_too() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("names").await;
        for table in NAMES.iter().chain(&["new\nline"]) {
            let quoted = ident(table);
            run(server, &name, &[&format!("CREATE TABLE {quoted} ({quoted} FLOAT)"), &format!("INSERT INTO {quoted} VALUES (16777217)")])
                .await;
        }
        let whole = Bench::with(flavour).dump(server, &name, json!({})).await.unwrap();
        assert_eq!(whole.text().matches("(16777216)").count(), NAMES.len() + 1);
        let copy = server.database("copy").await;
        assert_eq!(by_hand(flavour, server, &copy, &whole.dump), "");
        assert_eq!(contents(server, &copy).await, contents(server, &name).await, "{flavour:?}");
    }
}

#[tokio::test]
async fn odd_names_of_databases_are_dumped() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        for name in NAMES.iter().filter(|name| !name.contains('/') && **name != "..") {
            let name = format!("{name}n");
            run(server, "", &[&format!("DROP DATABASE IF EXISTS {}", ident(&name)), &format!("CREATE DATABASE {}", ident(&name))]).await;
            run(server, &name, &["CREATE TABLE t (a INT)", "CREATE TABLE f (a FLOAT)", "CREATE TABLE out_ (a INT)"]).await;
            let dumped = Bench::with(flavour).dump(server, &name, json!({"excludeTables": ["out*"]})).await.unwrap();
            let text = dumped.text();
            assert!(text.contains("CREATE TABLE `t`") && text.contains("CREATE TABLE `f`") && !text.contains("out_"), "{name}: {text}");
            run(server, "", &[&format!("DROP DATABASE {}", ident(&name))]).await;
        }
    }
}
