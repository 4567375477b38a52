//! Describing a connection by its URL, testing it, and what the test's answer looks like.

use reqwest::Method;
use serde_json::{Value, json};

use super::driver::{Browser, PHONE, WIDE};
use crate::{
    support::postgres::{PASSWORD, shared},
    web::site::Site,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_added_by_its_url_and_tested_before_it_is_saved() {
    let site = Site::open().await;
    let server = shared(15);
    let name = server.database("browsed").await;
    server.connect(&name).await.batch_execute("CREATE TABLE orders (id int); CREATE TABLE customers (id int)").await.unwrap();
    let browser = Browser::open(&site.base).await;
    browser.go("/databases/new?engine=sqlite").await;
    browser.fill("#url", "postgresql://app:battery@db:x/shop").await;
    browser.click("form[action='/databases/new'] button").await;
    browser.wait("#url-problem").await;
    browser.fill("#url", &server.url(&name)).await;
    browser.click("form[action='/databases/new'] button").await;
    browser.wait("[name=draft]").await;
    assert!(!browser.run("return document.documentElement.outerHTML").await.to_string().contains("Passw0rd"));
    browser.run("document.querySelectorAll('details.section').forEach(section => section.open = true)").await;
    shoot(&browser, "connection-from-url").await;
    browser.run("document.querySelectorAll('details.section').forEach(section => section.open = false)").await;
    browser.click("[hx-post='/databases/test']").await;
    browser.wait_text("Connected to PostgreSQL 15.").await;
    browser.wait_text("everything (superuser)").await;
    browser.click(".probe details summary").await;
    shoot(&browser, "connection-tested").await;
    browser.click("button.primary[type=submit]").await;
    browser.wait_text("The database was added").await;
    browser.click("[hx-target='#probe']").await;
    browser.wait_text("everything (superuser)").await;
    browser.click(".probe details summary").await;
    shoot(&browser, "connection-stored-tested").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_every_protection_fits_the_page() {
    let site = Site::open().await;
    let settings = json!({
        "host": "orders-primary.databases.internal.example.com", "database": "shop", "user": "dbsnap_backup", "password": PASSWORD,
        "tlsMode": "verify-full", "tlsCa": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "tlsKey": "key",
        "sshHost": "bastion.example.com", "sshUser": "tunnel", "sshKey": "key", "sshHostKey": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "proxyType": "socks5", "proxyHost": "proxy.example.com", "proxyPort": 1080,
    });
    let added = site.api(Method::POST, "/api/databases", json!({"name": "shop", "engine": "postgresql", "settings": settings})).await;
    let place = format!("/databases/{}", added.id());
    let browser = Browser::open(&site.base).await;
    browser.go(&place).await;
    shoot(&browser, "connection-protected").await;
    browser.go(&format!("{place}/edit")).await;
    shoot(&browser, "connection-protected-edit").await;
    assert_eq!(site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"]["secretsSet"].as_array().unwrap().len(), 3);
    browser.close().await;
}

/// The page as it is now, wide and narrow, light and dark: nothing is cut off.
async fn shoot(browser: &Browser, name: &str) {
    for (width, size) in [(WIDE, "wide"), (PHONE, "phone")] {
        for colours in ["light", "dark"] {
            browser.look(width, colours).await;
            assert!(!browser.overflows().await, "{name} is wider than a window of {width} pixels");
            assert_eq!(browser.burst_panels().await, json!([]), "{name} in a window of {width} pixels");
            browser.shoot(&format!("{name}-{size}-{colours}")).await;
        }
    }
    browser.look(WIDE, "light").await;
    let complaints: Vec<String> = browser.complaints().await.into_iter().filter(|line| !line.contains("400")).collect();
    assert!(complaints.is_empty(), "{name}: {complaints:?}");
}
