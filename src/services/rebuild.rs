//! Rebuilds the catalogue from the manifests in a store: after the catalogue was lost, or to adopt another one's backups.

use futures_util::StreamExt;
use serde::Serialize;

use super::{Ctx, manifests, manifests::Seal, stores};
use crate::{
    db,
    domain::{
        artifact::Artifact,
        backup::{Backup, BackupOptions, BackupStatus, VerifyState},
        compression::Compression,
        ids::{ArtifactId, StoreId},
        manifest::Manifest,
        permissions::{Actor, Permission},
        run::Run,
        time::Moment,
    },
    error::Result,
    stores::Store,
};

/// What a rebuild found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// Backups added to the catalogue.
    pub added: u64,
    /// Backups that the catalogue had already.
    pub known: u64,
    /// Manifests that were left out, each with its reason: forged, damaged, or with artifacts missing.
    pub refused: Vec<String>,
}

/// Reads every manifest in the store. One whose MAC does not verify is never added; an unsigned one only with
/// `accept_unsigned`.
pub async fn rebuild(ctx: &Ctx, actor: &Actor, store_id: StoreId, accept_unsigned: bool, run: &Run) -> Result<Rebuilt> {
    actor.require(Permission::Settings)?;
    let store = stores::open(ctx, actor.organization_id, store_id).await?;
    let mut rebuilt = Rebuilt::default();
    let mut listing = store.list("");
    while let Some(object) = run.until_cancelled(async { listing.next().await.transpose() }).await? {
        if !object.key.ends_with(".manifest.json") {
            continue;
        }
        match read(ctx, actor, store.as_ref(), store_id, &object.key, accept_unsigned).await {
            Ok(None) => rebuilt.known += 1,
            Ok(Some(backup)) => {
                run.info(format!(
                    "found {} of {}, {} bytes",
                    backup.database_name,
                    backup.moment.unwrap_or(backup.created_at),
                    backup.stored_size()
                ));
                rebuilt.added += 1;
            }
            Err(reason) => {
                run.warn(format!("{}: {reason}", object.key));
                rebuilt.refused.push(format!("{}: {reason}", object.key));
            }
        }
    }
    Ok(rebuilt)
}

/// Adds the backup of one manifest; `None` when it is known. The error is the reason to leave it out.
async fn read(
    ctx: &Ctx,
    actor: &Actor,
    store: &dyn Store,
    store_id: StoreId,
    key: &str,
    accept_unsigned: bool,
) -> Result<Option<Backup>, String> {
    let (manifest, seal) = manifests::fetch(store, key, Some(&ctx.keys)).await.map_err(|error| error.to_string())?;
    if db::backups::exists(&ctx.db, manifest.backup_id).await.map_err(|error| error.to_string())? {
        if manifest.pinned && seal == Seal::Intact {
            // Found by another store's manifest before, which a pin may not have reached: rather one too many is kept.
            db::backups::pin_found(&ctx.db, manifest.backup_id).await.map_err(|error| error.to_string())?;
        }
        return Ok(None);
    }
    if seal == Seal::Unsigned && !accept_unsigned {
        return Err("it is not signed, anyone could have written it (use --accept-unsigned to add it all the same)".into());
    }
    for artifact in &manifest.artifacts {
        let artifact_key = manifests::beside(key, &artifact.file);
        match store.stat(&artifact_key).await.map_err(|error| error.to_string())? {
            Some(object) if object.size == artifact.stored_size => {}
            Some(object) => return Err(format!("{artifact_key} has {} bytes, {} were written", object.size, artifact.stored_size)),
            None => return Err(format!("{artifact_key} is missing")),
        }
    }
    let mut backup = row(&manifest, key, store_id);
    let database =
        db::databases::find_by_name(&ctx.db, actor.organization_id, &manifest.database).await.map_err(|error| error.to_string())?;
    backup.database_id = database.filter(|database| database.engine == manifest.engine).map(|database| database.id);
    backup.artifacts = artifacts(&manifest, key, store_id);
    let saved = if manifest.instance_id == ctx.instance_id {
        db::backups::insert(&ctx.db, actor.organization_id, &backup).await
    } else {
        db::backups::insert_foreign(&ctx.db, actor.organization_id, &backup, &manifest.instance_id).await
    };
    saved.map_err(|error| error.to_string())?;
    Ok(Some(backup))
}

/// The catalogue row that a manifest stands for.
fn row(manifest: &Manifest, key: &str, store_id: StoreId) -> Backup {
    let first = manifest.artifacts.first();
    Backup {
        id: manifest.backup_id,
        database_id: None,
        database_name: manifest.database.clone(),
        engine: manifest.engine.clone(),
        kind: manifest.kind,
        status: BackupStatus::Completed,
        store_id,
        job_id: None,
        schedule_id: manifest.schedule_id,
        pinned: manifest.pinned,
        // What another catalogue once verified is looked at again here.
        verify_state: VerifyState::Unverified,
        verified_at: None,
        created_at: manifest.moment,
        started_at: Some(manifest.moment),
        finished_at: Some(manifest.finished_at),
        moment: Some(manifest.moment),
        server_version: Some(manifest.server_version.clone()),
        tool_version: manifest.tool_version.clone(),
        manifest_key: Some(key.to_owned()),
        error: None,
        warnings: manifest.warnings.clone(),
        options: BackupOptions {
            compression: first.map_or(Compression::None, |artifact| artifact.compression),
            encrypt: first.is_some_and(|artifact| artifact.key_id.is_some()),
            artifacts: manifest.artifacts.iter().map(|artifact| artifact.kind).collect(),
            ..BackupOptions::default()
        },
        tables: manifest.tables.clone(),
        partial: manifest.partial,
        artifacts: Vec::new(),
    }
}

/// Catalogue rows for the artifacts that a manifest lists.
pub fn artifacts(manifest: &Manifest, manifest_key: &str, store_id: StoreId) -> Vec<Artifact> {
    let artifacts = manifest.artifacts.iter().map(|artifact| Artifact {
        id: ArtifactId::new(),
        backup_id: manifest.backup_id,
        kind: artifact.kind,
        format: artifact.format,
        store_id,
        key: manifests::beside(manifest_key, &artifact.file),
        plain_size: artifact.plain_size,
        stored_size: artifact.stored_size,
        plain_sha256: artifact.plain_sha256.clone(),
        stored_sha256: artifact.stored_sha256.clone(),
        compression: artifact.compression,
        key_id: artifact.key_id.clone(),
        created_at: Moment::now(),
    });
    artifacts.collect()
}
