//! The text form of COPY, read and written: one row a line, values escaped, never trusted to be cut where a message ends.

use crate::{
    error::{Error, Result},
    snapshot::Class,
};

/// Takes whole lines out of the pieces in which COPY's text arrives.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Calls `each` with every line that ends in `piece`, without its line end.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        // A line end inside a value is written as `\n`, so a plain one always ends a row.
        while let Some(at) = memchr::memchr(b'\n', piece) {
            if self.partial.is_empty() {
                each(&piece[..at])?;
            } else {
                self.partial.extend_from_slice(&piece[..at]);
                each(&self.partial)?;
                self.partial.clear();
            }
            piece = &piece[at + 1..];
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    /// Errors when the text ended inside a line.
    pub fn end(&self) -> Result<()> {
        if self.partial.is_empty() { Ok(()) } else { Err(Error::internal("the server ended a row in its middle")) }
    }
}

/// Where the bytes of a value are.
#[derive(Clone, Copy)]
enum Place {
    Null,
    /// In the line.
    There(usize, usize),
    /// In the scratch space, because it had to be unescaped.
    Made(usize, usize),
}

/// Reads the values of one line after the other, without allocating for each.
pub struct Reader {
    /// Of each column: its text is the hex form of bytes.
    hex: Vec<bool>,
    places: Vec<Place>,
    made: Vec<u8>,
}

impl Reader {
    pub fn new(classes: impl Iterator<Item = Class>) -> Self {
        Self { hex: classes.map(|class| class == Class::Bytes).collect(), places: Vec::new(), made: Vec::new() }
    }

    /// Puts the values of a line into `cells`. Errors when there are not as many as columns, or bytes are not in hex.
    pub fn read<'a>(&'a mut self, line: &'a [u8], cells: &mut Vec<Option<&'a [u8]>>) -> Result<()> {
        self.places.clear();
        self.made.clear();
        let escaped = memchr::memchr(b'\\', line).is_some();
        let mut start = 0;
        while !self.hex.is_empty() && start <= line.len() {
            let end = memchr::memchr(b'\t', &line[start..]).map_or(line.len(), |at| start + at);
            let hex = *self.hex.get(self.places.len()).ok_or_else(odd)?;
            let place = if escaped || hex { self.unescape(&line[start..end], start, hex)? } else { Place::There(start, end) };
            self.places.push(place);
            start = end + 1;
        }
        if self.places.len() != self.hex.len() || (self.hex.is_empty() && !line.is_empty()) {
            return Err(odd());
        }
        let made = &self.made;
        cells.extend(self.places.iter().map(|place| match *place {
            Place::Null => None,
            Place::There(start, end) => Some(&line[start..end]),
            Place::Made(start, end) => Some(&made[start..end]),
        }));
        // What one great value took is not held for the small ones after it.
        Ok(())
    }

    /// Gives back memory that a great value took.
    pub fn shrink(&mut self, to: usize) {
        if self.made.capacity() > to {
            self.made = Vec::new();
        }
    }

    fn unescape(&mut self, text: &[u8], start: usize, hex: bool) -> Result<Place> {
        if text == b"\\N" {
            return Ok(Place::Null);
        }
        let from = self.made.len();
        if hex {
            // The backslash before the x is itself escaped.
            let digits = text.strip_prefix(b"\\\\x").ok_or_else(|| Error::internal("the server wrote bytes in another form than hex"))?;
            self.made.resize(from + digits.len() / 2, 0);
            hex::decode_to_slice(digits, &mut self.made[from..]).map_err(|_| Error::internal("the server wrote bytes in broken hex"))?;
            return Ok(Place::Made(from, self.made.len()));
        }
        let Some(first) = memchr::memchr(b'\\', text) else { return Ok(Place::There(start, start + text.len())) };
        let (mut rest, mut at) = (text, first);
        loop {
            self.made.extend_from_slice(&rest[..at]);
            let code = *rest.get(at + 1).ok_or_else(odd)?;
            self.made.push(match code {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => other,
            });
            rest = &rest[at + 2..];
            match memchr::memchr(b'\\', rest) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.made.extend_from_slice(rest);
        Ok(Place::Made(from, self.made.len()))
    }
}

