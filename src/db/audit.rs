//! The audit trail. Lines are added and read, never changed.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{Conditions, text},
    row,
};
use crate::{
    domain::{
        account::AuditEvent,
        ids::OrganizationId,
        page::{Page, PageRequest},
    },
    error::Result,
};

const COLUMNS: &str = "id, organization_id, user_id, actor, action, subject, details, address, at";

pub async fn insert(db: &Db, event: &AuditEvent) -> Result<()> {
    let event = event.clone();
    db.write("writing the audit trail", move |db| {
        db.execute(
            "INSERT INTO audit_events (id, organization_id, user_id, actor, action, subject, details, address, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                event.id.to_string(),
                event.organization_id.to_string(),
                event.user_id.map(|id| id.to_string()),
                event.actor,
                event.action,
                event.subject,
                row::to_json(&event.details)?,
                event.address,
                event.at.0,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, page: PageRequest) -> Result<Page<AuditEvent>> {
    let conditions = Conditions::new("organization_id = ?", text(organization));
    db.read("reading the audit trail", move |db| conditions.page(db, COLUMNS, "audit_events", "at DESC, id DESC", page, read)).await
}

fn read(row: &Row<'_>) -> Outcome<AuditEvent> {
    Ok(AuditEvent {
        id: row::parsed(row, "id")?,
        organization_id: row::parsed(row, "organization_id")?,
        user_id: row::parsed_if_set(row, "user_id")?,
        actor: row::plain(row, "actor")?,
        action: row::plain(row, "action")?,
        subject: row::plain(row, "subject")?,
        details: row::json(row, "details")?,
        address: row::plain(row, "address")?,
        at: row::moment(row, "at")?,
    })
}
