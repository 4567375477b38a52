//! The retention policies, and which applies to the backups that no schedule made.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    services::{
        Ctx,
        retention::{self, ManualRetention, PolicyView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
        filters,
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/retention/list.html")]
struct Page {
    layout: Layout,
    policies: Vec<PolicyView>,
    manual: Vec<ManualRetention>,
    limit_days: u32,
}

/// The retention policies, each with what it applies to.
#[utoipa::path(get, path = "/api/retention-policies", tag = "retention", responses((status = 200, body = Envelope<Vec<PolicyView>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<PolicyView>>, Failure> {
    Ok(envelope::ok(retention::list(&ctx, &user).await?))
}

/// GET /retention-policies
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Html<String>, Failure> {
    let page = Page {
        layout: layout.titled("Retention"),
        policies: retention::list(&ctx, &user).await?,
        manual: retention::manual(&ctx, &user).await?,
        limit_days: ctx.config.max_backup_retention_days,
    };
    Ok(render(&ctx, &page)?)
}
