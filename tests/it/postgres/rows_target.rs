//! Rows and schema written into real servers, by changes and by scripts.

use bytes::Bytes;
use dbsnap::{
    engines::{Applied, ApplyOptions, Engine, KeyRange, OnConflict, RowSource, insert_order},
    error::Result,
    snapshot::{ChangeKind, Object, ObjectKind, Row, RowChange, Schema, Table},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Bench, ENGINE, databases, number, refused, round_trip::everything, rows::table, settings};
use crate::support::postgres::{Server, shared};

const STOP: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Stop, dry_run: false };

fn sent(changes: Vec<RowChange>) -> mpsc::Receiver<Vec<RowChange>> {
    let (sender, receiver) = mpsc::channel(changes.len().max(1));
    for batch in changes.chunks(100) {
        sender.try_send(batch.to_vec()).unwrap();
    }
    receiver
}

fn added(row: Row) -> RowChange {
    RowChange { kind: ChangeKind::Added, before: None, after: Some(row) }
}

/// A row of these values; `None` is NULL.
fn row(cells: &[Option<&str>]) -> Row {
    Row { cells: cells.iter().map(|cell| cell.map(|cell| Bytes::from(cell.to_owned()))).collect(), count: 1 }
}

fn change(before: Option<&[Option<&str>]>, after: Option<&[Option<&str>]>) -> RowChange {
    let kind = match (&before, &after) {
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    RowChange { kind, before: before.map(row), after: after.map(row) }
}

impl Bench {
    /// Writes a whole database: schema, rows, the rest of the schema. Returns what could not be made.
    async fn rebuild(&self, from: &mut dyn RowSource, server: &Server, database: &str) -> Result<Vec<String>> {
        let wanted = from.schema().clone();
        let mut target = ENGINE.open_target(&settings(server, database), &self.run()).await?;
        let mut notes = target.create(&wanted, false, &self.run()).await?;
        for name in insert_order(&wanted) {
            let table = wanted.tables.iter().find(|table| table.name == name).unwrap();
            let pairs = self.pairs(from, table, &KeyRange::all()).await?;
            let count = pairs.len() as u64;
            let applied = target.apply(table, sent(pairs.into_iter().map(|(_, row)| added(row)).collect()), STOP, &self.run()).await?;
            assert_eq!(applied, Applied { inserted: count, ..Applied::default() }, "{name}");
        }
        notes.extend(target.create(&wanted, true, &self.run()).await?);
        target.commit(&self.run()).await.map(|()| notes)
    }

    async fn apply(&self, server: &Server, database: &str, name: &str, changes: Vec<RowChange>, options: ApplyOptions) -> Result<Applied> {
        let source = self.source(server, database, json!({})).await?;
        let table = table(source.as_ref(), name).clone();
        drop(source);
        let mut target = ENGINE.open_target(&settings(server, database), &self.run()).await?;
        let applied = target.apply(&table, sent(changes), options, &self.run()).await?;
        target.commit(&self.run()).await.map(|()| applied)
    }
}

/// Objects and tables without what differs by nature: the owner's server.
fn same_schema(found: &Schema, expect: &Schema) {
    for (one, other) in found.tables.iter().zip(&expect.tables) {
        assert_eq!(one, other);
    }
    assert_eq!(found.tables.len(), expect.tables.len());
    let key = |object: &Object| (object.kind, object.table.clone(), object.name.clone());
    for object in &expect.objects {
        let twin = found.objects.iter().find(|other| key(other) == key(object));
        assert_eq!(twin, Some(object));
    }
    assert_eq!(found.objects.len(), expect.objects.len());
}

async fn check_rebuilt(major: u32) {
    let server = shared(major);
    let database = everything(server).await;
    let bench = Bench::new();
    let mut source = bench.source(server, &database, json!({})).await.unwrap();
    let copy = format!("{database}_rebuilt");
    let notes = bench.rebuild(source.as_mut(), server, &copy).await.unwrap();
    assert_eq!(notes, Vec::<String>::new());
    let mut rebuilt = bench.source(server, &copy, json!({})).await.unwrap();
    same_schema(rebuilt.schema(), source.schema());
    for table in source.schema().tables.clone() {
        let mut expect = bench.pairs(source.as_mut(), &table, &KeyRange::all()).await.unwrap();
        let mut found = bench.pairs(rebuilt.as_mut(), &table, &KeyRange::all()).await.unwrap();
        let order = |a: &(Vec<u8>, Row), b: &(Vec<u8>, Row)| a.0.cmp(&b.0);
        expect.sort_by(order);
        found.sort_by(order);
        assert!(found == expect, "{} of PostgreSQL {major}", table.name);
    }
}

#[tokio::test]
async fn a_whole_database_is_rebuilt_from_its_rows_and_schema_on_postgresql_13() {
    check_rebuilt(13).await;
}

#[tokio::test]
async fn a_whole_database_is_rebuilt_from_its_rows_and_schema_on_postgresql_15() {
    check_rebuilt(15).await;
}

#[tokio::test]
async fn a_whole_database_is_rebuilt_from_its_rows_and_schema_on_postgresql_17() {
    check_rebuilt(17).await;
}

#[tokio::test]
async fn a_whole_database_is_rebuilt_from_its_rows_and_schema_on_postgresql_18() {
    check_rebuilt(18).await;
}

const SKIP: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Skip, dry_run: false };
const OVERWRITE: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Overwrite, dry_run: false };

