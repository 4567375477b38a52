#![no_main]
//! A manifest: its JSON, and the check of its MAC.

use dbsnap::domain::manifest::Manifest;
use dbsnap_fuzz::KEYS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((manifest, json)) = Manifest::parse(bytes) else { return };
    let input = Manifest::mac_input(&json).expect("a manifest that parses is an object");
    // Other salts would only measure the key derivation.
    if let Some(mac) = manifest.mac.filter(|mac| mac.salt == KEYS.current().kdf().salt_hex()) {
        let _ = KEYS.verify_mac(&mac, &input);
    }
});
