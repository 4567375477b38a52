//! Sets of columns, as small as the highest of them allows.

/// A set of places. Equal sets have equal bytes: there is no zero byte at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits(Vec<u8>);

impl Bits {
    /// The set written by [`Bits::bytes`].
    pub fn read(bytes: &[u8]) -> Self {
        let mut bits = Self(bytes.to_vec());
        bits.trim();
        bits
    }

    pub fn set(&mut self, at: usize) {
        if self.0.len() <= at / 8 {
            self.0.resize(at / 8 + 1, 0);
        }
        self.0[at / 8] |= 1 << (at % 8);
    }

    pub fn has(&self, at: usize) -> bool {
        has(&self.0, at)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        iter(&self.0)
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut bits = Self::default();
        places.into_iter().for_each(|at| bits.set(at));
        bits
    }
}

/// Whether the set with these bytes holds a place.
pub fn has(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte & 1 << (at % 8) != 0)
}

/// The places of the set with these bytes.
pub fn iter(bytes: &[u8]) -> impl Iterator<Item = usize> {
    (0..bytes.len() * 8).filter(|at| has(bytes, *at))
}

/// Whether every place of the first set is in the second.
pub fn within(bytes: &[u8], of: &Bits) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| byte & !of.0.get(at).copied().unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let bits: Bits = [0, 9, 17].into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 9, 17]);
        assert_eq!(Bits::read(&[1, 2, 2, 0, 0]), bits);
        assert!(within(bits.bytes(), &[0, 9, 17, 18].into_iter().collect()));
        assert!(!within(bits.bytes(), &[0, 9].into_iter().collect()) && !within(&[1], &Bits::default()));
        assert!(!bits.has(1) && !bits.has(400) && Bits::default().is_empty());
    }
}
