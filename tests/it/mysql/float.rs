//! FLOAT values keep every bit.

use mysql_async::{Value, prelude::Queryable as _};
use serde_json::json;

use super::{Bench, account, by_hand, rows, run, settings_as};
use crate::support::mysql::{FLAVOURS, shared};

/// Values that 6 digits lose, and those at the edges.
const VALUES: &[f32] = &[
    0.0,
    -0.0,
    0.1,
    16_777_216.0,
    -16_777_215.0,
    8_388_608.5,
    1e-45,
    -1e-45,
    f32::MIN_POSITIVE,
    1.175_494_2e-38,
    f32::MAX,
    f32::MIN,
    2.236_068,
    1.000_000_1,
    123_456.79,
    9.999_999e37,
];

#[tokio::test]
async fn every_float_comes_back_bit_for_bit() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("floats").await;
        run(server, &name, &["CREATE TABLE f (id INT PRIMARY KEY, f FLOAT, s VARCHAR(10), u FLOAT(9,4))", "CREATE TABLE other (id INT)"])
            .await;
        let mut connection = server.connect(&name).await;
        let mut random = 0x2545_f491_u32;
        let many = std::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            f32::from_bits(random)
        });
        // MariaDB keeps no sign of zero.
        let edges = VALUES.iter().copied().filter(|value| *value != 0.0 || value.is_sign_positive() || !flavour.is_mariadb());
        let values: Vec<f32> = edges.chain(many.filter(|value| value.is_finite()).take(2000)).collect();
        for (id, value) in values.iter().enumerate() {
            // A parameter loses the sign of zero on its way.
            let value = if value.to_bits() == (-0f32).to_bits() { "-0e0".to_owned() } else { format!("{:e}", f64::from(*value)) };
            connection.query_drop(format!("INSERT INTO f VALUES ({id}, {value}, 'x', 1234.5678)")).await.unwrap();
        }
        connection.query_drop("INSERT INTO f VALUES (1000000, NULL, NULL, NULL)").await.unwrap();
        connection.disconnect().await.unwrap();
        let before = rows(server, &name, "SELECT f, u FROM f ORDER BY id").await;
        assert_eq!(
            bits(&before[..values.len()]),
            values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
            "the test writes them exactly"
        );

        let dumped = Bench::with(flavour).dump(server, &name, json!({})).await.unwrap();
        assert!(dumped.facts.warnings.is_empty(), "{:?}", dumped.facts.warnings);
        let copy = server.database("copy").await;
        assert_eq!(by_hand(flavour, server, &copy, &dumped.dump), "");
        let after = rows(server, &copy, "SELECT f, u FROM f ORDER BY id").await;
        assert_eq!(bits(&after[..values.len()]), bits(&before[..values.len()]), "{flavour:?}");
        assert_eq!(after, before);
    }
}

fn bits(rows: &[Vec<Value>]) -> Vec<u32> {
    let float = |row: &Vec<Value>| match row[0] {
        Value::Float(value) => value.to_bits(),
        ref other => panic!("{other:?}"),
    };
    rows.iter().map(float).collect()
}

#[tokio::test]
async fn triggers_of_such_a_table_do_not_see_its_rows_arrive() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("triggered").await;
        run(
            server,
            &name,
            &[
                "CREATE TABLE f (id INT PRIMARY KEY, f FLOAT)",
                "CREATE TABLE log (id INT)",
                "INSERT INTO f VALUES (1, 0.1)",
                "CREATE TRIGGER tr BEFORE INSERT ON f FOR EACH ROW BEGIN SET NEW.f = 5; INSERT INTO log VALUES (NEW.id); END",
            ],
        )
        .await;
        let dumped = Bench::with(flavour).dump(server, &name, json!({})).await.unwrap();
        let copy = server.database("copy").await;
        assert_eq!(by_hand(flavour, server, &copy, &dumped.dump), "");
        assert_eq!(super::contents(server, &copy).await, super::contents(server, &name).await);
        let without = Bench::with(flavour).dump(server, &name, json!({"triggers": false})).await.unwrap();
        assert!(dumped.text().contains("TRIGGER") && !without.text().contains("TRIGGER"));
    }
}

/// Two tables whose rows are always written together: one with a FLOAT column, which is read by us, one without.
#[tokio::test]
async fn both_readers_see_the_same_instant_while_others_write() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("instant").await;
        run(server, &name, &["CREATE TABLE f (id INT PRIMARY KEY, f FLOAT)", "CREATE TABLE p (id INT PRIMARY KEY)"]).await;
        let mut connection = server.connect(&name).await;
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        let writing = tokio::spawn(async move {
            let mut id = 0;
            while !stopped.is_cancelled() {
                id += 1;
                connection
                    .query_drop(format!("BEGIN; INSERT INTO f VALUES ({id}, 0.5); INSERT INTO p VALUES ({id}); COMMIT"))
                    .await
                    .unwrap();
            }
        });
        for _ in 0..5 {
            let dumped = Bench::with(flavour).dump(server, &name, json!({})).await.unwrap();
            assert!(dumped.facts.warnings.is_empty(), "{:?}", dumped.facts.warnings);
            let count = |table: &str| dumped.tables.iter().find(|count| count.name == table).map(|count| count.rows);
            assert_eq!(count("f"), count("p"), "{flavour:?}");
        }
        stop.cancel();
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn an_account_that_may_not_stop_writes_is_told_so_and_gets_its_dump() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("unheld").await;
        run(server, &name, &["CREATE TABLE measures (id INT PRIMARY KEY, f FLOAT)", "INSERT INTO measures VALUES (1, 16777217)"]).await;
        account(server, "unheld", &[&format!("SELECT, SHOW VIEW, TRIGGER, EVENT ON {name}.*")]).await;
        let dumped = Bench::with(flavour).dump_with(&settings_as(server, "unheld", &name), json!({})).await.unwrap();
        assert!(dumped.warns(&["measures", "another instant"]), "{:?}", dumped.facts.warnings);
        assert!(dumped.text().contains("(1,16777216)"));
    }
}
