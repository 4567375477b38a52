//! Comparing two backups, as a person does it: open a table, filter, ignore, walk by keyboard, bring rows back.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    driver::{Browser, PHONE, WIDE},
    gallery::look_at,
};
use crate::web::{
    compare::{CHANGES, compare, two_backups},
    site::Site,
};

const LONG: &str = "warehouse_replica_of_the_north_european_fulfilment_centre_orders_and_returns_archive_2019_to_2026";

#[tokio::test(flavor = "multi_thread")]
async fn two_backups_are_compared_and_the_chosen_rows_brought_back() {
    let site = Site::open().await;
    let (database, _, _) = two_backups(&site, CHANGES).await;
    let browser = Browser::open(&site.base).await;

    // From the database: its moments, then the two newest.
    browser.go(&format!("/databases/{database}")).await;
    browser.wait(".timeline").await;
    browser.shoot("compare-moments-wide-light").await;
    browser.click(".timeline li:nth-child(2) a[href^='/compare']").await;
    browser.wait("#before").await;
    browser.shoot("compare-picker-wide-light").await;
    browser.click(".picks button[type=submit]").await;
    browser.wait_text("1 of 2 tables differs").await;
    let place = browser.address().await;

    // A click on a column leaves its changes, without loading the page again.
    browser.run("window.sameDocument = true").await;
    browser.click(".changes th a[href*='column=plan']").await;
    browser.wait_text("1 to 2 of 2 that match").await;
    assert!(browser.address().await.contains("column=plan"), "the address says what is shown");
    browser.shoot("compare-column-wide-light").await;
    browser.click(".chip.on").await;
    browser.wait_text("of 105").await;

    // One click takes the noise out.
    browser.click(".histogram a[href*='ignore=seen_at']").await;
    browser.wait_text("100 rows left out").await;
    browser.wait_text("1 to 5 of 5").await;
    assert_eq!(browser.run("return window.sameDocument").await, Value::Bool(true), "the page was loaded again");

    // From change to change by keyboard.
    press(&browser, "j").await;
    press(&browser, "j").await;
    let key = "return document.activeElement.querySelector('.key').innerText";
    let second = browser.run(key).await;
    press(&browser, "j").await;
    assert_ne!(browser.run(key).await, second);
    press(&browser, "k").await;
    assert_eq!(browser.run(key).await, second);
    browser.shoot("compare-keyboard-wide-light").await;
    press(&browser, "x").await;
    browser.wait_text("1 chosen").await;
    press(&browser, "x").await;

    // Side by side.
    browser.click("a[href*='view=side']").await;
    browser.wait(".blocks").await;
    browser.wait(".blocks del").await;
    browser.shoot("compare-side-wide-light").await;
    browser.page.back().await.unwrap();
    browser.wait(".changes").await;

    // Bring all of the table back, after a dry run.
    let live = compare(&site, &database, &before_of(&site, &database).await, "live").await;
    browser.go(&live).await;
    browser.click("[data-all-rows]").await;
    browser.wait_text("all chosen").await;
    browser.click("form#chosen button").await;
    browser.wait_text("every changed row of users").await;
    browser.shoot("compare-restore-wide-light").await;
    browser.click("form button.primary").await;
    browser.wait_text("This is what will happen").await;
    browser.shoot("compare-confirm-wide-light").await;
    browser.click("button[name=dryRun]").await;
    browser.wait_text("nothing was written").await;
    browser.shoot("compare-dry-run-wide-light").await;
    browser.click("form[action$='/restore/check'] button").await;
    let label = browser.wait("[data-confirm]").await.attr("data-confirm").await.unwrap().unwrap();
    browser.fill("#confirm", &label).await;
    browser.click("[data-confirmed]").await;
    browser.wait(".verdict.ok").await;
    browser.shoot("compare-restored-wide-light").await;

    // Nothing differs any more.
    let again = compare(&site, &database, &before_of(&site, &database).await, "live").await;
    browser.go(&again).await;
    browser.wait_text("No differences").await;
    browser.shoot("compare-equal-wide-light").await;
    assert!(place.contains("/diffs/"));
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_backups_fit_wide_and_narrow_windows_in_light_and_dark() {
    let site = Site::open().await;
    let tables: String = (0..40).map(|i| format!("CREATE TABLE t{i} (id INTEGER PRIMARY KEY); INSERT INTO t{i} VALUES (1);")).collect();
    let columns: Vec<String> = (0..30).map(|i| format!("column_number_{i} TEXT")).collect();
    let changes = format!(
        "{CHANGES} {tables} CREATE TABLE {LONG} ({LONG}_id INTEGER PRIMARY KEY, {}); INSERT INTO {LONG} ({LONG}_id) VALUES (1);
         CREATE TABLE \"<svg onload=alert(1)>\" (\"a b\" TEXT); INSERT INTO \"<svg onload=alert(1)>\" VALUES ('x'), ('x'), (NULL);
         CREATE INDEX by_plan ON users (plan); UPDATE users SET email = '{}' WHERE id = 9",
        columns.join(", "),
        "very long text ".repeat(20_000),
    );
    let (database, before, after) = two_backups(&site, &changes).await;
    let place = compare(&site, &database, &before, &after).await;
    let equal = compare(&site, &database, &after, "live").await;
    let browser = Browser::open(&site.base).await;
    for (name, path) in [
        ("compare", format!("/compare?databaseId={database}")),
        ("diff", format!("{place}?table=users")),
        ("diff-calm", format!("{place}?table=users&ignore=seen_at&kind=changed")),
        ("diff-side", format!("{place}?table=users&view=side&ignore=seen_at")),
        ("diff-schema", format!("{place}?view=schema")),
        ("diff-long", format!("{place}?table={LONG}")),
        ("diff-keyless", format!("{place}?table=%3Csvg+onload%3Dalert%281%29%3E")),
        ("diff-none", format!("{place}?table=users&q=nowhere")),
        ("diff-unknown", format!("{place}?table=nothing")),
        ("diff-equal", equal),
        ("browse", format!("/backups/{after}/browse")),
        ("browse-rows", format!("/backups/{after}/browse?table=users")),
        ("browse-row", format!("/backups/{after}/browse/row?table=users&key=1")),
        ("browse-none", format!("/backups/{after}/browse?table=users&key=7")),
        ("backup-with-snapshot", format!("/backups/{after}")),
        ("database-with-moments", format!("/databases/{database}")),
    ] {
        look_at(&browser, name, &path).await;
    }
    browser.look(WIDE, "light").await;
    browser.go(&format!("/backups/{after}/browse/row?table=users&key=1")).await;
    browser.wait_text("the oldest backup that tells of it").await;
    browser.shoot("browse-history-wide-light").await;
    browser.look(PHONE, "light").await;
    browser.go(&format!("{place}?table=users")).await;
    let pinned = "const grid = document.querySelector('#rows'); grid.scrollLeft = 400;
        return Math.round(document.querySelector('td, .changes tbody .pin').getBoundingClientRect().left - grid.getBoundingClientRect().left)";
    assert_eq!(browser.run(pinned).await, json!(0), "the key stays in sight");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_waits_says_so() {
    let site = Site::idle().await;
    let shop = site.add_database("shop", 3).await;
    let browser = Browser::open(&site.base).await;
    look_at(&browser, "compare-empty", &format!("/compare?databaseId={shop}")).await;
    browser.wait_text("No backup of shop can be compared").await;
    browser.close().await;
}

/// The first of a database's backups.
async fn before_of(site: &Site, database: &str) -> String {
    let list = site.api(Method::GET, &format!("/api/backups?databaseId={database}"), Value::Null).await;
    let items = list.json["data"].as_array().unwrap();
    items.last().unwrap()["id"].as_str().unwrap().to_owned()
}

async fn press(browser: &Browser, key: &str) {
    let press =
        format!("(document.activeElement || document.body).dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))");
    browser.run(&press).await;
}
