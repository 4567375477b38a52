//! `dbsnap rebuild`: the catalogue from the manifests in a store.

use std::process::ExitCode;

use super::{input, terminal::Terminal};
use crate::{
    app,
    config::Config,
    domain::permissions::Actor,
    error::{Error, Result},
    services::{rebuild, stores},
};

/// Rebuild the catalogue from the manifests in a store.
///
/// For a lost or damaged catalogue: with the same ENCRYPTION_KEY every backup is found again. Forged or incomplete
/// ones are named and left out. The server must not be running.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap rebuild")]
pub struct Args {
    /// The store's name.
    #[arg(long, default_value = "Local")]
    store: String,
    /// Also add backups that carry no signature.
    #[arg(long)]
    accept_unsigned: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let terminal = Terminal::new(!args.json);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    let opened = app::open(config).await?;
    let actor = Actor::system();
    let stores = stores::list(&opened.ctx, &actor).await?;
    let store = stores.iter().find(|store| store.name == args.store).ok_or_else(|| {
        let known: Vec<_> = stores.iter().map(|store| store.name.as_str()).collect();
        Error::not_found(format_args!("store '{}'", args.store)).hint(format!("there are: {}", known.join(", ")))
    })?;
    let rebuilt = rebuild::rebuild(&opened.ctx, &actor, store.id, args.accept_unsigned, &run).await;
    terminal.done();
    let rebuilt = rebuilt?;
    if args.json {
        println!("{}", serde_json::json!(rebuilt));
    } else {
        println!("{} backups added, {} known already, {} refused.", rebuilt.added, rebuilt.known, rebuilt.refused.len());
    }
    Ok(if rebuilt.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
