//! Retention policies and stores through the API and the pages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::web::site::Site;

const WEEK: &[(&str, &str)] = &[("name", "a week"), ("mode", "standard"), ("keepDaily", "7"), ("timezone", "Europe/Berlin")];

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_made_previewed_chosen_changed_and_removed_only_when_nothing_uses_it() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 5).await;
    let kept = site.back_up(&shop).await;
    let policy = json!({ "name": "one day", "mode": "standard", "keepDaily": 1, "timezone": "Europe/Berlin" });
    let made = site.api(Method::POST, "/api/retention-policies", policy.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let id = made.id();
    assert_eq!(site.api(Method::POST, "/api/retention-policies", policy).await.status, StatusCode::CONFLICT, "names are unique");

    let draft = json!({ "policy": { "mode": "standard", "keepDaily": 1 }, "databaseId": shop });
    let preview = site.api(Method::POST, "/api/retention-policies/preview", draft).await;
    let backups = &preview.json["data"][0]["backups"];
    assert_eq!(backups[0]["id"], kept["id"], "{preview}", preview = preview.json);
    assert_eq!(backups[0]["action"], "keep");
    assert_eq!(backups[0]["reasons"][1], "the newest good backup", "{backups}");

    let choose = format!("/api/databases/{shop}/retention-policy");
    assert_eq!(site.api(Method::PUT, &choose, json!({ "policyId": id })).await.status, StatusCode::OK);
    let plan = site.api(Method::GET, &format!("/api/retention-policies/{id}/preview"), Value::Null).await;
    assert_eq!(plan.json["data"][0]["policyName"], "one day", "{}", plan.json);
    let refused = site.api(Method::DELETE, &format!("/api/retention-policies/{id}"), Value::Null).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.json.to_string().contains("manual backups of 'shop'"), "{}", refused.json);

    let changed = json!({ "name": "two days", "mode": "standard", "keepDaily": 2 });
    let changed = site.api(Method::PUT, &format!("/api/retention-policies/{id}"), changed).await;
    assert_eq!(changed.json["data"]["keepDaily"], 2, "{}", changed.json);
    assert_eq!(site.api(Method::PUT, &choose, json!({ "policyId": null })).await.status, StatusCode::OK);
    assert_eq!(site.api(Method::DELETE, &format!("/api/retention-policies/{id}"), Value::Null).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_says_nothing_is_refused_field_by_field() {
    let site = Site::open().await;
    for (policy, field) in [
        (json!({ "name": "x", "mode": "standard" }), "keepDaily"),
        (json!({ "name": "x", "mode": "size" }), "maxTotalBytes"),
        (json!({ "name": "x", "mode": "age" }), "maxAgeDays"),
        (json!({ "name": "x", "mode": "age", "maxAgeDays": 0 }), "maxAgeDays"),
        (json!({ "name": " ", "mode": "age", "maxAgeDays": 1 }), "name"),
    ] {
        let answer = site.api(Method::POST, "/api/retention-policies", policy).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json["error"]["details"]["fields"].to_string().contains(field), "{field}: {}", answer.json);
    }
    let zone = json!({ "name": "x", "mode": "age", "maxAgeDays": 1, "timezone": "Mars/Olympus" });
    assert_eq!(site.api(Method::POST, "/api/retention-policies", zone).await.status, StatusCode::BAD_REQUEST);
    let unknown = json!({ "name": "x", "mode": "age", "maxAgeDays": 1, "keepDayly": 1 });
    assert_eq!(site.api(Method::POST, "/api/retention-policies", unknown).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_without_javascript() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 5).await;
    assert!(site.page("/retention-policies").await.contains("No retention policies yet"));
    site.back_up(&shop).await;

    let typed: Vec<_> = WEEK.iter().copied().chain([("database", shop.as_str())]).collect();
    let preview = site.submit("/retention-policies/preview", &typed).await;
    assert_eq!(preview.status(), StatusCode::OK);
    let preview = preview.text().await.unwrap();
    assert!(preview.contains("daily 1 of 7") && preview.contains("value=\"a week\""), "{preview}");

    let wrong =
        site.submit("/retention-policies", &[("name", "x"), ("mode", "size"), ("maxTotalBytes", "much"), ("timezone", "UTC")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("must be a size such as 50 GB"));

    assert_eq!(site.submit("/retention-policies", WEEK).await.status(), StatusCode::SEE_OTHER);
    let policies = site.api(Method::GET, "/api/retention-policies", Value::Null).await;
    let id = policies.json["data"][0]["id"].as_str().unwrap().to_owned();
    let chosen = site.submit("/retention-policies/manual", &[("database", shop.as_str()), ("policy", &id)]).await;
    assert_eq!(chosen.status(), StatusCode::SEE_OTHER);
    assert!(site.page("/retention-policies").await.contains("the newest of each of 7 days"));
    assert!(site.page(&format!("/retention-policies/{id}/edit")).await.contains("daily 1 of 7"), "where it applies it is previewed");
    assert!(site.page("/retention-policies/plan").await.contains("deletes nothing"));
    let run = site.submit("/retention-policies/run", &[]).await;
    assert!(run.headers()["location"].to_str().unwrap().starts_with("/jobs/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_added_and_removed_but_not_over_each_other_and_not_while_in_use() {
    let site = Site::open().await;
    let place = site.folder.path().join("archive");
    let store = |name: &str, path: &std::path::Path| json!({ "name": name, "kind": "local", "settings": { "path": path } });
    let made = site.api(Method::POST, "/api/stores", store("archive", &place)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let id = made.id();
    for (path, why) in [
        (place.join("inside"), "archive"),
        (site.folder.path().join("data/inside"), "data directory"),
        (std::path::PathBuf::from("/"), "data directory"),
        (std::path::PathBuf::from("relative"), "absolute"),
    ] {
        let refused = site.api(Method::POST, "/api/stores", store("other", &path)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", path.display());
        assert!(refused.json["error"]["details"]["fields"].to_string().contains(why), "{}: {}", path.display(), refused.json);
    }
    let address = format!("/api/stores/{id}");
    let shop = site.add_database("shop", 5).await;
    let database = site.api(Method::GET, &format!("/api/databases/{shop}"), Value::Null).await.json["data"].clone();
    let moved = json!({ "name": "shop", "engine": "sqlite", "settings": database["settings"], "storeId": id });
    assert_eq!(site.api(Method::PUT, &format!("/api/databases/{shop}"), moved).await.status, StatusCode::OK);
    assert_eq!(site.back_up(&shop).await["storeId"].as_str(), Some(id.as_str()));
    assert_eq!(site.api(Method::DELETE, &address, Value::Null).await.status, StatusCode::CONFLICT);
    let elsewhere = site.folder.path().join("elsewhere");
    assert_eq!(site.api(Method::PUT, &address, store("archive", &elsewhere)).await.status, StatusCode::CONFLICT);
    assert_eq!(site.api(Method::PUT, &address, store("cellar", &place)).await.json["data"]["name"], "cellar");
    let local = format!("/api/stores/{}", dbsnap::domain::ids::StoreId::LOCAL);
    assert_eq!(site.api(Method::DELETE, &local, Value::Null).await.status, StatusCode::CONFLICT);

    let added = site.submit("/stores", &[("name", "third"), ("kind", "local"), ("settings.path", elsewhere.to_str().unwrap())]).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let page = site.page("/stores").await;
    assert!(page.contains("cellar") && page.contains("third"), "{page}");
    let stores = site.api(Method::GET, "/api/stores", Value::Null).await;
    let third = stores.json["data"].as_array().unwrap().iter().find(|store| store["name"] == "third").unwrap()["id"].clone();
    let third = third.as_str().unwrap();
    assert_eq!(site.submit(&format!("/stores/{third}/test"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.submit(&format!("/stores/{third}/delete"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert!(!site.page("/stores").await.contains("third"));
    assert!(elsewhere.is_dir(), "what is in it stays");
}
