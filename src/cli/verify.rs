//! `dbsnap verify`: reads a backup whole and compares it with its manifest.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use futures_util::StreamExt;
use serde_json::json;

use super::{input, terminal::Terminal};
use crate::{
    config::Config,
    domain::{artifact::ArtifactKind, database::Settings, run::Run},
    engines,
    error::{Error, Result},
    pipeline::{Limits, keys::KeyRing},
    services::{
        manifests::Seal,
        restore::{source, upload},
        snapshots,
        verify::{
            self,
            deep::{Compared, Deep},
        },
    },
};

/// Read a backup whole and prove that it is intact.
///
/// With a manifest: its signature, sizes, checksums, the encryption to the last chunk, the dump's structure and row
/// counts, every hash of the snapshot. With a file alone: what can be told without a manifest. Exit code 1 means damaged, 2 that it could not be checked.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap verify backups/shop_manual_20251116_143022_abc123.manifest.json")]
pub struct Args {
    /// A manifest or an artifact.
    #[arg(value_name = "FILE_OR_MANIFEST")]
    file: PathBuf,
    /// Restore the dump into a scratch database too, and compare every row there with the backup's own snapshot.
    #[arg(long)]
    deep: bool,
    /// With --deep: the server that holds the scratch database (dbsnap_verify_...) for a while, as the URL of any database on
    /// it; not needed for SQLite.
    #[arg(long, env = "DBSNAP_URL", hide_env_values = true)]
    url: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

struct Report {
    signature: &'static str,
    bytes: u64,
    rows: Option<u64>,
    problems: Vec<String>,
    /// Rows that were compared with the snapshot.
    compared: Option<u64>,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let keys = input::key_ring(&config).await?;
    let terminal = Terminal::new(false);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    let report = if input::is_manifest(&args.file) {
        by_manifest(&args, keys.as_ref(), &run).await
    } else {
        by_file(&args, keys.as_ref(), &run).await
    };
    terminal.done();
    let report = report?;
    let intact = report.problems.is_empty();
    if args.json {
        println!(
            "{}",
            json!({
                "intact": intact, "signature": report.signature, "bytes": report.bytes, "rows": report.rows,
                "rowsCompared": report.compared, "problems": report.problems,
            })
        );
    } else if intact {
        let rows = report.rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
        println!("Intact: {} plain bytes read{rows}; signature: {}.", report.bytes, report.signature);
        if let Some(compared) = report.compared {
            println!("The restored dump has exactly the {compared} rows of the snapshot.");
        }
    } else {
        println!("DAMAGED: {}", args.file.display());
        for problem in &report.problems {
            println!("  {problem}");
        }
    }
    Ok(if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn by_manifest(args: &Args, keys: Option<&KeyRing>, run: &Run) -> Result<Report> {
    input::existing(&args.file)?;
    let found = match input::open_manifest(&args.file, keys).await {
        Ok(found) => found,
        Err(error) => return Ok(Report { signature: "none", bytes: 0, rows: None, problems: vec![error.to_string()], compared: None }),
    };
    if found.manifest.artifacts.iter().any(|artifact| artifact.key_id.is_some()) && keys.is_none() {
        return Err(Error::validation("the backup is encrypted, but there is no key").hint("set ENCRYPTION_KEY"));
    }
    found.warn_of_seal(keys.is_some());
    let findings = verify::verify(&found.manifest, found.seal, &found.artifacts, found.store.clone(), keys, run).await?;
    let signature = match findings.seal {
        Seal::Intact => "valid",
        Seal::Unsigned => "none",
        Seal::Unchecked => "not checked, there is no ENCRYPTION_KEY",
    };
    let rows = found.manifest.tables.iter().map(|table| table.rows).sum();
    let mut report = Report { signature, bytes: findings.bytes, rows: Some(rows), problems: findings.problems, compared: None };
    if args.deep && report.problems.is_empty() {
        let compared = deeply(args, found, keys, run).await?;
        for note in &compared.notes {
            eprintln!("warn: {note}");
        }
        report.problems = compared.problems;
        report.compared = Some(compared.rows);
    }
    Ok(report)
}

/// Restores the dump beside and compares it with the snapshot.
async fn deeply(args: &Args, found: input::Found, keys: Option<&KeyRing>, run: &Run) -> Result<Compared> {
    let engine = engines::find(&found.manifest.engine)?;
    let settings = match &args.url {
        Some(url) => {
            let (named, settings) = input::database(url)?;
            if named.info().id != engine.info().id {
                return Err(Error::validation(format!("--url is of {}, the backup of {}", named.info().label, engine.info().label)));
            }
            settings
        }
        None if engine.info().target_field == "path" => Settings::new(),
        None => {
            return Err(Error::validation("a deep verification needs a server that holds a scratch database for a while")
                .hint("name one with --url, such as the server that was backed up"));
        }
    };
    let artifact = found.artifacts.iter().find(|artifact| artifact.kind == ArtifactKind::Snapshot);
    let (Some(artifact), true) = (artifact, found.artifacts.iter().any(|artifact| artifact.kind == ArtifactKind::Dump)) else {
        return Err(Error::validation("a deep verification compares a dump with a snapshot, and the backup has not both")
            .hint("back up with --artifacts dump,snapshot"));
    };
    let snapshot = Arc::new(snapshots::open_stored(found.store.clone(), artifact, keys).await?);
    let source = source::Stored { store: found.store, artifacts: found.artifacts, keys: keys.cloned() };
    let (backup, expected) = (found.manifest.backup_id, found.manifest.tables);
    Deep { backup, engine, settings: &settings, source: &source, expected: &expected, snapshot }.verify(run).await
}

async fn by_file(args: &Args, keys: Option<&KeyRing>, run: &Run) -> Result<Report> {
    let path = input::existing(&args.file)?;
    if args.deep {
        return Err(Error::validation("a deep verification needs the backup's manifest: it compares its dump with its snapshot"));
    }
    let mut report = Report { signature: "none (no manifest was given)", bytes: 0, rows: None, problems: Vec::new(), compared: None };
    if let Err(error) = read_file(&path, keys, run, &mut report).await {
        if error.is_cancelled() {
            return Err(error);
        }
        report.problems.push(error.to_string());
    }
    Ok(report)
}

async fn read_file(path: &std::path::Path, keys: Option<&KeyRing>, run: &Run, report: &mut Report) -> Result<()> {
    if upload::is_snapshot(path).await? {
        let snapshot = snapshots::open_file(path, keys).await?;
        report.bytes = snapshot.size();
        report.rows = Some(verify::prove_all(Arc::new(snapshot), run).await?);
        return Ok(());
    }
    let found = upload::recognise(path, keys, Limits::default()).await?;
    let mut inspector = found.engine.inspector(found.format);
    let mut plain = source::open_file(path, keys, Limits::default()).await?;
    while let Some(piece) = run.until_cancelled(async { plain.next().await.transpose() }).await? {
        inspector.feed(&piece)?;
        report.bytes += piece.len() as u64;
    }
    let counts = inspector.finish()?;
    report.rows = (!counts.is_empty()).then(|| counts.iter().map(|table| table.rows).sum());
    Ok(())
}
