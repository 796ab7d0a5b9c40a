//! Redoing what the journals hold after a stop that was not clean.
//!
//! Entries are written again to where they belong, whether they had got there or not: the same bytes to the same
//! places. What lies below a partition's recovery point is flushed already and left alone. Recovery then finds
//! segments without holes.
//!
//! An entry is only written where nothing is missing before it, if anything may be: behind a gap, behind a power cut (at
//! the staged level), behind frames that are damaged, and after another broker had the directories. What was acknowledged
//! and cannot be written back keeps its partition offline, or is only named if another broker has gone on since; the
//! journal is renamed then and stays. A journal is read twice, in pieces: once for what there is, once to redo it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{Entry, EntryError, FileHeader, Frame, Kind, VERSION};
use super::redo::{Known, Redo, Trust, Verdict};
use super::scan::{self, Layout, Lost, Part};
use super::window::Window;
use super::{JournalDir, Level, UNFINISHED};
use crate::base::limits::{BLOCK_BYTES, JOURNAL_FRAME_BYTES_MAX, JOURNAL_READ_BYTES, JOURNAL_REDO_BYTES};
use crate::base::progress::Progress;
use crate::base::{Offset, TopicId, Uuid};
use crate::io::{Files, OpenMode, side_by_side};

pub use super::redo::Target;

/// How the name of a journal that was set aside goes on.
pub(super) const ASIDE: &str = ".aside";

/// A partition's topic and number.
type Id = (TopicId, i32);

/// Why journals cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk answered with an error.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The journal was written by a later version of Ottla.
    #[error(
        "{path} was written by a newer version of Ottla ({what}), and may hold records that are nowhere else: start that version and stop it cleanly"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
}

/// A partition that stays offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its topic.
    pub topic_id: TopicId,
    /// Its number.
    pub partition: i32,
    /// The journal with its records, as it is called now.
    pub journal: PathBuf,
    /// What is wrong.
    pub why: String,
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries that were written to segments.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that nobody was promised, as something before them was never written.
    pub unacknowledged: u64,
    /// Entries of topics and partitions that are gone.
    pub gone: u64,
    /// Partitions to which something was written.
    pub changed: BTreeSet<(TopicId, i32)>,
    /// Below what offset all of a partition was acknowledged.
    pub acknowledged: BTreeMap<(TopicId, i32), Offset>,
    /// Partitions that must not be opened.
    pub refused: Vec<Refused>,
    /// What the operator should know, and is no loss of what was promised.
    pub warnings: Vec<String>,
    /// What was lost or set aside.
    pub errors: Vec<String>,
}

/// What is known of the stop before this start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since {
    /// The incarnation of this broker that the metadata names: the last one that served.
    pub registered: Uuid,
    /// The directories were closed cleanly, which Ottla does only after it has removed its journals.
    pub clean: bool,
}

/// Where a partition is.
pub enum Found {
    /// Here.
    Here(Target),
    /// The metadata does not know it: it was deleted.
    Gone,
    /// It should be here, and is not: why.
    Missing(String),
}

/// Takes an entry, its batches, the part that it lies in, and whether anything before it is damaged.
type Visit<'a> = dyn FnMut(Entry, &[u8], &Part, bool) -> io::Result<()> + 'a;

/// A journal that was found.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) level: Level,
    /// None if it cannot be read.
    pub(super) header: Option<FileHeader>,
    /// Of the directory that it was found in.
    pub(super) directory_id: Uuid,
    pub(super) layout: Layout,
}

/// What all journals say of a partition.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// Everything below was safe.
    safe: Offset,
    /// Generations, and from where on older entries are void.
    cuts: Vec<(u32, Offset)>,
}

/// The journals of the last run.
pub struct Journals {
    sources: Vec<Source>,
    facts: BTreeMap<Id, Facts>,
    /// Bytes of entries, and how many of them were gone through.
    bytes: u64,
    progress: Arc<Progress>,
}

