//! Floating point numbers as the shortest text that reads back as the same number.

use std::io::Write as _;

/// Appends a number of 8 bytes, as `snapshot::Class::Float` has it.
pub(super) fn push_double(out: &mut Vec<u8>, number: f64) {
    push(out, number.is_nan(), number.is_infinite(), number.is_sign_negative(), |out| write!(out, "{number:?}"));
}

/// Appends a number of 4 bytes: fewer digits make out the same number than in 8.
pub(super) fn push_float(out: &mut Vec<u8>, number: f32) {
    push(out, number.is_nan(), number.is_infinite(), number.is_sign_negative(), |out| write!(out, "{number:?}"));
}

fn push(out: &mut Vec<u8>, nan: bool, infinite: bool, negative: bool, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
    match (nan, infinite, negative) {
        (true, _, _) => out.extend_from_slice(b"NaN"),
        (_, true, false) => out.extend_from_slice(b"Infinity"),
        (_, true, true) => out.extend_from_slice(b"-Infinity"),
        _ => {
            write(out).expect("memory takes what is written");
            // Rust tells numbers from whole numbers by this; the class does.
            if out.ends_with(b".0") {
                out.truncate(out.len() - 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_return() {
        let cases = [
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0, "1"),
            (-0.0, "-0"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ];
        for (number, expect) in cases {
            let mut out = Vec::new();
            push_double(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
            assert!(number.is_nan() || expect.parse::<f64>().unwrap().to_bits() == number.to_bits());
        }
        for (number, expect) in [(0.1_f32, "0.1"), (16_777_216.0, "16777216"), (1e-45, "1e-45"), (-0.0, "-0")] {
            let mut out = Vec::new();
            push_float(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
}
