//! Real archives of each major release, whole, cut, compressed and altered, as the inspector reads them.

use std::{fs, path::PathBuf};

use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        restore::RestoreMode,
    },
    engines::Engine,
};

use super::{Bench, ENGINE, inspect, plan_into};
use crate::support::postgres::{MAJORS, shared};

const TABLES: &str = "CREATE TABLE a AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n; CREATE TABLE b (x text);
    INSERT INTO b VALUES (E'\\\\.'), (E'a\\nb'), (NULL), (''); CREATE TABLE c (); INSERT INTO c DEFAULT VALUES; SELECT lo_from_bytea(0, 'x')";

async fn archive(major: u32, options: &[&str]) -> Vec<u8> {
    let server = shared(major);
    let name = server.database("archive").await;
    server.connect(&name).await.batch_execute(TABLES).await.unwrap();
    let mut args = vec!["--format=custom"];
    args.extend(options);
    args.push(&name);
    server.program("pg_dump", &args)
}

#[tokio::test]
async fn rows_are_counted_in_archives_of_every_release() {
    for major in MAJORS {
        let bytes = archive(major, &["--compress=0"]).await;
        assert_eq!(ENGINE.recognise(&bytes[..bytes.len().min(1024)]), Some(DumpFormat::PgCustom));
        let counts: Vec<_> = inspect(DumpFormat::PgCustom, &bytes).unwrap().iter().map(|table| (table.label(), table.rows)).collect();
        let expect = [("public.a", 1000), ("public.b", 4), ("public.c", 1)].map(|(name, rows)| (name.to_owned(), rows));
        assert_eq!(counts, expect, "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn every_cut_is_noticed() {
    for major in [15, 18] {
        let bytes = archive(major, &["--compress=0"]).await;
        for length in (0..bytes.len()).step_by(7).chain(bytes.len() - 40..bytes.len()) {
            assert!(inspect(DumpFormat::PgCustom, &bytes[..length]).is_err(), "PostgreSQL {major} cut at {length} of {}", bytes.len());
        }
    }
}

#[tokio::test]
async fn pieces_of_any_size_are_read_alike() {
    let bytes = archive(17, &["--compress=0"]).await;
    let whole = inspect(DumpFormat::PgCustom, &bytes).unwrap();
    for size in [1, 2, 3, 5, 64, 4099] {
        let mut inspector = ENGINE.inspector(DumpFormat::PgCustom);
        bytes.chunks(size).for_each(|piece| inspector.feed(piece).unwrap());
        assert_eq!(inspector.seen().0, 1005);
        assert_eq!(inspector.finish().unwrap(), whole, "in pieces of {size}");
    }
}

#[tokio::test]
async fn compressed_archives_are_proven_whole_without_counts() {
    for (major, options) in [(15, &["--compress=6"][..]), (17, &["--compress=zstd"][..]), (18, &["--compress=lz4"][..]), (13, &[][..])] {
        let bytes = archive(major, options).await;
        assert_eq!(inspect(DumpFormat::PgCustom, &bytes).unwrap(), []);
        assert!(inspect(DumpFormat::PgCustom, &bytes[..bytes.len() - 3]).is_err());
    }
}

#[tokio::test]
async fn altered_archives_never_panic() {
    let bytes = archive(15, &["--compress=0"]).await;
    for at in (0..bytes.len().min(12_000)).step_by(7) {
        for value in [0x00, 0xff, bytes[at] ^ 1] {
            let mut altered = bytes.clone();
            altered[at] = value;
            // Either way is right; what matters is that it ends.
            let _ = inspect(DumpFormat::PgCustom, &altered);
        }
    }
}

/// What comes through a pipe lacks the offsets that pg_dump writes into a file at its end, and pg_restore needs for its jobs.
#[tokio::test]
async fn a_spooled_archive_is_what_pg_dump_writes_into_a_file() {
    // The moment it was made ends here at the latest.
    const DATE_END: usize = 51;
    for major in MAJORS {
        let server = shared(major);
        let name = server.database("offsets").await;
        server.connect(&name).await.batch_execute(TABLES).await.unwrap();
        let bench = Bench::new();
        let file = bench.scratch.path().join("written");
        server.program("pg_dump", &["--format=custom", "--compress=0", &format!("--file={}", file.display()), &name]);
        let piped = server.program("pg_dump", &["--format=custom", "--compress=0", &name]);
        let (written, parts) = (fs::read(file).unwrap(), vec![(ArtifactKind::Dump, DumpFormat::PgCustom, piped.clone().into())]);
        assert!(piped[DATE_END..] != written[DATE_END..], "PostgreSQL {major}: a pipe makes no difference");
        bench.restore_parts(server, "postgres", parts, &[], plan_into(RestoreMode::New, &format!("{name}_back"))).await.unwrap();
        let spooled: Vec<PathBuf> = fs::read_dir(bench.scratch.path())
            .unwrap()
            .map(|folder| folder.unwrap().path().join("restore.dump"))
            .filter(|path| path.exists())
            .collect();
        assert!(fs::read(&spooled[0]).unwrap()[DATE_END..] == written[DATE_END..], "PostgreSQL {major}");
    }
}
