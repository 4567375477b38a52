//! Server-sent events: whole, in order, resumable.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;

use super::site::Site;

/// One event of a stream.
#[derive(Debug)]
struct Sent {
    name: String,
    id: Option<i64>,
    data: String,
}

/// Reads events until the stream ends; panics after half a minute.
async fn read(response: Response) -> Vec<Sent> {
    let mut body = response.bytes_stream();
    let reading = async {
        let mut text = String::new();
        while let Some(piece) = body.next().await {
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        text
    };
    let text = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the stream ends with the job");
    text.split("\n\n").filter(|block| block.contains("event:")).map(parse).collect()
}

fn parse(block: &str) -> Sent {
    let all = |name: &str| block.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect::<Vec<_>>();
    Sent { name: all("event:").join(""), id: all("id:").first().map(|id| id.parse().unwrap()), data: all("data:").join("\n") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_stream_has_every_line_once_and_goes_on_after_the_last_one_seen() {
    let site = Site::open().await;
    let database = site.add_database("shop", 2000).await;
    let backup = site.api(Method::POST, "/api/backups", serde_json::json!({"databaseId": database})).await;
    let job = backup.json["data"]["jobId"].as_str().unwrap().to_owned();
    let live = read(site.get(&format!("/api/events?job={job}")).await).await;
    let stored = site.api(Method::GET, &format!("/api/jobs/{job}/logs"), Value::Null).await.json;
    let stored: Vec<i64> = stored["data"].as_array().unwrap().iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    let seen: Vec<i64> = live.iter().filter(|event| event.name == "log").map(|event| event.id.unwrap()).collect();
    assert_eq!(seen, stored, "live lines are the stored ones, once each, in order");
    assert!(live.last().unwrap().data.contains("\"status\":\"completed\""), "{:?}", live.last());

    let middle = stored[stored.len() / 2];
    let resumed =
        site.ask(Method::GET, &format!("/api/events?job={job}")).header("last-event-id", middle.to_string()).send().await.unwrap();
    let rest: Vec<i64> = read(resumed).await.iter().filter_map(|event| event.id).collect();
    assert_eq!(rest, stored.iter().copied().filter(|seq| *seq > middle).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_stream_ends_with_done() {
    let site = Site::open().await;
    let database = site.add_database("shop", 10).await;
    let backup = site.back_up(&database).await;
    let job = backup["jobId"].as_str().unwrap();
    let parts = read(site.get(&format!("/jobs/{job}/live")).await).await;
    assert_eq!(parts.last().unwrap().name, "done");
    assert!(parts.iter().any(|part| part.name == "log" && part.data.starts_with("<li id=\"log-")), "{parts:?}");
}
