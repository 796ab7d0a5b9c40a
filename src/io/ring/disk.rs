//! Disk operations of a ring. Buffers stay with their operation until its last completion.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use bytes::Bytes;
use io_uring::{opcode, types};

use super::super::buf::AlignedBuf;
use super::super::file::File;
use super::super::os_files::OsFile;
use super::super::world::{DiskOutcome, Token, assert_aligned};
use super::reactor::{Done, Op, Reactor};
use crate::base::limits::BLOCK_BYTES;

/// A read in flight.
pub(super) struct Reading {
    file: File,
    fd: RawFd,
    offset: u64,
    len: usize,
    buf: AlignedBuf,
    done: usize,
    token: Token,
}

/// A write in flight.
pub(super) struct Writing {
    file: File,
    fd: RawFd,
    offset: u64,
    bytes: Bytes,
    done: usize,
    /// Flushed before the completion.
    durable: bool,
    token: Token,
    /// Shared with the other part of what was one write: the part that ends first leaves its result here.
    joined: Option<Rc<Cell<Option<io::Result<()>>>>>,
}

fn os_file(file: &File) -> io::Result<&OsFile> {
    let foreign = || io::Error::new(io::ErrorKind::InvalidInput, "a file of another world");
    file.handle::<OsFile>().ok_or_else(foreign)
}

/// What a flush ends.
#[derive(Clone, Copy)]
pub(super) enum Synced {
    /// Itself.
    File,
    /// A durable write.
    Write,
}

fn descriptor(file: &File) -> io::Result<RawFd> {
    os_file(file).map(OsFile::raw)
}

/// A completion's result: a count, or an error. None means: try again.
pub(super) fn outcome(result: i32) -> Option<io::Result<usize>> {
    match result {
        0.. => Some(Ok(result as usize)),
        code if code == -libc::EINTR || code == -libc::EAGAIN => None,
        code => Some(Err(io::Error::from_raw_os_error(-code))),
    }
}

impl Reactor {
    pub(super) fn read(&mut self, file: &File, offset: u64, len: usize, token: Token) {
        assert_aligned(offset, len, 0);
        match descriptor(file) {
            Ok(fd) => {
                let buf = AlignedBuf::with_capacity(len);
                self.read_on(Box::new(Reading { file: file.clone(), fd, offset, len, buf, done: 0, token }));
            }
            Err(e) => self.out.push(Done::Disk(token, DiskOutcome::Read(Err(e)))),
        }
    }

    fn read_on(&mut self, mut reading: Box<Reading>) {
        let place = self.place(reading.buf.start(), reading.len);
        self.start(Op::Read(reading), |op| {
            let Op::Read(r) = op else { unreachable!("just made") };
            let rest = r.buf.start().wrapping_add(r.done); // `done` is below `len`, which fits
            let (fd, len, offset) = (types::Fd(r.fd), (r.len - r.done) as u32, r.offset + r.done as u64);
            match place {
                Some(place) => opcode::ReadFixed::new(fd, rest, len, place).offset(offset).build(),
                None => opcode::Read::new(fd, rest, len).offset(offset).build(),
            }
        });
    }

    pub(super) fn read_ended(&mut self, mut reading: Box<Reading>, result: i32) {
        let ended = match outcome(result) {
            None => false,
            Some(Ok(n)) => {
                reading.done += n;
                // Short within a block: the end of the file. Short at a block's end: perhaps not.
                n == 0 || reading.done == reading.len || !n.is_multiple_of(BLOCK_BYTES)
            }
            Some(Err(e)) => {
                self.out.push(Done::Disk(reading.token, DiskOutcome::Read(Err(e))));
                return;
            }
        };
        if !ended {
            self.read_on(reading);
            return;
        }
        let Reading { file, mut buf, done, token, .. } = *reading;
        drop(file);
        // SAFETY: the kernel has reported so many bytes, one piece after the other from the start.
        unsafe { buf.set_written(done) };
        self.out.push(Done::Disk(token, DiskOutcome::Read(Ok(Bytes::from_owner(buf)))));
    }

    pub(super) fn write(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        self.write_new(file, offset, bytes, false, token);
    }

    pub(super) fn write_durable(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        self.write_new(file, offset, bytes, true, token);
    }

