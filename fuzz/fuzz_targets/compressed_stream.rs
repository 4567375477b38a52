#![no_main]
//! An unencrypted file: zstd frames, gzip members, or neither.

use dbsnap_fuzz::open_all;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| open_all(file, false));
