//! The journal of one core: small appends of all its partitions, one after the other in one file, so that they are
//! safe long before each of them is written to its segment.
//!
//! There are two levels. *Staged* entries go through the page cache with one `pwrite` a turn: they outlive the
//! process, as what Apache Kafka acknowledges does. *Flushed* entries (`flush.messages=1`) are written and flushed
//! together, one write of all partitions in flight at a time: they outlive a power cut.
//!
//! A core has a journal in each log directory, for the partitions there: a disk that leaves takes its journal along.
//! Each level has a file of two halves. While one is written, the partitions that have entries in the other write
//! them to their segments (and flush those, for the flushed level); then it is free again. If it is not free in time,
//! appends go straight to the segments. Entries say where in which segment they belong, so a start after a kill
//! [redoes](replay) them before anything is opened; the journal is removed then, and at a clean stop.
//!
//! Whoever changes what lies in a segment above the recovery point (truncation, and compaction if the checkpoint
//! lags) has to write out and drop the partition's entries first, or to raise the partition's generation by an entry that
//! says so. Today only the metadata log is truncated, and it is not staged: all entries are of generation 0.

mod frame;
mod held;
pub mod inspect;
mod redo;
pub mod replay;
mod scan;
#[cfg(test)]
mod tests;
mod window;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::limits::{
    BLOCK_BYTES, JOURNAL_ENTRY_BYTES_MAX, JOURNAL_FLUSH_ROUNDS, JOURNAL_FRAME_BYTES_MAX,
    JOURNAL_FREE_BYTES_MIN, JOURNAL_RETRY_MS,
};
use crate::base::{DirectoryId, Offset, ShardId, Ticks, TopicId, Uuid};
use crate::io::repeats::limited;
use crate::io::{AlignedBuf, Disk, DiskOutcome, File, FileJob, FileJobOutcome, Files, Lack, OpenMode, Token};

use frame::FileHeader;
pub use frame::{Entry, Kind};
use held::Held;

/// The upper half of the journal's tokens, where a partition has its slot.
pub const SLOT: u32 = u32::MAX - 1;
/// How the names of journals begin.
const FILE_PREFIX: &str = "ottla-journal-";
/// How the name of a journal goes on while it is made: one under its own name always has its header.
const UNFINISHED: &str = ".tmp";
const WRITTEN_TAG: u32 = 0;
const CREATED_TAG: u32 = 1;
const REMOVED_TAG: u32 = 2;
/// Tags of an area: the area's number times this, and one of the above.
const TAGS: u32 = 3;

/// A log directory with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its id; zero if it has none.
    pub directory_id: DirectoryId,
}

/// In which run a journal was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of the machine ([`Files::boot_id`]).
    pub boot_id: u128,
    /// Of the broker.
    pub incarnation_id: Uuid,
    /// Random.
    pub salt: u32,
}

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

    const fn name(self) -> &'static str {
        match self {
            Level::Staged => "staged",
            Level::Flushed => "flushed",
        }
    }

    /// A binary that only knows version 1, whose names end in `-staged` and `-flushed`, would take the file for an empty
    /// journal and remove it: so it has a name that such a one leaves alone.
    fn file_name(self, core: ShardId) -> String {
        format!("{}{}.{}", FILE_PREFIX, core.0, self.name())
    }

    /// The level of a journal's file, of whatever version; None for a file of another kind.
    fn of_file(name: &str) -> Option<Level> {
        let rest = name.strip_prefix(FILE_PREFIX)?.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix(['.', '-'])?;
        Level::ALL.into_iter().find(|level| rest == level.name())
    }
}

/// A partition with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its slot.
    pub slot: u32,
    /// Its topic: entries name partitions by it.
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

/// The journals of one core: an area for each log directory and level.
pub struct Journal {
    /// Those of directory `d` at `2 * d` and `2 * d + 1`, by level.
    areas: Vec<Area>,
    outcomes: Vec<Outcome>,
    held: Held,
}

