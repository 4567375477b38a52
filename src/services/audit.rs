//! The audit trail: who did what, written by the services that do it.

use serde_json::Value;

use super::Ctx;
use crate::{
    db,
    domain::{
        account::AuditEvent,
        ids::AuditId,
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
    },
    error::Result,
};

/// Writes one event. `details` must hold no secret.
pub(super) async fn record(ctx: &Ctx, actor: &Actor, action: &str, subject: impl ToString, details: Value) -> Result<()> {
    record_from(ctx, actor, None, action, subject, details).await
}

/// [`record`] with the address that the request came from.
pub(super) async fn record_from(
    ctx: &Ctx,
    actor: &Actor,
    address: Option<&str>,
    action: &str,
    subject: impl ToString,
    details: Value,
) -> Result<()> {
    let event = AuditEvent {
        id: AuditId::new(),
        organization_id: actor.organization_id,
        user_id: actor.user_id,
        actor: actor.name.clone(),
        action: action.to_owned(),
        subject: subject.to_string(),
        details,
        address: address.map(str::to_owned),
        at: ctx.now(),
    };
    db::audit::insert(&ctx.db, &event).await
}

/// The trail, newest first.
pub async fn list(ctx: &Ctx, actor: &Actor, page: PageRequest) -> Result<Page<AuditEvent>> {
    actor.require(Permission::Settings)?;
    db::audit::list(&ctx.db, actor.organization_id, page).await
}
