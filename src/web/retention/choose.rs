//! Which policy applies to the backups of a database that no schedule made.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use serde::Deserialize;

use crate::{
    domain::ids::{DatabaseId, PolicyId},
    error::Error,
    services::{Ctx, retention},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Body, Form, Id, User},
    },
};

/// The policy of the backups that no schedule made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Choice {
    /// `null` keeps them all, up to MAX_BACKUP_RETENTION_DAYS.
    policy_id: Option<PolicyId>,
}

/// Chooses the retention policy of a database's backups that no schedule made.
#[utoipa::path(put, path = "/api/databases/{id}/retention-policy", tag = "retention", params(("id" = DatabaseId, Path)),
    request_body = Choice, responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DatabaseId>,
    Body(choice): Body<Choice>,
) -> Result<Envelope<Nothing>, Failure> {
    retention::set_manual(&ctx, &user, id, choice.policy_id).await?;
    Ok(envelope::done())
}

/// POST /retention-policies/manual
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Redirect, Failure> {
    user.require(crate::domain::permissions::Permission::DeleteBackups)?;
    let database = form.parse("database")?.ok_or_else(|| Error::validation("no database was chosen"))?;
    retention::set_manual(&ctx, &user, database, form.parse("policy")?).await?;
    Ok(Redirect::to("/retention-policies?notice=saved"))
}