/// Finds the journals in the log directories and reads what they hold; changes nothing. Blocks.
///
/// # Errors
/// If one cannot be read, or is of a later version.
pub fn find(files: &dyn Files, dirs: &[JournalDir]) -> Result<Journals, JournalError> {
    let mut journals =
        Journals { sources: Vec::new(), facts: BTreeMap::new(), bytes: 0, progress: Arc::default() };
    for dir in dirs {
        for (path, level) in list(files, &dir.path).map_err(|e| JournalError::Io(dir.path.clone(), e))? {
            let failed = |error| JournalError::Io(path.clone(), error);
            let header = header(files, &path).map_err(failed)?;
            let newer = header.filter(|header| header.version > VERSION);
            if let Some(header) = newer {
                let what = format!("version {} of the journal", header.version);
                return Err(JournalError::Newer { path, what });
            }
            let layout = match header {
                Some(header) => {
                    let mut window = Window::new(files.open(&path, OpenMode::Read).map_err(failed)?);
                    scan::layout(files, &mut window, header, level).map_err(failed)?
                }
                None => Layout::default(),
            };
            let source = Source { path, level, header, directory_id: dir.directory_id, layout };
            journals.learn(files, &source)?;
            journals.sources.push(source);
        }
    }
    Ok(journals)
}

/// The header, from one of its two blocks. None for a file that has none.
pub(super) fn header(files: &dyn Files, path: &Path) -> io::Result<Option<FileHeader>> {
    let file = files.open(path, OpenMode::Read)?;
    let blocks = files.read_at(&file, 0, 2 * BLOCK_BYTES)?;
    let second = || FileHeader::parse(blocks.get(BLOCK_BYTES..)?).filter(|header| header.version > 1);
    Ok(FileHeader::parse(&blocks).or_else(second))
}

/// Whether a file holds nothing but zeros.
fn is_blank(files: &dyn Files, path: &Path) -> io::Result<bool> {
    let file = files.open(path, OpenMode::Read)?;
    let mut at = 0;
    loop {
        let bytes = files.read_at(&file, at, JOURNAL_READ_BYTES)?;
        if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
            return Ok(bytes.is_empty());
        }
        at += bytes.len() as u64;
    }
}

/// Removes the journals: everything in them is in the segments. Blocks.
///
/// # Errors
/// If one cannot be removed.
pub fn remove(files: &dyn Files, dirs: &[PathBuf]) -> io::Result<()> {
    for dir in dirs {
        let journals: Vec<PathBuf> = list(files, dir)?.into_iter().map(|(path, _)| path).collect();
        remove_all(files, dir, &journals)?;
    }
    Ok(())
}

/// Removes what a process left that ended while it made a journal: nothing was ever added to it.
fn remove_unfinished(files: &dyn Files, dirs: &[PathBuf]) -> io::Result<()> {
    for dir in dirs {
        let entries = files.list(dir)?.into_iter().filter(|e| !e.is_dir).map(|e| e.name);
        let is_unfinished = |name: &String| name.strip_suffix(UNFINISHED).and_then(Level::of_file).is_some();
        let found: Vec<PathBuf> = entries.filter(is_unfinished).map(|name| dir.join(name)).collect();
        remove_all(files, dir, &found)?;
    }
    Ok(())
}

fn remove_all(files: &dyn Files, dir: &Path, paths: &[PathBuf]) -> io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    paths.iter().try_for_each(|path| files.remove_file(path))?;
    files.sync_dir(dir)
}

fn list(files: &dyn Files, dir: &Path) -> io::Result<Vec<(PathBuf, Level)>> {
    let entries = files.list(dir)?.into_iter().filter(|e| !e.is_dir);
    Ok(entries.filter_map(|e| Some((dir.join(&e.name), Level::of_file(&e.name)?))).collect())
}

/// Whether a file's name is that of a journal that was set aside.
pub fn is_aside(name: &str) -> bool {
    name.rsplit_once(ASIDE).is_some_and(|(journal, _)| Level::of_file(journal).is_some())
}

