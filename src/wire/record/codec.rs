//! The five codecs of record batches. Decompression never yields more than the bound it is given, and never
//! allocates much more than it yields.

use std::cell::Cell;

use super::{RecordError, gzip, lz4, snappy};
use zstd::zstd_safe;

thread_local! {
    static DECOMPRESSED: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that this thread has made by decompression so far, wrapping: what a core does in one turn is bounded. One that
/// fails counts for as much as it might have made.
pub fn decompressed_here() -> usize {
    DECOMPRESSED.get()
}

/// Scratch memory above this is given back after an unusually large batch.
const SCRATCH_KEPT_BYTES: usize = 4 << 20;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of snappy-java, which Kafka writes; plain snappy is read as well.
    Snappy,
    /// LZ4 frame, independent blocks.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

impl Codec {
    /// All codecs, by id.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The id in batch attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The codec with this id.
    pub fn from_id(id: u8) -> Option<Codec> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }

    /// The codec with this name.
    pub fn from_name(name: &str) -> Option<Codec> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The level that is used unless configured; 0 where there are no levels.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::None | Codec::Snappy => 0,
            Codec::Gzip => -1,
            Codec::Lz4 => 9,
            Codec::Zstd => 3,
        }
    }

    /// Whether `level` is one Kafka allows for `compression.<name>.level`.
    pub fn allows_level(self, level: i32) -> bool {
        match self {
            Codec::None | Codec::Snappy => level == 0,
            Codec::Gzip => level == -1 || (1..=9).contains(&level),
            Codec::Lz4 => (1..=17).contains(&level),
            Codec::Zstd => (-131_072..=22).contains(&level),
        }
    }
}

/// A codec and its level.
///
/// LZ4 knows one level here: the fast one, which is also what Kafka uses at its default of 9; other levels are
/// accepted and compress the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    codec: Codec,
    level: i32,
}

impl Compression {
    /// At the default level.
    pub fn of(codec: Codec) -> Compression {
        Compression { codec, level: codec.default_level() }
    }

    /// At this level, or the default one if the codec does not have it: the configuration refuses those.
    pub fn with_level(codec: Codec, level: i32) -> Compression {
        if codec.allows_level(level) { Compression { codec, level } } else { Compression::of(codec) }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }
}

impl From<Codec> for Compression {
    /// At the default level.
    fn from(codec: Codec) -> Compression {
        Compression::of(codec)
    }
}

/// Memory for decompression, kept from batch to batch.
#[derive(Default)]
pub struct Scratch {
    /// All of it is initialised, so that growing is the only time it is zeroed.
    bytes: Vec<u8>,
    zstd: Option<zstd_safe::DCtx<'static>>,
    made: usize,
}

impl Scratch {
    /// Empty; grows as needed.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Bytes that it was used for so far, or since [`Scratch::forget_made`]. A failure counts for as much as it was allowed.
    pub fn made(&self) -> usize {
        self.made
    }

    /// What was made so far does not count any more.
    pub fn forget_made(&mut self) {
        self.made = 0;
    }

    /// Decompresses `data` to at most `limit` bytes, valid until the next use.
    pub fn decompress(&mut self, codec: Codec, data: &[u8], limit: usize) -> Result<&[u8], RecordError> {
        if self.bytes.len() > SCRATCH_KEPT_BYTES {
            self.bytes.truncate(SCRATCH_KEPT_BYTES);
            self.bytes.shrink_to_fit();
        }
        let length = decompress_over(codec, data, limit, &mut self.bytes, &mut self.zstd);
        self.made = self.made.saturating_add(*length.as_ref().unwrap_or(&limit));
        let length = length?;
        Ok(self.bytes.get(..length).unwrap_or_default())
    }
}

/// Replaces what is in `out` by the decompressed `data`, at most `limit` bytes. See [`Scratch`] for many.
pub fn decompress(codec: Codec, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let length = decompress_over(codec, data, limit, out, &mut None)?;
    out.truncate(length);
    Ok(())
}

