//! Lengths and counts: unsigned LEB128, seven bits a byte, the lowest first.

use crate::error::{Error, Result};

/// Appends `number`.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`put`] appends.
#[inline]
pub fn length(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Reads a number at the start of `bytes`; returns it and what follows. Errors when it is cut or longer than 64 bits.
#[inline]
pub fn take(bytes: &[u8]) -> Result<(u64, &[u8])> {
    if let [first, rest @ ..] = bytes
        && *first < 0x80
    {
        return Ok((u64::from(*first), rest));
    }
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            break;
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[at + 1..]));
        }
    }
    Err(Error::validation("the snapshot is damaged: a number in a row is cut"))
}

/// Reads a length and as many bytes; returns them and what follows.
#[inline]
pub fn take_slice(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = take(bytes)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let length = length.ok_or_else(|| Error::validation("the snapshot is damaged: a value in a row is cut"))?;
    Ok(rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_return_and_cut_ones_are_refused() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(take(&out).unwrap(), (number, &[][..]));
            assert_eq!(length(number), out.len());
            assert!(take(&out[..out.len() - 1]).is_err());
        }
        assert!(take(&[0xff; 11]).is_err() && take(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).is_err());
        assert!(take_slice(&[2, 1]).is_err());
        assert_eq!(take_slice(&[1, 7, 8]).unwrap(), (&[7][..], &[8][..]));
    }
}
