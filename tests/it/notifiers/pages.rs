//! The pages of notifiers, as a browser without scripts uses them, and the deliverer at work.

use std::time::{Duration, Instant};

use dbsnap::{
    db,
    domain::{
        backup::BackupOptions,
        database::Database,
        ids::{DatabaseId, ProjectId, StoreId},
    },
    notifiers,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{settings::leading_to, sink::Sink};
use crate::web::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_is_added_tested_changed_and_removed_by_plain_forms_and_told_of_a_failure() {
    let (site, sink) = (Site::open().await, Sink::start(|_| (200, String::new())).await);
    assert!(site.page("/notifiers").await.contains("Nobody is told yet"));
    let url = format!("{}/hook", sink.base());
    let wrong = site.submit("/notifiers", &[("kind", "webhook"), ("name", "night"), ("settings.url", "nowhere")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let text = wrong.text().await.unwrap();
    assert!(text.contains("must be an address") && text.contains("value=\"night\""), "the form comes back as it was typed");

    let form =
        [("kind", "webhook"), ("name", "night <b>"), ("settings.url", &url), ("settings.secret", "v3ry-secret"), ("enabled", "true")];
    let added = site.submit("/notifiers", &form).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let edit = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let place = edit.trim_end_matches("/edit");
    assert!(!site.page(&edit).await.contains("v3ry-secret"));
    let tested = site.submit(&format!("{place}/test"), &[]).await.text().await.unwrap();
    assert!(tested.contains("Delivered in"), "{tested}");
    assert!(sink.taken()[0].header("x-dbsnap-signature").starts_with("sha256="));

    let database = site.add_database("shop", 2).await;
    let source = site.api(Method::GET, &format!("/api/databases/{database}"), Value::Null).await.json["data"]["address"].clone();
    std::fs::remove_file(source.as_str().unwrap()).unwrap();
    site.submit(&format!("/databases/{database}/backup"), &[]).await;
    let began = Instant::now();
    // This machine may be told of its own disk besides.
    while !sink.taken().iter().any(|received| received.json()["title"] == "Backup of shop failed") {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody was told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(site.page("/").await.contains("What is wrong now"));
    let page = site.page(&edit).await;
    assert!(page.contains("Backup of shop failed") && page.contains("delivered") && !page.contains("night <b>"), "the log");
    let alerts = site.api(Method::GET, "/api/alerts", Value::Null).await.json;
    assert!(alerts["data"].as_array().unwrap().iter().any(|alert| alert["notice"]["event"] == "backup.failed"), "{alerts}");

    assert_eq!(site.submit(&format!("{place}/delete"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert!(site.page("/notifiers").await.contains("Nobody is told yet"));
}

/// The value of the ticked box beside this name.
fn ticked(page: &str, name: &str) -> Option<String> {
    let label = page.find(&format!(">{name}</label>"))?;
    let input = &page[page[..label].rfind("<input")?..label];
    let value = input.split("value=\"").nth(1)?.split('"').next()?;
    input.contains(" checked").then(|| value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_a_notifier_are_found_by_name_among_hundreds_and_stay_chosen_when_the_form_comes_back() {
    let site = Site::idle().await;
    let now = site.ctx.now();
    let database = |number: u32| Database {
        id: DatabaseId::new(),
        project_id: ProjectId::DEFAULT,
        name: if number == 0 { "one, with a comma".into() } else { format!("shop {number:03}") },
        engine: "sqlite".into(),
        settings: json!({"path": format!("/nowhere/{number}.db")}).as_object().unwrap().clone(),
        store_id: StoreId::LOCAL,
        backup_options: BackupOptions::default(),
        created_at: now,
        updated_at: now,
    };
    db::databases::insert_all(&site.ctx.db, (0..450).map(database).collect()).await.unwrap();

    // While a name is typed: the last one, where several are.
    let options = site.page("/notifiers/databases?databaseNames=shop%20001%2C%20SHOP%2044").await;
    assert_eq!(options.matches("<option").count(), 10, "{options}");
    assert!(options.contains("\"shop 449\"") && !options.contains("<html"), "{options}");

    // Without scripts: the button brings the form back, with what was typed.
    let typed: [(&str, &str); 4] =
        [("kind", "webhook"), ("name", "night"), ("settings.url", "http://127.0.0.1:1/"), ("event", "backup.failed")];
    let names = [("databaseNames", "shop 003, shop 449, shop 003")];
    let added = site.submit("/notifiers/databases", &[&typed[..], &names].concat()).await;
    assert_eq!(added.status(), StatusCode::OK);
    let page = added.text().await.unwrap();
    assert!(page.contains("value=\"night\"") && page.contains("value=\"http://127.0.0.1:1/\""), "what was typed stays");
    let (third, last) = (ticked(&page, "shop 003").unwrap(), ticked(&page, "shop 449").unwrap());
    assert_eq!(page.matches("name=\"database\"").count(), 2);

    // With scripts: the part alone.
    let part = site.ask(Method::POST, "/notifiers/databases").header("hx-request", "true");
    let part =
        part.form(&[("database", last.as_str()), ("databaseNames", "one, with a comma")]).send().await.unwrap().text().await.unwrap();
    assert!(
        part.trim_start().starts_with("<fieldset") && ticked(&part, "shop 449").is_some() && ticked(&part, "one, with a comma").is_some()
    );

    // A name that is none, and an address that is none: both are told, and nothing is lost.
    let chosen = [("database", third.as_str()), ("database", last.as_str())];
    let wrong = site.submit("/notifiers", &[&typed[..], &chosen, &[("databaseNames", "shop 007, nope")]].concat()).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let page = wrong.text().await.unwrap();
    assert!(page.contains("no database is called &#39;nope&#39;") || page.contains("no database is called &#x27;nope&#x27;"), "{page}");
    assert!(page.contains("value=\"nope\""), "the name can be mended");
    let bad = [("kind", "webhook"), ("name", "night"), ("settings.url", "nowhere"), ("databaseNames", "shop 007")];
    let page = site.submit("/notifiers", &[&bad[..], &chosen].concat()).await.text().await.unwrap();
    for name in ["shop 003", "shop 007", "shop 449"] {
        assert!(ticked(&page, name).is_some(), "{name} was lost");
    }

    let saved = site.submit("/notifiers", &[&typed[..], &chosen, &[("databaseNames", "shop 007")]].concat()).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let edit = saved.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let page = site.page(&edit).await;
    assert_eq!(page.matches("name=\"database\"").count(), 3, "those beyond the first two hundred too");
    // What is not ticked any more is let go.
    let place = edit.trim_end_matches("/edit");
    assert_eq!(site.submit(place, &[&typed[..], &chosen[..1]].concat()).await.status(), StatusCode::SEE_OTHER);
    let rules = site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"]["rules"].clone();
    assert_eq!(rules["databaseIds"], json!([third]));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_notifiers_are_in_no_log_answer_audit_trail_figure_or_page_even_when_a_service_repeats_them() {
    let site = Site::idle().await;
    let sink = Sink::start(|received| {
        let headers: String = received.headers.iter().map(|(name, value)| format!("{name}={}; ", value.to_str().unwrap())).collect();
        (400, format!("cannot {} {} {headers}", received.method, received.path))
    })
    .await;
    let mut places = Vec::new();
    for kind in notifiers::registry().iter().map(|kind| kind.info().id) {
        let mut settings = leading_to(kind, &sink.base());
        if kind == "webhook" {
            settings["headers"] = json!("X-Token: h34der-secret\nAuthorization: Bearer t0ken-of-it");
        }
        if kind == "email" {
            let sign_in = json!({"host": "127.0.0.1", "port": 1, "security": "starttls", "username": "u", "password": "pa55-of-the-mail"});
            settings.as_object_mut().unwrap().extend(sign_in.as_object().unwrap().clone());
        }
        let made = site.api(Method::POST, "/api/notifiers", json!({"name": kind, "kind": kind, "settings": settings})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{kind}: {}", made.json);
        let id = made.id();
        let tested = site.api(Method::POST, &format!("/api/notifiers/{id}/test"), Value::Null).await;
        assert_eq!(tested.json["data"]["delivered"], false, "{kind}: {}", tested.json);
        // What is not valid is told without what was typed into secret fields.
        settings["nonsense"] = json!(1);
        let wrong = site.api(Method::PUT, &format!("/api/notifiers/{id}"), json!({"name": "", "settings": settings})).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
        places.push((format!("what {kind} answered"), format!("{} {} {}", made.json, tested.json, wrong.json)));
        for page in [format!("/api/notifiers/{id}"), format!("/api/notifiers/{id}/deliveries"), format!("/notifiers/{id}/edit")] {
            places.push((page.clone(), site.page(&page).await));
        }
    }
    for page in ["/api/notifiers", "/api/notices", "/api/alerts", "/api/audit", "/metrics", "/notifiers", "/audit", "/"] {
        places.push((page.to_owned(), site.page(page).await));
    }
    let told =
        &places.iter().find(|(place, text)| place.ends_with("/deliveries") && text.contains("cannot POST")).expect("it was repeated").1;
    assert!(told.contains("[redacted]"), "{told}");
    let secrets = [
        "s3cret-of-the-hook",
        "h34der-secret",
        "t0ken-of-it",
        "a1b2c3",
        "B000",
        "sig=abc",
        "api/webhooks/1/abc",
        "123:ABC-def",
        "tk_abc",
        "A-token",
        "0123456789abcdef0123456789ABCDEF",
        "pa55-of-the-mail",
    ];
    for (place, text) in &places {
        for secret in secrets {
            assert!(!text.contains(secret), "{place} tells {secret}: {text}");
        }
    }
}
