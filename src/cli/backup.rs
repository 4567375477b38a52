//! `dbsnap backup`: one backup into a folder, without a server or a catalogue.

use std::{path::PathBuf, process::ExitCode};

use serde_json::{Value, json};

use super::{input, terminal::Terminal};
use crate::{
    config::Config,
    domain::{
        artifact::ArtifactKind,
        backup::{BackupOptions, BackupType, SnapshotOptions},
        compression::Compression,
        fields::validate,
        ids::{BackupId, StoreId},
        time::Moment,
    },
    error::{Context, Error, Kind, Result},
    services::backup::produce::{Plan, produce},
};

/// Back up one database into a folder; needs no server.
///
/// Writes the artifacts and a manifest. Nothing is left behind when it fails.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap backup --url postgresql://app:secret@localhost/shop --to ./backups")]
pub struct Args {
    /// The database, such as postgresql://user:password@host:5432/name, mysql://user:password@host/name,
    /// mongodb://user:password@host/name or sqlite:///path/file.db; every connection setting may be a parameter, such as
    /// ?sslmode=verify-full&sshHost=bastion, see docs/options.md. Prefer the environment variable: other users of this
    /// machine can read command lines.
    #[arg(long, env = "DBSNAP_URL", hide_env_values = true)]
    url: String,
    /// The folder to write into; made when it is not there.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which artifacts to make: dump, snapshot or both.
    #[arg(long, value_delimiter = ',', default_values = ["dump", "snapshot"])]
    artifacts: Vec<ArtifactKind>,
    /// Keep only a share of a table's rows in the snapshot, such as events=0.01; repeat it for more tables.
    #[arg(long = "sample", value_name = "TABLE=SHARE")]
    samples: Vec<String>,
    /// Do not encrypt. The files are then plain: zstd -d FILE | pg_restore.
    #[arg(long)]
    no_encrypt: bool,
    /// zstd:1 to zstd:19, gzip:0 to gzip:9, or none.
    #[arg(long, default_value_t)]
    compression: Compression,
    /// Compress with a second thread.
    #[arg(long)]
    multi_thread: bool,
    /// The name in file names; the database's own by default.
    #[arg(long)]
    name: Option<String>,
    /// An option of the engine, such as schemaOnly=true; repeat it for more, and for lists.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Print the manifest's facts as JSON.
    #[arg(long)]
    json: bool,
    /// Show every log line.
    #[arg(long, short)]
    verbose: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let (engine, settings) = input::database(&args.url)?;
    let engine_options = validate(engine.info().dump_options, &input::options(&args.options)?)
        .map_err(|error| error.hint(format!("options of {}: {}", engine.info().label, input::known_options(engine, false))))?;
    let options = BackupOptions {
        compression: args.compression,
        multi_thread: args.multi_thread,
        encrypt: !args.no_encrypt,
        artifacts: args.artifacts,
        snapshot: SnapshotOptions { sample: input::samples(&args.samples)? },
        engine: engine_options,
    };
    let keys = input::key_ring_beside(&config, &args.to).await?;
    if options.encrypt && keys.is_none() {
        return Err(
            Error::validation("there is no key to encrypt with").hint("set ENCRYPTION_KEY (32 or more characters), or pass --no-encrypt")
        );
    }
    let name = args.name.unwrap_or_else(|| database_name(settings.get(engine.info().target_field)));
    let terminal = Terminal::new(args.verbose);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    std::fs::create_dir_all(&args.to).context(Kind::Validation, || format!("making the folder {}", args.to.display()))?;
    let folder = input::existing(&args.to)?;
    let store = input::folder_store(&folder)?;
    let plan = Plan {
        id: BackupId::new(),
        database: &name,
        kind: BackupType::Manual,
        schedule_id: None,
        engine,
        settings: &settings,
        options: &options,
        started_at: Moment::now(),
        instance_id: "standalone",
        store_id: StoreId::LOCAL,
        folder: None,
    };
    let produced = produce(&plan, store.as_ref(), keys.as_ref(), &run).await;
    terminal.done();
    input::tell_learned(&run);
    let produced = produced?;
    let manifest_path = folder.join(&produced.manifest_key);
    let files: Vec<_> = produced.artifacts.iter().map(|artifact| folder.join(&artifact.key)).collect();
    if args.json {
        println!("{}", json!({ "manifestPath": manifest_path, "artifactPaths": files, "manifest": produced.manifest }));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: u64 = produced.manifest.tables.iter().map(|table| table.rows).sum();
    println!("Backed up '{name}': {rows} rows in {} tables.", produced.manifest.tables.len());
    for (artifact, file) in produced.artifacts.iter().zip(&files) {
        println!("  {}  {} bytes ({} before compression)", file.display(), artifact.stored_size, artifact.plain_size);
    }
    println!("  {}", manifest_path.display());
    Ok(ExitCode::SUCCESS)
}

/// The database's own name, or its file's name.
fn database_name(target: Option<&Value>) -> String {
    let target = target.and_then(Value::as_str).unwrap_or("database");
    target.rsplit('/').next().unwrap_or(target).to_owned()
}
