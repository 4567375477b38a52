//! `dbsnap import`: an exported configuration into this catalogue.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    app,
    config::Config,
    domain::permissions::Actor,
    error::{Context, Kind, Result},
    services::transfer,
};

/// Add the databases and settings of an exported configuration.
///
/// A database whose name is taken is left as it is. Everything is checked before anything is written. The server must
/// not be running.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap import dbsnap-config.json")]
pub struct Args {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let bytes = std::fs::read(&args.file).context(Kind::Validation, || format!("reading {}", args.file.display()))?;
    let opened = app::open(config).await?;
    let imported = transfer::import(&opened.ctx, &Actor::system(), &bytes).await?;
    if args.json {
        println!("{}", serde_json::json!(imported));
    } else {
        println!("Added: {}. Left as they are: {}.", names(&imported.added), names(&imported.kept));
    }
    Ok(ExitCode::SUCCESS)
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
