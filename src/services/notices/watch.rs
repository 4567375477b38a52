//! Looks for what nothing reports by itself: no good backup for too long, a disk that fills up, a store that is away.

use std::sync::Arc;

use tokio::time::timeout;

use super::{HOUR, alerts, ended::verify_key, expected::Clockwork, found, setting, words};
use crate::{
    db,
    domain::{
        amount,
        database::{Database, Settings},
        filter::DatabaseFilter,
        ids::{DatabaseId, OrganizationId},
        notice::{Alert, NoticeEvent, Severity},
        page::PageRequest,
        store::{StoreConfig, StoreHealth},
    },
    error::Result,
    services::{Ctx, stores, system},
};

/// A restore that failed, and that nobody repeated for so long, is history, milliseconds.
const OLD_NEWS: i64 = 7 * 24 * HOUR;

/// Looks at everything once. What cannot be looked at is logged and does not keep the rest.
pub async fn watch(ctx: &Arc<Ctx>) -> Result<()> {
    let organization = OrganizationId::DEFAULT;
    let settings = system::settings(ctx).await?;
    let clockwork = Clockwork::read(ctx, organization).await?;
    let mut request = PageRequest { page: 1, limit: 200 };
    let mut known = Vec::new();
    loop {
        let page = db::databases::list(&ctx.db, organization, &DatabaseFilter::default(), request).await?;
        for database in &page.items {
            known.push(dead_man_key(database.id));
            if let Err(error) = dead_man(ctx, organization, database, &clockwork, &settings).await {
                tracing::warn!(database_id = %database.id, %error, "the age of the last good backup could not be checked");
            }
        }
        if request.page >= page.pages() {
            break;
        }
        request.page += 1;
    }
    for config in db::stores::list(&ctx.db, organization).await? {
        known.extend([store_key(&config), disk_key(&config)]);
        if let Err(error) = store(ctx, organization, &config, &settings).await {
            tracing::warn!(store_id = %config.id, %error, "the state of the store could not be recorded");
        }
    }
    forget_removed(ctx, organization, &known, &clockwork).await
}

/// The dead-man's alert: it comes without anything having failed, and so also when nothing runs at all.
async fn dead_man(ctx: &Ctx, organization: OrganizationId, database: &Database, clockwork: &Clockwork, settings: &Settings) -> Result<()> {
    let last = db::backups::last_good(&ctx.db, organization, database.id).await?;
    let newest = last.as_ref().map(|backup| backup.created_at);
    let due = match setting(settings, "deadManHours", 0) {
        0 => clockwork.due(database.id, newest),
        hours => Some(newest.unwrap_or(database.created_at).plus(hours * HOUR)),
    };
    let key = dead_man_key(database.id);
    let name = &database.name;
    let Some(due) = due.filter(|due| *due < ctx.now()) else {
        let end = |alert: &Alert| {
            let of = newest.map_or("There is none.".to_owned(), |at| format!("The newest good backup is of {}.", words::time(ctx, at)));
            match due {
                // It is not good, but it was decided.
                None => {
                    let title = format!("No backup of {name} is expected any more");
                    alerts::resolved(ctx, alert, title, format!("No schedule that is on makes backups of it by itself. {of}"))
                }
                Some(_) if newest.is_some_and(|newest| newest > alert.since) => {
                    alerts::resolved(ctx, alert, format!("{name} has a good backup again"), of)
                }
                Some(due) => {
                    let what = format!("The next backup of it is expected by {} now. {of}", words::time(ctx, due));
                    alerts::resolved(ctx, alert, format!("No good backup of {name} is overdue any more"), what)
                }
            }
        };
        return alerts::right(ctx, organization, &key, end).await;
    };
    let title = match newest {
        Some(at) => format!("No good backup of {name} for {}", words::span(ctx.now().since(at))),
        None => format!("{name} has no good backup at all"),
    };
    let mut notice = words::notice(ctx, NoticeEvent::NoGoodBackup, Severity::Critical, name, title);
    let expected = words::time(ctx, due);
    notice.what = match newest {
        Some(at) => format!(
            "The newest good backup is of {}; a new one was expected by {expected}. What changed since then is not protected.",
            words::time(ctx, at)
        ),
        None => format!("A first one was expected by {expected}. Nothing of this database is protected."),
    };
    notice.next_step = "Run a backup by hand and see whether it succeeds. If it does, look at the schedule: did DBSnap run at that time, and does the schedule before it succeed, where it runs after another? If it fails, its job says why.".into();
    notice.link = words::link(ctx, &format!("/databases/{}", database.id));
    notice.database_id = Some(database.id);
    notice.project_id = Some(database.project_id);
    alerts::wrong(ctx, organization, &key, notice).await
}

