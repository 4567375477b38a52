//! `dbsnap snapshot`: snapshots as files, made and looked at without a server or a catalogue.

use std::{path::Path, process::ExitCode, sync::Arc};

use clap::Subcommand;

use super::input;
use crate::{
    config::Config,
    domain::artifact::ArtifactKind,
    error::{Error, Result},
    services::{manifests::Seal, snapshots},
    snapshot::Snapshot,
};

mod create;
mod ls;
mod show;

/// Make a snapshot of a database, and look into one; needs no server.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  dbsnap snapshot create --url sqlite:///data/shop.db --to shop.snap --no-encrypt\n  dbsnap snapshot ls shop.snap"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create(create::Args),
    Ls(ls::Args),
    Show(show::Args),
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    match args.command {
        Command::Create(args) => create::run(args, config).await,
        Command::Ls(args) => ls::run(args, config).await,
        Command::Show(args) => show::run(args, config).await,
    }
}

/// The snapshot in a file, or beside a manifest.
async fn open(file: &Path, config: &Config) -> Result<Arc<Snapshot>> {
    let keys = input::key_ring(config).await?;
    let path = input::existing(file)?;
    if !input::is_manifest(&path) {
        return snapshots::open_file(&path, keys.as_ref()).await.map(Arc::new);
    }
    let found = input::open_manifest(&path, keys.as_ref()).await?;
    if found.seal != Seal::Intact {
        found.warn_of_seal(keys.is_some());
    }
    let artifact =
        found.artifacts.iter().find(|artifact| artifact.kind == ArtifactKind::Snapshot).ok_or_else(|| {
            Error::validation(format!("{} has no snapshot", path.display())).hint("back up with --artifacts dump,snapshot")
        })?;
    snapshots::open_stored(found.store.clone(), artifact, keys.as_ref()).await.map(Arc::new)
}
