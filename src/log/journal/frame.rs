//! How entries lie in the journal's file. All numbers are big endian. Version 2; version 1 (no version in the header, one
//! journal for all log directories) is read and never written.
//!
//! The file begins with a header of one block, twice, so that one flipped bit does not make all of it unreadable. It has
//! a random number (the salt) that goes into every checksum and into the mark of every frame: a client that sends bytes
//! which look like a frame does not know it.
//!
//! | the header | bytes |
//! |---|---|
//! | magic `OtJF` | 4 |
//! | CRC-32C of all that follows in the block | 4 |
//! | length of a half of the file | 8 |
//! | salt | 4 |
//! | version (0 in version 1) | 4 |
//! | boot id: the machine's start in which it was made | 16 |
//! | incarnation id: the broker's start | 16 |
//! | directory id: of the log directory, zero if it has none | 16 |
//! | core | 4 |
//! | level: 0 staged, 1 flushed | 4 |
//!
//! | a frame | bytes |
//! |---|---|
//! | mark: `OtJ2` xor salt (version 1: `OtJ1`) | 4 |
//! | CRC-32C of all that follows, begun with the salt | 4 |
//! | sequence: one more than the frame before | 8 |
//! | length, header and trailer included | 4 |
//! | use: counts how often a half was begun (version 1: zero) | 4 |
//! | entries | |
//! | trailer: the sequence again (not in version 1) | 8 |
//!
//! | an entry | bytes |
//! |---|---|
//! | kind: 1 append, 2 truncate (not in version 1) | 1 |
//! | flags: bit 0 if something before it in the partition was not safe yet (version 1: 4 bytes before the length) | 1 |
//! | zero (not in version 1) | 2 |
//! | generation of the partition's segments, raised by truncation (not in version 1) | 4 |
//! | topic id | 16 |
//! | partition | 4 |
//! | base offset of the segment | 8 |
//! | position in the segment | 8 |
//! | append: the offset after its last record; truncate: everything from here on with an older generation is void | 8 |
//! | everything below was safe when this was appended (not in version 1) | 8 |
//! | length of the batches | 4 |
//! | batches, as they stand in the segment | |

use crate::base::limits::{BLOCK_BYTES, JOURNAL_FRAME_BYTES_MAX};
use crate::base::{Offset, TopicId, Uuid};
use crate::io::AlignedBuf;

const MAGIC_1: u32 = 0x4F74_4A31;
const MAGIC_2: u32 = 0x4F74_4A32;
const FILE_MAGIC: u32 = 0x4F74_4A46;
/// The version that is written.
pub(super) const VERSION: u32 = 2;

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) version: u32,
    pub(super) half_bytes: u64,
    pub(super) salt: u32,
    /// Of the machine's start in which the file was made.
    pub(super) boot_id: u128,
    /// Of the broker's start; zero in version 1.
    pub(super) incarnation_id: Uuid,
    /// Of the log directory; zero in version 1 and where it has none.
    pub(super) directory_id: Uuid,
    pub(super) core: u32,
    pub(super) level: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn id_at(bytes: &[u8], at: usize) -> Option<Uuid> {
    Some(Uuid(*bytes.get(at..)?.first_chunk()?))
}