/// A name under which a file is neither taken for a journal nor written over.
fn aside(files: &dyn Files, path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = |number: u32| path.with_file_name(format!("{name}{ASIDE}-{number}"));
    let mut number = 1;
    while files.exists(&aside(number)) {
        number += 1;
    }
    aside(number)
}

/// Journals that were redone and are still there: the only ones who know what keeps a partition offline, until that is
/// noted durably.
pub struct Redone {
    /// What was done.
    pub done: Replayed,
    /// Journals that are kept, and their names from [`Redone::set_aside`] on.
    asides: Vec<(PathBuf, PathBuf)>,
}

impl Redone {
    /// Renames the journals that are kept; [`remove`] removes the others. Blocks.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub fn set_aside(&self, files: &dyn Files) -> io::Result<()> {
        self.asides.iter().try_for_each(|(path, aside)| {
            files.rename(path, aside)?;
            path.parent().map_or(Ok(()), |dir| files.sync_dir(dir))
        })
    }
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Where the file ends, if that is too early: the flushed level's has all of its length before it has its name.
    fn shortened(&self, files: &dyn Files, header: FileHeader) -> io::Result<Option<u64>> {
        let len = files.len(&files.open(&self.path, OpenMode::Read)?)?;
        let whole = header.data_at().saturating_add(header.half_bytes.saturating_mul(2));
        Ok((self.level == Level::Flushed && len < whole).then_some(len))
    }

    fn trust(&self, files: &dyn Files, since: Since) -> Trust {
        let Some(header) = self.header else { return Trust::default() };
        // Version 1 does not say in which run it was made.
        let moved = !header.directory_id.is_zero() && header.directory_id != self.directory_id;
        let other_run = header.version > 1 && header.incarnation_id != since.registered;
        let foreign = since.clean || moved || other_run;
        let cut = self.level == Level::Staged && header.boot_id != files.boot_id();
        Trust { foreign, cut, ..Trust::default() }
    }

    /// Gives every entry in the order in which they were written, and whether frames are missing before it; damaged
    /// frames give what can be told apart, with `Lost`.
    pub(super) fn each(
        &self,
        files: &dyn Files,
        visit: &mut Visit<'_>,
    ) -> io::Result<Result<(), EntryError>> {
        let Some(header) = self.header else { return Ok(Ok(())) };
        let mut window = Window::new(files.open(&self.path, OpenMode::Read)?);
        let mut behind_loss = false;
        for part in &self.layout.parts {
            let (mut at, to, lost) = match part {
                Part::Run(run) => (run.from, run.to, None),
                Part::Lost(lost) | Part::Torn(lost) => (lost.from, lost.to, Some(lost)),
            };
            behind_loss |= lost.is_some();
            while at < to {
                let bytes = window.get(files, at, JOURNAL_FRAME_BYTES_MAX, to)?;
                let Some(frame) = Frame::parse(bytes, header) else { break };
                if lost.is_some_and(|lost| frame.is_whole || !lost.may_hold(frame.sequence)) {
                    break;
                }
                for entry in frame.entries() {
                    match entry {
                        Ok((entry, batches)) => visit(entry, batches, part, behind_loss)?,
                        Err(_) if lost.is_some() => break,
                        Err(error) => return Ok(Err(error)),
                    }
                }
                at += frame.len.next_multiple_of(self.level.alignment()) as u64;
            }
        }
        Ok(Ok(()))
    }
}

impl Journals {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Counts there how far [`Journals::redo`] is.
    pub fn count_in(&mut self, progress: Arc<Progress>) {
        progress.expect(self.bytes);
        self.progress = progress;
    }

