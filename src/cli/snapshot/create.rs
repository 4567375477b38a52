//! `dbsnap snapshot create`: one snapshot into a file.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::super::{input, terminal::Terminal};
use crate::{
    config::Config,
    domain::{backup::SnapshotOptions, fields::validate},
    error::{Context, Error, Kind, Result},
    services::snapshots::{self, Spec},
};

/// Write a snapshot of one moment of a database into a file.
///
/// The rows are read in one read-only transaction, ordered by their keys and compressed on the way. Nothing is left behind
/// when it fails.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap snapshot create --url postgresql://app:secret@localhost/shop --to shop.snap")]
pub struct Args {
    /// The database, as in `dbsnap backup`. Prefer the environment variable: other users of this machine can read command
    /// lines.
    #[arg(long, env = "DBSNAP_URL", hide_env_values = true)]
    url: String,
    /// The file to write; never replaces one.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Do not encrypt.
    #[arg(long)]
    no_encrypt: bool,
    /// Keep only a share of a table's rows, such as events=0.01; repeat it for more tables, `*` stands for any text. Such a
    /// snapshot is for looking and comparing: it is never restored.
    #[arg(long = "sample", value_name = "TABLE=SHARE")]
    samples: Vec<String>,
    /// An option of the engine, such as excludeTables=log; repeat it for more, and for lists.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
    /// Show every log line.
    #[arg(long, short)]
    verbose: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let (engine, settings) = input::database(&args.url)?;
    let options = validate(engine.info().dump_options, &input::options(&args.options)?)
        .map_err(|error| error.hint(format!("options of {}: {}", engine.info().label, input::known_options(engine, false))))?;
    let sample = input::samples(&args.samples)?;
    let folder = args.to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let keys = if args.no_encrypt { None } else { input::key_ring_beside(&config, folder).await? };
    if keys.is_none() && !args.no_encrypt {
        return Err(
            Error::validation("there is no key to encrypt with").hint("set ENCRYPTION_KEY (32 or more characters), or pass --no-encrypt")
        );
    }
    let name = args.to.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    std::fs::create_dir_all(folder).context(Kind::Validation, || format!("making the folder {}", folder.display()))?;
    let store = input::folder_store(&input::existing(folder)?)?;
    if args.to.exists() {
        return Err(Error::validation(format!("{} exists already", args.to.display())).hint("choose another name"));
    }
    let terminal = Terminal::new(args.verbose);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    let database = settings.get(engine.info().target_field).and_then(serde_json::Value::as_str).unwrap_or("database");
    let written = async {
        let mut source = engine.open_source(&settings, &options, &run).await?;
        let facts = source.facts().clone();
        let spec = Spec {
            engine: engine.info().id,
            database: database.rsplit('/').next().unwrap_or(database),
            options: &SnapshotOptions { sample },
            partial: engine.partial(&options).is_some(),
            keys: keys.as_ref(),
        };
        snapshots::write(source.as_mut(), &spec, store.as_ref(), &name, &run).await.map(|written| (written, facts))
    };
    let written = written.await;
    terminal.done();
    input::tell_learned(&run);
    let (written, facts) = written?;
    let rows: u64 = written.tables.iter().map(|table| table.rows).sum();
    if args.json {
        println!(
            "{}",
            json!({
                "file": args.to, "size": written.size, "sha256": written.sha256, "moment": facts.moment,
                "serverVersion": facts.server_version, "rows": rows, "tables": written.kept(), "warnings": written.warnings,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &written.warnings {
        eprintln!("warn: {warning}");
    }
    println!("{}: {rows} rows in {} tables, {} bytes, as of {}.", args.to.display(), written.tables.len(), written.size, facts.moment);
    Ok(ExitCode::SUCCESS)
}
