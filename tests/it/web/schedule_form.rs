//! What the schedule form asks for beyond times: tables and hooks.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

/// A database that nobody connects to, whose last good backup is one of a small shop. Returns both ids.
async fn ledger(site: &Site) -> (String, String) {
    let shop = site.add_database("shop", 3).await;
    let input = json!({"name": "ledger", "engine": "postgresql", "settings": {"host": "db", "database": "ledger", "user": "u", "password": "p"},
        "backupOptions": {"compression": "gzip:6", "engine": {"excludeTables": ["log_*"]}}});
    let made = site.api(Method::POST, "/api/databases", input).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    site.back_up(&shop).await;
    site.catalogue().execute("UPDATE backups SET database_id = ?1", [made.id()]).unwrap();
    (made.id(), shop)
}

/// A form with what it cannot do without.
pub fn form<'a>(database: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fields = [("name", "nightly"), ("databaseId", database), ("frequency", "daily"), ("dailyTime", "23:05"), ("timeZone", "UTC")];
    [&fields, more].concat()
}

/// What a browser sends of one field of a page, as it stands.
fn field(page: &str, name: &str) -> String {
    let at = page.find(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no field {name}"));
    let tag = page[..at].rfind('<').unwrap();
    let end = at + page[at..].find('>').unwrap();
    let text = if page[tag..].starts_with("<textarea") {
        let inner = &page[end + 1..end + page[end..].find("</textarea>").unwrap()];
        // The first line break belongs to the tag; others are read as one character and sent as two.
        inner.strip_prefix('\n').unwrap_or(inner).replace("\r\n", "\n").replace('\n', "\r\n")
    } else if page[tag..].starts_with("<select") {
        let inner = &page[end + 1..end + page[end..].find("</select>").unwrap()];
        let chosen = inner.split("<option value=\"").skip(1).find(|option| option.split('>').next().unwrap().contains(" selected"));
        chosen.or(inner.split("<option value=\"").nth(1)).unwrap().split('"').next().unwrap().to_owned()
    } else {
        let value = page[tag..end].split(" value=\"").nth(1).unwrap_or("\"");
        value.split('"').next().unwrap().to_owned()
    };
    [
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text, |text, (entity, character)| text.replace(entity, character))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_asks_which_tables_and_helps_with_their_names() {
    let site = Site::open().await;
    let (ledger, shop) = ledger(&site).await;
    let page = site.page(&format!("/schedules/new?databaseId={ledger}")).await;
    assert!(page.contains("Tables of its last good backup") && page.contains("customers, orders"), "{page}");
    assert!(site.page(&format!("/schedules/tables?databaseId={shop}")).await.contains("SQLite databases are backed up whole"));
    assert!(!site.page(&format!("/schedules/tables?databaseId={ledger}")).await.contains("<html"));

    let typed = [("artifacts", "dump"), ("includeTables", "public.orders\r\n  sales.* \r\n\r\n"), ("excludeTables", "")];
    let added = site.submit("/schedules", &form(&ledger, &typed)).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER, "{:?}", added.text().await);
    let place = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let options = async || site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"]["options"].clone();
    let made = options().await;
    assert_eq!((&made["engine"]["includeTables"], &made["engine"]["excludeTables"]), (&json!(["public.orders", "sales.*"]), &Value::Null));
    assert_eq!((&made["artifacts"], &made["compression"]), (&json!(["dump"]), &json!("gzip:6")), "the rest is as the database says");

    // Nothing changes by saving it as it is shown.
    let page = site.page(&format!("{place}/edit")).await;
    let shown: Vec<(&str, String)> =
        ["artifacts", "tables", "includeTables", "excludeTables"].into_iter().map(|name| (name, field(&page, name))).collect();
    assert_eq!(shown[1].1, "chosen");
    let again: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(site.submit(&place, &form(&ledger, &again)).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(options().await, made);

    for (typed, lists) in [
        ([("tables", ""), ("includeTables", "")], json!([null, ["log_*"]])),
        ([("tables", "all"), ("includeTables", "")], json!([null, null])),
        ([("tables", "chosen"), ("includeTables", "a\nb")], json!([["a", "b"], null])),
    ] {
        let sent = [&typed[..], &[("artifacts", "dump"), ("excludeTables", "")]].concat();
        assert_eq!(site.submit(&place, &form(&ledger, &sent)).await.status(), StatusCode::SEE_OTHER);
        let engine = options().await["engine"].clone();
        assert_eq!(json!([engine["includeTables"], engine["excludeTables"]]), lists, "{typed:?}");
    }
    assert_eq!(site.submit(&place, &form(&ledger, &[])).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(options().await, Value::Null, "the database's own again");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_meant_are_refused_beside_their_field_and_come_back_as_typed() {
    let site = Site::open().await;
    let (ledger, shop) = ledger(&site).await;
    for (database, typed, words) in [
        (&ledger, [("tables", ""), ("includeTables", "a\nkept"), ("excludeTables", "a")], "is among the tables to take too"),
        (&ledger, [("tables", "chosen"), ("includeTables", " "), ("excludeTables", "")], "name below which tables"),
        (&ledger, [("tables", "all"), ("includeTables", "kept"), ("excludeTables", "")], "clear them, or choose"),
        (&shop, [("tables", ""), ("includeTables", "kept"), ("excludeTables", "")], "SQLite databases are backed up whole: clear this"),
    ] {
        let refused = site.submit("/schedules", &form(database, &typed)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{typed:?}");
        let page = refused.text().await.unwrap();
        assert!(page.contains(words), "{words}: {page}");
        assert_eq!(field(&page, "includeTables"), typed[1].1.replace('\n', "\r\n"));
        assert!(page.contains("<details class=\"section\" open><summary>What and where to"), "its section is open");
    }
    for wrong in [json!([""]), json!(["  "]), json!(["a\u{0}b"]), json!("\u{0}"), json!([7])] {
        let input = json!({"name": "x", "databaseId": ledger, "cron": "@daily", "options": {"engine": {"includeTables": wrong}}});
        let refused = site.api(Method::POST, "/api/schedules", input).await;
        assert_eq!(refused.json["error"]["details"]["fields"][0]["field"], "options.includeTables", "{wrong} {}", refused.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_of_hooks_survive_the_form_whatever_is_in_them() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 1).await;
    let hooks = json!([
        {"stage": "before", "command": ["freeze", "a b", "", "  ", "\"quoted\"", "it's", "</textarea><b>", "&lt;", "naïve 数据 🗄️", ""], "timeoutSeconds": 30},
        {"stage": "after", "command": ["breaks", "two\nlines", "cr\r\n", ""], "timeoutSeconds": 3600},
        {"stage": "after", "command": ["none"], "timeoutSeconds": 1},
        {"stage": "after", "command": ["one empty", ""], "timeoutSeconds": 60},
        {"stage": "after", "url": "https://example.com/done?a=1&b=%20", "timeoutSeconds": 5},
    ]);
    let input = json!({"name": "nightly", "databaseId": shop, "cron": "5 23 * * *", "hooks": hooks});
    let made = site.api(Method::POST, "/api/schedules", input).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let place = format!("/schedules/{}", made.id());
    let stored = async || site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"]["hooks"].clone();
    let before = stored().await;
    let page = site.page(&format!("{place}/edit")).await;
    let mut sent: Vec<(String, String)> = Vec::new();
    for number in 0..6 {
        for part in ["stage", "seconds", "run", "arguments"] {
            let name = format!("hook.{number}.{part}");
            let value = field(&page, &name);
            sent.push((name, value));
        }
    }
    sent.push(("hook.1.exact".into(), field(&page, "hook.1.exact")));
    let fields: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(site.submit(&place, &form(&shop, &fields)).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(stored().await, before);
    let shown = site.page(&place).await;
    assert!(
        shown.contains("before: freeze with 9 arguments, at most 30 s") && shown.contains("after: example.com, at most 5 s"),
        "{shown}"
    );

    let typed =
        [("hook.0.run", "go"), ("hook.0.arguments", "one argument\r\n\r\n x"), ("hook.1.run", "../up"), ("hook.1.arguments", "kept")];
    let refused = site.submit(&place, &form(&shop, &typed)).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = refused.text().await.unwrap();
    assert_eq!((field(&page, "hook.0.arguments"), field(&page, "hook.1.run")), ("one argument\r\n\r\n x".into(), "../up".into()));
    assert_eq!(page.matches("without a path").count(), 1, "beside the hook that is wrong");
    assert_eq!(site.submit(&place, &form(&shop, &typed[..2])).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(stored().await[0]["command"], json!(["go", "one argument", "", " x"]));
    let nul = json!([{"stage": "before", "command": ["go", "a\u{0}"]}]);
    let refused = site.api(Method::POST, "/api/schedules", json!({"name": "x", "databaseId": shop, "cron": "@daily", "hooks": nul})).await;
    assert_eq!(refused.json["error"]["details"]["fields"][0]["field"], "hooks.0", "{}", refused.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_without_a_store_to_copy_from_are_refused_and_not_left_out() {
    let site = Site::open().await;
    let (ledger, _) = ledger(&site).await;
    let stores = site.api(Method::GET, "/api/stores", json!(null)).await;
    let local = stores.json["data"][0]["id"].as_str().unwrap().to_owned();
    let refused = site.submit("/schedules", &form(&ledger, &[("store", ""), ("copies", &local)])).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("choose the store that the backup itself goes to"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_a_database_beyond_the_list_stays_with_it() {
    let site = Site::open().await;
    let (ledger, _) = ledger(&site).await;
    let input = json!({"name": "last of many", "databaseId": ledger, "cron": "@daily"});
    let made = site.api(Method::POST, "/api/schedules", input).await.json["data"]["id"].as_str().unwrap().to_owned();
    // More of them than the form lists, and all before it by name.
    let catalogue = rusqlite::Connection::open(site.folder.path().join("data/dbsnap.db")).unwrap();
    let copy = "INSERT INTO databases (id, project_id, name, engine, settings, store_id, backup_options, created_at, updated_at)
                SELECT ?2, project_id, ?3, engine, settings, store_id, backup_options, created_at, updated_at FROM databases WHERE id = ?1";
    for number in 0..210 {
        let name = format!("!{number:03}");
        catalogue.execute(copy, [&ledger, &uuid::Uuid::new_v4().to_string(), &name]).unwrap();
    }
    let page = site.page(&format!("/schedules/{made}/edit")).await;
    assert!(page.contains(&format!("<option value=\"{ledger}\" selected>")), "{page}");
}
