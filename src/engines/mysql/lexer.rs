//! Splits SQL text of MySQL and MariaDB into statements, as their command line clients do, and counts the rows of INSERTs.
//!
//! It is fed pieces of any size and knows where a statement ends, nothing more. Rows pass through; of everything else one
//! statement at a time is held, so memory is bounded by the longest one allowed.

use super::{
    modes::Modes,
    token::{executable_mark, is_word},
};
use crate::{
    domain::stream::PIECE,
    error::{Error, Kind, Result},
};

/// The longest statement other than the rows of an INSERT, bytes.
const LONGEST: usize = 64 * 1024 * 1024;
/// Bytes looked ahead: more than any mark, keyword or delimiter is long.
const AHEAD: usize = 32;
/// The longest delimiter, bytes.
const DELIMITER: usize = 16;
/// The longest line of a DELIMITER command, bytes.
const DELIMITER_LINE: usize = 256;

/// What receives the parts of a script.
pub trait Sink {
    /// A statement without its delimiter, and the line it begins on (from 1). Comments before it are left out.
    fn statement(&mut self, line: u64, sql: &[u8]) -> Result<()>;

    /// The beginning of an INSERT or REPLACE, up to and with its word VALUES.
    fn insert(&mut self, line: u64, head: &[u8]) -> Result<()>;

    /// The next bytes after VALUES, and the rows that began so far in this statement.
    fn rows(&mut self, bytes: &[u8], rows: u64) -> Result<()>;

    /// The end of the INSERT, which has this many rows.
    fn insert_end(&mut self, rows: u64) -> Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a statement.
    Between,
    LineComment,
    BlockComment,
    /// In a DELIMITER command.
    Delimiter,
    Plain,
    Quoted(u8),
}

/// Where the list of rows of an INSERT is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Not in one.
    No,
    /// A row may begin.
    Awaited,
    In,
    /// A comma or the end is next.
    After,
    /// Past the last row, as in `ON DUPLICATE KEY UPDATE`.
    Over,
}

/// Reads a script piece by piece.
pub struct Lexer {
    /// What is not yet dealt with: from the beginning of the statement in work, or of rows not yet handed on.
    buffer: Vec<u8>,
    /// The next byte to look at, and the first one to hand on.
    at: usize,
    start: usize,
    /// Line of the byte at `counted`.
    line: u64,
    counted: usize,
    /// Line on which the statement in work begins.
    begun: u64,
    state: State,
    /// True from the first byte of a statement to its delimiter.
    inside: bool,
    /// Words of the statement so far.
    words: u32,
    /// True for a statement that begins with INSERT or REPLACE.
    inserts: bool,
    rows: Rows,
    count: u64,
    parentheses: u32,
    /// Depth of executable comments, whose text is part of the statement.
    executable: u32,
    delimiter: Vec<u8>,
    modes: Modes,
    /// True for bytes that mean something outside of quotes.
    signs: [bool; 256],
}

impl Default for Lexer {
    fn default() -> Self {
        let mut lexer = Self {
            buffer: Vec::new(),
            at: 0,
            start: 0,
            line: 1,
            counted: 0,
            begun: 1,
            state: State::Between,
            inside: false,
            words: 0,
            inserts: false,
            rows: Rows::No,
            count: 0,
            parentheses: 0,
            executable: 0,
            delimiter: Vec::new(),
            modes: Modes::default(),
            signs: [false; 256],
        };
        lexer.delimit(b";");
        lexer
    }
}

