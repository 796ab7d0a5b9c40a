//! Producer snapshots: `.snapshot` files (`ProducerSnapshot`, version 1).

use std::collections::VecDeque;

use super::producers::{BatchMark, Producer, Producers};
use crate::base::ProducerId;

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// The bytes of a snapshot file: version, CRC-32C of what follows it, and the producers.
pub fn format(producers: &Producers) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + producers.iter().len() * ENTRY_BYTES);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(producers.iter().len() as i32).to_be_bytes());
    for (id, producer) in producers.iter() {
        let last = producer.batches.back();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&producer.epoch.to_be_bytes());
        out.extend_from_slice(&producer.last_sequence().to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |b| b.last_offset).to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
        out.extend_from_slice(&producer.last_timestamp.to_be_bytes());
        out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&producer.txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&out[6..]);
    out[2..6].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads a snapshot file. None if it is damaged.
pub fn parse(bytes: &[u8]) -> Option<Producers> {
    let mut left = bytes;
    let version = i16::from_be_bytes(take(&mut left)?);
    let crc = u32::from_be_bytes(take(&mut left)?);
    if version != VERSION || crc32c::crc32c(left) != crc {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(take(&mut left)?)).ok()?;
    if left.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let entries: Option<Vec<(ProducerId, Producer)>> = (0..count).map(|_| entry(&mut left)).collect();
    entries.map(Producers::from_entries)
}

fn entry(left: &mut &[u8]) -> Option<(ProducerId, Producer)> {
    let id = i64::from_be_bytes(take(left)?);
    let epoch = i16::from_be_bytes(take(left)?);
    let last_sequence = i32::from_be_bytes(take(left)?);
    let last_offset = i64::from_be_bytes(take(left)?);
    let offset_delta = i32::from_be_bytes(take(left)?);
    let timestamp = i64::from_be_bytes(take(left)?);
    let coordinator_epoch = i32::from_be_bytes(take(left)?);
    let txn_first_offset = i64::from_be_bytes(take(left)?);
    let mark = BatchMark { last_sequence, last_offset, offset_delta, timestamp };
    let producer = Producer {
        epoch,
        coordinator_epoch,
        last_timestamp: timestamp,
        txn_first_offset: (txn_first_offset >= 0).then_some(txn_first_offset),
        batches: if last_offset >= 0 { VecDeque::from([mark]) } else { VecDeque::new() },
    };
    Some((id, producer))
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = left.split_first_chunk()?;
    *left = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Producers {
        let mark = BatchMark { last_sequence: 9, last_offset: 100, offset_delta: 4, timestamp: 7 };
        let a = Producer {
            epoch: 1,
            coordinator_epoch: 3,
            last_timestamp: 7,
            txn_first_offset: Some(96),
            batches: VecDeque::from([mark]),
        };
        let b = Producer { batches: VecDeque::new(), txn_first_offset: None, ..a.clone() };
        Producers::from_entries([(5, a), (6, b)])
    }

    #[test]
    fn both_ways() {
        let producers = sample();
        assert_eq!(parse(&format(&producers)), Some(producers));
        assert_eq!(parse(&format(&Producers::default())), Some(Producers::default()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = format(&sample());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), None, "{len} bytes");
        }
    }
}
