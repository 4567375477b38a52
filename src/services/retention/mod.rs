//! Retention: policies, previews, and runs that delete exactly what the preview says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Ctx, audit, copies, databases, jobs};
use crate::{
    db::{self, retention::Judgement},
    domain::{
        filter::JobFilter,
        ids::{DatabaseId, OrganizationId, PolicyId},
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::{Actor, Permission},
        retention::{GroupPlan, Policy, RetentionPolicy},
        schedule::Schedule,
    },
    error::{Error, Kind, Result},
};

mod run;

pub(super) use run::execute;

/// Once a day everything is judged, whether backups are made or not.
const DAILY_MS: i64 = 24 * 60 * 60 * 1000;

/// A retention policy as a person or a program describes it.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyInput {
    pub name: String,
    #[serde(flatten)]
    pub policy: Policy,
}

/// A policy and what it applies to.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    #[serde(flatten)]
    pub policy: RetentionPolicy,
    /// In words, such as `the schedule 'nightly'`.
    pub used_by: Vec<String>,
}

/// The policy of the backups of a database that no schedule made.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualRetention {
    pub database_id: DatabaseId,
    pub database_name: String,
    /// `None` keeps them all, up to MAX_BACKUP_RETENTION_DAYS.
    pub policy_id: Option<PolicyId>,
}

pub async fn list(ctx: &Ctx, actor: &Actor) -> Result<Vec<PolicyView>> {
    actor.require(Permission::View)?;
    let mut views = Vec::new();
    for policy in db::retention_policies::list(&ctx.db, actor.organization_id).await? {
        views.push(view(ctx, actor, policy).await?);
    }
    Ok(views)
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: PolicyId) -> Result<PolicyView> {
    actor.require(Permission::View)?;
    view(ctx, actor, db::retention_policies::get(&ctx.db, actor.organization_id, id).await?).await
}

/// Adds a policy. Errors with every field that is not valid, and with `CONFLICT` when the name is taken.
pub async fn create(ctx: &Ctx, actor: &Actor, input: PolicyInput) -> Result<PolicyView> {
    require(actor)?;
    let (name, policy) = check(input)?;
    let now = ctx.now();
    let policy = RetentionPolicy { id: PolicyId::new(), name, policy, created_at: now, updated_at: now };
    db::retention_policies::insert(&ctx.db, actor.organization_id, &policy).await?;
    audit::record(ctx, actor, "retention.policy.create", policy.id, json!({ "name": policy.name, "policy": policy.policy })).await?;
    view(ctx, actor, policy).await
}

/// Changes a policy. Nothing is deleted before the next run.
pub async fn update(ctx: &Ctx, actor: &Actor, id: PolicyId, input: PolicyInput) -> Result<PolicyView> {
    require(actor)?;
    let old = db::retention_policies::get(&ctx.db, actor.organization_id, id).await?;
    let (name, policy) = check(input)?;
    let new = RetentionPolicy { name, policy, updated_at: ctx.now(), ..old.clone() };
    db::retention_policies::update(&ctx.db, actor.organization_id, &new).await?;
    let details = json!({ "name": new.name, "before": old.policy, "policy": new.policy });
    audit::record(ctx, actor, "retention.policy.update", id, details).await?;
    view(ctx, actor, new).await
}

/// Removes a policy. Errors with `CONFLICT`, naming them, while schedules or databases use it.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: PolicyId) -> Result<()> {
    require(actor)?;
    let policy = db::retention_policies::get(&ctx.db, actor.organization_id, id).await?;
    db::retention_policies::delete(&ctx.db, actor.organization_id, id).await?;
    audit::record(ctx, actor, "retention.policy.delete", id, json!({ "name": policy.name, "policy": policy.policy })).await
}

/// Which policy applies to the backups of each database that no schedule made.
pub async fn manual(ctx: &Ctx, actor: &Actor) -> Result<Vec<ManualRetention>> {
    actor.require(Permission::View)?;
    let all = db::retention_policies::manual_of_all(&ctx.db, actor.organization_id).await?;
    Ok(all.into_iter().map(|(database_id, database_name, policy_id)| ManualRetention { database_id, database_name, policy_id }).collect())
}