async fn made(server: &Server, purpose: &str, sql: &str) -> String {
    let name = server.database(purpose).await;
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    name
}

async fn text(server: &Server, database: &str, sql: &str) -> String {
    let row =
        server.connect(database).await.query_one(&format!("SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM ({sql}) r"), &[]).await;
    row.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

#[tokio::test]
async fn rows_that_are_not_as_expected_stop_are_skipped_or_overwritten() {
    let server = shared(15);
    let name = made(
        server,
        "guarded",
        "CREATE TABLE t (id int PRIMARY KEY, a text, j json); INSERT INTO t SELECT n, 'a' || n, '{}' FROM generate_series(1, 6) n",
    )
    .await;
    let bench = Bench::new();
    let one = |id: &'static str, a: &'static str| [Some(id), Some(a), Some("{}")];
    let changes = || {
        vec![
            change(Some(&one("1", "a1")), Some(&one("1", "b1"))),
            change(Some(&one("2", "a2")), None),
            change(None, Some(&one("7", "b7"))),
            // Already so.
            change(Some(&one("3", "x")), Some(&one("3", "a3"))),
            change(Some(&one("9", "x")), None),
            change(None, Some(&one("4", "a4"))),
            // Not as expected.
            change(Some(&one("5", "x")), Some(&one("5", "b5"))),
            change(Some(&[Some("6"), Some("a6"), Some("{ }")]), None),
            change(Some(&one("8", "x")), Some(&one("8", "b8"))),
        ]
    };
    let before = text(server, &name, "SELECT * FROM t").await;
    refused(
        bench.apply(server, &name, "t", changes(), STOP).await,
        &["public.t (5): the row has other values", "public.t (8): the row is not there", "nothing was changed"],
    );
    assert_eq!(text(server, &name, "SELECT * FROM t").await, before);

    let tried = bench.apply(server, &name, "t", changes(), ApplyOptions { dry_run: true, ..SKIP }).await.unwrap();
    assert_eq!(text(server, &name, "SELECT * FROM t").await, before);
    let applied = bench.apply(server, &name, "t", changes(), SKIP).await.unwrap();
    assert_eq!(applied, tried);
    assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (1, 1, 1, 3, 3));
    assert_eq!(applied.conflicts.len(), 3);
    assert_eq!(text(server, &name, "SELECT id, a FROM t").await, "(1,b1) (3,a3) (4,a4) (5,a5) (6,a6) (7,b7)");

    let applied = bench.apply(server, &name, "t", changes(), OVERWRITE).await.unwrap();
    assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (1, 1, 1, 6, 0));
    assert_eq!(text(server, &name, "SELECT id, a FROM t").await, "(1,b1) (3,a3) (4,a4) (5,b5) (7,b7) (8,b8)");
}

#[tokio::test]
async fn equal_rows_without_a_key_are_brought_to_their_number() {
    let server = shared(15);
    let tables = "CREATE TABLE t (a int, p point) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t DEFAULT;
        INSERT INTO t SELECT 1, '(1,2)' FROM generate_series(1, 5); INSERT INTO t VALUES (2, NULL), (2, NULL)";
    let name = made(server, "multiset", tables).await;
    let bench = Bench::new();
    let of = |count: u64, cells: [Option<&str>; 2]| (count > 0).then(|| Row { count, ..row(&cells) });
    let counted = |cells: [Option<&'static str>; 2], was, shall| RowChange {
        kind: ChangeKind::Changed,
        before: of(was, cells),
        after: of(shall, cells),
    };
    let (one, two) = ([Some("1"), Some("(1,2)")], [Some("2"), None]);
    let changes = || vec![counted(one, 5, 2), counted(two, 2, 4), counted([Some("3"), None], 0, 2)];
    let applied = bench.apply(server, &name, "t", changes(), STOP).await.unwrap();
    assert_eq!((applied.inserted, applied.deleted), (4, 3));
    assert_eq!(text(server, &name, "SELECT a, p::text, count(*) FROM t GROUP BY 1, 2").await, "(1,\"(1,2)\",2) (2,,4) (3,,2)");
    assert_eq!(bench.apply(server, &name, "t", changes(), STOP).await.unwrap().unchanged, 3);
    refused(bench.apply(server, &name, "t", vec![counted(two, 1, 0)], STOP).await, &["the row is there 4 times instead of 1"]);
    let applied = bench.apply(server, &name, "t", vec![counted(two, 1, 0)], OVERWRITE).await.unwrap();
    assert_eq!(applied.deleted, 4);
}

