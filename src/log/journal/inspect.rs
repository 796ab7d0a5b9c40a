//! What a journal holds, for a reader outside of a broker: every entry, and what is damaged. Changes nothing.

use std::io;
use std::path::Path;

use super::frame::{Entry, VERSION};
use super::replay::{self, Source};
use super::scan::{self, Layout, Part};
use super::window::Window;
use super::{FILE_PREFIX, Level};
use crate::base::Uuid;
use crate::io::{Files, OpenMode};
use crate::wire::record::BatchView;

/// What is found, in this order.
#[derive(Debug)]
pub enum Found<'a> {
    /// What the file says of itself.
    Head(String),
    /// What cannot be read, or only in part.
    Damaged(String),
    /// The last write, which was cut off, before any of it was acknowledged; damage looks alike.
    CutOff(String),
    /// An entry.
    Entry(&'a Entry, Batches),
}

/// The batches of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// The offset of the first record, if there is one.
    pub base: Option<i64>,
    /// How many records the batches say that they have.
    pub records: u64,
    /// Whether the frame with this entry is as it was written.
    pub whole_frame: bool,
    /// Whether the checksum of each batch is right.
    pub are_valid: bool,
}

/// Whether a file's name is one of a journal's, in use or set aside.
pub fn is_journal(name: &str) -> bool {
    name.starts_with(FILE_PREFIX)
}

