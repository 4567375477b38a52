//! A job as it runs, as parts of a page: what `sse-swap` puts into the log and the progress panel.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Html,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt};

use crate::{
    domain::{
        events::Progress,
        ids::JobId,
        job::{Job, LogLevel, LogLine},
        permissions::Actor,
    },
    error::{Kind, Result},
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

/// The log on the page of a job, a backup or a restore: what is stored, and where the live stream goes on.
pub struct LiveLog {
    pub lines: Vec<LogLine>,
    /// The job, while it runs: the page then follows it.
    pub running: Option<Job>,
    /// The page's own address.
    pub here: String,
    /// The last line the page has; the live stream goes on after it.
    pub after: i64,
    /// The log level chosen; empty for all.
    pub level: &'static str,
}

impl LiveLog {
    /// Of a job that is over and said nothing.
    #[cfg(test)]
    pub fn over(here: &str) -> Self {
        Self { lines: Vec::new(), running: None, here: here.to_owned(), after: 0, level: "" }
    }

    /// Of `job`, as the page at `here` shows it; `over` when what the page is about has ended.
    pub async fn load(ctx: &Ctx, actor: &Actor, job: Option<JobId>, over: bool, here: String, level: Option<LogLevel>) -> Result<Self> {
        let (lines, running) = match job {
            // Old jobs go before what they made.
            Some(id) if over => match jobs::logs(ctx, actor, id, level, 0).await {
                Err(error) if error.kind == Kind::NotFound => (Vec::new(), None),
                lines => (lines?, None),
            },
            // The lines first: one that is written in between comes with the stream.
            Some(id) => (jobs::logs(ctx, actor, id, level, 0).await?, Some(jobs::get(ctx, actor, id).await?)),
            None => (Vec::new(), None),
        };
        let after = lines.last().map_or(0, |line| line.seq);
        Ok(Self { lines, running, here, after, level: level.map_or("", LogLevel::as_str) })
    }
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

fn part(ctx: &Ctx, happening: Happening, level: Option<LogLevel>) -> Option<Event> {
    let written = |html: Result<Html<String>>| match html {
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
