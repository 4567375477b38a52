//! Splits an SQL script into statements, COPY data and psql's own commands, as psql does (its psqlscan.l).
//!
//! It knows where a statement ends, nothing more. Memory is bounded by the longest statement allowed; COPY data passes
//! in pieces.

use std::io::{BufRead, Read};

use super::statement::{Copy, copy_of, is_word, only_comments, sets_conforming_strings};
use crate::error::{Context, Error, Kind, Result};

/// The longest statement, bytes.
const LONGEST: usize = 256 * 1024 * 1024;
/// The longest dollar-quote tag, bytes; an identifier has 63.
const TAG: usize = 64;
/// Size of the pieces of COPY data, bytes.
const DATA: usize = 64 * 1024;

/// One part of a script.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Text up to its semicolon, and the line it begins on (from 1).
    Statement { line: u64, sql: String },
    /// Text of the COPY statement before.
    Data(Vec<u8>),
    /// The end of that text.
    DataEnd,
    /// A backslash command of psql, from its backslash to the end of the line.
    Meta { line: u64, command: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Plain,
    LineComment,
    BlockComment(u32),
    /// In `'...'`; true where a backslash escapes.
    Text(bool),
    Name,
    /// In what may become a dollar quote's opening tag.
    Tag(Vec<u8>),
    /// In a dollar quote: its tag with both dollars, and how much of the closing one has matched.
    Dollar(Vec<u8>, usize),
    Meta,
}

/// Reads a script part by part.
pub struct Lexer<R> {
    input: R,
    line: u64,
    state: State,
    sql: Vec<u8>,
    /// The line of the first byte of the statement that is no white space.
    starts: u64,
    /// The byte before, in the same state; 0 after a change of state.
    before: u8,
    word: Vec<u8>,
    /// First letters of the words that begin a function definition.
    opening: [u8; 4],
    words: usize,
    parentheses: u32,
    /// Depth of BEGIN ... END in a function body.
    blocks: u32,
    conforming: bool,
    mode: Mode,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Statements,
    /// The rest of the line of a COPY statement, before its data.
    RestOfLine,
    Data {
        line_start: bool,
    },
    DataEnded,
}

