//! What bytes are at each step, as types: a step can neither be skipped nor done twice.
//!
//! `Plain -> Compressed -> Stored` on the way to a store, and the other way round from it.

use bytes::Bytes;

/// Bytes of a dump, as the engine's tool wrote them.
#[derive(Clone)]
pub(super) struct Plain(pub Bytes);

/// Compressed bytes (also when the compression is `none`).
pub(super) struct Compressed<'a>(pub &'a [u8]);

/// Bytes as the store keeps them: compressed, and encrypted unless that is switched off.
pub(super) struct Stored(pub Bytes);
