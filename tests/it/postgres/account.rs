//! What the probe says of accounts, and whether the script that it offers makes one that can back everything up and do
//! nothing else.

use dbsnap::{
    domain::{artifact::DumpFormat, database::Probe, restore::RestoreMode},
    engines::Engine,
};
use serde_json::json;

use super::{Bench, ENGINE, inspect, plan_into, refused, settings};
use crate::support::postgres::{Server, ident, shared};

const PASSWORD: &str = "r3ad 'only'";

async fn probe_as(server: &Server, database: &str, user: &str) -> Probe {
    let mut settings = settings(server, database);
    settings.extend(json!({"user": user, "password": PASSWORD}).as_object().unwrap().clone());
    ENGINE.probe(&settings, &Bench::new().run()).await.unwrap()
}

async fn make_role(server: &Server, database: &str, role: &str, then: &str) {
    let role = ident(role);
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{}'; {}", PASSWORD.replace('\'', "''"), then.replace("$role", &role));
    server.connect(database).await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn the_script_makes_an_account_that_backs_everything_up_and_only_reads() {
    for major in [13, 17, 18] {
        let server = shared(major);
        let name = server.database("scripted").await;
        // The owner's own roles are made once per server by the round-trip tests: here every role is of this test.
        let (owner, reader, backup) = (format!("{name} \"owner\""), format!("{name}_reader"), format!("{name}_backup"));
        let roles = format!("CREATE ROLE {}; CREATE ROLE {}", ident(&owner), ident(&reader));
        server.connect(&name).await.batch_execute(&roles).await.unwrap();
        let everything = include_str!("everything.sql").replace("dbsnap_owner", &ident(&owner)).replace("dbsnap_reader", &reader);
        server.connect(&name).await.batch_execute(&everything).await.unwrap();

        let admin = ENGINE.probe(&settings(server, &name), &Bench::new().run()).await.unwrap();
        let account = admin.account.expect("what the account may do");
        assert_eq!((admin.read_only, account.beyond_reading.as_slice()), (Some(false), ["everything (superuser)".to_owned()].as_slice()));
        assert!(account.script.contains("CREATE ROLE dbsnap_backup LOGIN PASSWORD 'CHANGE_ME';"), "{}", account.script);
        let script = account.script.replace("dbsnap_backup", &backup).replace("CHANGE_ME", &PASSWORD.replace('\'', "''"));
        server.connect(&name).await.batch_execute(&script).await.unwrap_or_else(|error| panic!("{major}: {error:?}\n{script}"));

        let probe = probe_as(server, &name, &backup).await;
        let account = probe.account.unwrap();
        assert_eq!((account.user.as_str(), probe.read_only), (backup.as_str(), Some(true)), "{major}: {account:?}");
        assert_eq!((account.beyond_reading, account.missing), (Vec::new(), Vec::new()), "{major}");

        // It backs up every row that the superuser does, and into an equal database.
        let bench = Bench::new();
        let mut own = settings(server, &name);
        own.extend(json!({"user": backup, "password": PASSWORD}).as_object().unwrap().clone());
        let whole = bench.dump(server, &name, json!({})).await.unwrap();
        let read = bench.dump_with(&own, json!({})).await.unwrap_or_else(|error| panic!("{major}: {error}"));
        assert_eq!(read.facts.warnings, whole.facts.warnings, "{major}");
        assert_eq!(read.tables, inspect(DumpFormat::PgCustom, &whole.dump).unwrap(), "{major}");
        let copy = format!("{name}_copy");
        let restored = bench.restore(server, &copy, &read, plan_into(RestoreMode::New, &copy)).await;
        restored.unwrap_or_else(|error| panic!("{major}: {error}"));

        // And it changes nothing.
        let client = server.connect_as(&backup, PASSWORD, &name).await;
        for change in [
            "INSERT INTO empty_table VALUES (1)",
            "UPDATE customers SET feeling = 'ok'",
            "DELETE FROM orders",
            "TRUNCATE big_row",
            "SELECT nextval('counter')",
            "CREATE TABLE mine (a int)",
            "CREATE TABLE \"Quoted Schema\".mine (a int)",
            "CREATE SCHEMA mine",
            "DROP TABLE empty_table",
            "SELECT lo_unlink(424242)",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
        ] {
            let refused = client.batch_execute(change).await.unwrap_err();
            let words = refused.as_db_error().unwrap().message();
            assert!(words.contains("permission denied") || words.contains("must be owner"), "{major}: {change}: {words}");
        }
    }
}

