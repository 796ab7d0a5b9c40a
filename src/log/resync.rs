//! Finding the next whole batch behind damage, in one pass over the bytes whatever they are.
//!
//! A batch's checksum covers everything behind its header's first fields, so what looks like a header can only be judged
//! where it says that its batch ends. Computing each one's checksum by itself would cost its length for every place that looks
//! like a header, and a record's value may hold as many of those as it likes. Instead one checksum runs over all bytes:
//! from its value where a candidate begins follows what it must be where that candidate ends, if the candidate is whole.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use super::scanner::Scanner;
use crate::base::limits::RESYNC_CANDIDATES_MAX;
use crate::wire::record::{BatchHeader, CRC_FROM, Codec, HEADER_BYTES};

/// What a search gave.
pub(super) enum Found {
    /// A batch whose checksum is right begins here.
    Batch(u64),
    /// More places look like headers than are kept at once: none before this one is a batch.
    GoOn(u64),
    /// None up to the end of the file.
    Nothing,
}

/// What looks like a batch: where it ends, where it begins, and what the running checksum is at its end if it is one.
type Candidate = Reverse<(u64, u64, u32)>;

/// The first batch at or behind `from` with a right checksum and a header that `admits` takes.
pub(super) fn search(
    scanner: &mut Scanner,
    from: u64,
    admits: impl Fn(&BatchHeader) -> bool,
) -> io::Result<Found> {
    let mut running = Running { at: from, crc: 0 };
    let mut open: BinaryHeap<Candidate> = BinaryHeap::new();
    let mut best: Option<u64> = None;
    let mut at = from;
    while best.is_none() && at + HEADER_BYTES as u64 <= scanner.len {
        if open.len() >= RESYNC_CANDIDATES_MAX {
            break;
        }
        let Some((place, header)) = next_header(scanner, &mut at, &admits)? else { continue };
        let crc_from = place + CRC_FROM as u64;
        close(scanner, &mut running, &mut open, &mut best, crc_from)?;
        running.advance(scanner, crc_from)?;
        let end = place + header.total_bytes() as u64;
        open.push(Reverse((end, place, shift(running.crc, end - crc_from) ^ header.crc)));
    }
    close(scanner, &mut running, &mut open, &mut best, u64::MAX)?;
    Ok(match best {
        Some(place) => Found::Batch(place),
        None if at + HEADER_BYTES as u64 <= scanner.len => Found::GoOn(at),
        None => Found::Nothing,
    })
}

/// The next place in what is read that looks like a header; `at` becomes the place behind it, or where to read on.
fn next_header(
    scanner: &mut Scanner,
    at: &mut u64,
    admits: &impl Fn(&BatchHeader) -> bool,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let (from, len) = (*at, scanner.len);
    let bytes = scanner.bytes(from, HEADER_BYTES)?;
    let mut windows = bytes.windows(HEADER_BYTES).enumerate();
    let found = windows.find_map(|(i, window)| {
        // The magic byte alone rules out nearly everything.
        let header = (window[16] == 2).then(|| BatchHeader::parse(window).ok()).flatten()?;
        let place = from + i as u64;
        let plausible = is_plausible(&header) && place + header.total_bytes() as u64 <= len;
        (plausible && admits(&header)).then_some((place, header))
    });
    *at = match &found {
        Some((place, _)) => place + 1,
        None => from + (bytes.len() - (HEADER_BYTES - 1)) as u64,
    };
    Ok(found)
}

/// Whether the fields can be a batch's.
fn is_plausible(header: &BatchHeader) -> bool {
    let delta = i64::from(header.last_offset_delta);
    header.attributes.codec().is_ok_and(|codec| codec.id() <= Codec::Zstd.id())
        && delta >= 0
        && (0..=delta + 1).contains(&i64::from(header.records_count))
        && header.producer_id >= -1
        && header.producer_epoch >= -1
        && header.base_sequence >= -1
}

/// Judges the candidates that end up to `upto`, as long as they may come before the best one found.
fn close(
    scanner: &mut Scanner,
    running: &mut Running,
    open: &mut BinaryHeap<Candidate>,
    best: &mut Option<u64>,
    upto: u64,
) -> io::Result<()> {
    while let Some(Reverse((end, place, expected))) = open.peek().copied().filter(|c| c.0.0 <= upto) {
        open.pop();
        if best.is_some_and(|best| best < place) {
            continue;
        }
        running.advance(scanner, end)?;
        if running.at == end && running.crc == expected {
            *best = Some(place);
        }
    }
    Ok(())
}

/// The checksum of everything from where the search began.
struct Running {
    at: u64,
    crc: u32,
}

impl Running {
    fn advance(&mut self, scanner: &mut Scanner, to: u64) -> io::Result<()> {
        while self.at < to {
            let bytes = scanner.bytes(self.at, 1)?;
            let len = bytes.len().min((to - self.at) as usize);
            if len == 0 {
                return Ok(()); // the file became shorter
            }
            self.crc = crc32c::crc32c_append(self.crc, &bytes[..len]);
            self.at += len as u64;
        }
        Ok(())
    }
}

/// The checksum of some bytes with `zeros` bytes of zeros behind them, without what the checksum adds at its ends: the
/// checksum of two stretches is that of the first one shifted by the second one's length, xor that of the second.
fn shift(crc: u32, zeros: u64) -> u32 {
    let mut crc = crc;
    for (byte, table) in zeros.to_le_bytes().into_iter().zip(SHIFTS.iter()) {
        if byte > 0 {
            crc = multiply(crc, table[usize::from(byte)]);
        }
    }
    crc
}

/// CRC-32C's polynomial, reflected: the bit for x⁰ is the highest.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// For the four bytes of a length, lowest first: x to the power of 8 times that part of the length.
static SHIFTS: std::sync::LazyLock<Box<[[u32; 256]; 4]>> = std::sync::LazyLock::new(|| {
    let mut tables = Box::new([[1 << 31; 256]; 4]);
    // x⁸
    let mut step: u32 = 1 << 23;
    for table in tables.iter_mut() {
        for i in 1..256 {
            table[i] = multiply(table[i - 1], step);
        }
        step = multiply(table[255], step);
    }
    tables
});

/// The product of two polynomials, modulo the checksum's.
fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & (1 << 31) != 0 {
            product ^= b;
        }
        a <<= 1;
        b = if b & 1 == 0 { b >> 1 } else { (b >> 1) ^ POLYNOMIAL };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_two_stretches_follows_from_theirs() {
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
        for (cut, end) in [(0, 1), (1, 1), (5, 300), (0, 256), (300, 66_000), (65_536, 70_000)] {
            let (first, second) = (crc32c::crc32c(&bytes[..cut]), crc32c::crc32c(&bytes[cut..end]));
            assert_eq!(
                shift(first, (end - cut) as u64) ^ second,
                crc32c::crc32c(&bytes[..end]),
                "{cut}..{end}"
            );
        }
        assert_eq!(shift(7, 0), 7);
    }
}
