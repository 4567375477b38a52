//! What retention would delete, and why.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, Response},
};
use serde::Deserialize;

use super::{
    form::{self, PolicyForm},
    lines::{self, GROUPS},
};
use crate::{
    domain::{
        ids::{DatabaseId, PolicyId},
        page::{Page as Paged, PageRequest},
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
        pager::Pager,
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
    plans: Paged<GroupPlan>,
    pager: Pager,
    deleted: usize,
    bytes: u64,
}

/// One page of the groups; each comes whole.
fn paged(plans: Vec<GroupPlan>, page: PageRequest) -> Paged<GroupPlan> {
    let total = plans.len() as u64;
    let skipped = usize::try_from(page.offset()).unwrap_or(usize::MAX);
    Paged::new(plans.into_iter().skip(skipped).take(page.limit() as usize).collect(), page, total)
}

/// What a run would do now, by the policies that apply: each backup in each store, with every reason.
#[utoipa::path(get, path = "/api/retention-policies/plan", tag = "retention", params(Scope, PageRequest),
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api_plan(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(scope): Query<Scope>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    Ok(envelope::page(paged(retention::preview(&ctx, &user, scope.database_id, None).await?, page)))
}

/// What a stored policy does where it applies, or would do to all backups of one database.
#[utoipa::path(get, path = "/api/retention-policies/{id}/preview", tag = "retention", params(("id" = PolicyId, Path), Scope, PageRequest),
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<PolicyId>,
    Query(scope): Query<Scope>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    Ok(envelope::page(paged(retention::preview_of(&ctx, &user, id, scope.database_id).await?, page)))
}

/// What a policy would do that is not stored. Deletes nothing.
#[utoipa::path(post, path = "/api/retention-policies/preview", tag = "retention", params(PageRequest), request_body = Draft,
    responses((status = 200, body = Envelope<Vec<GroupPlan>>)))]
pub async fn api_draft(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(page): Query<PageRequest>,
    Body(draft): Body<Draft>,
) -> Result<Envelope<Vec<GroupPlan>>, Failure> {
    user.require(Permission::Configure)?;
    Ok(envelope::page(paged(retention::preview(&ctx, &user, draft.database_id, Some(draft.policy)).await?, page)))
}

/// GET /retention-policies/plan
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(scope): Query<Scope>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let plans = retention::preview(&ctx, &user, scope.database_id, None).await?;
    let deleted = plans.iter().map(|plan| plan.deleted).sum();
    let bytes = plans.iter().map(|plan| plan.deleted_bytes).sum();
    let plans = paged(plans, PageRequest { page: page.page, limit: GROUPS });
    let pager = Pager::new(&uri, &plans);
    Ok(render(&ctx, &Page { layout: layout.titled("What retention would delete"), plans, pager, deleted, bytes })?)
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
