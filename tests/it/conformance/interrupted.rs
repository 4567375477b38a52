//! Cancels at every stage, and dumps that are not whole.

use bytes::Bytes;
use dbsnap::domain::{restore::RestoreMode, stream::channel};

use super::{
    everywhere,
    home::Home,
    homes,
    operations::{Bench, open, plan, restore, restore_new, take, take_with},
};

#[tokio::test]
async fn a_cancelled_dump_ends_and_leaves_nothing_behind() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("cancelled").await;
        let bench = Bench::new(home);
        let mut dump = open(home, &home.settings(&database), &bench).await.unwrap();
        bench.run.cancel.cancel();
        let (kind, _) = dump.parts()[0];
        let (out, _unread) = channel();
        let error = dump.write(kind, out, &bench.run).await.unwrap_err();
        assert!(error.is_cancelled(), "{}: {error}", home.label());
        drop(dump);
        let error = open(home, &home.settings(&database), &Bench::cancelled(home)).await.err().unwrap();
        assert!(error.is_cancelled(), "{}: {error}", home.label());
        assert_eq!(home.names(&database).await, [database.as_str()], "{}", home.label());
    }
}

#[tokio::test]
async fn a_dump_is_cancelled_while_its_bytes_flow() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("flowing").await;
        home.make_heavy(&database, 16).await;
        let bench = Bench::new(home);
        let cancel = bench.run.cancel.clone();
        let seen = |bytes: usize| {
            if bytes > 1_000_000 {
                cancel.cancel()
            }
        };
        let error = take_with(home, &home.settings(&database), &bench, seen).await.err();
        assert!(error.as_ref().is_some_and(|error| error.is_cancelled()), "{}: {error:?}", home.label());
        take(home, &database).await;
    }
}

#[tokio::test]
async fn a_restore_is_cancelled_at_any_stage_and_leaves_nothing_behind() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("stages").await;
        let taken = take(home, &database).await;
        let (before, copy) = (home.contents(&database).await, format!("{database}_copy"));
        for mode in [RestoreMode::New, RestoreMode::Drop] {
            let name = if mode == RestoreMode::New { &copy } else { &database };
            let whole = Bench::new(home);
            restore(home, &database, &taken, &plan(home, mode, name), &whole).await.unwrap();
            assert!(!whole.stages().is_empty(), "{}: a restore shows its progress", home.label());
            if mode == RestoreMode::New {
                drop_copy(home, &database, &copy).await;
            }
            for stage in whole.stages() {
                let bench = Bench::new(home);
                let cancel = bench.run.cancel.clone();
                let bench = bench.at_stage(&stage, move || cancel.cancel());
                match restore(home, &database, &taken, &plan(home, mode, name), &bench).await {
                    // The last stages may be past the point where a cancel still turns things back.
                    Ok(_) if mode == RestoreMode::New => drop_copy(home, &database, &copy).await,
                    Ok(_) => {}
                    Err(error) => assert!(error.is_cancelled(), "{}: {mode:?}, {stage}: {error}", home.label()),
                }
                assert_eq!(home.names(&database).await, [database.as_str()], "{}: {mode:?}, cancelled while {stage}", home.label());
                assert_eq!(home.contents(&database).await, before, "{}: {mode:?}, cancelled while {stage}", home.label());
            }
        }
        let error = restore(home, &database, &taken, &plan(home, RestoreMode::New, &copy), &Bench::cancelled(home)).await.unwrap_err();
        assert!(error.is_cancelled(), "{}: {error}", home.label());
    }
}

/// Takes away a database that a restore made.
async fn drop_copy(home: &dyn Home, database: &str, copy: &str) {
    home.remove(copy).await;
    assert_eq!(home.names(database).await, [database], "{}", home.label());
}

#[tokio::test]
async fn a_cut_dump_is_seen_by_the_inspector_and_refused_by_a_restore() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("cut").await;
        let whole = take(home, &database).await;
        let copy = format!("{database}_copy");
        let (_, format, bytes) = &whole.parts[0];
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let mut inspector = home.engine().inspector(*format);
            let seen = inspector.feed(&bytes[..cut]).and_then(|()| inspector.finish());
            // A script's last line break is no part of its end mark.
            let harmless = cut == bytes.len() - 1 && bytes.ends_with(b"\n");
            assert!(seen.is_err() || harmless, "{}: cut at {cut} of {}", home.label(), bytes.len());
        }
        for bad in [bytes.slice(..bytes.len() / 2), Bytes::from_static(b"certainly no dump of any engine"), Bytes::new()] {
            let mut taken = whole.clone();
            taken.parts[0].2 = bad;
            let error = restore_new(home, &database, &taken, &copy).await.unwrap_err();
            assert!(!error.is_cancelled(), "{}: {error}", home.label());
            assert_eq!(home.names(&database).await, [database.as_str()], "{}: {error}", home.label());
        }
        let before = home.contents(&database).await;
        let mut taken = whole.clone();
        taken.parts[0].2 = bytes.slice(..bytes.len() / 2);
        for mode in [RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append] {
            restore(home, &database, &taken, &plan(home, mode, &database), &Bench::new(home)).await.unwrap_err();
            assert_eq!(home.contents(&database).await, before, "{}: {mode:?} changed something before the dump was proven", home.label());
        }
        restore_new(home, &database, &whole, &copy).await.expect("the refused ones left nothing in the way");
    }
}
