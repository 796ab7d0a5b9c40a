//! The small files of a log directory: indexes, snapshots of producers, checkpoints, properties.

use super::Soundness;
use crate::log::names::{
    CLEAN_SHUTDOWN, LEADER_EPOCH_CHECKPOINT, LOG_START_CHECKPOINT, OTTLA_CHECKPOINT, PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT, REPLICATION_CHECKPOINT,
};
use crate::server::format::META_PROPERTIES;
use crate::shard::controller::QUORUM_STATE_FILE;
use std::io::{self, Write};

/// One transaction of a `.txnindex`: version, producer id, first, last and last stable offset.
const ABORTED_BYTES: usize = 34;
/// One producer of a `.snapshot`.
const PRODUCER_BYTES: usize = 46;
/// Version, checksum and count of a `.snapshot`.
const SNAPSHOT_HEADER_BYTES: usize = 10;

/// The files that hold text.
const TEXTS: &[&str] = &[
    LEADER_EPOCH_CHECKPOINT,
    PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT,
    LOG_START_CHECKPOINT,
    REPLICATION_CHECKPOINT,
    CLEANER_CHECKPOINT,
    OTTLA_CHECKPOINT,
    CLEAN_SHUTDOWN,
    META_PROPERTIES,
    QUORUM_STATE_FILE,
];
/// Where Kafka's log cleaner stands; Ottla leaves it alone.
const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Prints a file by what its name says that it is.
pub fn dump(name: &str, extension: &str, bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    let base = name.split('.').next().and_then(|digits| digits.parse::<i64>().ok()).unwrap_or_default();
    match extension {
        "index" => offset_index(base, bytes, out),
        "timeindex" => time_index(base, bytes, out),
        "txnindex" => aborted_transactions(bytes, out),
        "snapshot" => producers(bytes, out),
        _ if TEXTS.contains(&name) => text(bytes, out),
        _ => Err(io::Error::other("its name is not one of a log directory's files")),
    }
}

fn offset_index(base: i64, bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    entries::<8>(bytes, out, |entry| {
        let (offset, position) = (int(entry, 0), int(entry, 4));
        (offset, format!("offset: {} position: {position}", base.saturating_add(offset)))
    })
}

fn time_index(base: i64, bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    entries::<12>(bytes, out, |entry| {
        let (timestamp, offset) = (long(entry, 0), int(entry, 8));
        (timestamp, format!("timestamp: {timestamp} offset: {}", base.saturating_add(offset)))
    })
}

/// Prints entries of one size up to the first that is all zeros, after which there is only room. What they are
/// ordered by must not fall.
fn entries<const N: usize>(
    bytes: &[u8],
    out: &mut impl Write,
    read: impl Fn(&[u8; N]) -> (i64, String),
) -> io::Result<Soundness> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    let used = chunks.iter().position(|entry| *entry == [0; N]).unwrap_or(chunks.len());
    let mut last = i64::MIN;
    let mut soundness = Soundness::Sound;
    for entry in chunks.iter().take(used) {
        let (order, line) = read(entry);
        let damaged = if order < last { " damaged: less than the entry before" } else { "" };
        if order < last {
            soundness = Soundness::Damaged;
        }
        last = order;
        writeln!(out, "{line}{damaged}")?;
    }
    if chunks.iter().skip(used).any(|entry| *entry != [0; N]) || rest.iter().any(|b| *b != 0) {
        writeln!(out, "damaged: zeros, and data after them, or part of an entry at the end")?;
        return Ok(Soundness::Damaged);
    }
    Ok(soundness)
}

fn aborted_transactions(bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    let (chunks, rest) = bytes.as_chunks::<ABORTED_BYTES>();
    for entry in chunks {
        writeln!(
            out,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            short(entry, 0),
            long(entry, 2),
            long(entry, 10),
            long(entry, 18),
            long(entry, 26)
        )?;
    }
    partial(rest, out)
}

fn producers(bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    let Some((header, body)) = bytes.split_first_chunk::<SNAPSHOT_HEADER_BYTES>() else {
        return partial(bytes, out);
    };
    let stored = int(header, 2) as u32;
    let computed = crc32c::crc32c(bytes.get(6..).unwrap_or_default());
    writeln!(out, "version: {} crc: {stored} producers: {}", short(header, 0), int(header, 6))?;
    if stored != computed {
        writeln!(out, "damaged: the checksum of the bytes is {computed}")?;
        return Ok(Soundness::Damaged);
    }
    let (chunks, rest) = body.as_chunks::<PRODUCER_BYTES>();
    for p in chunks {
        writeln!(
            out,
            "producerId: {} producerEpoch: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {} \
             coordinatorEpoch: {} currentTxnFirstOffset: {}",
            long(p, 0),
            short(p, 8),
            int(p, 10),
            long(p, 14),
            int(p, 22),
            long(p, 26),
            int(p, 34),
            long(p, 38)
        )?;
    }
    partial(rest, out)
}

fn partial(rest: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    if rest.is_empty() {
        return Ok(Soundness::Sound);
    }
    writeln!(out, "damaged: {} bytes at the end are part of an entry", rest.len())?;
    Ok(Soundness::Damaged)
}

fn text(bytes: &[u8], out: &mut impl Write) -> io::Result<Soundness> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        writeln!(out, "damaged: not text, and its name says nothing else")?;
        return Ok(Soundness::Damaged);
    };
    for line in text.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(Soundness::Sound)
}

/// The number at a place in an entry; zero outside of it.
fn field<const N: usize>(entry: &[u8], at: usize) -> [u8; N] {
    entry.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

fn long(entry: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(field(entry, at))
}

fn int(entry: &[u8], at: usize) -> i64 {
    i64::from(i32::from_be_bytes(field(entry, at)))
}

fn short(entry: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(field(entry, at))
}
