//! The journal of one core: small appends of all its partitions, one after the other in one file, so that they are
//! safe long before each of them is written to its segment.
//!
//! There are two levels. *Staged* entries go through the page cache with one `pwrite` a turn: they outlive the
//! process, as what Apache Kafka acknowledges does. *Flushed* entries (`flush.messages=1`) are written and flushed
//! together, one write of all partitions in flight at a time: they outlive a power cut.
//!
//! Each level has a file of two halves. While one is written, the partitions that have entries in the other write
//! them to their segments (and flush those, for the flushed level); then it is free again. If it is not free in time,
//! appends go straight to the segments. Entries say where in which segment they belong, so a start after a kill
//! [redoes](replay) them before anything is opened; the journal is removed then, and at a clean stop.
//!
//! Whoever changes what lies in a segment above the recovery point (truncation, and compaction if the checkpoint
//! lags) has to write out and drop the partition's entries first. Today only the metadata log is truncated, and it is
//! not staged.

mod frame;
mod held;
pub mod replay;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::limits::{
    BLOCK_BYTES, JOURNAL_ENTRY_BYTES_MAX, JOURNAL_FLUSH_ROUNDS, JOURNAL_FRAME_BYTES_MAX,
};
use crate::base::{Offset, ShardId, Ticks, TopicId};
use crate::io::{AlignedBuf, Disk, DiskOutcome, File, FileJob, FileJobOutcome, Files, OpenMode, Token};

pub(super) use frame::Entry;
use frame::FileHeader;
use held::Held;

/// The upper half of the journal's tokens, where a partition has its slot.
pub const SLOT: u32 = u32::MAX - 1;
/// How the names of journals begin, in the first log directory.
const FILE_PREFIX: &str = "ottla-journal-";
const WRITTEN_TAG: u32 = 0;
const CREATED_TAG: u32 = 1;

/// What an entry outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The process.
    Staged,
    /// A power cut.
    Flushed,
}

impl Level {
    const ALL: [Level; 2] = [Level::Staged, Level::Flushed];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Frames begin at multiples of this.
    const fn alignment(self) -> usize {
        match self {
            Level::Staged => 8,
            Level::Flushed => BLOCK_BYTES,
        }
    }

    /// How the names of its files end.
    const fn suffix(self) -> &'static str {
        match self {
            Level::Staged => "-staged",
            Level::Flushed => "-flushed",
        }
    }

    fn file_name(self, core: ShardId) -> String {
        format!("{}{}{}", FILE_PREFIX, core.0, self.suffix())
    }

    /// The level of a journal's file; None for a file of another kind.
    fn of_file(name: &str) -> Option<Level> {
        let rest = name.strip_prefix(FILE_PREFIX)?;
        Level::ALL.into_iter().find(|level| rest.ends_with(level.suffix()))
    }
}

/// A partition with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its slot.
    pub slot: u32,
    /// Its topic, as slots are used again.
    pub topic_id: TopicId,
    /// The offset after its last entry.
    pub upto: Offset,
}

/// What became of a partition's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The partition, and up to which offset.
    pub member: Member,
    /// Whether they are safe. If not, they have to go to the segment.
    pub safe: bool,
}

/// The journal of one core.
pub struct Journal {
    areas: [Area; 2],
    outcomes: Vec<Outcome>,
    held: Held,
}

enum State {
    /// Not wanted yet.
    Absent,
    /// Being created.
    Creating,
    Ready(File),
    /// It failed, or there is none: everything goes straight to the segments.
    Off,
}

struct Area {
    level: Level,
    path: PathBuf,
    header: FileHeader,
    state: State,
    /// Entries that are not written yet, behind room for a header; empty if there are none.
    frame: Option<AlignedBuf>,
    waiting: Vec<Member>,
    /// Of the frame being written.
    in_flight: Option<Vec<Member>>,
    sequence: u64,
    generation: u64,
    active: usize,
    /// Where in the active half the next frame goes.
    position: u64,
    halves: [Half; 2],
    rotated: bool,
}

#[derive(Default)]
struct Half {
    members: Vec<Member>,
    /// Not free before its members are done; they are taken from the end.
    draining: bool,
    /// So many, from the end, have been given by [`Journal::next_to_flush`], of so many at once.
    flushing: usize,
    at_once: usize,
}

