//! What two people do at the same moment: neither undoes what the other did, and nothing is left half done.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

/// The names and values of the settings that are written down.
fn stored(site: &Site) -> Vec<(String, String)> {
    let catalogue = site.catalogue();
    let mut rows = catalogue.prepare("SELECT name, value FROM settings WHERE name LIKE 'setting.%' ORDER BY name").unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// The version that the form of a section carries.
fn version(page: &str, section: &str) -> String {
    let form = page.split(&format!("name=\"section\" value=\"{section}\"")).nth(1).unwrap();
    form.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_written_one_by_one_and_a_form_that_is_out_of_date_is_refused() {
    let site = Site::idle().await;
    let put = async |body: Value| site.api(Method::PUT, "/api/system/settings", body).await;
    let shown = site.page("/settings").await;
    let (history, maintenance) = (version(&shown, "History"), version(&shown, "Maintenance"));
    assert_eq!(put(json!({"logRetentionDays": 10})).await.status, StatusCode::OK);
    // What is not named, and what is as it was, is not written: its default may become a better one.
    assert_eq!(put(json!({"auditRetentionDays": 100, "historyRetentionDays": 90})).await.status, StatusCode::OK);
    let expected = [("setting.auditRetentionDays", "100"), ("setting.logRetentionDays", "10")];
    assert_eq!(stored(&site), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let old = [("historyRetentionDays", "91"), ("logRetentionDays", "30"), ("auditRetentionDays", "730")];
    let form = |section: &'static str, version: String, fields: &[(&'static str, &'static str)]| {
        let mut form = vec![("section", section.to_owned()), ("version", version)];
        form.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        form
    };
    let submit = async |form: Vec<(&'static str, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.submit("/settings", &form).await
    };
    let refused = submit(form("History", history.clone(), &old)).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let page = refused.text().await.unwrap();
    assert!(page.contains("somebody else has changed these settings"), "{page}");
    assert_eq!(stored(&site).len(), 2, "nothing was written");
    // Another section is not concerned, and who has seen the change may save.
    let other = submit(form("Maintenance", maintenance, &[("maintenanceHour", "4"), ("verifyBackups", "1")])).await;
    assert_eq!(other.status(), StatusCode::SEE_OTHER);
    assert_ne!(version(&page, "History"), history);
    assert_eq!(submit(form("History", version(&page, "History"), &old)).await.status(), StatusCode::SEE_OTHER);
    let now = site.api(Method::GET, "/api/system/settings", Value::Null).await.json["data"].clone();
    assert_eq!([&now["historyRetentionDays"], &now["logRetentionDays"], &now["maintenanceHour"]], [&json!(91), &json!(30), &json!(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_a_schedule_on_and_off_undoes_no_change_that_is_made_at_the_same_moment() {
    let site = Site::idle().await;
    let database = site.add_database("shop", 1).await;
    let named = |name: &str| json!({"name": name, "databaseId": database, "cron": "0 3 * * *", "timeZone": "UTC"});
    let schedule = site.api(Method::POST, "/api/schedules", named("first")).await.id();
    let path = format!("/api/schedules/{schedule}");
    for round in 0..30 {
        let (name, switch) = (format!("round {round}"), format!("{path}/{}", if round % 2 == 0 { "disable" } else { "enable" }));
        let (renamed, switched) = tokio::join!(site.api(Method::PUT, &path, named(&name)), site.api(Method::POST, &switch, Value::Null));
        assert_eq!((renamed.status, switched.status), (StatusCode::OK, StatusCode::OK));
        let now = site.api(Method::GET, &path, Value::Null).await.json["data"].clone();
        assert_eq!(now["name"], name, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_job_cannot_be_queued_leaves_no_row_that_stands_in_the_way() {
    let site = Site::idle().await;
    let database = site.add_database("shop", 1).await;
    let start = async || site.api(Method::POST, "/api/backups", json!({"databaseId": database})).await;
    let catalogue = site.catalogue();
    catalogue.execute_batch("CREATE TRIGGER refused BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    assert!(start().await.status.is_server_error());
    catalogue.execute_batch("DROP TRIGGER refused").unwrap();
    let started = start().await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.json);
}
