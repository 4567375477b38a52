//! What retention would delete, and why.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, Response},
};
use serde::Deserialize;

use super::form::{self, PolicyForm, SHOWN};
use crate::{
    domain::{
        ids::{DatabaseId, PolicyId},
        permissions::Permission,
        retention::{Action, GroupPlan, Policy},
    },
    services::{Ctx, retention},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, Id, Query, User},
        filters,
        html::{Layout, render},
    },
};

/// Which backups are looked at.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct Scope {
    /// One database; all of them when it is left out.
    database_id: Option<DatabaseId>,
}

/// A policy to try out.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Draft {
    policy: Policy,
    /// One database; all of them when it is left out.
    #[serde(default)]
    database_id: Option<DatabaseId>,
}

#[derive(Template)]
#[template(path = "pages/retention/plan.html")]
struct Page {
    layout: Layout,
    plans: Vec<GroupPlan>,
    deleted: usize,
    bytes: u64,
}

/// What a run would do now, by the policies that apply: each backup in each store, with every reason.
#[utoipa::path(get, path = "/api/retention-policies/plan", tag = "retention", params(Scope),
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api_plan(State(ctx): State<Arc<Ctx>>, user: User, Query(scope): Query<Scope>) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    Ok(envelope::ok(retention::preview(&ctx, &user, scope.database_id, None).await?))
}

/// What a stored policy does where it applies, or would do to all backups of one database.
#[utoipa::path(get, path = "/api/retention-policies/{id}/preview", tag = "retention", params(("id" = PolicyId, Path), Scope),
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<PolicyId>,
    Query(scope): Query<Scope>,
) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    Ok(envelope::ok(retention::preview_of(&ctx, &user, id, scope.database_id).await?))
}

/// What a policy would do that is not stored. Deletes nothing.
#[utoipa::path(post, path = "/api/retention-policies/preview", tag = "retention", request_body = Draft,
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api_draft(State(ctx): State<Arc<Ctx>>, user: User, Body(draft): Body<Draft>) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    user.require(Permission::Configure)?;
    Ok(envelope::ok(retention::preview(&ctx, &user, draft.database_id, Some(draft.policy)).await?))
}

/// GET /retention-policies/plan
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Query(scope): Query<Scope>) -> Result<Html<String>, Failure> {
    let plans = retention::preview(&ctx, &user, scope.database_id, None).await?;
    let deleted = plans.iter().map(|plan| plan.deleted).sum();
    let bytes = plans.iter().map(|plan| plan.deleted_bytes).sum();
    Ok(render(&ctx, &Page { layout: layout.titled("What retention would delete"), plans, deleted, bytes })?)
}

/// POST /retention-policies/preview: the form as typed, with what it would do.
pub async fn part(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    user.require(Permission::DeleteBackups)?;
    let stored = match form.parse("id")? {
        Some(id) => Some(retention::get(&ctx, &user, id).await?),
        None => None,
    };
    let error = form::read(&form).and_then(|input| input.policy.check()).err();
    form::draw(&ctx, &user, layout, stored, PolicyForm::typed(&form), error).await
}
