//! How an artifact is compressed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Written as `zstd:1`, `gzip:6` or `none`; a level may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Compression {
    None,
    /// Level 0 to 9.
    Gzip(u32),
    /// Level 1 to 19.
    Zstd(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl Compression {
    /// The file name extension, without a dot; empty for `none`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => "gz",
            Self::Zstd(_) => "zst",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

impl TryFrom<String> for Compression {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::validation(format!("compression '{text}' is not known")).hint("use zstd:1 to zstd:19, gzip:0 to gzip:9, or none");
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Self::None),
            ("gzip", level) if level.unwrap_or(6) <= 9 => Ok(Self::Gzip(level.unwrap_or(6))),
            ("zstd", level) if (1..=19).contains(&level.unwrap_or(1)) => Ok(Self::Zstd(level.unwrap_or(1) as i32)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reads_back_as_it_was_written_and_out_of_range_levels_are_refused() {
        for text in ["none", "gzip:6", "gzip:0", "zstd:1", "zstd:19"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("zstd".parse::<Compression>().unwrap(), Compression::default());
        for text in ["zstd:0", "zstd:20", "gzip:10", "lzma", "none:1", "zstd:x"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }
}
