//! Configured stores: opening them, and telling how they are.

use std::sync::Arc;

use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ctx, secrets};
use crate::{
    db,
    domain::{
        database::Settings,
        ids::{OrganizationId, StoreId},
        permissions::{Actor, Permission},
        store::{ObjectInfo, StoreConfig, StoreHealth},
        time::Moment,
    },
    error::Result,
    stores::{self, Store},
};

/// Objects that a listing returns at most.
const LISTED: usize = 1000;

/// A store as it may be shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreView {
    pub id: StoreId,
    pub name: String,
    pub kind: String,
    pub kind_label: &'static str,
    #[schema(value_type = Object)]
    pub settings: Settings,
    /// Names of the secret settings that are set.
    pub secrets_set: Vec<&'static str>,
    pub created_at: Moment,
}

pub async fn list(ctx: &Ctx, actor: &Actor) -> Result<Vec<StoreView>> {
    actor.require(Permission::View)?;
    db::stores::list(&ctx.db, actor.organization_id).await?.into_iter().map(view).collect()
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: StoreId) -> Result<StoreView> {
    actor.require(Permission::View)?;
    view(db::stores::get(&ctx.db, actor.organization_id, id).await?)
}

/// Writes and removes a probe object, and tells the space left.
pub async fn health(ctx: &Ctx, actor: &Actor, id: StoreId) -> Result<StoreHealth> {
    actor.require(Permission::RunBackups)?;
    open(ctx, actor.organization_id, id).await?.health().await
}

/// The first thousand objects under `prefix`, by key.
pub async fn objects(ctx: &Ctx, actor: &Actor, id: StoreId, prefix: &str) -> Result<Vec<ObjectInfo>> {
    actor.require(Permission::View)?;
    let mut listing = open(ctx, actor.organization_id, id).await?.list(prefix);
    let mut objects = Vec::new();
    while let Some(object) = listing.next().await {
        objects.push(object?);
        if objects.len() == LISTED {
            break;
        }
    }
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

/// Opens a configured store with its secrets.
pub(super) async fn open(ctx: &Ctx, organization: OrganizationId, id: StoreId) -> Result<Arc<dyn Store>> {
    let config = db::stores::get(&ctx.db, organization, id).await?;
    let kind = stores::find(&config.kind)?;
    let settings = secrets::open(&ctx.keys.current(), &purpose(id), kind.info().settings, config.settings)?;
    kind.open(&settings)
}

/// Makes the local store's row say what BACKUP_STORAGE_PATH says, and the folder exist.
pub async fn ensure_local(ctx: &Ctx) -> Result<()> {
    let path = &ctx.config.backup_storage_path;
    let mut settings = Map::new();
    settings.insert("path".into(), Value::String(path.to_string_lossy().into_owned()));
    stores::find("local")?.open(&settings)?.health().await?;
    let now = Moment::now();
    match db::stores::get(&ctx.db, OrganizationId::DEFAULT, StoreId::LOCAL).await {
        Ok(config) if config.settings == settings => Ok(()),
        Ok(config) => db::stores::update(&ctx.db, &StoreConfig { settings, updated_at: now, ..config }).await,
        Err(error) if error.kind == crate::error::Kind::NotFound => {
            let config = StoreConfig {
                id: StoreId::LOCAL,
                organization_id: OrganizationId::DEFAULT,
                name: "Local".into(),
                kind: "local".into(),
                settings,
                created_at: now,
                updated_at: now,
            };
            db::stores::insert(&ctx.db, &config).await
        }
        Err(error) => Err(error),
    }
}

/// At start: removes what interrupted writes left in the stores. A store that cannot be reached is logged and left.
pub(super) async fn sweep(ctx: &Ctx) -> Result<()> {
    for config in db::stores::list(&ctx.db, OrganizationId::DEFAULT).await? {
        let swept = match open(ctx, config.organization_id, config.id).await {
            Ok(store) => store.sweep().await,
            Err(error) => Err(error),
        };
        match swept {
            Ok(0) => {}
            Ok(pieces) => tracing::info!(store = config.name, pieces, "removed what interrupted writes left behind"),
            Err(error) => tracing::warn!(store = config.name, %error, "interrupted writes could not be removed"),
        }
    }
    Ok(())
}

fn view(config: StoreConfig) -> Result<StoreView> {
    let info = stores::find(&config.kind)?.info();
    let (settings, secrets_set) = secrets::public(info.settings, config.settings);
    Ok(StoreView {
        id: config.id,
        name: config.name,
        kind: config.kind,
        kind_label: info.label,
        settings,
        secrets_set,
        created_at: config.created_at,
    })
}

fn purpose(id: StoreId) -> String {
    format!("store:{id}")
}
