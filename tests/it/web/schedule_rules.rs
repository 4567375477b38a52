//! What may be done to schedules that others, or backups, hang on.

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use super::{schedule_form::form, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn removing_what_others_run_after_names_them_and_asks() {
    let site = Site::idle().await;
    let (one, two) = (site.add_database("one", 1).await, site.add_database("two", 1).await);
    let parent = site.api(Method::POST, "/api/schedules", json!({"name": "parent", "databaseId": one, "cron": "@daily"})).await.id();
    let child = json!({"name": "child", "databaseId": two, "afterScheduleId": parent});
    let child = site.api(Method::POST, "/api/schedules", child).await.id();
    for path in [format!("/api/schedules/{parent}"), format!("/api/databases/{one}")] {
        let refused = site.api(Method::DELETE, &path, Value::Null).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "CONFLICT"));
        let details = &refused.json["error"]["details"];
        assert_eq!(details["fields"][0], json!({"field": format!("dependents.{child}"), "message": "'child' runs after 'parent'"}));
        assert!(details["hint"].as_str().unwrap().contains("disableDependents=true"));
    }
    for path in [format!("/schedules/{parent}"), format!("/databases/{one}")] {
        let page = site.page(&path).await;
        assert!(page.contains("Switch off what runs after it") && page.contains(&format!("/schedules/{child}\">child</a>")), "{page}");
    }
    assert!(!site.page(&format!("/schedules/{child}")).await.contains("Switch off what runs after it"));
    assert_eq!(site.submit(&format!("/schedules/{parent}/delete"), &[]).await.status(), StatusCode::CONFLICT);
    let sure = [("confirm", "one"), ("disableDependents", "true")];
    assert_eq!(site.submit(&format!("/databases/{one}/delete"), &sure).await.status(), StatusCode::SEE_OTHER);
    let left = site.api(Method::GET, &format!("/api/schedules/{child}"), Value::Null).await.json["data"].clone();
    assert_eq!((&left["enabled"], &left["afterScheduleId"], &left["lastRun"]["status"]), (&json!(false), &Value::Null, &json!("missed")));
    let page = site.page(&format!("/schedules/{child}")).await;
    assert!(page.contains("It never runs: the schedule that it ran after was removed") && !page.contains("Switch on</button>"), "{page}");
    assert!(site.page("/schedules").await.contains("! never"));
    let refused = site.api(Method::POST, &format!("/api/schedules/{child}/enable"), Value::Null).await;
    assert_eq!(refused.code(), "CONFLICT", "{}", refused.json);
    let trail = site.api(Method::GET, "/api/audit", Value::Null).await.json.to_string();
    assert!(trail.contains("schedule.disable") && trail.contains("\"removed\":\"parent\""), "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_over_backups_takes_the_right_to_delete_them() {
    let site = Site::locked().await;
    site.set_up().await;
    let shop = site.add_database("shop", 1).await;
    let policy = async |name: &str, days: u32| {
        let made = site.api(Method::POST, "/api/retention-policies", json!({"name": name, "mode": "age", "maxAgeDays": days})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
        made.id()
    };
    let (long, short) = (policy("long", 300).await, policy("short", 1).await);
    let cookie = site.sign_in_as("operator").await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let put = async |method: Method, path: &str, body: &Value| {
        let request = client.request(method, format!("{}{path}", site.base)).header("cookie", &cookie).json(body);
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let with = |policy: &Value| json!({"name": "nightly", "databaseId": shop, "cron": "5 23 * * *", "retentionPolicyId": policy});
    // Without backups it is no more than a plan.
    let (status, made) = put(Method::POST, "/api/schedules", &with(&json!(short))).await;
    assert_eq!(status, StatusCode::CREATED, "an operator may choose any policy for a new schedule: {made}");
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    let place = format!("/api/schedules/{id}");
    assert_eq!(put(Method::PUT, &place, &with(&json!(long))).await.0, StatusCode::OK);
    let run = site.api(Method::POST, &format!("{place}/run"), Value::Null).await.json;
    let backup = site.wait(&format!("/api/backups/{}", run["data"]["backupId"].as_str().unwrap())).await;
    assert_eq!(backup["status"], "completed");

    let (status, refused) = put(Method::PUT, &place, &with(&json!(short))).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::FORBIDDEN, &json!("FORBIDDEN")), "{refused}");
    assert_eq!(refused["error"]["details"]["fields"][0]["field"], "retentionPolicyId");
    // The policy of a destination is one too.
    let store = backup["storeId"].clone();
    let mut around = with(&json!(long));
    around["destinations"] = json!([{"storeId": store, "retentionPolicyId": short}]);
    assert_eq!(put(Method::PUT, &place, &around).await.0, StatusCode::FORBIDDEN);
    let form = form(&shop, &[("retentionPolicyId", &short)]);
    let request = client.post(format!("{}/schedules/{id}", site.base)).header("cookie", &cookie).form(&form);
    let page = request.send().await.unwrap();
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    let page = page.text().await.unwrap();
    assert!(page.contains("another policy takes the right to delete backups") && page.contains("value=\"nightly\""), "{page}");
    let unchanged = site.api(Method::GET, &place, Value::Null).await.json;
    assert_eq!(unchanged["data"]["retentionPolicyId"], json!(long));

    // The same policy, other times; then none at all, which keeps everything.
    let mut later = with(&json!(long));
    later["cron"] = json!("@weekly");
    assert_eq!(put(Method::PUT, &place, &later).await.0, StatusCode::OK);
    assert_eq!(put(Method::PUT, &place, &with(&Value::Null)).await.0, StatusCode::OK);
    assert_eq!(put(Method::PUT, &place, &with(&json!(short))).await.0, StatusCode::FORBIDDEN, "not in two steps either");
    let admin = site.api(Method::PUT, &place, with(&json!(short))).await;
    assert_eq!(admin.status, StatusCode::OK, "{}", admin.json);
}
