#![no_main]
//! An SQL script of MySQL or MariaDB, as an upload may bring it.

use dbsnap::domain::artifact::DumpFormat;
use dbsnap_fuzz::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| inspect("mysql", DumpFormat::PlainSql, input));