/// Chooses the policy for the backups of a database that no schedule made; `None` keeps them all.
pub async fn set_manual(ctx: &Ctx, actor: &Actor, database: DatabaseId, policy: Option<PolicyId>) -> Result<()> {
    require(actor)?;
    if let Some(id) = policy {
        db::retention_policies::get(&ctx.db, actor.organization_id, id).await?;
    }
    db::retention_policies::set_manual(&ctx.db, actor.organization_id, database, policy).await?;
    audit::record(ctx, actor, "retention.policy.choose", database, json!({ "policyId": policy })).await
}

/// Another policy over backups that exist may delete them: whoever chooses it for a schedule must be allowed to delete.
/// Keeping all of them is for everybody who may change the schedule. Errors with `FORBIDDEN`.
pub(super) async fn check_choice(ctx: &Ctx, actor: &Actor, before: &Schedule, after: &Schedule) -> Result<()> {
    if actor.may(Permission::DeleteBackups) {
        return Ok(());
    }
    let stores = db::retention::stores_of(&ctx.db, actor.organization_id, before.id).await?;
    if !stores.into_iter().any(|store| after.policy_in(store).is_some_and(|new| before.policy_in(store) != Some(new))) {
        return Ok(());
    }
    let text = format!(
        "'{}' has backups, and another retention policy may delete them: {} ({}) may not choose it, because that needs the permission {:?}",
        before.name,
        actor.name,
        actor.role,
        Permission::DeleteBackups
    );
    Err(Error::new(Kind::Forbidden, text)
        .hint("leave the policy as it is, keep every backup, or ask an administrator to choose another one")
        .fields(vec![("retentionPolicyId".into(), "another policy takes the right to delete backups".into())]))
}

/// What a run would do now, group by group: to one database or to all; by the policies that apply, or by a draft in their
/// place.
pub async fn preview(ctx: &Ctx, actor: &Actor, database: Option<DatabaseId>, draft: Option<Policy>) -> Result<Vec<GroupPlan>> {
    actor.require(Permission::View)?;
    if let Some(draft) = &draft {
        draft.check()?;
    }
    if let Some(id) = database {
        db::databases::get(&ctx.db, actor.organization_id, id).await?;
    }
    let judgement = Judgement { draft, ..judgement(ctx) };
    plans(ctx, actor.organization_id, database, &judgement).await
}

/// What a stored policy does: where it applies now, or to one database as if it applied there.
pub async fn preview_of(ctx: &Ctx, actor: &Actor, id: PolicyId, database: Option<DatabaseId>) -> Result<Vec<GroupPlan>> {
    actor.require(Permission::View)?;
    let policy = db::retention_policies::get(&ctx.db, actor.organization_id, id).await?;
    if database.is_some() {
        return preview(ctx, actor, database, Some(policy.policy)).await;
    }
    let all = preview(ctx, actor, None, None).await?;
    Ok(all.into_iter().filter(|plan| plan.policy_id == Some(id)).collect())
}

/// Queues a run over one database or all.
pub async fn start(ctx: &Arc<Ctx>, actor: &Actor, database: Option<DatabaseId>) -> Result<Job> {
    actor.require(Permission::DeleteBackups)?;
    if let Some(id) = database {
        db::databases::get(&ctx.db, actor.organization_id, id).await?;
    }
    audit::record(ctx, actor, "retention.run", database.map_or_else(|| "all".to_owned(), |id| id.to_string()), json!({})).await?;
    enqueue(ctx, actor, database).await
}

/// After a good backup: a run over its database, when there is something to delete. May be called twice for one job.
pub(super) async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    match (job.kind, job.status, job.database_id) {
        (JobKind::Backup, JobStatus::Completed, Some(database)) => due(ctx, organization, database).await,
        _ => Ok(()),
    }
}

/// Queues a run over a database when there is something to delete and no run that waits.
pub(super) async fn due(ctx: &Arc<Ctx>, organization: OrganizationId, database: DatabaseId) -> Result<()> {
    let judgement = judgement(ctx);
    if db::retention::nothing_due(&ctx.db, organization, database, &judgement).await? {
        return Ok(());
    }
    let plans = plans(ctx, organization, Some(database), &judgement).await?;
    if plans.iter().all(|plan| plan.deleted == 0) || waiting(ctx, organization, Some(database)).await? {
        return Ok(());
    }
    enqueue(ctx, &Actor { organization_id: organization, ..Actor::system() }, Some(database)).await.map(drop)
}

