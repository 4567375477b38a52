//! A source's moment: one instant, without harm, by an account that may only read.

use std::time::Duration;

use dbsnap::{
    domain::{artifact::ArtifactKind, fields::validate, restore::RestoreMode, stream::channel},
    engines::{Engine, KeyRange, Order},
    snapshot::Key,
};
use serde_json::json;

use super::{Bench, Dumped, ENGINE, inspect, number, plan_into, refused, rows::table, settings};
use crate::support::postgres::shared;

/// Longer than any limit in these tests.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn rows_and_dump_are_of_the_same_instant() {
    for major in [13, 18] {
        let server = shared(major);
        let name = server.database("instant").await;
        let client = server.connect(&name).await;
        client
            .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, n FROM generate_series(1, 1000) n")
            .await
            .unwrap();
        let bench = Bench::new();
        let run = bench.run();
        let options = validate(ENGINE.info().dump_options, &Default::default()).unwrap();
        let mut dump = ENGINE.open_dump(&settings(server, &name), &options, true, &run).await.unwrap();
        client.batch_execute("UPDATE t SET n = -n; DELETE FROM t WHERE id > 500; CREATE TABLE late (a int)").await.unwrap();
        let (out, mut input) = channel();
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                all.extend_from_slice(&piece);
            }
            all
        });
        dump.write(ArtifactKind::Dump, out, &run).await.unwrap();
        let bytes = bytes::Bytes::from(gather.await.unwrap());
        client.batch_execute("UPDATE t SET n = 0").await.unwrap();
        // Nothing may empty the table between the dump and the rows.
        refused_by_lock(&client, "TRUNCATE t").await;
        let mut source = dump.source(&run).await.unwrap();
        assert_eq!(source.facts().moment, dump.facts().moment);
        drop(dump);
        let of = table(source.as_ref(), "t").clone();
        let found = bench.rows_of(source.as_mut(), &of).await;
        assert_eq!(source.schema().tables.len(), 1);
        drop(source);

        let dumped = Dumped {
            facts: facts(),
            tables: inspect(dbsnap::domain::artifact::DumpFormat::PgCustom, &bytes).unwrap(),
            dump: bytes,
            globals: None,
        };
        let copy = format!("{name}_copy");
        bench.restore(server, &name, &dumped, plan_into(RestoreMode::New, &copy)).await.unwrap();
        let mut restored = bench.source(server, &copy, json!({})).await.unwrap();
        let of = table(restored.as_ref(), "t").clone();
        assert_eq!(bench.rows_of(restored.as_mut(), &of).await, found, "PostgreSQL {major}");
        assert_eq!(found.len(), 1000);
    }
}

fn facts() -> dbsnap::engines::DumpFacts {
    dbsnap::engines::DumpFacts {
        moment: dbsnap::domain::time::Moment(0),
        server_version: String::new(),
        tool_version: None,
        size: None,
        tables: None,
        counts: None,
        warnings: Vec::new(),
    }
}

async fn refused_by_lock(client: &tokio_postgres::Client, sql: &str) {
    client.batch_execute("SET lock_timeout = 100").await.unwrap();
    let error = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE), "{sql}");
}

#[tokio::test]
async fn sums_stay_consistent_while_others_write() {
    let server = shared(15);
    let name = server.database("sums").await;
    let client = server.connect(&name).await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int);
        INSERT INTO a SELECT n, 100 FROM generate_series(1, 200) n; INSERT INTO b SELECT n, 100 FROM generate_series(1, 200) n",
        )
        .await
        .unwrap();
    let writer = tokio::spawn(async move {
        for at in 0..2000 {
            let id = at % 200 + 1;
            let sql = format!("BEGIN; UPDATE a SET n = n - 1 WHERE id = {id}; UPDATE b SET n = n + 1 WHERE id = {id}; COMMIT");
            client.batch_execute(&sql).await.unwrap();
        }
    });
    let bench = Bench::new();
    let mut opened = 0;
    while !writer.is_finished() || opened == 0 {
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        let mut sum = 0;
        for name in ["a", "b"] {
            let of = table(source.as_ref(), name).clone();
            sum +=
                bench.rows_of(source.as_mut(), &of).await.iter().map(|row| row[1].as_ref().unwrap().parse::<i64>().unwrap()).sum::<i64>();
        }
        assert_eq!(sum, 40_000);
        opened += 1;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_locked_table_and_a_long_statement_end_by_their_time_limits() {
    let server = shared(15);
    let name = server.database("limits").await;
    let holder = server.connect(&name).await;
    holder.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 200000)").await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let bench = Bench::new();
    let opening = bench.source(server, &name, json!({"lockTimeoutSeconds": 1}));
    let error = refused(
        tokio::time::timeout(PATIENCE, opening).await.expect("the limit ends it"),
        &["locking the tables", "raise the lock timeout"],
    );
    assert!(error.retryable);
    holder.batch_execute("COMMIT").await.unwrap();

    // Nobody takes the rows: the statement runs until its limit ends it.
    let mut source = bench.source(server, &name, json!({"statementTimeoutSeconds": 1})).await.unwrap();
    let of = table(source.as_ref(), "t").clone();
    let (sender, mut receiver) = dbsnap::snapshot::rows(&of).unwrap();
    let run = bench.run();
    let all = KeyRange::all();
    let reading = source.rows(&of, &all, sender, &run);
    let late = async {
        server.connect(&name).await.query_one("SELECT pg_sleep(2)", &[]).await.unwrap();
        while receiver.recv().await.is_some() {}
    };
    let (read, ()) = tokio::join!(reading, late);
    // What fits into the buffers on the way may have been sent in time.
    if let Err(error) = read {
        assert!(error.to_string().contains("raise the statement timeout"), "{error}");
    }
}

