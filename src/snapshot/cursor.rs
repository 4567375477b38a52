//! Ordered rows, one after the other, from a snapshot or from a live database.

use super::row::RowRef;
use crate::error::Result;

/// Reads rows in ascending order of their keys. It stands before a row until [`RowCursor::advance`] is called.
pub trait RowCursor: Send {
    /// The row it stands before; `None` at the end. The same row again until `advance`.
    fn peek(&mut self) -> Result<Option<RowRef<'_>>>;

    /// Goes past the row that `peek` gave.
    fn advance(&mut self) -> Result<()>;

    /// The subtrees that begin exactly here, the smallest (a leaf) first, each holding the ones before it. Empty inside a
    /// leaf, at the end, and for rows that come as a stream. Calling it reads no rows.
    fn subtrees(&mut self) -> Result<&[Subtree]> {
        Ok(&[])
    }

    /// Goes past everything in one of the subtrees that [`RowCursor::subtrees`] gave.
    fn skip(&mut self, _subtree: usize) -> Result<()> {
        Ok(())
    }
}

/// Neighbouring rows whose bytes are known by their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Equal for the same rows, cut in the same way, under the same hash key.
    pub id: [u8; 32],
    pub rows: u64,
    pub leaves: u64,
}
