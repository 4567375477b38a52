//! Adding, changing and removing a notifier.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};

use super::form::{self, NotifierForm};
use crate::{
    domain::{
        ids::NotifierId,
        notice::Delivery,
        page::{Page, PageRequest},
        permissions::Permission,
    },
    services::{
        Ctx,
        notices::notifiers::{self, NotifierInput, NotifierView},
    },
    web::{
        envelope::{self, Envelope, Nothing},
        error::{Failure, status},
        extract::{Body, Form, Id, Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

/// Which kind's form is shown.
#[derive(serde::Deserialize)]
pub struct Choice {
    kind: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/notifiers/form.html")]
struct FormPage {
    layout: Layout,
    form: NotifierForm,
    /// What it was told; none of a new one.
    log: Option<(Page<Delivery>, Pager)>,
}

/// Adds a notifier. Secret settings are sealed and never returned.
#[utoipa::path(post, path = "/api/notifiers", tag = "notifiers", request_body = NotifierInput,
    responses((status = 201, body = Envelope<NotifierView>)))]
pub async fn api_create(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<NotifierInput>,
) -> Result<(StatusCode, Envelope<NotifierView>), Failure> {
    Ok(envelope::created(notifiers::create(&ctx, &user, input).await?))
}

/// Changes a notifier. A secret setting that is left out stays as it is; its kind cannot be changed.
#[utoipa::path(put, path = "/api/notifiers/{id}", tag = "notifiers", params(("id" = NotifierId, Path)), request_body = NotifierInput,
    responses((status = 200, body = Envelope<NotifierView>)))]
pub async fn api_update(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<NotifierId>,
    Body(input): Body<NotifierInput>,
) -> Result<Envelope<NotifierView>, Failure> {
    Ok(envelope::ok(notifiers::update(&ctx, &user, id, input).await?))
}

/// Removes a notifier and its log of deliveries.
#[utoipa::path(delete, path = "/api/notifiers/{id}", tag = "notifiers", params(("id" = NotifierId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api_delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<NotifierId>) -> Result<Envelope<Nothing>, Failure> {
    notifiers::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// GET /notifiers/new
pub async fn new_page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Query(choice): Query<Choice>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let form = NotifierForm::blank(&ctx, &user, choice.kind.as_deref()).await?;
    Ok(page(&ctx, layout, form)?.into_response())
}

/// The page of a form that is not saved yet.
pub(super) fn page(ctx: &Ctx, layout: Layout, form: NotifierForm) -> Result<Html<String>, Failure> {
    let title = if form.id.is_some() { form.name.value.clone() } else { "Add a notifier".to_owned() };
    Ok(render(ctx, &FormPage { layout: layout.titled(title), form, log: None })?)
}

/// GET /notifiers/{id}/edit
pub async fn edit_page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Id(id): Id<NotifierId>,
    Query(page): Query<PageRequest>,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let view = notifiers::get(&ctx, &user, id).await?;
    let form = NotifierForm::stored(&ctx, &user, &view).await?;
    let log = notifiers::deliveries(&ctx, &user, id, page).await?;
    let pager = Pager::new(&uri, &log);
    Ok(render(&ctx, &FormPage { layout: layout.titled(view.name), form, log: Some((log, pager)) })?.into_response())
}

/// POST /notifiers
pub async fn create(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let result = match form::read(&ctx, &user, &form, form.text("kind")).await {
        Ok(input) => notifiers::create(&ctx, &user, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(view) => Ok(Redirect::to(&format!("/notifiers/{}/edit?notice=notifier-added", view.id)).into_response()),
        Err(error) => {
            let shown = NotifierForm::typed(&ctx, &user, &form, None, Some(&error)).await?;
            Ok((status(&error), page(&ctx, layout, shown)?).into_response())
        }
    }
}

/// POST /notifiers/{id}
pub async fn update(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<NotifierId>,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let view = notifiers::get(&ctx, &user, id).await?;
    let result = match form::read(&ctx, &user, &form, &view.kind).await {
        Ok(input) => notifiers::update(&ctx, &user, id, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(Redirect::to("/notifiers?notice=saved").into_response()),
        Err(error) => {
            let shown = NotifierForm::typed(&ctx, &user, &form, Some(&view), Some(&error)).await?;
            Ok((status(&error), page(&ctx, layout, shown)?).into_response())
        }
    }
}

/// POST /notifiers/{id}/delete
pub async fn delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<NotifierId>) -> Result<Redirect, Failure> {
    notifiers::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/notifiers?notice=notifier-removed"))
}
