//! Reads the text of one setting. An error completes the sentence "PORT ...", and never repeats a secret.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::domain::secret::Secret;

type Parsed<T> = Result<T, String>;

const SHORTEST_KEY: usize = 32;

pub(super) fn encryption_key(text: &str) -> Parsed<Secret> {
    let length = text.chars().count();
    if length < SHORTEST_KEY {
        return Err(format!("has {length} characters and needs {SHORTEST_KEY} or more: make one with `openssl rand -base64 48`"));
    }
    Ok(Secret::new(text))
}

const SHORTEST_TOKEN: usize = 16;

pub(super) fn metrics_token(text: &str) -> Parsed<Secret> {
    let length = text.chars().count();
    if length < SHORTEST_TOKEN || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(format!(
            "has {length} characters and needs {SHORTEST_TOKEN} or more, without spaces: make one with `openssl rand -hex 24`"
        ));
    }
    Ok(Secret::new(text))
}

pub(super) fn text(text: &str) -> Parsed<String> {
    if text.chars().any(char::is_control) { Err("must be one line without control characters".into()) } else { Ok(text.to_owned()) }
}

pub(super) fn number(text: &str, min: u64, max: u64) -> Parsed<u64> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("is '{text}' and must be a whole number from {min} to {max}"))
}

/// Bytes, such as `500000`, `64K`, `50G`, `1TiB`.
pub(super) fn bytes(text: &str) -> Parsed<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let power = match unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit) {
        "" => Some(0),
        "K" => Some(1),
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(power).and_then(|(number, power)| number.checked_mul(1024_u64.pow(power)));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("is '{text}' and must be a number of bytes such as 500M or 50G"))
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("is '{text}' and must be true or false")),
    }
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("is '{text}' and must be {}", names.join(" or "))
    })
}

pub(super) fn folders(text: &str, cwd: &Path) -> Vec<PathBuf> {
    text.split(':').filter(|part| !part.is_empty()).map(|part| cwd.join(part)).collect()
}

pub(super) fn zone(text: &str) -> Parsed<Tz> {
    // POSIX writes a zone's name with a colon before it.
    let name = text.strip_prefix(':').unwrap_or(text);
    name.parse().map_err(|_| format!("is '{text}' and must be the name of a time zone such as UTC or Europe/Berlin"))
}

/// An http or https URL. It is not repeated in the error, and no password may be in it.
pub(super) fn url(text: &str) -> Parsed<Url> {
    let url = Url::parse(text).map_err(|cause| format!("must be a URL such as https://dbsnap.example.org: {cause}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".into());
    }
    Ok(url)
}

pub(super) fn log_level(text: &str) -> Parsed<String> {
    let filter = EnvFilter::builder().parse(text);
    filter.map(|_| text.to_owned()).map_err(|cause| format!("is '{text}' and must be like info or info,dbsnap=debug: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(bytes(text).ok(), expect, "{text}");
        check("500000", Some(500_000));
        check("64K", Some(64 << 10));
        check("10 MB", Some(10 << 20));
        check("50g", Some(50 << 30));
        check("1TiB", Some(1 << 40));
        for wrong in ["", "0", "G", "-1", "1.5G", "5X", "99999999999T"] {
            check(wrong, None);
        }
    }

    #[test]
    fn zones_and_urls_are_checked() {
        assert_eq!(zone(":Europe/Berlin"), Ok(Tz::Europe__Berlin));
        assert!(zone("Berlin").is_err());
        assert!(url("https://dbsnap.example.org/base").is_ok());
        for wrong in ["dbsnap.example.org", "ftp://x", "https://me:pw@x", "https://"] {
            let problem = url(wrong).unwrap_err();
            assert!(!problem.contains("pw"), "{problem}");
        }
    }
}
