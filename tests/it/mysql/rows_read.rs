//! Rows and schema of one moment, read from real servers while others write.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dbsnap::{
    domain::fields::validate,
    engines::{Engine as _, KeyRange, Order, RowSource},
    error::Result,
    snapshot::{Class, Key, ObjectKind, Table},
};
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use super::{Bench, ENGINE, account, inspect, run, settings, settings_as};
use crate::support::{
    mysql::{FLAVOURS, Flavour, Server, shared},
    rows::{everything, gather, table},
};

impl Bench {
    pub async fn source(&self, server: &Server, database: &str, options: Value) -> Result<Box<dyn RowSource>> {
        let options = validate(ENGINE.info().dump_options, options.as_object().unwrap())?;
        ENGINE.open_source(&settings(server, database), &options, &self.run()).await
    }

    /// The cells of a table's rows as text, rows and columns in order; NULL is `~`.
    pub async fn cells(&self, source: &mut dyn RowSource, table: &Table) -> Vec<Vec<String>> {
        let mut rows = gather(source, table, &KeyRange::all(), &self.run()).await.unwrap();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let text = |cell: &Option<bytes::Bytes>, class: Class| match cell {
            None => "~".to_owned(),
            Some(bytes) if class == Class::Bytes => hex::encode(bytes),
            Some(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        };
        rows.iter().map(|(_, row)| row.cells.iter().zip(table.stored()).map(|(cell, column)| text(cell, column.class)).collect()).collect()
    }
}

pub const TYPES: &str = "CREATE TABLE types (id INT PRIMARY KEY, tiny TINYINT UNSIGNED, big BIGINT, ubig BIGINT UNSIGNED, padded INT(8) ZEROFILL,
    dec_ DECIMAL(30,10), f FLOAT, d DOUBLE, bits BIT(17), da DATE, dt DATETIME(3), ts TIMESTAMP(6) NULL, ti TIME(2), y YEAR,
    ch CHAR(5), latin VARCHAR(20) CHARACTER SET latin1, tx TEXT, bin BINARY(3), vb VARBINARY(9), bl BLOB, en ENUM('a','it''s'), st SET('x','y'),
    js JSON, g POINT, twice INT AS (id * 2) STORED, thrice INT AS (id * 3) VIRTUAL)";

pub const NEGATIVE_ZERO: &str = "UPDATE types SET f = -0e0 WHERE id = 3";

pub const VALUES: &str = "INSERT INTO types (id, tiny, big, ubig, padded, dec_, f, d, bits, da, dt, ts, ti, y, ch, latin, tx, bin, vb, bl, en, st, js, g) VALUES
    (1, 255, -9223372036854775808, 18446744073709551615, 42, -12345678901234567890.0123456789, 0.1, 0.30000000000000004, b'10000000000000001',
     '2026-02-28', '2026-01-02 03:04:05.06', '2026-01-02 03:04:05.123456', '-838:59:58.25', 2026, 'ab', 'Grüße', '🐘 NULL', 0x0100, 0x00ff, 0x27005c,
     'it''s', 'x,y', '{\"b\": 1.50, \"a\": [null, \"é\"]}', ST_GeomFromText('POINT(1 2)')),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, 0, 0, 0, 0, -0e0, 1.7976931348623157e308, 0, '0000-00-00', '2026-00-31 00:00:00', '0000-00-00 00:00:00', '100:00:00', 0, '', '', '', '', '', '', '', '', 'null', NULL),
    (4, 1, 1, 1, 1, 1, 16777216, -5e-324, 1, '2026-02-31', '0000-00-00 00:00:00', '1970-01-01 00:00:01', '00:00:00', 1901, ' x', 'x ', 'null', 0x00, 0x00, 0x00, 'a', 'y', '\"\"', NULL)";

