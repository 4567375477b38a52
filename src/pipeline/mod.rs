//! Byte streams on their way to and from a store: digest, compress, encrypt, and back.
//!
//! [`seal`] takes the plain bytes of a dump and yields what a store keeps; [`open`] is its inverse. Both work on
//! threads of their own with bounded channels between them, so memory does not grow with the dump. Nothing here
//! knows of engines, stores or the catalogue. docs/format.md specifies every byte written.

mod compress;
mod decompress;
mod decrypt;
mod digest;
mod encrypt;
mod header;
pub mod keys;
mod layers;
mod open;
mod relay;
mod seal;

pub use header::{Header, describe};
pub use keys::{Kdf, KeyRing, MasterKey};
pub use open::{Expected, Limits, OpenSpec, open};
pub use seal::{SealSpec, Sealed, Tap, seal};