/// An emptied list of cells that keeps its memory for cells of another life.
pub fn recycle<'b>(mut cells: Vec<Option<&[u8]>>) -> Vec<Option<&'b [u8]>> {
    cells.clear();
    cells.into_iter().map(|_| None).collect()
}

/// Appends one value as COPY FROM reads it.
pub fn write_cell(out: &mut Vec<u8>, class: Class, cell: Option<&[u8]>) {
    let Some(mut rest) = cell else { return out.extend_from_slice(b"\\N") };
    if class == Class::Bytes {
        out.extend_from_slice(b"\\\\x");
        let start = out.len();
        out.resize(start + rest.len() * 2, 0);
        // The space is exactly as long as the digits.
        let written = hex::encode_to_slice(rest, &mut out[start..]);
        debug_assert!(written.is_ok());
        return;
    }
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn odd() -> Error {
    Error::internal("the server sent a row that does not have the columns of its table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(classes: &[Class], line: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut reader = Reader::new(classes.iter().copied());
        let mut cells = Vec::new();
        reader.read(line, &mut cells)?;
        Ok(cells.into_iter().map(|cell| cell.map(<[u8]>::to_vec)).collect())
    }

    #[test]
    fn values_return_as_they_were_written() {
        let classes = [Class::Text, Class::Bytes, Class::Other, Class::Integer];
        let rows: [[Option<&[u8]>; 4]; 4] = [
            [Some(b"plain"), Some(b"\0\xff\\\n"), Some(b""), Some(b"-1")],
            [Some(b"tab\t line\n \r back\\slash \\N \\. \x08\x0c\x0b"), None, Some("🐘".as_bytes()), None],
            [None, Some(b""), None, Some(b"0")],
            [Some(b"\\"), Some(b"\\x"), Some(b"NULL"), Some(b"7")],
        ];
        let mut text = Vec::new();
        for row in &rows {
            for (at, cell) in row.iter().enumerate() {
                if at > 0 {
                    text.push(b'\t');
                }
                write_cell(&mut text, classes[at], *cell);
            }
            text.push(b'\n');
        }
        for size in 1..=text.len() {
            let mut found = Vec::new();
            let mut lines = Lines::default();
            for piece in text.chunks(size) {
                lines
                    .feed(piece, |line| {
                        found.push(cells(&classes, line)?);
                        Ok(())
                    })
                    .unwrap();
            }
            lines.end().unwrap();
            let expect: Vec<Vec<Option<Vec<u8>>>> =
                rows.iter().map(|row| row.iter().map(|cell| cell.map(<[u8]>::to_vec)).collect()).collect();
            assert_eq!(found, expect, "in pieces of {size}");
        }
    }

    #[test]
    fn every_escape_of_the_server_is_known() {
        assert_eq!(cells(&[Class::Text], br"\b\f\n\r\t\v\\\N").unwrap(), [Some(b"\x08\x0c\n\r\t\x0b\\N".to_vec())]);
        assert_eq!(cells(&[Class::Text], b"").unwrap(), [Some(Vec::new())]);
        assert_eq!(cells(&[], b"").unwrap(), []);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        assert!(cells(&[Class::Text], b"a\tb").is_err() && cells(&[Class::Text, Class::Text], b"a").is_err());
        assert!(cells(&[], b"a").is_err() && cells(&[Class::Text], b"a\\").is_err());
        assert!(cells(&[Class::Bytes], b"abc").is_err() && cells(&[Class::Bytes], br"\\xabc").is_err());
        let mut lines = Lines::default();
        lines.feed(b"half", |_| Ok(())).unwrap();
        assert!(lines.end().is_err());
    }
}