impl FileHeader {
    /// Both blocks.
    pub(super) fn format(self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..4].copy_from_slice(&FILE_MAGIC.to_be_bytes());
        block[8..16].copy_from_slice(&self.half_bytes.to_be_bytes());
        block[16..20].copy_from_slice(&self.salt.to_be_bytes());
        block[20..24].copy_from_slice(&self.version.to_be_bytes());
        block[24..40].copy_from_slice(&self.boot_id.to_be_bytes());
        block[40..56].copy_from_slice(&self.incarnation_id.0);
        block[56..72].copy_from_slice(&self.directory_id.0);
        block[72..76].copy_from_slice(&self.core.to_be_bytes());
        block[76..80].copy_from_slice(&self.level.to_be_bytes());
        let crc = crc32c::crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_be_bytes());
        let mut both = block.clone();
        both.append(&mut block);
        both
    }

    /// The header in a block, if it is one, of whatever version.
    pub(super) fn parse(block: &[u8]) -> Option<FileHeader> {
        let block = block.get(..BLOCK_BYTES)?;
        if u32_at(block, 0)? != FILE_MAGIC || u32_at(block, 4)? != crc32c::crc32c(&block[8..]) {
            return None;
        }
        Some(FileHeader {
            version: u32_at(block, 20)?.max(1),
            half_bytes: u64_at(block, 8)?,
            salt: u32_at(block, 16)?,
            boot_id: u128::from_be_bytes(id_at(block, 24)?.0),
            incarnation_id: id_at(block, 40)?,
            directory_id: id_at(block, 56)?,
            core: u32_at(block, 72)?,
            level: u32_at(block, 76)?,
        })
    }

    /// Where the first half begins.
    pub(super) fn data_at(self) -> u64 {
        BLOCK_BYTES as u64 * if self.version == 1 { 1 } else { 2 }
    }

    /// How frames begin.
    pub(super) fn mark(self) -> u32 {
        if self.version == 1 { MAGIC_1 } else { MAGIC_2 ^ self.salt }
    }

    fn entry_header_bytes(self) -> usize {
        if self.version == 1 { 52 } else { ENTRY_HEADER_BYTES }
    }

    fn trailer_bytes(self) -> usize {
        if self.version == 1 { 0 } else { TRAILER_BYTES }
    }
}

/// Bytes of a frame before its entries.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes of a frame behind its entries.
pub(super) const TRAILER_BYTES: usize = 8;
/// Bytes of an entry before its batches.
pub(super) const ENTRY_HEADER_BYTES: usize = 64;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Batches that belong into a segment.
    Append,
    /// Older entries from an offset on are void.
    Truncate,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Append),
            2 => Some(Kind::Truncate),
            _ => None,
        }
    }
}

/// Where batches belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Of the partition's segments.
    pub generation: u32,
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
    /// Everything below was safe when it was appended; -1 if that is not known.
    pub safe: Offset,
    /// Something before it was neither in its segment nor in the journal when it was appended.
    pub behind_gap: bool,
    /// Bytes of the batches.
    pub len: usize,
}

/// Why entries cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryError {
    /// A kind of a later version.
    Kind(u8),
    /// They do not fill the frame.
    Length,
}

impl Entry {
    pub(super) fn put(&self, into: &mut AlignedBuf) {
        let mut head = [0; ENTRY_HEADER_BYTES];
        head[0] = match self.kind {
            Kind::Append => 1,
            Kind::Truncate => 2,
        };
        head[1] = u8::from(self.behind_gap);
        head[4..8].copy_from_slice(&self.generation.to_be_bytes());
        head[8..24].copy_from_slice(&self.topic_id.0);
        head[24..28].copy_from_slice(&self.partition.to_be_bytes());
        head[28..36].copy_from_slice(&self.segment.to_be_bytes());
        head[36..44].copy_from_slice(&self.position.to_be_bytes());
        head[44..52].copy_from_slice(&self.next.to_be_bytes());
        head[52..60].copy_from_slice(&self.safe.to_be_bytes());
        head[60..].copy_from_slice(&(self.len as u32).to_be_bytes());
        into.extend_from_slice(&head);
    }

    /// The entry at the start of `bytes`, its batches, and what follows.
    fn take(bytes: &[u8], of: FileHeader) -> Result<(Entry, &[u8], &[u8]), EntryError> {
        let entry = if of.version == 1 { Entry::first(bytes) } else { Entry::second(bytes)? };
        let entry = entry.ok_or(EntryError::Length)?;
        let behind = bytes.get(of.entry_header_bytes()..).ok_or(EntryError::Length)?;
        let (batches, rest) = behind.split_at_checked(entry.len).ok_or(EntryError::Length)?;
        Ok((entry, batches, rest))
    }