#[tokio::test]
async fn whatever_an_account_may_beyond_reading_is_named() {
    let server = shared(17);
    let name = server.database("rights").await;
    let sql = "CREATE TABLE a (x int); CREATE TABLE b (x int, y int); CREATE TABLE c (x int); CREATE SEQUENCE s; CREATE SCHEMA sales";
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    let read_all = "GRANT pg_read_all_data TO $role;";
    for (grants, expected) in [
        ("", None),
        ("GRANT INSERT ON a TO $role", Some("write rows in the table public.a")),
        ("GRANT UPDATE (y) ON b TO $role; GRANT DELETE ON c TO $role", Some("write rows in 2 tables (public.b, public.c)")),
        ("GRANT pg_write_all_data TO $role", Some("write rows in 3 tables (public.a, public.b, public.c)")),
        ("GRANT pg_write_all_data TO $role", Some("act as the role pg_write_all_data")),
        ("GRANT USAGE ON SEQUENCE s TO $role", Some("advance the sequence public.s")),
        ("GRANT CREATE ON SCHEMA sales TO $role", Some("create objects in the schema sales")),
        ("ALTER TABLE c OWNER TO $role", Some("alter and drop the table or sequence public.c, which it owns")),
        ("GRANT CREATE ON DATABASE $database TO $role", Some("create schemas (CREATE on the database)")),
        ("ALTER DATABASE $database OWNER TO $role", Some("drop or change the database, which it owns")),
        ("ALTER ROLE $role CREATEROLE", Some("create and change roles (CREATEROLE)")),
        ("ALTER ROLE $role CREATEDB", Some("create databases (CREATEDB)")),
        ("ALTER ROLE $role REPLICATION", Some("copy the whole server and hold its log (REPLICATION)")),
        ("ALTER ROLE $role BYPASSRLS", Some("read past row security, which nothing here uses (BYPASSRLS)")),
        ("GRANT pg_execute_server_program TO $role", Some("act as the role pg_execute_server_program")),
        ("GRANT postgres TO $role WITH INHERIT FALSE", Some("act as the superuser postgres")),
        ("ALTER ROLE $role SUPERUSER", Some("everything (superuser)")),
    ] {
        let role = format!("{name}_role");
        make_role(server, &name, &role, &format!("{read_all} {}", grants.replace("$database", &name))).await;
        let probe = probe_as(server, &name, &role).await;
        let account = probe.account.unwrap();
        assert_eq!(probe.read_only, Some(expected.is_none()), "{grants}: {account:?}");
        assert!(expected.is_none_or(|expected| account.beyond_reading.iter().any(|right| right == expected)), "{grants}: {account:?}");
        assert_eq!(account.missing, Vec::<String>::new(), "{grants}");
        let told = probe.warnings.iter().any(|warning| warning.contains("may do more than a backup needs"));
        assert_eq!(told, expected.is_some(), "{grants}: {:?}", probe.warnings);
        let role = ident(&role);
        let clean = format!(
            "REASSIGN OWNED BY {role} TO postgres; ALTER DATABASE {name} OWNER TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"
        );
        server.connect(&name).await.batch_execute(&clean).await.unwrap();
    }
}

#[tokio::test]
async fn what_an_account_lacks_for_a_whole_backup_is_named_as_grants() {
    let server = shared(15);
    let name = server.database("lacking").await;
    let role = format!("{name}_role");
    let sql = "CREATE TABLE seen (x int); CREATE TABLE closed (x int); CREATE SEQUENCE ticks; CREATE SCHEMA hidden; CREATE TABLE hidden.t (x int);
               CREATE TABLE secured (x int); ALTER TABLE secured ENABLE ROW LEVEL SECURITY; SELECT lo_from_bytea(0, 'x')";
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    make_role(server, &name, &role, "GRANT SELECT ON seen, secured TO $role").await;
    let account = probe_as(server, &name, &role).await.account.unwrap();
    for lack in [
        "USAGE on the schema hidden",
        "SELECT on 2 tables and sequences (public.closed, public.ticks)",
        "BYPASSRLS, because row security hides rows of the table public.secured",
        "SELECT on the large object",
    ] {
        assert!(account.missing.iter().any(|missing| missing.starts_with(lack)), "{lack}: {:?}", account.missing);
    }
    let mut own = settings(server, &name);
    own.extend(json!({"user": role, "password": PASSWORD}).as_object().unwrap().clone());
    refused(Bench::new().dump_with(&own, json!({})).await, &["permission denied"]);
}
