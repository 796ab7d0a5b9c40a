//! How entries lie in the journal's file. All numbers are big endian.
//!
//! The file begins with a block that says how long its two halves are, and has a random number (the salt) that goes
//! into every checksum: a client that sends bytes which look like a frame does not know it. It also says in which start
//! of the machine it was made.
//!
//! | a frame | bytes |
//! |---|---|
//! | magic | 4 |
//! | CRC-32C of all that follows | 4 |
//! | sequence: one more than the frame before | 8 |
//! | length, this header included | 4 |
//! | zero | 4 |
//! | entries | |
//!
//! | an entry | bytes |
//! |---|---|
//! | topic id | 16 |
//! | partition | 4 |
//! | base offset of the segment | 8 |
//! | position in the segment | 8 |
//! | the offset after its last record | 8 |
//! | 1 if something before it in the partition was not safe yet, else 0 | 4 |
//! | length of the batches | 4 |
//! | batches, as they stand in the segment | |

use crate::base::limits::BLOCK_BYTES;
use crate::base::{Offset, TopicId, Uuid};
use crate::io::AlignedBuf;

const MAGIC: u32 = 0x4F74_4A31;
const FILE_MAGIC: u32 = 0x4F74_4A46;

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) half_bytes: u64,
    pub(super) salt: u32,
    /// Of the machine's start in which the file was made.
    pub(super) boot_id: u128,
}

impl FileHeader {
    /// The block.
    pub(super) fn format(self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..4].copy_from_slice(&FILE_MAGIC.to_be_bytes());
        block[8..16].copy_from_slice(&self.half_bytes.to_be_bytes());
        block[16..20].copy_from_slice(&self.salt.to_be_bytes());
        block[24..40].copy_from_slice(&self.boot_id.to_be_bytes());
        let crc = crc32c::crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_be_bytes());
        block
    }

    /// The header of a file, if it has one.
    pub(super) fn parse(file: &[u8]) -> Option<FileHeader> {
        let block = file.get(..BLOCK_BYTES)?;
        let number = |at: usize| Some(u32::from_be_bytes(*block.get(at..)?.first_chunk()?));
        let half_bytes = u64::from_be_bytes(*block.get(8..)?.first_chunk()?);
        let salt = number(16)?;
        let boot_id = u128::from_be_bytes(*block.get(24..)?.first_chunk()?);
        (number(0)? == FILE_MAGIC && number(4)? == crc32c::crc32c(&block[8..])).then_some(FileHeader {
            half_bytes,
            salt,
            boot_id,
        })
    }
}

/// Bytes of a frame before its entries.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes of an entry before its batches.
pub(super) const ENTRY_HEADER_BYTES: usize = 52;

/// Where batches belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
    /// The segment's base offset.
    pub segment: Offset,
    /// Where in its file.
    pub position: u64,
    /// The offset after the last record.
    pub next: Offset,
    /// Something before it was neither in its segment nor in the journal when it was appended.
    pub behind_gap: bool,
    /// Bytes of the batches.
    pub len: usize,
}

impl Entry {
    pub(super) fn put(&self, into: &mut AlignedBuf) {
        into.extend_from_slice(&self.topic_id.0);
        into.extend_from_slice(&self.partition.to_be_bytes());
        into.extend_from_slice(&self.segment.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
        into.extend_from_slice(&self.next.to_be_bytes());
        into.extend_from_slice(&u32::from(self.behind_gap).to_be_bytes());
        into.extend_from_slice(&(self.len as u32).to_be_bytes());
    }

    /// The entry at the start of `bytes`, its batches, and what follows.
    fn take(bytes: &[u8]) -> Option<(Entry, &[u8], &[u8])> {
        let entry = Entry {
            topic_id: Uuid(*bytes.first_chunk()?),
            partition: i32::from_be_bytes(*bytes.get(16..)?.first_chunk()?),
            segment: i64::from_be_bytes(*bytes.get(20..)?.first_chunk()?),
            position: u64::from_be_bytes(*bytes.get(28..)?.first_chunk()?),
            next: i64::from_be_bytes(*bytes.get(36..)?.first_chunk()?),
            behind_gap: u32::from_be_bytes(*bytes.get(44..)?.first_chunk()?) != 0,
            len: u32::from_be_bytes(*bytes.get(48..)?.first_chunk()?) as usize,
        };
        let (batches, rest) = bytes.get(ENTRY_HEADER_BYTES..)?.split_at_checked(entry.len)?;
        Some((entry, batches, rest))
    }
}

/// Fills in the header of a frame whose entries are all there.
pub(super) fn finish(frame: &mut [u8], sequence: u64, salt: u32) {
    let len = frame.len() as u32;
    frame[8..16].copy_from_slice(&sequence.to_be_bytes());
    frame[16..20].copy_from_slice(&len.to_be_bytes());
    frame[20..24].fill(0);
    let crc = crc32c::crc32c_append(salt, &frame[8..]);
    frame[..4].copy_from_slice(&MAGIC.to_be_bytes());
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// A whole frame.
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// With the header.
    pub(super) len: usize,
    entries: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, if a whole one is there.
    pub(super) fn parse(bytes: &'a [u8], salt: u32) -> Option<Frame<'a>> {
        let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        if number(0)? != MAGIC {
            return None;
        }
        let (crc, len) = (number(4)?, number(16)? as usize);
        let frame = bytes.get(..len).filter(|_| len >= HEADER_BYTES)?;
        if crc32c::crc32c_append(salt, &frame[8..]) != crc {
            return None;
        }
        let sequence = u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        Some(Frame { sequence, len, entries: &frame[HEADER_BYTES..] })
    }

    /// Its entries and their batches.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Entry, &'a [u8])> + use<'a> {
        let mut left = self.entries;
        std::iter::from_fn(move || {
            let (entry, batches, rest) = Entry::take(left)?;
            left = rest;
            Some((entry, batches))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: i32, len: usize) -> Entry {
        Entry {
            topic_id: Uuid([7; 16]),
            partition,
            segment: 5,
            position: 4242,
            next: 99,
            behind_gap: partition == 1,
            len,
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut buf = AlignedBuf::with_capacity(4096);
        buf.set_len(HEADER_BYTES);
        for (partition, bytes) in [(1, &b"abc"[..]), (-2, b""), (3, b"defg")] {
            entry(partition, bytes.len()).put(&mut buf);
            buf.extend_from_slice(bytes);
        }
        finish(buf.as_mut_slice(), 17, 4711);
        let bytes = buf.as_slice().to_vec();
        let frame = Frame::parse(&bytes, 4711).unwrap();
        assert!(Frame::parse(&bytes, 4712).is_none());
        assert_eq!((frame.sequence, frame.len), (17, bytes.len()));
        let found: Vec<_> = frame.entries().collect();
        assert_eq!(found, [(entry(1, 3), &b"abc"[..]), (entry(-2, 0), b""), (entry(3, 4), b"defg")]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Frame::parse(&damaged, 4711).is_none(), "a flipped bit in byte {at} goes unseen");
            assert!(Frame::parse(&bytes[..at], 4711).is_none(), "cut off at {at}");
        }
    }

    #[test]
    fn a_file_says_what_it_is() {
        let header = FileHeader { half_bytes: 1 << 25, salt: 0xDEAD_BEEF, boot_id: 1 << 100 };
        let mut block = header.format();
        assert_eq!(FileHeader::parse(&block), Some(header));
        block[18] ^= 1;
        assert_eq!(FileHeader::parse(&block), None);
        assert_eq!(FileHeader::parse(&[]), None);
    }
}