impl Journal {
    /// A journal in `dir` with a file of `bytes` a level; zero for none. `salt` is random, `boot_id` that of the
    /// machine ([`Files::boot_id`]).
    pub fn new(dir: &Path, core: ShardId, bytes: u64, salt: u32, boot_id: u128) -> Journal {
        let half_bytes = bytes / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let area = |level: Level| Area {
            level,
            path: dir.join(level.file_name(core)),
            header: FileHeader { half_bytes, salt, boot_id },
            state: if half_bytes < 4 * JOURNAL_ENTRY_BYTES_MAX as u64 { State::Off } else { State::Absent },
            frame: None,
            waiting: Vec::new(),
            in_flight: None,
            sequence: 0,
            generation: 1,
            active: 0,
            position: 0,
            halves: Default::default(),
            rotated: false,
        };
        let areas = Level::ALL.map(area);
        Journal { areas, outcomes: Vec::new(), held: Held::default() }
    }

    /// Opens the file of the staged level; the other one is made when it is wanted. Blocks.
    ///
    /// # Errors
    /// If it cannot be created; everything goes straight to the segments then.
    pub fn open(&mut self, files: &dyn Files) -> io::Result<()> {
        let area = &mut self.areas[Level::Staged.index()];
        if matches!(area.state, State::Absent) {
            area.state = State::Off;
            let file = files.open(&area.path, OpenMode::Buffered)?;
            files.set_len(&file, 0)?;
            files.write_at(&file, 0, &area.header.format())?;
            area.state = State::Ready(file);
        }
        Ok(())
    }

    /// Begins an entry; its batches follow by [`Journal::add`]. `mark` is the partition's own: the generation of the
    /// half that knows it. False if there is no room: the append has to go to the segment.
    pub(super) fn begin(
        &mut self,
        disk: &mut dyn Disk,
        level: Level,
        slot: u32,
        entry: &Entry,
        mark: &mut u64,
    ) -> bool {
        let area = &mut self.areas[level.index()];
        if entry.len > JOURNAL_ENTRY_BYTES_MAX || !area.is_ready(disk) {
            return false;
        }
        let need = frame::ENTRY_HEADER_BYTES + entry.len;
        if level == Level::Staged && area.frame_bytes() + need > area.frame_bytes_max() {
            area.write_staged(disk, &mut self.outcomes);
        }
        if !area.make_room(need) {
            return false;
        }
        let member = Member { slot, topic_id: entry.topic_id, upto: entry.next };
        if *mark != area.generation {
            *mark = area.generation;
            area.halves[area.active].members.push(member);
        }
        match area.waiting.last_mut() {
            Some(last) if last.slot == slot => *last = member,
            _ => area.waiting.push(member),
        }
        entry.put(area.frame());
        true
    }

    /// Batches of the entry begun last at this level.
    pub(super) fn add(&mut self, level: Level, batch: &[u8]) {
        self.areas[level.index()].frame().extend_from_slice(batch);
    }

    /// A partition holds so many bytes back from its segment. `number` is the partition's own: its place among those.
    pub(super) fn holds_back(&mut self, number: &mut Option<u64>, slot: u32, bytes: usize, now: Ticks) {
        self.held.note(number, slot, bytes, now);
    }

    /// A partition that is to write what it holds back ([`hold_back_no_more`](super::Partition::hold_back_no_more)): its
    /// time has come, all together hold back too much, or its half of the journal is to become free.
    pub fn next_to_write(&mut self, now: Ticks) -> Option<u32> {
        let area = &self.areas[Level::Staged.index()];
        // The disk gets the other half of the time.
        self.held.drain_upto(area.position, area.header.half_bytes / 2);
        self.held.next(now)
    }

    /// When the next partition is to write, whatever is appended until then.
    pub fn deadline(&self) -> Ticks {
        self.held.deadline()
    }

    /// The end of a turn: what was staged is written, and what is to be flushed handed to the disk.
    pub fn commit(&mut self, disk: &mut dyn Disk) {
        let [staged, flushed] = &mut self.areas;
        staged.write_staged(disk, &mut self.outcomes);
        flushed.submit(disk, &mut self.outcomes);
    }

