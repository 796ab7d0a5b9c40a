//! The simulated disk: files by name, and what a power cut would forget.
//!
//! A completed write survives the end of the process. A power cut makes each 512-byte sector that was not flushed
//! since fall back, by the seed, to any of its unflushed states; a file's length likewise. Names (create, rename,
//! remove) form a journal: [`Files::sync_dir`] makes everything up to the last change in that directory durable, and
//! a power cut keeps some prefix of the rest. A flush of a file flushes none of its names.

mod control;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits::FILE_NAME_BYTES_MAX;
use crate::base::prng::Prng;
use crate::io::file::{DirEntry, File, Files, OpenMode};

/// What a power cut tears: smaller than a block, as on real devices.
pub const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// Kinds of operations that a fault can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Reading a file's bytes.
    Read,
    /// Writing a file's bytes; the failed write leaves some of its sectors written.
    Write,
    /// Flushing a file; some unflushed sectors fall back at once, as from a write cache that was dropped.
    Sync,
    /// Opening or creating.
    Open,
    /// Reserving space or setting the length.
    Allocate,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Flushing a directory.
    SyncDir,
}

/// A fault that was asked for.
#[derive(Clone, Debug)]
pub struct DiskFault {
    /// Matches paths that contain this text; empty matches all.
    pub path_contains: String,
    /// The kind of operation that fails.
    pub op: DiskOp,
    /// What it fails with, such as `libc::EIO`.
    pub errno: i32,
    /// Matching operations that still succeed before.
    pub skip: u32,
    /// Matching operations that fail then.
    pub times: u32,
}

/// How the disk behaves at random and in time.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// The shortest operation.
    pub latency_ns_min: u64,
    /// The longest operation that is not slow.
    pub latency_ns_max: u64,
    /// One in so many operations is slow; zero for none.
    pub slow_one_in: u64,
    /// How long a slow operation takes.
    pub slow_ns: u64,
    /// One in so many reads, writes and flushes fails with EIO; zero for none.
    pub error_one_in: u64,
    /// Space on the device.
    pub capacity_bytes: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        DiskConfig {
            latency_ns_min: 20_000,
            latency_ns_max: 400_000,
            slow_one_in: 0,
            slow_ns: 50_000_000,
            error_one_in: 0,
            capacity_bytes: u64::MAX,
        }
    }
}

