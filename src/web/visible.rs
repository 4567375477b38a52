//! Values of databases as text that cannot mislead: control characters and those that turn the direction of text are
//! shown by their names, and everything else is escaped.

use std::fmt::Write;

/// Text as HTML: escaped, with what cannot be seen made visible.
pub fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push_str("<span class=\"unseen\" title=\"line feed\">↵</span>\n"),
            '\t' => html.push_str("<span class=\"unseen\" title=\"tab\">⇥</span>\t"),
            c if is_unseen(c) => {
                // Writing to a String cannot fail.
                let _ = write!(html, "<span class=\"unseen\" title=\"U+{:04X}\">{}</span>", u32::from(c), picture(c));
            }
            c => html.push(c),
        }
    }
    html
}

/// The same as text for an attribute, which the template escapes.
pub fn text(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { picture(c) } else { c.to_string() }).collect()
}

/// Controls, what turns the direction of text, invisible spaces and joiners outside of emoji.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{ad}')
}

fn picture(c: char) -> String {
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('␦').to_string(),
        0x7f => "␡".into(),
        code => format!("U+{code:04X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(html("<svg onload=\"x('&')\">"), "&lt;svg onload=&quot;x(&#39;&amp;&#39;)&quot;&gt;");
    }

    #[test]
    fn an_attribute_cannot_mislead_either() {
        assert_eq!(text("a\0\u{202e}b"), "a␀U+202Eb");
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        assert_eq!(html("a\0b"), "a<span class=\"unseen\" title=\"U+0000\">␀</span>b");
        assert!(html("\u{202e}gpj.exe").contains("title=\"U+202E\">U+202E</span>gpj.exe"));
        assert!(html("a\r\nb").contains('␍') && html("a\r\nb").contains("↵</span>\nb"));
        assert!(html("\u{feff}").contains("U+FEFF") && html("\u{7f}").contains('␡'));
        assert_eq!(html("שלום é 👩‍👧 日本"), "שלום é 👩‍👧 日本", "languages are left as they are");
    }
}
