//! From the first start to a restored database, as a person does it.

use rusqlite::Connection;

use super::driver::{Browser, PHONE, WIDE};
use crate::web::site::{PASSWORD, Site, make_shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sets_up_adds_a_database_backs_it_up_and_restores_it() {
    let site = Site::locked().await;
    let token = site.setup_token().await;
    let source = site.folder.path().join("shop.db");
    make_shop(&source, 3000);
    let browser = Browser::open(&site.base).await;

    // The first page of a new installation asks for the administrator.
    browser.go("/").await;
    browser.wait_text("Welcome to DBSnap").await;
    browser.shoot("journey-setup-wide-light").await;
    for (field, text) in [("#token", token.as_str()), ("#name", "ada"), ("#password", PASSWORD), ("#again", PASSWORD)] {
        browser.fill(field, text).await;
    }
    browser.click("button[type=submit]").await;
    browser.wait_text("Nothing is protected yet").await;

    // Out and in again.
    browser.click("form[action='/logout'] button").await;
    browser.wait_text("Sign in").await;
    browser.look(PHONE, "dark").await;
    browser.shoot("journey-login-phone-dark").await;
    browser.look(WIDE, "light").await;
    browser.fill("#name", "ada").await;
    browser.fill("#password", "not the password").await;
    browser.click("button[type=submit]").await;
    browser.wait(".notice.bad").await;
    browser.fill("#password", PASSWORD).await;
    browser.click("button[type=submit]").await;
    browser.wait_text("Nothing is protected yet").await;

    // Add the database, testing the connection on the way.
    browser.go("/databases/new?engine=sqlite").await;
    browser.fill("[name=name]", "shop").await;
    browser.fill("[name='settings.path']", source.to_str().unwrap()).await;
    browser.click("[hx-post='/databases/test']").await;
    browser.wait_text("Connected to SQLite").await;
    browser.shoot("journey-tested-wide-light").await;
    browser.click("button.primary[type=submit]").await;
    browser.wait_text("The database was added").await;

    // Back up and watch it to its end without loading the page again.
    browser.click("form[action$='/backup'] button").await;
    browser.wait(".verdict.ok").await;
    browser.wait_text("6,000 rows").await;
    browser.wait(".log li .text").await;
    browser.shoot("journey-backup-wide-light").await;

    // Restore into a new file.
    browser.click("a[href^='/restore/new?backup=']").await;
    browser.wait_text("Over which connection?").await;
    browser.click("form button.primary").await;
    let target = site.folder.path().join("shop-again.db");
    browser.fill("[name=targetName]", target.to_str().unwrap()).await;
    browser.click("form button.primary").await;
    browser.wait_text("This is what will happen").await;
    assert_eq!(browser.wait("[data-confirmed]").await.prop("disabled").await.unwrap().as_deref(), Some("true"));
    browser.shoot("journey-confirm-wide-light").await;
    browser.fill("#confirm", "shop-again.db").await;
    browser.click("[data-confirmed]").await;
    browser.wait(".verdict.ok").await;
    browser.shoot("journey-restored-wide-light").await;
    let restored = Connection::open(&target).unwrap();
    assert_eq!(restored.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap(), 3000);

    // The account: an API key is shown once.
    browser.go("/account").await;
    browser.fill("input[name=name]", "ci").await;
    browser.click("form[action='/account/keys'] button").await;
    browser.wait_text("shown this once").await;
    for (width, size) in [(WIDE, "wide"), (PHONE, "phone")] {
        browser.look(width, "light").await;
        assert!(!browser.overflows().await, "the account page in a window of {width} pixels");
        browser.shoot(&format!("journey-account-{size}-light")).await;
    }

    let complaints: Vec<String> = browser.complaints().await.into_iter().filter(|line| !line.contains("401")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_k_jumps_by_name_and_the_chosen_theme_stays() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 3).await;
    let browser = Browser::open(&site.base).await;
    browser.go("/backups").await;
    browser.wait("h1").await;
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true, bubbles: true}))").await;
    browser.fill("#jump input", "shop").await;
    browser.wait(&format!("#jump-results a[href='/databases/{shop}']")).await;
    browser.shoot("journey-jump-wide-light").await;
    browser.wait("#jump input").await.send_keys("\u{E007}").await.unwrap();
    browser.wait_text("No good backup yet").await;
    assert!(browser.address().await.ends_with(&shop));

    browser.click("[data-set-theme=dark]").await;
    browser.go("/jobs").await;
    browser.wait("html[data-theme=dark]").await;

    // On a phone the navigation opens from the bar, without a script of ours.
    browser.look(PHONE, "light").await;
    browser.go("/jobs").await;
    browser.click("[popovertarget=side]").await;
    browser.shoot("journey-menu-phone-dark").await;
    browser.click("#side a[href='/restores']").await;
    browser.wait_text("No restores yet").await;
    browser.close().await;
}
