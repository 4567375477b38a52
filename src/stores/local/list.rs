//! Listing: a walk that hands out objects as it finds them and never follows a symbolic link.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use rustix::{
    fs::{AtFlags, Dir, FileType},
    io::Errno,
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    faults::fault,
    incoming::INCOMING,
    tree::{Tree, object},
};
use crate::{
    domain::store::ObjectInfo,
    error::{Error, Result},
    stores::check_key,
};

/// Objects that may wait for the consumer.
const AHEAD: usize = 256;

pub(super) fn stream(tree: Arc<Tree>, prefix: String) -> BoxStream<'static, Result<ObjectInfo>> {
    // The walk starts when the stream is first polled.
    stream::once(async move {
        let (found, inbox) = mpsc::channel(AHEAD);
        let walk = spawn_blocking(move || match tree.ready().and_then(|()| walk(&tree, &prefix, &found)) {
            Ok(()) => {}
            Err(error) => {
                // Nobody to tell when the consumer is gone.
                let _ = found.blocking_send(Err(error));
            }
        });
        stream::unfold((inbox, Some(walk)), |(mut inbox, walk)| async move {
            match (inbox.recv().await, walk) {
                (Some(item), walk) => Some((item, (inbox, walk))),
                // A walk that died must not look like the end of the list.
                (None, Some(walk)) => match walk.await {
                    Ok(()) => None,
                    Err(cause) => Some((Err(Error::internal("listing ended early").source(cause)), (inbox, None))),
                },
                (None, None) => None,
            }
        })
    })
    .flatten()
    .boxed()
}

/// Sends every object under `prefix`; ends early, without an error, when the consumer is gone.
fn walk(tree: &Tree, prefix: &str, found: &mpsc::Sender<Result<ObjectInfo>>) -> Result<()> {
    let mut waiting = vec![String::new()];
    while let Some(base) = waiting.pop() {
        let failed = |cause: Errno| fault("listing", &tree.path(&base), cause);
        let folder = match tree.folder(base.split('/').filter(|part| !part.is_empty()), false) {
            Ok(folder) => folder,
            // A delete emptied it, or something that is no folder took its place, since its name was read.
            Err(cause) if !base.is_empty() && tree.is_absent(cause) => continue,
            Err(cause) => return Err(failed(cause)),
        };
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Keys are UTF-8 without control characters: another name is not of this store.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." || (base.is_empty() && name == INCOMING) {
                continue;
            }
            let key = if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") };
            if check_key(&key).is_err() {
                continue;
            }
            let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(cause) => return Err(failed(cause)),
            };
            match object(&key, &stat) {
                Some(object) if key.starts_with(prefix) => {
                    let consumer_is_gone = found.blocking_send(Ok(object)).is_err();
                    if consumer_is_gone {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && may_hold(&key, prefix) => waiting.push(key),
                None => {}
            }
        }
    }
    Ok(())
}

/// Whether keys inside the folder `folder` can start with `prefix`.
fn may_hold(folder: &str, prefix: &str) -> bool {
    folder.starts_with(prefix) || prefix.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::may_hold;

    #[test]
    fn only_folders_that_can_hold_the_prefix_are_entered() {
        for (folder, prefix, expect) in [
            ("a", "", true),
            ("a", "a/", true),
            ("a", "a/b", true),
            ("a/b", "a/b", true),
            ("a/bc", "a/b", true),
            ("a", "ab", false),
            ("b", "a/", false),
        ] {
            assert_eq!(may_hold(folder, prefix), expect, "{folder} for {prefix}");
        }
    }
}