enum State {
    /// Not there: made when it is wanted, from then on.
    Absent(Ticks),
    /// Being created or removed.
    Changing,
    Ready(File),
    /// Space is short: nothing is added, and once all entries are in their segments the file is removed.
    Leaving(File),
    /// It failed, or there is none: everything goes straight to the segments.
    Off,
}

struct Area {
    level: Level,
    number: u32,
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
    /// The generation that was the first of this file.
    first_generation: u64,
    active: usize,
    /// Where in the active half the next frame goes.
    position: u64,
    /// So far the file may grow before free space is looked at again.
    may_reach: u64,
    halves: [Half; 2],
    rotated: bool,
    /// It was told that there is none.
    told: bool,
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
    /// A journal in each of `dirs`, with a file of `bytes` a level; zero for none.
    pub fn new(dirs: &[JournalDir], core: ShardId, bytes: u64, run: Run) -> Journal {
        let half_bytes = bytes / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let all = dirs.iter().flat_map(|dir| Level::ALL.map(|level| (dir, level)));
        let area = |(number, (dir, level)): (u32, (&JournalDir, Level))| Area {
            level,
            number,
            path: dir.path.join(level.file_name(core)),
            header: FileHeader {
                version: frame::VERSION,
                half_bytes,
                salt: run.salt,
                boot_id: run.boot_id,
                incarnation_id: run.incarnation_id,
                directory_id: dir.directory_id,
                core: core.0.into(),
                level: level as u32,
            },
            state: if half_bytes < 4 * JOURNAL_ENTRY_BYTES_MAX as u64 {
                State::Off
            } else {
                State::Absent(Ticks(0))
            },
            frame: None,
            waiting: Vec::new(),
            in_flight: None,
            sequence: 0,
            generation: 1,
            first_generation: 1,
            active: 0,
            position: 0,
            may_reach: 0,
            halves: Default::default(),
            rotated: false,
            told: false,
        };
        let areas = (0..).zip(all).map(area).collect();
        Journal { areas, outcomes: Vec::new(), held: Held::default() }
    }

    /// Opens the files of the staged level; the others are made when they are wanted. Blocks.
    ///
    /// # Errors
    /// If one cannot be created; appends go straight to the segments then, until it can.
    pub fn open(&mut self, files: &dyn Files) -> io::Result<()> {
        let staged = self.areas.iter_mut().filter(|area| area.level == Level::Staged);
        staged.filter(|area| matches!(area.state, State::Absent(_))).try_for_each(|area| {
            area.state = State::Ready(create(files, &area.path, area.header, area.level)?);
            Ok(())
        })
    }

    /// The areas, by number, and their levels.
    pub fn areas(&self) -> impl Iterator<Item = (usize, Level)> + use<> {
        (0..self.areas.len()).map(|number| (number, Level::ALL[number % 2]))
    }

    fn area(&mut self, dir: usize, level: Level) -> &mut Area {
        &mut self.areas[2 * dir + level.index()]
    }

