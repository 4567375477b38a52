//! Export and import of the configuration: databases and settings, as one JSON file. Backups are not in it; `rebuild`
//! finds them in their stores.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Ctx, audit, databases, projects, secrets, system};
use crate::{
    db,
    domain::{
        backup::BackupOptions,
        database::{Database, Settings},
        fields::validate,
        filter::DatabaseFilter,
        ids::{DatabaseId, ProjectId, StoreId},
        page::PageRequest,
        permissions::{Actor, Permission},
        time::Moment,
    },
    engines,
    error::{Context, Error, Kind, Result},
    pipeline::keys::{KDF_NAME, Kdf, MasterKey},
};

const VERSION: u32 = 1;

/// The exported file. Unknown keys are refused on import, so that nothing in it can be meant and ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Export {
    version: u32,
    exported_at: Moment,
    /// How the key is made under which the secrets are sealed; the file opens only with the same ENCRYPTION_KEY.
    key: ExportKey,
    databases: Vec<ExportedDatabase>,
    settings: Settings,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExportKey {
    id: String,
    iterations: u32,
    /// Hex.
    salt: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExportedDatabase {
    id: DatabaseId,
    name: String,
    engine: String,
    /// Secret fields are sealed.
    settings: Settings,
    backup_options: BackupOptions,
}

/// What an import did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    pub added: Vec<String>,
    /// Left as they are, because a database of that name is configured.
    pub kept: Vec<String>,
}

/// The configuration. Secrets stay sealed: the file is of use only together with ENCRYPTION_KEY.
pub async fn export(ctx: &Ctx, actor: &Actor) -> Result<Export> {
    actor.require(Permission::Settings)?;
    let mut exported = Vec::new();
    let mut page = PageRequest { page: 1, limit: 200 };
    loop {
        let found = db::databases::list(&ctx.db, actor.organization_id, &DatabaseFilter::default(), page).await?;
        let last = found.page >= found.pages();
        for database in found.items {
            let Database { id, name, engine, settings, backup_options, .. } = database;
            exported.push(ExportedDatabase { id, name, engine, settings, backup_options });
        }
        if last {
            break;
        }
        page.page += 1;
    }
    let key = ctx.keys.current();
    audit::record(ctx, actor, "configuration.export", "configuration", json!({ "databases": exported.len() })).await?;
    Ok(Export {
        version: VERSION,
        exported_at: Moment::now(),
        key: ExportKey { id: key.id().to_owned(), iterations: key.kdf().iterations, salt: hex::encode(key.kdf().salt) },
        databases: exported,
        settings: system::settings(ctx).await?,
    })
}

/// Adds what an exported file holds. Databases whose name is taken are left as they are. Everything is checked before
/// anything is written.
pub async fn import(ctx: &Ctx, actor: &Actor, bytes: &[u8]) -> Result<Imported> {
    actor.require(Permission::Settings)?;
    let export: Export = serde_json::from_slice(bytes).context(Kind::Validation, || "this is not an exported configuration".into())?;
    if export.version > VERSION {
        return Err(Error::validation(format!("export version {} is newer than this build knows ({VERSION})", export.version))
            .hint("use a newer dbsnap"));
    }
    check_names(&export.databases)?;
    let key = export_key(ctx, &export.key).await?;
    let settings = system::check_settings(&export.settings)?;
    let project = projects::oldest(ctx, actor.organization_id).await?;
    let mut imported = Imported::default();
    let mut rows = Vec::new();
    for database in export.databases {
        let name = database.name.clone();
        if db::databases::find_by_name(&ctx.db, actor.organization_id, &name).await?.is_some() {
            imported.kept.push(name);
            continue;
        }
        rows.push(row(ctx, &key, project, database).map_err(|error| error.while_doing(format!("database '{name}'")))?);
    }
    imported.added = rows.iter().map(|row| row.name.clone()).collect();
    db::databases::insert_all(&ctx.db, rows).await?;
    system::settings_import(ctx, &settings).await?;
    audit::record(ctx, actor, "configuration.import", "configuration", json!({ "added": imported.added })).await?;
    Ok(imported)
}

/// Errors unless every name may be one, and none is there twice.
fn check_names(databases: &[ExportedDatabase]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for database in databases {
        let name = &database.name;
        if !databases::is_name(name) {
            return Err(Error::validation(format!("the name of database '{}' {}", name.escape_debug(), databases::NAME_RULE)));
        }
        if !seen.insert(name) {
            return Err(Error::validation(format!("the file has two databases named '{name}'")).hint("rename one of them in the file"));
        }
    }
    Ok(())
}

/// The secrets are opened with the key they were sealed under and sealed again under this catalogue's.
fn row(ctx: &Ctx, key: &MasterKey, project: ProjectId, exported: ExportedDatabase) -> Result<Database> {
    let engine = engines::find(&exported.engine)?;
    let opened = secrets::open(key, &databases::purpose(exported.id), engine.info().connection, exported.settings)?;
    let settings = validate(engine.info().connection, &opened)?;
    databases::refuse_own_files(ctx, engine, &settings)?;
    let mut backup_options = exported.backup_options;
    backup_options.engine = validate(engine.info().dump_options, &backup_options.engine)?;
    let id = DatabaseId::new();
    let now = Moment::now();
    Ok(Database {
        id,
        project_id: project,
        name: exported.name,
        engine: exported.engine,
        settings: secrets::seal(&ctx.keys.current(), &databases::purpose(id), engine.info().connection, settings),
        store_id: StoreId::LOCAL,
        backup_options,
        created_at: now,
        updated_at: now,
    })
}

/// The key that the exported secrets are sealed under. Errors when this ENCRYPTION_KEY does not make it.
async fn export_key(ctx: &Ctx, key: &ExportKey) -> Result<Arc<MasterKey>> {
    let kdf =
        Kdf::from_outside(KDF_NAME, key.iterations, &key.salt).map_err(|error| error.while_doing("reading the exported key record"))?;
    let (keys, id) = (ctx.keys.clone(), key.id.clone());
    tokio::task::spawn_blocking(move || keys.for_kdf(&kdf, &id)).await.context(Kind::Internal, || "deriving the export's key".into())?
}
