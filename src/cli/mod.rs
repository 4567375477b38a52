//! The command line, one file per subcommand.
//!
//! Exit codes: 0 done; 1 it failed, or a verification found damage; 2 the call or its input is not valid.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    config::Config,
    error::{Error, Kind, Result},
    logging,
};

mod backup;
mod decrypt;
mod demo;
mod diff;
mod export;
mod healthcheck;
mod import;
mod input;
mod openapi;
mod rebuild;
mod restore;
mod retention;
mod schedule;
mod serve;
mod snapshot;
mod terminal;
mod verify;

/// Backs up, verifies and restores your databases.
#[derive(Parser)]
#[command(
    name = "dbsnap",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed or damaged, 2 not a valid call or input.\nConfiguration comes from the environment, see docs/configuration.md."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Verify(verify::Args),
    Snapshot(snapshot::Args),
    Diff(diff::Args),
    Decrypt(decrypt::Args),
    Retention(retention::Args),
    Rebuild(rebuild::Args),
    Schedule(schedule::Args),
    Export(export::Args),
    Import(import::Args),
    Healthcheck(healthcheck::Args),
    Openapi(openapi::Args),
}

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("dbsnap: the runtime could not be started: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli.command));
    // Threads that still wait for a slow disk or reader do not hold the process back.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dbsnap: {error}");
            exit_code(&error)
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args, load(true)?).await,
        Command::Demo(args) => demo::run(args, load(false)?).await,
        Command::Backup(args) => backup::run(args, load(false)?).await,
        Command::Restore(args) => restore::run(args, load(false)?).await,
        Command::Verify(args) => verify::run(args, load(false)?).await,
        Command::Snapshot(args) => snapshot::run(args, load(false)?).await,
        Command::Diff(args) => diff::run(args, load(false)?).await,
        Command::Decrypt(args) => decrypt::run(args, load(false)?).await,
        Command::Retention(args) => retention::run(args),
        Command::Rebuild(args) => rebuild::run(args, load(false)?).await,
        Command::Schedule(args) => schedule::run(args),
        Command::Export(args) => export::run(args, load(false)?).await,
        Command::Import(args) => import::run(args, load(false)?).await,
        Command::Healthcheck(args) => healthcheck::run(args, load(false)?).await,
        Command::Openapi(args) => openapi::run(args),
    }
}

/// The configuration, with logs going to standard error: as configured for the server, only warnings for the others.
fn load(server: bool) -> Result<Config> {
    let config = Config::load()?;
    logging::init(if server { &config.log_level } else { "error" }, config.log_format)?;
    Ok(config)
}

fn exit_code(error: &Error) -> ExitCode {
    match error.kind {
        Kind::Validation | Kind::NotFound => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
