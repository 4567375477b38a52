//! Reading a file as a stream, without holding a thread while the consumer is slow.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
};

use bytes::Bytes;
use futures_util::stream;
use rustix::fs::{Mode, OFlags};
use tokio::task::spawn_blocking;

use super::{faults::fault, joined, tree::Tree, tree::object};
use crate::{
    domain::stream::{ByteStream, PIECE},
    error::{Error, Kind, Result},
};

/// An opened file and the bytes of it that are still to be read.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    left: u64,
}

impl Reader {
    /// Errors with `NotFound` when there is no such object or the range starts at or after its end.
    pub(super) fn open(tree: &Tree, key: &str, range: Option<Range<u64>>) -> Result<Self> {
        let path = tree.path(key);
        let missing = || Error::not_found(format!("object '{key}' in {}", tree.root().display()));
        // Not blocking: a planted pipe must not hold the reader.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = tree.parent(key, false).and_then(|(folder, name)| {
            let file = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            Ok((File::from(file), stat))
        });
        let (mut file, stat) = match opened {
            Ok(opened) => opened,
            Err(cause) if tree.is_absent(cause) => return Err(missing()),
            Err(cause) => return Err(fault("reading", &path, cause)),
        };
        let size = object(key, &stat).ok_or_else(missing)?.size;
        let Some(range) = range else { return Ok(Self { path, file, left: size }) };
        if range.start >= range.end {
            return Err(Error::validation(format!("bytes {} to {} are no range", range.start, range.end)));
        }
        if range.start >= size {
            return Err(Error::new(Kind::NotFound, format!("object '{key}' has {size} bytes: there is nothing at {}", range.start)));
        }
        file.seek(SeekFrom::Start(range.start)).map_err(|cause| fault("reading", &path, cause))?;
        Ok(Self { path, file, left: range.end.min(size) - range.start })
    }

    pub(super) fn stream(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, |reader| async {
            if reader.left == 0 {
                return Ok(None);
            }
            joined(spawn_blocking(move || reader.next()).await).map(Some)
        }))
    }

    fn next(mut self) -> Result<(Bytes, Self)> {
        let want = self.left.min(PIECE as u64);
        let mut piece = Vec::with_capacity(want as usize);
        let got = (&self.file).take(want).read_to_end(&mut piece).map_err(|cause| fault("reading", &self.path, cause))?;
        if got as u64 != want {
            return Err(Error::new(Kind::Storage, format!("{} became shorter while it was read", self.path.display()))
                .hint("something else writes into the store's folder"));
        }
        self.left -= want;
        Ok((piece.into(), self))
    }
}
