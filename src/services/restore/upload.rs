//! Uploaded dumps: taken in under a size cap, recognised, kept until their restore or for a day.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::source;
use crate::{
    db,
    domain::{
        artifact::DumpFormat,
        ids::{OrganizationId, UploadId},
        permissions::{Actor, Permission},
        time::Moment,
    },
    engines,
    error::{Context, Error, Kind, Result},
    pipeline::{Limits, keys::KeyRing},
    services::{Ctx, audit, snapshots},
    snapshot,
};

/// How long an upload waits for its restore.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Plain bytes for each uploaded one. Real dumps stay below a hundred or so; zeros that zstd packed reach 30,000.
const MAX_RATIO: u64 = 2000;

/// Bytes that are enough to recognise a dump.
const HEAD: usize = 64 * 1024;

/// A dump that was uploaded.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    pub id: UploadId,
    /// The file's name as it was sent: only a label, never a path.
    pub label: String,
    pub engine: String,
    pub format: DumpFormat,
    /// Bytes as uploaded.
    pub size: u64,
    pub created_at: Moment,
}

/// An upload as it is kept beside its file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    organization_id: OrganizationId,
    #[serde(flatten)]
    upload: Upload,
}

/// What a file is, by its plain beginning.
pub struct Recognised {
    pub engine: &'static dyn engines::Engine,
    pub format: DumpFormat,
}

/// Takes in a dump. Errors when it is larger than MAX_UPLOAD_BYTES, is no dump that an engine knows, or cannot be
/// opened with this ENCRYPTION_KEY; nothing is kept then.
pub async fn upload<E>(
    ctx: &Arc<Ctx>,
    actor: &Actor,
    label: &str,
    body: impl Stream<Item = Result<bytes::Bytes, E>> + Send,
) -> Result<Upload>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    actor.require(Permission::Restore)?;
    let id = UploadId::new();
    let folder = ctx.uploads();
    tokio::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .await
        .context(Kind::Storage, || format!("making {}", folder.display()))?;
    let path = file(ctx, id);
    let taken = take_in(ctx, &path, body).await;
    let recognised = match taken {
        Ok(size) => recognise(&path, Some(&ctx.keys), limits(ctx)).await.map(|found| (size, found)),
        Err(error) => Err(error),
    };
    let (size, found) = match recognised {
        Ok(found) => found,
        Err(error) => {
            remove(&path).await?;
            return Err(error);
        }
    };
    let label: String = label.chars().filter(|c| !c.is_control()).take(200).collect();
    let upload = Upload { id, label, engine: found.engine.info().id.to_owned(), format: found.format, size, created_at: Moment::now() };
    let record = Record { organization_id: actor.organization_id, upload: upload.clone() };
    let record = serde_json::to_vec(&record).context(Kind::Internal, || "writing the upload's record".into())?;
    tokio::fs::write(path.with_extension("json"), record).await.context(Kind::Storage, || "writing the upload's record".into())?;
    audit::record(ctx, actor, "upload", id, json!({ "label": upload.label, "size": size })).await?;
    Ok(upload)
}

