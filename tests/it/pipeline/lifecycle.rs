//! A stream ends well only when everyone agreed; whatever else happens is an error on both ends, and no thread stays.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use dbsnap::{
    domain::{
        compression::Compression,
        stream::{ByteStream, channel},
    },
    error::{Error, Result},
    pipeline::{OpenSpec, Tap, open, seal},
};
use futures_util::StreamExt;
use tokio::{sync::oneshot, time::timeout};

use super::support::*;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_dump_given_up_before_its_commit_ends_with_an_error() {
    for compression in [Compression::None, Compression::Zstd(1), Compression::Gzip(6)] {
        let (sender, input) = channel();
        let (commit, committed) = oneshot::channel::<()>();
        let (stream, sealed) = seal(input, committed, encrypted(compression), Box::new(()));
        sender.send(Bytes::from_static(b"half a dump")).await.unwrap();
        drop(sender);
        drop(commit);
        let error = collect(stream).await.unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        assert!(timeout(SOON, sealed).await.unwrap().unwrap().is_err());
    }
}

#[tokio::test]
async fn the_last_bytes_wait_for_the_commit() {
    let (sender, input) = channel();
    let (commit, committed) = oneshot::channel();
    let (mut stream, sealed) = seal(input, committed, spec(Compression::None, None), Box::new(()));
    sender.send(Bytes::from_static(b"all of it")).await.unwrap();
    drop(sender);
    assert!(timeout(Duration::from_millis(50), stream.next()).await.is_err(), "nothing ends before the commit");
    commit.send(()).unwrap();
    assert_eq!(collect(stream).await.unwrap(), b"all of it");
    assert_eq!(sealed.await.unwrap().unwrap().plain_size, 9);
}

#[tokio::test]
async fn a_commit_may_come_before_the_last_piece() {
    let (sender, input) = channel();
    let (commit, committed) = oneshot::channel();
    let (stream, _sealed) = seal(input, committed, spec(Compression::None, None), Box::new(()));
    commit.send(()).unwrap();
    sender.send(Bytes::from_static(b"late")).await.unwrap();
    drop(sender);
    assert_eq!(collect(stream).await.unwrap(), b"late");
}

#[tokio::test]
async fn when_the_store_stops_reading_the_dump_is_told_and_the_threads_end() {
    // A busy dump, and one that hangs.
    for busy in [true, false] {
        let (sender, input) = channel();
        let (_commit, committed) = oneshot::channel();
        let (stream, sealed) = seal(input, committed, encrypted(Compression::None), Box::new(()));
        drop(stream);
        if busy {
            let piece = Bytes::from(vec![1; 256 << 10]);
            timeout(SOON, async { while sender.send(piece.clone()).await.is_ok() {} }).await.expect("sending ends");
        }
        let error = timeout(SOON, sealed).await.expect("the threads end").unwrap().unwrap_err();
        assert!(error.to_string().contains("stopped reading"), "{error}");
        assert!(sender.is_closed());
    }
}

#[tokio::test]
async fn when_nobody_reads_the_plain_bytes_the_stored_stream_is_dropped() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes>>(1);
    let stored: ByteStream = tokio_stream::wrappers::ReceiverStream::new(receiver).boxed();
    drop(open(stored, OpenSpec::default()));
    timeout(SOON, sender.closed()).await.expect("the stored stream is dropped");
}

#[tokio::test]
async fn an_error_of_the_stored_stream_reaches_the_reader() {
    let pieces = [Ok(Bytes::from_static(b"some bytes")), Err(Error::internal("the store went away"))];
    let error = collect(open(futures_util::stream::iter(pieces).boxed(), OpenSpec::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "the store went away");
}

/// Notes what it sees, then does what it is told.
struct Probe {
    seen: Arc<Mutex<Vec<u8>>>,
    feed: fn() -> Result<()>,
    finish: fn() -> Result<()>,
}

impl Tap for Probe {
    fn feed(&mut self, plain: &[u8]) -> Result<()> {
        self.seen.lock().unwrap().extend_from_slice(plain);
        (self.feed)()
    }

    fn finish(&mut self) -> Result<()> {
        self.seen.lock().unwrap().push(b'.');
        (self.finish)()
    }
}

async fn with_tap(feed: fn() -> Result<()>, finish: fn() -> Result<()>) -> (Vec<u8>, Result<Vec<u8>>, Result<()>) {
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let (sender, input) = channel();
    let (commit, committed) = oneshot::channel();
    let (stream, sealed) = seal(input, committed, spec(Compression::None, None), Box::new(Probe { seen: seen.clone(), feed, finish }));
    // A tap that fails stops the reading: these may find nobody.
    let _ = sender.send(Bytes::from_static(b"ab")).await;
    let _ = sender.send(Bytes::from_static(b"c")).await;
    drop(sender);
    let _ = commit.send(());
    let stored = timeout(SOON, collect(stream)).await.expect("the stream ends");
    let sealed = timeout(SOON, sealed).await.expect("the threads end").expect("no panic gets out").map(drop);
    (std::mem::take(&mut seen.lock().unwrap()), stored, sealed)
}

#[tokio::test]
async fn a_tap_sees_the_plain_bytes_and_the_end() {
    let (seen, stored, sealed) = with_tap(|| Ok(()), || Ok(())).await;
    assert_eq!((seen.as_slice(), stored.unwrap().as_slice()), (&b"abc."[..], &b"abc"[..]));
    sealed.unwrap();
}

#[tokio::test]
async fn a_tap_that_fails_or_panics_fails_the_stream_and_the_handle() {
    let fail = || Err(Error::validation("not a dump"));
    for (feed, finish, says) in [
        (fail as fn() -> Result<()>, (|| Ok(())) as fn() -> Result<()>, "not a dump"),
        (|| Ok(()), fail, "not a dump"),
        (|| panic!("a bug in a tap"), || Ok(()), "a bug in a tap"),
    ] {
        let (_, stored, sealed) = with_tap(feed, finish).await;
        assert!(stored.is_err());
        let error = sealed.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
