//! Notices and their deliveries. A notice is raised once, with its deliveries, in one transaction; each delivery is
//! claimed by one sender at a time, and one notifier has one sender at a time.

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, Conditions, text},
    row,
};
use crate::{
    domain::{
        ids::{DeliveryId, NotifierId, OrganizationId},
        notice::{Delivery, DeliveryStatus, Notice},
        page::{Page, PageRequest},
        time::Moment,
    },
    error::Result,
};

const DELIVERY: &str = "d.id, d.notifier_id, d.status, d.attempt, d.run_after, d.error, d.created_at, d.finished_at, n.content";
const DELIVERIES: &str = "deliveries AS d JOIN notices AS n ON n.id = d.notice_id";

/// Records a notice and queues it for `notifiers`. False when one with this key was raised before: nothing changes then.
///
/// For a notifier that was told the same (event and group) at `told_since` or later, and of no end of it since, the
/// delivery is held back as `grouped`.
pub async fn raise(
    db: &Db,
    organization: OrganizationId,
    notice: &Notice,
    dedup_key: &str,
    notifiers: Vec<NotifierId>,
    told_since: Option<Moment>,
) -> Result<bool> {
    let (notice, dedup_key) = (notice.clone(), dedup_key.to_owned());
    db.write("recording the notice", move |db| {
        let added = db.execute(
            "INSERT INTO notices (id, organization_id, event, severity, database_id, dedup_key, group_key, content, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (dedup_key) DO NOTHING",
            params![
                notice.id.to_string(),
                organization.to_string(),
                notice.event.as_str(),
                notice.severity.as_str(),
                notice.database_id.map(|id| id.to_string()),
                dedup_key,
                notice.group,
                row::to_json(&notice)?,
                notice.at.0,
            ],
        )?;
        if added == 0 {
            return Ok(false);
        }
        for notifier in notifiers {
            let grouped = match told_since {
                Some(since) => was_told(db, notifier, &notice, since)?,
                None => false,
            };
            let status = if grouped { DeliveryStatus::Grouped } else { DeliveryStatus::Queued };
            queue(db, notifier, &notice, status)?;
        }
        Ok(true)
    })
    .await
}

fn queue(db: &Transaction<'_>, notifier: NotifierId, notice: &Notice, status: DeliveryStatus) -> Outcome<()> {
    let finished = (status == DeliveryStatus::Grouped).then_some(notice.at.0);
    db.execute(
        "INSERT INTO deliveries (id, notice_id, notifier_id, status, attempt, run_after, created_at, finished_at)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, ?6)",
        params![DeliveryId::new().to_string(), notice.id.to_string(), notifier.to_string(), status.as_str(), notice.at.0, finished],
    )?;
    Ok(())
}

/// True when the newest of the group that was really sent is the same event, not older than `since`.
fn was_told(db: &Connection, notifier: NotifierId, notice: &Notice, since: Moment) -> Outcome<bool> {
    let sql = "SELECT n.event AS event FROM notices AS n JOIN deliveries AS d ON d.notice_id = n.id
               WHERE n.group_key = ?1 AND n.created_at >= ?2 AND n.id <> ?3 AND d.notifier_id = ?4
                 AND d.status IN ('queued', 'sending', 'delivered')
               ORDER BY n.created_at DESC, n.id DESC LIMIT 1";
    let values = [text(&notice.group), since.0.into(), text(notice.id), text(notifier)];
    let newest: Option<String> = query::first(db, sql, &values, |row| row::plain(row, "event"))?;
    Ok(newest.as_deref() == Some(notice.event.as_str()))
}

/// How many of the group were held back for this notifier since the last one that was sent before `delivery`.
pub async fn held_back(db: &Db, delivery: &Delivery) -> Result<u64> {
    let values = [text(delivery.notifier_id), text(&delivery.notice.group), delivery.created_at.0.into(), text(delivery.id)];
    db.read("counting what was held back", move |db| {
        let of_group = "deliveries AS d JOIN notices AS n ON n.id = d.notice_id
                        WHERE n.group_key = ?2 AND d.notifier_id = ?1 AND d.created_at <= ?3 AND d.id <> ?4";
        let sql = format!(
            "SELECT COUNT(*) AS held FROM {of_group} AND d.status = 'grouped'
             AND d.created_at > COALESCE((SELECT MAX(d.created_at) FROM {of_group} AND d.status <> 'grouped'), -1)"
        );
        Ok(query::first(db, &sql, &values, |row| row::count(row, "held"))?.unwrap_or(0))
    })
    .await
}

