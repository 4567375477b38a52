//! One schedule: what it does, what comes next, what became of its slots.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::words;
use crate::{
    domain::{
        ids::ScheduleId,
        page::{Page, PageRequest},
        schedule::{Overlap, ScheduleRun},
    },
    services::{
        Ctx,
        schedules::{self, Dependent, Parents, ScheduleView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/schedules/show.html")]
struct Show {
    layout: Layout,
    view: ScheduleView,
    next: Vec<String>,
    /// Label and text of what is set otherwise than by itself.
    facts: Vec<(&'static str, String)>,
    /// What runs after it.
    dependents: Vec<Dependent>,
    runs: Page<ScheduleRun>,
    pager: Pager,
    here: String,
}

/// One schedule with its latest run. The heartbeat address is never shown.
#[utoipa::path(get, path = "/api/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 200, body = Envelope<ScheduleView>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Envelope<ScheduleView>, Failure> {
    Ok(envelope::ok(schedules::get(&ctx, &user, id).await?))
}

/// What became of its slots, the latest first.
#[utoipa::path(get, path = "/api/schedules/{id}/runs", tag = "schedules", params(("id" = ScheduleId, Path), PageRequest),
    responses((status = 200, body = Envelope<Vec<ScheduleRun>>)))]
pub async fn api_runs(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<ScheduleId>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<ScheduleRun>>, Failure> {
    Ok(envelope::page(schedules::runs(&ctx, &user, id, page).await?))
}

/// GET /schedules/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Id(id): Id<ScheduleId>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let view = schedules::get(&ctx, &user, id).await?;
    let dependents = schedules::dependents(&ctx, &user, Parents::One(id)).await?;
    let runs = schedules::runs(&ctx, &user, id, PageRequest { limit: page.limit.min(20), ..page }).await?;
    let next = if view.schedule.enabled { schedules::next_runs(&ctx, &user, id, 5).await? } else { Vec::new() };
    let next = next.into_iter().map(|run| words::slot(run, &view.schedule)).collect();
    let pager = Pager::new(&uri, &runs);
    let (layout, facts, here) = (layout.titled(view.schedule.name.clone()), facts(&view), uri.to_string());
    Ok(render(&ctx, &Show { layout, view, next, facts, dependents, runs, pager, here })?)
}

fn facts(view: &ScheduleView) -> Vec<(&'static str, String)> {
    let details = &view.schedule.details;
    let seconds = |seconds: u64| format!("{seconds} s");
    let mut facts = vec![
        ("Runs", words::when(view)),
        ("After an outage", if details.catch_up { "the newest missed slot is caught up" } else { "missed slots are reported" }.to_owned()),
        (
            "While one runs",
            match details.overlap {
                Overlap::Skip => "the next slot is left out",
                Overlap::Queue => "the next slot waits",
            }
            .to_owned(),
        ),
    ];
    facts.extend(details.attempts.map(|attempts| ("Attempts", attempts.to_string())));
    facts.extend(details.limits.timeout_seconds.map(|limit| ("Ends after", seconds(limit))));
    facts.extend(details.limits.stall_timeout_seconds.map(|limit| ("Ends when silent for", seconds(limit))));
    if details.priority != 0 {
        facts.push(("Priority", details.priority.to_string()));
    }
    facts.extend(details.blackouts.iter().map(|blackout| ("Not", super::form::blackout_text(blackout))));
    if let Some(load) = &details.load {
        let most = load.max_host_load.map(|most| format!("host load below {most}"));
        let connections = load.max_active_connections.map(|most| format!("fewer than {most} active connections"));
        let both: Vec<String> = most.into_iter().chain(connections).collect();
        facts.push(("Waits for", format!("{}, at most {} minutes", both.join(" and "), load.latest_after_minutes)));
    }
    facts.extend(details.hooks.iter().map(|hook| ("Hook", words::hook(hook))));
    if view.schedule.heartbeat {
        facts.push(("Heartbeat", "set, not shown".to_owned()));
    }
    facts
}