/// Appends the compressed `data` to `out`.
pub fn compress(compression: Compression, data: &[u8], out: &mut Vec<u8>) {
    match compression.codec {
        Codec::None => out.extend_from_slice(data),
        Codec::Gzip => gzip::compress(compression.level, data, out),
        Codec::Snappy => snappy::compress(data, out),
        Codec::Lz4 => lz4::compress(data, out),
        Codec::Zstd => {
            let start = out.len();
            out.resize(start + zstd_safe::compress_bound(data.len()), 0);
            let length = zstd_safe::compress(&mut out[start..], data, compression.level)
                .unwrap_or_else(|code| panic!("zstd: {}", zstd_safe::get_error_name(code)));
            out.truncate(start + length);
        }
    }
}

/// Writes from the start of `out`, growing it as needed, and returns how much of it is the data.
fn decompress_over(
    codec: Codec,
    data: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    zstd: &mut Option<zstd_safe::DCtx<'static>>,
) -> Result<usize, RecordError> {
    let made = match codec {
        Codec::None if data.len() > limit => Err(RecordError::Uncompressed { limit }),
        Codec::None => {
            out.clear();
            out.extend_from_slice(data);
            Ok(data.len())
        }
        Codec::Gzip => gzip::decompress(data, limit, out),
        Codec::Snappy => snappy::decompress(data, limit, out),
        Codec::Lz4 => lz4::decompress(data, limit, out),
        Codec::Zstd => unzstd(data, limit, out, zstd.get_or_insert_with(zstd_safe::DCtx::create)),
    };
    DECOMPRESSED.set(DECOMPRESSED.get().wrapping_add(*made.as_ref().unwrap_or(&limit)));
    made
}

/// An error of this codec.
pub(super) fn failed(codec: Codec, reason: &(impl ToString + ?Sized)) -> RecordError {
    RecordError::Decompress { codec: codec.name(), reason: reason.to_string() }
}

/// Makes `out` at least `length` long.
pub(super) fn grow(out: &mut Vec<u8>, length: usize) {
    if out.len() < length {
        out.resize(length, 0);
    }
}

/// One call per attempt and no window buffer. Consumers need one, so frames are held to what theirs takes.
fn unzstd(
    data: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    context: &mut zstd_safe::DCtx<'static>,
) -> Result<usize, RecordError> {
    // zstd's stable code for "destination too small", negated as its C functions return it.
    const DESTINATION_TOO_SMALL: usize = 70usize.wrapping_neg();
    check_windows(data)?;
    let mut room = data.len().saturating_mul(4).max(16 << 10).max(out.len()).min(limit);
    loop {
        grow(out, room);
        let free = out.get_mut(..room).unwrap_or_default();
        match context.decompress(free, data) {
            Ok(length) => return Ok(length),
            Err(DESTINATION_TOO_SMALL) if room >= limit => return Err(RecordError::Uncompressed { limit }),
            Err(DESTINATION_TOO_SMALL) => room = room.saturating_mul(4).min(limit),
            Err(code) => return Err(failed(Codec::Zstd, zstd_safe::get_error_name(code))),
        }
    }
}

/// No frame wants a larger window than zstd's streaming decoder allows unless told otherwise: Java's consumers and others
/// fail on it, and would at each attempt. Whatever else is wrong with a frame is for the decoder to say.
fn check_windows(mut data: &[u8]) -> Result<(), RecordError> {
    const WINDOW_BYTES_MAX: u64 = (1 << 27) + 1;
    loop {
        if let Some(bytes) = window_bytes(data).filter(|bytes| *bytes > WINDOW_BYTES_MAX) {
            let reason = format!("a frame needs a window of {bytes} bytes; consumers take up to 128 MiB");
            return Err(failed(Codec::Zstd, &reason));
        }
        let frame = zstd_safe::find_frame_compressed_size(data).unwrap_or(data.len());
        match data.get(frame..) {
            Some(next) if frame > 0 && !next.is_empty() => data = next,
            _ => return Ok(()),
        }
    }
}

/// The window that a frame's header asks for (RFC 8878, 3.1.1.1). One without needs what it says that it holds, which is
/// bounded elsewhere.
fn window_bytes(frame: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    const SINGLE_SEGMENT: u8 = 1 << 5;
    let &[descriptor, window, ..] = frame.strip_prefix(&MAGIC)? else { return None };
    let base = 1 << (10 + (window >> 3));
    (descriptor & SINGLE_SEGMENT == 0).then_some(base + base / 8 * u64::from(window & 7))
}