/// Once a day, queues a run over everything, when there is something to delete: what has grown old, and what a run before
/// could not finish. Copies that could not be made are tried again too.
pub async fn daily(ctx: &Arc<Ctx>) -> Result<()> {
    let actor = Actor::system();
    let last = db::settings::get(&ctx.db, LAST_DAILY).await?.and_then(|text| text.parse::<i64>().ok());
    let now = ctx.now().0;
    // A clock that went back does not put the next run off for long.
    if last.is_some_and(|last| (0..DAILY_MS).contains(&(now - last))) || waiting(ctx, actor.organization_id, None).await? {
        return Ok(());
    }
    copies::again(ctx).await?;
    if unfinished(ctx).await? || plans(ctx, actor.organization_id, None, &judgement(ctx)).await?.iter().any(|plan| plan.deleted > 0) {
        enqueue(ctx, &actor, None).await?;
    }
    db::settings::set(&ctx.db, LAST_DAILY, &now.to_string()).await
}

const LAST_DAILY: &str = "retention.daily";

/// True when a deletion has begun and not ended.
async fn unfinished(ctx: &Ctx) -> Result<bool> {
    Ok(!db::backups::going(&ctx.db).await?.is_empty() || !db::backup_copies::going(&ctx.db).await?.is_empty())
}

/// What is judged by now, with the limit of this installation.
fn judgement(ctx: &Ctx) -> Judgement {
    Judgement { now: ctx.now(), limit_days: ctx.config.max_backup_retention_days, draft: None }
}

async fn plans(ctx: &Ctx, organization: OrganizationId, database: Option<DatabaseId>, judgement: &Judgement) -> Result<Vec<GroupPlan>> {
    db::retention::plans(&ctx.db, organization, database, judgement).await
}

/// True while a run over this database, or over everything, has yet to start.
async fn waiting(ctx: &Ctx, organization: OrganizationId, database: Option<DatabaseId>) -> Result<bool> {
    let filter = JobFilter { kind: Some(JobKind::Retention), status: Some(JobStatus::Queued), ..JobFilter::default() };
    let queued = db::jobs::list(&ctx.db, organization, &filter, PageRequest { page: 1, limit: 100 }).await?;
    Ok(queued.items.iter().any(|job| job.database_id.is_none() || job.database_id == database))
}

async fn enqueue(ctx: &Ctx, actor: &Actor, database: Option<DatabaseId>) -> Result<Job> {
    // One run at a time: two would only get in each other's way.
    let job = Job { database_id: database, exclusive_key: Some("retention".into()), ..jobs::new(JobKind::Retention, ctx) };
    jobs::enqueue(ctx, actor, job).await
}

/// A policy decides over deletions: whoever writes one must be allowed to delete.
fn require(actor: &Actor) -> Result<()> {
    actor.require(Permission::Configure)?;
    actor.require(Permission::DeleteBackups)
}

fn check(input: PolicyInput) -> Result<(String, Policy)> {
    let name = input.name.trim().to_owned();
    let mut problems = Vec::new();
    if !databases::is_name(&name) {
        problems.push(("name".to_owned(), databases::NAME_RULE.to_owned()));
    }
    if input.policy.max_total_bytes == Some(0) {
        problems.push(("maxTotalBytes".to_owned(), "must be above 0".to_owned()));
    }
    if input.policy.max_age_days == Some(0) {
        problems.push(("maxAgeDays".to_owned(), "must be above 0".to_owned()));
    }
    if let Err(error) = input.policy.check() {
        problems.extend(error.fields);
    }
    if problems.is_empty() {
        Ok((name, input.policy))
    } else {
        Err(Error::validation("the retention policy is not valid").fields(problems))
    }
}

async fn view(ctx: &Ctx, actor: &Actor, policy: RetentionPolicy) -> Result<PolicyView> {
    let used_by = db::retention_policies::users(&ctx.db, actor.organization_id, policy.id).await?;
    Ok(PolicyView { policy, used_by })
}