    /// Begins an entry; its batches follow by [`Journal::add`]. `mark` is the partition's own: the generation of the
    /// half that knows it. `dir` is the log directory's number. False if there is no room: the append has to go to the
    /// segment.
    pub(super) fn begin(
        &mut self,
        disk: &mut dyn Disk,
        (dir, level): (usize, Level),
        slot: u32,
        entry: &Entry,
        mark: &mut u64,
    ) -> bool {
        let Some(area) = self.areas.get_mut(2 * dir + level.index()) else { return false };
        if entry.len > JOURNAL_ENTRY_BYTES_MAX || !area.is_ready(disk) {
            return false;
        }
        let need = frame::ENTRY_HEADER_BYTES + entry.len;
        if level == Level::Staged && area.frame_bytes() + need > area.frame_bytes_max() - frame::TRAILER_BYTES
        {
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

    /// Batches of the entry begun last in this directory at this level.
    pub(super) fn add(&mut self, dir: usize, level: Level, batch: &[u8]) {
        self.area(dir, level).frame().extend_from_slice(batch);
    }

    /// A partition holds so many bytes back from its segment. `number` is the partition's own: its place among those.
    pub(super) fn holds_back(&mut self, number: &mut Option<u64>, slot: u32, bytes: usize, now: Ticks) {
        self.held.note(number, slot, bytes, now);
    }

    /// A partition that is to write what it holds back ([`hold_back_no_more`](super::Partition::hold_back_no_more)): its
    /// time has come, all together hold back too much, or its half of the journal is to become free.
    pub fn next_to_write(&mut self, now: Ticks) -> Option<u32> {
        // The disk gets the other half of the time. The half that fills fastest leads where there are several.
        for area in self.areas.iter().step_by(2).filter(|area| area.halves[1 - area.active].draining) {
            self.held.drain_upto(area.position, area.header.half_bytes / 2);
        }
        self.held.next(now)
    }

    /// When the next partition is to write, whatever is appended until then.
    pub fn deadline(&self) -> Ticks {
        self.held.deadline()
    }

    /// The end of a turn: what was staged is written, and what is to be flushed handed to the disk.
    pub fn commit(&mut self, disk: &mut dyn Disk) {
        for area in &mut self.areas {
            match area.level {
                Level::Staged => area.write_staged(disk, &mut self.outcomes),
                Level::Flushed => area.submit(disk, &mut self.outcomes),
            }
        }
    }

    /// A disk operation of the journal ended; `tag` is the lower half of its token. Gives what is worth a warning.
    pub fn on_disk(&mut self, disk: &mut dyn Disk, tag: u32, outcome: DiskOutcome) -> Option<String> {
        let area = &mut self.areas[(tag / TAGS) as usize];
        match (tag % TAGS, outcome) {
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
                area.told = false;
                None
            }
            (CREATED_TAG, DiskOutcome::Job(Err(error))) => {
                area.state = State::Absent(disk.now().plus_ms(JOURNAL_RETRY_MS));
                (!std::mem::replace(&mut area.told, true)).then(|| area.without(&error))
            }
            (REMOVED_TAG, DiskOutcome::Job(_)) => {
                area.state = State::Absent(disk.now().plus_ms(JOURNAL_RETRY_MS));
                None
            }
            _ => unreachable!("an outcome of another kind than the operation"),
        }
    }

    /// What became of entries since the last call.
    pub fn take_outcomes(&mut self, into: &mut Vec<Outcome>) {
        into.append(&mut self.outcomes);
    }

    /// The partitions whose entries lie in a half that has just been filled: they have to be written to their segments.
    /// To be given back by [`Journal::drains`].
    pub fn rotated(&mut self, area: usize) -> Option<Vec<Member>> {
        let area = &mut self.areas[area];
        let members = &mut area.halves[1 - area.active].members;
        std::mem::take(&mut area.rotated).then(|| std::mem::take(members))
    }

    /// What [`Journal::rotated`] gave, with the offset up to which each has to be done.
    pub fn drains(&mut self, area: usize, members: Vec<Member>) {
        let area = &mut self.areas[area];
        let half = &mut area.halves[1 - area.active];
        (half.flushing, half.at_once) = (0, members.len().div_ceil(JOURNAL_FLUSH_ROUNDS));
        half.members = members;
        if area.level == Level::Staged {
            self.held.begin_drain();
        }
    }

    /// Space is short on the volume of a path: its journals are given back, as soon as their entries are in segments.
    pub fn give_back(&mut self, path: &Path) {
        let shares = |area: &Area| area.path.parent().is_none_or(|dir| path.starts_with(dir));
        let all = !self.areas.iter().any(shares);
        for area in self.areas.iter_mut().filter(|area| all || shares(area)) {
            area.leave();
        }
    }

    /// Frees a half whose members are all done, and removes a file that is given back.
    pub fn reclaim(&mut self, disk: &mut dyn Disk, mut is_done: impl FnMut(Level, &Member) -> bool) {
        for area in &mut self.areas {
            let half = &mut area.halves[1 - area.active];
            // Before it was given by `rotated`, a member names its first entry only.
            if half.draining && !area.rotated {
                while half.members.pop_if(|member| is_done(area.level, member)).is_some() {
                    half.flushing = half.flushing.saturating_sub(1);
                }
                half.draining = !half.members.is_empty();
            }
            area.empty_or_remove(disk);
        }
    }

    /// A partition that is to flush its segment, as its entries are in a full half of the flushed level. Some at a time:
    /// the journal's own flushes share the disk with them.
    pub fn next_to_flush(&mut self) -> Option<Member> {
        self.areas.iter_mut().skip(1).step_by(2).find_map(|area| {
            let half = &mut area.halves[1 - area.active];
            if !half.draining || half.flushing >= half.at_once {
                return None;
            }
            let member = half.members.iter().rev().nth(half.flushing).copied();
            half.flushing += usize::from(member.is_some());
            member
        })
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.areas.iter().all(|a| a.in_flight.is_none() && !matches!(a.state, State::Changing))
    }
}

impl Area {
    fn is_ready(&mut self, disk: &mut dyn Disk) -> bool {
        match &self.state {
            State::Ready(_) => return true,
            State::Absent(from) if *from <= disk.now() => {
                self.state = State::Changing;
                let (path, header, level) = (self.path.clone(), self.header, self.level);
                let work = move |files: &dyn Files| {
                    create(files, &path, header, level).map(|file| Box::new(file) as Box<dyn Any + Send>)
                };
                disk.background(FileJob::Run(Box::new(work)), self.token(CREATED_TAG));
            }
            _ => {}
        }
        false
    }