#[tokio::test]
async fn every_type_is_read_in_one_way_of_writing() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("types").await;
        run(server, &name, &["SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', NAMES utf8mb4", TYPES, VALUES, NEGATIVE_ZERO])
            .await;
        let bench = Bench::new();
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        let types = table(source.as_ref(), "types");
        let all = bench.cells(source.as_mut(), &types).await;
        let json = |mysql: &str, mariadb: &str| if flavour.is_mariadb() { mariadb.to_owned() } else { mysql.to_owned() };
        let point = "000000000101000000000000000000f03f0000000000000040";
        let first = json(r#"{"a": [null, "é"], "b": 1.5}"#, r#"{"b": 1.50, "a": [null, "é"]}"#);
        assert_eq!(
            all[0],
            [
                "1",
                "255",
                "-9223372036854775808",
                "18446744073709551615",
                "42",
                "-12345678901234567890.0123456789",
                "0.1",
                "0.30000000000000004",
                "010001",
                "2026-02-28",
                "2026-01-02 03:04:05.060",
                "2026-01-02 03:04:05.123456+00",
                "-838:59:58.25",
                "2026",
                "ab",
                "Grüße",
                "🐘 NULL",
                "010000",
                "00ff",
                "27005c",
                "it's",
                "x,y",
                &first,
                point
            ],
            "{flavour:?}"
        );
        assert!(all[1][1..].iter().all(|cell| cell == "~"), "{:?}", all[1]);
        assert_eq!(
            all[2],
            [
                "3",
                "0",
                "0",
                "0",
                "0",
                "0.0000000000",
                // MariaDB does not always keep the sign of zero.
                if flavour.is_mariadb() { &all[2][6] } else { "-0" },
                "1.7976931348623157e308",
                "000000",
                "0000-00-00",
                "2026-00-31 00:00:00.000",
                "0000-00-00 00:00:00.000000+00",
                "100:00:00.00",
                "0",
                "",
                "",
                "",
                "000000",
                "",
                "",
                "",
                "",
                "null",
                "~"
            ]
        );
        assert_eq!(all[3][5..8], ["1.0000000000", "16777216", "-5e-324"]);
        assert_eq!(all[3][14..17], [" x", "x ", "null"]);
        let classes: Vec<Class> = types.columns.iter().map(|column| column.class).collect();
        assert_eq!(classes[22], Class::Json, "also where JSON is text with a condition");
        assert_eq!((classes[6], classes[9], classes[11], classes[23]), (Class::Float, Class::Date, Class::Instant, Class::Bytes));
        assert_eq!(types.stored().count(), 24, "what the server computes is not kept");
    }
}

#[tokio::test]
async fn types_of_mariadb_and_mysql_alone_are_read_too() {
    let server = shared(Flavour::MariaDb118);
    let name = server.database("own_types").await;
    run(
        server,
        &name,
        &[
            "CREATE TABLE t (u UUID PRIMARY KEY, i4 INET4, i6 INET6, v VECTOR(2) NOT NULL)",
            "INSERT INTO t VALUES ('123E4567-e89b-12d3-a456-426614174000', '10.0.0.1', '::1', VEC_FromText('[1,2.5]'))",
            "CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3",
            "DO NEXTVAL(numbers)",
            "CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
            "INSERT INTO history VALUES (1, 1)",
            "UPDATE history SET v = 2",
        ],
    )
    .await;
    let bench = Bench::new();
    let mut source = bench.source(server, &name, json!({})).await.unwrap();
    let t = table(source.as_ref(), "t");
    let cells = bench.cells(source.as_mut(), &t).await;
    assert_eq!(cells, [["123e4567-e89b-12d3-a456-426614174000", "10.0.0.1", "::1", "0000803f00002040"]]);
    assert_eq!(t.columns[0].class, Class::Uuid);
    let history = table(source.as_ref(), "history");
    assert_eq!(bench.cells(source.as_mut(), &history).await, [["1", "2"]]);
    let sequence = source.schema().objects.iter().find(|object| object.kind == ObjectKind::Sequence).unwrap();
    assert_eq!((sequence.name.name.as_str(), !sequence.options["value"].is_empty()), ("numbers", true));

    let server = shared(Flavour::MySql97);
    let name = server.database("own_types").await;
    run(
        server,
        &name,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v VECTOR(2), g POINT SRID 4326, hidden INT INVISIBLE DEFAULT 7, KEY f ((id + 1)), KEY d (hidden DESC))",
            "INSERT INTO t (id, v, g) VALUES (1, STRING_TO_VECTOR('[1,2.5]'), ST_GeomFromText('POINT(10 20)', 4326))",
        ],
    )
    .await;
    let mut source = bench.source(server, &name, json!({})).await.unwrap();
    let t = table(source.as_ref(), "t");
    assert_eq!(
        bench.cells(source.as_mut(), &t).await,
        [["1", "0000803f00002040", "e6100000010100000000000000000034400000000000002440", "7"]]
    );
    let index = |name: &str| source.schema().objects.iter().find(|object| object.name.name == name).unwrap().definition.clone();
    assert_eq!((index("f").as_str(), index("d").as_str()), ("KEY ((`id` + 1))", "KEY (`hidden` DESC)"));
}

