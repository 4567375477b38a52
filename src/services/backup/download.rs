//! An artifact on its way out.

use serde_json::json;

use crate::{
    db,
    domain::{
        artifact::{Artifact, ArtifactKind},
        ids::BackupId,
        naming,
        permissions::{Actor, Permission},
        stream::ByteStream,
    },
    error::{Error, Result},
    pipeline::{self, Expected, Limits, OpenSpec, keys::KeyRing},
    services::{Ctx, audit, copies},
    stores::Store,
};

/// A file to send.
pub struct Download {
    pub file_name: String,
    /// Bytes, where known before the end.
    pub size: Option<u64>,
    pub stream: ByteStream,
}

/// An artifact as stored, or with `plain` decrypted and decompressed: what the engine's own tools read. A snapshot always is
/// as it is stored.
pub async fn download(ctx: &Ctx, actor: &Actor, id: BackupId, kind: ArtifactKind, plain: bool) -> Result<Download> {
    actor.require(Permission::Download)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    let artifact = backup.artifact(kind).ok_or_else(|| Error::not_found(format_args!("the {kind} of backup {id}")))?;
    let store = copies::readable(ctx, actor.organization_id, &backup).await?.store;
    let stored = store.get(&artifact.key, None).await?;
    audit::record(ctx, actor, "backup.download", id, json!({ "artifact": kind, "plain": plain })).await?;
    // A snapshot compresses and encrypts itself, leaf by leaf: it has no other form.
    if !plain || kind == ArtifactKind::Snapshot {
        return Ok(Download { file_name: artifact.file_name().to_owned(), size: Some(artifact.stored_size), stream: stored });
    }
    let file_name = naming::plain_file(artifact.file_name(), kind, artifact.format);
    Ok(Download { file_name, size: Some(artifact.plain_size), stream: open(store.as_ref(), artifact, Some(&ctx.keys)).await? })
}

/// The plain bytes of an artifact: of a snapshot its bytes as they are. The stream ends with an error unless they are exactly what was backed up.
pub(in crate::services) async fn open(store: &dyn Store, artifact: &Artifact, keys: Option<&KeyRing>) -> Result<ByteStream> {
    let spec = OpenSpec {
        encrypted: Some(artifact.key_id.is_some() && artifact.kind != ArtifactKind::Snapshot),
        compression: Some(artifact.compression),
        keys: keys.cloned(),
        limits: Limits::default(),
        expect: Some(Expected {
            plain_size: artifact.plain_size,
            stored_size: artifact.stored_size,
            plain_sha256: artifact.plain_sha256.clone(),
            stored_sha256: artifact.stored_sha256.clone(),
        }),
    };
    Ok(pipeline::open(store.get(&artifact.key, None).await?, spec))
}
