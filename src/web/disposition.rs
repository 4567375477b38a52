//! File names in headers (RFC 6266, with the extended notation of RFC 8187 for names beyond ASCII).

use axum::http::HeaderValue;

/// `attachment` with this file name. Control characters, quotes and path separators cannot get out of it.
pub fn attachment(file_name: &str) -> HeaderValue {
    let clean: String = file_name.chars().map(|c| if c.is_control() || matches!(c, '/' | '\\' | '"') { '_' } else { c }).collect();
    let ascii: String = clean.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let text = if ascii == clean {
        format!("attachment; filename=\"{ascii}\"")
    } else {
        format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", percent(&clean))
    };
    // Only printable ASCII is left.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Everything but the `attr-char` of RFC 8187 as `%XX`.
fn percent(text: &str) -> String {
    use std::fmt::Write;

    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_add_headers_or_parameters() {
        for (name, expect) in [
            ("shop.dump", "attachment; filename=\"shop.dump\""),
            ("a\r\nSet-Cookie: x=1", "attachment; filename=\"a__Set-Cookie: x=1\""),
            ("a\"; filename=\"b", "attachment; filename=\"a_; filename=_b\""),
            ("../../etc/passwd", "attachment; filename=\".._.._etc_passwd\""),
            ("größe.dump", "attachment; filename=\"gr__e.dump\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.dump"),
        ] {
            assert_eq!(attachment(name), expect);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_one_header_value(name in "\\PC*|.*") {
            let value = attachment(&name);
            let text = value.to_str().unwrap();
            prop_assert!(text.starts_with("attachment; filename=\""));
            prop_assert_eq!(text.matches('"').count(), 2);
        }
    }
}