    /// Notes what holds for all entries of a partition.
    fn learn(&mut self, files: &dyn Files, source: &Source) -> Result<(), JournalError> {
        let facts = &mut self.facts;
        // What was safe from the end of the process was not from a power cut.
        let cut = source.trust(files, Since::default()).cut;
        let bytes = &mut self.bytes;
        let read = source.each(files, &mut |entry, batches, part, _| {
            *bytes += batches.len() as u64;
            if matches!(part, Part::Run(_)) {
                let of = facts.entry((entry.topic_id, entry.partition)).or_default();
                of.safe = of.safe.max(if cut { -1 } else { entry.safe });
                if entry.kind == Kind::Truncate {
                    of.cuts.push((entry.generation, entry.next));
                }
            }
            Ok(())
        });
        match read.map_err(|error| JournalError::Io(source.path.clone(), error))? {
            Ok(()) => Ok(()),
            Err(EntryError::Kind(kind)) => Err(JournalError::Newer {
                path: source.path.clone(),
                what: format!("entries of kind {kind}"),
            }),
            Err(EntryError::Length) => {
                let what = "entries that do not fill their frame".to_owned();
                Err(JournalError::Newer { path: source.path.clone(), what })
            }
        }
    }

    /// Redoes the journals: writes and flushes. `target` finds a partition. The journals stay; those with records that could
    /// not be written back are to be set aside. Blocks.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn redo(
        self,
        files: &dyn Files,
        log_dirs: &[PathBuf],
        since: Since,
        target: impl Fn(TopicId, i32) -> io::Result<Found> + Sync,
    ) -> io::Result<Redone> {
        remove_unfinished(files, log_dirs)?;
        let mut replay = Replay {
            files,
            target,
            facts: &self.facts,
            progress: &self.progress,
            known: BTreeMap::new(),
            done: Mutex::default(),
        };
        let mut keep = vec![false; self.sources.len()];
        for (source, keep) in self.sources.iter().zip(&mut keep) {
            *keep = replay.source(source, since)?;
        }
        let mut done = replay.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        if done.total.entries > 0 {
            log_dirs.iter().try_for_each(|dir| files.sync_all(dir))?;
        }
        let mut asides = Vec::new();
        for (source, keep) in self.sources.iter().zip(keep) {
            if keep || done.unfit.contains_key(&source.path) {
                let renamed = aside(files, &source.path);
                done.name(source, &renamed);
                asides.push((source.path.clone(), renamed));
            }
        }
        done.total.warnings.extend(done.cut.values().cloned());
        Ok(Redone { done: done.total, asides })
    }
}

/// What has been done, and what could not be.
#[derive(Default)]
struct Done {
    total: Replayed,
    /// By journal: what did not fit, and whether its partition stays offline.
    unfit: BTreeMap<PathBuf, Vec<(Id, String, bool)>>,
    /// One warning for each partition that ends behind a power cut.
    cut: BTreeMap<Id, String>,
}

impl Done {
    /// A journal gets a new name: what is wrong with it can be told.
    fn name(&mut self, source: &Source, renamed: &Path) {
        let found = self.unfit.remove(&source.path).unwrap_or_default();
        if found.is_empty() {
            self.total.errors.push(format!(
                "the journal {} is kept as {}: remove it when nothing in it is wanted",
                source.name(),
                renamed.display()
            ));
        }
        for ((topic_id, partition), why, stays_offline) in found {
            if stays_offline {
                let journal = renamed.to_path_buf();
                self.total.refused.push(Refused { topic_id, partition, journal, why });
            } else {
                self.total.errors.push(format!(
                    "partition {partition} of topic {topic_id}: {why}; another broker has used the directories since, and the log stays as that left it. The records are kept in {}",
                    renamed.display()
                ));
            }
        }
    }
}

struct Replay<'a, T> {
    files: &'a dyn Files,
    target: T,
    facts: &'a BTreeMap<Id, Facts>,
    progress: &'a Progress,
    /// None for a partition that is gone, or to which nothing more is written.
    known: BTreeMap<Id, Option<Known>>,
    done: Mutex<Done>,
}

