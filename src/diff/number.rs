//! Numbers as text: compared for the value that they say, with every digit.

use std::borrow::Cow;

/// A number read from its digits; zero has none and is never negative.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    negative: bool,
    /// From the first to the last digit that is not zero; a point may stand between.
    digits: &'a [u8],
    /// The power of ten of the first digit.
    power: i64,
}

/// Reads `-12.50`, `1e-7` and the like; `None` for anything else, such as `NaN`.
pub fn number(text: &[u8]) -> Option<Number<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let mut point = mantissa.len();
    for (at, byte) in mantissa.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {}
            b'.' if point == mantissa.len() => point = at,
            _ => return None,
        }
    }
    if mantissa.len() == usize::from(point < mantissa.len()) {
        return None;
    }
    let counts = |byte: &u8| matches!(byte, b'1'..=b'9');
    let Some((first, last)) = mantissa.iter().position(counts).zip(mantissa.iter().rposition(counts)) else {
        return Some(Number { negative: false, digits: &[], power: 0 });
    };
    let place = if first < point { (point - first) as i64 - 1 } else { -((first - point) as i64) };
    Some(Number { negative, digits: &mantissa[first..=last], power: place + i64::from(exponent) })
}

impl Number<'_> {
    fn plain(&self) -> impl Iterator<Item = u8> {
        self.digits.iter().copied().filter(|byte| *byte != b'.')
    }

    /// Appends text that is the same for equal numbers.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        out.extend(self.plain());
        out.push(b'e');
        out.extend_from_slice(self.power.to_string().as_bytes());
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.negative == other.negative && self.power == other.power && self.plain().eq(other.plain())
    }
}

/// The number nearest to the text, with the names of what is not finite as engines write them.
pub fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `t` and `f` as the numbers that engines without booleans keep.
pub fn boolean_as_number(text: &[u8]) -> Cow<'_, [u8]> {
    match text {
        b"t" => Cow::Borrowed(b"1"),
        b"f" => Cow::Borrowed(b"0"),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_value_is_equal_however_it_is_written() {
        for (one, other) in
            [("1", "1.00"), ("100", "1e2"), ("-0", "0.000"), ("0.5", ".5"), ("1200", "1.2E+3"), ("0.0012", "12e-4"), ("+7", "7.")]
        {
            assert_eq!(number(one.as_bytes()).unwrap(), number(other.as_bytes()).unwrap(), "{one} {other}");
        }
        for (one, other) in [("1", "-1"), ("1", "10"), ("12345678901234567890123", "12345678901234567890124"), ("1.5", "15")] {
            assert_ne!(number(one.as_bytes()).unwrap(), number(other.as_bytes()).unwrap(), "{one} {other}");
        }
        for odd in ["", ".", "-", "1.2.3", "NaN", "1e", "0x10", "1 ", "--1"] {
            assert!(number(odd.as_bytes()).is_none(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn equal_numbers_have_equal_text(digits in -999_999_i64..999_999, zeros in 0_usize..5, shift in 0_u32..4) {
            let one = format!("{digits}.{}", "0".repeat(zeros + 1));
            let other = format!("{}e-{shift}", digits * 10_i64.pow(shift));
            let text = |text: &str| { let mut out = Vec::new(); number(text.as_bytes()).unwrap().write(&mut out); out };
            prop_assert_eq!(text(&one), text(&other));
            prop_assert_ne!(text(&one), text(&format!("{}", digits + 1)));
        }
    }
}
