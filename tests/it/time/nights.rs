//! A year of real backups by night: schedule, retries and retention together, on the product's own workers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dbsnap::{
    db,
    domain::{
        backup::BackupStatus,
        filter::{BackupFilter, JobFilter},
        ids::OrganizationId,
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::Actor,
        retention::{Action, Entry, Policy, plan},
        run::Run,
        schedule::RunStatus,
        time::Moment,
    },
    error::{Error, Result},
    jobs::{self, Timing, Work},
    services::{self, Ctx, retention, schedules},
};
use serde_json::json;

use super::{HOME, World, moment};

/// The product's own work; a number of attempts at backups fail first, for a reason that passes.
struct Shaky {
    ctx: Arc<Ctx>,
    failures: Arc<AtomicU32>,
}

#[async_trait]
impl Work for Shaky {
    async fn execute(&self, organization: OrganizationId, job: &Job, run: Run) -> Result<()> {
        let take = |left: u32| left.checked_sub(1);
        if job.kind == JobKind::Backup && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(Error::internal("the network went away").retryable());
        }
        services::execute(&self.ctx, organization, job, run).await
    }

    async fn settle(&self, organization: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()> {
        services::settle(&self.ctx, organization, job, outcome, error).await
    }

    async fn completed(&self, organization: OrganizationId, job: &Job) -> Result<bool> {
        services::completed(&self.ctx, organization, job).await
    }

    async fn ended(&self, organization: OrganizationId, job: &Job) -> Result<()> {
        services::ended(&self.ctx, organization, job).await
    }
}

/// Lets the workers come to the end of everything; the clock goes on to each retry that waits.
async fn until_idle(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let open = async |status| {
            let filter = JobFilter { status: Some(status), ..JobFilter::default() };
            db::jobs::list(&world.ctx().db, HOME, &filter, PageRequest::default()).await.unwrap().items
        };
        let queued = open(JobStatus::Queued).await;
        let unfinished = db::jobs::to_follow_up(&world.ctx().db, 1).await.unwrap();
        if queued.is_empty() && open(JobStatus::Running).await.is_empty() && unfinished.is_empty() {
            return;
        }
        if let Some(retry) = queued.iter().map(|job| job.run_after).min().filter(|retry| *retry > world.ctx().now()) {
            world.clock.set(retry);
        }
        world.ctx().queued.notify_one();
        assert!(Instant::now() < deadline, "jobs stay open: {queued:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The good backups that the catalogue lists, as a plan takes them.
async fn listed(world: &World) -> Vec<Entry> {
    let filter = BackupFilter { status: Some(BackupStatus::Completed), ..BackupFilter::default() };
    let page = db::backups::list(&world.ctx().db, HOME, &filter, PageRequest { page: 1, limit: 200 }).await.unwrap();
    assert!(page.total <= 200);
    let entry = |backup: dbsnap::domain::backup::Backup| {
        serde_json::from_value(json!({
            "id": backup.id, "completedAt": backup.finished_at, "status": "completed", "sizeBytes": backup.stored_size(), "pinned": false,
        }))
        .unwrap()
    };
    page.items.into_iter().map(entry).collect()
}

fn dumps_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { dumps_in(&path) } else { usize::from(path.to_string_lossy().contains(".dump")) }).sum()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    let mut ids: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_nights_keeps_what_the_policy_says_through_failures_and_changes_of_clocks() {
    let world = World::at(moment("2026-01-01T00:00:00Z")).await;
    let rules = json!({"mode": "standard", "keepDaily": 7, "keepWeekly": 4, "keepMonthly": 6, "timezone": "Europe/Berlin"});
    let policy: Policy = serde_json::from_value(rules.clone()).unwrap();
    let mut named = rules;
    named["name"] = json!("generations");
    let stored = retention::create(world.ctx(), &Actor::system(), serde_json::from_value(named).unwrap()).await.unwrap();
    let database = world.database("shop").await;
    let options = json!({"artifacts": ["dump"], "encrypt": false, "compression": "none"});
    let more = json!({"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "retentionPolicyId": stored.policy.id, "attempts": 3, "options": options});
    let schedule = world.schedule(database, "nightly", more).await;

    let failures = Arc::new(AtomicU32::new(0));
    let work = Arc::new(Shaky { ctx: Arc::clone(world.ctx()), failures: Arc::clone(&failures) });
    let timing = Timing { poll: Duration::from_millis(5), ..Timing::of(&world.ctx().config) };
    let running = jobs::start_with(Arc::clone(world.ctx()), work, timing).await.unwrap();

    let mut model: Vec<Entry> = Vec::new();
    let (mut retried, mut lost) = (0, 0);
    for night in 0..365_u32 {
        // Every seventh night something passes by itself, every thirty-first it does not.
        let failing = if night % 31 == 30 { 3 } else { u32::from(night % 7 == 3) };
        failures.store(failing, Ordering::SeqCst);
        world.tick(world.next_due().await.plus(2_000)).await;
        until_idle(&world).await;
        // The backup is a few milliseconds younger than the clock that stands still.
        world.clock.set(world.ctx().now().plus(60_000));
        retention::start(world.ctx(), &Actor::system(), Some(database)).await.unwrap();
        until_idle(&world).await;

        let kept = listed(&world).await;
        let known = ids(&model);
        model.extend(kept.iter().filter(|entry| !known.contains(&entry.id)).cloned());
        let now: Moment = world.ctx().now();
        let decisions = plan(Some(&policy), &model, now, Some(365));
        let expected: Vec<_> =
            decisions.iter().filter(|decision| decision.action == Action::Keep).map(|decision| decision.id.clone()).collect();
        model.retain(|entry| expected.contains(&entry.id));
        assert_eq!(ids(&kept), ids(&model), "night {night}");
        assert_eq!(dumps_in(&world.ctx().config.backup_storage_path), kept.len(), "night {night}: rows and files agree");
        retried += u32::from(failing == 1);
        lost += u32::from(failing == 3);
    }
    running.shutdown().await;

    let runs = world.runs(&schedule).await;
    let count = |status| u32::try_from(runs.iter().filter(|run| run.status == status).count()).unwrap();
    assert_eq!((runs.len(), count(RunStatus::Completed), count(RunStatus::Failed)), (365, 365 - lost, lost));
    assert!(retried > 40 && lost == 11);
    let dead = JobFilter { dead: Some(true), ..JobFilter::default() };
    let dead = db::jobs::list(&world.ctx().db, HOME, &dead, PageRequest::default()).await.unwrap();
    assert_eq!(dead.total, u64::from(lost), "what was out of attempts waits for a person");
    assert!((12..=17).contains(&model.len()), "7 days, 4 weeks and 6 months, some of them the same: {}", model.len());
    let next = schedules::get(world.ctx(), &Actor::system(), schedule.schedule.id).await.unwrap();
    assert_eq!(next.last_run.unwrap().status, RunStatus::Completed);
}