#[tokio::test]
async fn a_cancel_ends_the_statement_on_the_server() {
    let server = shared(15);
    let name = server.database("cancelled").await;
    server
        .connect(&name)
        .await
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n",
        )
        .await
        .unwrap();
    let bench = Bench::new();
    let mut source = bench.source(server, &name, json!({})).await.unwrap();
    let of = table(source.as_ref(), "t").clone();
    let (sender, mut receiver) = dbsnap::snapshot::rows(&of).unwrap();
    let (run, cancel) = (bench.run(), bench.cancel.clone());
    let all = KeyRange::all();
    let reading = source.rows(&of, &all, sender, &run);
    let cancelling = async {
        receiver.recv().await.unwrap();
        cancel.cancel();
    };
    let (read, ()) = tokio::join!(reading, cancelling);
    assert!(read.unwrap_err().is_cancelled());
    let idle = async || {
        number(
            server,
            &name,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dbsnap' AND state = 'active'",
        )
        .await
            == 0
    };
    crate::support::served::wait_until("the statement ends", idle).await;
    drop(source);
    let gone = async || {
        number(server, &name, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dbsnap'")
            .await
            == 0
    };
    crate::support::served::wait_until("the connection ends", gone).await;
}

#[tokio::test]
async fn an_account_that_may_only_read_is_enough_and_hidden_rows_are_an_error() {
    let server = shared(17);
    let name = server.database("readers").await;
    let client = server.connect(&name).await;
    client.batch_execute("CREATE ROLE only_reads LOGIN PASSWORD 'pw'; CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t DEFAULT VALUES; CREATE TABLE hidden (id int PRIMARY KEY);
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_reads").await.unwrap();
    let mut settings = settings(server, &name);
    settings.insert("user".into(), "only_reads".into());
    settings.insert("password".into(), "pw".into());
    let bench = Bench::new();
    let options = validate(ENGINE.info().dump_options, &Default::default()).unwrap();
    let mut source = ENGINE.open_source(&settings, &options, &bench.run()).await.unwrap();
    let of = table(source.as_ref(), "t").clone();
    assert_eq!(bench.rows_of(source.as_mut(), &of).await, [[Some("1".to_owned())]]);
    assert!(source.facts().marks.contains_key("oid:public.t"));
    assert!(source.facts().warnings[0].contains("the values of sequences are not kept") && source.facts().warnings[0].contains("t_id_seq"));
    drop(source);
    client.batch_execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY").await.unwrap();
    let mut source = ENGINE.open_source(&settings, &options, &bench.run()).await.unwrap();
    let of = table(source.as_ref(), "hidden").clone();
    refused(bench.pairs(source.as_mut(), &of, &KeyRange::all()).await, &["reading the rows of public.hidden", "row-level security"]);
}

#[tokio::test]
async fn great_values_are_read_and_written() {
    let server = shared(15);
    let name = server.database("great").await;
    server.connect(&name).await.batch_execute("CREATE TABLE t (id int PRIMARY KEY, b text, raw bytea); INSERT INTO t SELECT n, repeat('x' || E'\\n\\\\', 3500000), decode(repeat('00ff', 5000000), 'hex') FROM generate_series(1, 2) n").await.unwrap();
    let bench = Bench::new();
    let mut source = bench.source(server, &name, json!({})).await.unwrap();
    let of = table(source.as_ref(), "t").clone();
    let rows = bench.pairs(source.as_mut(), &of, &KeyRange::all()).await.unwrap();
    assert_eq!(rows.len(), 2);
    for (_, row) in &rows {
        let (text, raw) = (row.cells[1].as_ref().unwrap(), row.cells[2].as_ref().unwrap());
        assert!(text.len() == 10_500_000 && text.chunks(3).all(|piece| piece == b"x\n\\"));
        assert!(raw.len() == 10_000_000 && raw.chunks(2).all(|piece| piece == [0, 0xff]));
    }
}

#[tokio::test]
async fn options_choose_tables_as_they_do_for_pg_dump() {
    let server = shared(15);
    let name = server.database("chosen").await;
    let sql = "CREATE SCHEMA sales; CREATE TABLE sales.orders (id serial PRIMARY KEY); CREATE TABLE sales.old (id int); CREATE TABLE users (id int PRIMARY KEY, r int REFERENCES users);
        CREATE VIEW v AS SELECT 1 AS a; CREATE TYPE mood AS ENUM ('a'); CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p DEFAULT;
        INSERT INTO p VALUES (1), (2)";
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    let bench = Bench::new();
    for (options, tables, others) in [
        (json!({}), &["public.p", "public.users", "sales.old", "sales.orders"][..], true),
        (json!({"includeSchemas": ["sales"]}), &["sales.old", "sales.orders"], false),
        (json!({"excludeSchemas": ["sales"]}), &["public.p", "public.users"], true),
        (json!({"includeTables": ["sales.o*"], "excludeTables": ["*.old"]}), &["sales.orders"], false),
        (json!({"includeTables": ["users"]}), &["public.users"], false),
        (json!({"includeTables": ["orders"]}), &[], false),
        (json!({"includeTables": ["p1"]}), &["public.p1"], false),
    ] {
        let source = bench.source(server, &name, options.clone()).await.unwrap();
        let found: Vec<String> = source.schema().tables.iter().map(|table| table.name.to_string()).collect();
        assert_eq!(found, tables, "{options}");
        assert_eq!(source.schema().objects.iter().any(|object| object.name.name == "mood"), others, "{options}");
    }
    let mut source = bench.source(server, &name, json!({"excludeTables": ["p2"]})).await.unwrap();
    let of = table(source.as_ref(), "p").clone();
    assert_eq!(bench.rows_of(source.as_mut(), &of).await, [[Some("1".to_owned())]], "rows of a partition that is left out are left out");
    let mut source = bench.source(server, &name, json!({"schemaOnly": true})).await.unwrap();
    let of = table(source.as_ref(), "p").clone();
    assert!(bench.rows_of(source.as_mut(), &of).await.is_empty() && source.facts().warnings[0].contains("schema only"));
}

#[tokio::test]
async fn keys_are_those_that_name_every_row_and_order_is_told_only_where_an_index_gives_it() {
    let server = shared(15);
    let name = server.database("keys").await;
    let columns = |columns: &[&str]| Key::Columns { columns: columns.iter().map(|&column| column.to_owned()).collect() };
    let bench = Bench::new();
    for (sql, key, order) in [
        ("(a int PRIMARY KEY)", columns(&["a"]), Order::Key),
        ("(a int, b uuid, c bytea, PRIMARY KEY (c, a, b))", columns(&["c", "a", "b"]), Order::Key),
        ("(a text PRIMARY KEY)", columns(&["a"]), Order::Any),
        ("(a text COLLATE \"POSIX\" PRIMARY KEY)", columns(&["a"]), Order::Key),
        ("(a numeric PRIMARY KEY)", columns(&["a"]), Order::Any),
        ("(a int UNIQUE, b int NOT NULL UNIQUE)", columns(&["b"]), Order::Key),
        ("(a int NOT NULL UNIQUE DEFERRABLE)", Key::Row, Order::Any),
        ("(a int NOT NULL); CREATE UNIQUE INDEX ON t (a) WHERE a > 0", Key::Row, Order::Any),
        ("(a int NOT NULL); CREATE UNIQUE INDEX ON t (abs(a))", Key::Row, Order::Any),
        ("(a int NOT NULL); CREATE UNIQUE INDEX ON t (a DESC)", columns(&["a"]), Order::Any),
        ("(a char(3) COLLATE \"C\" PRIMARY KEY)", columns(&["a"]), Order::Any),
    ] {
        server.connect(&name).await.batch_execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t {sql}")).await.unwrap();
        let source = bench.source(server, &name, json!({})).await.unwrap();
        let of = table(source.as_ref(), "t");
        assert_eq!((&of.key, source.order(of)), (&key, order), "{sql}");
    }
}
