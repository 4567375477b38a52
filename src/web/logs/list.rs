//! Searching the logs of all jobs.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, http::Uri, response::Html};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    domain::{
        filter::LogFilter,
        job::{JobKind, LogLevel},
    },
    services::{
        Ctx,
        logs::{self, LogPage},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Query, User},
        filters,
        html::{Layout, render},
    },
};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Place {
    /// Only lines before this `seq`.
    pub before: Option<i64>,
}

#[derive(Template)]
#[template(path = "pages/logs/list.html")]
struct List {
    layout: Layout,
    found: LogPage,
    filter: LogFilter,
    filtered: bool,
    /// The chosen days as the form sent them.
    days: (String, String),
    older: Option<String>,
    /// It shows older lines than the newest.
    newest: Option<String>,
    text: String,
    ndjson: String,
}

/// Log lines of all jobs, the newest first, at most 200; ask again with `before` for older ones.
#[utoipa::path(get, path = "/api/logs", tag = "jobs", params(LogFilter, Place),
    responses((status = 200, body = Envelope<LogPage>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<LogFilter>,
    Query(place): Query<Place>,
) -> Result<Envelope<LogPage>, Failure> {
    Ok(envelope::ok(logs::search(&ctx, &user, &filter, place.before).await?))
}

/// GET /logs
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: Uri,
    Query(filter): Query<LogFilter>,
    Query(place): Query<Place>,
) -> Result<Html<String>, Failure> {
    let found = logs::search(&ctx, &user, &filter, place.before).await?;
    let filtered = !query(&uri, &[]).is_empty();
    let page = List {
        layout: layout.titled("Logs"),
        older: found.next.map(|next| address("/logs", &uri, &[("before", &next.to_string())])),
        newest: place.before.map(|_| address("/logs", &uri, &[])),
        text: address("/api/logs/export", &uri, &[("format", "text")]),
        ndjson: address("/api/logs/export", &uri, &[("format", "ndjson")]),
        days: (sent(&uri, "startDate"), sent(&uri, "endDate")),
        found,
        filter,
        filtered,
    };
    Ok(render(&ctx, &page)?)
}

/// `path` with the filters of this page and what is added to them.
fn address(path: &str, uri: &Uri, more: &[(&str, &str)]) -> String {
    match query(uri, more) {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn query(uri: &Uri, more: &[(&str, &str)]) -> String {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let kept = pairs.filter(|pair| !matches!(&*pair.0, "before" | "notice") && !pair.1.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).extend_pairs(more).finish()
}

fn sent(uri: &Uri, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|pair| pair.0 == name).map(|pair| pair.1.into_owned()).unwrap_or_default()
}
