//! JSON text compared as the value that it says.

use std::borrow::Cow;

use super::{number::number, values::Verdict};

/// Nested deeper than this, a text is compared by its bytes.
const DEEPEST: usize = 200;

/// Whether two texts say the same; `None` where one of them is no JSON, or too deep, or names a member twice.
pub fn compare(before: &[u8], after: &[u8]) -> Option<Verdict> {
    Some(same(&parse(before)?, &parse(after)?))
}

#[derive(Debug)]
enum Value<'a> {
    /// `null`, `true`, `false`.
    Word(&'a [u8]),
    Number(&'a [u8]),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

fn same(before: &Value<'_>, after: &Value<'_>) -> Verdict {
    match (before, after) {
        (Value::Word(before), Value::Word(after)) => Verdict::of(before == after),
        (Value::Number(before), Value::Number(after)) => Verdict::of(before == after || number(before) == number(after)),
        (Value::Text(before), Value::Text(after)) => Verdict::of(before == after),
        (Value::List(before), Value::List(after)) if before.len() == after.len() => {
            before.iter().zip(after).fold(Verdict::Equal, |worst, (before, after)| worst.max(same(before, after)))
        }
        (Value::Object(before), Value::Object(after)) if before.len() == after.len() => members(before, after),
        _ => Verdict::Different,
    }
}

fn members(before: &[(Cow<'_, str>, Value<'_>)], after: &[(Cow<'_, str>, Value<'_>)]) -> Verdict {
    if before.iter().map(|member| &member.0).eq(after.iter().map(|member| &member.0)) {
        return before.iter().zip(after).fold(Verdict::Equal, |worst, (before, after)| worst.max(same(&before.1, &after.1)));
    }
    let sorted = |members: &[(Cow<'_, str>, Value<'_>)]| {
        let mut order: Vec<_> = (0..members.len()).collect();
        order.sort_by(|one, other| members[*one].0.cmp(&members[*other].0));
        order
    };
    sorted(before).into_iter().zip(sorted(after)).fold(Verdict::Order, |worst, (one, other)| {
        let (before, after) = (&before[one], &after[other]);
        worst.max(if before.0 == after.0 { same(&before.1, &after.1) } else { Verdict::Different })
    })
}

fn parse(text: &[u8]) -> Option<Value<'_>> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        self.space();
        if depth > DEEPEST {
            return None;
        }
        match self.rest.first()? {
            b'{' => self.object(depth),
            b'[' => {
                let mut items = Vec::new();
                self.list(b'[', b']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Some(Value::List(items))
            }
            b'"' => Some(Value::Text(self.text()?)),
            b'-' | b'0'..=b'9' => {
                let digits = self.while_in(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
                number(digits).map(|_| Value::Number(digits))
            }
            _ => {
                let word = self.while_in(|byte| byte.is_ascii_lowercase());
                matches!(word, b"null" | b"true" | b"false").then_some(Value::Word(word))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value<'a>> {
        let mut members = Vec::new();
        self.list(b'{', b'}', |reader| {
            reader.space();
            let name = reader.text()?;
            reader.take(b':')?;
            members.push((name, reader.value(depth + 1)?));
            Some(())
        })?;
        let mut names: Vec<_> = members.iter().map(|member| &member.0).collect();
        names.sort();
        let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        (!twice).then_some(Value::Object(members))
    }

    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn while_in(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take_while(|byte| belongs(byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let mut end = 0;
        let mut escaped = false;
        loop {
            match inside.get(end)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    end += 2;
                }
                _ => end += 1,
            }
        }
        let raw = std::str::from_utf8(self.rest.get(..end + 2)?).ok()?;
        self.rest = &self.rest[end + 2..];
        if !escaped {
            return Some(Cow::Borrowed(&raw[1..=end]));
        }
        // A lone surrogate has no text: it stays as it is written.
        Some(Cow::Owned(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_say_the_same_are_equal_and_order_is_told_apart() {
        let check = |before: &str, after: &str, expect: Option<Verdict>| {
            assert_eq!(compare(before.as_bytes(), after.as_bytes()), expect, "{before} {after}");
        };
        check(r#"{"a":1, "b":[true,null]}"#, r#"{ "a" : 1.0,"b":[ true , null ] }"#, Some(Verdict::Equal));
        check(r#"{"a":1,"b":{"c":[],"d":{}}}"#, r#"{"b":{"d":{},"c":[]},"a":1}"#, Some(Verdict::Order));
        check(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":3}"#, Some(Verdict::Different));
        check(r#"{"a":1,"b":2}"#, r#"{"a":1,"c":2}"#, Some(Verdict::Different));
        check(r#"{"a":1}"#, r#"{"a":1,"b":2}"#, Some(Verdict::Different));
        check("[1,2]", "[2,1]", Some(Verdict::Different));
        check("[1]", "[1,2]", Some(Verdict::Different));
        check(r#""\u00e9\n""#, "\"é\\n\"", Some(Verdict::Equal));
        check(r#""\ud800""#, r#""\ud800""#, Some(Verdict::Equal));
        check("12345678901234567890123", "12345678901234567890124", Some(Verdict::Different));
        check("null", r#""null""#, Some(Verdict::Different));
        for odd in ["", "{", "[1", "[1,]", "{\"a\"}", "nul", "1 2", r#"{"a":1,"a":2}"#, "\"a", "1.2.3", "[1 2]", "\"\\"] {
            check(odd, "1", None);
        }
        let deep = "[".repeat(100_000);
        check(&deep, &deep, None);
    }
}
