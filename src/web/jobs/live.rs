//! A job as it runs, as parts of a page: what `sse-swap` puts into the log and the progress panel.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};

use crate::{
    domain::{events::Progress, ids::JobId, job::LogLine},
    services::{Ctx, jobs},
    web::{
        error::Failure,
        events::follow::{self, Happening, last_seen},
        extract::{Id, Query, User},
        filters,
        html::render,
        jobs::logs::LogQuery,
    },
};

#[derive(Template)]
#[template(path = "parts/log_line.html")]
struct Line {
    line: LogLine,
}

#[derive(Template)]
#[template(path = "parts/progress.html")]
struct Meter {
    progress: Progress,
}

/// GET /jobs/{id}/live: events `log`, `progress` and, at the end, `done`.
pub async fn stream(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<JobId>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    jobs::get(&ctx, &user, id).await?;
    let after = last_seen(&headers).unwrap_or(query.after);
    let happenings = follow::job(Arc::clone(&ctx), user.0.actor.clone(), id, after);
    let parts = happenings.filter_map(move |happening| {
        let part = part(&ctx, happening, query.level);
        std::future::ready(part.map(Ok))
    });
    Ok(Sse::new(parts).keep_alive(KeepAlive::default()))
}

fn part(ctx: &Ctx, happening: Happening, level: Option<crate::domain::job::LogLevel>) -> Option<Event> {
    let written = |html: crate::error::Result<axum::response::Html<String>>| match html {
        Ok(html) => Some(html.0),
        Err(error) => {
            tracing::error!(%error, "a live part could not be written");
            None
        }
    };
    match happening {
        Happening::Log(line) if level.is_some_and(|level| (line.level as u8) < level as u8) => None,
        Happening::Log(line) => {
            let seq = line.seq;
            Some(Event::default().event("log").id(seq.to_string()).data(written(render(ctx, &Line { line }))?))
        }
        Happening::Progress(progress) => Some(Event::default().event("progress").data(written(render(ctx, &Meter { progress }))?)),
        Happening::Changed(_) => None,
        Happening::Over(job) => Some(Event::default().event("done").data(job.status.as_str())),
    }
}
