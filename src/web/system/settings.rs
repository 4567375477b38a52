//! Settings that can be changed while it runs, and what one wants to know about the product.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::Error,
    services::{
        Ctx, stores,
        stores::StoreView,
        system::{self, SystemStatus},
    },
    web::{
        envelope::{self, Envelope, Open},
        error::{Failure, message, status},
        extract::{Body, Form, User},
        filters,
        forms::{self, FormField},
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/system/settings.html")]
struct Page {
    layout: Layout,
    fields: Vec<FormField>,
    problem: Option<String>,
    about: SystemStatus,
    stores: Vec<Place>,
}

/// A store's name and where it is.
struct Place {
    name: String,
    place: String,
}

impl From<StoreView> for Place {
    fn from(store: StoreView) -> Self {
        let path = store.settings.text("path").map(str::to_owned);
        Self { place: path.unwrap_or_else(|| store.kind_label.to_owned()), name: store.name }
    }
}

/// The settings, with defaults filled in.
#[utoipa::path(get, path = "/api/system/settings", tag = "system", responses((status = 200, body = Envelope<Open>)))]
pub async fn api_get(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Open>, Failure> {
    Ok(envelope::ok(Open(system::settings_get(&ctx, &user).await?)))
}

/// Changes settings; those not named stay.
#[utoipa::path(put, path = "/api/system/settings", tag = "system", request_body = Open,
    responses((status = 200, body = Envelope<Open>)))]
pub async fn api_put(State(ctx): State<Arc<Ctx>>, user: User, Body(Open(changes)): Body<Open>) -> Result<Envelope<Open>, Failure> {
    Ok(envelope::ok(Open(system::settings_put(&ctx, &user, changes).await?)))
}

/// GET /settings
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    let settings = system::settings_get(&ctx, &user).await?;
    draw(&ctx, &user, layout, &settings, None).await
}

/// POST /settings
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    let changes = forms::read("", system::SETTINGS, &form);
    match system::settings_put(&ctx, &user, changes.clone()).await {
        Ok(_) => Ok(Redirect::to("/settings?notice=saved").into_response()),
        Err(error) if error.fields.is_empty() => Err(error.into()),
        Err(error) => draw(&ctx, &user, layout, &changes, Some(&error)).await,
    }
}

async fn draw(ctx: &Ctx, user: &User, layout: Layout, settings: &Settings, error: Option<&Error>) -> Result<Response, Failure> {
    let problems = error.map_or(&[][..], |error| &error.fields);
    let page = Page {
        layout: layout.titled("Settings"),
        fields: forms::draw("", system::SETTINGS, settings, &[], problems),
        problem: error.map(message),
        about: system::status(ctx, user).await?,
        stores: stores::list(ctx, user).await?.into_iter().map(Place::from).collect(),
    };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}
