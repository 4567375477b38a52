//! Archives that are read: in any pieces, interleaved, damaged, cut, made by an enemy.

use dbsnap::domain::artifact::TableCount;
use mongodb::bson::doc;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{
    bench::{Builder, inspect, one_collection},
    engine, expect_error,
};

const WHOLE: &[usize] = &[usize::MAX];

/// Two collections whose blocks alternate, an empty one, a view, a time-series collection, users.
fn mixed() -> Vec<u8> {
    let number = |id: i32| doc! { "_id": id, "text": "x".repeat(id as usize * 7 % 50) };
    Builder::new()
        .plain("d", "a")
        .plain("d", "b.🐘")
        .plain("d", "empty")
        .list("d", "v", "view", &json!({"options": {"viewOn": "a", "pipeline": []}, "indexes": [], "type": "view"}))
        .list("d", "t", "timeseries", &json!({"options": {"timeseries": {"timeField": "at"}}, "indexes": [], "type": "timeseries"}))
        .list("d", "$admin.system.users", "", &Value::Null)
        .documents("d", "a", (0..30).map(number))
        .documents("d", "b.🐘", (0..5).map(number))
        .end("d", "empty")
        .documents("d", "a", (30..33).map(number))
        .end("d", "a")
        .end("d", "v")
        .documents("d", "b.🐘", (5..9).map(number))
        .end("d", "b.🐘")
        .documents("d", "system.buckets.t", [doc! { "_id": 1, "control": { "version": 1 } }])
        .end("d", "system.buckets.t")
        .documents("d", "$admin.system.users", [doc! { "_id": "d.u", "user": "u", "db": "d" }])
        .end("d", "$admin.system.users")
        .finish()
}

fn rows(counts: &[TableCount]) -> Vec<(String, u64)> {
    counts.iter().map(|count| (count.label(), count.rows)).collect()
}

#[test]
fn documents_are_counted_by_collection_and_accounts_and_views_are_none() {
    let expect = [("a", 33), ("b.🐘", 9), ("empty", 0), ("system.buckets.t", 1)].map(|(name, rows)| (name.to_owned(), rows));
    assert_eq!(rows(&inspect(&mixed(), WHOLE).unwrap()), expect);
    let two = Builder::new().plain("d", "c").plain("e", "c").end("d", "c").end("e", "c").finish();
    assert_eq!(rows(&inspect(&two, WHOLE).unwrap()), [("d.c".to_owned(), 0), ("e.c".to_owned(), 0)]);
    let mut inspector = engine().inspector(dbsnap::domain::artifact::DumpFormat::MongoArchive);
    inspector.feed(&mixed()[..1500]).unwrap();
    assert_eq!(inspector.seen().1.as_deref(), Some("d.a"));
    assert!(inspector.seen().0 > 3);
}

#[test]
fn an_archive_is_known_by_its_first_bytes() {
    assert!(engine().recognise(&mixed()).is_some());
    assert!(engine().recognise(b"PGDMP").is_none());
    assert!(engine().recognise(b"").is_none());
}

proptest! {
    #[test]
    fn any_pieces_give_the_same(sizes in vec(1_usize..600, 1..20)) {
        let archive = mixed();
        prop_assert_eq!(inspect(&archive, &sizes).unwrap(), inspect(&archive, WHOLE).unwrap());
    }

    #[test]
    fn a_flipped_bit_in_the_documents_is_refused(bit in 0_usize..1_000_000) {
        let archive = one_collection((0..50).map(|id| doc! { "_id": id, "text": "some words" }));
        let plain = Builder::new().plain("d", "c").finish().len();
        let mut damaged = archive.clone();
        let bit = bit % ((archive.len() - plain) * 8);
        // The checksum in the header of a block that ends nothing means nothing.
        prop_assume!(!(43..51).contains(&(bit / 8)));
        damaged[plain + bit / 8] ^= 1 << (bit % 8);
        prop_assert!(inspect(&damaged, &[97]).is_err(), "bit {bit}");
    }

    #[test]
    fn nonsense_is_refused_and_never_panics(mut bytes in vec(any::<u8>(), 0..300), keep in any::<bool>()) {
        if keep {
            let start = mixed();
            let at = bytes.len() * 3 % start.len();
            bytes = [&start[..at], &bytes].concat();
        }
        prop_assert!(inspect(&bytes, &[13]).is_err());
    }
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused() {
    let archive = mixed();
    for end in 0..archive.len() {
        assert!(inspect(&archive[..end], WHOLE).is_err(), "cut at {end} of {}", archive.len());
    }
}

#[test]
fn what_an_enemy_may_write_is_refused_with_the_reason() {
    let good = one_collection([doc! { "_id": 1 }]);
    let check = |archive: Vec<u8>, why: &str| drop(expect_error(inspect(&archive, &[64]), &[why]));
    check([good.clone(), vec![0]].concat(), "cut short");
    check([good.clone(), vec![5, 0, 0, 0, 0]].concat(), "a block's header");
    check([good.clone(), vec![0xff; 4]].concat(), "without a header");
    check(Builder::new().plain("d", "c").documents("d", "other", [doc! {}]).end("d", "other").finish(), "which it does not list");
    check(Builder::new().plain("d", "c").plain("d", "c").end("d", "c").finish(), "twice");
    check(Builder::new().plain("d", "c").end("d", "c").documents("d", "c", [doc! {}]).finish(), "after its end");
    check(Builder::new().plain("d", "c").end("d", "c").end("d", "c").finish(), "after its end");
    check(Builder::new().plain("d", "c").plain("d", "e").end("d", "c").finish(), "the end of d.e is missing");
    // A document that says it is larger than any may be: nothing is kept for it.
    check(Builder::new().plain("d", "c").raw("d", "c", &[vec![0xff, 0xff, 0xff, 0x7f, 0]]).finish(), "neither the length");
    check(Builder::new().plain("d", "c").raw("d", "c", &[vec![4, 0, 0, 0]]).finish(), "neither the length");
    check(Builder::new().plain("d", "c").raw("d", "c", &[vec![6, 0, 0, 0, 0, 7]]).finish(), "does not end where");
    let mut wrong = good.clone();
    let version = wrong.windows(4).position(|four| four == b"0.1\0").unwrap();
    wrong[version] = b'9';
    check(wrong, "its format is '9.1'");
    check(b"SQLite format 3\0".to_vec(), "does not begin");
}
