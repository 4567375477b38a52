//! Counts the rows in the text of a COPY statement as it passes.

/// What pg_dump writes after the last row.
const END: [u8; 5] = *b"\\.\n\n\n";

/// Lines so far, and the last bytes seen.
#[derive(Default)]
pub struct Rows {
    lines: u64,
    tail: [u8; END.len()],
}

impl Rows {
    pub fn lines(&self) -> u64 {
        self.lines
    }

    #[inline]
    pub fn pass(&mut self, bytes: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        match bytes.last_chunk() {
            Some(last) => self.tail = *last,
            None => {
                self.tail.rotate_left(bytes.len());
                let start = END.len() - bytes.len();
                self.tail[start..].copy_from_slice(bytes);
            }
        }
    }

    /// The exact number of rows: every row is one line, and the end mark is three. `None` without the end mark.
    pub fn end(&self) -> Option<u64> {
        (self.tail == END).then(|| self.lines - 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_however_the_text_is_cut() {
        let text = b"1\ta\\nb\n2\t\\.\n\n\\.\n\n\n";
        for size in 1..=text.len() {
            let mut rows = Rows::default();
            text.chunks(size).for_each(|piece| rows.pass(piece));
            assert_eq!(rows.end(), Some(3), "in pieces of {size}");
        }
    }

    #[test]
    fn text_without_its_end_mark_is_not_counted() {
        let mut rows = Rows::default();
        rows.pass(b"1\n2\n\n\n");
        assert_eq!(rows.end(), None);
        assert_eq!(Rows::default().end(), None);
    }
}
