//! Files that are cut, altered, foreign or of another version fail, each with what is wrong and what to do.

use super::*;
use crate::{
    error::Kind,
    snapshot::container::{self, BlockRef, FileKind},
};

/// Opens a file and reads everything in it.
fn prove(bytes: &[u8], keys: &TestKeys) -> Result<u64> {
    let snapshot = Snapshot::open(Arc::new(Bytes::copy_from_slice(bytes)), Some(keys))?;
    snapshot.prove(&mut |_| Ok(()))
}

/// A small file with leaves below a node, encrypted and not.
fn files(rows: u64, length: usize) -> [Vec<u8>; 2] {
    let rows = some_rows(rows, length, 3);
    [None, Some(lock(&TestKeys(1)))].map(|lock| write(&keyed("t"), &rows, lock, None).0)
}

#[test]
fn every_bit_of_a_small_file_counts() {
    for file in files(3, 8) {
        assert_eq!(prove(&file, &TestKeys(1)).unwrap(), 3);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                let error = prove(&flipped, &TestKeys(1)).expect_err("a bit was flipped");
                assert!(matches!(error.kind, Kind::Storage | Kind::Validation), "byte {at}: {error:?}");
            }
        }
    }
}

#[test]
fn a_cut_file_fails_wherever_it_is_cut() {
    for file in files(3, 8) {
        for length in 0..file.len() {
            let error = prove(&file[..length], &TestKeys(1)).expect_err("it is cut").to_string();
            assert!(
                error.contains("cut or was never finished") || error.contains("header cannot be read") || error.contains("not a snapshot")
            );
        }
        assert!(prove(&[&file[..], b"x"].concat(), &TestKeys(1)).is_err());
        assert!(prove(&[&file[..], &file[..]].concat(), &TestKeys(1)).is_err());
    }
    for file in files(3_000, 200) {
        let mut random = Random(5);
        for _ in 0..200 {
            assert!(prove(&file[..random.below(file.len() as u64) as usize], &TestKeys(1)).is_err());
        }
        // A hole where a leaf was, the rest in its place.
        let mut shifted = file.clone();
        shifted.drain(5_000..6_000);
        assert!(prove(&shifted, &TestKeys(1)).unwrap_err().to_string().contains("its place is not the end of the file"));
    }
}

#[test]
fn a_large_file_is_proven_leaf_by_leaf() {
    for file in files(3_000, 200) {
        assert_eq!(prove(&file, &TestKeys(1)).unwrap(), 3_000);
        let mut random = Random(7);
        for _ in 0..100 {
            let mut flipped = file.clone();
            flipped[random.below(file.len() as u64) as usize] ^= 1 << random.below(8);
            let error = prove(&flipped, &TestKeys(1)).unwrap_err().to_string();
            assert!(!error.contains("panicked"), "{error}");
        }
    }
}

#[test]
fn blocks_of_another_file_or_in_another_order_do_not_open() {
    let mut random = Random(4);
    let blocks: Vec<_> = (0..3).map(|_| (0..500).map(|_| random.next() as u8).collect::<Vec<_>>()).collect();
    for locked in [false, true] {
        let write = || {
            let keys = TestKeys(1);
            let (out, file) = memory();
            let mut writer = container::Writer::new(SNAPSHOT, "e", "d", locked.then(|| lock(&keys)), out).unwrap();
            let refs: Vec<_> = blocks.iter().map(|block| writer.block(block).unwrap()).collect();
            assert_eq!(writer.position(), refs[2].end());
            writer.finish(b"footer").unwrap();
            let bytes = file.lock().unwrap().clone();
            (bytes, refs)
        };
        let read = |bytes: &[u8], block: BlockRef| {
            let (reader, footer) = container::Reader::open(Arc::new(Bytes::copy_from_slice(bytes)), SNAPSHOT, Some(&TestKeys(1))).unwrap();
            assert_eq!(footer, b"footer");
            reader.read(block)
        };
        let ((file, refs), (other, _)) = (write(), write());
        let range = |at: usize| refs[at].offset as usize..refs[at].end() as usize;
        assert_eq!(read(&file, refs[1]).unwrap(), blocks[1]);
        let mut foreign = file.clone();
        foreign[range(1)].copy_from_slice(&other[range(1)]);
        assert!(read(&foreign, refs[1]).unwrap_err().to_string().contains("block 1 at byte"));
        assert!(read(&foreign, refs[0]).is_ok());
        let mut swapped = file.clone();
        swapped[range(0).start..range(1).end].rotate_left(range(0).len());
        assert_eq!(range(0).len(), range(1).len());
        assert!(read(&swapped, refs[0]).is_err() && read(&swapped, refs[1]).is_err());
        let outside = BlockRef { offset: file.len() as u64 - 10, ..refs[0] };
        assert!(read(&file, outside).unwrap_err().to_string().contains("outside the file"));
        assert!(read(&file, BlockRef { offset: u64::MAX, ..refs[0] }).is_err());
        assert!(read(&file, BlockRef { stored: 3, ..refs[0] }).is_err());
        for plain in [0, 499, 501, u32::MAX] {
            let wrong = BlockRef { plain, ..refs[0] };
            assert!(read(&file, wrong).unwrap_err().to_string().contains("does not decompress to the length"));
        }
    }
}

#[test]
fn another_key_or_none_is_told() {
    let [plain, locked] = files(3, 8);
    let error = prove(&locked, &TestKeys(2)).unwrap_err().to_string();
    assert!(error.contains("its bytes are not those that were written"), "{error}");
    let error = open(&locked).err().unwrap().to_string();
    assert!(error.contains("encrypted under key 00000001") && error.contains("ENCRYPTION_KEY"), "{error}");
    assert!(open(&plain).is_ok());
}

