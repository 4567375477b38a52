//! Plain SQL: scripts of pg_dump and of people, run without psql.

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};
use serde_json::json;

use super::{
    Bench, databases, number, plan, plan_into, refused,
    round_trip::{assert_same, everything},
};
use crate::support::postgres::shared;

async fn check(major: u32, style: &[&str]) {
    let server = shared(major);
    let source = everything(server).await;
    // As an INSERT, pg_dump itself writes a float's negative zero so that it is read as zero.
    server.connect(&source).await.batch_execute("UPDATE types SET r = 0 WHERE r = 0").await.unwrap();
    let mut args = vec!["--large-objects"];
    args.extend(style);
    args.push(&source);
    let script = String::from_utf8(server.program("pg_dump", &args)).unwrap();
    let target = format!("{source}_script");
    Bench::new().restore_script(server, "postgres", &script, plan_into(RestoreMode::New, &target)).await.unwrap();
    assert_same(server, &source, server, &target).await;
}

#[tokio::test]
async fn a_plain_dump_of_everything_comes_back() {
    check(18, &[]).await;
}

#[tokio::test]
async fn a_plain_dump_with_inserts_comes_back() {
    check(17, &["--column-inserts", "--quote-all-identifiers"]).await;
}

#[tokio::test]
async fn a_script_stops_at_its_first_error_and_names_the_line() {
    let server = shared(15);
    let name = server.database("script").await;
    let script = "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\n\nINSERT INTO nope\n  VALUES (1);\nINSERT INTO a VALUES (2);\n";
    let bench = Bench::new();
    let error = bench.restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await;
    refused(error, &["line 4", "INSERT INTO nope VALUES (1);", "relation \"nope\" does not exist", "still there"]);
    assert_eq!(number(server, &name, "SELECT count(*) FROM a").await, 1);
    server.connect(&name).await.batch_execute("DROP TABLE a").await.unwrap();
    let error = bench.restore_script(server, &name, script, plan(RestoreMode::Append, json!({"singleTransaction": true}))).await;
    refused(error, &["line 4", "nothing was changed"]);
    assert_eq!(number(server, &name, "SELECT count(*) FROM pg_class WHERE relname = 'a'").await, 0);
    let outcome = bench.restore_script(server, &name, script, plan(RestoreMode::Append, json!({"exitOnError": false}))).await.unwrap();
    assert_eq!((outcome.tables[0].rows, outcome.warnings.len()), (2, 1));
    refused(bench.restore_script(server, &name, script, plan_into(RestoreMode::New, "script_new")).await, &["line 4", "dropped again"]);
    assert!(!databases(server).await.contains(&"script_new".to_owned()));
}

#[tokio::test]
async fn commands_of_psql_never_run_and_nothing_else_does_either() {
    let server = shared(15);
    let name = server.database("canary").await;
    let canary = std::env::temp_dir().join(format!("{name}-canary"));
    let path = canary.display();
    for line in [
        format!("\\! touch {path}"),
        format!("\\o |touch {path}"),
        format!("SELECT 1 \\g |touch {path}"),
        format!("\\copy t FROM PROGRAM 'touch {path}'"),
        format!("\\unrestrict x\n\\! touch {path}"),
        format!("\\unrestrict `touch {path}`\n\\set x `touch {path}`"),
        format!("COPY t FROM PROGRAM 'touch {path}';"),
        format!("COPY t TO '{path}';"),
        format!("-- x\n/* */ copy (SELECT 1) TO/**/PROGRAM 'cat > {path}';"),
        "\\connect postgres".to_owned(),
    ] {
        let script = format!("CREATE TABLE t (a int);\n{line}\n");
        let error = Bench::new().restore_script(server, &name, &script, plan(RestoreMode::Append, json!({}))).await;
        refused(error, &["line "]);
        assert_eq!(number(server, &name, "SELECT count(*) FROM pg_class WHERE relname = 't'").await, 0, "{line}");
        assert!(!canary.exists(), "{line}");
    }
    // A guard line is no command: its argument is never looked at.
    let guarded = format!("\\restrict `touch {path}`\nCREATE TABLE t (a int);\n\\unrestrict `touch {path}`\n");
    Bench::new().restore_script(server, &name, &guarded, plan(RestoreMode::Append, json!({}))).await.unwrap();
    assert!(!canary.exists());
}

#[tokio::test]
async fn scripts_that_cannot_be_whole_are_refused_before_anything_runs() {
    let server = shared(15);
    let name = server.database("cut").await;
    let begin = "CREATE TABLE t (a int);\n";
    for (script, words) in [
        (format!("{begin}COPY t FROM stdin;\n1\n"), "end mark"),
        (format!("{begin}SELECT 'x"), "inside a quoted text"),
        (format!("--\n-- PostgreSQL database dump\n--\n{begin}"), "last line is missing"),
        (" ".to_owned(), "is empty"),
        (format!("{begin}SELECT '\0';"), "zero byte"),
    ] {
        refused(Bench::new().restore_script(server, &name, &script, plan(RestoreMode::Append, json!({}))).await, &[words]);
        assert_eq!(number(server, &name, "SELECT count(*) FROM pg_class WHERE relname = 't'").await, 0, "{script}");
    }
    let open = format!("BEGIN;\n{begin}");
    refused(Bench::new().restore_script(server, &name, &open, plan(RestoreMode::Append, json!({}))).await, &["never commits"]);
    for wrong in [
        plan(RestoreMode::Clean, json!({})),
        RestorePlan { content: RestoreContent::Schema, ..plan(RestoreMode::Append, json!({})) },
        RestorePlan { tables: vec!["t".into()], ..plan(RestoreMode::Append, json!({})) },
    ] {
        refused(Bench::new().restore_script(server, &name, begin, wrong).await, &["run as it is"]);
    }
}