#[tokio::test]
async fn the_key_is_what_names_a_row_and_its_order_is_promised_where_the_index_has_it() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("keys").await;
        run(
            server,
            &name,
            &[
                "CREATE TABLE ints (b BIGINT UNSIGNED, a INT, v INT, PRIMARY KEY (a, b))",
                "INSERT INTO ints VALUES (0, -300, 1), (18446744073709551615, -300, 1), (5, -1, 1), (6, 0, 1), (256, 7, 1), (255, 7, 1), (65536, 7, 1)",
                "CREATE TABLE bins (k VARBINARY(10) PRIMARY KEY)",
                "INSERT INTO bins VALUES (''), (0x00), (0x0000), (0x0061), (0x61), (0x6100), (0xff), (0x00ff)",
                "CREATE TABLE texts (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT NOT NULL UNIQUE)",
                "INSERT INTO texts VALUES ('b', 1), ('A', 2), ('z', 3), ('_', 4), ('10', 5), ('9', 6)",
                "CREATE TABLE by_unique (a INT NOT NULL, b INT, c INT NOT NULL, UNIQUE KEY wide (a, c), UNIQUE KEY maybe (b))",
                "CREATE TABLE prefixed (t VARCHAR(500) NOT NULL, UNIQUE KEY part (t(10)))",
                "CREATE TABLE keyless (a INT)",
                "INSERT INTO keyless VALUES (1), (1), (NULL)",
                "CREATE TABLE isam (id INT PRIMARY KEY) ENGINE = MyISAM",
            ],
        )
        .await;
        let bench = Bench::new();
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        let found: Vec<String> = source
            .schema()
            .tables
            .iter()
            .map(|table| {
                let key = match &table.key {
                    Key::Columns { columns } => columns.join(","),
                    Key::Row => "*".to_owned(),
                };
                format!("{} {key} {:?}", table.name, source.order(table))
            })
            .collect();
        let expected = ["bins k Key", "by_unique a,c Any", "ints a,b Key", "isam id Any", "keyless * Any", "prefixed * Any", "texts k Any"];
        assert_eq!(found, expected, "{flavour:?}");
        assert!(source.facts().warnings.iter().any(|warning| warning.contains("isam (MyISAM)")), "{:?}", source.facts().warnings);
        let all = everything(source.as_mut(), &bench.run()).await;
        let keyless = all.iter().find(|content| content.name() == "keyless").unwrap();
        assert_eq!(keyless.rows.iter().map(|(_, row)| row.count).collect::<std::collections::BTreeSet<_>>(), [1, 2].into());
        for name in ["ints", "bins", "texts"] {
            let all = all.iter().find(|content| content.name() == name).unwrap();
            let keys: Vec<_> = all.rows.iter().map(|(key, _)| key.clone()).collect();
            for from in 0..keys.len() {
                for to in from..keys.len() {
                    let range = KeyRange { after: Some(keys[from].clone()), to: Some(keys[to].clone()) };
                    let rows = gather(source.as_mut(), &all.table, &range, &bench.run()).await.unwrap();
                    assert_eq!(rows.len(), to - from, "{name}");
                }
                let rows = gather(source.as_mut(), &all.table, &KeyRange { after: Some(keys[from].clone()), to: None }, &bench.run()).await;
                assert_eq!(rows.unwrap().len(), keys.len() - from - 1);
            }
        }
    }
}