/// The disk of a simulated machine. Clones share it; it outlives kills and power cuts.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// An open simulated file.
struct SimFile {
    inode: u64,
    life: u64,
    buffered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

enum NameChange {
    Link(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

type Names = BTreeMap<PathBuf, Node>;
type Sector = Option<Box<[u8; SECTOR_BYTES]>>; // None is all zeros

/// Earlier states of something that were not flushed since, oldest first, each with the change that ended it.
type Unflushed<T> = Vec<(u64, T)>;

#[derive(Default)]
struct Inode {
    path: PathBuf,
    len: u64,
    reserved: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    sectors: BTreeMap<u64, Unflushed<Sector>>,
    lens: Unflushed<u64>,
    /// Pages of it wait to be written back: a write past the page cache may collide with them.
    dirty_pages: bool,
}

struct State {
    prng: Prng,
    config: DiskConfig,
    names: Names,
    durable: Names,
    journal: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    changes: u64,
    bytes_read: u64,
    life: u64,
    boots: u128,
    faults: Vec<DiskFault>,
    /// Operations of this process that still happen.
    calls_left: u64,
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// Whether a file system takes the name.
fn takes_name(path: &Path) -> io::Result<()> {
    let length = path.file_name().map_or(0, std::ffi::OsStr::len);
    if length > FILE_NAME_BYTES_MAX { Err(errno(libc::ENAMETOOLONG)) } else { Ok(()) }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/") || path == Path::new(".")
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Unlink(path) => names.retain(|p, _| !p.starts_with(path)),
            NameChange::Rename(from, to) => {
                let moved: Vec<PathBuf> = names.keys().filter(|p| p.starts_with(from)).cloned().collect();
                names.retain(|p, _| p.starts_with(from) || !p.starts_with(to));
                for old in moved {
                    let Some(node) = names.remove(&old) else { continue };
                    let rest = old.strip_prefix(from).unwrap_or(Path::new(""));
                    let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    names.insert(new, node);
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) => parent(path) == dir,
            NameChange::Rename(from, to) => parent(from) == dir || parent(to) == dir,
        }
    }
}

impl Inode {
    fn sector(&self, number: u64) -> Sector {
        let at = number * SECTOR_BYTES as u64;
        let page = self.pages.get(&(at / PAGE_BYTES as u64))?;
        let start = (at % PAGE_BYTES as u64) as usize;
        let bytes: [u8; SECTOR_BYTES] = page[start..start + SECTOR_BYTES].try_into().ok()?;
        (bytes != [0; SECTOR_BYTES]).then(|| Box::new(bytes))
    }

    fn put_sector(&mut self, number: u64, content: &Sector) {
        let at = number * SECTOR_BYTES as u64;
        let start = (at % PAGE_BYTES as u64) as usize;
        let number = at / PAGE_BYTES as u64;
        if content.is_none() && !self.pages.contains_key(&number) {
            return;
        }
        let page = self.pages.entry(number).or_insert_with(|| Box::new([0; PAGE_BYTES]));
        match content {
            Some(bytes) => page[start..start + SECTOR_BYTES].copy_from_slice(&bytes[..]),
            None => page[start..start + SECTOR_BYTES].fill(0),
        }
    }

    fn note_sector(&mut self, number: u64, change: u64) {
        let before = self.sector(number);
        self.sectors.entry(number).or_default().push((change, before));
    }

    fn change_len(&mut self, len: u64, change: u64) {
        if len != self.len {
            self.lens.push((change, self.len));
            self.len = len;
        }
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(offset.saturating_add(len as u64));
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let start = (at % PAGE_BYTES as u64) as usize;
            let n = (PAGE_BYTES - start).min((end - at) as usize);
            match self.pages.get(&(at / PAGE_BYTES as u64)) {
                Some(page) => out.extend_from_slice(&page[start..start + n]),
                None => out.extend_from_slice(&[0; PAGE_BYTES][..n]),
            }
            at += n as u64;
        }
        out
    }

    /// Writes the sectors for which `keep` says so.
    fn write(&mut self, offset: u64, bytes: &[u8], change: u64, mut keep: impl FnMut() -> bool) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let in_sector = (at % SECTOR_BYTES as u64) as usize;
            let n = (SECTOR_BYTES - in_sector).min(bytes.len() - done);
            if keep() {
                let sector = at / SECTOR_BYTES as u64;
                self.note_sector(sector, change);
                let page =
                    self.pages.entry(at / PAGE_BYTES as u64).or_insert_with(|| Box::new([0; PAGE_BYTES]));
                let start = (at % PAGE_BYTES as u64) as usize;
                page[start..start + n].copy_from_slice(&bytes[done..done + n]);
                let len = self.len.max(at + n as u64);
                self.change_len(len, change);
            }
            done += n;
        }
    }

    fn set_len(&mut self, len: u64, change: u64) {
        if len < self.len {
            self.zero_from(len, change);
            self.dirty_pages |= !len.is_multiple_of(PAGE_BYTES as u64);
        }
        self.reserved = self.reserved.min(len);
        self.change_len(len, change);
    }

    /// Makes the bytes from `from` zero, as cutting a file off does.
    fn zero_from(&mut self, from: u64, change: u64) {
        let per_page = (PAGE_BYTES / SECTOR_BYTES) as u64;
        let pages: Vec<u64> = self.pages.range(from / PAGE_BYTES as u64..).map(|(n, _)| *n).collect();
        for sector in pages.iter().flat_map(|page| page * per_page..(page + 1) * per_page) {
            let start = sector * SECTOR_BYTES as u64;
            if start + SECTOR_BYTES as u64 <= from {
                continue;
            }
            let Some(mut content) = self.sector(sector) else { continue };
            self.note_sector(sector, change);
            content[from.saturating_sub(start) as usize..].fill(0);
            self.put_sector(sector, &Some(content));
        }
    }

    /// Makes every change up to `change` durable.
    fn flush(&mut self, change: u64) {
        self.dirty_pages = false;
        for versions in self.sectors.values_mut() {
            versions.retain(|(at, _)| *at > change);
        }
        self.sectors.retain(|_, versions| !versions.is_empty());
        self.lens.retain(|(at, _)| *at > change);
    }

    /// Lets what was not flushed fall back to a state that `choose(states)` picks; `states - 1` is the newest.
    fn fall_back(&mut self, mut choose: impl FnMut(usize) -> usize) {
        for (sector, versions) in std::mem::take(&mut self.sectors) {
            if let Some((_, content)) = versions.get(choose(versions.len() + 1)) {
                self.put_sector(sector, content);
            }
        }
        let lens = std::mem::take(&mut self.lens);
        if let Some((_, len)) = lens.get(choose(lens.len() + 1)) {
            self.len = *len;
        }
        self.zero_from(self.len, 0);
        self.sectors.clear();
    }
}