    fn leave(&mut self) {
        if let State::Ready(file) = &self.state {
            self.state = State::Leaving(file.clone());
        }
    }

    /// A file that is given back goes once both halves are free.
    fn empty_or_remove(&mut self, disk: &mut dyn Disk) {
        let quiet = self.waiting.is_empty() && self.in_flight.is_none() && !self.rotated;
        if !matches!(self.state, State::Leaving(_)) || !quiet || self.halves[1 - self.active].draining {
            return;
        }
        if !self.halves[self.active].members.is_empty() {
            self.rotate();
            return;
        }
        (self.sequence, self.position, self.active, self.may_reach) = (0, 0, 0, 0);
        // Marks of partitions name generations, so that none comes twice.
        self.generation += 1;
        self.first_generation = self.generation;
        self.state = State::Changing;
        let path = self.path.clone();
        let work = move |files: &dyn Files| {
            files.remove_file(&path)?;
            Ok(Box::new(()) as Box<dyn Any + Send>)
        };
        disk.background(FileJob::Run(Box::new(work)), self.token(REMOVED_TAG));
    }

    fn without(&self, error: &io::Error) -> String {
        format!(
            "{}: {error}; until there is room for the journal, which is tried again, appends go straight to their segments, which is slower",
            self.path.display()
        )
    }