#[tokio::test]
async fn the_schema_tells_everything_but_rows() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("schema").await;
        run(
            server,
            &name,
            &[
                r"CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT 'it''s' COMMENT 'a \\ ) AUTO_INCREMENT=7',
                   KEY by_name (name(5)), UNIQUE KEY uniq (name)) AUTO_INCREMENT = 42 COMMENT = 'top'",
                "CREATE TABLE child (id INT, at DATE, parent INT, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE,
                   CONSTRAINT positive CHECK (id > 0), tw INT AS (id * 2) STORED)",
                "CREATE TABLE parted (id INT NOT NULL PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN MAXVALUE)",
                "CREATE VIEW v AS SELECT name FROM parent",
                "CREATE TRIGGER tr BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id + 1",
                "CREATE FUNCTION twice(n INT, x VARCHAR(9)) RETURNS INT DETERMINISTIC RETURN n * 2",
                "CREATE PROCEDURE p() SELECT 1",
                "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM child",
            ],
        )
        .await;
        let bench = Bench::new();
        let source = bench.source(server, &name, json!({})).await.unwrap();
        let schema = source.schema();
        let parent = table(source.as_ref(), "parent");
        assert_eq!(parent.options["auto_increment"], "42", "{flavour:?}");
        assert!(!parent.definition.contains("=42") && parent.definition.contains("AUTO_INCREMENT=7"), "{}", parent.definition);
        assert_eq!((parent.options["engine"].as_str(), parent.options["comment"].as_str()), ("InnoDB", "top"));
        assert_eq!(parent.columns[0].options["extra"], "auto_increment");
        assert_eq!((parent.columns[1].type_name.as_str(), parent.columns[1].nullable), ("varchar(20)", false));
        assert!(parent.columns[1].default.as_deref().unwrap().contains("it"));
        assert!(table(source.as_ref(), "parted").options["partition by"].starts_with("PARTITION BY RANGE"));
        assert!(table(source.as_ref(), "child").columns[3].generated.as_deref().unwrap().contains("* 2"));
        let object = |kind: ObjectKind, name: &str| {
            schema.objects.iter().find(|object| object.kind == kind && object.name.name == name).unwrap_or_else(|| panic!("{name}"))
        };
        let foreign = object(ObjectKind::ForeignKey, "fk");
        assert_eq!(foreign.definition, "FOREIGN KEY (`parent`) REFERENCES `parent` (`id`) ON DELETE CASCADE");
        assert_eq!(foreign.references.as_ref().unwrap().name, "parent");
        assert_eq!(object(ObjectKind::PrimaryKey, "PRIMARY").definition, "PRIMARY KEY (`id`)");
        assert_eq!(object(ObjectKind::Index, "by_name").definition, "KEY (`name`(5))");
        assert_eq!(object(ObjectKind::Unique, "uniq").definition, "UNIQUE KEY (`name`)");
        assert!(object(ObjectKind::Check, "positive").definition.contains("> 0"));
        let view = &object(ObjectKind::View, "v").definition;
        assert!(view.contains("VIEW `v`") && !view.contains(&name), "it can be made in another database: {view}");
        assert_eq!(object(ObjectKind::Trigger, "tr").table.as_ref().unwrap().name, "child");
        assert!(
            object(ObjectKind::Routine, if flavour.is_mariadb() { "twice(int(11), varchar(9))" } else { "twice(int, varchar(9))" })
                .definition
                .contains("FUNCTION")
        );
        assert!(object(ObjectKind::Routine, "p()").definition.contains("PROCEDURE"));
        assert!(object(ObjectKind::Event, "ev").definition.contains("EVERY 1 DAY"));
        let again = bench.source(server, &name, json!({})).await.unwrap();
        assert_eq!(again.schema(), schema, "the same every time it is asked");
        let chosen = bench.source(server, &name, json!({"includeTables": ["ch*"], "triggers": false})).await.unwrap();
        let kinds: Vec<ObjectKind> = chosen.schema().objects.iter().map(|object| object.kind).collect();
        assert_eq!(chosen.schema().tables.len(), 1);
        assert!(!kinds.iter().any(|kind| matches!(kind, ObjectKind::Trigger | ObjectKind::Routine | ObjectKind::Event | ObjectKind::View)));
    }
}

