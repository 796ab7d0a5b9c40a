//! Snappy as snappy-java frames it (`SnappyOutputStream`): a 16-byte header, then chunks of a big-endian
//! length and a snappy block. librdkafka and others send one bare snappy block instead; Kafka reads both.

use super::codec::{failed, grow};
use super::{Codec, RecordError};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER_BYTES: usize = 16;
/// Version and oldest compatible version, both 1.
const HEADER: [u8; HEADER_BYTES] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Uncompressed bytes of a chunk, snappy-java's default.
const CHUNK_BYTES: usize = 32 << 10;
/// The most that a byte of snappy can become: a three-byte copy yields 64.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&HEADER);
    for chunk in data.chunks(CHUNK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + snap::raw::max_compress_len(chunk.len()), 0);
        let length = encoder.compress(chunk, &mut out[start + 4..]).expect("the output has room");
        out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
        out.truncate(start + 4 + length);
    }
}

pub(super) fn decompress(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<usize, RecordError> {
    if data.len() < HEADER_BYTES || !data.starts_with(&MAGIC) {
        return block(data, limit, out, 0);
    }
    // The first header's version is nobody's concern, in Java neither.
    let mut left = data.get(HEADER_BYTES..).unwrap_or_default();
    let mut length = 0;
    // Fewer bytes than a chunk length has are no chunk, and no error.
    while let Some((chunk_length, rest)) = left.split_first_chunk() {
        if left.starts_with(&MAGIC) {
            left = skip_header(left)?;
            continue;
        }
        let chunk_length = u32::from_be_bytes(*chunk_length) as usize;
        let (chunk, rest) =
            rest.split_at_checked(chunk_length).ok_or_else(|| bad("a chunk is longer than the data"))?;
        length = block(chunk, limit, out, length)?;
        left = rest;
    }
    Ok(length)
}

/// Streams may follow one another, each with its header.
fn skip_header(left: &[u8]) -> Result<&[u8], RecordError> {
    let (header, rest) =
        left.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| bad("a header is cut short"))?;
    let version = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if version < 1 { Err(bad("unknown version in the header")) } else { Ok(rest) }
}

/// Decompresses one block to `out` from `at`, and returns where it ends.
fn block(data: &[u8], limit: usize, out: &mut Vec<u8>, at: usize) -> Result<usize, RecordError> {
    let length = snap::raw::decompress_len(data).map_err(|error| bad(&error))?;
    if length > limit.saturating_sub(at) {
        return Err(RecordError::Uncompressed { limit });
    }
    if length > data.len().saturating_mul(EXPANSION_MAX) {
        return Err(bad("a block declares more than it can hold"));
    }
    grow(out, at + length);
    let free = out.get_mut(at..at + length).unwrap_or_default();
    snap::raw::Decoder::new().decompress(data, free).map(|length| at + length).map_err(|error| bad(&error))
}

fn bad(reason: &(impl ToString + ?Sized)) -> RecordError {
    failed(Codec::Snappy, reason)
}
