#![no_main]
//! A pg_dump archive in custom format, as an upload may bring it.

use dbsnap::domain::artifact::DumpFormat;
use dbsnap_fuzz::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| inspect("postgresql", DumpFormat::PgCustom, input));