impl Lexer {
    /// Takes the next bytes. Errors, naming the line, on a client's command, a statement that is too long, and what the sink
    /// errors with.
    pub fn feed<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            self.compact();
            self.buffer.extend_from_slice(piece);
            self.scan(self.buffer.len().saturating_sub(AHEAD), sink)?;
            self.hand_rows(sink)?;
            if self.inside && self.at - self.start > LONGEST {
                return Err(self.wrong(self.begun, "a statement is longer than 64 MiB"));
            }
        }
        Ok(())
    }

    /// The end of the script. A last statement needs no delimiter. Errors when it ends inside a quote, a comment or a row.
    pub fn finish<S: Sink>(&mut self, sink: &mut S) -> Result<()> {
        self.scan(self.buffer.len(), sink)?;
        let unfinished = match self.state {
            State::Quoted(_) => Some("a quoted text"),
            State::BlockComment => Some("a comment"),
            _ if self.executable > 0 => Some("an executable comment"),
            _ if self.parentheses > 0 || self.rows == Rows::Awaited => Some("a statement"),
            _ => None,
        };
        if let Some(what) = unfinished {
            return Err(self.wrong(self.begun, &format!("it ends inside {what}")));
        }
        if self.inside { self.end_statement(0, sink) } else { Ok(()) }
    }

    /// Forgets what was dealt with.
    fn compact(&mut self) {
        let keep = if self.inside { self.start } else { self.at };
        self.count_lines(keep);
        self.buffer.drain(..keep);
        self.at -= keep;
        self.start = self.start.saturating_sub(keep);
        self.counted -= keep;
    }

    fn count_lines(&mut self, to: usize) {
        if to > self.counted {
            self.line += memchr::memchr_iter(b'\n', &self.buffer[self.counted..to]).count() as u64;
            self.counted = to;
        }
    }

    /// The byte at this distance from the next one; 0 past the end.
    fn peek(&self, distance: usize) -> u8 {
        self.buffer.get(self.at + distance).copied().unwrap_or(0)
    }

    fn ahead(&self, text: &[u8]) -> bool {
        self.buffer[self.at..].starts_with(text)
    }

    /// True when this word, in any case, is next.
    fn word_ahead(&self, word: &[u8]) -> bool {
        self.buffer[self.at..].get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word)) && !is_word(self.peek(word.len()))
    }

    fn scan<S: Sink>(&mut self, end: usize, sink: &mut S) -> Result<()> {
        while self.at < end {
            match self.state {
                State::Plain => self.plain(end, sink)?,
                State::Quoted(quote) => self.quoted(quote, end),
                State::Between => self.between()?,
                State::LineComment => self.until(b'\n', end),
                State::BlockComment => match memchr::memmem::find(&self.buffer[self.at..], b"*/") {
                    Some(place) => {
                        self.at += place + 2;
                        self.leave();
                    }
                    // Its first half may be the last byte.
                    None => self.at = end,
                },
                State::Delimiter => {
                    if !self.delimiter_line(end)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn until(&mut self, byte: u8, end: usize) {
        match memchr::memchr(byte, &self.buffer[self.at..end]) {
            Some(place) => {
                self.at += place + 1;
                self.leave();
            }
            None => self.at = end,
        }
    }

    /// Leaves a comment.
    fn leave(&mut self) {
        self.state = if self.inside { State::Plain } else { State::Between };
    }

    /// White space, comments and DELIMITER commands before a statement.
    fn between(&mut self) -> Result<()> {
        let byte = self.buffer[self.at];
        if byte.is_ascii_whitespace() {
            self.at += 1;
        } else if self.ahead(&self.delimiter) {
            // An empty statement.
            self.at += self.delimiter.len();
        } else if let Some(length) = self.comment() {
            self.at += length;
        } else if self.ahead(b"\xef\xbb\xbf") && self.line == 1 {
            self.at += 3;
        } else if self.word_ahead(b"delimiter") {
            self.start = self.at;
            self.state = State::Delimiter;
        } else {
            self.count_lines(self.at);
            self.begun = self.line;
            self.start = self.at;
            self.inside = true;
            self.words = 0;
            self.inserts = false;
            self.state = State::Plain;
        }
        Ok(())
    }

    /// Enters a comment that is next; returns the length of its mark.
    fn comment(&mut self) -> Option<usize> {
        let dashes = self.ahead(b"--") && (self.peek(2).is_ascii_whitespace() || self.peek(2) == 0);
        if self.buffer[self.at] == b'#' || dashes {
            self.state = State::LineComment;
            return Some(1);
        }
        if !self.ahead(b"/*") || executable_mark(&self.buffer[self.at..]).is_some() {
            return None;
        }
        self.state = State::BlockComment;
        Some(2)
    }

    fn quoted(&mut self, quote: u8, end: usize) {
        let rest = &self.buffer[self.at..end];
        let escapes = quote != b'`' && self.modes.escapes(quote);
        let found = if escapes { memchr::memchr2(quote, b'\\', rest) } else { memchr::memchr(quote, rest) };
        match found.map(|place| (place, rest[place])) {
            None => self.at = end,
            // What is escaped may lie past `end`, but not past what was looked ahead to.
            Some((place, b'\\')) if escapes => self.at += place + 2,
            // A doubled quote leaves and enters again.
            Some((place, _)) => {
                self.at += place + 1;
                self.state = State::Plain;
            }
        }
    }

    fn plain<S: Sink>(&mut self, end: usize, sink: &mut S) -> Result<()> {
        if self.rows == Rows::In || self.rows == Rows::Over {
            // Nothing but signs matters there.
            let rest = &self.buffer[self.at..end];
            match rest.iter().position(|byte| self.signs[usize::from(*byte)]) {
                Some(place) => self.at += place,
                None => {
                    self.at = end;
                    return Ok(());
                }
            }
        }
        let byte = self.buffer[self.at];
        if byte == self.delimiter[0] && self.ahead(&self.delimiter) {
            return self.end_statement(self.delimiter.len(), sink);
        }
        match byte {
            b'\'' | b'"' | b'`' => {
                self.state = State::Quoted(byte);
                self.other();
            }
            b'(' => {
                self.parentheses += 1;
                if self.rows == Rows::Awaited {
                    self.count += 1;
                    self.rows = Rows::In;
                }
            }
            b')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                if self.parentheses == 0 && self.rows == Rows::In {
                    self.rows = Rows::After;
                }
            }
            b',' if self.rows == Rows::After => self.rows = Rows::Awaited,
            b'\\' if self.peek(1) == b'N' => self.at += 1,
            b'\\' => {
                self.count_lines(self.at);
                let command = char::from(self.peek(1));
                let what = format!("'\\{}' is a command of the client, not SQL", command.escape_default());
                return Err(self.wrong(self.line, &what).hint("remove it; commands of the client are never run"));
            }
            b'/' if self.ahead(b"/*") => {
                if let Some(length) = executable_mark(&self.buffer[self.at..]) {
                    self.executable += 1;
                    self.at += length;
                    return Ok(());
                }
                self.state = State::BlockComment;
                self.at += 1;
            }
            b'*' if self.executable > 0 && self.ahead(b"*/") => {
                self.executable -= 1;
                self.at += 1;
            }
            b'-' | b'#' => {
                self.comment();
            }
            _ if is_word(byte) => return self.word(end, sink),
            _ if byte.is_ascii_whitespace() => {}
            _ => self.other(),
        }
        self.at += 1;
        Ok(())
    }

    /// Something that can stand neither before a row nor between two.
    fn other(&mut self) {
        if matches!(self.rows, Rows::After | Rows::Awaited) && self.parentheses == 0 {
            self.rows = Rows::Over;
        }
    }

    fn word<S: Sink>(&mut self, end: usize, sink: &mut S) -> Result<()> {
        // The rest of a long word that was looked at in part.
        let goes_on = self.at > self.start && is_word(self.buffer[self.at - 1]);
        if self.words == 0 && !goes_on {
            self.inserts = self.word_ahead(b"insert") || self.word_ahead(b"replace");
        }
        self.words += u32::from(!goes_on);
        let values = self.inserts && !goes_on && self.rows == Rows::No && self.parentheses == 0 && self.word_ahead(b"values");
        let values_end = self.at + b"values".len();
        if self.rows == Rows::After {
            self.rows = Rows::Over;
        }
        // A delimiter may be made of what words are made of, as `$$` is.
        let ends = |at: usize| !is_word(self.buffer[at]) || self.buffer[at..].starts_with(&self.delimiter);
        self.at = (self.at + 1..end).find(|at| ends(*at)).unwrap_or(end);
        if !values {
            return Ok(());
        }
        // The keyword was looked at whole, and may reach past `end`.
        self.at = self.at.max(values_end);
        self.rows = Rows::Awaited;
        self.count = 0;
        sink.insert(self.begun, &self.buffer[self.start..self.at])?;
        self.count_lines(self.at);
        self.start = self.at;
        Ok(())
    }

    fn hand_rows<S: Sink>(&mut self, sink: &mut S) -> Result<()> {
        if self.rows != Rows::No && self.at > self.start {
            sink.rows(&self.buffer[self.start..self.at], self.count)?;
            self.start = self.at;
        }
        Ok(())
    }

    /// Ends the statement in work before a delimiter of this length.
    fn end_statement<S: Sink>(&mut self, delimiter: usize, sink: &mut S) -> Result<()> {
        if self.executable > 0 {
            return Err(self.wrong(self.begun, "a statement ends inside an executable comment"));
        }
        if self.rows == Rows::No {
            let sql = self.buffer[self.start..self.at].trim_ascii_end();
            sink.statement(self.begun, sql)?;
            if !self.modes.follow(sql) {
                return Err(self.wrong(self.begun, "it sets sql_mode to what cannot be told beforehand"));
            }
        } else {
            self.hand_rows(sink)?;
            sink.insert_end(self.count)?;
        }
        self.at += delimiter;
        self.rows = Rows::No;
        self.parentheses = 0;
        self.inside = false;
        self.state = State::Between;
        Ok(())
    }

    /// Reads a DELIMITER command; false when more of it is yet to come.
    fn delimiter_line(&mut self, end: usize) -> Result<bool> {
        let whole = end == self.buffer.len();
        let rest = &self.buffer[self.start..];
        let length = match memchr::memchr(b'\n', rest) {
            Some(length) => length,
            None if rest.len() > DELIMITER_LINE => return Err(self.wrong(self.line, "a DELIMITER line does not end")),
            None if whole => rest.len(),
            None => return Ok(false),
        };
        let word = rest[b"delimiter".len()..length].split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default();
        if word.is_empty() || word.len() > DELIMITER || word.contains(&b'\\') {
            self.count_lines(self.start);
            return Err(self.wrong(self.line, "a DELIMITER command names no delimiter that can be used"));
        }
        let word = word.to_vec();
        self.at = self.start + length;
        self.delimit(&word);
        self.state = State::Between;
        Ok(true)
    }

    fn delimit(&mut self, delimiter: &[u8]) {
        self.delimiter = delimiter.to_vec();
        self.signs = [false; 256];
        for sign in b"'\"`()\\/*-#".iter().chain(&delimiter[..1]) {
            self.signs[usize::from(*sign)] = true;
        }
    }

    fn wrong(&self, line: u64, what: &str) -> Error {
        Error::new(Kind::Restore, format!("the script cannot be run: {what} (line {line})"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Statements as `line:text`, INSERTs as `line:head|rows|count`.
    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Sink for Heard {
        fn statement(&mut self, line: u64, sql: &[u8]) -> Result<()> {
            self.0.push(format!("{line}:{}", String::from_utf8_lossy(sql)));
            Ok(())
        }

        fn insert(&mut self, line: u64, head: &[u8]) -> Result<()> {
            self.0.push(format!("{line}:{}|", String::from_utf8_lossy(head)));
            Ok(())
        }

        fn rows(&mut self, bytes: &[u8], _: u64) -> Result<()> {
            // Latin-1, so that no boundary between pieces matters.
            self.0.last_mut().unwrap().extend(bytes.iter().map(|byte| char::from(*byte)));
            Ok(())
        }

        fn insert_end(&mut self, rows: u64) -> Result<()> {
            *self.0.last_mut().unwrap() += &format!("|{rows}");
            Ok(())
        }
    }

    fn parts(script: &[u8], pieces: impl IntoIterator<Item = usize>) -> Result<Vec<String>, String> {
        let (mut lexer, mut heard) = (Lexer::default(), Heard::default());
        let mut rest = script;
        for piece in pieces {
            let (now, later) = rest.split_at(piece.clamp(1, rest.len().max(1)).min(rest.len()));
            lexer.feed(now, &mut heard).map_err(|error| error.to_string())?;
            rest = later;
        }
        lexer.feed(rest, &mut heard).and_then(|()| lexer.finish(&mut heard)).map_err(|error| error.to_string())?;
        Ok(heard.0)
    }

    fn check(script: &str, expect: &[&str]) {
        assert_eq!(parts(script.as_bytes(), []).unwrap(), expect, "{script}");
        assert_eq!(parts(script.as_bytes(), std::iter::repeat_n(1, script.len())).unwrap(), expect, "byte by byte: {script}");
    }

    fn refused(script: &str, why: &str) {
        let error = parts(script.as_bytes(), []).unwrap_err();
        assert!(error.contains(why), "{script}: {error}");
    }

    #[test]
    fn statements_end_at_delimiters_that_are_not_quoted() {
        check("SELECT 1; SELECT ';';\nSELECT \";\" ; SELECT `;`", &["1:SELECT 1", "1:SELECT ';'", "2:SELECT \";\"", "2:SELECT `;`"]);
        check("SELECT 'it''s;', 'a\\';', \"b\\\";\";SELECT 2", &["1:SELECT 'it''s;', 'a\\';', \"b\\\";\"", "1:SELECT 2"]);
        check("SELECT `a\\`;SELECT 2;", &["1:SELECT `a\\`", "1:SELECT 2"]);
        check(";;\n ;", &[]);
        check("\u{feff}SELECT 1", &["1:SELECT 1"]);
    }

    #[test]
    fn comments_hide_delimiters_and_executable_ones_are_statements() {
        check("-- a;\n# b;\n/* c; */ SELECT 1 -- ;\n, 2 /* ' */;", &["3:SELECT 1 -- ;\n, 2 /* ' */"]);
        check("SELECT 5--1;SELECT 6/2*3", &["1:SELECT 5--1", "1:SELECT 6/2*3"]);
        check("/*!40101 SET a='*/' */;\n/*M!100616 SET b=1 */;", &["1:/*!40101 SET a='*/' */", "2:/*M!100616 SET b=1 */"]);
        check("/*M!999999\\- enable the sandbox mode */ \nSELECT 1;", &["2:SELECT 1"]);
        check("/*!50003 CREATE /* x; */ VIEW */;", &["1:/*!50003 CREATE /* x; */ VIEW */"]);
        refused("/*!50003 SELECT 1; DROP DATABASE x */;", "inside an executable comment");
    }

    #[test]
    fn the_delimiter_can_be_changed() {
        check(
            "DELIMITER ;;\nCREATE TRIGGER a BEGIN SELECT 1; END ;;\nDELIMITER ;\nSELECT 2;",
            &["2:CREATE TRIGGER a BEGIN SELECT 1; END", "4:SELECT 2"],
        );
        check("delimiter //\r\nSELECT 1/2//\ndelimiter ;\n", &["2:SELECT 1/2"]);
        check("DELIMITER $$\nBEGIN END$$\n\nDELIMITER ;\nSELECT 1;", &["2:BEGIN END", "5:SELECT 1"]);
        check("DELIMITER $$\nINSERT INTO t VALUES (1)$$", &["2:INSERT INTO t VALUES| (1)|1"]);
        refused("DELIMITER \n", "no delimiter");
        refused(&format!("DELIMITER {}", "x".repeat(17)), "no delimiter");
        refused(&format!("DELIMITER {}", " ".repeat(300)), "does not end");
    }

    #[test]
    fn rows_are_counted_whatever_is_in_them() {
        check("INSERT INTO t VALUES (1,'(2),(3)'),(f((1)), NULL);", &["1:INSERT INTO t VALUES| (1,'(2),(3)'),(f((1)), NULL)|2"]);
        check("INSERT INTO `t` (`values`) VALUES\n(1),\n(2)\n", &["1:INSERT INTO `t` (`values`) VALUES|\n(1),\n(2)\n|2"]);
        check(
            "replace into t values (1), (2) ON DUPLICATE KEY UPDATE a = VALUES(a), b = (1), c = (2);",
            &["1:replace into t values| (1), (2) ON DUPLICATE KEY UPDATE a = VALUES(a), b = (1), c = (2)|2"],
        );
        check("INSERT INTO t VALUES ROW(1), ROW(2);", &["1:INSERT INTO t VALUES| ROW(1), ROW(2)|2"]);
        check("INSERT INTO t VALUES (-1--1), /* (3) */ (2) -- (4)\n;", &["1:INSERT INTO t VALUES| (-1--1), /* (3) */ (2) -- (4)\n|2"]);
        check("INSERT INTO t VALUES (\\N,_binary 'a\\'),(',0x28);", &["1:INSERT INTO t VALUES| (\\N,_binary 'a\\'),(',0x28)|1"]);
        check("INSERT INTO t SELECT * FROM b; SELECT values(1)", &["1:INSERT INTO t SELECT * FROM b", "1:SELECT values(1)"]);
    }

    #[test]
    fn modes_say_whether_a_backslash_escapes() {
        check(
            "SET sql_mode='NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; SELECT 1",
            &["1:SET sql_mode='NO_BACKSLASH_ESCAPES'", "1:SELECT 'a\\'", "1:SELECT 1"],
        );
        refused("SET sql_mode=CONCAT('a','b');", "cannot be told");
    }

    #[test]
    fn commands_of_the_client_and_cut_scripts_are_refused() {
        for script in ["\\! touch x", "SELECT 1;\n\\. file", "INSERT INTO t VALUES (1 \\! x", "SELECT 1 \\g", "/*!50000 \\! x */"] {
            refused(script, "command of the client");
        }
        for script in
            ["SELECT 'x", "SELECT `x", "/* x", "INSERT INTO t VALUES (1", "INSERT INTO t VALUES (1),", "/*!50000 SELECT 1", "SELECT '\\"]
        {
            refused(script, "ends inside");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_script_is_cut(
            words in prop::collection::vec(prop::sample::select(vec![
                "INSERT INTO t VALUES ", "values", "(", ")", ",", "'", "\"", "`", "\\", "\\\\", "\\N", ";", ";;", "\n", " ", "-- ", "#", "/*", "*/", "/*!50001 ",
                "/*M!", "DELIMITER ;;\n", "DELIMITER ;\n", "DELIMITER $$\n", "$", "$$", "SET sql_mode='NO_BACKSLASH_ESCAPES';", "SET sql_mode='';", "\u{1f418}", "a", "x1", "--1",
                "replace t values", "a_very_long_word_that_does_not_end_for_quite_some_time_values",
            ]), 0..40),
            cuts in prop::collection::vec(1..40usize, 0..60),
        ) {
            let script = words.concat();
            let whole = parts(script.as_bytes(), []);
            prop_assert_eq!(&parts(script.as_bytes(), std::iter::repeat_n(1, script.len())), &whole);
            prop_assert_eq!(&parts(script.as_bytes(), cuts), &whole);
        }
    }
}
