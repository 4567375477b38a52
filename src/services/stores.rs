//! Configured stores: opening them, and telling how they are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Ctx, audit, databases, secrets};
use crate::{
    db,
    domain::{
        database::Settings,
        fields::SettingsExt,
        ids::{OrganizationId, StoreId},
        permissions::{Actor, Permission},
        store::{ObjectInfo, StoreConfig, StoreHealth},
        time::Moment,
    },
    error::{Error, Result},
    stores::{
        self, Store,
        counted::{self, Counted},
    },
};

/// A store has this long to tell how it is.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
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

/// The kinds of store of this build.
pub fn kinds() -> Vec<&'static stores::StoreInfo> {
    stores::registry().iter().map(|kind| kind.info()).collect()
}

/// A store as a person or a program describes it. A secret setting that is absent in an update stays as it is.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreInput {
    pub name: String,
    /// The kind of store, such as `local`.
    #[schema(example = "local")]
    pub kind: String,
    /// The kind's own fields.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Settings,
}

/// Adds a store, after it was proven that it can be written to.
pub async fn create(ctx: &Ctx, actor: &Actor, input: StoreInput) -> Result<StoreView> {
    actor.require(Permission::Configure)?;
    let now = ctx.now();
    let config = StoreConfig {
        id: StoreId::new(),
        organization_id: actor.organization_id,
        name: String::new(),
        kind: input.kind.clone(),
        settings: Settings::new(),
        created_at: now,
        updated_at: now,
    };
    let config = checked(ctx, input, config).await?;
    db::stores::insert(&ctx.db, &config).await?;
    audit::record(ctx, actor, "store.create", config.id, json!({ "name": config.name, "kind": config.kind })).await?;
    view(config)
}

/// Changes a store. Its kind cannot change, and where it is only while nothing is in it: backups would be looked for elsewhere.
pub async fn update(ctx: &Ctx, actor: &Actor, id: StoreId, input: StoreInput) -> Result<StoreView> {
    actor.require(Permission::Configure)?;
    let old = db::stores::get(&ctx.db, actor.organization_id, id).await?;
    if id == StoreId::LOCAL {
        return Err(
            Error::conflict("the first local store is where BACKUP_STORAGE_PATH says").hint("change BACKUP_STORAGE_PATH and restart")
        );
    }
    if input.kind != old.kind {
        return Err(Error::validation(format!("the kind of '{}' cannot be changed", old.name)).hint("add a new store instead"));
    }
    let config = checked(ctx, input, StoreConfig { updated_at: ctx.now(), ..old.clone() }).await?;
    if config.settings.get("path") != old.settings.get("path") && db::stores::in_use(&ctx.db, id).await? {
        return Err(Error::conflict(format!("'{}' holds backups, which would be looked for in the other folder", old.name))
            .hint("add the other folder as a new store"));
    }
    db::stores::update(&ctx.db, &config).await?;
    ctx.asked.forget(id);
    audit::record(ctx, actor, "store.update", id, json!({ "name": config.name })).await?;
    view(config)
}

/// Removes a store from the configuration; what is in it stays. Errors with `CONFLICT` while a database, a schedule or a backup
/// uses it.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: StoreId) -> Result<()> {
    actor.require(Permission::Configure)?;
    let config = db::stores::get(&ctx.db, actor.organization_id, id).await?;
    if id == StoreId::LOCAL {
        return Err(Error::conflict("the first local store is part of the installation and stays"));
    }
    db::stores::delete(&ctx.db, actor.organization_id, id).await?;
    audit::record(ctx, actor, "store.delete", id, json!({ "name": config.name })).await
}

/// Lays the input over what is stored, checks it, and proves that the store can be written to.
async fn checked(ctx: &Ctx, input: StoreInput, before: StoreConfig) -> Result<StoreConfig> {
    let name = input.name.trim().to_owned();
    let mut problems = Vec::new();
    if !databases::is_name(&name) {
        problems.push(("name".to_owned(), databases::NAME_RULE.to_owned()));
    }
    let kind = stores::find(&input.kind)?;
    let fields = kind.info().settings;
    let known = secrets::open(&ctx.keys.current(), &purpose(before.id), fields, before.settings.clone())?;
    let settings = match secrets::merge(fields, input.settings, &known) {
        Ok(settings) => settings,
        Err(error) => {
            problems.extend(error.fields);
            Settings::new()
        }
    };
    if problems.is_empty()
        && let Err(problem) = check_place(ctx, &before, &settings).await?
    {
        problems.push(("path".to_owned(), problem));
    }
    if !problems.is_empty() {
        return Err(Error::validation("the store is not valid").fields(problems));
    }
    kind.open(&settings)?.health().await?;
    let settings = secrets::seal(&ctx.keys.current(), &purpose(before.id), fields, settings);
    Ok(StoreConfig { name, settings, ..before })
}

/// A folder must not be one that DBSnap uses for itself, nor hold or be in that of another store: what is cleaned up in one
/// would be gone from the other. The problem, in words.
async fn check_place(ctx: &Ctx, store: &StoreConfig, settings: &Settings) -> Result<std::result::Result<(), String>> {
    let Some(path) = settings.text("path").map(PathBuf::from) else { return Ok(Ok(())) };
    if !path.is_absolute() {
        return Ok(Err("must be an absolute path, such as /mnt/archive".into()));
    }
    let mut places = vec![("DBSnap's own data directory".to_owned(), ctx.config.data_dir.clone())];
    for other in db::stores::list(&ctx.db, store.organization_id).await? {
        if let Some(place) = other.settings.text("path").filter(|_| other.id != store.id) {
            places.push((format!("the folder of the store '{}'", other.name), place.into()));
        }
    }
    // Looks at disks, which may hang.
    let looking = tokio::task::spawn_blocking(move || {
        let own = databases::real_place(&path);
        places.into_iter().find(|(_, place)| {
            let place = databases::real_place(place);
            own.starts_with(&place) || place.starts_with(&own)
        })
    });
    let overlapping = looking.await.map_err(|cause| Error::internal("looking at the folder").source(cause))?;
    Ok(match overlapping {
        Some((what, _)) => Err(format!("overlaps with {what}")),
        None => Ok(()),
    })
}

/// Writes and removes a probe object, and tells the space left.
pub async fn health(ctx: &Ctx, actor: &Actor, id: StoreId) -> Result<StoreHealth> {
    actor.require(Permission::RunBackups)?;
    ask(ctx, actor.organization_id, id, PATIENCE).await
}

/// How a store is. Errors when it does not answer in time; whoever asks meanwhile waits for the same answer.
pub(super) async fn ask(ctx: &Ctx, organization: OrganizationId, id: StoreId, patience: Duration) -> Result<StoreHealth> {
    let store = open(ctx, organization, id).await?;
    ctx.asked.ask(id, store, patience).await
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
    let errors = ctx.metrics.store_errors(id);
    let store = counted::count(&errors, kind.open(&settings))?;
    Ok(Arc::new(Counted::new(store, errors)))
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
