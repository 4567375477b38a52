//! What an account may do beyond reading, and what it lacks.

use mongodb::bson::doc;
use serde_json::json;

use super::{engine, of, place, settings};
use crate::support::mongo_script::{Reply, Script};

fn shop() -> Script {
    let script = Script::primary();
    script.store().add("shop", "orders", [doc! { "_id": 1 }]);
    script
}

fn answer(privileges: mongodb::bson::Bson) -> impl Fn(&crate::support::mongo_script::Command) -> Reply + Send + Sync + 'static {
    move |asked| {
        assert!(asked.body.get_bool("showPrivileges").unwrap());
        Reply::Answer(doc! { "authInfo": {
            "authenticatedUsers": [{ "user": "app", "db": "admin" }],
            "authenticatedUserRoles": [],
            "authenticatedUserPrivileges": privileges.clone(),
        } })
    }
}

#[tokio::test]
async fn an_account_that_may_write_is_told_with_a_script_for_one_that_may_not() {
    let script = shop();
    script.on("connectionStatus", answer(mongodb::bson::bson!([
        { "resource": { "db": "shop", "collection": "" }, "actions": ["find", "listCollections", "listIndexes", "insert", "dropCollection"] },
    ])));
    let probe = engine().probe(&of(&script, "shop"), &place().run).await.unwrap();
    let account = probe.account.unwrap();
    assert_eq!((account.user.as_str(), probe.read_only), ("app", Some(false)));
    assert_eq!(
        account.beyond_reading,
        ["write documents in the database shop", "create, change and drop collections and indexes in the database shop"]
    );
    assert_eq!(account.missing, Vec::<String>::new());
    assert!(account.script.contains(r#"roles: [{ role: "read", db: "shop" }]"#), "{}", account.script);
    assert!(
        probe.warnings.iter().any(|warning| warning.contains("may do more than a backup needs: write documents")),
        "{:?}",
        probe.warnings
    );
}

#[tokio::test]
async fn an_account_that_may_too_little_is_told_what_it_lacks() {
    let script = shop();
    script.on(
        "connectionStatus",
        answer(mongodb::bson::bson!([
            { "resource": { "db": "shop", "collection": "" }, "actions": ["find", "listCollections", "listIndexes"] },
        ])),
    );
    let probe = engine().probe(&of(&script, "shop"), &place().run).await.unwrap();
    assert_eq!((probe.read_only, probe.account.unwrap().missing.len()), (Some(true), 0));
    let all = settings(json!({"hosts": script.address(), "tlsMode": "off"}));
    let account = engine().probe(&all, &place().run).await.unwrap().account.unwrap();
    assert_eq!(
        account.missing,
        ["find on every database", "listCollections on every database", "listIndexes on every database", "listDatabases on the cluster"]
    );
    assert!(account.script.contains("readAnyDatabase"), "{}", account.script);
}

#[tokio::test]
async fn a_server_that_tells_nothing_leaves_it_open() {
    let script = shop();
    script.on("connectionStatus", |_| Reply::Error(59, "CommandNotFound", "no such command: 'connectionStatus'"));
    let probe = engine().probe(&of(&script, "shop"), &place().run).await.unwrap();
    assert_eq!((probe.read_only, probe.account), (None, None));
    assert!(probe.warnings.iter().any(|warning| warning.contains("cannot be told")), "{:?}", probe.warnings);
}