/// The record of an organization's upload. Errors with `NOT_FOUND` when it was restored or has expired.
pub async fn get(ctx: &Ctx, organization: OrganizationId, id: UploadId) -> Result<Upload> {
    let missing = || Err(Error::not_found(format_args!("upload {id}")).hint("uploads are kept for a day: upload it again"));
    match tokio::fs::read(file(ctx, id).with_extension("json")).await {
        Ok(record) => {
            let record: Record =
                serde_json::from_slice(&record).context(Kind::Internal, || format!("reading the record of upload {id}"))?;
            if record.organization_id == organization { Ok(record.upload) } else { missing() }
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => missing(),
        Err(cause) => Err(Error::new(Kind::Storage, format!("reading the record of upload {id}")).source(cause)),
    }
}

/// Finds out what a file holds, through its layers. Errors when no engine knows it.
pub async fn recognise(path: &std::path::Path, keys: Option<&KeyRing>, limits: Limits) -> Result<Recognised> {
    if is_snapshot(path).await? {
        // It compresses and encrypts itself: there are no layers around it, and it says what it is of.
        let opened = snapshots::open_file(path, keys).await?;
        return Ok(Recognised { engine: engines::find(&opened.facts().engine)?, format: DumpFormat::Snapshot });
    }
    let mut plain = source::open_file(path, keys, limits).await?;
    let mut head = Vec::with_capacity(HEAD);
    while head.len() < HEAD
        && let Some(piece) = plain.next().await
    {
        head.extend_from_slice(&piece?);
    }
    for engine in engines::registry() {
        if let Some(format) = engine.recognise(&head) {
            return Ok(Recognised { engine: *engine, format });
        }
    }
    Err(Error::validation(if head.is_empty() { "the file is empty" } else { "the file is no dump that an engine here knows" })
        .hint("use a pg_dump custom archive (-Fc), an SQL script, a SQLite file, or a backup or snapshot made by DBSnap; they may be compressed by gzip or zstd"))
}

/// True when a file begins as a snapshot does.
pub async fn is_snapshot(path: &std::path::Path) -> Result<bool> {
    let mut stream = source::read_file(path).await?;
    let head = stream.next().await.transpose()?.unwrap_or_default();
    Ok(snapshot::is_snapshot(&head))
}

/// The dump itself, for a restore.
pub(super) fn dump(ctx: &Ctx, upload: &Upload) -> source::File {
    source::File { path: file(ctx, upload.id), format: upload.format, keys: Some(ctx.keys.clone()), limits: limits(ctx) }
}

/// Removes an upload that has been restored, unless another restore waits for it.
pub(super) async fn discard(ctx: &Ctx, id: UploadId) -> Result<()> {
    if db::restores::open_uploads(&ctx.db).await?.contains(&id) {
        return Ok(());
    }
    let path = file(ctx, id);
    remove(&path.with_extension("json")).await?;
    remove(&path).await
}

/// Removes uploads that nobody restored for a day, and what a crash left of one. Those that a queued or running restore
/// reads stay.
pub(in crate::services) async fn expire(ctx: &Ctx) -> Result<()> {
    let open: Vec<_> = db::restores::open_uploads(&ctx.db).await?.iter().map(UploadId::to_string).collect();
    let mut folder = match tokio::fs::read_dir(ctx.uploads()).await {
        Ok(folder) => folder,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Error::new(Kind::Storage, "listing the uploads").source(cause)),
    };
    while let Some(entry) = folder.next_entry().await.context(Kind::Storage, || "listing the uploads".into())? {
        if entry.path().file_stem().is_some_and(|stem| open.iter().any(|id| stem == id.as_str())) {
            continue;
        }
        let modified = entry.metadata().await.and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT)) {
            remove(&entry.path()).await?;
        }
    }
    Ok(())
}

fn limits(ctx: &Ctx) -> Limits {
    Limits { max_plain: Some(ctx.config.max_plain_bytes), max_ratio: Some(MAX_RATIO) }
}

pub(super) fn file(ctx: &Ctx, id: UploadId) -> PathBuf {
    ctx.uploads().join(format!("{id}.upload"))
}

async fn take_in<E>(ctx: &Ctx, path: &std::path::Path, body: impl Stream<Item = Result<bytes::Bytes, E>> + Send) -> Result<u64>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let naming = || "storing the upload".to_owned();
    let mut file =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await.context(Kind::Storage, naming)?;
    let mut size = 0;
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let piece = piece.context(Kind::Validation, || "the upload broke off".into())?;
        size += piece.len() as u64;
        if size > ctx.config.max_upload_bytes {
            return Err(Error::validation(format!("the upload is larger than {} bytes", ctx.config.max_upload_bytes))
                .hint("raise MAX_UPLOAD_BYTES, or use `dbsnap restore --from FILE`"));
        }
        file.write_all(&piece).await.context(Kind::Storage, naming)?;
    }
    file.sync_all().await.context(Kind::Storage, naming)?;
    Ok(size)
}

async fn remove(path: &std::path::Path) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::Storage, format!("removing {}", path.display())).source(cause))
        }
        _ => Ok(()),
    }
}
