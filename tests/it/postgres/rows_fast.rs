//! The fast tier: what it calls unchanged is unchanged, whatever was done to the table.

use std::collections::BTreeMap;

use dbsnap::{
    engines::{KeyRange, Order},
    snapshot::Row,
};
use serde_json::json;

use super::{Bench, rows::table};
use crate::support::postgres::Server;

type Pairs = Vec<(Vec<u8>, Row)>;

/// A table as it was, cut into ranges.
struct Then {
    rows: Pairs,
    ranges: Vec<(KeyRange, u64)>,
    marks: BTreeMap<String, String>,
}

/// Rows in each range.
const ROWS: usize = 50;

async fn then(bench: &Bench, server: &Server, database: &str, name: &str) -> Then {
    let mut source = bench.source(server, database, json!({})).await.unwrap();
    let of = table(source.as_ref(), name).clone();
    assert_eq!(source.order(&of), Order::Key, "{name}");
    let rows = bench.pairs(source.as_mut(), &of, &KeyRange::all()).await.unwrap();
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{name}");
    let mut ranges: Vec<(KeyRange, u64)> = Vec::new();
    for chunk in rows.chunks(ROWS) {
        let after = ranges.last().and_then(|(range, _)| range.to.clone());
        ranges.push((KeyRange { after, to: chunk.last().map(|(key, _)| key.clone()) }, chunk.len() as u64));
    }
    if let Some((range, _)) = ranges.last_mut() {
        range.to = None;
    }
    Then { rows, ranges, marks: source.facts().marks.clone() }
}

fn within<'a>(rows: &'a Pairs, range: &KeyRange) -> Vec<&'a (Vec<u8>, Row)> {
    let inside = |key: &Vec<u8>| range.after.as_ref().is_none_or(|after| key > after) && range.to.as_ref().is_none_or(|to| key <= to);
    rows.iter().filter(|(key, _)| inside(key)).collect()
}

/// The numbers of the ranges that the fast tier calls touched; `None` where it does not answer. Errors in the promise panic.
async fn now(bench: &Bench, server: &Server, database: &str, name: &str, then: &Then) -> Option<Vec<usize>> {
    let mut source = bench.source(server, database, json!({})).await.unwrap();
    let of = table(source.as_ref(), name).clone();
    let touched = source.touched(&of, &then.ranges, &then.marks, &bench.run()).await.unwrap()?;
    let rows = bench.pairs(source.as_mut(), &of, &KeyRange::all()).await.unwrap();
    for ((range, _), touched) in then.ranges.iter().zip(&touched) {
        let alone = bench.pairs(source.as_mut(), &of, range).await.unwrap();
        assert_eq!(alone.iter().collect::<Vec<_>>(), within(&rows, range), "a range is read alone as it is in the whole");
        assert!(*touched || within(&rows, range) == within(&then.rows, range), "{name}: a range that changed is called unchanged");
    }
    Some((0..touched.len()).filter(|at| touched[*at]).collect())
}

const KEYS: [(&str, &str, &str); 5] = [
    ("ints", "id int PRIMARY KEY", "n - 500"),
    ("uuids", "id uuid PRIMARY KEY", "md5(n::text)::uuid"),
    ("bytes", "id bytea PRIMARY KEY", "decode(md5(n::text), 'hex')"),
    ("texts", "id text COLLATE \"C\" PRIMARY KEY", "'k' || n || '''é'"),
    ("pairs", "id text COLLATE \"C\", m smallint DEFAULT 1, PRIMARY KEY (m, id)", "'k' || n"),
];

