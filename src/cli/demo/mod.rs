//! `dbsnap demo`: shows the product on a small shop database, with nothing but this binary.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use indicatif::{HumanBytes, ProgressBar};
use rand::{RngExt, distr::Alphanumeric};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::terminal;
use crate::{
    app::{self, Signals},
    config::{AuthMode, Config},
    domain::{
        backup::Backup,
        database::Settings,
        events::Event,
        ids::{DatabaseId, JobId},
        job::JobStatus,
        permissions::Actor,
        restore::{RestoreMode, RestorePlan},
        secret::Secret,
    },
    error::{Context, Error, Kind, Result},
    services::{
        Ctx, backup,
        databases::{self, DatabaseInput},
        jobs, restore,
    },
};

mod shop;

/// Make a small shop database, back it up, change it, back it up again, verify, restore the first state into a new
/// file, then serve the pages on it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dbsnap demo\n  dbsnap demo --once")]
pub struct Args {
    /// End after the demonstration instead of serving.
    #[arg(long)]
    once: bool,
    /// Keep everything in this new folder; by default a temporary one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let temporary =
        tempfile::Builder::new().prefix("dbsnap-demo-").tempdir().context(Kind::Storage, || "making a temporary folder".into())?;
    let folder = match &args.dir {
        Some(dir) => {
            std::fs::create_dir(dir).context(Kind::Validation, || format!("making the new folder {}", dir.display()))?;
            dir.canonicalize().context(Kind::Validation, || format!("opening {}", dir.display()))?
        }
        None => temporary.path().to_owned(),
    };
    let running = app::start(demo_config(config, &folder)?).await?;
    let shown = show(&running.opened.ctx, &folder).await;
    if shown.is_ok() && !args.once {
        let mut signals = Signals::listen()?;
        println!("\nSee it at http://{}  (Ctrl-C ends the demo)", running.address);
        running.until_stopped(&mut signals).await?;
    } else {
        running.stop().await?;
    }
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// A product of its own in `folder`, reachable from this machine only, with a key made for this demo.
fn demo_config(config: Config, folder: &std::path::Path) -> Result<Config> {
    let key: String = rand::rng().sample_iter(Alphanumeric).take(48).map(char::from).collect();
    let key_file = folder.join("encryption-key.txt");
    std::fs::write(&key_file, &key).context(Kind::Storage, || format!("writing {}", key_file.display()))?;
    let taken = std::net::TcpListener::bind(("127.0.0.1", config.port)).is_err();
    Ok(Config {
        encryption_key: Some(Secret::new(key)),
        hostname: "127.0.0.1".into(),
        port: if taken { 0 } else { config.port },
        data_dir: folder.join("data"),
        database_path: folder.join("data/dbsnap.db"),
        backup_storage_path: folder.join("backups"),
        auth_mode: AuthMode::None,
        ..config
    })
}

async fn show(ctx: &Arc<Ctx>, folder: &std::path::Path) -> Result<()> {
    let actor = Actor::system();
    let file = folder.join("shop.db");
    println!("DBSnap demo in {}\n", folder.display());

    let made = shop::create(&file)?;
    println!("1. Made a shop database: {made}");
    let database = databases::create(ctx, &actor, input(&file)).await?.id;

    let first = back_up(ctx, &actor, database).await?;
    println!("2. Backed it up: {}", summary(&first));

    let changed = shop::change(&file)?;
    println!("3. Changed it: {changed}");

    let second = back_up(ctx, &actor, database).await?;
    println!("4. Backed it up again: {}", summary(&second));

    for backup in [&first, &second] {
        let job = backup::verify(ctx, &actor, backup.id, backup::VerifyRequest::default()).await?;
        watch(ctx, &actor, job.id, "verifying").await?;
    }
    println!("5. Verified both: every byte read, decrypted, and equal to what was backed up");

    let target = folder.join("shop-as-it-was.db");
    let plan = RestorePlan { mode: RestoreMode::New, target_name: Some(target.display().to_string()), ..RestorePlan::default() };
    let request = restore::RestoreRequest {
        backup_id: Some(first.id),
        upload_id: None,
        database_id: database,
        plan,
        confirm: "shop-as-it-was.db".into(),
    };
    let started = restore::start(ctx, &actor, request).await?;
    let job = started.job_id.ok_or_else(|| Error::internal("a restore without a job"))?;
    watch(ctx, &actor, job, "restoring").await?;
    let restored = restore::get(ctx, &actor, started.id).await?;
    let rows: u64 = restored.tables.iter().map(|table| table.rows).sum();
    println!("6. Restored the first backup into {}: {rows} rows, counted and checked", target.display());
    println!("   {}", shop::compare(&file, &target)?);
    Ok(())
}

fn input(file: &std::path::Path) -> DatabaseInput {
    let mut settings: Settings = Map::new();
    settings.insert("path".into(), Value::String(file.display().to_string()));
    DatabaseInput { name: "shop".into(), engine: "sqlite".into(), settings, ..DatabaseInput::default() }
}

async fn back_up(ctx: &Arc<Ctx>, actor: &Actor, database: DatabaseId) -> Result<Backup> {
    let queued = backup::start(ctx, actor, backup::BackupRequest { database_id: database, options: None }).await?;
    let job = queued.job_id.ok_or_else(|| Error::internal("a backup without a job"))?;
    watch(ctx, actor, job, "backing up").await?;
    let job = jobs::get(ctx, actor, job).await?;
    backup::get(ctx, actor, job.backup_id.unwrap_or(queued.id)).await
}

/// Shows a job's progress until it is over. Errors with the job's reason unless it completed.
async fn watch(ctx: &Arc<Ctx>, actor: &Actor, id: JobId, what: &str) -> Result<()> {
    let mut events = ctx.events.subscribe();
    let bar = ProgressBar::new(100).with_style(terminal::style()).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(80));
    loop {
        let job = jobs::get(ctx, actor, id).await?;
        if job.status.is_over() {
            bar.finish_and_clear();
            return match job.status {
                JobStatus::Completed => Ok(()),
                status => Err(Error::internal(format!("{what}: {status}: {}", job.error.unwrap_or_default()))),
            };
        }
        // Whatever else comes, or nothing for a while: the loop reads the job's state anew.
        if let Ok(Ok(Event::Progress { job_id, progress })) = timeout(Duration::from_secs(1), events.recv()).await
            && job_id == id
        {
            bar.set_position(u64::from(progress.percent().unwrap_or(0)));
            bar.set_message(terminal::message(&progress));
        }
    }
}

fn summary(backup: &Backup) -> String {
    format!(
        "{} rows in {} tables, {} stored from {}, encrypted{}",
        backup.rows(),
        backup.tables.len(),
        HumanBytes(backup.stored_size()),
        HumanBytes(backup.plain_size()),
        backup.duration_ms().map(|ms| format!(", in {ms} ms")).unwrap_or_default(),
    )
}