/// Gives what a journal holds, of whatever version and level. What goes wrong with `each` ends it. Blocks.
///
/// # Errors
/// If it cannot be read, or is of a later version.
pub fn inspect(
    files: &dyn Files,
    path: &Path,
    each: &mut dyn FnMut(Found<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let Some(header) = replay::header(files, path)? else {
        return each(Found::Damaged("neither block of its header can be read".to_owned()));
    };
    let newer = |what: &str| io::Error::other(format!("it was written by a newer version of Ottla ({what})"));
    if header.version > VERSION {
        return Err(newer(&format!("version {} of the journal", header.version)));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split(replay::ASIDE).next().unwrap_or_default();
    // Version 1 tells its level by its name only.
    let level = match (header.version, header.level) {
        (1, _) => Level::of_file(name).unwrap_or(Level::Staged),
        (_, 0) => Level::Staged,
        _ => Level::Flushed,
    };
    each(Found::Head(format!(
        "version: {} level: {} core: {} directoryId: {} incarnationId: {} halfBytes: {}",
        header.version,
        level.name(),
        header.core,
        header.directory_id,
        header.incarnation_id,
        header.half_bytes
    )))?;
    let mut window = Window::new(files.open(path, OpenMode::Read)?);
    let layout = scan::layout(files, &mut window, header, level)?;
    tell_damage(&layout, each)?;
    let source =
        Source { path: path.to_path_buf(), level, header: Some(header), directory_id: Uuid::ZERO, layout };
    let read = source.each(files, &mut |entry, batches, part, _| {
        let whole_frame = matches!(part, Part::Run(_));
        each(Found::Entry(&entry, Batches { whole_frame, ..look(batches) }))
    });
    read?.map_err(|error| newer(&format!("{error:?}")))
}

fn tell_damage(layout: &Layout, each: &mut dyn FnMut(Found<'_>) -> io::Result<()>) -> io::Result<()> {
    layout.parts.iter().try_for_each(|part| match part {
        Part::Run(_) => Ok(()),
        Part::Lost(lost) => each(Found::Damaged(lost.tell("this journal"))),
        Part::Torn(lost) => each(Found::CutOff(lost.tell("this journal"))),
    })
}

fn look(mut bytes: &[u8]) -> Batches {
    let mut found = Batches { are_valid: true, ..Batches::default() };
    while !bytes.is_empty() {
        let Some((base, records)) = next(&mut bytes) else {
            return Batches { are_valid: false, ..found };
        };
        found.base.get_or_insert(base);
        found.records += records;
    }
    found
}

/// The base offset and records of the batch at the start, which is taken off; None if it is damaged.
fn next(bytes: &mut &[u8]) -> Option<(i64, u64)> {
    let view = BatchView::parse(bytes).ok()?;
    let header = *view.header();
    view.check_crc().ok()?;
    *bytes = bytes.get(header.total_bytes()..)?;
    Some((header.base_offset, header.records_count.max(0) as u64))
}

#[cfg(test)]
mod tests {
    use super::super::frame::{self, FileHeader, HEADER_BYTES, Kind};
    use super::*;
    use crate::base::limits::BLOCK_BYTES;
    use crate::io::{AlignedBuf, OsFiles};
    use crate::wire::record::BatchBuilder;

    const HALF_BYTES: usize = 1 << 16;
    /// Of a frame, as an older Ottla wrote it.
    const VERSION_1: &[u8] = b"OtJ1";

    fn header(version: u32, level: Level) -> FileHeader {
        let (core, id) = if version == 1 { (0, Uuid::ZERO) } else { (3, Uuid::from_u128(5)) };
        let level = if version == 1 { 0 } else { level.index() as u32 };
        FileHeader {
            version,
            half_bytes: HALF_BYTES as u64,
            salt: 77,
            boot_id: 2,
            incarnation_id: id,
            directory_id: id,
            core,
            level,
        }
    }

    fn batches(base: i64) -> Vec<u8> {
        let two = BatchBuilder::new(base).record(1, None, Some(b"a")).record(2, None, Some(b"b")).build();
        [two, BatchBuilder::new(base + 2).record(3, None, Some(b"c")).build()].concat()
    }

    /// A frame with three records of partition 4 from `base` on.
    fn frame(of: FileHeader, sequence: u64, base: i64) -> Vec<u8> {
        let bytes = batches(base);
        if of.version == 1 {
            let mut frame = vec![0; HEADER_BYTES];
            frame.extend([7; 16]);
            frame.extend(4_i32.to_be_bytes());
            frame.extend([0; 16]);
            frame.extend((base + 3).to_be_bytes());
            frame.extend(0_u32.to_be_bytes());
            frame.extend((bytes.len() as u32).to_be_bytes());
            frame.extend(bytes);
            let len = frame.len() as u32;
            frame[..4].copy_from_slice(VERSION_1);
            frame[8..16].copy_from_slice(&sequence.to_be_bytes());
            frame[16..20].copy_from_slice(&len.to_be_bytes());
            let crc = crc32c::crc32c_append(of.salt, &frame[8..]);
            frame[4..8].copy_from_slice(&crc.to_be_bytes());
            return frame;
        }
        let mut buf = AlignedBuf::with_capacity(BLOCK_BYTES);
        buf.set_len(HEADER_BYTES);
        let entry = Entry {
            kind: Kind::Append,
            generation: 9,
            topic_id: Uuid([7; 16]),
            partition: 4,
            segment: 0,
            position: 0,
            next: base + 3,
            safe: base,
            behind_gap: false,
            len: bytes.len(),
        };
        entry.put(&mut buf);
        buf.extend_from_slice(&bytes);
        frame::finish(&mut buf, sequence, 1, of);
        buf.as_slice().to_vec()
    }

    /// A journal of three frames, and where each begins.
    fn journal(of: FileHeader, level: Level) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = of.format();
        bytes.truncate(of.data_at() as usize);
        if of.version == 1 {
            bytes[20..24].fill(0);
            let crc = crc32c::crc32c(&bytes[8..]);
            bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        }
        let mut places = Vec::new();
        for number in 0..3 {
            places.push(bytes.len());
            bytes.extend(frame(of, number + 1, 3 * number as i64));
            bytes.resize(bytes.len().next_multiple_of(level.alignment()), 0);
        }
        bytes.resize(of.data_at() as usize + 2 * HALF_BYTES, 0);
        (bytes, places)
    }

    /// Lines, and offsets and records of every entry with whether it is whole.
    fn read(name: &str, bytes: &[u8]) -> (Vec<String>, Vec<(i64, u64, bool)>) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (mut lines, mut entries) = (Vec::new(), Vec::new());
        inspect(&OsFiles, &path, &mut |found| {
            match found {
                Found::Head(text) => lines.push(text),
                Found::Damaged(text) => lines.push(format!("damaged: {text}")),
                Found::CutOff(text) => lines.push(format!("cut off: {text}")),
                Found::Entry(entry, batches) => {
                    assert_eq!((entry.topic_id, entry.partition), (Uuid([7; 16]), 4));
                    let is_whole = batches.whole_frame && batches.are_valid;
                    entries.push((batches.base.unwrap_or(-1), batches.records, is_whole));
                }
            }
            Ok(())
        })
        .unwrap();
        (lines, entries)
    }

    /// Every journal was "damaged: not text", though the operator of one that was set aside has to choose between restoring
    /// and deleting it.
    #[test]
    fn journals_of_each_version_and_level_are_read_and_damage_is_named() {
        for (version, level) in
            [(1, Level::Staged), (1, Level::Flushed), (2, Level::Staged), (2, Level::Flushed)]
        {
            let (whole, places) = journal(header(version, level), level);
            let suffix = if version == 1 { '-' } else { '.' };
            for aside in ["", ".aside-1"] {
                let name = format!("{FILE_PREFIX}0{suffix}{}{aside}", level.name());
                let (lines, entries) = read(&name, &whole);
                assert_eq!(entries, [(0, 3, true), (3, 3, true), (6, 3, true)], "{name}: {lines:?}");
                let head = format!("version: {version} level: {} core: ", level.name());
                assert!(lines.len() == 1 && lines[0].starts_with(&head), "{name}: {lines:?}");

                let mut flipped = whole.clone();
                flipped[places[1] + 130] ^= 1;
                let (lines, entries) = read(&name, &flipped);
                assert!(
                    lines.iter().any(|line| line.contains("damaged: ") && line.contains("frames 2 to 2"))
                );
                let sound: Vec<_> = entries.iter().filter(|entry| entry.2).collect();
                assert_eq!(sound, [&(0, 3, true), &(6, 3, true)], "{name}: {entries:?}");

                let mut headless = whole.clone();
                headless[30] ^= 1;
                headless[BLOCK_BYTES + 30] ^= 1;
                let (lines, _) = read(&name, &headless);
                assert!(lines[0].contains("header can be read") || version == 1, "{lines:?}");
            }
        }
    }

    #[test]
    fn a_later_version_is_told() {
        let (bytes, _) =
            journal(FileHeader { version: VERSION + 1, ..header(2, Level::Staged) }, Level::Staged);
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ottla-journal-0.staged");
        std::fs::write(&path, bytes).unwrap();
        let error = inspect(&OsFiles, &path, &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}
