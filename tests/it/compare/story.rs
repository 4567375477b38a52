//! The whole way on each engine: two backups of a database that changes, what differs, and back again.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    back_up, backups, changes, compare, counts,
    subjects::{ITEMS, Mongodb, Mysql, Postgres, Sqlite, Subject},
    table, with_live,
};
use crate::{support::mysql::FLAVOURS, web::site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_differs_in_what_was_changed_and_is_brought_back_and_forth() {
    story(&Sqlite::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_differs_in_what_was_changed_and_is_brought_back_and_forth() {
    story(&Postgres::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_and_mariadb_differ_in_what_was_changed_and_are_brought_back_and_forth() {
    for flavour in FLAVOURS {
        story(&Mysql::new(flavour).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_differs_in_what_was_changed_and_is_brought_back_and_forth() {
    story(&Mongodb::new()).await;
}

async fn story(subject: &dyn Subject) {
    let site = site_of(subject).await;
    subject.begin().await;
    let database = add(&site, subject).await;
    let first = back_up(&site, &database).await;
    subject.change().await;
    let second = back_up(&site, &database).await;

    let diff = compare(&site, backups(&first, &second)).await;
    check(&site, subject, &diff).await;
    let live = compare(&site, with_live(&first, &database)).await;
    check(&site, subject, &live).await;
    assert_eq!(live["summary"]["provenance"]["after"]["kind"], "live");
    assert_eq!(counts(table(&compare(&site, with_live(&second, &database)).await, "items")), [0, 0, 0]);

    // One row at first, tried, then written.
    let renamed = changes(&site, &diff, &format!("table={}&kind=changed", name_of(&diff, "items"))).await;
    let one = json!({"table": name_of(&diff, "items"), "at": [renamed["changes"][0]["at"]], "direction": "revert", "databaseId": database});
    let tried = restore(&site, subject, &diff, &one, true).await;
    assert_eq!(tried["applied"]["updated"], 1, "{tried}");
    assert_eq!(counts(table(&compare(&site, with_live(&first, &database)).await, "items")), [1, 1, 2], "a trial writes nothing");
    let written = restore(&site, subject, &diff, &one, false).await;
    assert_eq!(written["applied"]["updated"], 1, "{written}");
    assert_eq!(counts(table(&compare(&site, with_live(&first, &database)).await, "items")), [1, 1, 1]);

    // Then all of them: what is back already is left as it is.
    let all = json!({"direction": "revert", "databaseId": database});
    let written = restore(&site, subject, &diff, &all, false).await;
    assert_eq!(written["applied"]["unchanged"], 1, "{written}");
    let third = back_up(&site, &database).await;
    let equal = compare(&site, backups(&first, &third)).await;
    assert_eq!(equal["summary"]["equal"], true, "{equal}");

    // And forth again, by the rows; then back and forth by a patch.
    restore(&site, subject, &diff, &json!({"direction": "apply", "databaseId": database}), false).await;
    assert_equal(&site, &second, &database).await;
    for (direction, like) in [("revert", &first), ("apply", &second)] {
        let path = format!("/api/diffs/{}/patch?format=sql&direction={direction}", diff["id"].as_str().unwrap());
        let patch = site.get(&path).await;
        if patch.status() != StatusCode::OK {
            assert!(subject.run("").await.is_none(), "{}", patch.text().await.unwrap());
            break;
        }
        let patch = patch.text().await.unwrap();
        subject.run(&patch).await;
        assert_equal(&site, like, &database).await;
    }
}

/// Exactly what the subject's change did, and nothing else.
async fn check(site: &Site, subject: &dyn Subject, diff: &Value) {
    let items = table(diff, "items");
    assert_eq!(counts(items), [1, 1, 2], "{items}");
    assert_eq!(items["unchanged"], ITEMS - 3);
    let renamed = items["columns"].as_array().unwrap().iter().find(|column| column["name"] == "name").unwrap();
    assert_eq!(renamed["changed"], 2);
    assert_eq!(counts(table(diff, "untouched")), [0, 0, 0]);
    if !subject.keyed_only() {
        let visits = table(diff, "visits");
        assert_eq!((counts(visits), &visits["keyless"]), ([1, 1, 0], &json!(true)), "{visits}");
    }
    assert_eq!((&diff["summary"]["equal"], &diff["summary"]["schema"]), (&json!(false), &json!([])));
    let found = changes(site, diff, &format!("table={}", name_of(diff, "items"))).await;
    let rows: Vec<(String, String)> = found["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["kind"].as_str().unwrap().to_owned(), change["key"][0].as_str().unwrap().to_owned()))
        .collect();
    let mut keys: Vec<_> = rows.iter().map(|(kind, key)| (kind.as_str(), key.trim_matches(|c: char| !c.is_ascii_digit()))).collect();
    keys.sort();
    assert_eq!(keys, [("added", "5001"), ("changed", "1999"), ("changed", "3"), ("removed", "7")], "{found}");
}

async fn site_of(subject: &dyn Subject) -> Site {
    let programs = subject.programs();
    let mut vars = vec![("AUTH_MODE", "none")];
    vars.extend(programs.as_ref().map(|(name, folders)| (*name, folders.as_str())));
    Site::start(&vars).await
}

async fn add(site: &Site, subject: &dyn Subject) -> String {
    let mut input = subject.input();
    input["name"] = json!("subject");
    let answer = site.api(Method::POST, "/api/databases", input).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    answer.id()
}

/// The table's name as the comparison has it, with its schema.
fn name_of<'a>(diff: &'a Value, name: &str) -> &'a str {
    table(diff, name)["name"].as_str().unwrap()
}

async fn restore(site: &Site, subject: &dyn Subject, diff: &Value, request: &Value, dry_run: bool) -> Value {
    let mut request = request.clone();
    request["dryRun"] = json!(dry_run);
    if !dry_run {
        request["confirm"] = json!(subject.name());
    }
    let answer = site.api(Method::POST, &format!("/api/diffs/{}/restore", diff["id"].as_str().unwrap()), request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let done = site.wait(&format!("/api/restores/{}", answer.id())).await;
    assert_eq!(done["status"], "completed", "{done}");
    done
}

async fn assert_equal(site: &Site, backup: &Value, database: &str) {
    let diff = compare(site, with_live(backup, database)).await;
    assert_eq!(diff["summary"]["equal"], true, "{diff}");
}

/// Of PostgreSQL: what the server vouches for is not read, and the result is the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_fast_tier_finds_what_the_full_one_finds_and_says_so() {
    let subject = Postgres::new().await;
    let site = site_of(&subject).await;
    subject.begin().await;
    let wide = "CREATE TABLE wide (id INT PRIMARY KEY, body TEXT); INSERT INTO wide SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 20000) i";
    subject.all(&[wide.to_owned(), "VACUUM ANALYZE wide".to_owned()]).await;
    let database = add(&site, &subject).await;
    let first = back_up(&site, &database).await;
    subject.change().await;
    let edits = [
        "UPDATE wide SET body = 'x' WHERE id IN (1, 10000)",
        "DELETE FROM wide WHERE id = 15000",
        "INSERT INTO wide VALUES (0, 'before the first'), (30000, 'after the last')",
    ];
    subject.all(&edits.map(str::to_owned)).await;
    let fast = compare(&site, with_live(&first, &database)).await;
    let mut request = with_live(&first, &database);
    request["options"] = json!({"tier": "full"});
    let full = compare(&site, request).await;
    assert_eq!(counts(table(&fast, "wide")), [2, 1, 2], "{fast}");
    assert_eq!(fast["summary"]["tables"], full["summary"]["tables"]);
    let (fast, full) = (&fast["summary"]["provenance"], &full["summary"]["provenance"]);
    assert_eq!((&fast["tier"], &full["tier"]), (&json!("fast"), &json!("full")), "{fast}");
    assert!(fast["rowsSkipped"].as_u64().unwrap() > 20000 && fast["leavesSkipped"].as_u64().unwrap() > 10, "{fast}");
    assert_eq!((&full["rowsSkipped"], &full["rows"], &fast["rows"]), (&json!(0), &fast["rows"], &full["rows"]));
    assert!(full["notes"].to_string().contains("the full tier was asked for"), "{full}");
}
