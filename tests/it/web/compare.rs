//! Comparisons and what is browsed in backups, as a browser without scripts uses them.

use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::site::Site;

/// Text that would be markup, or turn the direction of what follows.
const HOSTILE: &str = "<svg onload=alert(1)>\"'&\u{202e}gpj";

/// Users of a shop, as SQLite keeps them.
pub const USERS: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, plan TEXT, profile JSON, seen_at TEXT);
    CREATE TABLE quiet (id INTEGER PRIMARY KEY, note TEXT);
    INSERT INTO quiet VALUES (1, 'the same');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
        INSERT INTO users SELECT i, 'user' || i || '@example.com', 'free', '{\"limits\": {\"dbs\": 1}}', '2026-01-01' FROM n;";

/// What happens to them between two backups: 1 added, 1 removed, 3 changed, 100 seen again.
pub const CHANGES: &str = "INSERT INTO users VALUES (500, 'new@example.com', 'free', '{}', '2026-02-02');
    DELETE FROM users WHERE id = 7;
    UPDATE users SET email = 'anna@new.example.com' WHERE id = 1;
    UPDATE users SET plan = 'pro' WHERE id = 2;
    UPDATE users SET plan = NULL, profile = '{\"limits\": {\"dbs\": 5}}' WHERE id = 3;
    UPDATE users SET seen_at = '2026-02-02' WHERE id > 20;";

/// A database of users with two backups, before and after the changes. Its id, and theirs.
pub async fn two_backups(site: &Site, changes: &str) -> (String, String, String) {
    let path = site.folder.path().join(format!("users-{}.db", uuid::Uuid::new_v4().simple()));
    let file = Connection::open(&path).unwrap();
    file.execute_batch(USERS).unwrap();
    let options = json!({"artifacts": ["dump", "snapshot"]});
    let input = json!({"name": "people", "engine": "sqlite", "settings": {"path": path}, "backupOptions": options});
    let database = site.api(Method::POST, "/api/databases", input).await.id();
    let before = site.back_up(&database).await;
    assert_eq!(before["status"], "completed", "{before}");
    file.execute_batch(changes).unwrap();
    let after = site.back_up(&database).await;
    assert_eq!(after["status"], "completed", "{after}");
    (database, before["id"].as_str().unwrap().to_owned(), after["id"].as_str().unwrap().to_owned())
}

