//! Trying a connection: stored, or as a form has it.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{DatabaseInput, described, known_settings, open_settings, refuse_own_files};
use crate::{
    db,
    domain::{
        database::{Probe, Settings},
        fields::SettingsExt,
        ids::{DatabaseId, OrganizationId},
        permissions::{Actor, Permission},
        run::{Learned, Run, Silent},
    },
    engines,
    error::{Error, Kind, Result},
    services::{Ctx, learned, secrets},
};

/// How long a database may take to tell what it does.
const ASKING: Duration = Duration::from_secs(10);

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

/// Connections that do something in a configured database; `None` where its engine or its account cannot tell.
/// Errors when it takes longer than [`ASKING`].
pub(in crate::services) async fn active_connections(ctx: &Ctx, organization: OrganizationId, id: DatabaseId) -> Result<Option<u32>> {
    let database = db::databases::get(&ctx.db, organization, id).await?;
    let settings = open_settings(ctx, &database)?;
    let (run, _scratch) = surroundings(ctx).await?;
    let asking = engines::find(&database.engine)?.active_connections(&settings, &run);
    let late = |_| Error::new(Kind::Database, format!("'{}' did not answer within {} s", database.name, ASKING.as_secs())).retryable();
    timeout(ASKING, asking).await.map_err(late)?
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
