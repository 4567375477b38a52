//! The manifest: a small plain JSON file beside the artifacts, enough to rebuild the catalogue from a store.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    artifact::{Artifact, ArtifactKind, DumpFormat, TableCount},
    backup::{BackupType, VerifyState},
    compression::Compression,
    ids::{BackupId, ScheduleId},
    time::Moment,
};
use crate::error::{Context, Error, Kind, Result};

/// The version this build writes; it reads this one and older.
pub const MANIFEST_VERSION: u32 = 1;

/// What the manifest says of one artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestArtifact {
    pub kind: ArtifactKind,
    pub format: DumpFormat,
    /// File name, in the manifest's own folder.
    pub file: String,
    /// Bytes before compression.
    pub plain_size: u64,
    /// Bytes in the store.
    pub stored_size: u64,
    pub plain_sha256: String,
    pub stored_sha256: String,
    pub compression: Compression,
    /// `null` when the artifact is not encrypted.
    pub key_id: Option<String>,
}

impl From<&Artifact> for ManifestArtifact {
    fn from(artifact: &Artifact) -> Self {
        Self {
            kind: artifact.kind,
            format: artifact.format,
            file: artifact.file_name().to_owned(),
            plain_size: artifact.plain_size,
            stored_size: artifact.stored_size,
            plain_sha256: artifact.plain_sha256.clone(),
            stored_sha256: artifact.stored_sha256.clone(),
            compression: artifact.compression,
            key_id: artifact.key_id.clone(),
        }
    }
}

/// A keyed digest of the manifest (HMAC-SHA256 under a key derived from the master key), with what is needed to
/// derive that key from the passphrase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestMac {
    pub algorithm: String,
    pub key_id: String,
    pub kdf: String,
    pub iterations: u32,
    /// Hex.
    pub salt: String,
    /// Hex.
    pub mac: String,
}

/// The manifest of one backup. It holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub version: u32,
    pub backup_id: BackupId,
    /// The instance that wrote it; another instance's objects are never pruned.
    pub instance_id: String,
    pub database: String,
    pub engine: String,
    #[serde(rename = "type")]
    pub kind: BackupType,
    /// When the engine's consistent snapshot was taken.
    pub moment: Moment,
    pub finished_at: Moment,
    pub server_version: String,
    pub tool_version: Option<String>,
    pub dbsnap_version: String,
    /// The schedule that asked for it; absent when none did, and in manifests from before there were schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<ScheduleId>,
    pub artifacts: Vec<ManifestArtifact>,
    pub tables: Vec<TableCount>,
    /// It holds a part of the database by its options; absent in manifests from before this was recorded.
    #[serde(default)]
    pub partial: bool,
    pub pinned: bool,
    pub verify_state: VerifyState,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// `null` only when the backup was made without a key.
    #[serde(default)]
    pub mac: Option<ManifestMac>,
}

impl Manifest {
    /// The bytes the MAC is over: the JSON value without its `mac`, keys sorted, no white space.
    /// Unknown keys written by a newer minor version are covered too, because it works on the value, not the type.
    pub fn mac_input(json: &Value) -> Result<Vec<u8>> {
        let mut value = json.clone();
        match value.as_object_mut() {
            Some(object) => object.remove("mac"),
            None => return Err(Error::validation("a manifest must be a JSON object")),
        };
        // serde_json's map is a BTreeMap: its keys come out sorted at every level.
        serde_json::to_vec(&value).context(Kind::Internal, || "writing the manifest".into())
    }

    /// Reads a manifest. Errors name what is wrong when it is not one, or of a version this build does not know.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Value)> {
        let value: Value = serde_json::from_slice(bytes).context(Kind::Validation, || "this is not a manifest (not JSON)".into())?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version <= u64::from(MANIFEST_VERSION) => {}
            Some(version) => {
                return Err(Error::validation(format!("manifest version {version} is newer than this build knows ({MANIFEST_VERSION})"))
                    .hint("use a newer dbsnap"));
            }
            None => return Err(Error::validation("this is not a manifest (it has no version)")),
        }
        let manifest: Self = serde_json::from_value(value.clone()).context(Kind::Validation, || "this manifest is damaged".into())?;
        for artifact in &manifest.artifacts {
            // A manifest comes from a bucket that others may write to: its file names must stay in its folder.
            if artifact.file.is_empty() || artifact.file.contains(['/', '\\', '\0']) || artifact.file.starts_with('.') {
                return Err(Error::validation(format!(
                    "the manifest names an artifact '{}' outside its folder",
                    artifact.file.escape_debug()
                )));
            }
        }
        Ok((manifest, value))
    }

    pub fn artifact(&self, kind: ArtifactKind) -> Option<&ManifestArtifact> {
        self.artifacts.iter().find(|artifact| artifact.kind == kind)
    }
}
