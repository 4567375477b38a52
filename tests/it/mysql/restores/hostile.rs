//! Scripts and names that try to be more than a dump.

use std::path::PathBuf;

use dbsnap::domain::restore::RestoreMode;
use serde_json::json;

use super::{Bench, databases, execute, number, plan, plan_into, refused, tool_dump};
use crate::support::mysql::{FLAVOURS, Flavour, PASSWORD, ident, programs, shared};

/// Every client program against every server: the flavours' own, and each other's.
fn pairs() -> Vec<(Flavour, PathBuf)> {
    FLAVOURS.iter().flat_map(|server| FLAVOURS.iter().map(|client| (*server, programs(*client)))).collect()
}

#[tokio::test]
async fn commands_of_the_client_never_run() {
    for (flavour, client) in pairs() {
        let server = shared(flavour);
        let name = server.database("canary").await;
        let canary = std::env::temp_dir().join(format!("{name}-{flavour:?}-canary"));
        let path = canary.display();
        let source = std::env::temp_dir().join(format!("{name}-{flavour:?}-source.sql"));
        std::fs::write(&source, "CREATE TABLE sourced (a INT);\n").unwrap();
        let mut bench = Bench::new();
        bench.tool_dirs = vec![client.clone()];
        for line in [
            format!("\\! touch {path}"),
            format!("system touch {path}"),
            format!("SELECT 1 \\! touch {path}\n;"),
            format!("/*!50000 \\! touch {path} */;"),
            format!("source {}", source.display()),
            format!("\\. {}", source.display()),
            format!("tee {path}"),
            format!("\\T {path}"),
            format!("pager cat > {path}\nSELECT 1;"),
            format!("INSERT INTO t VALUES (1) \\! touch {path}\n;"),
            format!("DELIMITER \\! touch {path}"),
            format!("delimiter //\nsystem touch {path}//"),
            format!("/*M!999999\\- x */ \\! touch {path}"),
            format!("SELECT 1 INTO OUTFILE '{path}';"),
            format!("SELECT 1 /*!50000 INTO */ DUMPFILE '{path}';"),
            "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t;".to_owned(),
            "INSTALL PLUGIN x SONAME 'x.so';".to_owned(),
            "CREATE FUNCTION f RETURNS STRING SONAME 'x.so';".to_owned(),
            "GRANT ALL ON *.* TO x;".to_owned(),
            "SET GLOBAL general_log_file = '/tmp/x';".to_owned(),
        ] {
            let script = format!("CREATE TABLE t (a INT);\n{line}\n");
            let error = bench.restore_script(server, &name, script, plan(RestoreMode::Append, json!({}))).await;
            refused(error, &["line "]);
            let tables = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.tables WHERE table_schema = DATABASE()";
            assert_eq!(number(server, &name, tables).await, 0, "{line}");
            assert!(!canary.exists(), "{line}");
        }
        // What looks like a command inside a text is a text.
        let script = format!(
            "CREATE TABLE t (a TEXT);\nINSERT INTO t VALUES ('\n\\\\! touch {path}\nsystem touch {path}\nsource {0}\n\ndelimiter x\n'),('\\\\\n');\n\
             DELIMITER ;;\nCREATE PROCEDURE p() BEGIN\n-- system touch {path}\nSELECT '\nsystem touch {path}\n'; END;;\nDELIMITER ;\n\
             /* x\nsystem touch {path}\n*/\nSELECT 1\n;\n",
            source.display()
        );
        bench
            .restore_script(server, &name, script, plan(RestoreMode::Append, json!({})))
            .await
            .unwrap_or_else(|error| panic!("{flavour:?} {client:?}: {error}"));
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM t").await, 2);
        assert!(!canary.exists());
        std::fs::remove_file(source).unwrap();
    }
}

#[tokio::test]
async fn a_script_for_one_database_reaches_no_other() {
    for flavour in [Flavour::MySql97, Flavour::MariaDb1011] {
        let server = shared(flavour);
        let (name, victim) = (server.database("own").await, server.database("victim").await);
        execute(server, &victim, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"]).await;
        for line in [
            format!("DROP TABLE {victim}.t;"),
            format!("USE {victim};\nDROP TABLE t;"),
            format!("DROP DATABASE {victim};"),
            format!("DELETE FROM {victim}.t;"),
            format!("TRUNCATE {victim}.t;"),
            format!("INSERT INTO {victim}.t VALUES (2);"),
            format!("ALTER TABLE {victim}.t ADD b INT;"),
            format!("ALTER DATABASE {victim} CHARACTER SET latin1;"),
            format!("RENAME TABLE a TO {victim}.b;"),
            format!("SET sql_mode='NO_BACKSLASH_ESCAPES';\nINSERT INTO own VALUES ('\\'); DROP TABLE {victim}.t; -- ');"),
            format!("SET sql_mode=CONCAT('NO_BACKSLASH', '_ESCAPES');\nSELECT '\\'; DROP TABLE {victim}.t; -- ';"),
        ] {
            let script = format!("CREATE TABLE own (a TEXT);\nCREATE TABLE {name}.more (a INT);\n{line}\n");
            // Refused, or left out: such as DROP DATABASE, which no restore runs.
            let _ = Bench::new().restore_script(server, &name, script, plan(RestoreMode::Clean, json!({}))).await;
            assert_eq!(number(server, &victim, "SELECT CAST(SUM(a) AS SIGNED) FROM t").await, 1, "{line}");
            let columns = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.columns WHERE table_schema = '{victim}'");
            assert_eq!(number(server, "", &columns).await, 1, "{line}");
            let set = format!(
                "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.schemata WHERE schema_name = '{victim}' AND default_character_set_name = 'utf8mb4'"
            );
            assert_eq!(number(server, "", &set).await, 1, "{line}");
        }
    }
}

#[tokio::test]
async fn odd_database_names_are_names_and_nothing_else() {
    for flavour in [Flavour::MySql97, Flavour::MariaDb1011] {
        let server = shared(flavour);
        let source = server.database("odd").await;
        execute(server, &source, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1),(2),(3)", "CREATE VIEW v AS SELECT * FROM t"]).await;
        let dump = tool_dump(server, &["--databases", &source]);
        for name in ["-h", "--help", "a`b", "it's \"x\"", "a.b", "$(touch x); `id`", "per%cent_", "日本語"] {
            let bench = Bench::new();
            for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean] {
                let outcome = bench.restore_script(server, &source, dump.clone(), plan_into(mode, name)).await;
                let outcome = outcome.unwrap_or_else(|error| panic!("{name} {mode:?}: {error}"));
                assert_eq!((outcome.tables[0].rows, number(server, name, "SELECT COUNT(*) FROM v").await), (3, 3));
            }
            assert!(!bench.log().contains(PASSWORD));
            execute(server, "", &[&format!("DROP DATABASE {}", ident(name))]).await;
        }
        assert_eq!(databases(server, &source).await, std::slice::from_ref(&source));
    }
}