/// Moves one from account to account until it is told to stop; the sum stays.
async fn keep_moving(server: &'static Server, name: String, stop: Arc<AtomicBool>) -> u64 {
    let mut connection = server.connect(&name).await;
    let mut moves = 0;
    while !stop.load(Ordering::Relaxed) {
        connection.query_drop("START TRANSACTION").await.unwrap();
        connection.query_drop("UPDATE a SET n = n - 1 WHERE id = 1").await.unwrap();
        connection.query_drop("UPDATE z SET n = n + 1 WHERE id = 1").await.unwrap();
        connection.query_drop("INSERT INTO log (what) VALUES ('moved')").await.unwrap();
        connection.query_drop("COMMIT").await.unwrap();
        moves += 1;
    }
    connection.disconnect().await.unwrap();
    moves
}

const ACCOUNTS: &[&str] = &[
    "CREATE TABLE a (id INT PRIMARY KEY, n INT, f FLOAT)",
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT)",
    "CREATE TABLE z (id INT PRIMARY KEY, n INT)",
    "INSERT INTO a VALUES (1, 1000000, 0.1)",
    "INSERT INTO z VALUES (1, 0)",
];

#[tokio::test]
async fn all_tables_are_of_one_moment_while_others_write_and_definitions_can_change() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("moment").await;
        run(server, &name, ACCOUNTS).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn(keep_moving(server, name.clone(), Arc::clone(&stop)));
        let bench = Bench::new();
        for _ in 0..5 {
            let mut source = bench.source(server, &name, json!({"lockTimeoutSeconds": 5})).await.unwrap();
            let all = everything(source.as_mut(), &bench.run()).await;
            let number = |name: &str| -> i64 {
                let content = all.iter().find(|content| content.name() == name).unwrap();
                std::str::from_utf8(content.rows[0].1.cells[1].as_deref().unwrap()).unwrap().parse().unwrap()
            };
            assert_eq!(number("a") + number("z"), 1_000_000);
            assert_eq!(number("z"), all[1].rows.len() as i64);
            // Nobody waits for a lock on a definition that was read.
            run(server, &name, &["SET lock_wait_timeout = 5", "CREATE TABLE extra (id INT)", "DROP TABLE extra"]).await;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writing.await.unwrap() > 0);
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        everything(source.as_mut(), &bench.run()).await;
        run(server, &name, &["SET lock_wait_timeout = 2", "ALTER TABLE a ADD COLUMN later INT"]).await;
    }
}

#[tokio::test]
async fn the_rows_beside_a_dump_are_of_its_own_instant() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("beside").await;
        run(server, &name, ACCOUNTS).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn(keep_moving(server, name.clone(), Arc::clone(&stop)));
        let bench = Bench::with(flavour);
        for options in [json!({}), json!({"excludeTables": ["a"]})] {
            let options = validate(ENGINE.info().dump_options, options.as_object().unwrap()).unwrap();
            let run = bench.run();
            let mut dump = ENGINE.open_dump(&settings(server, &name), &options, true, &run).await.unwrap();
            let (out, mut input) = dbsnap::domain::stream::channel();
            let gather = tokio::spawn(async move {
                let mut all = Vec::new();
                while let Some(piece) = input.recv().await {
                    all.extend_from_slice(&piece);
                }
                all
            });
            dump.write(dbsnap::domain::artifact::ArtifactKind::Dump, out, &run).await.unwrap();
            let counts = inspect(&gather.await.unwrap()).unwrap();
            let mut source = dump.source(&run).await.unwrap();
            assert_eq!(source.facts().moment, dump.facts().moment);
            assert_eq!(source.facts().warnings, Vec::<String>::new());
            let all = everything(source.as_mut(), &run).await;
            for count in counts {
                let rows = all.iter().find(|content| content.name() == count.name).map(|content| content.rows.len() as u64);
                assert_eq!(rows, Some(count.rows), "{} of {flavour:?}", count.name);
            }
            assert!(all.iter().all(|content| content.name() == "a" || !content.rows.is_empty()));
            assert_eq!(all.len(), if options.contains_key("excludeTables") { 2 } else { 3 }, "the dump's own scope");
        }
        stop.store(true, Ordering::Relaxed);
        writing.await.unwrap();
        account(server, "no_reload", &[&format!("SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `{name}`.*")]).await;
        let run = bench.run();
        let mut dump = ENGINE.open_dump(&settings_as(server, "no_reload", &name), &Default::default(), true, &run).await.unwrap();
        let source = dump.source(&run).await.unwrap();
        let warnings = &source.facts().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("another instant") && warning.contains("FLUSH TABLES")), "{warnings:?}");
    }
}

