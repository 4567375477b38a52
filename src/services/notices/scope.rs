//! What notifiers are limited to. A project or database that was removed stays in the rules of a notifier: without it the
//! notifier could be one of everything. When nothing of its limits is left it tells nothing, and says so wherever it is shown.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::json;

use crate::{
    db,
    domain::{
        ids::{DatabaseId, OrganizationId, ProjectId},
        notice::NotifyRules,
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
    services::{Ctx, audit},
};

/// Of a notifier's rules, the ids of what was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    pub project_ids: Vec<ProjectId>,
    pub database_ids: Vec<DatabaseId>,
}

impl Removed {
    pub fn is_empty(&self) -> bool {
        self.project_ids.is_empty() && self.database_ids.is_empty()
    }

    /// True when these were all that the rules are limited to.
    pub fn is_all_of(&self, rules: &NotifyRules) -> bool {
        let limits = rules.project_ids.len() + rules.database_ids.len();
        limits > 0 && self.project_ids.len() + self.database_ids.len() == limits
    }

    /// Errors, naming them by the fields of an input, unless each of them was in the rules before.
    pub(super) fn refuse_new(&self, before: &NotifyRules) -> Result<()> {
        let projects = self.project_ids.iter().filter(|id| !before.project_ids.contains(id));
        let databases = self.database_ids.iter().filter(|id| !before.database_ids.contains(id));
        let problems: Vec<_> = projects
            .map(|id| ("rules.projectIds".to_owned(), format!("there is no project {id}")))
            .chain(databases.map(|id| ("rules.databaseIds".to_owned(), format!("there is no database {id}"))))
            .collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::validation("the notifier is limited to what there is not")
                .fields(problems)
                .hint("choose from /api/projects and /api/databases")),
        }
    }
}

/// What there is to be limited to.
pub(super) struct Known {
    projects: HashSet<ProjectId>,
    databases: HashSet<DatabaseId>,
}

impl Known {
    pub(super) async fn read(ctx: &Ctx, organization: OrganizationId) -> Result<Self> {
        let projects = db::projects::all(&ctx.db, organization).await?;
        let databases = db::databases::ids(&ctx.db, organization).await?;
        Ok(Self { projects: projects.iter().map(|project| project.id).collect(), databases: databases.into_iter().collect() })
    }

    pub(super) fn removed(&self, rules: &NotifyRules) -> Removed {
        Removed {
            project_ids: rules.project_ids.iter().copied().filter(|id| !self.projects.contains(id)).collect(),
            database_ids: rules.database_ids.iter().copied().filter(|id| !self.databases.contains(id)).collect(),
        }
    }
}

/// What of the limits in these rules is not there.
pub async fn removed(ctx: &Ctx, actor: &Actor, rules: &NotifyRules) -> Result<Removed> {
    actor.require(Permission::View)?;
    Ok(Known::read(ctx, actor.organization_id).await?.removed(rules))
}

/// Writes into the audit trail which notifiers tell nothing any more because `what` was removed, the last of their limits.
pub(in crate::services) async fn record_silenced(
    ctx: &Ctx,
    actor: &Actor,
    what: &str,
    was_limited: impl Fn(&NotifyRules) -> bool,
) -> Result<()> {
    let notifiers = db::notifiers::list(&ctx.db, actor.organization_id).await?;
    let known = Known::read(ctx, actor.organization_id).await?;
    for notifier in notifiers.iter().filter(|notifier| was_limited(&notifier.rules)) {
        if known.removed(&notifier.rules).is_all_of(&notifier.rules) {
            let because = format!("{what} was removed, the last that it was limited to");
            audit::record(ctx, actor, "notifier.silenced", notifier.id, json!({ "name": notifier.name, "because": because })).await?;
        }
    }
    Ok(())
}