    /// A disk operation of the journal ended; `tag` is the lower half of its token. Gives what is worth a warning.
    pub fn on_disk(&mut self, disk: &mut dyn Disk, tag: u32, outcome: DiskOutcome) -> Option<String> {
        let area = &mut self.areas[Level::Flushed.index()];
        match (tag, outcome) {
            (WRITTEN_TAG, DiskOutcome::Written(result)) => {
                let members = area.in_flight.take().unwrap_or_default();
                report(&mut self.outcomes, members, result.is_ok());
                if let Err(error) = result {
                    return Some(area.fail(&error, &mut self.outcomes));
                }
                area.submit(disk, &mut self.outcomes);
                None
            }
            (CREATED_TAG, DiskOutcome::Job(Ok(FileJobOutcome::Ran(file)))) => {
                area.state = file.downcast::<File>().map_or(State::Off, |file| State::Ready(*file));
                None
            }
            (CREATED_TAG, DiskOutcome::Job(Err(error))) => Some(area.fail(&error, &mut self.outcomes)),
            _ => unreachable!("an outcome of another kind than the operation"),
        }
    }

    /// What became of entries since the last call.
    pub fn take_outcomes(&mut self, into: &mut Vec<Outcome>) {
        into.append(&mut self.outcomes);
    }

    /// The partitions whose entries lie in a half that has just been filled: they have to be written to their segments.
    /// To be given back by [`Journal::drains`].
    pub fn rotated(&mut self, level: Level) -> Option<Vec<Member>> {
        let area = &mut self.areas[level.index()];
        let members = &mut area.halves[1 - area.active].members;
        std::mem::take(&mut area.rotated).then(|| std::mem::take(members))
    }

    /// What [`Journal::rotated`] gave, with the offset up to which each has to be done.
    pub fn drains(&mut self, level: Level, members: Vec<Member>) {
        let area = &mut self.areas[level.index()];
        let half = &mut area.halves[1 - area.active];
        (half.flushing, half.at_once) = (0, members.len().div_ceil(JOURNAL_FLUSH_ROUNDS));
        half.members = members;
        if level == Level::Staged {
            self.held.begin_drain();
        }
    }

    /// Frees a half whose members are all done.
    pub fn reclaim(&mut self, mut is_done: impl FnMut(Level, &Member) -> bool) {
        for area in &mut self.areas {
            let half = &mut area.halves[1 - area.active];
            if half.draining {
                while half.members.pop_if(|member| is_done(area.level, member)).is_some() {
                    half.flushing = half.flushing.saturating_sub(1);
                }
                half.draining = !half.members.is_empty();
            }
        }
    }

    /// A partition that is to flush its segment, as its entries are in a full half of the flushed level. Some at a time:
    /// the journal's own flushes share the disk with them.
    pub fn next_to_flush(&mut self) -> Option<Member> {
        let area = &mut self.areas[Level::Flushed.index()];
        let half = &mut area.halves[1 - area.active];
        if !half.draining || half.flushing >= half.at_once {
            return None;
        }
        let member = half.members.iter().rev().nth(half.flushing).copied();
        half.flushing += usize::from(member.is_some());
        member
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.areas.iter().all(|a| a.in_flight.is_none() && !matches!(a.state, State::Creating))
    }
}

impl Area {
    fn is_ready(&mut self, disk: &mut dyn Disk) -> bool {
        if matches!(self.state, State::Absent) && self.level == Level::Flushed {
            self.state = State::Creating;
            let (path, header) = (self.path.clone(), self.header);
            let work = move |files: &dyn Files| create_flushed(files, &path, header);
            disk.background(FileJob::Run(Box::new(work)), token(CREATED_TAG));
        }
        matches!(self.state, State::Ready(_))
    }

    fn frame_bytes(&self) -> usize {
        self.frame.as_ref().map_or(0, AlignedBuf::len).max(frame::HEADER_BYTES)
    }

    fn frame(&mut self) -> &mut AlignedBuf {
        let frame = self.frame.get_or_insert_with(|| AlignedBuf::with_capacity(JOURNAL_FRAME_BYTES_MAX));
        if frame.is_empty() {
            frame.set_len(frame::HEADER_BYTES);
        }
        frame
    }

    /// The bytes of a frame, at most. A frame is begun where as many fit into its half.
    fn frame_bytes_max(&self) -> usize {
        JOURNAL_FRAME_BYTES_MAX.min(self.header.half_bytes as usize / 2 / BLOCK_BYTES * BLOCK_BYTES)
    }

