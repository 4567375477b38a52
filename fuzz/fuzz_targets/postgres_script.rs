#![no_main]
//! An SQL script, as an upload may bring it.

use dbsnap::domain::artifact::DumpFormat;
use dbsnap_fuzz::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| inspect("postgresql", DumpFormat::PlainSql, input));
