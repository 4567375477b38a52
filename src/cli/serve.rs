//! `dbsnap serve`: the pages, the API, the workers.

use std::process::ExitCode;

use crate::{app, config::Config, error::Result};

/// Serve the pages and the API, and run the jobs.
///
/// Needs ENCRYPTION_KEY. Listens on HOSTNAME:PORT, 0.0.0.0:3000 by default.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=$(openssl rand -base64 48) dbsnap serve")]
pub struct Args {}

pub async fn run(_: Args, config: Config) -> Result<ExitCode> {
    app::serve(config).await?;
    Ok(ExitCode::SUCCESS)
}