impl<R: BufRead> Lexer<R> {
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: 1,
            state: State::Plain,
            sql: Vec::new(),
            starts: 1,
            before: 0,
            word: Vec::new(),
            opening: [0; 4],
            words: 0,
            parentheses: 0,
            blocks: 0,
            conforming: true,
            mode: Mode::Statements,
        }
    }

    /// The next part; `None` at the end. Errors on a script that ends inside a quote, a comment or COPY data, on a
    /// statement that is too long, and on text that is not UTF-8.
    pub fn next(&mut self) -> Result<Option<Part>> {
        match self.mode {
            Mode::Statements => self.statement(),
            Mode::RestOfLine => {
                self.rest_of_line()?;
                self.data().map(Some)
            }
            Mode::Data { .. } => self.data().map(Some),
            Mode::DataEnded => {
                self.mode = Mode::Statements;
                Ok(Some(Part::DataEnd))
            }
        }
    }

    fn statement(&mut self) -> Result<Option<Part>> {
        while let Some(&byte) = self.input.fill_buf().context(Kind::Restore, || "reading the script".into())?.first() {
            self.input.consume(1);
            if let Some(part) = self.byte(byte)? {
                return Ok(Some(part));
            }
        }
        self.end()
    }

    /// Takes one byte; returns the part that it ends.
    fn byte(&mut self, byte: u8) -> Result<Option<Part>> {
        let line = self.line;
        if byte == b'\n' {
            self.line += 1;
        }
        if byte == 0 {
            return Err(self.wrong(line, "it holds a zero byte, which SQL text cannot"));
        }
        if self.sql.is_empty() && byte.is_ascii_whitespace() && self.state == State::Plain {
            self.before = 0;
            return Ok(None);
        }
        if self.sql.is_empty() {
            self.starts = line;
        }
        if self.sql.len() == LONGEST {
            return Err(self.wrong(self.starts, "a statement is longer than 256 MiB"));
        }
        self.sql.push(byte);
        let before = std::mem::replace(&mut self.before, byte);
        match &mut self.state {
            State::Plain => return self.plain(byte, before),
            State::LineComment if byte == b'\n' => self.enter(State::Plain),
            State::BlockComment(depth) => match (before, byte) {
                (b'*', b'/') => {
                    *depth -= 1;
                    let over = *depth == 0;
                    self.before = 0;
                    if over {
                        self.enter(State::Plain);
                    }
                }
                (b'/', b'*') => {
                    *depth += 1;
                    self.before = 0;
                }
                _ => {}
            },
            State::Text(true) if before == b'\\' => self.before = 0,
            State::Text(_) if byte == b'\'' => self.enter(State::Plain),
            State::Name if byte == b'"' => self.enter(State::Plain),
            State::Tag(tag) if byte == b'$' => {
                let mut tag = std::mem::take(tag);
                tag.push(b'$');
                self.enter(State::Dollar(tag, 0));
            }
            State::Tag(tag) if (is_word(byte) && (tag.len() > 1 || !byte.is_ascii_digit())) && tag.len() < TAG => tag.push(byte),
            State::Tag(_) => {
                self.enter(State::Plain);
                return self.plain(byte, 0);
            }
            State::Dollar(tag, matched) => {
                *matched = if byte == tag[*matched] { *matched + 1 } else { usize::from(byte == b'$') };
                if *matched == tag.len() {
                    self.enter(State::Plain);
                }
            }
            State::Meta if byte == b'\n' => return self.meta().map(Some),
            State::LineComment | State::Text(_) | State::Name | State::Meta => {}
        }
        Ok(None)
    }

    fn plain(&mut self, byte: u8, before: u8) -> Result<Option<Part>> {
        if is_word(byte) {
            self.word.push(byte);
            return Ok(None);
        }
        let escapes = self.word.eq_ignore_ascii_case(b"e");
        let after_word = !self.word.is_empty();
        self.end_of_word();
        match byte {
            b'\'' => self.enter(State::Text(escapes || !self.conforming)),
            b'"' => self.enter(State::Name),
            b'-' if before == b'-' => self.enter(State::LineComment),
            b'*' if before == b'/' => self.enter(State::BlockComment(1)),
            b'$' if !after_word => self.enter(State::Tag(vec![b'$'])),
            b'$' => self.word.push(b'$'),
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b'\\' => {
                // What stands before it in the statement is no part of the command.
                self.sql.pop();
                let begun = !only_comments(&self.sql);
                if begun {
                    return Err(self.wrong(self.line, "a backslash command of psql stands inside a statement"));
                }
                self.sql.clear();
                self.sql.push(b'\\');
                self.starts = self.line;
                self.enter(State::Meta);
            }
            b';' if self.parentheses == 0 && self.blocks == 0 => return self.take_statement(),
            _ => {}
        }
        Ok(None)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.before = 0;
    }

    /// Follows `CREATE [OR REPLACE] FUNCTION|PROCEDURE ... BEGIN ATOMIC ... END`, whose body has semicolons of its own.
    fn end_of_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word).to_ascii_lowercase();
        if let Some(place) = self.opening.get_mut(self.words) {
            *place = if [&b"create"[..], b"or", b"replace", b"function", b"procedure"].contains(&word.as_slice()) { word[0] } else { 0 };
        }
        self.words += 1;
        let defines = matches!(self.opening, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']);
        if defines && self.parentheses == 0 {
            match word.as_slice() {
                b"begin" => self.blocks += 1,
                b"case" if self.blocks > 0 => self.blocks += 1,
                b"end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Ends the statement in work and looks at what it means for what follows.
    fn take_statement(&mut self) -> Result<Option<Part>> {
        let sql = self.take_text()?;
        if only_comments(sql.trim_end_matches(';').as_bytes()) {
            return Ok(None);
        }
        if let Some(conforming) = sets_conforming_strings(&sql) {
            self.conforming = conforming;
        }
        if copy_of(&sql) == Some(Copy::FromStdin) {
            self.mode = Mode::RestOfLine;
        }
        Ok(Some(Part::Statement { line: self.starts, sql }))
    }

    fn take_text(&mut self) -> Result<String> {
        self.opening = [0; 4];
        self.words = 0;
        self.parentheses = 0;
        self.blocks = 0;
        self.before = 0;
        let sql = std::mem::take(&mut self.sql);
        String::from_utf8(sql).map_err(|_| self.wrong(self.starts, "its text is not UTF-8"))
    }

    fn meta(&mut self) -> Result<Part> {
        self.state = State::Plain;
        let command = self.take_text()?.trim_end().to_owned();
        Ok(Part::Meta { line: self.starts, command })
    }

    fn end(&mut self) -> Result<Option<Part>> {
        match self.state {
            State::Meta => return self.meta().map(Some),
            State::Plain | State::LineComment | State::Tag(_) => {}
            State::BlockComment(_) => return Err(self.wrong(self.starts, "it ends inside a comment")),
            State::Text(_) | State::Name | State::Dollar(..) => return Err(self.wrong(self.starts, "it ends inside a quoted text")),
        }
        self.end_of_word();
        if self.sql.is_empty() || only_comments(&self.sql) {
            self.sql.clear();
            return Ok(None);
        }
        if self.blocks > 0 || self.parentheses > 0 {
            return Err(self.wrong(self.starts, "it ends inside a statement"));
        }
        let statement = self.take_statement()?;
        if self.mode != Mode::Statements {
            return Err(self.wrong(self.starts, "it ends before the data of a COPY"));
        }
        Ok(statement)
    }

    /// What stands on a COPY statement's own line after its semicolon: white space.
    fn rest_of_line(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        (&mut self.input).take(DATA as u64).read_until(b'\n', &mut rest).context(Kind::Restore, || "reading the script".into())?;
        if !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(self.wrong(self.line, "text stands between a COPY statement and its data"));
        }
        self.line += 1;
        self.mode = Mode::Data { line_start: true };
        Ok(())
    }

    /// The next piece of COPY data: whole lines, or a part of one that is very long.
    fn data(&mut self) -> Result<Part> {
        let mut piece = Vec::with_capacity(DATA);
        while piece.len() < DATA {
            let begun = piece.len();
            let room = (DATA - begun) as u64;
            let read = (&mut self.input).take(room).read_until(b'\n', &mut piece).context(Kind::Restore, || "reading the script".into())?;
            let line = &piece[begun..];
            if read == 0 {
                return Err(self.wrong(self.starts, "the data of a COPY ends without its end mark"));
            }
            let whole = line.ends_with(b"\n");
            self.line += u64::from(whole);
            if self.mode == (Mode::Data { line_start: true }) && matches!(line, b"\\.\n" | b"\\.\r\n" | b"\\.") {
                piece.truncate(begun);
                self.mode = Mode::DataEnded;
                break;
            }
            self.mode = Mode::Data { line_start: whole };
        }
        Ok(Part::Data(piece))
    }

    fn wrong(&self, line: u64, what: &str) -> Error {
        Error::new(Kind::Restore, format!("the script cannot be run: {what} (line {line})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements as `line:text`, data as `data:text`, commands as `meta:text`.
    fn parts(script: &str) -> Result<Vec<String>> {
        // A tiny buffer, so that every boundary is crossed.
        let mut lexer = Lexer::new(std::io::BufReader::with_capacity(3, script.as_bytes()));
        let mut parts = Vec::new();
        while let Some(part) = lexer.next()? {
            match part {
                Part::Statement { line, sql } => parts.push(format!("{line}:{sql}")),
                Part::Data(data) if data.is_empty() => {}
                Part::Data(data) => parts.push(format!("data:{}", String::from_utf8(data).unwrap())),
                Part::DataEnd => parts.push("end".into()),
                Part::Meta { line, command } => parts.push(format!("meta {line}:{command}")),
            }
        }
        Ok(parts)
    }

    fn check(script: &str, expect: &[&str]) {
        assert_eq!(parts(script).unwrap(), expect, "{script}");
    }

    fn refused(script: &str, why: &str) {
        let error = parts(script).unwrap_err().to_string();
        assert!(error.contains(why), "{script}: {error}");
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        check("SELECT 1; SELECT ';';\nSELECT \";\"", &["1:SELECT 1;", "1:SELECT ';';", "2:SELECT \";\""]);
        check("SELECT 'it''s;';", &["1:SELECT 'it''s;';"]);
        check("SELECT E'\\';';SELECT 2;", &["1:SELECT E'\\';';", "1:SELECT 2;"]);
        check("SELECT '\\';SELECT 2;", &["1:SELECT '\\';", "1:SELECT 2;"]);
        check("SELECT namee'x\\';", &["1:SELECT namee'x\\';"]);
        check("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);", &["1:CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);"]);
        check(";;\n ;", &[]);
    }

    #[test]
    fn dollar_quotes_and_comments_hide_semicolons() {
        check("SELECT $$;$$; SELECT $a$ $$;$ a$ $a$;", &["1:SELECT $$;$$;", "1:SELECT $a$ $$;$ a$ $a$;"]);
        check("SELECT $1; SELECT a$b$c;", &["1:SELECT $1;", "1:SELECT a$b$c;"]);
        check("SELECT $a$$a$;", &["1:SELECT $a$$a$;"]);
        check("SELECT 1 -- ;\n;", &["1:SELECT 1 -- ;\n;"]);
        check("/* ; /* ' */ ; */ SELECT 1 /**/;", &["1:/* ; /* ' */ ; */ SELECT 1 /**/;"]);
        check("-- only a comment;\n", &[]);
        check("SELECT 5 - -1, 6 / 2;", &["1:SELECT 5 - -1, 6 / 2;"]);
    }

    #[test]
    fn function_bodies_keep_their_semicolons() {
        let body = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;";
        check(&format!("{body} SELECT 3;"), &[&format!("1:{body}"), "1:SELECT 3;"]);
        check("BEGIN; SELECT 1; END;", &["1:BEGIN;", "1:SELECT 1;", "1:END;"]);
    }

    #[test]
    fn backslashes_escape_where_the_script_says_so() {
        check(
            "SET standard_conforming_strings = off; SELECT '\\';'; SET standard_conforming_strings TO on; SELECT '\\';",
            &["1:SET standard_conforming_strings = off;", "1:SELECT '\\';';", "1:SET standard_conforming_strings TO on;", "1:SELECT '\\';"],
        );
    }

    #[test]
    fn copy_data_passes_until_its_end_mark() {
        check(
            "COPY t (a) FROM stdin;\n1\ta;b'\n\\.x\n\\.\nSELECT 1;\nCOPY t FROM STDIN WITH (FORMAT csv);\n\\.\n",
            &["1:COPY t (a) FROM stdin;", "data:1\ta;b'\n\\.x\n", "end", "5:SELECT 1;", "6:COPY t FROM STDIN WITH (FORMAT csv);", "end"],
        );
        refused("COPY t FROM stdin;\n1\n", "end mark (line 1)");
        refused("COPY t FROM stdin; SELECT 1;\n", "between a COPY statement and its data");
    }

    #[test]
    fn psql_commands_are_told_apart() {
        check("\\restrict abc\nSELECT 1;\n-- x\n\\! touch /tmp/x\n", &["meta 1:\\restrict abc", "2:SELECT 1;", "meta 4:\\! touch /tmp/x"]);
        check("SELECT '\\! x', $$ \\! $$;", &["1:SELECT '\\! x', $$ \\! $$;"]);
        refused("SELECT 1 \\g /tmp/x\n", "inside a statement (line 1)");
    }

    #[test]
    fn scripts_that_are_cut_short_are_refused() {
        refused("SELECT 1;\nSELECT 'abc", "inside a quoted text (line 2)");
        refused("SELECT $$ abc", "inside a quoted text");
        refused("/* abc", "inside a comment");
        refused("SELECT (1;", "inside a statement");
        refused("SELECT \0;", "zero byte");
        check("SELECT 1", &["1:SELECT 1"]);
    }
}
