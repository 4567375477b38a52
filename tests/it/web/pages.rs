//! Pages and their forms, as a browser without scripts uses them.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::site::{Site, make_shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_added_edited_and_removed_by_plain_forms() {
    let site = Site::open().await;
    let source = site.folder.path().join("shop.db");
    make_shop(&source, 4);
    let path = source.to_str().unwrap();
    let wrong = site.submit("/databases", &[("engine", "sqlite"), ("name", "shop"), ("settings.path", "")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let text = wrong.text().await.unwrap();
    assert!(text.contains("is required") && text.contains("value=\"shop\""), "the form comes back as it was typed");

    let form = [("engine", "sqlite"), ("name", "shop"), ("settings.path", path), ("encrypt", "true"), ("compression", "zstd:3")];
    let added = site.submit("/databases", &form).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER, "{:?}", added.text().await);
    let place = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    assert!(site.page(&place).await.contains("No good backup yet"));

    let form = [("engine", "sqlite"), ("name", "shop two"), ("settings.path", path), ("compression", "none")];
    assert_eq!(site.submit(&place, &form).await.status(), StatusCode::SEE_OTHER);
    let view = site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json;
    assert_eq!(view["data"]["name"], "shop two");
    assert_eq!((&view["data"]["backupOptions"]["encrypt"], &view["data"]["backupOptions"]["compression"]), (&false.into(), &"none".into()));

    let delete = format!("{place}/delete");
    assert_eq!(site.submit(&delete, &[("confirm", "shop")]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.submit(&delete, &[("confirm", "shop two")]).await.headers()["location"], "/databases?notice=removed");
    assert_eq!(site.get(&place).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restore_wizard_works_step_by_step_without_scripts() {
    let site = Site::open().await;
    let database = site.add_database("shop", 12).await;
    let backup = site.back_up(&database).await;
    let id = backup["id"].as_str().unwrap();
    assert!(site.page("/restore/new").await.contains(&format!("/restore/new?backup={id}")));
    assert!(site.page(&format!("/restore/new?backup={id}")).await.contains(&database));
    assert!(site.page(&format!("/restore/new?backup={id}&database={database}")).await.contains("Into a new database"));

    let target = site.folder.path().join("again.db").display().to_string();
    let chosen = [("backup", id), ("database", database.as_str()), ("mode", "new"), ("content", "all"), ("targetName", target.as_str())];
    let confirm = site.submit("/restore/plan", &chosen).await;
    assert_eq!(confirm.status(), StatusCode::OK);
    let text = confirm.text().await.unwrap();
    assert!(text.contains("data-confirm=\"again.db\"") && text.contains("name=\"targetName\""), "{text}");

    let unconfirmed = site.submit("/restores", &chosen).await;
    assert_eq!(unconfirmed.status(), StatusCode::BAD_REQUEST);
    let started = site.submit("/restores", &[chosen.as_slice(), &[("confirm", "again.db")]].concat()).await;
    assert_eq!(started.status(), StatusCode::SEE_OTHER, "{:?}", started.text().await);
    let place = started.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(site.wait(&format!("/api{place}")).await["status"], "completed");
    assert!(site.page(&place).await.contains("Restored"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_answers_whether_one_is_protected() {
    let site = Site::open().await;
    assert!(site.page("/").await.contains("Nothing is protected yet"));
    let shop = site.add_database("shop", 3).await;
    assert!(site.page("/").await.contains("Your database is not protected"));
    site.back_up(&shop).await;
    assert!(site.page("/").await.contains("Your database is protected"));
    site.add_database("billing", 3).await;
    let page = site.page("/").await;
    assert!(page.contains("1 of 2 databases are protected") && page.contains("No good backup of billing."), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_pinned_and_deleted_by_its_typed_name() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 3).await;
    let backup = site.back_up(&shop).await;
    let id = backup["id"].as_str().unwrap();
    let place = format!("/backups/{id}");
    assert!(site.page(&place).await.contains("3 rows") || site.page(&place).await.contains("6 rows"));
    assert_eq!(site.submit(&format!("{place}/pin"), &[("pinned", "true")]).await.status(), StatusCode::SEE_OTHER);
    let refused = site.submit(&format!("{place}/delete"), &[("confirm", &id[id.len() - 6..])]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    site.submit(&format!("{place}/pin"), &[("pinned", "false")]).await;
    assert_eq!(site.submit(&format!("{place}/delete"), &[("confirm", "shop")]).await.status(), StatusCode::BAD_REQUEST);
    let deleted = site.submit(&format!("{place}/delete"), &[("confirm", &id[id.len() - 6..])]).await;
    assert_eq!(deleted.headers()["location"], "/backups?notice=deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn htmx_gets_parts_and_notices_instead_of_pages() {
    let site = Site::open().await;
    let part = site.ask(Method::GET, "/jump?q=back").header("hx-request", "true").send().await.unwrap().text().await.unwrap();
    assert!(part.contains("/backups") && !part.contains("<html"), "{part}");
    let refused = site.ask(Method::POST, "/databases/7/test").header("hx-request", "true").send().await.unwrap();
    assert_eq!((refused.status(), refused.headers()["hx-retarget"].to_str().unwrap()), (StatusCode::NOT_FOUND, "#toast"));
    assert!(!refused.text().await.unwrap().contains("<html"));
}
