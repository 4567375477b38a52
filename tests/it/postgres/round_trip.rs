//! Every type and kind of object comes back as it was, on each major release.

use dbsnap::domain::restore::RestoreMode;
use serde_json::json;

use super::{Bench, Dumped, databases, plan, plan_into, refused};
use crate::support::postgres::{Server, ident, shared};

const EVERYTHING: &str = include_str!("everything.sql");
/// What only newer releases have.
const SINCE_14: &str = "
    CREATE TABLE multiranges (a int4multirange, b datemultirange);
    INSERT INTO multiranges VALUES ('{[1,3),[5,7)}', '{}');
    INSERT INTO types (n) VALUES ('Infinity'), ('-Infinity');
    CREATE FUNCTION standard_body(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 0 THEN 1 END; SELECT 2; END;
    ALTER TABLE big_row ALTER COLUMN body SET COMPRESSION pglz;";
const SINCE_18: &str =
    "CREATE TABLE virtual_columns (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL); INSERT INTO virtual_columns VALUES (1);";

/// A database with one of everything.
pub async fn everything(server: &Server) -> String {
    let roles = "DO $$ BEGIN CREATE ROLE dbsnap_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
                 DO $$ BEGIN CREATE ROLE dbsnap_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    server.connect("postgres").await.batch_execute(roles).await.unwrap();
    let name = server.database("everything").await;
    let client = server.connect(&name).await;
    for (since, sql) in [(0, EVERYTHING), (14, SINCE_14), (18, SINCE_18)] {
        if server.major >= since {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("PostgreSQL {}: {error:?}", server.major));
        }
    }
    name
}

/// The definitions of all objects, as the server's own pg_dump writes them.
pub fn schema(server: &Server, database: &str) -> String {
    let text = String::from_utf8(server.program("pg_dump", &["--schema-only", &format!("--dbname=dbname='{database}'")])).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Every row of every table, view and sequence, in an order of its own, and every large object.
pub async fn rows(server: &Server, database: &str) -> Vec<(String, Vec<String>)> {
    let client = server.connect(database).await;
    client.batch_execute("SET extra_float_digits = 3; SET TimeZone = 'UTC'").await.unwrap();
    let names = client
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'S' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND (c.relkind IN ('r', 'p', 'S', 'v') OR c.relkind = 'm' AND c.relispopulated)
              ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let mut all = Vec::new();
    for (name, is_sequence) in names.iter().map(|row| (row.get::<_, String>(0), row.get::<_, bool>(1))) {
        let text = if is_sequence { "last_value || ' ' || is_called" } else { "whole_row::text" };
        let found = client.query(&format!("SELECT {text} FROM {name} whole_row ORDER BY 1"), &[]).await;
        let found = found.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        all.push((name, found.iter().map(|row| row.get(0)).collect()));
    }
    let large = client
        .query("SELECT oid || ' ' || md5(lo_get(oid)) || ' ' || coalesce(lomacl::text, '') FROM pg_largeobject_metadata ORDER BY oid", &[])
        .await
        .unwrap();
    all.push(("large objects".into(), large.iter().map(|row| row.get(0)).collect()));
    all
}

pub async fn assert_same(server: &Server, source: &str, target_server: &Server, target: &str) {
    let (left, right) = (rows(server, source).await, rows(target_server, target).await);
    assert_eq!(left.len(), right.len(), "relations");
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left.0, right.0);
        let differs =
            left.1.iter().zip(&right.1).find(|(left, right)| left != right).map(|(left, right)| format!("{left:.300}\n{right:.300}"));
        assert!(left.1 == right.1, "{}: {} and {} rows, {differs:?}", left.0, left.1.len(), right.1.len());
    }
    if server.major == target_server.major {
        let (left, right) = (schema(server, source), schema(server, target));
        let differs = left.lines().zip(right.lines()).find(|(left, right)| left != right);
        assert!(left == right, "definitions differ: {differs:?}");
    }
}