impl<T: Fn(TopicId, i32) -> io::Result<Found> + Sync> Replay<'_, T> {
    /// Redoes one journal; whether it is to be kept.
    fn source(&mut self, source: &Source, since: Since) -> io::Result<bool> {
        let trust = source.trust(self.files, since);
        let keep = self.tell_damage(source, trust)?;
        let mut group: BTreeMap<Id, Vec<Redo>> = BTreeMap::new();
        let mut bytes = 0;
        let files = self.files;
        let progress = self.progress;
        let read = source.each(files, &mut |entry, batches, part, behind_loss| {
            progress.advance(batches.len() as u64);
            if entry.kind != Kind::Append {
                return Ok(());
            }
            let torn = matches!(part, Part::Torn(_));
            let trust = Trust { behind_loss, torn, ..trust };
            let mut redo = Redo { entry, batches: batches.to_vec(), trust };
            let id = (entry.topic_id, entry.partition);
            self.void(id, &mut redo);
            if matches!(part, Part::Run(_)) && !trust.foreign && !trust.cut {
                self.acknowledged(id, &redo.entry);
            }
            if redo.batches.is_empty() || (!matches!(part, Part::Run(_)) && !self.salvages(source, &redo)?) {
                return Ok(());
            }
            bytes += redo.batches.len();
            group.entry(id).or_default().push(redo);
            if bytes >= JOURNAL_REDO_BYTES {
                bytes = 0;
                self.group(source, std::mem::take(&mut group))?;
            }
            Ok(())
        })?;
        read.map_err(|_| io::Error::other("a journal changed while it was read"))?;
        self.group(source, group)?;
        Ok(keep)
    }

    /// Learns what was acknowledged: what is in the journal with nothing unsafe before it, and what it says was safe.
    fn acknowledged(&self, id: Id, entry: &Entry) {
        let upto = if entry.behind_gap { entry.safe } else { entry.safe.max(entry.next) };
        let cuts = self.facts.get(&id).map_or(&[][..], |facts| &facts.cuts);
        let upto =
            cuts.iter().filter(|(to, _)| *to > entry.generation).fold(upto, |upto, (_, cut)| upto.min(*cut));
        let known = &mut self.lock().total.acknowledged;
        let known = known.entry(id).or_default();
        *known = upto.max(*known);
    }

    /// Leaves out what was truncated after the entry was written.
    fn void(&self, id: Id, redo: &mut Redo) {
        let cuts = self.facts.get(&id).map_or(&[][..], |facts| &facts.cuts);
        for (generation, cut) in cuts {
            if *generation > redo.entry.generation && redo.entry.next > *cut {
                redo.cut_at(*cut);
            }
        }
    }

    /// Whether an entry of a damaged frame can be used: its batches have checksums of their own. If not, it is named.
    fn salvages(&self, source: &Source, redo: &Redo) -> io::Result<bool> {
        let Entry { topic_id, partition, next, .. } = redo.entry;
        let known = self.known.contains_key(&(topic_id, partition));
        let is_ours = known || !matches!((self.target)(topic_id, partition)?, Found::Gone);
        if is_ours && !redo.is_sound() && !redo.trust.torn {
            let text = format!(
                "{}: an entry of partition {partition} of topic {topic_id} is damaged; the records up to offset {} in it are lost unless they are in their segment",
                source.name(),
                next - 1
            );
            let total = &mut self.lock().total;
            if redo.trust.cut { total.warnings.push(text) } else { total.errors.push(text) }
        }
        Ok(is_ours && redo.is_sound())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names what of a journal cannot be read; whether it is to be kept.
    fn tell_damage(&self, source: &Source, trust: Trust) -> io::Result<bool> {
        let name = source.name();
        let Some(header) = source.header else { return self.tell_headless(source) };
        let mut done = self.lock();
        let mut keep = false;
        if let Some(found) = source.shortened(self.files, header)? {
            keep = true;
            done.total.errors.push(format!(
                "the journal {name} ends at byte {found}, and reached further: the records behind that may be lost without another word"
            ));
        }
        for part in &source.layout.parts {
            match part {
                Part::Run(_) => {}
                Part::Torn(Lost { from, to, .. }) => done.total.warnings.push(format!(
                    "{name}: the last write, at {from} to {to}, was cut off before it was acknowledged (or, which looks alike, is damaged): what of it is whole is used"
                )),
                Part::Lost(lost) => {
                    let text = lost.tell(&name);
                    if trust.cut {
                        done.total.warnings.push(format!("{text}: a power cut took what was not flushed"));
                        continue;
                    }
                    keep = true;
                    done.total.errors.push(format!(
                        "{text}; entries whose own checksums are right are used. The records of a partition that has no later entry may be lost without another word"
                    ));
                }
            }
        }
        Ok(keep)
    }

    /// Names a journal without a header; whether it is to be kept.
    fn tell_headless(&self, source: &Source) -> io::Result<bool> {
        let (name, blank) = (source.name(), is_blank(self.files, &source.path)?);
        let total = &mut self.lock().total;
        if blank {
            total.warnings.push(format!(
                "the journal {name} holds nothing, and is removed: an older Ottla that was killed while it made a journal leaves such a file (if all of a journal was wiped, what it held may be lost)"
            ));
        } else {
            total.errors.push(format!(
                "the header of the journal {name} is damaged: what it held cannot be written back, and which partitions that concerns is not known"
            ));
        }
        Ok(!blank)
    }

    /// Redoes entries, each partition's on its own: they are written side by side, as most of it is waiting for the disk.
    fn group(&mut self, source: &Source, group: BTreeMap<Id, Vec<Redo>>) -> io::Result<()> {
        let mut work = Vec::new();
        for (id, mut entries) in group {
            let known = match self.known.remove(&id) {
                Some(known) => known,
                None => self.open(source, id, &entries)?,
            };
            match known {
                Some(known) => {
                    entries.sort_by_key(|redo| redo.entry.next);
                    work.push((id, known, entries));
                }
                None => {
                    self.known.insert(id, None);
                }
            }
        }
        let back = Mutex::new(Vec::new());
        side_by_side(self.files, work, |(id, mut known, entries)| {
            let goes_on = self.partition(source, id, &mut known, &entries)?;
            known.close();
            let mut back = back.lock().unwrap_or_else(PoisonError::into_inner);
            back.push((id, goes_on.then_some(known)));
            Ok(())
        })?;
        self.known.extend(back.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn open(&self, source: &Source, id: Id, entries: &[Redo]) -> io::Result<Option<Known>> {
        let safe = self.facts.get(&id).map_or(-1, |facts| facts.safe);
        Ok(match (self.target)(id.0, id.1)? {
            Found::Here(target) => Some(Known::new(target, safe)),
            Found::Gone => {
                self.lock().total.gone += entries.len() as u64;
                None
            }
            Found::Missing(why) => {
                if let Some(redo) = entries.first() {
                    self.lock().unfit(source, id, redo, &why);
                }
                None
            }
        })
    }

    fn partition(&self, source: &Source, id: Id, known: &mut Known, entries: &[Redo]) -> io::Result<bool> {
        let dir = known.target().dir.clone();
        known.redo(self.files, entries, &mut |redo, verdict| {
            let mut done = self.lock();
            match verdict {
                Verdict::There => {}
                Verdict::Written => {
                    done.total.entries += 1;
                    done.total.bytes += redo.batches.len() as u64;
                    done.total.changed.insert(id);
                }
                Verdict::Unacknowledged => done.total.unacknowledged += 1,
                Verdict::Unfit(why) => done.unfit(source, id, redo, &why),
                Verdict::BehindCut(from) => {
                    let upto = redo.entry.next - 1;
                    let text = format!(
                        "{}: a power cut took records from offset {from} on, so those up to offset {upto} that were acknowledged without a flush are gone",
                        dir.display()
                    );
                    done.cut.insert(id, text);
                }
            }
        })
    }
}

impl Done {
    fn unfit(&mut self, source: &Source, id: Id, redo: &Redo, why: &str) {
        let first = redo.base().unwrap_or(redo.entry.next);
        let stays_offline = !redo.trust.foreign;
        let text = format!(
            "acknowledged records from offset {first} on, at position {} of segment {}, are in the journal and cannot be written back: {why}",
            redo.entry.position, redo.entry.segment
        );
        self.unfit.entry(source.path.clone()).or_default().push((id, text, stays_offline));
    }
}
