//! What the command line and a running server say of each other.

use serde_json::Value;

use super::{Place, Said};
use crate::support::served::{Served, free_port};

#[tokio::test]
async fn healthcheck_tells_a_ready_server_from_none() {
    let place = Place::new();
    let ask = |port: String| Said::from(place.command(&["healthcheck"]).env("PORT", port).output().unwrap());
    ask(free_port().to_string()).failed(1, "asking the server on port");
    let served = Served::start(place.folder.path(), &[]).await;
    let port = served.address().rsplit(':').next().unwrap().to_owned();
    assert_eq!(ask(port).ok().out.trim(), "ready");
}

#[tokio::test]
async fn the_printed_openapi_document_is_the_served_one() {
    let place = Place::new();
    let served = Served::start(place.folder.path(), &[]).await;
    let answered: Value = reqwest::get(served.url("/api/openapi.json")).await.unwrap().json().await.unwrap();
    assert_eq!(place.run(&["openapi"]).json(), answered);
}
