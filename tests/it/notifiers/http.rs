//! The notifiers that speak HTTP, each against a sink that takes what the service's document asks for and nothing else.

use dbsnap::{
    domain::notice::{Notice, NoticeEvent, Severity},
    notifiers,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{
    failure, hostile, recovery, send,
    settings::leading_to,
    sink::{Judge, Received, Sink},
};
use crate::support::{
    tls::{AUTHORITY, Authority},
    tls_front,
};

type Verdict = Result<(u16, &'static str), String>;

/// What the service would say, as its documents have it: its success, or 400 with what is wrong.
fn judge(kind: &str) -> Judge {
    macro_rules! judges {
        ($($id:literal => $judge:ident),*) => {
            match kind {
                $($id => |received| said($judge(received)),)*
                other => panic!("no sink for {other} yet"),
            }
        };
    }
    judges!("webhook" => webhook, "slack" => slack, "discord" => discord, "teams" => teams, "telegram" => telegram, "ntfy" => ntfy,
        "gotify" => gotify, "pagerduty" => pagerduty)
}

fn said(verdict: Verdict) -> (u16, String) {
    verdict.map_or_else(|problem| (400, problem), |(status, body)| (status, body.to_owned()))
}

fn is(truth: bool, problem: &str) -> Result<(), String> {
    if truth { Ok(()) } else { Err(format!("invalid: {problem}")) }
}

fn short(value: &Value, limit: usize, name: &str) -> Result<(), String> {
    let length = value.as_str().ok_or(format!("{name} is no text: {value}"))?.chars().count();
    is((1..=limit).contains(&length), &format!("{name} has {length} characters, the limit is {limit}"))
}

fn posted(received: &Received, path: &str) -> Result<Value, String> {
    is(received.method == "POST" && received.path == path, &format!("{} {}", received.method, received.path))?;
    is(received.header("content-type") == "application/json", "the content type")?;
    serde_json::from_str(&received.body).map_err(|cause| cause.to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn webhook(received: &Received) -> Verdict {
    posted(received, "/hook")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret-of-the-hook").unwrap();
    mac.update(format!("{}.{}", received.header("x-dbsnap-timestamp"), received.body).as_bytes());
    let signature = received.header("x-dbsnap-signature").strip_prefix("sha256=").and_then(|text| hex::decode(text).ok());
    is(mac.verify_slice(&signature.ok_or("no signature")?).is_ok(), "the signature")?;
    is(received.header("authorization") == "Bearer abc" && received.header("x-team") == "data", "the headers")?;
    let notice: Notice = serde_json::from_str(&received.body).map_err(|cause| cause.to_string())?;
    is(
        received.header("x-dbsnap-event") == notice.event.as_str() && received.header("x-dbsnap-delivery") == notice.id.to_string(),
        "event",
    )?;
    Ok((204, ""))
}

/// docs.slack.dev: incoming webhooks, Block Kit.
fn slack(received: &Received) -> Verdict {
    let body = posted(received, "/services/T000/B000/a1b2c3")?;
    is(body["text"].is_string() && !body["text"].as_str().unwrap().contains("<!"), "no_text")?;
    is((1..=50).contains(&list(&body["blocks"]).len()), "the number of blocks")?;
    for block in list(&body["blocks"]) {
        match block["type"].as_str() {
            Some("header") => {
                is(block["text"]["type"] == "plain_text", "a header is plain text")?;
                short(&block["text"]["text"], 150, "header")?;
            }
            Some("section") => {
                is(block["text"].is_object() || block["fields"].is_array(), "a section has text or fields")?;
                is(list(&block["fields"]).len() <= 10, "fields of a section")?;
                list(&block["fields"]).iter().try_for_each(|field| short(&field["text"], 2000, "field"))?;
                if block["text"].is_object() {
                    short(&block["text"]["text"], 3000, "section")?;
                }
                if block["text"]["type"] == "mrkdwn" {
                    let text = block["text"]["text"].as_str().unwrap();
                    is(text.matches('<').count() == 1 && text.matches('|').count() == 1 && text.ends_with("|Open in DBSnap>"), "the link")?;
                }
            }
            other => return Err(format!("invalid_blocks: {other:?}")),
        }
    }
    Ok((200, "ok"))
}

/// discord.com/developers: execute webhook, embed limits.
fn discord(received: &Received) -> Verdict {
    let body = posted(received, "/api/webhooks/1/abc")?;
    is(body["allowed_mentions"]["parse"] == serde_json::json!([]), "mentions")?;
    let embeds = list(&body["embeds"]);
    is(embeds.len() == 1, "embeds")?;
    let embed = &embeds[0];
    short(&embed["title"], 256, "title")?;
    short(&embed["description"], 4096, "description")?;
    is(embed["color"].as_u64().is_some_and(|color| color <= 0xff_ff_ff), "color")?;
    is(list(&embed["fields"]).len() <= 25, "fields")?;
    let mut total = embed["title"].as_str().unwrap().chars().count() + embed["description"].as_str().unwrap().chars().count() + 6;
    for field in list(&embed["fields"]) {
        short(&field["name"], 256, "field name")?;
        short(&field["value"], 1024, "field value")?;
        total += field["name"].as_str().unwrap().chars().count() + field["value"].as_str().unwrap().chars().count();
    }
    is(total <= 6000, &format!("{total} characters in all"))?;
    let unescaped = embed["description"].as_str().unwrap().replace("\\@", "").replace("\\[", "").replace("\\<", "").replace("\\`", "");
    is(!unescaped.contains(['@', '[', '<', '`']), "markup")?;
    Ok((204, ""))
}

/// Workflows take an adaptive card in a message; a card has at most 28 KB.
fn teams(received: &Received) -> Verdict {
    let body = posted(received, "/workflows/1/triggers/manual/paths/invoke?sig=abc")?;
    is(received.body.len() < 28 << 10, &format!("{} bytes", received.body.len()))?;
    let attachment = &list(&body["attachments"])[0];
    is(body["type"] == "message" && attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "the message")?;
    let card = &attachment["content"];
    is(card["type"] == "AdaptiveCard" && card["version"] == "1.4", "the card")?;
    for block in list(&card["body"]) {
        is(block["type"] == "RichTextBlock", "text blocks read Markdown")?;
        is(list(&block["inlines"]).iter().all(|run| run["type"] == "TextRun" && run["text"].is_string()), "runs")?;
    }
    is(list(&card["actions"]).iter().all(|action| action["type"] == "Action.OpenUrl"), "actions")?;
    Ok((202, ""))
}

/// core.telegram.org: sendMessage, HTML style.
fn telegram(received: &Received) -> Verdict {
    let refused = |problem: String| format!("{{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: {problem}\"}}");
    let body = posted(received, "/bot123:ABC-def/sendMessage").map_err(refused)?;
    is(body["chat_id"] == "-100" && body["message_thread_id"] == 7 && body["parse_mode"] == "HTML", "chat").map_err(refused)?;
    let text = body["text"].as_str().unwrap_or_default();
    let mut bare = text.to_owned();
    for tag in ["<b>", "</b>", "</a>"] {
        bare = bare.replace(tag, "");
    }
    if let Some(start) = bare.find("<a href=\"https://dbsnap.example.org/") {
        let end = start + bare[start..].find("\">").ok_or_else(|| refused("can't parse entities".into()))? + 2;
        bare.replace_range(start..end, "");
    }
    is(!bare.contains(['<', '>', '"']), &format!("can't parse entities: {bare}")).map_err(refused)?;
    for entity in ["&lt;", "&gt;", "&amp;", "&quot;", "&#39;"] {
        bare = bare.replace(entity, "x");
    }
    is(!bare.contains('&'), "can't parse entities").map_err(refused)?;
    is((1..=4096).contains(&bare.encode_utf16().count()), "message is too long").map_err(refused)?;
    Ok((200, r#"{"ok":true,"result":{"message_id":1}}"#))
}

/// docs.ntfy.sh: publish as JSON.
fn ntfy(received: &Received) -> Verdict {
    let body = posted(received, "/")?;
    is(received.header("authorization") == "Bearer tk_abc", "unauthorized")?;
    is(body["topic"] == "dbsnap-alerts", "topic")?;
    is(body["message"].as_str().is_some_and(|message| (1..=4096).contains(&message.len())), "message above 4096 bytes")?;
    is(body["priority"].as_u64().is_some_and(|priority| (1..=5).contains(&priority)) && body["tags"].is_array(), "priority")?;
    short(&body["title"], 250, "title")?;
    Ok((200, r#"{"id":"x","event":"message"}"#))
}

/// gotify.net: create message.
fn gotify(received: &Received) -> Verdict {
    let body = posted(received, "/gotify/message")?;
    is(received.header("x-gotify-key") == "A-token", "unauthorized")?;
    is(body["message"].as_str().is_some_and(|message| !message.is_empty()) && body["title"].is_string(), "message")?;
    is(body["priority"].is_i64() && body["extras"]["client::display"]["contentType"] == "text/plain", "extras")?;
    Ok((200, r#"{"id":1}"#))
}

/// developer.pagerduty.com: events API v2, change events.
fn pagerduty(received: &Received) -> Verdict {
    let body = posted(received, if received.path.contains("change") { "/v2/change/enqueue" } else { "/v2/enqueue" })?;
    is(body["routing_key"] == "0123456789abcdef0123456789ABCDEF", "routing_key")?;
    let payload = &body["payload"];
    short(&payload["summary"], 1024, "summary")?;
    is(payload["timestamp"].is_string() && payload["custom_details"].is_object(), "payload")?;
    if received.path == "/v2/enqueue" {
        is(["trigger", "resolve"].iter().any(|action| body["event_action"] == *action), "event_action")?;
        short(&body["dedup_key"], 255, "dedup_key")?;
        short(&payload["source"], 255, "source")?;
        is(["critical", "error", "warning", "info"].iter().any(|severity| payload["severity"] == *severity), "severity")?;
    }
    is(received.body.len() < 512 << 10, "above 512 KB")?;
    Ok((202, r#"{"status":"success","message":"Event processed"}"#))
}

fn kinds() -> impl Iterator<Item = &'static str> {
    notifiers::registry().iter().map(|kind| kind.info().id).filter(|id| *id != "email")
}

#[tokio::test]
async fn every_notifier_delivers_what_its_service_asks_for() {
    for kind in kinds() {
        let sink = Sink::start(judge(kind)).await;
        for notice in [failure(), recovery()] {
            send(kind, &leading_to(kind, &sink.base()), &notice).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
            let taken = sink.taken();
            assert_eq!(taken.len(), 1, "{kind}");
            let body = taken[0].body.replace("\\\\", "").replace('\\', "");
            assert!(body.contains(&notice.title), "{kind}: {body}");
            assert!(body.contains("connection refused by db.internal"), "{kind} says why: {body}");
            assert!(body.contains("Check that the server runs, then run the backup again"), "{kind} says what to do: {body}");
            assert!(body.contains("3 of 3"), "{kind}: {body}");
            assert!(body.replace("&amp;", "&").contains("https://dbsnap.example.org/jobs/1?a=1&b=2"), "{kind} has a link: {body}");
        }
    }
}

#[tokio::test]
async fn hostile_names_are_shown_as_text_and_cut_in_every_form() {
    for kind in kinds() {
        let sink = Sink::start(judge(kind)).await;
        send(kind, &leading_to(kind, &sink.base()), &hostile()).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let taken = sink.taken();
        if kind != "webhook" {
            assert!(!taken[0].body.contains('\u{202e}') && !taken[0].body.contains("\\u001b"), "{kind} keeps control characters");
        }
        assert!(taken[0].headers.get("bcc").is_none());
    }
}

/// Characters that take the most room somewhere: two units in UTF-16, three bytes for one, an escape in JSON or HTML.
#[tokio::test]
async fn texts_of_the_widest_characters_keep_within_every_limit_and_still_say_it_all() {
    for wide in ["🐘", "漢", "\"", "\\", "&", "<", "*", "\n", "é", "👩‍👩‍👧‍👦"] {
        let long = wide.repeat(10_000);
        let notice = Notice {
            subject: format!("shop {long}"),
            title: format!("Backup of {long} failed"),
            what: format!("Why: {long}"),
            next_step: format!("Do this: {long}"),
            facts: (0..15).map(|number| (format!("Fact {number} {}", wide.repeat(400)), format!("Value {}", wide.repeat(800)))).collect(),
            group: format!("backup:{long}"),
            ..failure()
        };
        for kind in kinds() {
            let sink = Sink::start(judge(kind)).await;
            send(kind, &leading_to(kind, &sink.base()), &notice).await.unwrap_or_else(|error| panic!("{kind} {wide:?}: {error}"));
            let body = sink.taken()[0].body.replace('\\', "");
            for part in ["Backup of", "Why:", "Do this:", "Fact 0"] {
                assert!(body.contains(part), "{kind} {wide:?} lacks {part}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_is_not_and_the_error_says_so() {
    let sink = Sink::start(judge("webhook")).await;
    let other = Authority::new("somebody else's");
    for (identity, trusted) in [
        (AUTHORITY.server(&["127.0.0.1"]), true),
        (AUTHORITY.server(&["other.example.org"]), false),
        (AUTHORITY.expired(&["127.0.0.1"]), false),
        (other.server(&["127.0.0.1"]), false),
    ] {
        let port = tls_front::start(sink.address.port(), &identity, None);
        let mut settings = leading_to("webhook", &format!("https://127.0.0.1:{port}"));
        settings["caCertificate"] = AUTHORITY.certificate.clone().into();
        match send("webhook", &settings, &failure()).await {
            Ok(()) => assert!(trusted, "it was trusted"),
            Err(error) => {
                assert!(!trusted && error.retryable && error.to_string().to_lowercase().contains("certificate"), "{error}");
                assert!(!error.to_string().contains("Bearer"), "{error}");
            }
        }
        assert_eq!(sink.taken().len(), usize::from(trusted), "nothing is sent to whom it is not meant for");
        settings.as_object_mut().unwrap().remove("caCertificate");
        send("webhook", &settings, &failure()).await.expect_err("no authority of the system has signed it");
    }
}

#[tokio::test]
async fn a_service_that_repeats_the_request_in_its_refusal_gives_no_secret_away() {
    for kind in kinds() {
        let sink = Sink::start(|received| {
            let headers: String = received.headers.iter().map(|(name, value)| format!("{name}={}; ", value.to_str().unwrap())).collect();
            (400, format!("cannot {} {}\n{headers}", received.method, received.path))
        })
        .await;
        let error = send(kind, &leading_to(kind, &sink.base()), &failure()).await.expect_err(kind);
        let said = format!("{error} {error:?}");
        assert!(said.contains("cannot POST"), "{kind}: {said}");
        for secret in ["a1b2c3", "B000", "T000", "sig=abc", "123:ABC", "tk_abc", "A-token", "0123456789abcdef", "s3cret", "Bearer abc"] {
            assert!(!said.contains(secret), "{kind} tells {secret}: {said}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_the_service_said_and_whether_trying_again_helps() {
    for kind in kinds() {
        let sink = Sink::start(judge(kind)).await;
        let settings = leading_to(kind, &sink.base());
        for (status, retryable) in [(500, true), (503, true), (429, true), (400, false), (401, false), (404, false)] {
            sink.answer(status, "because of the moon");
            let error = send(kind, &settings, &failure()).await.expect_err(kind);
            let said = error.to_string();
            assert!(said.contains(&status.to_string()) && said.contains("because of the moon"), "{kind}: {said}");
            assert_eq!(error.retryable, retryable, "{kind} {status}: {said}");
            for secret in ["B000", "api/webhooks", "sig=abc", "123:ABC", "tk_abc", "A-token", "0123456789abcdef", "s3cret"] {
                assert!(!said.contains(secret), "{kind} tells a secret: {said}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_by_any_notifier() {
    let inside = Sink::start(|_| (200, r#"{"ok":true}"#.into())).await;
    for kind in kinds() {
        let sink = Sink::start(judge(kind)).await;
        for place in
            [inside.base().as_str(), "http://169.254.169.254/latest/meta-data/", "//metadata.google.internal/", "file:///etc/passwd"]
        {
            sink.answer(307, place);
            let error = send(kind, &leading_to(kind, &sink.base()), &failure()).await.expect_err(kind);
            assert!(error.to_string().contains("redirect") && !error.retryable, "{kind}: {error}");
        }
    }
    assert!(inside.taken().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn a_pagerduty_incident_closes_with_the_recovery_and_after_a_test() {
    let sink = Sink::start(judge("pagerduty")).await;
    let settings = leading_to("pagerduty", &sink.base());
    let test = Notice { event: NoticeEvent::Test, severity: Severity::Info, group: "test".into(), ..failure() };
    let restored = Notice { event: NoticeEvent::RestoreFinished, severity: Severity::Info, ..failure() };
    for notice in [failure(), recovery(), test, restored] {
        send("pagerduty", &settings, &notice).await.unwrap();
    }
    let seen: Vec<_> = sink
        .taken()
        .iter()
        .map(|received| {
            let body = received.json();
            let text = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
            (received.path.clone(), text("event_action"), text("dedup_key"))
        })
        .collect();
    let expected = [
        ("/v2/enqueue", "trigger", "backup:1"),
        ("/v2/enqueue", "resolve", "backup:1"),
        ("/v2/enqueue", "trigger", "test"),
        ("/v2/enqueue", "resolve", "test"),
        ("/v2/change/enqueue", "-", "-"),
    ];
    assert_eq!(seen, expected.map(|(path, action, key)| (path.to_owned(), action.to_owned(), key.to_owned())));
}

#[tokio::test]
async fn an_answer_that_is_not_telegrams_is_no_delivery() {
    let sink = Sink::start(judge("telegram")).await;
    sink.answer(200, "<html>a proxy's page</html>");
    let error = send("telegram", &leading_to("telegram", &sink.base()), &failure()).await.unwrap_err();
    assert!(error.to_string().contains("does not say"), "{error}");
}