async fn check_keys(major: u32) {
    let server = &Server::start(major);
    let name = server.database("fast").await;
    let client = server.connect(&name).await;
    let bench = Bench::new();
    for (table, key, value) in KEYS {
        let sql = format!(
            "CREATE TABLE {table} ({key}, a int, b text); INSERT INTO {table} (id, a, b) SELECT {value}, n, 'b' FROM generate_series(1, 1000) n"
        );
        client.batch_execute(&sql).await.unwrap();
        let before = then(&bench, server, &name, table).await;
        assert_eq!(now(&bench, server, &name, table, &before).await, Some(vec![]), "{table}");
        let key_of = |at: usize| format!("(SELECT id FROM {table} WHERE a = {})", numbers(&before, at));
        // An update, a deletion, a deletion beside an insertion, changes that were taken back, and rows before and after all.
        let steps = [
            (format!("UPDATE {table} SET b = 'c' WHERE id = {}", key_of(120)), vec![2]),
            (format!("DELETE FROM {table} WHERE id = {}", key_of(310)), vec![2, 6]),
            (
                format!("BEGIN; DELETE FROM {table} WHERE id = {0}; SAVEPOINT s; DELETE FROM {table}; ROLLBACK TO s; COMMIT", key_of(999)),
                vec![2, 6, 19],
            ),
            (format!("BEGIN; UPDATE {table} SET b = 'd'; ROLLBACK"), vec![2, 6, 19]),
        ];
        for (sql, expect) in steps {
            client.batch_execute(&sql).await.unwrap();
            assert_eq!(now(&bench, server, &name, table, &before).await, Some(expect), "{sql}");
        }
        client
            .batch_execute(&format!(
                "CREATE TEMP TABLE moved AS SELECT * FROM {table} WHERE a = {}; DELETE FROM {table} WHERE a = {0};
            UPDATE moved SET b = 'anew'; INSERT INTO {table} SELECT * FROM moved; DROP TABLE moved",
                numbers(&before, 500)
            ))
            .await
            .unwrap();
        assert_eq!(now(&bench, server, &name, table, &before).await, Some(vec![2, 6, 10, 19]), "{table}");
        client.batch_execute(&format!("VACUUM (FREEZE) {table}")).await.unwrap();
        assert_eq!(now(&bench, server, &name, table, &before).await, Some(vec![2, 6, 10, 19]), "{table} frozen");
    }
}

/// The value of `a` in the row at a place in the order of the keys.
fn numbers(then: &Then, at: usize) -> String {
    let cells = &then.rows[at].1.cells;
    String::from_utf8(cells[cells.len() - 2].as_ref().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn only_what_was_touched_is_called_touched_on_postgresql_13() {
    check_keys(13).await;
}

#[tokio::test]
async fn only_what_was_touched_is_called_touched_on_postgresql_18() {
    check_keys(18).await;
}

#[tokio::test]
async fn rows_of_transactions_that_were_open_at_the_moment_are_found_when_they_are_committed() {
    for major in [13, 17] {
        let server = &Server::start(major);
        let name = server.database("open").await;
        let client = server.connect(&name).await;
        client
            .batch_execute(
                "CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t SELECT n, n, '' FROM generate_series(1, 500) n",
            )
            .await
            .unwrap();
        let (first, second, late) = (server.connect(&name).await, server.connect(&name).await, server.connect(&name).await);
        // The subtransaction's number is in no list of open transactions; the second transaction is older than the moment too.
        first
            .batch_execute("BEGIN; UPDATE t SET b = 'one' WHERE id = 1; SAVEPOINT s; UPDATE t SET b = 'sub' WHERE id = 60; RELEASE s")
            .await
            .unwrap();
        second.batch_execute("BEGIN; SELECT txid_current()").await.unwrap();
        // Those that are over make the moment's upper end younger than all of them.
        late.batch_execute("UPDATE t SET b = 'over' WHERE id = 500").await.unwrap();
        first.batch_execute("SAVEPOINT u; UPDATE t SET b = 'sub' WHERE id = 110; RELEASE u").await.unwrap();
        late.batch_execute("UPDATE t SET b = 'over' WHERE id = 499").await.unwrap();
        let bench = Bench::new();
        let before = then(&bench, server, &name, "t").await;
        first.batch_execute("UPDATE t SET b = 'one' WHERE id = 160; COMMIT").await.unwrap();
        second
            .batch_execute("UPDATE t SET b = 'two' WHERE id = 210; SAVEPOINT s; DELETE FROM t WHERE id = 260; RELEASE s; COMMIT")
            .await
            .unwrap();
        let touched = now(&bench, server, &name, "t", &before).await.unwrap();
        // The last range is a false alarm: what was over then is not told from what was open.
        assert_eq!(touched, [0, 1, 2, 3, 4, 5, 9]);
    }
}

#[tokio::test]
async fn what_changes_a_table_as_a_whole_is_read_as_a_whole() {
    let server = &Server::start(15);
    let bench = Bench::new();
    let fill = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, a int, m mood DEFAULT 'ok'); INSERT INTO t SELECT n, n FROM generate_series(1, 200) n;
        CREATE TABLE other (id int PRIMARY KEY, a int, m mood DEFAULT 'ok'); INSERT INTO other SELECT n, n + 1 FROM generate_series(1, 200) n;";
    let steps = [
        "VACUUM FULL t",
        "BEGIN; TRUNCATE t; INSERT INTO t SELECT n, n + 1 FROM generate_series(1, 200) n; COMMIT",
        "ALTER TABLE t RENAME TO old; ALTER TABLE other RENAME TO t",
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        "ALTER TABLE t ADD COLUMN more int DEFAULT 7",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ALTER COLUMN a TYPE bigint",
        "CREATE TABLE parts (LIKE t INCLUDING ALL) PARTITION BY RANGE (id); ALTER TABLE t RENAME TO t1; ALTER TABLE parts RENAME TO t; ALTER TABLE t ATTACH PARTITION t1 DEFAULT",
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a int, m mood); INSERT INTO t SELECT * FROM other",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
    ];
    for sql in steps {
        let name = server.database("whole").await;
        let client = server.connect(&name).await;
        client.batch_execute(fill).await.unwrap();
        let before = then(&bench, server, &name, "t").await;
        assert_eq!(now(&bench, server, &name, "t", &before).await, Some(vec![]));
        client.batch_execute(sql).await.unwrap();
        assert_eq!(now(&bench, server, &name, "t", &before).await, None, "{sql}");
    }
    assert!(
        bench.log().contains("every row of public.t is read: its files, columns, types or partitions changed since"),
        "{}",
        bench.log()
    );
}

