//! Which server a connection goes to, and what it says when it goes to none.

use std::time::{Duration, Instant};

use dbsnap::{
    domain::database::Probe,
    error::{Kind, Result},
};
use mongodb::bson::doc;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{dump, engine, expect_error, place, settings};
use crate::support::mongo_script::{Reply, Role, Script};

/// A primary and a secondary that know each other.
fn pair() -> (Script, Script) {
    let (primary, secondary) = (Script::start(Role::Primary), Script::start(Role::Secondary));
    let set = doc! { "hosts": [primary.address(), secondary.address()], "primary": primary.address() };
    for script in [&primary, &secondary] {
        script.say_hello(set.clone());
        script.store().add("shop", "orders", [doc! { "_id": 1 }]);
    }
    (primary, secondary)
}

async fn probe(fields: Value) -> Result<Probe> {
    let mut all = json!({"database": "shop", "tlsMode": "off", "connectTimeout": 2});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    engine().probe(&settings(all), &place().run).await
}

fn asked(script: &Script) -> bool {
    !script.received("listCollections").is_empty()
}

#[tokio::test]
async fn the_member_that_is_preferred_is_read_from_whichever_is_named() {
    for (preference, reads_primary) in [("primary", true), ("primaryPreferred", true), ("secondary", false), ("secondaryPreferred", false)]
    {
        for seed_primary in [true, false] {
            let (primary, secondary) = pair();
            let seed = if seed_primary { primary.address() } else { secondary.address() };
            let probe = probe(json!({"hosts": seed, "readPreference": preference, "replicaSet": "rs0"})).await.unwrap();
            let role = if reads_primary { "replica set rs0, primary" } else { "replica set rs0, secondary" };
            assert_eq!(probe.replication.as_deref(), Some(role), "{preference}, seed is the primary: {seed_primary}");
            assert_eq!((asked(&primary), asked(&secondary)), (reads_primary, !reads_primary));
        }
    }
}

#[tokio::test]
async fn a_member_that_is_away_is_passed_over() {
    let (primary, secondary) = pair();
    let seeds = format!("127.0.0.1:1,{}", secondary.address());
    assert!(probe(json!({"hosts": seeds})).await.unwrap().replication.unwrap().ends_with("primary"));
    primary.kill();
    let error = expect_error(
        probe(json!({"hosts": secondary.address()})).await,
        &["no member fits the read preference", "rs0, secondary", &primary.address(), "directConnection"],
    );
    assert!(error.retryable);
    assert!(probe(json!({"hosts": secondary.address(), "readPreference": "primaryPreferred"})).await.is_ok());
    assert!(probe(json!({"hosts": secondary.address(), "directConnection": true})).await.is_ok());
}

#[tokio::test]
async fn a_secondary_is_asked_in_a_way_that_it_answers() {
    let (_primary, secondary) = pair();
    let settings = settings(json!({"hosts": secondary.address(), "database": "shop", "tlsMode": "off", "readPreference": "secondary"}));
    dump(&settings, json!({})).await.unwrap();
    for name in ["find", "listCollections", "listIndexes", "dbStats"] {
        let command = &secondary.received(name)[0].body;
        let mode = command.get_document("$readPreference").unwrap().get_str("mode").unwrap();
        assert_ne!(mode, "primary", "{name}");
    }
}

#[tokio::test]
async fn another_replica_set_is_refused() {
    let (primary, _secondary) = pair();
    expect_error(probe(json!({"hosts": primary.address(), "replicaSet": "rs1"})).await, &["belongs to the replica set rs0, not to rs1"]);
    let alone = Script::standalone();
    expect_error(probe(json!({"hosts": alone.address(), "replicaSet": "rs1"})).await, &["belongs to no replica set"]);
}

#[tokio::test]
async fn what_does_not_answer_is_named_with_the_next_step() {
    let error =
        expect_error(probe(json!({"hosts": "127.0.0.1:1"})).await, &["connecting to 127.0.0.1:1", "refused", "check host and port"]);
    assert!(error.kind == Kind::Database && error.retryable);
    expect_error(probe(json!({"hosts": "no-such-host.invalid:27017"})).await, &["no-such-host.invalid"]);

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = Instant::now();
    expect_error(probe(json!({"hosts": silent.local_addr().unwrap().to_string(), "connectTimeout": 1})).await, &["1 s", "TLS"]);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn what_is_no_mongodb_is_said_to_be_none() {
    for answer in ["HTTP/1.1 400 Bad Request\r\nServer: something\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"] {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = other.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let error = expect_error(probe(json!({"hosts": address})).await, &["this is no MongoDB", "check host and port"]);
        assert!(!error.retryable);
        serving.abort();
    }
    let old = Script::standalone();
    old.say_hello(doc! { "maxWireVersion": 6 });
    expect_error(probe(json!({"hosts": old.address()})).await, &["older than MongoDB 4.2"]);
}

#[tokio::test]
async fn a_server_that_knows_hello_by_its_old_name_is_asked_so() {
    let script = Script::standalone();
    script.store().add("shop", "orders", [doc! { "_id": 1 }]);
    script.on("hello", |_| Reply::Error(59, "CommandNotFound", "no such command: 'hello'"));
    assert_eq!(probe(json!({"hosts": script.address()})).await.unwrap().tables, 1);
}

#[tokio::test]
async fn a_probe_tells_what_is_there() {
    let script = Script::primary();
    script.store().add("shop", "orders", (0..10).map(|id| doc! { "_id": id }));
    script.store().collection_mut("shop", "recent").options = doc! { "viewOn": "orders", "pipeline": [] };
    let seen = probe(json!({"hosts": script.address()})).await.unwrap();
    assert_eq!((seen.server_version.as_str(), seen.tables, seen.tool), ("MongoDB 7.0.5", 1, None));
    assert!(seen.size.unwrap() > 0 && seen.connection.is_some());
    assert_eq!(seen.replication.as_deref(), Some("replica set rs0, primary"));
    script.on("dbStats", |_| Reply::Error(13, "Unauthorized", "not authorized"));
    assert_eq!(probe(json!({"hosts": script.address()})).await.unwrap().size, None, "a size is no reason to fail");
    let alone = Script::standalone();
    alone.store().add("shop", "orders", [doc! { "_id": 1 }]);
    let seen = probe(json!({"hosts": alone.address()})).await.unwrap();
    assert!(seen.replication.as_deref() == Some("standalone") && seen.warnings.iter().any(|warning| warning.contains("not point in time")));
}
