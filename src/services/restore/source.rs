//! Where a restore reads from: the artifacts of a backup in a store, or one uploaded file.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio_util::io::ReaderStream;

use crate::{
    domain::{
        artifact::{Artifact, ArtifactKind, DumpFormat},
        stream::{ByteStream, PIECE},
    },
    engines::DumpSource,
    error::{Context, Error, Kind, Result},
    pipeline::{self, Limits, OpenSpec, keys::KeyRing},
    services::backup,
    stores::Store,
};

/// Artifacts in a store. What is read is compared with the recorded sizes and checksums.
pub struct Stored {
    pub store: Arc<dyn Store>,
    pub artifacts: Vec<Artifact>,
    pub keys: Option<KeyRing>,
}

#[async_trait]
impl DumpSource for Stored {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        let dumped = self.artifacts.iter().filter(|artifact| artifact.kind != ArtifactKind::Snapshot);
        dumped.map(|artifact| (artifact.kind, artifact.format)).collect()
    }

    async fn open(&self, part: ArtifactKind) -> Result<ByteStream> {
        let artifact = self
            .artifacts
            .iter()
            .find(|artifact| artifact.kind == part)
            .ok_or_else(|| Error::not_found(format_args!("the {part} of this backup")))?;
        backup::open(self.store.as_ref(), artifact, self.keys.as_ref()).await
    }
}

/// One file from outside, in whatever layers it came: encrypted by DBSnap, compressed, or plain.
pub struct File {
    pub path: PathBuf,
    pub format: DumpFormat,
    pub keys: Option<KeyRing>,
    pub limits: Limits,
}

#[async_trait]
impl DumpSource for File {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, self.format)]
    }

    async fn open(&self, _: ArtifactKind) -> Result<ByteStream> {
        open_file(&self.path, self.keys.as_ref(), self.limits).await
    }
}

/// The plain bytes of a file: decrypted and decompressed as its first bytes say.
pub async fn open_file(path: &std::path::Path, keys: Option<&KeyRing>, limits: Limits) -> Result<ByteStream> {
    let spec = OpenSpec { keys: keys.cloned(), limits, ..OpenSpec::default() };
    Ok(pipeline::open(read_file(path).await?, spec))
}

/// A file's bytes as they are.
pub async fn read_file(path: &std::path::Path) -> Result<ByteStream> {
    use futures_util::TryStreamExt;

    let name = path.display().to_string();
    let file = tokio::fs::File::open(path).await.context(Kind::Validation, || format!("opening {name}"))?;
    let stream =
        ReaderStream::with_capacity(file, PIECE).map_err(move |cause| Error::new(Kind::Storage, format!("reading {name}")).source(cause));
    Ok(Box::pin(stream))
}