async fn store(ctx: &Ctx, organization: OrganizationId, config: &StoreConfig, settings: &Settings) -> Result<()> {
    let health = stores::ask(ctx, organization, config.id, stores::PATIENCE).await;
    let (key, name) = (store_key(config), &config.name);
    match health {
        Ok(_) if is_empty(ctx, organization, config).await? => {
            let title = format!("The store {name} does not hold what was backed up to it");
            let mut notice = words::notice(ctx, NoticeEvent::StoreUnreachable, Severity::Error, name, title);
            notice.what =
                "It answers, but none of the backups that were looked for is in it. New ones are written there all the same.".into();
            notice.next_step =
                "Is the volume mounted, and is it the right one? If what was there is lost, delete those backups and make new ones.".into();
            notice.link = words::link(ctx, "/stores");
            alerts::wrong(ctx, organization, &key, notice).await
        }
        Ok(health) => {
            let end = |alert: &Alert| {
                alerts::resolved(ctx, alert, format!("The store {name} can be reached again"), "Backups can be written there again.".into())
            };
            alerts::right(ctx, organization, &key, end).await?;
            space(ctx, organization, config, &health, settings).await
        }
        Err(error) => {
            let title = format!("The store {name} cannot be reached");
            let mut notice = words::notice(ctx, NoticeEvent::StoreUnreachable, Severity::Error, name, title);
            let (cause, step) = words::cause_and_step(&error.to_string());
            notice.what = format!("{cause} Backups to it fail, and those in it cannot be restored, until it is back.");
            notice.next_step = step.unwrap_or_else(|| "Check the disk, the network and the credentials of the store.".into());
            notice.link = words::link(ctx, "/stores");
            alerts::wrong(ctx, organization, &key, notice).await
        }
    }
}

/// True when backups should be in the store and none of those that are looked for is: an empty folder in the place of a volume
/// looks like a store.
async fn is_empty(ctx: &Ctx, organization: OrganizationId, config: &StoreConfig) -> Result<bool> {
    let keys = db::backups::some_keys(&ctx.db, config.id, None).await?;
    let store = stores::open(ctx, organization, config.id).await?;
    for key in &keys {
        match timeout(stores::PATIENCE, store.stat(key)).await {
            Ok(Ok(None)) => {}
            // What cannot be asked is not known to be empty.
            _ => return Ok(false),
        }
    }
    Ok(!keys.is_empty())
}

async fn space(ctx: &Ctx, organization: OrganizationId, config: &StoreConfig, health: &StoreHealth, settings: &Settings) -> Result<()> {
    let (Some(free), Some(total)) = (health.free, health.total) else { return Ok(()) };
    let percent = setting(settings, "diskFreePercent", 10);
    let (key, name) = (disk_key(config), &config.name);
    let share = if total == 0 { 100 } else { i64::try_from(u128::from(free) * 100 / u128::from(total)).unwrap_or(100) };
    if percent == 0 || share >= percent {
        let end = |alert: &Alert| {
            let what = format!("{} of {} are free.", amount::size(free), amount::size(total));
            alerts::resolved(ctx, alert, format!("The store {name} has room again"), what)
        };
        return alerts::right(ctx, organization, &key, end).await;
    }
    // What is left does not hold another night.
    let severity = if share * 4 < percent { Severity::Critical } else { Severity::Warning };
    let title = format!("The store {name} is running out of space: {share} % free");
    let mut notice = words::notice(ctx, NoticeEvent::DiskLow, severity, name, title);
    notice.what =
        format!("{} of {} are free, less than {percent} %. When it is full, backups to it fail.", amount::size(free), amount::size(total));
    notice.next_step = "Enlarge the disk, let a retention policy keep less, or send backups to another store.".into();
    notice.link = words::link(ctx, "/stores");
    notice.facts.extend([("Free".into(), amount::size(free)), ("Total".into(), amount::size(total))]);
    alerts::wrong(ctx, organization, &key, notice).await
}

/// What is wrong with a database or a store that is gone is nothing to tell any more, and what can never come right by
/// itself is over too: failures of a schedule that was removed, damage of a backup that was deleted, old restores.
async fn forget_removed(ctx: &Ctx, organization: OrganizationId, known: &[String], clockwork: &Clockwork) -> Result<()> {
    for alert in db::alerts::list(&ctx.db, organization).await? {
        let event = alert.notice.event;
        let watched = matches!(event, NoticeEvent::NoGoodBackup | NoticeEvent::DiskLow | NoticeEvent::StoreUnreachable);
        let database_gone = match alert.notice.database_id {
            Some(id) => !known.contains(&dead_man_key(id)),
            None => false,
        };
        let old = event == NoticeEvent::RestoreFailed && alert.last_seen_at.plus(OLD_NEWS) < ctx.now();
        if database_gone || old || (watched && !known.contains(&alert.key)) {
            db::alerts::delete(&ctx.db, organization, &alert.key).await?;
        } else if let Some(what) = moot(ctx, organization, &alert, clockwork).await? {
            let title = format!("{}: over", alert.notice.title);
            alerts::right(ctx, organization, &alert.key, |alert| alerts::resolved(ctx, alert, title, what.to_owned())).await?;
        }
    }
    Ok(())
}

/// Why a trouble is over although nothing was mended.
async fn moot(ctx: &Ctx, organization: OrganizationId, alert: &Alert, clockwork: &Clockwork) -> Result<Option<&'static str>> {
    let id = alert.key.rsplit(':').next().unwrap_or_default();
    match alert.notice.event {
        NoticeEvent::BackupFailed => {
            let removed = id.parse().is_ok_and(|schedule| alert.notice.database_id.is_some() && !clockwork.has(schedule));
            Ok(removed.then_some("The schedule whose backups failed was removed."))
        }
        NoticeEvent::VerifyFailed => match id.parse() {
            Ok(backup) if alert.key == verify_key(backup) => {
                let backup = found(db::backups::get(&ctx.db, organization, backup).await)?;
                Ok(backup.is_none().then_some("The backup was deleted."))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn dead_man_key(id: DatabaseId) -> String {
    format!("none-good:{id}")
}

fn store_key(store: &StoreConfig) -> String {
    format!("store:{}", store.id)
}

fn disk_key(store: &StoreConfig) -> String {
    format!("disk:{}", store.id)
}
