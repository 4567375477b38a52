//! What every store must do, each behaviour run on every store.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use dbsnap::{
    domain::stream::{ByteStream, PIECE},
    error::{Error, Kind, Result},
    stores::Store,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    configurations,
    pattern::{Alive, assert_body, body},
};

/// Runs one behaviour on a fresh store of every kind.
async fn on_every_store<F: Future<Output = ()>>(behaviour: impl Fn(Arc<dyn Store>) -> F) {
    for configuration in configurations() {
        println!("store: {}", configuration.kind);
        let opened = (configuration.open)();
        behaviour(opened.store.clone()).await;
    }
}

pub fn bytes(content: impl Into<Bytes>) -> ByteStream {
    stream::iter([Ok(content.into())]).boxed()
}

pub async fn read(store: &dyn Store, key: &str) -> Result<Vec<u8>> {
    gather(store.get(key, None).await?).await
}

async fn gather(mut stream: ByteStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = stream.try_next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

pub async fn keys(store: &dyn Store, prefix: &str) -> BTreeSet<String> {
    store.list(prefix).map_ok(|object| object.key).try_collect().await.expect("the list comes to its end")
}

/// A body that fails after some bytes.
fn broken() -> ByteStream {
    stream::iter([Ok(Bytes::from(vec![1; 3 * PIECE])), Err(Error::new(Kind::Backup, "the dump tool died"))]).boxed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_larger_than_the_memory_limit_streams_through() {
    const SIZE: u64 = 600 * 1024 * 1024 + 12_345;
    on_every_store(|store| async move {
        let alive = Alive::default();
        let written = store.put("big/object", body(SIZE, &alive)).await.unwrap();
        assert_eq!((written.key.as_str(), written.size), ("big/object", SIZE));
        let held = alive.most() * PIECE;
        assert!(held <= 16 * 1024 * 1024, "{held} bytes of the body were held at once");
        assert_body(store.get("big/object", None).await.unwrap(), SIZE).await;
        store.delete("big/object").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    on_every_store(|store| async move {
        assert_eq!(store.put("empty", stream::empty().boxed()).await.unwrap().size, 0);
        assert_eq!(store.stat("empty").await.unwrap().unwrap().size, 0);
        assert_eq!(read(&*store, "empty").await.unwrap(), b"");
        store.put("blank", bytes("")).await.unwrap();
        assert_eq!(keys(&*store, "").await, BTreeSet::from(["blank".into(), "empty".into()]));
    })
    .await;
}

#[tokio::test]
async fn ranges_are_read_from_the_start_the_middle_and_the_tail() {
    on_every_store(|store| async move {
        let content: Vec<u8> = (0..3 * PIECE + 77).map(|at| ((at * 31) >> 3) as u8).collect();
        store.put("o", bytes(content.clone())).await.unwrap();
        let size = content.len();
        for (start, end) in [(0, 1), (0, size), (5, 9), (PIECE - 1, 2 * PIECE + 1), (size - 7, size), (size - 7, size + 1000)] {
            let got = gather(store.get("o", Some(start as u64..end as u64)).await.unwrap()).await.unwrap();
            assert!(got == content[start..end.min(size)], "bytes {start} to {end}");
        }
        for start in [size, size + 1, size + PIECE] {
            let refused = store.get("o", Some(start as u64..start as u64 + 10)).await.err().expect("a start after the end is refused");
            assert_eq!(refused.kind, Kind::NotFound, "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_object_is_told_apart_from_a_failure() {
    on_every_store(|store| async move {
        store.put("folder/there", bytes("x")).await.unwrap();
        for key in ["nothing", "folder/nothing", "folder", "folder/there/below", "no/such/folder"] {
            assert!(store.stat(key).await.unwrap().is_none(), "{key}");
            assert_eq!(store.get(key, None).await.err().unwrap().kind, Kind::NotFound, "{key}");
        }
        assert!(keys(&*store, "nothing/").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_hold_exactly_what_has_the_prefix() {
    on_every_store(|store| async move {
        let mut all = BTreeSet::new();
        for database in ["shop", "shop-eu", "crm"] {
            for month in ["01", "02"] {
                for n in 0..60 {
                    let key = format!("{database}/2025/{month}/{n:03}.dump");
                    store.put(&key, bytes(key.clone())).await.unwrap();
                    all.insert(key);
                }
            }
        }
        for prefix in
            ["", "shop", "shop/", "shop/2025/02/", "shop/2025/02/00", "shop/2025/0", "crm/2025/01/059.dump", "sh", "x", "shop/2025/02x"]
        {
            let expect: BTreeSet<String> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
            assert_eq!(keys(&*store, prefix).await, expect, "prefix '{prefix}'");
        }
        let mut listed = store.list("crm/2025/01/007");
        let object = listed.next().await.unwrap().unwrap();
        assert_eq!(object.size, object.key.len() as u64);
        assert_eq!(Some(object.clone()), store.stat(&object.key).await.unwrap());
        assert!(listed.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_list_that_nobody_reads_to_its_end_does_no_harm() {
    on_every_store(|store| async move {
        for n in 0..400 {
            store.put(&format!("many/{n}"), bytes("x")).await.unwrap();
        }
        let mut list = store.list("");
        assert!(list.next().await.unwrap().is_ok());
        drop(list);
        assert_eq!(keys(&*store, "many/").await.len(), 400);
    })
    .await;
}

#[tokio::test]
async fn a_delete_is_repeatable_and_takes_only_its_object() {
    on_every_store(|store| async move {
        store.put("a/b/one", bytes("1")).await.unwrap();
        store.put("a/b/two", bytes("2")).await.unwrap();
        for _ in 0..2 {
            store.delete("a/b/one").await.unwrap();
        }
        store.delete("a/b").await.unwrap();
        store.delete("never/was").await.unwrap();
        assert!(store.stat("a/b/one").await.unwrap().is_none());
        assert_eq!(read(&*store, "a/b/two").await.unwrap(), b"2");
        store.delete("a/b/two").await.unwrap();
        store.put("a/b/two", bytes("again")).await.unwrap();
        assert_eq!(read(&*store, "a/b/two").await.unwrap(), b"again");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_fails_leaves_what_was_there() {
    on_every_store(|store| async move {
        let error = store.put("new", broken()).await.unwrap_err();
        assert!(error.to_string().contains("the dump tool died"), "the cause is kept: {error}");
        assert!(store.stat("new").await.unwrap().is_none());
        store.put("old", bytes("good")).await.unwrap();
        store.put("old", broken()).await.unwrap_err();
        assert_eq!(read(&*store, "old").await.unwrap(), b"good");
        assert_eq!(keys(&*store, "").await, BTreeSet::from(["old".into()]));
        assert_eq!(store.sweep().await.unwrap(), 0, "nothing is left behind");
    })
    .await;
}

#[tokio::test]
async fn a_put_that_is_dropped_leaves_nothing() {
    on_every_store(|store| async move {
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let stuck = stream::once(async move {
            begun.send(()).unwrap();
            std::future::pending().await
        });
        let endless = stream::iter([Ok(Bytes::from(vec![7; PIECE]))]).chain(stuck).boxed();
        let put = tokio::spawn({
            let store = store.clone();
            async move { store.put("cut", endless).await }
        });
        beginning.await.unwrap();
        put.abort();
        assert!(put.await.is_err_and(|gone| gone.is_cancelled()));
        assert!(store.stat("cut").await.unwrap().is_none());
        assert!(keys(&*store, "").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_the_old_object_or_the_new_one_never_a_mix() {
    on_every_store(|store| async move {
        let full = |byte: u8| bytes(vec![byte; 2 * PIECE + 3]);
        store.put("o", full(0)).await.unwrap();
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                for round in 1..=40u8 {
                    store.put("o", full(round)).await.unwrap();
                }
            }
        });
        let mut newest = 0;
        while !writer.is_finished() {
            let got = read(&*store, "o").await.unwrap();
            assert_eq!(got.len(), 2 * PIECE + 3);
            assert!(got.iter().all(|byte| *byte == got[0]), "a mix of {} and others", got[0]);
            assert!(got[0] >= newest, "an older object came back");
            newest = got[0];
        }
        writer.await.unwrap();
        assert_eq!(read(&*store, "o").await.unwrap()[0], 40);
    })
    .await;
}

#[tokio::test]
async fn odd_names_are_kept_as_they_are() {
    on_every_store(|store| async move {
        let long = "l".repeat(200);
        let names = [
            "ünïcödé/ñ",
            "日本語/数据库",
            "emoji/🦀🗄️",
            "with space/ a b ",
            "percent/100%25",
            "plus+plus",
            "hash#frag",
            "what?x=1&y=2",
            "quotes/'\"`",
            "semi;colon,comma",
            "$HOME/$(id)",
            "-rf",
            "star*[a-z]{b}",
            "Case/name",
            "case/Name",
            "case/name",
            ".hidden",
            "dots...",
            "tilde~",
            &format!("{long}/{long}/{long}"),
        ];
        for name in names {
            store.put(name, bytes(name.to_owned())).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for name in names {
            assert_eq!(read(&*store, name).await.unwrap(), name.as_bytes(), "{name}");
            assert_eq!(store.stat(name).await.unwrap().unwrap().key, name);
        }
        assert_eq!(keys(&*store, "").await, names.iter().map(|name| (*name).to_owned()).collect());
        for name in names {
            store.delete(name).await.unwrap();
        }
        assert!(keys(&*store, "").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn keys_that_could_leave_the_store_are_refused() {
    on_every_store(|store| async move {
        let too_long = "x".repeat(256);
        for key in [
            "../x",
            "a/../../x",
            "/abs",
            "a//b",
            "a/",
            "",
            ".",
            "..",
            "a/./b",
            "nul\0",
            "line\nbreak",
            "esc\u{1b}",
            "back\\slash",
            &too_long,
        ] {
            let errors = [
                store.put(key, bytes("x")).await.err(),
                store.get(key, None).await.err(),
                store.stat(key).await.err(),
                store.delete(key).await.err(),
            ];
            for error in errors {
                assert_eq!(error.expect("refused").kind, Kind::Validation, "{key:?}");
            }
        }
        assert!(keys(&*store, "").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_deletes_at_once_do_not_disturb_each_other() {
    on_every_store(|store| async move {
        let tasks = (0..12).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..15 {
                    let key = format!("same/folder/{n}");
                    store.put(&key, bytes(format!("{n} {round}"))).await.unwrap();
                    assert_eq!(read(&*store, &key).await.unwrap(), format!("{n} {round}").as_bytes());
                    store.put("same/object", bytes(vec![n; 1000])).await.unwrap();
                    store.delete(&key).await.unwrap();
                }
            })
        });
        futures_util::future::join_all(tasks.collect::<Vec<_>>()).await.into_iter().for_each(|done| done.unwrap());
        let last = read(&*store, "same/object").await.unwrap();
        assert!(last.len() == 1000 && last.iter().all(|byte| *byte == last[0]));
        assert_eq!(keys(&*store, "").await, BTreeSet::from(["same/object".into()]));
    })
    .await;
}

#[tokio::test]
async fn health_shows_that_it_can_be_written_and_leaves_nothing() {
    on_every_store(|store| async move {
        let health = store.health().await.unwrap();
        assert!(health.free.is_none_or(|free| free > 0) && health.total >= health.free);
        assert!(keys(&*store, "").await.is_empty());
        assert_eq!(store.sweep().await.unwrap(), 0);
    })
    .await;
}
