//! What is dumped comes back.

use dbsnap::error::Kind;

use super::{
    everywhere,
    home::CUSTOMERS,
    homes,
    operations::{Bench, restore_new, rows, take},
};

#[tokio::test]
async fn a_dump_restores_to_the_same_rows() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("same").await;
        let taken = take(home, &database).await;
        assert_eq!(rows(&taken.counts), [("customers", CUSTOMERS), ("unsold", 0)], "{}", home.label());
        let copy = format!("{database}_copy");
        let outcome = restore_new(home, &database, &taken, &copy).await.unwrap();
        assert_eq!(rows(&outcome.tables), rows(&taken.counts), "{}", home.label());
        assert_eq!(home.contents(&copy).await, home.contents(&database).await, "{}", home.label());
        let again = restore_new(home, &database, &taken, &copy).await.unwrap_err();
        assert_eq!(again.kind, Kind::Conflict, "{}: a new database never replaces one: {again}", home.label());
    }
}

#[tokio::test]
async fn a_dump_of_a_restored_database_restores_again() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("again").await;
        let first = take(home, &database).await;
        restore_new(home, &database, &first, &format!("{database}_1")).await.unwrap();
        let second = take(home, &format!("{database}_1")).await;
        assert_eq!(rows(&second.counts), rows(&first.counts), "{}", home.label());
        restore_new(home, &database, &second, &format!("{database}_2")).await.unwrap();
        assert_eq!(home.contents(&format!("{database}_2")).await, home.contents(&database).await, "{}", home.label());
    }
}

#[tokio::test]
async fn tables_come_back_under_whatever_name_they_have() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("odd names $").await;
        for table in home.odd_tables() {
            home.add_table(&database, table).await;
        }
        let taken = take(home, &database).await;
        let copy = home.odd_copy(&database);
        restore_new(home, &database, &taken, &copy).await.unwrap_or_else(|error| panic!("{}: {error}", home.label()));
        let contents = home.contents(&copy).await;
        assert_eq!(contents, home.contents(&database).await, "{}", home.label());
        for table in home.odd_tables() {
            assert!(contents.iter().any(|(name, rows)| name == table && rows.len() == 1), "{}: {table:?}", home.label());
            assert!(
                taken.counts.iter().any(|counted| counted.name == table && counted.rows == 1),
                "{}: {table:?} is counted",
                home.label()
            );
        }
    }
}

#[tokio::test]
async fn dumps_are_recognised_by_their_engine_alone() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("recognised").await;
        for (_, format, bytes) in &take(home, &database).await.parts {
            let head = &bytes[..bytes.len().min(1024)];
            // As an upload is recognised: the first engine that knows it.
            let first = dbsnap::engines::registry().iter().find_map(|engine| Some((engine.info().id, engine.recognise(head)?)));
            assert_eq!(first, Some((home.engine().info().id, *format)), "{}", home.label());
            assert!(home.engine().info().formats.contains(format));
        }
        for other in [&b""[..], &[0; 1024], b"\x89PNG\r\n\x1a\n"] {
            assert_eq!(home.engine().recognise(other), None, "{}", home.label());
        }
    }
}

#[tokio::test]
async fn a_probe_tells_what_it_found() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("probed").await;
        let bench = Bench::new(home);
        let probe = home.engine().probe(&home.settings(&database), &bench.run).await.unwrap();
        assert!(probe.tables >= 2 && probe.size.is_some_and(|size| size > 0), "{}: {probe:?}", home.label());
        assert!(probe.server_version.chars().any(|c| c.is_ascii_digit()), "{}: {probe:?}", home.label());
        assert_eq!(probe.read_only, Some(false), "{}: the suite's account may do everything: {probe:?}", home.label());
        let network = home.settings(&database).contains_key("tlsMode");
        assert_eq!((probe.connection.is_some(), probe.account.is_some()), (network, network), "{}", home.label());
        if let Some(account) = probe.account {
            assert!(!account.beyond_reading.is_empty() && account.script.contains("dbsnap_backup"), "{}: {account:?}", home.label());
        }
    }
}
