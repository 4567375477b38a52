//! Chosen tables, and chosen databases of a dump of several.

use dbsnap::domain::restore::{RestoreMode, RestorePlan};
use serde_json::json;

use super::{Bench, databases, execute, modes::shop, number, plan, plan_into, refused, tool_dump};
use crate::support::mysql::{Flavour, shared};

const BOTH: [Flavour; 2] = [Flavour::MySql97, Flavour::MariaDb1011];

#[tokio::test]
async fn chosen_tables_come_with_their_triggers_and_without_keys_to_others() {
    for server in BOTH.map(shared) {
        let (name, dump) = shop(server).await;
        let target = format!("{name}_chosen");
        let chosen = |tables: &[&str]| RestorePlan {
            tables: tables.iter().map(|&table| table.to_owned()).collect(),
            ..plan_into(RestoreMode::New, &target)
        };
        let outcome = Bench::new().restore_script(server, &name, dump.clone(), chosen(&["orders", "open"])).await.unwrap();
        assert_eq!(outcome.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect::<Vec<_>>(), [("orders", 4)]);
        assert!(
            outcome.warnings.iter().any(|warning| warning.contains("its_customer") && warning.contains("customers")),
            "{:?}",
            outcome.warnings
        );
        let count = |what: &str| {
            format!(
                "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.{what} WHERE {}_schema = '{target}'",
                what.trim_end_matches('s')
            )
        };
        assert_eq!(number(server, "", &count("tables")).await, 2, "the table and the view");
        assert_eq!(number(server, "", &count("triggers")).await, 1);
        assert_eq!(number(server, "", &count("routines")).await, 0);
        execute(server, &target, &["DROP TRIGGER noted", "INSERT INTO orders (customer) VALUES (77)"]).await;
        refused(Bench::new().restore_script(server, &name, dump.clone(), chosen(&["nope", "orders"])).await, &["no table nope"]);

        // Into the database itself: the other tables stay.
        execute(server, &name, &["DELETE FROM orders", "DELETE FROM customers WHERE id = 3"]).await;
        let clean = RestorePlan { tables: vec!["orders".into()], ..plan(RestoreMode::Clean, json!({})) };
        Bench::new().restore_script(server, &name, dump, clean).await.unwrap();
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM orders").await, 4);
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM customers").await, 2);
    }
}

#[tokio::test]
async fn a_dump_of_several_databases_is_restored_whole_or_one_of_it() {
    for server in BOTH.map(shared) {
        let ((one, _), (two, _)) = (shop(server).await, shop(server).await);
        execute(server, &two, &["DELETE FROM orders WHERE id > 1", &format!("ALTER DATABASE {two} CHARACTER SET latin1")]).await;
        let dump = tool_dump(server, &["--routines", "--events", "--triggers", "--databases", &one, &two]);
        let bench = Bench::new();
        let from = |name: &str| RestorePlan {
            engine: json!({"fromDatabase": name}).as_object().unwrap().clone(),
            ..plan_into(RestoreMode::New, &format!("{two}_alone"))
        };
        let outcome = bench.restore_script(server, "", dump.clone(), from(&two)).await.unwrap();
        assert!(
            outcome.tables.iter().any(|table| table.name == "orders" && table.rows == 1 && table.schema.is_none()),
            "{:?}",
            outcome.tables
        );
        let set = format!(
            "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.schemata WHERE schema_name = '{two}_alone' AND default_character_set_name = 'latin1'"
        );
        assert_eq!(number(server, "", &set).await, 1, "as the dump's CREATE DATABASE says");
        let wrong =
            RestorePlan { engine: json!({"fromDatabase": "nope"}).as_object().unwrap().clone(), ..plan_into(RestoreMode::New, "x") };
        refused(bench.restore_script(server, "", dump.clone(), wrong).await, &["no database 'nope'", &one]);
        refused(
            bench.restore_script(server, "", dump.clone(), plan_into(RestoreMode::New, "x")).await,
            &["several databases", "fromDatabase"],
        );
        refused(bench.restore_script(server, &one, dump.clone(), plan(RestoreMode::Drop, json!({}))).await, &["several"]);
        refused(bench.restore_script(server, "", dump.clone(), plan(RestoreMode::New, json!({}))).await, &["exists already"]);

        execute(server, "", &[&format!("DROP DATABASE {one}")]).await;
        execute(server, &two, &["DELETE FROM orders"]).await;
        let outcome = bench.restore_script(server, "", dump.clone(), plan(RestoreMode::Clean, json!({}))).await.unwrap();
        let rows = |database: &str| {
            outcome.tables.iter().find(|table| table.schema.as_deref() == Some(database) && table.name == "orders").unwrap().rows
        };
        assert_eq!((rows(&one), rows(&two)), (4, 1));
        execute(server, "", &[&format!("DROP DATABASE {one}"), &format!("DROP DATABASE {two}")]).await;
        bench.restore_script(server, "", dump, plan(RestoreMode::New, json!({}))).await.unwrap();
        assert_eq!(databases(server, &one).await, std::slice::from_ref(&one));
        assert_eq!(number(server, &two, "SELECT COUNT(*) FROM open").await, 1);
    }
}
