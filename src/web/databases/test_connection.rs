//! Trying a connection, stored or not yet.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::form;
use crate::{
    domain::{database::AccountFacts, ids::DatabaseId, permissions::Permission, time::Moment},
    error::Error,
    services::{
        Ctx,
        databases::{self, DatabaseInput, Tested},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, Id, User},
        filters,
        html::render,
    },
};

/// What the probe found, or why it failed, as a part of the form's page.
#[derive(Template)]
#[template(path = "parts/probe.html")]
struct Outcome {
    outcome: Result<Tested, Error>,
    /// Of a stored database: what was learned is kept already.
    stored: bool,
}

impl Outcome {
    /// The probe's warnings but those of the account, which has a place of its own.
    fn warnings<'a>(&self, tested: &'a Tested) -> Vec<&'a String> {
        let of_account = tested.probe.account.as_ref().map(AccountFacts::warnings).unwrap_or_default();
        tested.probe.warnings.iter().filter(|warning| !of_account.contains(warning)).collect()
    }

    /// True when a certificate ends within a month.
    fn ends_soon(&self, expires_at: &Moment) -> bool {
        const MONTH: i64 = 30 * 24 * 60 * 60 * 1000;
        expires_at.0 - Moment::now().0 < MONTH
    }
}

/// Connects to a configured database and looks around; changes nothing.
#[utoipa::path(post, path = "/api/databases/{id}/test-connection", tag = "databases", params(("id" = DatabaseId, Path)),
    responses((status = 200, body = Envelope<Tested>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Envelope<Tested>, Failure> {
    Ok(envelope::ok(databases::test(&ctx, &user, id).await?))
}

/// Connects with settings that are not stored.
#[utoipa::path(post, path = "/api/databases/test-connection", tag = "databases", request_body = DatabaseInput,
    responses((status = 200, body = Envelope<Tested>)))]
pub async fn api_unsaved(State(ctx): State<Arc<Ctx>>, user: User, Body(input): Body<DatabaseInput>) -> Result<Envelope<Tested>, Failure> {
    Ok(envelope::ok(databases::test_input(&ctx, &user, input, None).await?))
}

/// POST /databases/test: the form's test button. Secrets left blank are taken from the database being edited.
pub async fn form_part(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Html<String>, Failure> {
    user.require(Permission::Configure)?;
    let existing = form.parse::<DatabaseId>("id")?;
    let outcome = match form::read(&form) {
        Ok(input) => databases::test_input(&ctx, &user, input, existing).await,
        Err(error) => Err(error),
    };
    Ok(render(&ctx, &Outcome { outcome, stored: false })?)
}

/// POST /databases/{id}/test: the button on the database's page.
pub async fn stored_part(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DatabaseId>) -> Result<Html<String>, Failure> {
    user.require(Permission::RunBackups)?;
    let outcome = databases::test(&ctx, &user, id).await;
    Ok(render(&ctx, &Outcome { outcome, stored: true })?)
}
