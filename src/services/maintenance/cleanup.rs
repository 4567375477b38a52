//! Removes what has expired and what is older than the settings keep it.

use std::sync::Arc;

use crate::{
    db::{
        self,
        rotation::{self, Old},
    },
    domain::{
        database::Settings, events::Progress, fields::SettingsExt, ids::OrganizationId, maintenance::MaintenanceReport, permissions::Actor,
        run::Run, time::Moment,
    },
    error::Result,
    services::{Ctx, accounts, audit, backup, compare, restore, stores, system},
};

const DAY: i64 = 24 * 60 * 60 * 1000;
/// Rows that go in one transaction: milliseconds of work, which is how long a writer may have to wait.
const BATCH: u32 = 500;

/// A kind of history, the setting that says how many days of it are kept, its name in reports, and in words.
const HISTORY: &[(Old, &str, &str, &str)] = &[
    (Old::LogLines, "logRetentionDays", "logLines", "log lines"),
    (Old::LogLinesOfJobs, "historyRetentionDays", "logLines", "log lines"),
    (Old::Jobs, "historyRetentionDays", "jobs", "jobs"),
    (Old::ScheduleRuns, "historyRetentionDays", "scheduleRuns", "runs of schedules"),
    (Old::Deliveries, "historyRetentionDays", "deliveries", "deliveries"),
    (Old::Notices, "historyRetentionDays", "notices", "notices"),
    (Old::FailedBackups, "historyRetentionDays", "failedBackups", "backups without success"),
    (Old::Restores, "historyRetentionDays", "restores", "restores"),
    (Old::AuditEvents, "auditRetentionDays", "auditEvents", "audit events"),
];

/// Comparisons that are marked at once: each has a file, which takes longer than a row.
const REPORTS: u32 = 20;

/// The name of comparisons in reports, and in words.
const COMPARISONS: &str = "comparisons";

pub(super) async fn run(ctx: &Arc<Ctx>, organization: OrganizationId, run: &Run, report: &mut MaintenanceReport) -> Result<()> {
    restore::upload::expire(ctx).await?;
    accounts::forget_ended_sessions(ctx).await?;
    stores::sweep(ctx).await?;
    db::export_links::expire(&ctx.db, ctx.now().plus(-DAY)).await?;
    report.words.push("Expired uploads, sessions and links, and what interrupted writes left, were removed.".into());
    let settings = system::settings(ctx).await?;
    // Before the jobs: a comparison whose job is open stays, and so does that of a restore.
    let compared = forget_comparisons(ctx, &settings, run, report).await;
    let rotated = rotate(ctx, &settings, run, report).await;
    report.words.extend(in_words(report));
    match backup::write_noted_pins(ctx).await? {
        0 => {}
        waiting => report.words.push(format!("Pins could not be written to {waiting} manifests yet: their stores could not be reached.")),
    }
    if let Some(removed) = report.removed.get("auditEvents") {
        // A trail that was shortened says so.
        let actor = Actor { organization_id: organization, ..Actor::system() };
        audit::record(ctx, &actor, "audit.rotate", "audit", serde_json::json!({ "removed": removed })).await?;
    }
    compared?;
    rotated
}

async fn rotate(ctx: &Ctx, settings: &Settings, run: &Run, report: &mut MaintenanceReport) -> Result<()> {
    let now = ctx.now();
    for (old, setting, name, words) in HISTORY {
        let Some(before) = kept_since(settings, setting, now) else { continue };
        loop {
            run.check()?;
            let removed = rotation::delete_batch(&ctx.db, *old, before, BATCH).await?;
            if removed > 0 {
                let total = report.removed.entry((*name).to_owned()).or_default();
                *total += removed;
                run.progress(&Progress { stage: format!("removing old {words}"), rows: Some(*total), ..Progress::default() });
            }
            if removed < u64::from(BATCH) {
                break;
            }
        }
    }
    Ok(())
}

/// Old comparisons: the report of each, then its row. A report that cannot be removed fails the task, and keeps its row; both are
/// tried again the next day.
async fn forget_comparisons(ctx: &Ctx, settings: &Settings, run: &Run, report: &mut MaintenanceReport) -> Result<()> {
    let Some(before) = kept_since(settings, "historyRetentionDays", ctx.now()) else { return Ok(()) };
    loop {
        let old = db::diffs::retire(&ctx.db, before, REPORTS).await?;
        if old.is_empty() {
            return Ok(());
        }
        for id in old {
            run.check()?;
            compare::execute::remove_report(ctx, id).await?;
            if db::diffs::delete_retired(&ctx.db, id).await? {
                let total = report.removed.entry(COMPARISONS.to_owned()).or_default();
                *total += 1;
                run.progress(&Progress { stage: "removing old comparisons".into(), rows: Some(*total), ..Progress::default() });
            }
        }
    }
}

/// `None`: everything is kept.
fn kept_since(settings: &Settings, setting: &str, now: Moment) -> Option<Moment> {
    settings.integer(setting).filter(|days| *days > 0).map(|days| now.plus(-days * DAY))
}

fn in_words(report: &MaintenanceReport) -> Vec<String> {
    let named = |name: &String| HISTORY.iter().find(|row| row.2 == name).map_or(COMPARISONS, |row| row.3);
    match report.removed.is_empty() {
        true => vec!["No history was old enough to be removed.".to_owned()],
        false => report.removed.iter().map(|(name, removed)| format!("{removed} {} were removed.", named(name))).collect(),
    }
}