#[test]
fn a_file_of_another_kind_or_version_is_refused_by_name() {
    let header = |json: &str| [&SNAPSHOT.magic[..], &(json.len() as u16).to_be_bytes(), json.as_bytes()].concat();
    let salt = "00".repeat(32);
    let refused = |bytes: &[u8], says: &str| {
        let error = open(bytes).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    };
    for bytes in [&b""[..], b"PGDMP", b"\x89DBSNAP\n\0\0", b"\x89DBROWS\n\0"] {
        refused(bytes, "this is not a snapshot of dbsnap");
    }
    refused(&header("{}"), "header cannot be read");
    refused(&header("{\"version\": 1}"), "header cannot be read");
    refused(&header("{\"version\": 2}"), "snapshot version 2 is not known");
    refused(
        &header(&format!("{{\"version\":1,\"engine\":\"e\",\"cipher\":\"none\",\"fileSalt\":\"{}\"}}", "0".repeat(63))),
        "header cannot",
    );
    refused(
        &header(&format!("{{\"version\":1,\"engine\":\"e\",\"cipher\":\"ROT13\",\"fileSalt\":\"{salt}\"}}")),
        "cipher 'ROT13' is not known",
    );
    refused(
        &header(&format!("{{\"version\":1,\"engine\":\"e\",\"cipher\":\"AES-256-GCM\",\"fileSalt\":\"{salt}\"}}")),
        "header cannot be read",
    );
    refused(&header(&" ".repeat(4097)), "header cannot be read");
    refused(
        &header(&format!("{{\"version\":1,\"engine\":\"e\",\"cipher\":\"none\",\"fileSalt\":\"{salt}\"}}")),
        "cut or was never finished",
    );
    let long = container::Writer::new(SNAPSHOT, "e", &"x".repeat(5000), None, memory().0);
    assert!(long.err().unwrap().to_string().contains("too long for the header of a snapshot"));
    let report = FileKind { magic: b"\x89DBDIFF\n", name: "report" };
    let [file, _] = files(3, 8);
    let error = container::Reader::open(Arc::new(Bytes::from(file)), report, None).err().unwrap();
    assert!(error.to_string().contains("not a report"));
}

#[test]
fn a_file_that_is_still_written_is_read_where_it_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let mut file = std::fs::File::create(&path).unwrap();
    let out = Box::new(move |bytes: Bytes| {
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        Ok(())
    });
    let mut writer = container::Writer::new(SNAPSHOT, "e", "d", Some(lock(&TestKeys(3))), out).unwrap();
    let reader = writer.reader(Arc::new(FileAt::open(&path).unwrap()));
    let first = writer.block(b"one").unwrap();
    assert_eq!(reader.read(first).unwrap(), b"one");
    let second = writer.block(&[7; 100_000]).unwrap();
    assert_eq!(reader.read(second).unwrap(), [7; 100_000]);
    assert!(reader.read(BlockRef { offset: second.end(), ..second }).is_err());
    // A footer that is longer than what is read of the end at once.
    let mut random = Random(5);
    let footer: Vec<_> = (0..100_000).map(|_| random.next() as u8).collect();
    writer.finish(&footer).unwrap();
    assert_eq!(container::Reader::open(Arc::new(FileAt::open(&path).unwrap()), SNAPSHOT, Some(&TestKeys(3))).unwrap().1, footer);
}

#[test]
fn a_store_that_fails_ends_the_writing_and_a_reader_can_end_the_proof() {
    let mut left = 3;
    let out = Box::new(move |_| {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(Error::new(Kind::Storage, "the disk is full")) }
    });
    let mut writer = Writer::new(out, None, "e", "d").unwrap();
    writer.begin(&keyed("t"), None).unwrap();
    let failed = some_rows(3_000, 200, 1).iter().find_map(|(key, value)| writer.push(RowRef { key, value }).err());
    let error = failed.unwrap().to_string();
    assert_eq!(error, "writing rows of t: the disk is full");
    let mut writer = container::Writer::new(SNAPSHOT, "e", "d", None, memory().0).unwrap();
    assert!(writer.block(&vec![0; 1 << 31]).unwrap_err().to_string().contains("more than 2 GiB"));
    let snapshot = open(&files(3_000, 200)[0]).unwrap();
    assert!(snapshot.prove(&mut |_| Err(Error::cancelled())).unwrap_err().is_cancelled());
}

#[test]
fn rows_out_of_place_are_refused_by_the_name_of_their_table() {
    let mut writer = Writer::new(memory().0, None, "e", "d").unwrap();
    let row = RowRef { key: b"b", value: b"" };
    assert!(writer.push(row).is_err() && writer.end().is_err());
    writer.begin(&keyed("t"), None).unwrap();
    writer.push(row).unwrap();
    for key in [b"b", b"a"] {
        assert!(writer.push(RowRef { key, value: b"" }).unwrap_err().to_string().contains("rows of t do not come in the order"));
    }
    assert!(writer.begin(&keyed("u"), None).is_err());
    writer.end().unwrap();
    assert!(writer.begin(&keyed("t"), None).unwrap_err().to_string().contains("t begins again"));
    assert!(writer.finish(&Schema::default(), &facts()).unwrap_err().to_string().contains("t, which is not in its schema"));
    let mut writer = Writer::new(memory().0, None, "e", "d").unwrap();
    writer.begin(&table("k", Key::Row), None).unwrap();
    assert!(writer.push(RowRef { key: b"a", value: b"" }).is_err(), "no count");
    assert!(writer.finish(&Schema::default(), &facts()).unwrap_err().to_string().contains("ends before k"));
}
