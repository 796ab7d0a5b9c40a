//! Identifiers in Kafka's own words.

use std::fmt;
use std::sync::Arc;

/// A record's position in its partition.
pub type Offset = i64;
/// `node.id` of a broker or controller.
pub type BrokerId = i32;
/// The epoch of a partition's leader.
pub type LeaderEpoch = i32;
/// The id of an idempotent or transactional producer.
pub type ProducerId = i64;

/// The index of a core's shard, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A 128-bit id in Kafka's text form: URL-safe base64 without padding, 22 characters
/// (`org.apache.kafka.common.Uuid`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// The id of a topic; changes when a topic is deleted and created anew (KIP-516).
pub type TopicId = Uuid;
/// The id of a log directory, from its `meta.properties` (KIP-858).
pub type DirectoryId = Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All bits zero: "no id".
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The reserved id of `__cluster_metadata` (also `DirectoryId` UNASSIGNED).
    pub const ONE: Uuid = Uuid::from_u128(1);

    /// From a big-endian number.
    pub const fn from_u128(v: u128) -> Uuid {
        Uuid(v.to_be_bytes())
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }

    /// From Kafka's text form. None unless it is 22 characters of URL-safe base64 (padding allowed).
    pub fn parse(text: &str) -> Option<Uuid> {
        let text = text.trim_end_matches('=');
        if text.len() != 22 {
            return None;
        }
        let mut bits: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let v = ALPHABET.iter().position(|a| *a == c)? as u128;
            // 21 characters of six bits and one of two: the last four bits of the 22nd are padding.
            bits = if i == 21 { (bits << 2) | (v >> 4) } else { (bits << 6) | v };
        }
        Some(Uuid::from_u128(bits))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for i in 0..22 {
            let v = if i == 21 { (bits << 4) & 0x3f } else { (bits >> (122 - 6 * i)) & 0x3f };
            write!(f, "{}", ALPHABET[v as usize] as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A topic's name and a partition number. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        // org.apache.kafka.common.Uuid.fromString("MkU3OEVBNTcwNTJENDM2Qg") is 0x3245373845413537, 0x3035324434333642
        let u = Uuid::from_u128(0x3245_3738_4541_3537_3035_3244_3433_3642);
        assert_eq!(u.to_string(), "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!(Uuid::parse("MkU3OEVBNTcwNTJENDM2Qg"), Some(u));
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::parse("short"), None);
        assert_eq!(Uuid::parse("MkU3OEVBNTcwNTJENDM2*g"), None);
    }
}
