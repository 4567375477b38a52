//! The configured stores.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{database::Settings, fields::SettingsExt, ids::StoreId},
    services::{
        Ctx,
        stores::{self, StoreView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/stores/list.html")]
struct Page {
    layout: Layout,
    stores: Vec<StoreView>,
}

/// Where a store is, for people.
fn place(settings: &Settings) -> &str {
    settings.text("path").unwrap_or_default()
}

/// Configured stores, without secrets.
#[utoipa::path(get, path = "/api/stores", tag = "stores", responses((status = 200, body = Envelope<Vec<StoreView>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<StoreView>>, Failure> {
    Ok(envelope::ok(stores::list(&ctx, &user).await?))
}

/// GET /stores
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Html<String>, Failure> {
    let stores = stores::list(&ctx, &user).await?;
    Ok(render(&ctx, &Page { layout: layout.titled("Stores"), stores })?)
}