#[tokio::test]
async fn partitions_are_looked_at_together_and_new_ones_are_noticed() {
    let server = &Server::start(15);
    let bench = Bench::new();
    let name = server.database("parts").await;
    let client = server.connect(&name).await;
    let fill = "CREATE TABLE t (id int PRIMARY KEY, a int, b text) PARTITION BY HASH (id);
        CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO t SELECT n, n, 'b' FROM generate_series(1, 500) n;
        CREATE TABLE r (id int PRIMARY KEY, a int) PARTITION BY RANGE (id); CREATE TABLE r0 PARTITION OF r FOR VALUES FROM (0) TO (1000);
        INSERT INTO r SELECT n, n FROM generate_series(1, 100) n";
    client.batch_execute(fill).await.unwrap();
    let (hashed, ranged) = (then(&bench, server, &name, "t").await, then(&bench, server, &name, "r").await);
    client.batch_execute("UPDATE t SET b = 'c' WHERE id = 275").await.unwrap();
    assert_eq!(now(&bench, server, &name, "t", &hashed).await, Some(vec![5]));
    client.batch_execute("BEGIN; CREATE TABLE r1 (LIKE r INCLUDING ALL); COPY r1 FROM PROGRAM 'echo 2000,1' (FORMAT csv, FREEZE); ALTER TABLE r ATTACH PARTITION r1 FOR VALUES FROM (1000) TO (3000); COMMIT").await.unwrap();
    assert_eq!(now(&bench, server, &name, "r", &ranged).await, None);
    let again = then(&bench, server, &name, "r").await;
    client.batch_execute("ALTER TABLE r DETACH PARTITION r1").await.unwrap();
    assert_eq!(now(&bench, server, &name, "r", &again).await, None);
}

#[tokio::test]
async fn a_server_that_crashed_or_was_started_anew_or_is_another_is_not_trusted() {
    let server = Server::start(17);
    let bench = Bench::new();
    let name = server.database("lives").await;
    let client = server.connect(&name).await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t SELECT n, n, '' FROM generate_series(1, 100) n")
        .await
        .unwrap();
    let before = then(&bench, &server, &name, "t").await;
    assert_eq!(now(&bench, &server, &name, "t", &before).await, Some(vec![]));
    for (mark, value) in [("system", "1"), ("timeline", "00000009"), ("server", "other"), ("snapshot", "9999999999:9999999999:")] {
        let mut marks = before.marks.clone();
        marks.insert(mark.into(), value.into());
        let other = Then { rows: before.rows.clone(), ranges: before.ranges.clone(), marks };
        assert_eq!(now(&bench, &server, &name, "t", &other).await, None, "{mark}");
    }
    // A crash of one process makes the server recover; what it had not written is gone, and numbers are given again.
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    let ended = async || client.is_closed();
    crate::support::served::wait_until("the session ends", ended).await;
    let recovered = async || bench.source(&server, &name, json!({})).await.is_ok();
    crate::support::served::wait_until("the server recovers", recovered).await;
    assert_eq!(now(&bench, &server, &name, "t", &before).await, None);
}
