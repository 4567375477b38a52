//! Each way to restore, and its options.

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};
use serde_json::json;

use super::{Bench, Dumped, databases, number, plan, plan_into, refused, round_trip::assert_same};
use crate::support::postgres::{Server, ident, shared};

const SHOP: &str = "
    CREATE TYPE state AS ENUM ('open', 'paid');
    CREATE TABLE customers (id serial PRIMARY KEY, name text);
    CREATE TABLE orders (id serial PRIMARY KEY, customer_id int REFERENCES customers, state state DEFAULT 'open');
    CREATE INDEX orders_state ON orders (state);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TABLE log (at date) PARTITION BY RANGE (at);
    CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE SCHEMA other; CREATE TABLE other.\"orders; --\" (a int);
    INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 100) n;
    INSERT INTO orders (customer_id) SELECT 1 + n % 100 FROM generate_series(1, 300) n;
    INSERT INTO log SELECT '2026-03-01' FROM generate_series(1, 5);
    INSERT INTO other.\"orders; --\" VALUES (1), (2)";

async fn shop(server: &Server) -> (String, Dumped) {
    let name = server.database("shop").await;
    server.connect(&name).await.batch_execute(SHOP).await.unwrap();
    let dumped = Bench::new().dump(server, &name, json!({})).await.unwrap();
    (name, dumped)
}

#[tokio::test]
async fn new_refuses_a_database_that_exists_and_leaves_it_alone() {
    let server = shared(15);
    let (name, dumped) = shop(server).await;
    server.connect(&name).await.batch_execute("DELETE FROM orders").await.unwrap();
    let error = refused(Bench::new().restore(server, &name, &dumped, plan(RestoreMode::New, json!({}))).await, &[&name, "exists already"]);
    assert_eq!(error.kind.code(), "CONFLICT");
    assert_eq!(number(server, &name, "SELECT count(*) FROM orders").await, 0);
}

#[tokio::test]
async fn drop_replaces_the_database_and_keeps_what_is_its_own() {
    let server = shared(15);
    let (name, dumped) = shop(server).await;
    let copy = format!("{name}_as_it_was");
    let bench = Bench::new();
    bench.restore(server, &name, &dumped, plan_into(RestoreMode::New, &copy)).await.unwrap();
    let change = format!(
        "DROP TABLE orders; CREATE TABLE later (a int); ALTER DATABASE {0} SET work_mem TO '7MB'; COMMENT ON DATABASE {0} IS 'mine'; REVOKE TEMP ON DATABASE {0} FROM PUBLIC",
        ident(&name)
    );
    server.connect(&name).await.batch_execute(&change).await.unwrap();
    let outcome = bench.restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({"analyze": true}))).await.unwrap();
    assert_eq!((outcome.tables, outcome.warnings), (dumped.tables, vec![]));
    assert_same(server, &copy, server, &name).await;
    let client = server.connect(&name).await;
    let row = client
        .query_one(
            "SELECT current_setting('work_mem'), shobj_description(oid, 'pg_database'), has_database_privilege('pg_monitor', oid, 'TEMP'),
                    (SELECT reltuples FROM pg_class WHERE relname = 'orders')::int FROM pg_database WHERE datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), ("7MB", Some("mine"), false, 300));
    assert!(!databases(server).await.iter().any(|other| other.contains(&format!("{name}_dbsnap"))));
}

#[tokio::test]
async fn drop_waits_for_nobody_unless_it_may_end_connections() {
    let server = shared(15);
    let (name, dumped) = shop(server).await;
    let user = server.connect(&name).await;
    user.batch_execute("DELETE FROM orders").await.unwrap();
    let bench = Bench::new();
    let wanted = plan(RestoreMode::Drop, json!({}));
    refused(bench.restore(server, &name, &dumped, wanted.clone()).await, &["others are connected", "the database is as it was"]);
    assert_eq!(user.query_one("SELECT count(*) FROM orders", &[]).await.unwrap().get::<_, i64>(0), 0, "still connected, still as it was");
    bench.restore(server, &name, &dumped, RestorePlan { end_connections: true, ..wanted }).await.unwrap();
    assert!(user.batch_execute("SELECT 1").await.is_err(), "the session was ended");
    assert_eq!(number(server, &name, "SELECT count(*) FROM orders").await, 300);
    assert!(!databases(server).await.iter().any(|other| other.contains(&format!("{name}_dbsnap"))));
}

#[tokio::test]
async fn clean_replaces_objects_in_place_and_append_adds() {
    let server = shared(17);
    let (name, dumped) = shop(server).await;
    let client = server.connect(&name).await;
    client.batch_execute("DELETE FROM orders; CREATE TABLE mine (a int)").await.unwrap();
    let bench = Bench::new();
    refused(bench.restore(server, &name, &dumped, plan(RestoreMode::Append, json!({}))).await, &["already exists", "new database"]);
    bench.restore(server, &name, &dumped, plan(RestoreMode::Clean, json!({"singleTransaction": true}))).await.unwrap();
    assert_eq!(number(server, &name, "SELECT count(*) FROM orders").await, 300);
    assert_eq!(
        number(server, &name, "SELECT count(*) FROM pg_class WHERE relname = 'mine'").await,
        1,
        "what the backup does not hold stays"
    );
    bench.restore(server, &name, &dumped, plan(RestoreMode::Clean, json!({}))).await.unwrap();

    client.batch_execute("TRUNCATE customers, orders").await.unwrap();
    let rows = RestorePlan {
        content: RestoreContent::Data,
        tables: vec!["orders".into(), "public.customers".into()],
        ..plan(RestoreMode::Append, json!({"disableTriggers": true, "jobs": 1}))
    };
    let outcome = bench.restore(server, &name, &dumped, rows).await.unwrap();
    assert_eq!(outcome.tables.iter().map(|table| table.rows).sum::<u64>(), 400);
    refused(bench.restore(server, "not_there", &dumped, plan(RestoreMode::Append, json!({}))).await, &["not_there", "does not exist"]);
}

