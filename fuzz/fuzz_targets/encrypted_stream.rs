#![no_main]
//! An encrypted file: its header, its chunks, and the compressed bytes inside.

use dbsnap::pipeline::describe;
use dbsnap_fuzz::open_all;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = describe(file);
    open_all(file, true);
});
