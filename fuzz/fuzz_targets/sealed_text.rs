#![no_main]
//! A sealed secret. Nothing made without the key may open.

use dbsnap_fuzz::KEYS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|sealed: &str| assert!(KEYS.current().open_text("fuzz", sealed).is_err()));
