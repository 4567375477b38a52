//! Stored bytes back to plain ones: digest, decrypt, decompress, digest, compare.
//!
//! Two threads share the work: one hashes the stored bytes, decrypts and decompresses; the other hashes the plain
//! bytes and hands them on.

use tokio::task::spawn_blocking;

use super::{
    decompress::Decompressor,
    decrypt::Unprotector,
    digest::Digest,
    keys::KeyRing,
    layers::{Plain, Stored},
    relay::{Inlet, Outlet, ReaderGone, relay},
};
use crate::{
    domain::{compression::Compression, stream::ByteStream},
    error::{Error, Kind, Result},
};

/// Plain bytes before the ratio is judged: a small file of blanks is no bomb.
const RATIO_GRACE: u64 = 8 * 1024 * 1024;

/// What a stored file is, and what it may become. The default asks the file itself, and sets no limit.
#[derive(Debug, Clone, Default)]
pub struct OpenSpec {
    /// `Some` insists that the file is, or is not, encrypted; `None` asks its first bytes.
    pub encrypted: Option<bool>,
    /// `None` recognises zstd and gzip by their first bytes.
    pub compression: Option<Compression>,
    /// Needed when the file is encrypted.
    pub keys: Option<KeyRing>,
    pub limits: Limits,
    /// What the manifest or the catalogue says of the file.
    pub expect: Option<Expected>,
}

/// Caps on what a file may decompress to. The window of zstd is always capped, at 128 MiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Bytes.
    pub max_plain: Option<u64>,
    /// Plain bytes for each stored one; judged after the first 8 MiB.
    pub max_ratio: Option<u64>,
}

/// Sizes in bytes and digests in hex that the file must have. A mismatch is an `Err` at the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub plain_size: u64,
    pub stored_size: u64,
    pub plain_sha256: String,
    pub stored_sha256: String,
}

/// Opens a stored file. The stream yields no byte of an encrypted file that is not authentic, and ends without an `Err`
/// only when the file was whole and as expected. Errors are of kind `Storage` (damaged) or `Validation` (another key,
/// another version, over a limit), or those of `stored` itself.
///
/// Must be called within a tokio runtime.
pub fn open(stored: ByteStream, spec: OpenSpec) -> ByteStream {
    let (stored_out, stored_in) = relay();
    let (plain_out, plain_in) = relay();
    let (last_out, last_in) = relay();
    let expect = spec.expect.clone();
    tokio::spawn(stored_out.pump(stored, last_out.clone()));
    spawn_blocking(move || {
        if let Err(error) = transform(stored_in, &plain_out, spec) {
            plain_out.fail(&error);
        }
    });
    spawn_blocking(move || {
        if let Err(error) = check(plain_in, &last_out, expect) {
            last_out.fail(&error);
        }
    });
    last_in.into_stream()
}

/// The first thread.
fn transform(mut stored: Inlet, out: &Outlet, spec: OpenSpec) -> Result<()> {
    let mut unprotector = Unprotector::new(spec.keys, spec.encrypted);
    let mut decompressor = Decompressor::new(spec.compression)?;
    let mut digest = spec.expect.is_some().then(Digest::default);
    let mut stored_size = 0;
    let mut plain_size = 0;
    let mut hand_on = |Plain(bytes), stored_size| {
        plain_size += bytes.len() as u64;
        spec.limits.check(plain_size, stored_size)?;
        out.send(bytes).map_err(|ReaderGone| Error::cancelled())
    };
    while let Some(bytes) = stored.next()? {
        stored_size += bytes.len() as u64;
        if let Some(digest) = &mut digest {
            digest.update(&bytes);
        }
        unprotector.push(Stored(bytes), &mut |compressed| decompressor.push(compressed, &mut |plain| hand_on(plain, stored_size)))?;
    }
    unprotector.finish(&mut |compressed| decompressor.push(compressed, &mut |plain| hand_on(plain, stored_size)))?;
    decompressor.finish(&mut |plain| hand_on(plain, stored_size))?;
    if let (Some(digest), Some(expect)) = (digest, &spec.expect) {
        compare("stored", digest, expect.stored_size, &expect.stored_sha256)?;
    }
    out.end().map_err(|ReaderGone| Error::cancelled())
}

/// The second thread.
fn check(mut plain: Inlet, out: &Outlet, expect: Option<Expected>) -> Result<()> {
    let mut digest = expect.is_some().then(Digest::default);
    while let Some(bytes) = plain.next()? {
        let passed = out.send(bytes.clone());
        if let Some(digest) = &mut digest {
            digest.update(&bytes);
        }
        passed.map_err(|ReaderGone| Error::cancelled())?;
    }
    if let (Some(digest), Some(expect)) = (digest, expect) {
        compare("plain", digest, expect.plain_size, &expect.plain_sha256)?;
    }
    out.end().map_err(|ReaderGone| Error::cancelled())
}

impl Limits {
    fn check(&self, plain: u64, stored: u64) -> Result<()> {
        if let Some(max) = self.max_plain.filter(|max| plain > *max) {
            return Err(
                Error::validation(format!("the file decompresses to more than {max} bytes")).hint("raise the limit if you trust it")
            );
        }
        if let Some(max) = self.max_ratio.filter(|max| plain > RATIO_GRACE && plain / stored.max(1) > *max) {
            return Err(Error::validation(format!(
                "the file decompresses to more than {max} times its size, as a decompression bomb does"
            ))
            .hint("raise the limit if you trust it"));
        }
        Ok(())
    }
}

fn compare(what: &str, digest: Digest, size: u64, sha256: &str) -> Result<()> {
    let (found_size, found_sha256) = digest.finish();
    let why = if found_size != size {
        format!("{found_size} {what} bytes where {size} were recorded")
    } else if !found_sha256.eq_ignore_ascii_case(sha256) {
        format!("the SHA-256 of the {what} bytes is {found_sha256} where {sha256} was recorded")
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Storage, format!("damaged or exchanged: {why}")).hint("use another backup, or another copy of this one"))
}
