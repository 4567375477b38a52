#![no_main]
//! An archive of mongodump, as an upload may bring it.

use dbsnap::domain::artifact::DumpFormat;
use dbsnap_fuzz::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| inspect("mongodb", DumpFormat::MongoArchive, input));
