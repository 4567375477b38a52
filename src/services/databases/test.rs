//! Trying a connection: stored, or as a form has it.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{DatabaseInput, described, known_settings, open_settings, refuse_own_files};
use crate::{
    db,
    domain::{
        database::{Probe, Settings},
        fields::SettingsExt,
        ids::DatabaseId,
        permissions::{Actor, Permission},
        run::{Learned, Run, Silent},
    },
    engines,
    error::{Error, Kind, Result},
    services::{Ctx, learned, secrets},
};

/// What a test of a connection found.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    #[serde(flatten)]
    pub probe: Probe,
    /// Settings that were empty and are known now, such as `sshHostKey`. Those of a stored database are kept with it; of
    /// settings that are not stored yet they are to be sent along when these are.
    #[schema(value_type = Object)]
    pub learned: Settings,
    /// The connection does not leave this machine: what is not encrypted is nobody's to read.
    #[serde(skip)]
    pub stays_here: bool,
}

impl Tested {
    fn new(probe: Probe, settings: &Settings, run: &Run) -> Self {
        let direct = probe.connection.as_ref().is_some_and(|way| way.ssh.is_none() && way.proxy.is_none());
        let host = settings.text("host").unwrap_or_default();
        let here = host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        Self { probe, learned: run.learned.settings(), stays_here: direct && here }
    }
}

/// Connects to a configured database and looks around. What is learned on the way is kept, whatever comes after it.
pub async fn test(ctx: &Ctx, actor: &Actor, id: DatabaseId) -> Result<Tested> {
    actor.require(Permission::RunBackups)?;
    let database = db::databases::get(&ctx.db, actor.organization_id, id).await?;
    let settings = open_settings(ctx, &database)?;
    let (run, _scratch) = surroundings(ctx).await?;
    let probed = engines::find(&database.engine)?.probe(&settings, &run).await;
    learned::keep(ctx, actor, id, &settings, &run).await;
    Ok(Tested::new(probed?, &settings, &run))
}

/// Connects with settings that are not stored yet. With `existing`, absent secrets are taken from that database.
pub async fn test_input(ctx: &Ctx, actor: &Actor, input: DatabaseInput, existing: Option<DatabaseId>) -> Result<Tested> {
    actor.require(Permission::Configure)?;
    let (engine, settings) = described(&input)?;
    let before = match existing {
        Some(id) => Some(db::databases::get(&ctx.db, actor.organization_id, id).await?),
        None => None,
    };
    let known = known_settings(ctx, actor, engine, before.as_ref(), input.draft.as_deref())?;
    let settings = secrets::merge(engine.info().connection, settings, &known)?;
    refuse_own_files(ctx, engine, &settings)?;
    let (run, _scratch) = surroundings(ctx).await?;
    let probe = engine.probe(&settings, &run).await?;
    Ok(Tested::new(probe, &settings, &run))
}

/// What a test is given: nobody hears its log, and its temporary files go with the returned folder.
async fn surroundings(ctx: &Ctx) -> Result<(Run, tempfile::TempDir)> {
    let scratch = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(private_dir(ctx).await?)
        .map_err(|cause| Error::new(Kind::Storage, "making a temporary folder").source(cause))?;
    let run = Run {
        cancel: CancellationToken::new(),
        observer: Arc::new(Silent),
        scratch: scratch.path().to_owned(),
        tool_dirs: ctx.config.tool_dirs(),
        learned: Learned::default(),
        limits: Default::default(),
    };
    Ok((run, scratch))
}

/// The scratch root, made private when it is not there.
async fn private_dir(ctx: &Ctx) -> Result<PathBuf> {
    let path = ctx.scratch_root();
    let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).await;
    made.map_err(|cause| Error::new(Kind::Storage, format!("making {}", path.display())).source(cause))?;
    Ok(path)
}