    fn second(bytes: &[u8]) -> Result<Option<Entry>, EntryError> {
        let kind = *bytes.first().ok_or(EntryError::Length)?;
        let kind = Kind::of(kind).ok_or(EntryError::Kind(kind))?;
        let read = || {
            Some(Entry {
                kind,
                generation: u32_at(bytes, 4)?,
                topic_id: id_at(bytes, 8)?,
                partition: u32_at(bytes, 24)?.cast_signed(),
                segment: u64_at(bytes, 28)?.cast_signed(),
                position: u64_at(bytes, 36)?,
                next: u64_at(bytes, 44)?.cast_signed(),
                safe: u64_at(bytes, 52)?.cast_signed(),
                behind_gap: bytes.get(1)? & 1 != 0,
                len: u32_at(bytes, 60)? as usize,
            })
        };
        Ok(read())
    }

    fn first(bytes: &[u8]) -> Option<Entry> {
        Some(Entry {
            kind: Kind::Append,
            generation: 0,
            topic_id: id_at(bytes, 0)?,
            partition: u32_at(bytes, 16)?.cast_signed(),
            segment: u64_at(bytes, 20)?.cast_signed(),
            position: u64_at(bytes, 28)?,
            next: u64_at(bytes, 36)?.cast_signed(),
            safe: -1,
            behind_gap: u32_at(bytes, 44)? != 0,
            len: u32_at(bytes, 48)? as usize,
        })
    }
}

/// Fills in header and trailer of a frame whose entries are all there.
pub(super) fn finish(frame: &mut AlignedBuf, sequence: u64, half_use: u32, header: FileHeader) {
    frame.extend_from_slice(&sequence.to_be_bytes());
    let frame = frame.as_mut_slice();
    let len = frame.len() as u32;
    frame[8..16].copy_from_slice(&sequence.to_be_bytes());
    frame[16..20].copy_from_slice(&len.to_be_bytes());
    frame[20..24].copy_from_slice(&half_use.to_be_bytes());
    let crc = crc32c::crc32c_append(header.salt, &frame[8..]);
    frame[..4].copy_from_slice(&header.mark().to_be_bytes());
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// A frame, or what calls itself one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// How often a half had been begun; zero in version 1.
    pub(super) half_use: u32,
    /// With header and trailer.
    pub(super) len: usize,
    /// The checksum is that of the bytes.
    pub(super) is_whole: bool,
    /// The end of what was written is there.
    pub(super) has_end: bool,
    entries: &'a [u8],
    of: FileHeader,
}

impl<'a> Frame<'a> {
    /// What calls itself a frame at the start of `bytes`, which are all that the half has or as long as a frame may be.
    pub(super) fn parse(bytes: &'a [u8], of: FileHeader) -> Option<Frame<'a>> {
        if u32_at(bytes, 0)? != of.mark() {
            return None;
        }
        let (crc, len) = (u32_at(bytes, 4)?, u32_at(bytes, 16)? as usize);
        let trailer = of.trailer_bytes();
        let frame =
            bytes.get(..len).filter(|_| len >= HEADER_BYTES + trailer && len <= JOURNAL_FRAME_BYTES_MAX)?;
        let (sequence, half_use) = (u64_at(bytes, 8)?, u32_at(bytes, 20)?);
        let entries = &frame[HEADER_BYTES..len - trailer];
        let is_whole = crc32c::crc32c_append(of.salt, &frame[8..]) == crc;
        let has_end = trailer > 0 && frame[len - trailer..] == sequence.to_be_bytes();
        Some(Frame { sequence, half_use, len, is_whole, has_end, entries, of })
    }

    /// Its entries and their batches, up to the first that cannot be read.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<(Entry, &'a [u8]), EntryError>> + use<'a> {
        let (mut left, of) = (self.entries, self.of);
        std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            let taken = Entry::take(left, of);
            left = taken.as_ref().map_or(&[], |(_, _, rest)| rest);
            Some(taken.map(|(entry, batches, _)| (entry, batches)))
        })
    }
}

#[cfg(test)]
mod tests;