#[tokio::test]
async fn rows_may_exchange_their_unique_values() {
    let server = shared(15);
    let name = made(
        server,
        "exchange",
        "CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
    )
    .await;
    let bench = Bench::new();
    let to = |id, old, new| change(Some(&[Some(id), Some(old)]), Some(&[Some(id), Some(new)]));
    let applied = bench
        .apply(server, &name, "t", vec![to("1", "a", "b"), to("2", "b", "a"), to("3", "c", "d"), to("4", "d", "e")], STOP)
        .await
        .unwrap();
    assert_eq!(applied.updated, 4);
    assert_eq!(text(server, &name, "SELECT * FROM t").await, "(1,b) (2,a) (3,d) (4,e)");
    let taken = vec![change(None, Some(&[Some("5"), Some("e")]))];
    refused(bench.apply(server, &name, "t", taken.clone(), STOP).await, &["another row has the same unique values"]);
    assert_eq!(bench.apply(server, &name, "t", taken, SKIP).await.unwrap().skipped, 1);
}

const FAMILY: &str = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE, n int, d int GENERATED ALWAYS AS (n * 2) STORED);
    CREATE TABLE log (what text);
    CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (tg_op); RETURN NULL; END $$;
    CREATE TRIGGER one AFTER INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION log();
    CREATE TRIGGER two AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION log(); ALTER TABLE child ENABLE ALWAYS TRIGGER two;
    CREATE TRIGGER off AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION log(); ALTER TABLE child DISABLE TRIGGER off;
    CREATE RULE nothing AS ON DELETE TO child DO INSTEAD NOTHING;
    INSERT INTO parent VALUES (1), (2); INSERT INTO child (parent, n) VALUES (1, 1); DELETE FROM log;";

/// Children before their parents, and parents that go before their children; nothing fires, and nothing dangles.
async fn check_family(server: &Server, name: &str, settings: dbsnap::domain::database::Settings) {
    let bench = Bench::new();
    let source = bench.source(server, name, json!({})).await.unwrap();
    let (parent, child) = (table(source.as_ref(), "parent").clone(), table(source.as_ref(), "child").clone());
    drop(source);
    let state = "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT conname, CASE WHEN condeferrable THEN 'd' ELSE 'i' END FROM pg_constraint WHERE contype = 'f'
                 UNION ALL SELECT rulename, ev_enabled::text FROM pg_rewrite WHERE rulename = 'nothing'";
    let before = text(server, name, state).await;
    let apply = async |steps: Vec<(&Table, Vec<RowChange>)>| {
        let mut target = ENGINE.open_target(&settings, &bench.run()).await?;
        for (table, changes) in steps {
            target.apply(table, sent(changes), STOP, &bench.run()).await?;
        }
        target.commit(&bench.run()).await
    };
    let born = vec![change(None, Some(&[Some("50"), Some("7"), Some("3")]))];
    let gone = vec![change(Some(&[Some("1"), Some("1"), Some("1")]), None)];
    apply(vec![
        (&child, born.clone()),
        (&parent, vec![change(None, Some(&[Some("7")]))]),
        (&child, gone),
        (&parent, vec![change(Some(&[Some("1")]), None)]),
    ])
    .await
    .unwrap();
    assert_eq!(text(server, name, "SELECT * FROM child").await, "(50,7,3,6)");
    assert_eq!(text(server, name, "SELECT * FROM log").await, "");
    assert_eq!(text(server, name, state).await, before);
    refused(
        apply(vec![(&child, vec![change(None, Some(&[Some("51"), Some("99"), None]))])]).await,
        &["nothing was changed", "restore the rows they refer to"],
    );
    assert_eq!(text(server, name, "SELECT id FROM child").await, "(50)");
}

#[tokio::test]
async fn nothing_fires_and_nothing_dangles_when_a_superuser_writes() {
    for major in [13, 18] {
        let server = shared(major);
        let name = made(server, "family", FAMILY).await;
        check_family(server, &name, settings(server, &name)).await;
    }
}

#[tokio::test]
async fn nothing_fires_and_nothing_dangles_when_the_owner_writes() {
    let server = shared(15);
    let name =
        made(server, "owned_family", "CREATE ROLE family_owner LOGIN PASSWORD 'pw'; GRANT CREATE ON SCHEMA public TO family_owner").await;
    server.connect_as("family_owner", "pw", &name).await.batch_execute(FAMILY).await.unwrap();
    let mut settings = settings(server, &name);
    settings.insert("user".into(), "family_owner".into());
    settings.insert("password".into(), "pw".into());
    check_family(server, &name, settings).await;
}

