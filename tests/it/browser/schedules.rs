//! A schedule made in a browser: the next runs follow what is typed.

use super::driver::{Browser, WIDE};
use crate::web::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn the_form_follows_what_is_typed_and_the_schedule_it_makes_runs_at_a_click() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 5).await;
    let browser = Browser::open(&site.base).await;
    browser.look(WIDE, "light").await;
    browser.go(&format!("/schedules/new?databaseId={shop}")).await;
    browser.fill("#name", "every noon").await;
    browser.click("input[value=custom]").await;
    browser.fill("input[name=cron]", "61 * * * *").await;
    browser.wait_text("the minute '61' is not a number from 0 to 59").await;
    browser.fill("input[name=cron]", "45 12 * * *").await;
    browser.fill("#timeZone", "Asia/Kathmandu").await;
    browser.wait_text("12:45 +0545").await;
    browser.shoot("schedule-typed-wide-light").await;
    browser.click("button.primary[type=submit]").await;
    browser.wait_text("No slot has come yet").await;
    // The history follows the run without the page being loaded again.
    browser.click("form[action$='/run'] button").await;
    browser.wait_text("completed").await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.close().await;
}
