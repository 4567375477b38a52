//! Uploads: streamed, capped, recognised, never named by their sender.

use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use super::site::{Site, make_shop};

fn file(content: Vec<u8>, name: &str) -> Form {
    Form::new().part("file", Part::bytes(content).file_name(name.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_is_taken_in_whatever_its_name_and_restored() {
    let site = Site::open().await;
    let database = site.add_database("shop", 1).await;
    let source = site.folder.path().join("mine.db");
    make_shop(&source, 70);
    let form = file(std::fs::read(&source).unwrap(), "../../../etc/<svg onload=x>.db");
    let response = site.ask(Method::POST, "/api/restores/upload").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let upload: Value = response.json().await.unwrap();
    assert_eq!((&upload["data"]["engine"], &upload["data"]["format"]), (&json!("sqlite"), &json!("sqlite-file")), "{upload}");
    let id = upload["data"]["id"].as_str().unwrap();
    let page = site.page(&format!("/restore/new?upload={id}")).await;
    assert!(!page.contains("<svg onload"), "the name is shown as text");

    let target = site.folder.path().join("from-upload.db");
    let request =
        json!({"uploadId": id, "databaseId": database, "plan": {"mode": "new", "targetName": target}, "confirm": "from-upload.db"});
    let restore = site.api(Method::POST, "/api/restores", request).await.id();
    let restore = site.wait(&format!("/api/restores/{restore}")).await;
    assert_eq!((&restore["status"], &restore["tables"][0]["rows"]), (&json!("completed"), &json!(70)), "{restore}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_dump_or_too_large_is_refused_and_nothing_is_kept() {
    let site = Site::start(&[("AUTH_MODE", "none"), ("MAX_UPLOAD_BYTES", "1000000")]).await;
    for (form, what) in [
        (file(b"just some words".to_vec(), "words.txt"), "no dump"),
        (file(vec![7; 3_000_000], "large.db"), "too large"),
        (Form::new().text("other", "field"), "no file"),
    ] {
        let response = site.ask(Method::POST, "/api/restores/upload").multipart(form).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{what}: {}", response.text().await.unwrap());
    }
    let kept = std::fs::read_dir(site.folder.path().join("data/uploads")).map(Iterator::count).unwrap_or(0);
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_works_without_scripts() {
    let site = Site::open().await;
    let source = site.folder.path().join("mine.db");
    make_shop(&source, 5);
    let form = file(std::fs::read(&source).unwrap(), "mine.db");
    let response = site.ask(Method::POST, "/restore/upload").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(response.headers()["location"].to_str().unwrap().starts_with("/restore/new?upload="));
}
