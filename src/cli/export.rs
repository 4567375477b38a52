//! `dbsnap export`: the configuration as one JSON file.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, process::ExitCode};

use crate::{
    app,
    config::Config,
    domain::permissions::Actor,
    error::{Context, Kind, Result},
    services::transfer,
};

/// Write the configuration (databases and settings) as one JSON file.
///
/// Passwords in it stay sealed: it opens only with the same ENCRYPTION_KEY. Backups are not in it; `dbsnap rebuild`
/// finds them. The server must not be running.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap export -o dbsnap-config.json")]
pub struct Args {
    /// Where to write; standard output by default.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let opened = app::open(config).await?;
    let export = transfer::export(&opened.ctx, &Actor::system()).await?;
    let text = serde_json::to_string_pretty(&export).context(Kind::Internal, || "writing the configuration".into())?;
    match args.output {
        Some(path) => {
            let naming = || format!("writing {}", path.display());
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).context(Kind::Validation, naming)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).context(Kind::Storage, naming)?;
            println!("Configuration written to {}.", path.display());
        }
        None => println!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}
