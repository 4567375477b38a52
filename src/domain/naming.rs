//! File names and keys in a store.

use super::{
    artifact::{ArtifactKind, DumpFormat},
    backup::BackupType,
    compression::Compression,
    ids::BackupId,
    time::Moment,
};

/// Longest database part of a file name, in bytes: leaves room for the rest within the 255 bytes file systems allow.
const NAME_MAX: usize = 80;

/// A name from outside as part of a file name: ASCII letters, digits, `-`, `.` stay, everything else becomes `-`.
/// Never empty, never starts with a dot or a dash, so it can be neither a path nor an option.
pub fn safe_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len().min(NAME_MAX));
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        if c != '-' || !safe.ends_with('-') {
            safe.push(c);
        }
        if safe.len() == NAME_MAX {
            break;
        }
    }
    let safe = safe.trim_matches(['-', '.']);
    if safe.is_empty() { "database".to_owned() } else { safe.to_owned() }
}

/// `{database}_{type}_{YYYYMMDD}_{HHMMSS}_{shortid}`, UTC.
pub fn stem(database: &str, kind: BackupType, moment: Moment, id: BackupId) -> String {
    format!("{}_{}_{}_{}", safe_name(database), kind, moment.utc().format("%Y%m%d_%H%M%S"), id.short())
}

/// The artifact's file name: stem, kind, then one extension for each layer around the plain bytes.
pub fn artifact_file(stem: &str, kind: ArtifactKind, compression: Compression, encrypted: bool) -> String {
    let kind = match kind {
        // It compresses and encrypts itself: there are no layers around it.
        ArtifactKind::Snapshot => return format!("{stem}.snap"),
        ArtifactKind::Globals => "globals.sql",
        ArtifactKind::Dump => "dump",
    };
    let mut file = format!("{stem}.{kind}");
    for extension in [compression.extension(), if encrypted { "enc" } else { "" }] {
        if !extension.is_empty() {
            file.push('.');
            file.push_str(extension);
        }
    }
    file
}

/// The name of an artifact's plain bytes once they are decrypted and decompressed, for the engine's own tools.
pub fn plain_file(artifact_file: &str, kind: ArtifactKind, format: DumpFormat) -> String {
    let mut stem = artifact_file;
    for layer in [".enc", ".zst", ".gz", ".dump", ".globals.sql", ".snap"] {
        stem = stem.strip_suffix(layer).unwrap_or(stem);
    }
    match kind {
        ArtifactKind::Globals => format!("{stem}.globals.sql"),
        _ => format!("{stem}.{}", format.extension()),
    }
}

pub fn manifest_file(stem: &str) -> String {
    format!("{stem}.manifest.json")
}

/// `{database}/{year}/{month}`: the folder of a backup's files within its store.
pub fn folder(database: &str, moment: Moment) -> String {
    format!("{}/{}", safe_name(database), moment.utc().format("%Y/%m"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_documented() {
        let id = BackupId("00000000-0000-7000-8000-000000abc123".parse().unwrap());
        let stem = stem("shop", BackupType::Daily, Moment(1_763_303_422_000), id);
        assert_eq!(stem, "shop_daily_20251116_143022_abc123");
        assert_eq!(artifact_file(&stem, ArtifactKind::Dump, Compression::Zstd(1), true), format!("{stem}.dump.zst.enc"));
        assert_eq!(artifact_file(&stem, ArtifactKind::Globals, Compression::None, false), format!("{stem}.globals.sql"));
        assert_eq!(artifact_file(&stem, ArtifactKind::Snapshot, Compression::Zstd(1), true), format!("{stem}.snap"));
        assert_eq!(plain_file("notes.db_manual_1.dump.zst.enc", ArtifactKind::Dump, DumpFormat::SqliteFile), "notes.db_manual_1.db");
        assert_eq!(folder("shop", Moment(1_763_303_422_000)), "shop/2025/11");
    }

    proptest! {
        #[test]
        fn a_safe_name_is_one_plain_path_component(name in ".*") {
            let safe = safe_name(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= NAME_MAX);
            prop_assert!(safe.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
            prop_assert!(!safe.starts_with(['.', '-']) && !safe.ends_with(['.', '-']));
            prop_assert_eq!(safe_name(&safe), safe.clone(), "stable");
        }
    }
}