    /// What begins in the block that was written last and goes on behind it is written in two parts. In one it would
    /// cross from blocks that hold data to reserved ones that do not, which ext4 only does under its exclusive lock, and
    /// so on a worker thread of the kernel.
    fn write_new(&mut self, file: &File, offset: u64, bytes: Bytes, durable: bool, token: Token) {
        assert_aligned(offset, bytes.len(), bytes.as_ptr() as usize);
        let (fd, before) = match os_file(file) {
            Ok(os_file) => (os_file.raw(), os_file.write_until(offset + bytes.len() as u64)),
            Err(e) => return self.out.push(Done::Disk(token, DiskOutcome::Written(Err(e)))),
        };
        let new = |offset, bytes, joined| {
            let file = file.clone();
            Box::new(Writing { file, fd, offset, bytes, done: 0, durable, token, joined })
        };
        let block = BLOCK_BYTES as u64;
        if bytes.len() > BLOCK_BYTES && offset + block == before {
            let joined = Rc::new(Cell::new(None));
            let (head, rest) = (bytes.slice(..BLOCK_BYTES), bytes.slice(BLOCK_BYTES..));
            self.write_on(new(offset, head, Some(Rc::clone(&joined))));
            self.write_on(new(offset + block, rest, Some(joined)));
        } else {
            self.write_on(new(offset, bytes, None));
        }
    }

    fn write_on(&mut self, writing: Box<Writing>) {
        let place = self.place(writing.bytes.as_ptr(), writing.bytes.len());
        self.start(Op::Write(writing), |op| {
            let Op::Write(w) = op else { unreachable!("just made") };
            let rest = &w.bytes[w.done..];
            let (fd, start, len) = (types::Fd(w.fd), rest.as_ptr(), rest.len() as u32);
            let offset = w.offset + w.done as u64;
            match place {
                Some(place) => opcode::WriteFixed::new(fd, start, len, place).offset(offset).build(),
                None => opcode::Write::new(fd, start, len).offset(offset).build(),
            }
        });
    }

    pub(super) fn write_ended(&mut self, mut writing: Box<Writing>, result: i32) {
        let ended = match outcome(result) {
            None => None,
            Some(Ok(n)) => {
                let done = writing.done + n;
                if done == writing.bytes.len() {
                    Some(Ok(()))
                } else if n < BLOCK_BYTES {
                    // Not a single block: the device will not take the rest either.
                    Some(Err(io::ErrorKind::WriteZero.into()))
                } else {
                    writing.done = done - done % BLOCK_BYTES; // direct I/O continues at a block
                    None
                }
            }
            Some(Err(e)) => Some(Err(e)),
        };
        match ended {
            None => self.write_on(writing),
            Some(result) => {
                let Writing { file, bytes, durable, token, joined, .. } = *writing;
                drop(bytes);
                let both = match joined {
                    None => Some(result),
                    Some(joined) => match joined.take() {
                        None => {
                            joined.set(Some(result));
                            None
                        }
                        Some(other) => Some(other.and(result)),
                    },
                };
                let Some(result) = both else { return };
                if durable && result.is_ok() {
                    // Not RWF_DSYNC: its flush runs on a kernel thread of the core that took the disk's interrupt,
                    // which had to wait for that core's next tick (4 ms) while a process spun there.
                    return self.sync_as(&file, token, Synced::Write);
                }
                drop(file);
                self.out.push(Done::Disk(token, DiskOutcome::Written(result)));
            }
        }
    }

    pub(super) fn sync(&mut self, file: &File, token: Token) {
        self.sync_as(file, token, Synced::File);
    }

    fn sync_as(&mut self, file: &File, token: Token, what: Synced) {
        match descriptor(file) {
            Ok(fd) => {
                self.start(Op::Sync(file.clone(), token, what), |_| {
                    opcode::Fsync::new(types::Fd(fd)).flags(types::FsyncFlags::DATASYNC).build()
                });
            }
            Err(e) => self.out.push(Done::Disk(token, what.outcome(Err(e)))),
        }
    }

    pub(super) fn sync_ended(&mut self, file: File, token: Token, what: Synced, result: i32) {
        match outcome(result) {
            None => self.sync_as(&file, token, what),
            Some(result) => {
                drop(file);
                self.out.push(Done::Disk(token, what.outcome(result.map(|_| ()))));
            }
        }
    }
}

impl Synced {
    fn outcome(self, result: io::Result<()>) -> DiskOutcome {
        match self {
            Synced::File => DiskOutcome::Synced(result),
            Synced::Write => DiskOutcome::Written(result),
        }
    }
}