#[tokio::test]
async fn schema_alone_and_chosen_tables_are_restored() {
    let server = shared(15);
    let (name, dumped) = shop(server).await;
    let bench = Bench::new();
    let empty = format!("{name}_schema");
    bench
        .restore(server, &name, &dumped, RestorePlan { content: RestoreContent::Schema, ..plan_into(RestoreMode::New, &empty) })
        .await
        .unwrap();
    assert_eq!(number(server, &empty, "SELECT count(*) FROM orders").await, 0);

    let some = format!("{name}_some");
    let chosen = vec!["orders".into(), "log".into(), "other.orders; --".into()];
    let outcome =
        bench.restore(server, &name, &dumped, RestorePlan { tables: chosen, ..plan_into(RestoreMode::New, &some) }).await.unwrap();
    let mut labels: Vec<_> = outcome.tables.iter().map(|table| format!("{} {}", table.label(), table.rows)).collect();
    labels.sort();
    assert_eq!(labels, ["other.orders; -- 2", "public.log_2026 5", "public.orders 300"]);
    assert!(outcome.warnings.iter().any(|warning| warning.contains("orders_customer_id_fkey")), "{:?}", outcome.warnings);
    let found = "SELECT count(*) FROM pg_class WHERE relname IN ('orders_pkey', 'orders_state', 'orders_id_seq', 'log')";
    assert_eq!(number(server, &some, found).await, 4);
    assert_eq!(number(server, &some, "SELECT nextval('orders_id_seq')").await, 301, "the sequence goes on");
    assert_eq!(number(server, &some, "SELECT count(*) FROM pg_trigger WHERE tgname = 'noted'").await, 1);
    assert_eq!(number(server, &some, "SELECT count(*) FROM pg_class WHERE relname = 'customers'").await, 0);
    let wrong = RestorePlan { tables: vec!["nope".into()], ..plan_into(RestoreMode::New, "x") };
    refused(bench.restore(server, &name, &dumped, wrong).await, &["no table nope"]);
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused_before_anything_is_read() {
    let server = shared(15);
    let (name, dumped) = shop(server).await;
    for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean] {
        let rows = RestorePlan { content: RestoreContent::Data, ..plan(mode, json!({})) };
        refused(Bench::new().restore(server, &name, &dumped, rows).await, &["rows alone", "append"]);
    }
}

#[tokio::test]
async fn errors_stop_a_restore_unless_it_may_go_on() {
    let server = shared(15);
    server.connect("postgres").await.batch_execute("CREATE ROLE gone_role").await.unwrap();
    let name = server.database("owned").await;
    let client = server.connect(&name).await;
    client.batch_execute("CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO gone_role").await.unwrap();
    let bench = Bench::new();
    let dumped = bench.dump(server, &name, json!({})).await.unwrap();
    client.batch_execute("DROP TABLE t; DROP ROLE gone_role").await.unwrap();
    refused(bench.restore(server, &name, &dumped, plan_into(RestoreMode::New, "owned_strict")).await, &["gone_role", "without owners"]);
    assert!(!databases(server).await.contains(&"owned_strict".to_owned()));
    for (target, options, warnings) in
        [("owned_loose", json!({"exitOnError": false}), 1), ("owned_without", json!({"noOwner": true, "noPrivileges": true}), 0)]
    {
        let wanted = RestorePlan { engine: options.as_object().unwrap().clone(), ..plan_into(RestoreMode::New, target) };
        let outcome = bench.restore(server, &name, &dumped, wanted).await.unwrap();
        assert_eq!((outcome.tables[0].rows, outcome.warnings.len()), (1, warnings), "{:?}", outcome.warnings);
    }
}

#[tokio::test]
async fn dump_options_do_what_they_say() {
    let server = shared(18);
    let (name, _) = shop(server).await;
    let bench = Bench::new();
    let labels = async |options| {
        let dumped = bench.dump(server, &name, options).await.unwrap();
        dumped.tables.iter().map(|table| table.label()).collect::<Vec<_>>()
    };
    assert_eq!(labels(json!({"schemaOnly": true})).await, Vec::<String>::new());
    assert_eq!(labels(json!({"includeTables": ["orders", "customers"]})).await, ["public.customers", "public.orders"]);
    assert_eq!(labels(json!({"excludeSchemas": ["public"]})).await, ["other.orders; --"]);
    assert_eq!(labels(json!({"includeSchemas": ["public"], "excludeTables": ["log*", "customers"]})).await, ["public.orders"]);
    assert_eq!(labels(json!({"dataOnly": true})).await.len(), 4);
    refused(bench.dump(server, &name, json!({"includeTables": ["nope"]})).await, &["no matching tables"]);
    refused(bench.dump(server, &name, json!({"dataOnly": true, "schemaOnly": true})).await, &["both"]);
}