/// Takes the delivery that has been due the longest, of a notifier that nobody sends to now. What was taken before and
/// whose `until` has passed is due again: its sender is gone.
pub async fn claim(db: &Db, now: Moment, until: Moment) -> Result<Option<(OrganizationId, Delivery)>> {
    db.write("taking a delivery", move |db| {
        let claimed = query::first(
            db,
            "UPDATE deliveries SET status = 'sending', attempt = attempt + 1, run_after = ?2
             WHERE id = (
                 SELECT due.id FROM deliveries AS due
                 WHERE due.status IN ('queued', 'sending') AND due.run_after <= ?1
                   AND NOT EXISTS (SELECT 1 FROM deliveries AS other
                       WHERE other.status = 'sending' AND other.run_after > ?1 AND other.notifier_id = due.notifier_id)
                 ORDER BY due.run_after, due.created_at, due.id LIMIT 1)
             RETURNING id",
            &[now.0.into(), until.0.into()],
            |row| row::parsed::<DeliveryId>(row, "id"),
        )?;
        let Some(id) = claimed else { return Ok(None) };
        let sql = format!("SELECT {DELIVERY}, n.organization_id FROM {DELIVERIES} WHERE d.id = ?1");
        query::first(db, &sql, &[text(id)], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// Ends an attempt: delivered without an error, tried again at `again`, or given up. Nothing changes when another sender
/// has taken it over.
pub async fn conclude(db: &Db, delivery: &Delivery, error: Option<&str>, again: Option<Moment>, at: Moment) -> Result<()> {
    let status = match (error, again) {
        (None, _) => DeliveryStatus::Delivered,
        (Some(_), Some(_)) => DeliveryStatus::Queued,
        (Some(_), None) => DeliveryStatus::Failed,
    };
    let (id, attempt, error) = (delivery.id.to_string(), delivery.attempt, error.map(str::to_owned));
    let finished = again.is_none().then_some(at.0);
    db.write("recording the delivery", move |db| {
        db.execute(
            "UPDATE deliveries SET status = ?3, error = ?4, finished_at = ?5, run_after = COALESCE(?6, run_after)
             WHERE id = ?1 AND attempt = ?2 AND status = 'sending'",
            params![id, attempt, status.as_str(), error, finished, again.map(|again| again.0)],
        )?;
        Ok(())
    })
    .await
}

/// Records what was sent at once, by the test button: the log shows it.
pub async fn record_test(
    db: &Db,
    organization: OrganizationId,
    notice: &Notice,
    notifier: NotifierId,
    error: Option<&str>,
    at: Moment,
) -> Result<()> {
    let (notice, error) = (notice.clone(), error.map(str::to_owned));
    let status = if error.is_none() { DeliveryStatus::Delivered } else { DeliveryStatus::Failed };
    db.write("recording the test", move |db| {
        db.execute(
            "INSERT INTO notices (id, organization_id, event, severity, dedup_key, group_key, content, created_at)
             VALUES (?1, ?2, ?3, ?4, ?1, ?5, ?6, ?7)",
            params![
                notice.id.to_string(),
                organization.to_string(),
                notice.event.as_str(),
                notice.severity.as_str(),
                notice.group,
                row::to_json(&notice)?,
                notice.at.0,
            ],
        )?;
        db.execute(
            "INSERT INTO deliveries (id, notice_id, notifier_id, status, attempt, run_after, error, created_at, finished_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?5, ?7)",
            params![DeliveryId::new().to_string(), notice.id.to_string(), notifier.to_string(), status.as_str(), notice.at.0, error, at.0],
        )?;
        Ok(())
    })
    .await
}

/// What a notifier was told, newest first.
pub async fn deliveries(db: &Db, notifier: NotifierId, page: PageRequest) -> Result<Page<Delivery>> {
    let conditions = Conditions::new("d.notifier_id = ?", text(notifier));
    db.read("listing the deliveries", move |db| conditions.page(db, DELIVERY, DELIVERIES, "d.created_at DESC, d.id DESC", page, read)).await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, page: PageRequest) -> Result<Page<Notice>> {
    let conditions = Conditions::new("organization_id = ?", text(organization));
    db.read("listing the notices", move |db| {
        conditions.page(db, "content", "notices", "created_at DESC, id DESC", page, |row| row::json(row, "content"))
    })
    .await
}

fn read(row: &Row<'_>) -> Outcome<Delivery> {
    Ok(Delivery {
        id: row::parsed(row, "id")?,
        notifier_id: row::parsed(row, "notifier_id")?,
        notice: row::json(row, "content")?,
        status: row::parsed(row, "status")?,
        attempt: row::count(row, "attempt")?,
        run_after: row::moment(row, "run_after")?,
        error: row::plain(row, "error")?,
        created_at: row::moment(row, "created_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
    })
}