/// Exact counts of ordinary tables, asked of the server.
async fn assert_counts(server: &Server, database: &str, dumped: &Dumped) {
    let client = server.connect(database).await;
    for table in &dumped.tables {
        let sql = format!("SELECT count(*) FROM ONLY {}.{}", ident(table.schema.as_deref().unwrap()), ident(&table.name));
        let rows: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(u64::try_from(rows).unwrap(), table.rows, "{}", table.label());
    }
    let tables: i64 = client
        .query_one(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(dumped.tables.len(), usize::try_from(tables).unwrap(), "a count for each table");
}

async fn check(major: u32) {
    let server = shared(major);
    let source = everything(server).await;
    let bench = Bench::new();
    let dumped = bench.dump(server, &source, json!({})).await.unwrap();
    assert_eq!(dumped.facts.tool_version.as_deref().unwrap().split(['.', ' ']).nth(1), Some(major.to_string().as_str()));
    assert_counts(server, &source, &dumped).await;
    let target = format!("{source} 🐘 copy");
    let outcome = bench.restore(server, &source, &dumped, plan_into(RestoreMode::New, &target)).await.unwrap();
    assert_eq!(outcome.tables, dumped.tables);
    assert_same(server, &source, server, &target).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_13() {
    check(13).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_15() {
    check(15).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_17() {
    check(17).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_18() {
    check(18).await;
}

#[tokio::test]
async fn a_dump_moves_between_major_releases_both_ways() {
    let (old, new) = (shared(13), shared(18));
    let source = everything(old).await;
    let bench = Bench::new();
    let dumped = bench.dump(old, &source, json!({})).await.unwrap();
    let roles = "CREATE ROLE dbsnap_owner; CREATE ROLE dbsnap_reader";
    // Another test may have made them first.
    let _ = new.connect("postgres").await.batch_execute(roles).await;
    let target = format!("{source}_up");
    bench.restore(new, "postgres", &dumped, plan_into(RestoreMode::New, &target)).await.unwrap();
    assert_same(old, &source, new, &target).await;

    // Down: pg_restore 18 sets transaction_timeout, which server 13 does not know; nothing else may fail.
    let name = new.database("down").await;
    new.connect(&name).await.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a").await.unwrap();
    let dumped = bench.dump(new, &name, json!({})).await.unwrap();
    for options in [json!({}), json!({"jobs": 1}), json!({"singleTransaction": true})] {
        let target = old.database("down").await;
        let outcome = bench.restore(old, &target, &dumped, plan(RestoreMode::Append, options)).await.unwrap();
        assert_eq!(outcome.tables, dumped.tables);
    }
}

#[tokio::test]
async fn roles_come_along_and_those_that_exist_stay_as_they_are() {
    let (from, to) = (Server::start(15), shared(17));
    let roles = "CREATE ROLE moved_role LOGIN PASSWORD 'one'; CREATE ROLE kept_role; GRANT moved_role TO kept_role; CREATE TABLE t (); ALTER TABLE t OWNER TO moved_role";
    from.connect("postgres").await.batch_execute(roles).await.unwrap();
    to.connect("postgres").await.batch_execute("CREATE ROLE kept_role LOGIN").await.unwrap();
    let bench = Bench::new();
    let dumped = bench.dump(&from, "postgres", json!({"globals": true})).await.unwrap();
    assert!(dumped.globals.is_some());
    refused(bench.restore(to, "postgres", &dumped, plan_into(RestoreMode::New, "no_roles")).await, &["moved_role", "restore roles too"]);
    assert!(!databases(to).await.contains(&"no_roles".to_owned()), "the half-built database is dropped");
    let mut wanted = plan(RestoreMode::New, json!({"globals": true}));
    wanted.target_name = Some("with_roles".into());
    bench.restore(to, "postgres", &dumped, wanted).await.unwrap();
    to.connect_as("moved_role", "one", "with_roles").await;
    let kept: bool =
        to.connect("postgres").await.query_one("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'kept_role'", &[]).await.unwrap().get(0);
    assert!(kept, "a role that exists is not altered");
    assert_eq!(dumped.facts.warnings, Vec::<String>::new());
    let log = bench.log();
    assert!(!log.contains("SCRAM"), "{log}");
}