#[tokio::test]
async fn a_script_makes_one_database_the_other_and_back_for_every_type() {
    let server = shared(15);
    let database = everything(server).await;
    let bench = Bench::new();
    let script = ENGINE.script().unwrap();
    let mut source = bench.source(server, &database, json!({})).await.unwrap();
    for table in source.schema().tables.clone() {
        let rows = bench.pairs(source.as_mut(), &table, &KeyRange::all()).await.unwrap();
        let mut counted: Vec<Row> = Vec::new();
        for (_, row) in rows {
            match counted.iter_mut().find(|known| known.cells == row.cells) {
                Some(known) => known.count += 1,
                None => counted.push(row),
            }
        }
        let patch = |forth: bool| {
            let mut text = script.begin("everything\ngoes; DROP TABLE types");
            for row in &counted {
                let change = if forth {
                    RowChange { kind: ChangeKind::Removed, before: Some(row.clone()), after: None }
                } else {
                    added(row.clone())
                };
                text.push_str(&script.change(&table, &change).unwrap());
            }
            text + &script.end()
        };
        let client = server.connect(&database).await;
        client
            .batch_execute("SET session_replication_role = replica; SET standard_conforming_strings = off; SET DateStyle = 'German'")
            .await
            .unwrap();
        let name = format!("{}.\"{}\"", table.name.schema.as_deref().unwrap(), table.name.name.replace('"', "\"\""));
        let name = if name.starts_with("Quoted") { name.replacen("Quoted Schema", "\"Quoted Schema\"", 1) } else { name };
        let count = format!("SELECT count(*) FROM {}{name}", if table.options.contains_key("partition by") { "" } else { "ONLY " });
        let all = number(server, &database, &count).await;
        client.batch_execute(&patch(true)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(number(server, &database, &count).await, 0, "{name}");
        client.batch_execute(&patch(false)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(number(server, &database, &count).await, all, "{name}");
    }
    // The moment of the source is before all that; one after it has the same rows.
    let mut after = bench.source(server, &database, json!({})).await.unwrap();
    for table in source.schema().tables.clone() {
        let mut expect = bench.rows_of(source.as_mut(), &table).await;
        let mut found = bench.rows_of(after.as_mut(), &table).await;
        expect.sort();
        found.sort();
        assert!(found == expect, "{}", table.name);
    }
}

#[tokio::test]
async fn only_databases_of_verifications_are_dropped() {
    let server = shared(15);
    let client = server.connect("postgres").await;
    client.batch_execute("CREATE DATABASE dbsnap_verify_x").await.unwrap();
    client.batch_execute("CREATE DATABASE kept").await.unwrap();
    let bench = Bench::new();
    let _open = server.connect("dbsnap_verify_x").await;
    ENGINE.drop_scratch(&settings(server, "dbsnap_verify_x"), &bench.run()).await.unwrap();
    ENGINE.drop_scratch(&settings(server, "dbsnap_verify_x"), &bench.run()).await.expect("it is gone already");
    refused(ENGINE.drop_scratch(&settings(server, "kept"), &bench.run()).await, &["'kept' is no database of a verification"]);
    let left = databases(server).await;
    assert!(left.contains(&"kept".to_owned()) && !left.contains(&"dbsnap_verify_x".to_owned()));
}

#[tokio::test]
async fn a_database_that_was_made_for_rows_goes_unless_they_are_committed() {
    let server = shared(15);
    let bench = Bench::new();
    let schema = Schema {
        tables: Vec::new(),
        objects: vec![Object {
            kind: ObjectKind::Namespace,
            table: None,
            name: dbsnap::snapshot::TableName::new(None, "s"),
            definition: "CREATE SCHEMA s".into(),
            options: Default::default(),
            references: None,
        }],
    };
    let mut target = ENGINE.open_target(&settings(server, "made_kept"), &bench.run()).await.unwrap();
    target.create(&schema, false, &bench.run()).await.unwrap();
    target.commit(&bench.run()).await.unwrap();
    assert_eq!(number(server, "made_kept", "SELECT count(*) FROM pg_namespace WHERE nspname = 's'").await, 1);
    let target = ENGINE.open_target(&settings(server, "made_dropped"), &bench.run()).await.unwrap();
    assert!(databases(server).await.contains(&"made_dropped".to_owned()));
    drop(target);
    let gone = async || !databases(server).await.contains(&"made_dropped".to_owned());
    crate::support::served::wait_until("the database is dropped", gone).await;
}