/// Compares two sides by the form and waits for the end. The address of the report.
pub async fn compare(site: &Site, database: &str, before: &str, after: &str) -> String {
    let started = site.submit("/compare", &[("databaseId", database), ("before", before), ("after", after)]).await;
    assert_eq!(started.status(), StatusCode::SEE_OTHER, "{:?}", started.text().await);
    let place = started.headers()["location"].to_str().unwrap().to_owned();
    let ended = site.wait(&format!("/api{place}")).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_read_without_scripts_and_every_view_has_an_address() {
    let site = Site::open().await;
    let (database, before, after) = two_backups(&site, CHANGES).await;
    assert!(site.page(&format!("/databases/{database}")).await.contains("Compare with live"));
    assert!(site.page(&format!("/backups/{before}")).await.contains(&format!("/compare?before={before}")));
    let picker = site.page(&format!("/compare?databaseId={database}&before={before}&after={after}")).await;
    assert!(picker.contains(&format!("value=\"{before}\" selected")) && picker.contains(&format!("value=\"{after}\" selected")));

    let place = compare(&site, &database, &before, &after).await;
    let page = site.page(&place).await;
    for said in ["1 of 2 tables differs", "+1 added", "−1 removed", "~103 changed", "1 unchanged table", "rows compared in"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("anna@new") && page.contains("<del>") && page.contains("<ins>"), "old and new stand in the cell");
    let of = |query: &str| format!("{place}?table=users&{query}");
    let plan = site.page(&of("column=plan")).await;
    assert!(plan.contains("1 to 2 of 2 that match") && plan.contains("changed in <bdi>plan</bdi>"), "{plan}");
    let calm = site.page(&of("ignore=seen_at")).await;
    assert!(calm.contains("1 to 5 of 5") && calm.contains("100 rows left out"), "{calm}");
    let added = site.page(&of("kind=added")).await;
    assert!(added.contains("new@example.com") && !added.contains("anna@"), "{added}");
    let found = site.page(&of("q=ANNA%40NEW")).await;
    assert!(found.contains("anna@") && found.contains("1 to 1"), "{found}");
    assert!(site.page(&of("q=nowhere")).await.contains("No change matches"));
    let side = site.page(&of("view=side&kind=changed&only=1")).await;
    assert!(side.contains(">Before</th>") && side.contains("<del>") && !side.contains("quiet</th>"), "{side}");
    let second = site.page(&of("page=3")).await;
    assert!(second.contains("101 to 105 of 105") && second.contains("page=2"), "{second}");
    assert_eq!(site.get(&format!("{place}?table=users&view=odd&kind=odd&page=0&only=x")).await.status(), StatusCode::OK);
    assert!(site.page(&format!("{place}?table=nothing")).await.contains("choose one from the list"));

    let list = site.page("/compare").await;
    assert!(list.contains(&place) && list.contains("+1<"), "{list}");
    let deleted = site.submit(&format!("{place}/delete"), &[]).await;
    assert_eq!(deleted.headers()["location"], "/compare?notice=diff-deleted");
    assert_eq!(site.get(&place).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_rows_are_tried_and_then_restored_by_plain_forms() {
    let site = Site::open().await;
    let (database, before, _) = two_backups(&site, CHANGES).await;
    let place = compare(&site, &database, &before, "live").await;
    let nothing = site.submit(&format!("{place}/restore"), &[("table", "users")]).await;
    assert_eq!(nothing.status(), StatusCode::BAD_REQUEST);
    assert!(nothing.text().await.unwrap().contains("no row was chosen"));

    let chosen = [("table", "users"), ("all", "true")];
    let plan = site.submit(&format!("{place}/restore"), &chosen).await.text().await.unwrap();
    assert!(plan.contains("every changed row of users") && plan.contains(&database), "{plan}");
    let how = [chosen.as_slice(), &[("direction", "revert"), ("database", &database), ("onConflict", "stop")]].concat();
    let confirm = site.submit(&format!("{place}/restore/check"), &how).await.text().await.unwrap();
    assert!(confirm.contains("This is what will happen") && confirm.contains("data-confirm="), "{confirm}");

    let tried = site.submit(&format!("{place}/restore/start"), &[how.as_slice(), &[("dryRun", "true")]].concat()).await;
    assert_eq!(tried.status(), StatusCode::SEE_OTHER, "{:?}", tried.text().await);
    let restore = tried.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(site.wait(&format!("/api{restore}")).await["status"], "completed");
    let told = site.page(&restore).await;
    assert!(told.contains("nothing was written") && told.contains("Restore them now") && told.contains("103"), "{told}");

    let unconfirmed = site.submit(&format!("{place}/restore/start"), &how).await;
    assert_eq!(unconfirmed.status(), StatusCode::BAD_REQUEST);
    let label = confirm.split("data-confirm=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let done = site.submit(&format!("{place}/restore/start"), &[how.as_slice(), &[("confirm", &label)]].concat()).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER, "{:?}", done.text().await);
    let restore = done.headers()["location"].to_str().unwrap().to_owned();
    let ended = site.wait(&format!("/api{restore}")).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let again = compare(&site, &database, &before, "live").await;
    assert!(site.page(&again).await.contains("No differences"));
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_rows_and_tables_is_text_in_reports_and_in_backups() {
    let site = Site::open().await;
    let quoted = HOSTILE.replace('\'', "''");
    let changes = format!(
        "CREATE TABLE \"{0}\" (id INTEGER PRIMARY KEY, \"{0}\" TEXT); INSERT INTO \"{0}\" VALUES (1, '{quoted}');
         UPDATE users SET email = '{quoted}' || char(0) || 'x' WHERE id = 1; UPDATE users SET plan = '{1}' WHERE id = 2",
        HOSTILE.replace('"', "\"\""),
        "x".repeat(1_000_000),
    );
    let (database, before, after) = two_backups(&site, &changes).await;
    let place = compare(&site, &database, &before, &after).await;
    let table = percent_encoding::utf8_percent_encode(HOSTILE, percent_encoding::NON_ALPHANUMERIC).to_string();
    for page in [
        place.clone(),
        format!("{place}?table=users"),
        format!("{place}?table=users&view=side"),
        format!("{place}?table={table}"),
        format!("{place}?table={table}&view=side"),
        format!("{place}?view=schema"),
        format!("{place}?table=users&q={table}&find={table}&column={table}"),
        format!("/backups/{after}/browse"),
        format!("/backups/{after}/browse?table={table}"),
        format!("/backups/{after}/browse?table=users&q={table}"),
        format!("/backups/{after}/browse/row?table=users&key=1"),
        format!("/backups/{after}/browse/row?table={table}&key=1&history=1"),
    ] {
        let text = site.page(&page).await;
        assert!(!text.contains("<svg onload"), "{page} shows markup as markup");
        assert!(!text.contains(">\u{202e}") && !text.contains("&amp;\u{202e}gpj<"), "{page} turns the direction of text");
        assert!(text.len() < 400_000, "{page} has {} bytes: a long value came whole", text.len());
    }
    let side = site.page(&format!("{place}?table=users&view=side")).await;
    let link =
        side.split("href=\"").find(|part| part.contains("/value?") && part.contains("side=after")).expect("a link to the whole value");
    let link = link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let whole = site.ask(Method::GET, &link).header("hx-request", "true").send().await.unwrap().text().await.unwrap();
    assert!(whole.contains(&"x".repeat(1_000_000)) && !whole.contains("<html"));
    assert!(site.page(&link).await.contains("<html"), "without scripts it is a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_browsed_without_restoring_it() {
    let site = Site::open().await;
    let (_, before, after) = two_backups(&site, CHANGES).await;
    let place = format!("/backups/{after}/browse");
    let tables = site.page(&place).await;
    assert!(tables.contains("users") && tables.contains("120") && tables.contains("Choose a table"), "{tables}");
    let rows = site.page(&format!("{place}?table=users")).await;
    assert!(rows.contains("1 to 50 of 120") && rows.contains("anna@new.example.com") && rows.contains("page=2"), "{rows}");
    let one = site.page(&format!("{place}?table=users&key=500")).await;
    assert!(one.contains("new@example.com") && !one.contains("user10@"), "{one}");
    assert!(site.page(&format!("{place}?table=users&key=7")).await.contains("No row with this key"));
    assert!(site.page(&format!("{place}?table=users&q=PRO")).await.contains("user2@example.com"));
    assert!(site.page(&format!("{place}?table=users&q=nowhere")).await.contains("No row holds this text"));
    let row = site.page(&format!("{place}/row?table=users&key=1&history=1")).await;
    assert!(row.contains("anna@new.example.com") && row.contains("the oldest backup that tells of it"), "{row}");
    assert!(row.contains(&format!("/backups/{before}")) && row.contains("<ins>"), "{row}");

    for (format, told) in [("csv", "id,email"), ("jsonl", "{\"id\":"), ("sql", "INSERT INTO")] {
        let made = site.submit(&format!("{place}/export"), &[("table", "users"), ("format", format)]).await.text().await.unwrap();
        let link = made.split("href=\"").find(|part| part.starts_with("/exports/")).unwrap().split('"').next().unwrap().to_owned();
        let file = site.page(&link).await;
        assert!(file.contains(told) && file.contains("anna@new.example.com"), "{format}: {}", &file[..200.min(file.len())]);
        assert_eq!(site.get(&link).await.status(), StatusCode::GONE, "it works once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_reads_sees_counts_and_no_values() {
    let site = Site::locked().await;
    site.set_up().await;
    let (database, before, after) = two_backups(&site, CHANGES).await;
    let place = compare(&site, &database, &before, &after).await;
    let cookie = site.sign_in_as("viewer").await;
    let ask = async |method: Method, path: &str| {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let response = client
            .request(method, format!("{}{path}", site.base))
            .header("cookie", &cookie)
            .form(&[("table", "users")])
            .send()
            .await
            .unwrap();
        (response.status(), response.text().await.unwrap())
    };
    let (status, page) = ask(Method::GET, &place).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("~103 changed") && page.contains("not what is in them") && !page.contains("anna@new"), "{page}");
    assert_eq!(ask(Method::GET, &format!("/backups/{after}/browse?table=users")).await.0, StatusCode::FORBIDDEN);
    for action in ["/compare".to_owned(), format!("{place}/delete"), format!("{place}/restore"), format!("{place}/restore/start")] {
        assert_eq!(ask(Method::POST, &action).await.0, StatusCode::FORBIDDEN, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_cannot_be_is_explained_where_it_was_asked_for() {
    let site = Site::open().await;
    assert!(site.page("/compare").await.contains("Nothing to compare yet"));
    let (database, before, _) = two_backups(&site, CHANGES).await;
    let same = site.submit("/compare", &[("databaseId", &database), ("before", &before), ("after", &before)]).await;
    assert_eq!(same.status(), StatusCode::BAD_REQUEST);
    let text = same.text().await.unwrap();
    assert!(text.contains("both sides are the same") && text.contains("<select id=\"before\""), "the form comes back: {text}");
    let odd = [("databaseId", database.as_str()), ("before", &before), ("after", "live"), ("floatTolerance", "tiny"), ("tables", "users")];
    let text = site.submit("/compare", &odd).await.text().await.unwrap();
    assert!(text.contains("no number that fits"), "{text}");
    assert_eq!(site.api(Method::GET, "/api/diffs", Value::Null).await.json["meta"]["total"], 0);
}
