//! Numbers of BSON as their exact decimal digits, whatever their type.

use std::io::Write;

use super::bson::{BsonValue, kind};

/// A number's value.
pub enum Number<'a> {
    NaN,
    Infinity {
        negative: bool,
    },
    /// `0.ddd × 10^exponent`: ASCII digits without leading or trailing zeros, none of them for zero.
    Finite {
        negative: bool,
        exponent: i32,
        digits: &'a [u8],
    },
}

/// Where digits are written.
pub type Buffer = [u8; LONGEST];

/// The smallest double has 1,074 digits after its point, the largest 309 before it.
pub const LONGEST: usize = 1400;
/// The largest coefficient of a Decimal128 is one less; what has more stands for zero.
const COEFFICIENTS: u128 = 10_u128.pow(34);
const BIAS: i32 = 6176;

/// The value of a number; `None` when it is none.
pub fn number<'a>(value: BsonValue<'_>, buffer: &'a mut Buffer) -> Option<Number<'a>> {
    Some(match value.kind {
        kind::INT32 => whole(i64::from(i32::from_le_bytes(value.fixed()?)), buffer),
        kind::INT64 => whole(i64::from_le_bytes(value.fixed()?), buffer),
        kind::DOUBLE => double(f64::from_le_bytes(value.fixed()?), buffer),
        kind::DECIMAL128 => match decimal(value.fixed()?) {
            Decimal::NaN => Number::NaN,
            Decimal::Infinity { negative } => Number::Infinity { negative },
            Decimal::Finite { negative, coefficient, exponent } => finite(buffer, negative, exponent, |out| write!(out, "{coefficient}")),
        },
        _ => return None,
    })
}

/// A Decimal128 taken apart.
pub enum Decimal {
    NaN,
    Infinity { negative: bool },
    Finite { negative: bool, coefficient: u128, exponent: i32 },
}

/// Reads the binary integer decimal form.
pub fn decimal(bytes: [u8; 16]) -> Decimal {
    let bits = u128::from_le_bytes(bytes);
    let negative = bits >> 127 == 1;
    match bits >> 122 & 0x1f {
        0x1f => Decimal::NaN,
        0x1e => Decimal::Infinity { negative },
        // The long form of the exponent only has coefficients that are too large.
        form if form >> 3 == 3 => Decimal::Finite { negative, coefficient: 0, exponent: (bits >> 111 & 0x3fff) as i32 - BIAS },
        _ => {
            let coefficient = bits & ((1 << 113) - 1);
            let coefficient = if coefficient < COEFFICIENTS { coefficient } else { 0 };
            Decimal::Finite { negative, coefficient, exponent: (bits >> 113 & 0x3fff) as i32 - BIAS }
        }
    }
}

fn whole(number: i64, buffer: &mut Buffer) -> Number<'_> {
    finite(buffer, number < 0, 0, |out| write!(out, "{}", number.unsigned_abs()))
}

fn double(number: f64, buffer: &mut Buffer) -> Number<'_> {
    if number.is_nan() {
        return Number::NaN;
    }
    let negative = number.is_sign_negative();
    if number.is_infinite() {
        return Number::Infinity { negative };
    }
    finite(buffer, negative, 0, |out| write!(out, "{:.*}", binary_places(number), number.abs()))
}

/// Bits after the binary point: as many as the decimal digits after the point of the exact value.
fn binary_places(number: f64) -> usize {
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    if mantissa == 0 { 0 } else { usize::try_from(-(exponent + mantissa.trailing_zeros() as i32)).unwrap_or(0) }
}

/// The digits that `write` writes, with a point or without, times ten to the power of `exponent`.
fn finite(buffer: &mut Buffer, negative: bool, exponent: i32, write: impl FnOnce(&mut &mut [u8]) -> std::io::Result<()>) -> Number<'_> {
    let mut rest = &mut buffer[..];
    let written = write(&mut rest);
    let mut end = LONGEST - rest.len();
    debug_assert!(written.is_ok(), "no number has more digits");
    let point = buffer[..end].iter().position(|byte| *byte == b'.');
    if let Some(point) = point {
        buffer.copy_within(point + 1..end, point);
        end -= 1;
    }
    let start = buffer[..end].iter().position(|digit| *digit != b'0').unwrap_or(end);
    let exponent = exponent + point.unwrap_or(end) as i32 - start as i32;
    while end > start && buffer[end - 1] == b'0' {
        end -= 1;
    }
    let zero = start == end;
    Number::Finite { negative: negative && !zero, exponent: if zero { 0 } else { exponent }, digits: &buffer[start..end] }
}