impl State {
    fn node(&self, path: &Path) -> Option<Node> {
        if is_root(path) { Some(Node::Dir) } else { self.names.get(path).copied() }
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.journal.push(change);
    }

    fn inode(&mut self, file: &File) -> io::Result<u64> {
        let handle = file.handle::<SimFile>().ok_or_else(|| errno(libc::EBADF))?;
        if handle.life == self.life { Ok(handle.inode) } else { Err(errno(libc::EBADF)) }
    }

    /// Counts an operation; an error when the process is to have ended before it.
    fn call(&mut self) -> io::Result<()> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or_else(|| errno(libc::EIO))?;
        Ok(())
    }

    fn fails(&mut self, op: DiskOp, path: &Path) -> io::Result<()> {
        let text = path.to_string_lossy();
        for fault in self.faults.iter_mut().filter(|f| f.op == op && text.contains(&f.path_contains)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(errno(fault.errno));
            }
        }
        let at_random = matches!(op, DiskOp::Read | DiskOp::Write | DiskOp::Sync);
        if at_random && self.config.error_one_in > 0 && self.prng.one_in(self.config.error_one_in) {
            return Err(errno(libc::EIO));
        }
        Ok(())
    }

    fn fails_inode(&mut self, op: DiskOp, inode: u64) -> io::Result<()> {
        let path = self.inodes.get(&inode).map(|i| i.path.clone()).unwrap_or_default();
        self.fails(op, &path)
    }

    fn inode_mut(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| errno(libc::EBADF))
    }

    /// What is removed takes no space any more.
    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => self.inodes.get(inode),
            Node::Dir => None,
        });
        files.map(|i| i.len.max(i.reserved)).sum()
    }

    fn room_for(&self, inode: u64, end: u64) -> io::Result<()> {
        if self.config.capacity_bytes == u64::MAX {
            return Ok(());
        }
        let has = self.inodes.get(&inode).map_or(0, |i| i.len.max(i.reserved));
        let more = end.saturating_sub(has);
        if more > 0 && self.used().saturating_add(more) > self.config.capacity_bytes {
            return Err(errno(libc::ENOSPC));
        }
        Ok(())
    }

    fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(File, bool)> {
        self.call()?;
        self.fails(DiskOp::Open, path)?;
        let (inode, made) = match self.node(path) {
            Some(Node::File(inode)) => (inode, false),
            Some(Node::Dir) => return Err(errno(libc::EISDIR)),
            None if !matches!(mode, OpenMode::DirectCreate | OpenMode::Buffered) => {
                return Err(errno(libc::ENOENT));
            }
            None if self.node(&parent(path)) != Some(Node::Dir) => return Err(errno(libc::ENOENT)),
            None => {
                takes_name(path)?;
                (self.make_file(path), true)
            }
        };
        Ok((File::new(SimFile { inode, life: self.life, buffered: mode == OpenMode::Buffered }), made))
    }

    fn make_file(&mut self, path: &Path) -> u64 {
        self.next_inode += 1;
        let inode = self.next_inode;
        self.inodes.insert(inode, Inode { path: path.to_path_buf(), ..Inode::default() });
        self.change_names(NameChange::Link(path.to_path_buf(), Node::File(inode)));
        inode
    }

    fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        self.room_for(inode, offset + bytes.len() as u64)?;
        if let Err(e) = self.fails_inode(DiskOp::Write, inode) {
            self.write_torn(inode, offset, bytes);
            return Err(e);
        }
        let change = self.next_change();
        self.inode_mut(inode)?.write(offset, bytes, change, || true);
        Ok(())
    }

    /// Writes some of the sectors: a write that never completed.
    fn write_torn(&mut self, inode: u64, offset: u64, bytes: &[u8]) {
        let change = self.next_change();
        let mut prng = Prng::new(self.prng.next_u64());
        let style = prng.below(4);
        let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
        let first = prng.below(sectors + 1);
        let mut number = 0;
        let keep = || {
            number += 1;
            match style {
                0 => true,
                1 => false,
                2 => number <= first,
                _ => prng.one_in(2),
            }
        };
        if let Some(node) = self.inodes.get_mut(&inode) {
            node.write(offset, bytes, change, keep);
        }
    }

    fn flush(&mut self, inode: u64, upto: u64) -> io::Result<()> {
        self.call()?;
        let failed = self.fails_inode(DiskOp::Sync, inode);
        let mut prng = Prng::new(self.prng.next_u64());
        let node = self.inode_mut(inode)?;
        match failed {
            Ok(()) => node.flush(upto),
            Err(_) => node.fall_back(|states| prng.below(states as u64) as usize),
        }
        failed
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.fails(DiskOp::SyncDir, dir)?;
        if self.node(dir) != Some(Node::Dir) {
            return Err(errno(libc::ENOENT));
        }
        let upto = self.journal.iter().rposition(|c| c.is_in(dir)).map_or(0, |i| i + 1);
        for change in self.journal.drain(..upto) {
            change.apply(&mut self.durable);
        }
        Ok(())
    }

    /// Flushes every file and every name.
    fn sync_all(&mut self) -> io::Result<()> {
        let upto = self.changes;
        let unflushed = self.inodes.iter().filter(|(_, i)| !i.sectors.is_empty() || !i.lens.is_empty());
        let inodes: Vec<u64> = unflushed.map(|(number, _)| *number).collect();
        inodes.into_iter().try_for_each(|inode| self.flush(inode, upto))?;
        for change in std::mem::take(&mut self.journal) {
            change.apply(&mut self.durable);
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        self.fails(DiskOp::Rename, from)?;
        if self.node(from).is_none() || self.node(&parent(to)) != Some(Node::Dir) {
            return Err(errno(libc::ENOENT));
        }
        takes_name(to)?;
        if from == to {
            return Ok(());
        }
        if self.names.keys().any(|p| p != to && p.starts_with(to)) {
            return Err(errno(libc::ENOTEMPTY));
        }
        self.change_names(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        let moved: Vec<(PathBuf, Node)> =
            self.names.iter().filter(|(p, _)| p.starts_with(to)).map(|(p, n)| (p.clone(), *n)).collect();
        for (path, node) in moved {
            if let Node::File(inode) = node
                && let Some(inode) = self.inodes.get_mut(&inode)
            {
                inode.path = path;
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path, wants_dir: bool) -> io::Result<()> {
        self.call()?;
        self.fails(DiskOp::Remove, path)?;
        match self.node(path) {
            None => Ok(()),
            Some(Node::Dir) if !wants_dir => Err(errno(libc::EISDIR)),
            Some(Node::File(_)) if wants_dir => Err(errno(libc::ENOTDIR)),
            Some(_) => {
                self.change_names(NameChange::Unlink(path.to_path_buf()));
                Ok(())
            }
        }
    }

    /// Forgets handles, and files that no name leads to any more.
    fn end_life(&mut self) {
        self.life += 1;
        self.calls_left = u64::MAX;
        let linked = |names: &Names| -> Vec<u64> {
            names.values().filter_map(|n| if let Node::File(i) = n { Some(*i) } else { None }).collect()
        };
        let mut kept: BTreeSet<u64> = linked(&self.names).into_iter().collect();
        kept.extend(linked(&self.durable));
        kept.extend(self.journal.iter().filter_map(|c| match c {
            NameChange::Link(_, Node::File(inode)) => Some(*inode),
            _ => None,
        }));
        self.inodes.retain(|inode, _| kept.contains(inode));
        self.inodes.values_mut().for_each(|inode| inode.dirty_pages = false);
    }

    fn power_cut(&mut self) {
        self.boots += 1;
        let survive = self.prng.below(self.journal.len() as u64 + 1) as usize;
        for change in self.journal.drain(..).take(survive) {
            change.apply(&mut self.durable);
        }
        self.names = self.durable.clone();
        let mut prng = Prng::new(self.prng.next_u64());
        let style = prng.below(4);
        for inode in self.inodes.values_mut() {
            inode.fall_back(|states| match style {
                0 => states - 1,
                1 => 0,
                _ => prng.below(states as u64) as usize,
            });
        }
        self.end_life();
        for (path, node) in &self.names {
            if let Node::File(inode) = node
                && let Some(inode) = self.inodes.get_mut(inode)
            {
                inode.path.clone_from(path);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64, config: DiskConfig) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(State {
                prng: Prng::new(seed),
                config,
                names: Names::new(),
                durable: Names::new(),
                journal: Vec::new(),
                inodes: BTreeMap::new(),
                next_inode: 0,
                changes: 0,
                bytes_read: 0,
                life: 0,
                boots: 1,
                faults: Vec::new(),
                calls_left: u64::MAX,
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn latency_ns(&self, prng: &mut Prng) -> u64 {
        let state = self.lock();
        let c = &state.config;
        if c.slow_one_in > 0 && prng.one_in(c.slow_one_in) {
            return c.slow_ns;
        }
        c.latency_ns_min + prng.below(c.latency_ns_max.saturating_sub(c.latency_ns_min) + 1)
    }

    /// The newest change: what a flush that starts now will cover.
    pub(super) fn newest_change(&self) -> u64 {
        self.lock().changes
    }

    pub(super) fn flush_upto(&self, file: &File, upto: u64) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        state.flush(inode, upto)
    }

    pub(super) fn write_torn(&self, file: &File, offset: u64, bytes: &[u8]) {
        let mut state = self.lock();
        if state.calls_left > 0
            && let Ok(inode) = state.inode(file)
        {
            state.write_torn(inode, offset, bytes);
        }
    }

    pub(super) fn open_or_create(&self, path: &Path, mode: OpenMode) -> io::Result<(File, bool)> {
        self.lock().open(path, mode)
    }

    /// The process has ended: handles are gone, what was written is still there.
    pub(super) fn kill(&self) {
        self.lock().end_life();
    }

    pub(super) fn power_cut(&self) {
        self.lock().power_cut();
    }
}

impl Files for SimDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.lock();
        if state.node(dir) != Some(Node::Dir) {
            return Err(errno(libc::ENOENT));
        }
        let entries =
            state.names.iter().filter(|(path, _)| parent(path) == dir).map(|(path, node)| DirEntry {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                is_dir: *node == Node::Dir,
                len: match node {
                    Node::Dir => 0,
                    Node::File(inode) => state.inodes.get(inode).map_or(0, |i| i.len),
                },
            });
        let mut entries: Vec<DirEntry> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> bool {
        self.lock().node(path).is_some()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        let mut missing: Vec<&Path> = dir.ancestors().filter(|d| !is_root(d)).collect();
        missing.reverse();
        for dir in missing {
            match state.node(dir) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(errno(libc::ENOTDIR)),
                None => {
                    takes_name(dir)?;
                    state.change_names(NameChange::Link(dir.to_path_buf(), Node::Dir));
                }
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = self.len(&file)?;
        self.read_at(&file, 0, len as usize)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary, OpenMode::DirectCreate)?;
        self.set_len(&file, 0)?;
        self.write_at(&file, 0, bytes)?;
        self.sync(&file)?;
        self.rename(&temporary, path)?;
        self.sync_dir(&parent(path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.open(path, OpenMode::DirectCreate)?;
        self.set_len(&file, 0)?;
        self.write_at(&file, 0, bytes)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        self.open_or_create(path, mode).map(|(file, _)| file)
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        Ok(state.inode_mut(inode)?.len)
    }

    fn read_at(&self, file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        state.call()?;
        state.fails_inode(DiskOp::Read, inode)?;
        let bytes = state.inode_mut(inode)?.read(offset, len);
        state.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        let buffered = file.handle::<SimFile>().is_some_and(|file| file.buffered);
        state.inode_mut(inode)?.write_pages(buffered, offset, bytes.len());
        state.write(inode, offset, bytes)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        state.call()?;
        state.fails_inode(DiskOp::Allocate, inode)?;
        state.room_for(inode, len)?;
        let change = state.next_change();
        state.inode_mut(inode)?.set_len(len, change);
        Ok(())
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(file)?;
        state.call()?;
        state.fails_inode(DiskOp::Allocate, inode)?;
        state.room_for(inode, len)?;
        let change = state.next_change();
        let node = state.inode_mut(inode)?;
        node.reserved = node.reserved.max(len);
        let len = node.len.max(len);
        node.change_len(len, change);
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let upto = self.newest_change();
        self.flush_upto(file, upto)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.node(dir) != Some(Node::Dir) {
            return Err(errno(libc::ENOENT));
        }
        state.sync_all()
    }

    fn free_bytes(&self, _path: &Path) -> u64 {
        let state = self.lock();
        match state.config.capacity_bytes {
            u64::MAX => u64::MAX,
            capacity => capacity.saturating_sub(state.used()),
        }
    }

    fn boot_id(&self) -> u128 {
        self.lock().boots
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.lock().remove(path, false)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.lock().remove(dir, true)
    }
}
