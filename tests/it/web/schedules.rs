//! Schedules over the API and by plain forms.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_lives_its_life_over_the_api() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 3).await;
    let input = json!({"name": "nightly", "databaseId": shop, "cron": "30 2 * * *", "timeZone": "Europe/Berlin",
        "heartbeatUrl": "https://hc.example/geheim", "blackouts": [{"from": "08:00", "to": "18:00"}]});
    let made = site.api(Method::POST, "/api/schedules", input.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let (id, place) = (made.id(), format!("/api/schedules/{}", made.id()));
    let again = site.api(Method::POST, "/api/schedules", input.clone()).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.json);
    let shown = site.api(Method::GET, &place, Value::Null).await.json;
    assert_eq!((&shown["data"]["databaseName"], &shown["data"]["heartbeat"]), (&json!("shop"), &json!(true)));
    assert!(!shown.to_string().contains("geheim"));
    let next = site.api(Method::GET, &format!("{place}/next-runs?count=3"), Value::Null).await.json;
    let next = next["data"].as_array().unwrap();
    assert_eq!((next.len(), &next[0]), (3, &shown["data"]["nextRunAt"]));

    let mut changed = input.clone();
    changed["cron"] = json!("@hourly");
    changed["heartbeatUrl"] = json!("");
    let changed = site.api(Method::PUT, &place, changed).await.json;
    assert_eq!((&changed["data"]["cron"], &changed["data"]["heartbeat"]), (&json!("@hourly"), &json!(false)));
    let off = site.api(Method::POST, &format!("{place}/disable"), Value::Null).await.json;
    assert_eq!((&off["data"]["enabled"], &off["data"]["nextRunAt"]), (&json!(false), &Value::Null));
    let listed = site.api(Method::GET, &format!("/api/schedules?databaseId={shop}&enabled=true"), Value::Null).await.json;
    assert_eq!(listed["meta"]["total"], 0);

    let run = site.api(Method::POST, &format!("{place}/run"), Value::Null).await;
    assert_eq!(run.status, StatusCode::ACCEPTED, "{}", run.json);
    let backup = site.wait(&format!("/api/backups/{}", run.json["data"]["backupId"].as_str().unwrap())).await;
    assert_eq!((&backup["status"], &backup["type"], &backup["scheduleId"]), (&json!("completed"), &json!("hourly"), &json!(id)));
    let on = site.api(Method::POST, &format!("{place}/enable"), Value::Null).await.json;
    assert!(on["data"]["nextRunAt"].is_string());
    let runs = site.api(Method::GET, &format!("{place}/runs"), Value::Null).await.json;
    assert_eq!(runs["meta"]["total"], 1);

    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.status, StatusCode::OK);
    assert_eq!(site.api(Method::GET, &place, Value::Null).await.status, StatusCode::NOT_FOUND);
    let kept = site.api(Method::GET, &format!("/api/backups/{}", backup["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(kept.status, StatusCode::OK, "its backups stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_schedule_is_refused_and_says_which_field() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 3).await;
    for (input, field) in [
        (json!({"name": "x", "databaseId": shop, "cron": "0 0 31 4 *"}), "cron"),
        (json!({"name": "x", "databaseId": shop, "cron": "@daily", "timeZone": "Nowhere/At_All"}), "timeZone"),
        (json!({"name": "x", "databaseId": shop, "cron": "@daily", "heartbeatUrl": "http://169.254.169.254/ping"}), "heartbeatUrl"),
        (json!({"name": "x", "databaseId": shop, "cron": "@daily", "hooks": [{"stage": "after", "url": "http://2852039166/"}]}), "hooks.0"),
        (
            json!({"name": "x", "databaseId": shop, "cron": "@daily", "retentionPolicyId": "01a1fbdc-63f9-7335-9501-1f48e899c322"}),
            "retentionPolicyId",
        ),
        (json!({"name": "x", "databaseId": "01a1fbdc-63f9-7335-9501-1f48e899c322", "cron": "@daily"}), "databaseId"),
    ] {
        let refused = site.api(Method::POST, "/api/schedules", input).await;
        assert_eq!((refused.status, &refused.json["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("VALIDATION_ERROR")));
        assert_eq!(refused.json["error"]["details"]["fields"][0]["field"], field, "{}", refused.json);
    }
    let unknown = site.api(Method::POST, "/api/schedules", json!({"name": "x", "databaseId": shop, "cron": "@daily", "crom": 1})).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "a misspelt field is not passed over");
    assert!(unknown.json["error"]["details"]["hint"].as_str().unwrap().contains("/api/openapi.json"), "{}", unknown.json);
    let preview =
        site.api(Method::POST, "/api/schedules/preview", json!({"cron": "0 12 * * *", "timeZone": "Asia/Kathmandu", "count": 4})).await;
    let runs = preview.json["data"].as_array().unwrap();
    assert!(runs.len() == 4 && runs.iter().all(|run| run.as_str().unwrap().contains("T06:15:00")), "{}", preview.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_added_changed_switched_off_and_removed_by_plain_forms() {
    let site = Site::open().await;
    assert!(site.page("/schedules").await.contains("Add a database first"));
    let shop = site.add_database("shop", 3).await;
    assert!(site.page(&format!("/schedules/new?databaseId={shop}")).await.contains("Next runs"));
    let wrong = [("name", "x"), ("databaseId", shop.as_str()), ("frequency", "custom"), ("cron", "0 0 31 2 *"), ("timeZone", "UTC")];
    let refused = site.submit("/schedules", &wrong).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let text = refused.text().await.unwrap();
    assert!(text.contains("no month has such a day") && text.contains("value=\"0 0 31 2 *\""), "the form comes back as it was typed");

    let weekly = [
        ("name", "weekends"),
        ("databaseId", &shop),
        ("frequency", "weekly"),
        ("weeklyDay", "6"),
        ("weeklyTime", "03:15"),
        ("timeZone", "Europe/Berlin"),
        ("enabled", "true"),
        ("blackouts", "08:00-18:00 monday friday"),
        ("hook.0.stage", "before"),
        ("hook.0.seconds", "30"),
        ("hook.0.run", "freeze-app"),
        ("hook.0.arguments", "--all\r\n"),
        ("hook.1.stage", "after"),
        ("hook.1.run", "https://example.com/done"),
        ("heartbeatUrl", "https://hc.example/geheim"),
        ("maxHostLoad", "0.8"),
        ("memoryMib", "512"),
    ];
    let added = site.submit("/schedules", &weekly).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER, "{:?}", added.text().await);
    let place = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let made = site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"].clone();
    assert_eq!((&made["cron"], &made["catchUp"]), (&json!("15 3 * * 6"), &json!(false)));
    assert_eq!(made["hooks"][0]["command"], json!(["freeze-app", "--all"]));
    assert_eq!(made["limits"]["child"]["memoryBytes"], 512 * 1024 * 1024);
    let form = site.page(&format!("{place}/edit")).await;
    assert!(form.contains("08:00-18:00 monday friday") && form.contains("set, not shown") && !form.contains("geheim"), "{form}");
    assert!(site.page(&place).await.contains("host load below 0.8"));
    assert!(site.page(&format!("/databases/{shop}")).await.contains("weekends"));
    assert!(site.page("/").await.contains("weekends"));

    let daily = [
        ("name", "daily"),
        ("databaseId", shop.as_str()),
        ("frequency", "daily"),
        ("dailyTime", "23:05"),
        ("timeZone", "UTC"),
        ("enabled", "true"),
    ];
    assert_eq!(site.submit(&place, &daily).await.status(), StatusCode::SEE_OTHER);
    let changed = site.api(Method::GET, &format!("/api{place}"), Value::Null).await.json["data"].clone();
    assert_eq!((&changed["cron"], &changed["heartbeat"], &changed["blackouts"]), (&json!("5 23 * * *"), &json!(true), &json!([])));
    site.submit(&format!("{place}/enabled"), &[("enabled", "false")]).await;
    assert!(site.page(&place).await.contains("It is switched off"));
    assert_eq!(site.submit(&format!("{place}/delete"), &[]).await.headers()["location"], "/schedules?notice=schedule-removed");
    assert_eq!(site.get(&place).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_tells_the_next_runs_while_it_is_typed() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 1).await;
    let part = site
        .submit("/schedules/preview", &[("databaseId", &shop), ("frequency", "hourly"), ("minute", "20"), ("timeZone", "Asia/Kathmandu")])
        .await;
    let text = part.text().await.unwrap();
    assert!(text.matches("<li>").count() == 5 && text.contains(":20 +0545") && !text.contains("<html"), "{text}");
    let wrong = site.submit("/schedules/preview", &[("frequency", "custom"), ("cron", "61 * * * *")]).await;
    assert!(wrong.status().is_success(), "the part says what is wrong");
    assert!(wrong.text().await.unwrap().contains("the minute &#39;61&#39;"));
}