    /// Whether `need` more bytes fit into the frame. A new frame goes to the other half if this one may not have room
    /// for it, and if the other is free. A frame in flight does not matter: none is written before it is.
    fn make_room(&mut self, need: usize) -> bool {
        let frame_bytes_max = self.frame_bytes_max();
        let may_overflow = self.position + frame_bytes_max as u64 > self.header.half_bytes;
        if self.waiting.is_empty() && may_overflow && !self.rotate() {
            return false;
        }
        self.frame_bytes() + need <= frame_bytes_max
    }

    fn rotate(&mut self) -> bool {
        if self.halves[1 - self.active].draining {
            return false;
        }
        self.halves[self.active].draining = true;
        self.rotated = true;
        self.active = 1 - self.active;
        self.position = 0;
        self.generation += 1;
        true
    }

    /// Where in the file the next frame goes. Moves on behind it.
    fn place(&mut self, bytes: usize) -> u64 {
        let at = BLOCK_BYTES as u64 + self.active as u64 * self.header.half_bytes + self.position;
        self.position += bytes.next_multiple_of(self.level.alignment()) as u64;
        at
    }

    fn write_staged(&mut self, disk: &mut dyn Disk, outcomes: &mut Vec<Outcome>) {
        if self.waiting.is_empty() {
            return;
        }
        let (Some(mut buf), State::Ready(file)) = (self.frame.take(), &self.state) else { return };
        let file = file.clone();
        self.sequence += 1;
        frame::finish(buf.as_mut_slice(), self.sequence, self.header.salt);
        let at = self.place(buf.len());
        let written = disk.stage(&file, at, buf.as_slice());
        buf.set_len(0);
        self.frame = Some(buf);
        report(outcomes, self.waiting.drain(..), written.is_ok());
        if let Err(error) = written {
            let text = self.fail(&error, outcomes);
            tracing::warn!("{text}");
        }
    }

    fn submit(&mut self, disk: &mut dyn Disk, outcomes: &mut Vec<Outcome>) {
        if self.waiting.is_empty() || self.in_flight.is_some() {
            return;
        }
        let (Some(mut buf), State::Ready(file)) = (self.frame.take(), &self.state) else {
            return report(outcomes, self.waiting.drain(..), false);
        };
        let file = file.clone();
        self.sequence += 1;
        frame::finish(buf.as_mut_slice(), self.sequence, self.header.salt);
        let at = self.place(buf.len());
        self.in_flight = Some(std::mem::take(&mut self.waiting));
        disk.write_durable(&file, at, buf.freeze(), token(WRITTEN_TAG));
    }

    /// Gives this level up until the next start. What it holds stays there, as nobody can tell what is needed.
    fn fail(&mut self, error: &io::Error, outcomes: &mut Vec<Outcome>) -> String {
        self.state = State::Off;
        self.frame = None;
        report(outcomes, self.waiting.drain(..), false);
        format!(
            "{}: {error}; until a restart appends go straight to their segments, which is slower",
            self.path.display()
        )
    }
}

fn report(outcomes: &mut Vec<Outcome>, members: impl IntoIterator<Item = Member>, safe: bool) {
    outcomes.extend(members.into_iter().map(|member| Outcome { member, safe }));
}

fn token(tag: u32) -> Token {
    Token(u64::from(SLOT) << 32 | u64::from(tag))
}

/// Writing over what is there is fastest and cheapest to flush, so the file is written once before.
fn create_flushed(files: &dyn Files, path: &Path, header: FileHeader) -> io::Result<Box<dyn Any + Send>> {
    let bytes = BLOCK_BYTES as u64 + 2 * header.half_bytes;
    let file = files.open(path, OpenMode::DirectCreate)?;
    files.set_len(&file, 0)?;
    files.allocate(&file, bytes)?;
    let mut zeros = AlignedBuf::with_capacity(JOURNAL_FRAME_BYTES_MAX);
    zeros.set_len(JOURNAL_FRAME_BYTES_MAX);
    let mut at = 0;
    while at < bytes {
        let n = zeros.len().min((bytes - at) as usize);
        files.write_at(&file, at, &zeros.as_slice()[..n])?;
        at += n as u64;
    }
    files.write_at(&file, 0, &header.format())?;
    files.sync(&file)?;
    if let Some(dir) = path.parent() {
        files.sync_dir(dir)?;
    }
    Ok(Box::new(file))
}
