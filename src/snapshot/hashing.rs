//! The hashes of a snapshot: where leaves are cut, what leaves and nodes are called, and which rows a sample keeps.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash key of files that are not encrypted: everybody knows it.
pub(super) const PUBLIC_KEY: &[u8; 32] = b"dbsnap/v1/public-snapshot-hashes";

/// Hashes under one key.
#[derive(Clone)]
pub(super) struct Hashing {
    key: [u8; 32],
    boundary: u64,
    sample: u64,
}

impl Hashing {
    /// `None` is [`PUBLIC_KEY`].
    pub fn new(key: Option<&[u8; 32]>) -> Self {
        let key = *key.unwrap_or(PUBLIC_KEY);
        let seed = |purpose: &[u8]| first(blake3::keyed_hash(&key, purpose).as_bytes());
        Self { key, boundary: seed(b"boundary"), sample: seed(b"sample") }
    }

    /// Decides whether a leaf ends after the row with this key.
    #[inline]
    pub fn boundary(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.boundary)
    }

    /// Decides whether a sample keeps the row with this key.
    #[inline]
    pub fn sample(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.sample)
    }

    /// Whether a sample of this share of the rows, 0 to 1, keeps the one with this key.
    #[inline]
    pub fn keeps(&self, key: &[u8], share: f64) -> bool {
        share >= 1.0 || self.sample(key) < (share * 2_f64.powi(64)) as u64
    }

    /// The id of a leaf.
    pub fn leaf(&self, plain: &[u8]) -> [u8; 32] {
        *self.hasher(0).update(plain).finalize().as_bytes()
    }

    /// Of the id of a leaf (level 0) or node: leaves and nodes cannot be taken for each other.
    pub fn hasher(&self, level: u8) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[level]);
        hasher
    }
}

/// The first eight bytes as a number, the highest first.
pub(super) fn first(id: &[u8; 32]) -> u64 {
    id[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Where a sequence of items is cut: by hashes of their keys and by sizes since the last cut only, so that the same items
/// after an insert, an edit or a removal are soon cut at the same places again.
#[derive(Debug, Clone)]
pub(super) struct Cutter {
    rule: Rule,
    size: usize,
    items: usize,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// No piece is smaller, but the last.
    pub min: usize,
    /// A piece has this many bytes more on average.
    pub spread: usize,
    /// No piece is larger, unless its items do not fit otherwise.
    pub max: usize,
    /// No piece has fewer items, but the last.
    pub items: usize,
}

/// Of rows into leaves: 64 KiB on average.
pub(super) const LEAVES: Rule = Rule { min: 16 << 10, spread: 48 << 10, max: 256 << 10, items: 1 };
/// Of children into nodes: 16 KiB on average, about two hundred children.
pub(super) const NODES: Rule = Rule { min: 4 << 10, spread: 12 << 10, max: 64 << 10, items: 2 };

impl Cutter {
    pub fn new(rule: Rule) -> Self {
        Self { rule, size: 0, items: 0 }
    }

    /// True when the piece ends before an item of this size. Call it before [`Cutter::after`].
    #[inline]
    pub fn before(&mut self, item: usize) -> bool {
        let cut = self.items >= self.rule.items && self.size + item > self.rule.max;
        if cut {
            (self.size, self.items) = (0, 0);
        }
        cut
    }

    /// Takes an item; true when the piece ends after it.
    #[inline]
    pub fn after(&mut self, item: usize, hash: u64) -> bool {
        self.size += item;
        self.items += 1;
        let cut = self.items >= self.rule.items && self.size >= self.rule.min && hash / (u64::MAX / self.rule.spread as u64) < item as u64;
        if cut {
            (self.size, self.items) = (0, 0);
        }
        cut
    }
}
