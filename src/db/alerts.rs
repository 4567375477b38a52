//! What is wrong now.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{DatabaseId, OrganizationId},
        notice::Alert,
        time::Moment,
    },
    error::Result,
};

const COLUMNS: &str = "key, since, last_seen_at, last_told_at, times, detail";

/// Saves what is wrong, new or as it is now.
pub async fn save(db: &Db, organization: OrganizationId, alert: &Alert) -> Result<()> {
    let alert = alert.clone();
    db.write("saving the alert", move |db| {
        db.execute(
            "INSERT INTO alerts (key, organization_id, event, database_id, since, last_seen_at, last_told_at, times, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (key) DO UPDATE SET last_seen_at = excluded.last_seen_at, last_told_at = excluded.last_told_at,
                 times = excluded.times, detail = excluded.detail",
            params![
                alert.key,
                organization.to_string(),
                alert.notice.event.as_str(),
                alert.notice.database_id.map(|id| id.to_string()),
                alert.since.0,
                alert.last_seen_at.0,
                alert.last_told_at.0,
                row::to_count(alert.times)?,
                row::to_json(&alert.notice)?,
            ],
        )?;
        Ok(())
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, key: &str) -> Result<Option<Alert>> {
    let values = [text(organization), text(key)];
    db.read("reading the alert", move |db| {
        query::first(db, &format!("SELECT {COLUMNS} FROM alerts WHERE organization_id = ?1 AND key = ?2"), &values, read)
    })
    .await
}

/// What is wrong, the oldest first.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Alert>> {
    db.read("listing the alerts", move |db| {
        query::all(db, &format!("SELECT {COLUMNS} FROM alerts WHERE organization_id = ?1 ORDER BY since, key"), &[text(organization)], read)
    })
    .await
}

pub async fn delete(db: &Db, organization: OrganizationId, key: &str) -> Result<()> {
    let values = [organization.to_string(), key.to_owned()];
    db.write("removing the alert", move |db| {
        db.execute("DELETE FROM alerts WHERE organization_id = ?1 AND key = ?2", values)?;
        Ok(())
    })
    .await
}

/// Plain sizes and row counts of the newest good backups of a database before one: (bytes, rows), at most `limit`.
pub async fn measures(db: &Db, database: DatabaseId, schedule: Option<String>, before: Moment, limit: u32) -> Result<Vec<(u64, u64)>> {
    let values = [text(database), schedule.into(), before.0.into(), i64::from(limit).into()];
    db.read("reading earlier backups", move |db| {
        let sql = "SELECT b.tables, COALESCE((SELECT SUM(a.plain_size) FROM artifacts AS a WHERE a.backup_id = b.id), 0) AS bytes
                   FROM backups AS b
                   WHERE b.database_id = ?1 AND b.status = 'completed' AND b.verify_state <> 'corrupt' AND NOT b.partial
                     AND COALESCE(b.schedule_id, '') = COALESCE(?2, '') AND b.type <> 'safety' AND b.created_at < ?3
                   ORDER BY b.created_at DESC, b.id DESC LIMIT ?4";
        query::all(db, sql, &values, |row| {
            let tables: Vec<crate::domain::artifact::TableCount> = row::json(row, "tables")?;
            Ok((row::count(row, "bytes")?, tables.iter().map(|table| table.rows).sum()))
        })
    })
    .await
}

fn read(row: &Row<'_>) -> Outcome<Alert> {
    Ok(Alert {
        key: row::plain(row, "key")?,
        since: row::moment(row, "since")?,
        last_seen_at: row::moment(row, "last_seen_at")?,
        last_told_at: row::moment(row, "last_told_at")?,
        times: row::count(row, "times")?,
        notice: row::json(row, "detail")?,
    })
}
