//! Retrying and dropping many dead letters at once.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    error::{Error, Result},
    services::{
        Ctx,
        jobs::dead::{self, Outcome, Which},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, User},
    },
};

/// Queues dead letters once more: those named in `ids`, or with `all` every one (of one `kind`, of one `databaseId`), at most
/// 1000. What cannot be retried, such as a restore or what is about a removed database, is told with the reason and stays.
#[utoipa::path(post, path = "/api/jobs/retry", tag = "jobs", request_body = Which, responses((status = 200, body = Envelope<Outcome>)))]
pub async fn api_retry(State(ctx): State<Arc<Ctx>>, user: User, Body(which): Body<Which>) -> Result<Envelope<Outcome>, Failure> {
    Ok(envelope::ok(dead::retry_each(&ctx, &user, which).await?))
}

/// Takes dead letters off the list, the same way. The jobs stay in the history with their logs.
#[utoipa::path(post, path = "/api/jobs/drop", tag = "jobs", request_body = Which, responses((status = 200, body = Envelope<Outcome>)))]
pub async fn api_drop(State(ctx): State<Arc<Ctx>>, user: User, Body(which): Body<Which>) -> Result<Envelope<Outcome>, Failure> {
    Ok(envelope::ok(dead::drop_each(&ctx, &user, which).await?))
}

/// POST /jobs/retry
pub async fn submit_retry(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Redirect, Failure> {
    let outcome = dead::retry_each(&ctx, &user, chosen(&form)?).await?;
    Ok(back(if outcome.refused.is_empty() { "retried" } else { "retried-some" }))
}

/// POST /jobs/drop
pub async fn submit_drop(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Redirect, Failure> {
    let outcome = dead::drop_each(&ctx, &user, chosen(&form)?).await?;
    Ok(back(if outcome.refused.is_empty() { "dropped" } else { "dropped-some" }))
}

fn chosen(form: &Form) -> Result<Which> {
    let all = form.has("all");
    let ids = if all { Vec::new() } else { form.all("ids").map(str::parse).collect::<Result<Vec<_>>>()? };
    if !all && ids.is_empty() {
        return Err(Error::validation("no jobs are chosen").hint("go back and tick those you mean"));
    }
    Ok(Which { ids, all, kind: form.parse("kind")?, database_id: form.parse("databaseId")? })
}

fn back(notice: &str) -> Redirect {
    Redirect::to(&format!("/jobs?dead=true&notice={notice}"))
}
