//! Sizes and counts as people read them, on pages and in messages.

/// `1.35 kB`, in powers of 1000, from bytes.
pub fn size(size: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    if size < 1000 {
        return if size == 1 { "1 byte".into() } else { format!("{size} bytes") };
    }
    let (mut value, mut unit) = (size as f64, 0);
    // 999.5 and above would be written as 1000 of this unit.
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `1,204,511`, from the digits of a number.
pub fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,204,511`.
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        for (size, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.00 kB"),
            (9_999, "10.0 kB"),
            (267_400_000, "267 MB"),
            (999_600, "1.00 MB"),
            (84_200_000_000, "84.2 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(super::size(size), text);
        }
        for (number, text) in [("0", "0"), ("999", "999"), ("1000", "1,000"), ("1204511", "1,204,511")] {
            assert_eq!(grouped(number), text);
        }
    }
}
