//! What the options hide, and what is refused.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{back_up, changes, compare, counts, sqlite, table, with_live};
use crate::web::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_matter_is_hidden_and_counted() {
    let site = Site::open().await;
    let (database, connection) = sqlite(
        &site,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size REAL, seen TEXT);
         INSERT INTO t VALUES (1, 'a', 1.0, 'x'), (2, 'b', 2.0, 'x'), (3, 'c', 3.0, 'x'), (4, 'd', 4.0, 'x');
         CREATE TABLE log (id INTEGER PRIMARY KEY)",
    )
    .await;
    let first = back_up(&site, &database).await;
    connection
        .execute_batch(
            "UPDATE t SET seen = 'y'; UPDATE t SET size = 1.0001 WHERE id = 1; UPDATE t SET name = 'B ' WHERE id = 2;
             UPDATE t SET name = 'other' WHERE id = 3; INSERT INTO log VALUES (1)",
        )
        .unwrap();
    let mut request = with_live(&first, &database);
    assert_eq!(counts(table(&compare(&site, request.clone()).await, "t")), [0, 0, 4]);
    request["options"] =
        json!({"tables": ["t"], "ignoreColumns": ["t.seen"], "floatTolerance": 0.01, "ignoreCase": true, "ignoreTrailingSpace": true});
    let diff = compare(&site, request).await;
    let of_t = table(&diff, "t");
    assert_eq!((counts(of_t), &of_t["hidden"], &of_t["unchanged"]), ([0, 0, 1], &json!(3), &json!(0)), "{diff}");
    assert_eq!(diff["summary"]["tables"].as_array().unwrap().len(), 1, "the other table was not asked for");
    let whole = compare(&site, with_live(&first, &database)).await;
    let seen = changes(&site, &whole, "table=t&ignore=seen").await;
    assert_eq!((&seen["total"], &seen["ignored"]), (&json!(3), &json!(1)), "{seen}");
    let names = changes(&site, &whole, "table=t&column=name&q=OTHER").await;
    assert_eq!((names["changes"].as_array().unwrap().len(), &names["changes"][0]["key"][0]), (1, &json!("3")), "{names}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_with_the_reason() {
    let site = Site::open().await;
    let (database, _connection) = sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let backup = back_up(&site, &database).await;
    let id = &backup["id"];
    for (request, status, said) in [
        (json!({"before": {"databaseId": database}, "after": {"databaseId": database}}), 400, "same"),
        (json!({"before": {"backupId": id}, "after": {"backupId": id}}), 400, "same"),
        (
            json!({"before": {"backupId": id}, "after": {"databaseId": database}, "options": {"floatTolerance": -1.0}}),
            400,
            "floatTolerance",
        ),
        (json!({"before": {"backupId": id}, "after": {"databaseId": database}, "options": {"speed": 1}}), 400, "speed"),
        (json!({"before": {"backupId": uuid::Uuid::now_v7()}, "after": {"backupId": id}}), 404, "does not exist"),
    ] {
        let answer = site.api(Method::POST, "/api/diffs", request.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{request}: {}", answer.json);
        assert!(answer.json.to_string().contains(said), "{request}: {}", answer.json);
    }
    let dump = site.api(Method::POST, "/api/backups", json!({"databaseId": database, "options": {"artifacts": ["dump"]}})).await;
    assert_eq!(dump.status, StatusCode::ACCEPTED, "{}", dump.json);
    let dump = site.wait(&format!("/api/backups/{}", dump.id())).await;
    let refused = site.api(Method::POST, "/api/diffs", super::backups(&dump, &backup)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "CONFLICT"));
    assert!(refused.json.to_string().contains("has no snapshot"), "{}", refused.json);
}
