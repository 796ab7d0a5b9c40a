//! A quick hash for keys that nobody can choose: topic ids, which the controller draws at random, and our own numbers.

use std::hash::{BuildHasherDefault, Hasher};

/// A map over such keys.
pub type IdMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Mixes whole words by multiplication. Not for what peers choose: they could make all keys collide.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_i32(&mut self, word: i32) {
        self.write_u64(u64::from(word as u32));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::Hash as _;

    #[test]
    fn neighbours_fall_apart() {
        let mut hashes = BTreeSet::new();
        let mut low = BTreeSet::new();
        for n in 0..4096i32 {
            let mut hasher = IdHasher::default();
            ([7u8; 16], n).hash(&mut hasher);
            hashes.insert(hasher.finish());
            low.insert(hasher.finish() % 4096);
        }
        assert_eq!(hashes.len(), 4096);
        assert!(low.len() > 2000, "{} of 4096 places", low.len());
    }
}
