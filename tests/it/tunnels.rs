//! The served product and databases behind an SSH server: the key that it learned, and the one that it then refuses.

use serde_json::{Value, json};

use crate::support::{
    mysql::{self, Flavour},
    served::Served,
    ssh,
};

async fn back_up(served: &Served, database: &str) -> Value {
    let started = served.post("/api/backups", json!({"databaseId": database})).await;
    served.over(&format!("/api/backups/{}", started["id"].as_str().unwrap())).await
}

#[tokio::test]
async fn the_first_host_key_is_kept_and_another_is_refused() {
    use mysql_async::prelude::Queryable as _;
    let mut bastion = ssh::Server::start(ssh::Options::default());
    let server = mysql::shared(Flavour::MariaDb1011);
    let name = server.database("behind").await;
    let mut connection = server.connect(&name).await;
    connection.query_drop("CREATE TABLE t (a INT PRIMARY KEY)").await.unwrap();
    connection.query_drop("INSERT INTO t VALUES (1), (2)").await.unwrap();
    connection.disconnect().await.unwrap();

    let place = tempfile::tempdir().unwrap();
    let programs = mysql::programs(Flavour::MariaDb1011).display().to_string();
    let served = Served::start(place.path(), &[("MYSQL_BIN_DIRS", &programs), ("JOB_ATTEMPTS", "1")]).await;
    let settings = json!({"host": "127.0.0.1", "port": server.port, "user": mysql::ADMIN, "password": mysql::PASSWORD, "database": name,
        "sshHost": "127.0.0.1", "sshPort": bastion.port, "sshUser": ssh::USER, "sshKey": ssh::keys().ed25519});
    let made = served.post("/api/databases", json!({"name": "behind", "engine": "mysql", "settings": settings})).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["settings"]["sshHostKey"], Value::Null);

    let backup = back_up(&served, id).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(backup["tables"][0]["rows"], 2, "{backup}");
    let kept = served.get(&format!("/api/databases/{id}")).await;
    assert_eq!(kept["settings"]["sshHostKey"], bastion.fingerprint(), "{kept}");
    assert!(!kept.to_string().contains("PRIVATE KEY"), "{kept}");

    bastion.change_host_key();
    let refused = back_up(&served, id).await;
    assert_eq!(refused["status"], "failed", "{refused}");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains(&bastion.fingerprint()) && error.contains(kept["settings"]["sshHostKey"].as_str().unwrap()), "{error}");
    let (status, answer) = served.try_post(&format!("/api/databases/{id}/test-connection"), Value::Null).await;
    assert_eq!(status, 502, "{answer}");
    let unchanged = served.get(&format!("/api/databases/{id}")).await;
    assert_eq!(unchanged["settings"]["sshHostKey"], kept["settings"]["sshHostKey"], "a refused key is not kept");
}
