//! JSON text in lines, for reading. Only white space between tokens changes: numbers keep their digits, fields their order.

/// The text with one value on each line; as it is when it is no JSON object or array.
pub fn indented(text: &str) -> String {
    if !text.starts_with(['{', '[']) {
        return text.to_owned();
    }
    let (mut out, mut depth, mut in_string, mut escaped) = (String::with_capacity(text.len() * 2), 0_usize, false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// A new line, not deeper than a page is wide.
fn line(out: &mut String, depth: usize) {
    out.push('\n');
    (0..depth.min(40)).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_white_space_changes() {
        let text = r#"{"a": [1.50, {}, "x, \"y\": {z}\\"], "b":{"c":null}}"#;
        let lines = indented(text);
        assert_eq!(lines, "{\n  \"a\": [\n    1.50,\n    {},\n    \"x, \\\"y\\\": {z}\\\\\"\n  ],\n  \"b\": {\n    \"c\": null\n  }\n}");
    }

    #[test]
    fn what_is_no_document_stays_as_it_is() {
        for text in ["plain, text: x", "", "12", "\"{}\""] {
            assert_eq!(indented(text), text);
        }
        assert!(indented(&"[".repeat(10_000)).len() < 2_000_000, "depth does not make it grow without end");
        assert!(indented("{\"cut off").contains("cut off"));
    }
}