#[tokio::test]
async fn long_rows_empty_tables_and_timeouts() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("sizes").await;
        run(
            server,
            &name,
            &[
                "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT)",
                "INSERT INTO big VALUES (1, REPEAT(0x00ff, 5242880), REPEAT('é', 5242880)), (2, REPEAT('x', 10485760), NULL)",
                "CREATE TABLE none (id INT PRIMARY KEY)",
                "CREATE TABLE one (v VARCHAR(9))",
                "INSERT INTO one VALUES ('NULL')",
            ],
        )
        .await;
        let bench = Bench::new();
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        let all = everything(source.as_mut(), &bench.run()).await;
        assert_eq!(all.iter().map(|content| content.rows.len()).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(all[0].rows[0].1.cells.iter().map(|cell| cell.as_ref().unwrap().len()).collect::<Vec<_>>(), [1, 10_485_760, 10_485_760]);
        assert_eq!(all[2].rows[0].1.cells[0].as_deref(), Some(&b"NULL"[..]));
        drop(source);
        let mut schema_only = bench.source(server, &name, json!({"schemaOnly": true})).await.unwrap();
        assert!(schema_only.facts().warnings.iter().any(|warning| warning.contains("no rows")));
        assert!(everything(schema_only.as_mut(), &bench.run()).await.iter().all(|content| content.rows.is_empty()));
        // Who takes only the first rows leaves a source that goes on at once.
        run(server, &name, &["INSERT INTO big SELECT id + 10, b, t FROM big", "INSERT INTO big SELECT id + 20, b, t FROM big"]).await;
        let mut source = bench.source(server, &name, json!({})).await.unwrap();
        let big = table(source.as_ref(), "big");
        let (sender, receiver) = dbsnap::snapshot::rows(&big).unwrap();
        drop(receiver);
        super::refused(source.rows(&big, &KeyRange::all(), sender, &bench.run()).await, &["stopped reading"]);
        assert_eq!(everything(source.as_mut(), &bench.run()).await[0].rows.len(), 8);
        drop(source);
        let mut locker = server.connect(&name).await;
        locker.query_drop("LOCK TABLES one WRITE").await.unwrap();
        let begun = std::time::Instant::now();
        let refused = async {
            let mut source = bench.source(server, &name, json!({"lockTimeoutSeconds": 1})).await?;
            let one = table(source.as_ref(), "one");
            gather(source.as_mut(), &one, &KeyRange::all(), &bench.run()).await
        };
        super::refused(refused.await, &["Lock wait timeout"]);
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        locker.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn all_databases_of_a_server_have_their_names() {
    let server = Server::start(Flavour::MariaDb1011, &Default::default());
    for name in ["one", "two"] {
        run(
            &server,
            "",
            &[
                &format!("CREATE DATABASE {name}"),
                &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
                &format!("INSERT INTO {name}.t VALUES (1)"),
            ],
        )
        .await;
    }
    let bench = Bench::new();
    let mut source = bench.source(&server, "", json!({"allDatabases": true})).await.unwrap();
    let all = everything(source.as_mut(), &bench.run()).await;
    let found: Vec<_> = all.iter().map(|content| (content.name(), content.rows.len(), source.order(&content.table))).collect();
    assert_eq!(found, [("one.t".to_owned(), 1, Order::Key), ("two.t".to_owned(), 1, Order::Key)]);
}
