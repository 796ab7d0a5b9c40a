//! RFC 1952 as Java reads it (`GZIPInputStream`): members may follow one another, and what follows a member without being
//! the header of another is ignored.

use super::codec::{failed, grow};
use super::{Codec, RecordError};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::io::Write;

const MAGIC_DEFLATE: [u8; 3] = [0x1f, 0x8b, 8];
/// Behind magic and flags: a time, hints and a system, which nobody looks at.
const UNUSED_BYTES: usize = 6;
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

pub(super) fn compress(level: i32, data: &[u8], out: &mut Vec<u8>) {
    let level =
        u32::try_from(level).map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(data).expect("a Vec takes all bytes");
    encoder.finish().expect("a Vec takes all bytes");
}

pub(super) fn decompress(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<usize, RecordError> {
    let mut left = skip_header(data).ok_or_else(|| bad("it does not start with a header"))?;
    let mut inflate = Decompress::new(false);
    let mut length = 0;
    loop {
        let start = length;
        length = member(&mut inflate, &mut left, limit, out, start)?;
        check_trailer(&mut left, out.get(start..length).unwrap_or_default())?;
        let Some(next) = skip_header(left) else { return Ok(length) };
        left = next;
        inflate.reset(false);
    }
}

/// What follows the header; `None` if there is none.
fn skip_header(data: &[u8]) -> Option<&[u8]> {
    let (&flags, mut left) = data.strip_prefix(&MAGIC_DEFLATE)?.split_first()?;
    left = left.get(UNUSED_BYTES..)?;
    if flags & EXTRA != 0 {
        let (length, rest) = left.split_first_chunk()?;
        left = rest.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            left = left.get(left.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & HEADER_CRC == 0 {
        return Some(left);
    }
    let mut crc = Crc::new();
    crc.update(data.get(..data.len() - left.len())?);
    let (stored, left) = left.split_first_chunk()?;
    (crc.sum() as u16 == u16::from_le_bytes(*stored)).then_some(left)
}

/// Inflates what is in one member to `out` from `at`, and returns where it ends.
fn member(
    inflate: &mut Decompress,
    left: &mut &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    at: usize,
) -> Result<usize, RecordError> {
    let mut length = at;
    loop {
        if length == out.len() {
            let more = out.len().max(left.len()).max(4096).saturating_mul(2);
            // One byte above the limit shows that there is more than the limit.
            grow(out, more.min(limit.saturating_add(1)));
        }
        let free = out.get_mut(length..).unwrap_or_default();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(left, free, FlushDecompress::None).map_err(|error| bad(&error))?;
        let taken = (inflate.total_in() - before_in) as usize;
        let given = (inflate.total_out() - before_out) as usize;
        *left = left.get(taken..).unwrap_or_default();
        length += given;
        match status {
            _ if length > limit => return Err(RecordError::Uncompressed { limit }),
            Status::StreamEnd => return Ok(length),
            _ if taken == 0 && given == 0 => return Err(bad("it is cut short")),
            _ => {}
        }
    }
}

/// A member ends with checksum and length of what is in it.
fn check_trailer(left: &mut &[u8], content: &[u8]) -> Result<(), RecordError> {
    let (trailer, rest) = left.split_first_chunk::<8>().ok_or_else(|| bad("its trailer is cut short"))?;
    *left = rest;
    let mut crc = Crc::new();
    crc.update(content);
    let expected = u64::from(crc.sum()) | u64::from(content.len() as u32) << 32;
    if u64::from_le_bytes(*trailer) == expected { Ok(()) } else { Err(bad("it does not match its trailer")) }
}

fn bad(reason: &(impl ToString + ?Sized)) -> RecordError {
    failed(Codec::Gzip, reason)
}
