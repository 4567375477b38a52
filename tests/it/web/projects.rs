//! Projects over the API and by plain forms.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

const SOME_ID: &str = "01a1fbdc-63f9-7335-9501-1f48e899c322";

async fn project(site: &Site, name: &str, environment: &str) -> String {
    let made = site.api(Method::POST, "/api/projects", json!({"name": name, "environment": environment})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    made.id()
}

async fn put_into(site: &Site, database: &str, project: &str) -> Value {
    let place = format!("/api/databases/{database}");
    let stored = site.api(Method::GET, &place, Value::Null).await.json["data"].clone();
    let input = json!({"name": stored["name"], "engine": stored["engine"], "settings": stored["settings"], "projectId": project});
    site.api(Method::PUT, &place, input).await.json
}

async fn names(site: &Site, path: &str) -> Vec<String> {
    let listed = site.api(Method::GET, path, Value::Null).await.json;
    let items = listed["data"].as_array().unwrap_or_else(|| panic!("{path}: {listed}"));
    assert_eq!(listed["meta"]["total"], items.len(), "{listed}");
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

async fn audited(site: &Site) -> Vec<Value> {
    site.api(Method::GET, "/api/audit?limit=200", Value::Null).await.json["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_lives_its_life_over_the_api() {
    let site = Site::idle().await;
    let first = site.api(Method::GET, "/api/projects", Value::Null).await.json;
    assert_eq!((&first["data"][0]["name"], &first["data"][0]["environment"]), (&json!("Default"), &json!("prod")));
    let made = site.api(Method::POST, "/api/projects", json!({"name": " Shop ", "environment": "staging"})).await;
    let place = format!("/api/projects/{}", made.id());
    assert_eq!((&made.json["data"]["name"], &made.json["data"]["databases"]), (&json!("Shop"), &json!(0)));
    let again = site.api(Method::POST, "/api/projects", json!({"name": "Shop"})).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "CONFLICT"), "{}", again.json);
    let nameless = site.api(Method::POST, "/api/projects", json!({"name": "  "})).await;
    assert_eq!(nameless.json["error"]["details"]["fields"][0]["field"], "name", "{}", nameless.json);
    let odd = site.api(Method::POST, "/api/projects", json!({"name": "x", "environment": "test"})).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST, "{}", odd.json);

    assert_eq!(names(&site, "/api/projects?environment=staging").await, ["Shop"]);
    assert_eq!(names(&site, "/api/projects?q=SHO").await, ["Shop"]);
    let second = site.api(Method::GET, "/api/projects?limit=1&page=2", Value::Null).await.json;
    assert_eq!((&second["data"][0]["name"], &second["meta"]["total"]), (&json!("Shop"), &json!(2)));

    let renamed = site.api(Method::PUT, &place, json!({"name": "Web shop"})).await.json;
    assert_eq!((&renamed["data"]["name"], &renamed["data"]["environment"]), (&json!("Web shop"), &json!("staging")));
    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.status, StatusCode::OK);
    assert_eq!(site.api(Method::GET, &place, Value::Null).await.status, StatusCode::NOT_FOUND);
    let actions: Vec<_> = audited(&site).await.iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["project.delete", "project.update", "project.create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_put_into_a_project_moved_and_listed_by_it() {
    let site = Site::idle().await;
    let (live, trial) = (project(&site, "Live", "prod").await, project(&site, "Trial", "dev").await);
    let shop = site.add_database("shop", 1).await;
    site.add_database("other", 1).await;
    let default = site.api(Method::GET, &format!("/api/databases/{shop}"), Value::Null).await.json;
    assert_eq!(default["data"]["projectName"], "Default", "without a choice it goes into the oldest project");

    let moved = put_into(&site, &shop, &trial).await;
    assert_eq!((&moved["data"]["projectName"], &moved["data"]["environment"]), (&json!("Trial"), &json!("dev")), "{moved}");
    assert_eq!(names(&site, &format!("/api/databases?projectId={trial}")).await, ["shop"]);
    assert_eq!(names(&site, &format!("/api/databases?projectId={live}")).await, Vec::<String>::new());
    assert_eq!(site.api(Method::GET, &format!("/api/projects/{trial}"), Value::Null).await.json["data"]["databases"], 1);
    let settings = moved["data"]["settings"].clone();
    let kept = json!({"name": "shop 2", "engine": "sqlite", "settings": settings});
    let kept = site.api(Method::PUT, &format!("/api/databases/{shop}"), kept).await.json;
    assert_eq!(kept["data"]["projectId"], json!(trial), "a change that names no project leaves it where it is");

    for (method, place) in [(Method::POST, "/api/databases".to_owned()), (Method::PUT, format!("/api/databases/{shop}"))] {
        let input = json!({"name": "lost", "engine": "sqlite", "settings": settings, "projectId": SOME_ID});
        let refused = site.api(method, &place, input).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json);
        assert_eq!(refused.json["error"]["details"]["fields"][0]["field"], "projectId", "{}", refused.json);
    }
    let moves: Vec<_> = audited(&site).await.into_iter().filter(|event| event["action"] == "database.move").collect();
    assert_eq!((moves.len(), &moves[0]["details"]["to"]), (1, &json!(trial)), "{moves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_holds_databases_and_the_last_one_stay() {
    let site = Site::idle().await;
    let default = site.api(Method::GET, "/api/projects", Value::Null).await.json["data"][0]["id"].as_str().unwrap().to_owned();
    let last = site.api(Method::DELETE, &format!("/api/projects/{default}"), Value::Null).await;
    assert_eq!((last.status, last.code()), (StatusCode::CONFLICT, "CONFLICT"));
    assert!(last.json["error"]["message"].as_str().unwrap().contains("the last project"), "{}", last.json);

    let team = project(&site, "Team", "prod").await;
    let mut held = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        held.push(site.add_database(name, 1).await);
    }
    let refused = site.api(Method::DELETE, &format!("/api/projects/{default}"), Value::Null).await;
    assert_eq!(refused.code(), "CONFLICT", "{}", refused.json);
    let said = refused.json["error"]["message"].as_str().unwrap();
    assert!(said.contains("'a', 'b', 'c', 'd', 'e' and 2 more"), "{said}");
    for database in &held {
        put_into(&site, database, &team).await;
    }
    assert_eq!(site.api(Method::DELETE, &format!("/api/projects/{default}"), Value::Null).await.status, StatusCode::OK);
    // The first migration's project is gone: what names none goes into the one that is left.
    let new = site.add_database("new", 1).await;
    let new = site.api(Method::GET, &format!("/api/databases/{new}"), Value::Null).await.json;
    assert_eq!(new["data"]["projectId"], json!(team));
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_kept_by_plain_forms_and_shown_where_there_is_a_choice() {
    let site = Site::idle().await;
    let shop = site.add_database("shop", 1).await;
    assert!(!site.page("/databases/new").await.contains("name=\"project\""), "with one project there is nothing to choose");
    assert!(site.page("/projects").await.contains("Projects keep databases of one purpose together"));

    let wrong = site.submit("/projects", &[("name", ""), ("environment", "dev")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("value=\"dev\" selected"), "the form comes back as it was typed");
    let added = site.submit("/projects", &[("name", "Trial <b>"), ("environment", "dev")]).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let trial = site.api(Method::GET, "/api/projects?environment=dev", Value::Null).await.json["data"][0]["id"].clone();
    let trial = trial.as_str().unwrap();
    let page = site.page("/projects").await;
    assert!(page.contains(&format!("/projects/{trial}/delete")) && !page.contains("Trial <b>"), "{page}");

    assert!(site.page("/databases/new").await.contains(&format!("<option value=\"{trial}\">")));
    let stored = site.api(Method::GET, &format!("/api/databases/{shop}"), Value::Null).await.json;
    let path = stored["data"]["settings"]["path"].as_str().unwrap();
    let form = [("engine", "sqlite"), ("name", "shop"), ("settings.path", path), ("project", trial)];
    let moved = site.submit(&format!("/databases/{shop}"), &form).await;
    assert_eq!(moved.status(), StatusCode::SEE_OTHER, "{:?}", moved.text().await);
    let edit = site.page(&format!("/databases/{shop}/edit")).await;
    assert!(edit.contains(&format!("<option value=\"{trial}\" selected>")), "{edit}");
    let list = site.page(&format!("/databases?projectId={trial}")).await;
    assert!(list.contains("<span class=\"badge\">dev</span>") && list.contains("title=\"shop\""), "{list}");

    let refused = site.submit(&format!("/projects/{trial}/delete"), &[]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("shop"));
    let gone = [("engine", "sqlite"), ("name", "shop"), ("settings.path", path), ("project", SOME_ID)];
    let gone = site.submit(&format!("/databases/{shop}"), &gone).await;
    assert_eq!(gone.status(), StatusCode::BAD_REQUEST);
    assert!(gone.text().await.unwrap().contains("there is no project"), "told beside the field");
}
