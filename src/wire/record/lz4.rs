//! The LZ4 frame format as far as Kafka speaks it (`Lz4BlockInputStream`): independent blocks, no dictionary,
//! one frame; the content checksum is not checked, as the batch has its own.

use super::codec::{failed, grow};
use super::{Codec, RecordError};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use twox_hash::XxHash32;

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT_BLOCKS: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
/// A reserved bit and the dictionary bit, which Kafka counts as reserved.
const RESERVED: u8 = 0b0000_0011;
/// Block size code 4: 64 KiB, what Kafka writes.
const BLOCK_SIZE_64K: u8 = 4 << 4;
const BLOCK_BYTES: usize = 64 << 10;
/// Marks a block that is stored as it is.
const STORED: u32 = 1 << 31;
/// The most that a byte of LZ4 can become: a length byte of 255.
const EXPANSION_MAX: usize = 255;

pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    let descriptor = [VERSION | INDEPENDENT_BLOCKS, BLOCK_SIZE_64K];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    let mut table = CompressTable::default();
    for block in data.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + get_maximum_output_size(block.len()), 0);
        let length =
            compress_into_with_table(block, &mut out[start + 4..], &mut table).expect("the output has room");
        let (head, length) = if length < block.len() {
            (length as u32, length)
        } else {
            out[start + 4..start + 4 + block.len()].copy_from_slice(block);
            (block.len() as u32 | STORED, block.len())
        };
        out[start..start + 4].copy_from_slice(&head.to_le_bytes());
        out.truncate(start + 4 + length);
    }
    out.extend_from_slice(&[0; 4]);
}

pub(super) fn decompress(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<usize, RecordError> {
    let frame = read_header(data)?;
    let mut left = frame.blocks;
    let mut length = 0;
    loop {
        let head = read_u32(&mut left)?;
        let size = (head & !STORED) as usize;
        if size == 0 {
            if frame.content_checksum {
                read_u32(&mut left)?;
            }
            return Ok(length);
        }
        if size > frame.block_bytes {
            return Err(bad("a block is larger than the frame's block size"));
        }
        let (block, rest) = left.split_at_checked(size).ok_or_else(|| bad("a block is cut short"))?;
        left = rest;
        if frame.block_checksum && read_u32(&mut left)? != XxHash32::oneshot(0, block) {
            return Err(bad("a block does not match its checksum"));
        }
        let end = if head & STORED == 0 {
            decompress_block(block, frame.block_bytes, limit, out, length)?
        } else {
            store_block(block, limit, out, length)?
        };
        // Java's reader takes a block with nothing in it for the end.
        if end == length {
            return Ok(length);
        }
        length = end;
    }
}

struct Frame<'a> {
    blocks: &'a [u8],
    block_bytes: usize,
    block_checksum: bool,
    content_checksum: bool,
}

fn read_header(data: &[u8]) -> Result<Frame<'_>, RecordError> {
    let rest = data.strip_prefix(&MAGIC).ok_or_else(|| bad("it does not start with the magic of a frame"))?;
    let &[flags, sizes, ..] = rest else { return Err(bad("the header is cut short")) };
    if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 || sizes & 0b1000_1111 != 0 {
        return Err(bad("the header has an unknown version, a dictionary or reserved bits"));
    }
    if flags & INDEPENDENT_BLOCKS == 0 {
        return Err(bad("its blocks depend on one another; Kafka wants independent blocks"));
    }
    let size_code = sizes >> 4;
    if size_code < 4 {
        return Err(bad("unknown block size in the header"));
    }
    let descriptor = if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
    let (descriptor, rest) =
        rest.split_at_checked(descriptor).ok_or_else(|| bad("the header is cut short"))?;
    let (&checksum, blocks) = rest.split_first().ok_or_else(|| bad("the header is cut short"))?;
    if checksum != header_checksum(descriptor) {
        return Err(bad("the header does not match its checksum"));
    }
    Ok(Frame {
        blocks,
        block_bytes: 1 << (2 * size_code + 8),
        block_checksum: flags & BLOCK_CHECKSUM != 0,
        content_checksum: flags & CONTENT_CHECKSUM != 0,
    })
}

/// Decompresses to `out` from `at`, and returns where the block ends.
fn decompress_block(
    block: &[u8],
    block_bytes: usize,
    limit: usize,
    out: &mut Vec<u8>,
    at: usize,
) -> Result<usize, RecordError> {
    let possible = block_bytes.min(block.len().saturating_mul(EXPANSION_MAX));
    let room = possible.min(limit.saturating_sub(at));
    grow(out, at + room);
    let free = out.get_mut(at..at + room).unwrap_or_default();
    match decompress_into(block, free) {
        Ok(length) => Ok(at + length),
        Err(_) if room < possible => Err(RecordError::Uncompressed { limit }),
        Err(error) => Err(bad(&error)),
    }
}

fn store_block(block: &[u8], limit: usize, out: &mut Vec<u8>, at: usize) -> Result<usize, RecordError> {
    let end = at + block.len();
    if end > limit {
        return Err(RecordError::Uncompressed { limit });
    }
    grow(out, end);
    if let Some(free) = out.get_mut(at..end) {
        free.copy_from_slice(block);
    }
    Ok(end)
}

fn read_u32(left: &mut &[u8]) -> Result<u32, RecordError> {
    let (value, rest) = left.split_first_chunk().ok_or_else(|| bad("it ends before its end mark"))?;
    *left = rest;
    Ok(u32::from_le_bytes(*value))
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

fn bad(reason: &(impl ToString + ?Sized)) -> RecordError {
    failed(Codec::Lz4, reason)
}
