//! How a connection is described: by fields in sections, or by a URL that is taken apart; and what its test tells.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;
use crate::support::postgres::{Server, ident, shared};

const SECRET: &str = "c0rrect horse/battery";

fn url(server: &Server, database: &str, password: &str) -> String {
    let password: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("postgresql://reader_{database}:{password}@127.0.0.1:{}/{database}?sslmode=disable", server.port)
}

/// A database with an account that owns a table, and its password.
async fn prepare(purpose: &str) -> (&'static Server, String) {
    let server = shared(15);
    let database = server.database(purpose).await;
    let role = ident(&format!("reader_{database}"));
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'; CREATE TABLE mine (a int); ALTER TABLE mine OWNER TO {role}");
    server.connect(&database).await.batch_execute(&sql).await.unwrap();
    (server, database)
}

/// The value of the input of this name in a page.
fn input(page: &str, name: &str) -> Option<String> {
    let at = page.find(&format!("name=\"{name}\""))?;
    let tag = &page[page[..at].rfind('<')?..];
    let tag = &tag[..tag.find('>')?];
    let value = tag.split("value=\"").nth(1)?;
    Some(value.split('"').next()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_shows_the_main_fields_and_folds_the_others_away_by_section() {
    let site = Site::open().await;
    let page = site.page("/databases/new?engine=postgresql").await;
    let main = &page[page.find("name=\"settings.host\"").unwrap()..page.find("<details class=\"section\"").unwrap()];
    for name in ["port", "database", "user", "password", "connectTimeout"] {
        assert!(main.contains(&format!("name=\"settings.{name}\"")), "{name} is a main field");
    }
    for (title, first) in [("TLS", "tlsMode"), ("SSH tunnel", "sshHost"), ("Proxy", "proxyType")] {
        let section = &page[page.find(&format!("<summary>{title} ")).unwrap_or_else(|| panic!("no section {title}: {page}"))..];
        let section = &section[..section.find("</details>").unwrap()];
        assert!(section.contains(&format!("name=\"settings.{first}\"")), "{title}: {section}");
    }
    assert!(page.contains("prefer: encrypted where the server can, not verified"), "the state shows while the section is folded");
    assert!(!page.contains("class=\"section\" open"), "nothing is set: every section is folded");

    let settings =
        json!({"host": "db", "database": "shop", "user": "app", "tlsMode": "verify-full", "sshHost": "bastion", "sshKey": "KEY"});
    let added = site.api(Method::POST, "/api/databases", json!({"name": "pg", "engine": "postgresql", "settings": settings})).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.json);
    let place = format!("/databases/{}", added.id());
    let page = site.page(&format!("{place}/edit")).await;
    assert_eq!(page.matches("class=\"section\" open").count(), 2, "TLS and SSH are set, the proxy is not: {page}");
    assert!(page.contains("verify-full: encrypted, certificate and name verified"));
    assert!(page.contains("placeholder=\"unchanged\"") && !page.contains(">KEY<"), "a stored key is neither shown nor asked for again");

    let shown = site.page(&place).await;
    for told in ["verify-full: encrypted, certificate and name verified", "through bastion", "kept at the first connection"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(!shown.contains("Names are resolved by"), "what is as it would be by itself is not listed: {shown}");

    let wrong = [("engine", "postgresql"), ("name", "x"), ("settings.host", "h"), ("settings.database", "d"), ("settings.user", "u")];
    let wrong =
        [wrong.as_slice(), &[("settings.sshPort", "99999"), ("settings.proxyType", "none"), ("settings.tlsMode", "prefer")]].concat();
    let refused = site.submit("/databases", &wrong).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let text = refused.text().await.unwrap();
    let ssh = &text[text.find("<summary>SSH tunnel").unwrap() - 60..];
    assert!(ssh[..80].contains("open") && ssh.contains("must be a whole number from 1 to 65535"), "{ssh}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_url_fills_in_the_form_and_its_password_is_used_and_never_shown() {
    let (server, name) = prepare("pasted").await;
    let site = Site::open().await;
    let filled = site.submit("/databases/new", &[("url", &url(server, &name, SECRET))]).await;
    assert_eq!(filled.status(), StatusCode::OK);
    let page = filled.text().await.unwrap();
    assert!(!page.contains(SECRET) && !page.contains("battery") && !page.contains("%62%61"), "{page}");
    assert_eq!(input(&page, "settings.host").as_deref(), Some("127.0.0.1"));
    assert_eq!(input(&page, "settings.user").as_deref(), Some(format!("reader_{name}").as_str()));
    assert_eq!(input(&page, "name").as_deref(), Some(name.as_str()), "the database lends its name");
    assert!(page.contains("placeholder=\"from the URL\""), "{page}");
    let draft = input(&page, "draft").expect("the sealed draft");

    let (port, user) = (server.port.to_string(), format!("reader_{name}"));
    let fields = [
        ("engine", "postgresql"),
        ("name", name.as_str()),
        ("draft", draft.as_str()),
        ("settings.host", "127.0.0.1"),
        ("settings.port", port.as_str()),
        ("settings.database", name.as_str()),
        ("settings.user", user.as_str()),
        ("settings.tlsMode", "off"),
        ("settings.sshPort", "22"),
        ("settings.proxyType", "none"),
        ("encrypt", "true"),
    ];
    let with = |name: &'static str, value: &'static str| {
        let mut fields = fields.to_vec();
        fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
        fields
    };
    let tested = site.submit("/databases/test", &fields).await.text().await.unwrap();
    assert!(tested.contains("Connected to PostgreSQL 15."), "{tested}");
    // The password goes nowhere but to the server that the URL named.
    for (field, value) in [("settings.host", "127.0.0.2"), ("settings.port", "1"), ("settings.user", "postgres")] {
        let refused = site.submit("/databases/test", &with(field, value)).await.text().await.unwrap();
        assert!(refused.contains("enter it again"), "{field}: {refused}");
    }
    let altered = draft.chars().rev().collect::<String>();
    let mut fields_altered = fields.to_vec();
    fields_altered[2].1 = &altered;
    let refused = site.submit("/databases", &fields_altered).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("cannot be opened any more"));

    // A form that is refused for another reason still knows the password.
    let refused = site.submit("/databases", &with("name", "")).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = refused.text().await.unwrap();
    assert!(page.contains("placeholder=\"from the URL\"") && input(&page, "draft").is_some() && !page.contains("battery"), "{page}");

    let added = site.submit("/databases", &fields).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER, "{:?}", added.text().await);
    let place = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let tested = site.submit(&format!("{place}/test"), &[]).await.text().await.unwrap();
    assert!(tested.contains("Connected to PostgreSQL 15."), "the password of the URL was stored: {tested}");
    for page in [place.clone(), format!("{place}/edit"), "/audit".into(), format!("/api{place}")] {
        assert!(!site.page(&page).await.contains("battery"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_of_no_use_to_somebody_else() {
    let (server, name) = prepare("theirs").await;
    let site = Site::locked().await;
    site.set_up().await;
    let page = site.submit("/databases/new", &[("url", &url(server, &name, SECRET))]).await.text().await.unwrap();
    let draft = input(&page, "draft").expect("the sealed draft");
    let cookie = site.sign_in_as("operator").await;
    let (port, user) = (server.port.to_string(), format!("reader_{name}"));
    let form = [
        ("engine", "postgresql"),
        ("draft", &draft),
        ("settings.host", "127.0.0.1"),
        ("settings.port", &port),
        ("settings.database", &name),
        ("settings.user", &user),
        ("settings.tlsMode", "off"),
    ];
    let theirs = reqwest::Client::new().post(format!("{}/databases/test", site.base)).header("cookie", cookie).form(&form);
    let answer = theirs.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("cannot be opened any more"), "{answer}");
    let viewer = site.sign_in_as("viewer").await;
    let refused = reqwest::Client::new().post(format!("{}/databases/test", site.base)).header("cookie", viewer).form(&form);
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_cannot_be_read_is_told_without_its_password() {
    let site = Site::open().await;
    for url in ["oracle://app:battery@db/shop", "postgresql://app:battery/x@db/shop", "battery", "postgresql://app:battery@db/shop?nope=1"]
    {
        let refused = site.submit("/databases/new", &[("url", url), ("engine", "postgresql")]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{url}");
        let page = refused.text().await.unwrap();
        assert!(page.contains("url-problem") && page.contains("name=\"settings.host\"") && !page.contains("battery"), "{url}: {page}");
        let answer = site.api(Method::POST, "/api/databases", json!({"name": "x", "url": url})).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"), "{url}");
        assert!(
            answer.json["error"]["details"].to_string().contains("url") && !answer.json.to_string().contains("battery"),
            "{}",
            answer.json
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_a_url_in_the_place_of_settings_or_under_them() {
    let (server, name) = prepare("by_url").await;
    let site = Site::open().await;
    let url = url(server, &name, SECRET);
    let tested = site.api(Method::POST, "/api/databases/test-connection", json!({"name": "x", "url": url})).await;
    assert_eq!(tested.status, StatusCode::OK, "{}", tested.json);
    let probe = &tested.json["data"];
    assert_eq!((&probe["readOnly"], &probe["learned"]), (&json!(false), &json!({})));
    assert_eq!(probe["account"]["user"], format!("reader_{name}"));
    assert!(probe["account"]["script"].as_str().unwrap().contains("CREATE ROLE dbsnap_backup"), "{probe}");
    assert_eq!(probe["connection"]["tls"], Value::Null);

    let added = site.api(Method::POST, "/api/databases", json!({"name": "pg", "url": url, "settings": {"connectTimeout": 3}})).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.json);
    let data = &added.json["data"];
    assert_eq!(
        (&data["engine"], &data["settings"]["connectTimeout"], &data["settings"]["database"]),
        (&json!("postgresql"), &json!(3), &json!(name))
    );
    assert_eq!(data["secretsSet"], json!(["password"]));
    assert!(!added.json.to_string().contains("battery"));
    let id = added.id();
    let tested = site.api(Method::POST, &format!("/api/databases/{id}/test-connection"), Value::Null).await;
    assert_eq!(tested.status, StatusCode::OK, "{}", tested.json);

    let other = json!({"name": "pg", "engine": "sqlite", "url": url});
    let refused = site.api(Method::POST, "/api/databases", other).await;
    assert!(refused.json.to_string().contains("the URL is one of postgresql"), "{}", refused.json);
    let refused = site.api(Method::POST, "/api/databases", json!({"name": "nothing"})).await;
    let expected = json!([{"field": "engine", "message": "is required"}]);
    assert_eq!((refused.status, &refused.json["error"]["details"]["fields"]), (StatusCode::BAD_REQUEST, &expected), "{}", refused.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_of_a_connection_tells_what_the_account_may_and_offers_the_script() {
    let (server, name) = prepare("told").await;
    let site = Site::open().await;
    let added = site.api(Method::POST, "/api/databases", json!({"name": "pg", "url": url(server, &name, SECRET)})).await;
    let part = site.submit(&format!("/databases/{}/test", added.id()), &[]).await.text().await.unwrap();
    for told in [
        "Connected to PostgreSQL 15.",
        "Not encrypted",
        "may do more than a backup needs",
        "write rows in the table public.mine",
        "alter and drop the table or sequence public.mine, which it owns",
        "Script for an account that only reads",
        "GRANT pg_read_all_data TO dbsnap_backup;",
        "data-copy=\"-- Run this",
    ] {
        assert!(part.contains(told), "{told}: {part}");
    }
    assert_eq!(part.matches("may do more than a backup needs").count(), 1, "the warning is not said twice: {part}");
}
