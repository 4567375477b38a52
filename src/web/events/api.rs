//! /api/events: what happens, as server-sent events with JSON.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_stream::wrappers::BroadcastStream;

use super::follow::{self, Happening, last_seen};
use crate::{
    domain::{events::Event, ids::JobId, permissions::Permission},
    services::{Ctx, jobs},
    web::{
        error::Failure,
        extract::{Query, User},
    },
};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only this job: its log from the beginning (or from `Last-Event-ID`), then live; the stream ends with the job.
    job: Option<JobId>,
}

/// Server-sent events `job`, `progress`, `log` and `backup`, each with the JSON of an Event. With `job`, log lines carry
/// their `seq` as event id, and `Last-Event-ID` resumes after it. The stream is closed every few minutes: reconnect.
#[utoipa::path(get, path = "/api/events", tag = "events", params(EventQuery),
    responses((status = 200, content_type = "text/event-stream", body = Event)))]
pub async fn stream(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    user.require(Permission::View)?;
    let events = match query.job {
        Some(id) => {
            jobs::get(&ctx, &user, id).await?;
            let happenings = follow::job(Arc::clone(&ctx), user.0.actor.clone(), id, last_seen(&headers).unwrap_or(0));
            happenings.filter_map(move |happening| std::future::ready(sent(&told(id, happening)))).boxed()
        }
        None => {
            let ended = Arc::clone(&ctx);
            let all = BroadcastStream::new(ctx.events.subscribe());
            let end = async move {
                tokio::select! {
                    () = ended.shutdown.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_secs(300)) => {}
                }
            };
            // A reader that lags misses events; it can ask for what it needs.
            all.take_until(end).filter_map(|event| std::future::ready(event.ok().and_then(|event| sent(&event)))).boxed()
        }
    };
    Ok(Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default()).into_response())
}

fn told(id: JobId, happening: Happening) -> Event {
    match happening {
        Happening::Log(line) => Event::Log { line },
        Happening::Progress(progress) => Event::Progress { job_id: id, progress },
        Happening::Changed(job) | Happening::Over(job) => Event::from(&job),
    }
}

/// The event in the stream's own words; `None` when it cannot be written, which is logged.
fn sent(event: &Event) -> Option<Sent> {
    let name = match event {
        Event::Job { .. } => "job",
        Event::Progress { .. } => "progress",
        Event::Log { .. } => "log",
        Event::Backup { .. } => "backup",
    };
    let sent = Sent::default().event(name);
    let sent = if let Event::Log { line } = event { sent.id(line.seq.to_string()) } else { sent };
    sent.json_data(event).inspect_err(|error| tracing::error!(%error, "an event could not be written")).ok()
}
