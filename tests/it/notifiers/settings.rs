//! Settings of every kind of notifier.

use dbsnap::{error::Kind, notifiers};
use serde_json::{Value, json};

use super::{failure, send};

/// Settings of a kind that lead to `base`, an address without a path.
pub fn leading_to(kind: &str, base: &str) -> Value {
    match kind {
        "webhook" => {
            json!({"url": format!("{base}/hook"), "secret": "s3cret-of-the-hook", "headers": "Authorization: Bearer abc\nX-Team: data"})
        }
        "slack" => json!({"url": format!("{base}/services/T000/B000/a1b2c3")}),
        "discord" => json!({"url": format!("{base}/api/webhooks/1/abc")}),
        "teams" => json!({"url": format!("{base}/workflows/1/triggers/manual/paths/invoke?sig=abc")}),
        "telegram" => json!({"baseUrl": base, "token": "123:ABC-def", "chatId": "-100", "threadId": 7}),
        "ntfy" => json!({"baseUrl": base, "topic": "dbsnap-alerts", "token": "tk_abc"}),
        "gotify" => json!({"baseUrl": format!("{base}/gotify/"), "token": "A-token"}),
        "pagerduty" => json!({"baseUrl": base, "routingKey": "0123456789abcdef0123456789ABCDEF"}),
        "email" => {
            json!({"host": base.trim_start_matches("http://"), "security": "none", "from": "DBSnap <dbsnap@example.org>", "to": ["a@example.org"]})
        }
        other => panic!("no settings of {other} here yet"),
    }
}

#[tokio::test]
async fn no_notifier_goes_to_a_metadata_address() {
    for kind in notifiers::registry() {
        let id = kind.info().id;
        for host in ["169.254.169.254", "metadata.google.internal"] {
            let error = send(id, &leading_to(id, &format!("http://{host}")), &failure()).await.expect_err(id);
            assert!(error.kind == Kind::Validation && error.to_string().contains("metadata"), "{id}: {error}");
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_the_name_of_their_field() {
    let email = |more: Value| {
        let mut settings = leading_to("email", "mail.example.org");
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    for (kind, settings, field) in [
        ("webhook", json!({"url": "ftp://example.org"}), "url"),
        ("webhook", json!({"url": "https://example.org", "headers": "Host: other"}), "headers"),
        ("slack", json!({}), "url"),
        ("telegram", json!({"token": "1:a/../../x", "chatId": "1"}), "token"),
        ("ntfy", json!({"topic": "a/b"}), "topic"),
        ("ntfy", json!({"topic": "a", "token": "t", "username": "u"}), "username"),
        ("ntfy", json!({"topic": "a", "baseUrl": "https://ntfy.sh?x"}), "baseUrl"),
        ("pagerduty", json!({"routingKey": "short"}), "routingKey"),
        ("email", email(json!({"to": ["a@example.org\r\nBcc: b@example.org"]})), "to"),
        ("email", email(json!({"from": "nobody"})), "from"),
        ("email", email(json!({"host": "169.254.169.254"})), "host"),
        ("email", email(json!({"host": "[fe80::1]"})), "host"),
        ("email", email(json!({"host": "2852039166"})), "host"),
        ("email", email(json!({"host": "metadata.google.internal"})), "host"),
        ("email", email(json!({"username": "u"})), "password"),
        ("email", email(json!({"username": "u", "password": "p"})), "security"),
        ("email", email(json!({"security": "tls", "caCertificate": "no PEM"})), "caCertificate"),
    ] {
        let error = send(kind, &settings, &failure()).await.expect_err(field);
        assert!(error.fields.iter().any(|found| found.0 == field), "{kind} {field}: {error}");
    }
}