    fn token(&self, tag: u32) -> Token {
        Token(u64::from(SLOT) << 32 | u64::from(self.number * TAGS + tag))
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
        self.frame_bytes() + need <= frame_bytes_max - frame::TRAILER_BYTES
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

    fn half_use(&self) -> u32 {
        (self.generation - self.first_generation + 1) as u32
    }

    /// Where in the file the next frame goes. Moves on behind it.
    fn place(&mut self, bytes: usize) -> u64 {
        let at = self.header.data_at() + self.active as u64 * self.header.half_bytes + self.position;
        self.position += bytes.next_multiple_of(self.level.alignment()) as u64;
        at
    }

    fn write_staged(&mut self, disk: &mut dyn Disk, outcomes: &mut Vec<Outcome>) {
        if self.waiting.is_empty() {
            return;
        }
        let (Some(mut buf), State::Ready(file) | State::Leaving(file)) = (self.frame.take(), &self.state)
        else {
            return;
        };
        let file = file.clone();
        let before = (self.sequence, self.position);
        self.sequence += 1;
        frame::finish(&mut buf, self.sequence, self.half_use(), self.header);
        let at = self.place(buf.len());
        let written =
            self.may_grow(disk, at + buf.len() as u64).and_then(|()| disk.stage(&file, at, buf.as_slice()));
        buf.set_len(0);
        self.frame = Some(buf);
        report(outcomes, self.waiting.drain(..), written.is_ok());
        match written {
            Ok(()) => {}
            // What was written of it counts for nothing, and if there is another frame, it goes over it.
            Err(error) if Lack::of(&error) == Some(Lack::Space) => {
                (self.sequence, self.position) = before;
                self.leave();
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!("{}", self.without(&error));
                }
            }
            Err(error) => {
                let text = self.fail(&error, outcomes);
                limited!(warn, "a warning of a journal", by "", of text, "{text}");
            }
        }
    }

    /// Whether the file may reach so far: some space is left for the segments.
    fn may_grow(&mut self, disk: &dyn Disk, end: u64) -> io::Result<()> {
        if end > self.may_reach {
            leaves_room(disk.free_bytes(&self.path), JOURNAL_FRAME_BYTES_MAX as u64)?;
            self.may_reach = end + JOURNAL_FRAME_BYTES_MAX as u64;
        }
        Ok(())
    }

    fn submit(&mut self, disk: &mut dyn Disk, outcomes: &mut Vec<Outcome>) {
        if self.waiting.is_empty() || self.in_flight.is_some() {
            return;
        }
        let (Some(mut buf), State::Ready(file) | State::Leaving(file)) = (self.frame.take(), &self.state)
        else {
            return report(outcomes, self.waiting.drain(..), false);
        };
        let file = file.clone();
        self.sequence += 1;
        frame::finish(&mut buf, self.sequence, self.half_use(), self.header);
        let at = self.place(buf.len());
        self.in_flight = Some(std::mem::take(&mut self.waiting));
        disk.write_durable(&file, at, buf.freeze(), self.token(WRITTEN_TAG));
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

/// Makes a file under another name, and gives it its own when all of it is there; gives the space back if that fails.
fn create(files: &dyn Files, path: &Path, header: FileHeader, level: Level) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    let unfinished = PathBuf::from(name);
    let make = || {
        let file = match level {
            Level::Staged => create_staged(files, &unfinished, header),
            Level::Flushed => create_flushed(files, &unfinished, header),
        }?;
        files.rename(&unfinished, path)?;
        // After a power cut a journal tells what is lost.
        path.parent().map_or(Ok(()), |dir| files.sync_dir(dir))?;
        Ok(file)
    };
    make().inspect_err(|_: &io::Error| {
        let _ = files.remove_file(&unfinished);
        let _ = files.remove_file(path);
    })
}

/// A journal takes half of what is free at most, and leaves [`JOURNAL_FREE_BYTES_MIN`].
fn leaves_room(free: u64, bytes: u64) -> io::Result<()> {
    if free / 2 < bytes || free - bytes < JOURNAL_FREE_BYTES_MIN {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    Ok(())
}

fn create_staged(files: &dyn Files, path: &Path, header: FileHeader) -> io::Result<File> {
    leaves_room(files.free_bytes(path), JOURNAL_FRAME_BYTES_MAX as u64)?;
    let file = files.open(path, OpenMode::Buffered)?;
    files.set_len(&file, 0)?;
    files.write_at(&file, 0, &header.format())?;
    files.sync(&file)?;
    Ok(file)
}

/// Writing over what is there is fastest and cheapest to flush, so the file is written once before.
fn create_flushed(files: &dyn Files, path: &Path, header: FileHeader) -> io::Result<File> {
    let bytes = header.data_at() + 2 * header.half_bytes;
    leaves_room(files.free_bytes(path), bytes)?;
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
    Ok(file)
}
