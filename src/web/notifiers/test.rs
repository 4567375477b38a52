//! Trying a notifier out.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::ids::NotifierId,
    services::{
        Ctx,
        notices::notifiers::{self, TestResult},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
        html::{Layout, render},
    },
};

/// The whole page, so that it works without JavaScript; htmx takes the result out of it.
#[derive(Template)]
#[template(path = "pages/notifiers/tested.html")]
struct Page {
    layout: Layout,
    id: NotifierId,
    name: String,
    address: String,
    result: TestResult,
}

/// Sends a test now and tells what came of it.
#[utoipa::path(post, path = "/api/notifiers/{id}/test", tag = "notifiers", params(("id" = NotifierId, Path)),
    responses((status = 200, body = Envelope<TestResult>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<NotifierId>) -> Result<Envelope<TestResult>, Failure> {
    Ok(envelope::ok(notifiers::test(&ctx, &user, id).await?))
}

/// POST /notifiers/{id}/test
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<NotifierId>) -> Result<Html<String>, Failure> {
    let result = notifiers::test(&ctx, &user, id).await?;
    let view = notifiers::get(&ctx, &user, id).await?;
    let layout = layout.titled(format!("Test of {}", view.name));
    Ok(render(&ctx, &Page { layout, id, name: view.name, address: view.address, result })?)
}
