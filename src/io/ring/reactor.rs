//! One core's ring: submissions, the wait, and the table of operations in flight.
//!
//! Every operation has a slot in [`Reactor::ops`] that owns what the kernel reads or writes, and keeps it until the
//! operation's last completion. So nothing is freed under the kernel, and no completion can meet a stranger's slot.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;

use super::super::clock;
use super::super::file::File;
use super::super::world::{ConnId, DiskOutcome, ListenerId, SocketEvent, Token};
use super::disk::{Reading, Synced, Writing};
use super::error::RingError;
use super::fixed::Fixed;
use super::provided::Provided;
use super::sockets::{Admission, Conn, Listener, Notice, Sending};
use crate::base::Ticks;
use crate::base::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};

/// Completions that concern no operation: wake-ups from other cores, and cancellations.
const NO_OPERATION: u64 = u64::MAX;

/// How long a closing ring waits for its operations before it gives their memory up for lost.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// The same when all that is left are bytes that clients have not acknowledged.
const NOTICE_WAIT: Duration = Duration::from_millis(200);

/// An operation in the kernel's hands.
pub(super) enum Op {
    /// Reading the core's eventfd, into this.
    Wake(Box<[u8; 8]>),
    /// Accepting, many times.
    Accept(ListenerId),
    /// Receiving small frames, many times, into provided buffers.
    Recv(usize),
    /// Ending a connection's receive early.
    EndRecv(usize, ConnId),
    /// Receiving into the frame's own buffer.
    RecvInto(usize, Vec<u8>),
    /// Waiting for the peer's end while nothing is received.
    Watch(usize),
    /// Sending.
    Send(usize, Box<Sending>),
    /// Sent without a copy; the kernel still reads these bytes.
    Notice(Notice),
    /// Reading a file.
    Read(Box<Reading>),
    /// Writing a file.
    Write(Box<Writing>),
    /// Flushing a file.
    Sync(File, Token, Synced),
}

/// How long a system call may wait for a completion.
#[derive(Clone, Copy)]
enum Wait {
    Not,
    Endless,
    AtMost(Duration),
}

/// What a turn has brought.
pub(super) enum Done {
    Disk(Token, DiskOutcome),
    Socket(SocketEvent),
}

pub(super) struct Reactor {
    pub(super) ring: Option<IoUring>, // taken when it is dropped
    pub(super) provided: Option<Provided>,
    pub(super) ops: Slab<Op>,
    pub(super) out: Vec<Done>,
    pub(super) conns: Slab<Conn>,
    #[allow(clippy::vec_box)] // an operation owns a box
    pub(super) spare_sends: Vec<Box<Sending>>,
    pub(super) conns_made: u64,
    /// Sends with a part of so many bytes are not copied; `usize::MAX` for none.
    pub(super) zero_copy_bytes_min: usize,
    /// Sends of that kind so far.
    pub(super) sent_without_copy: u64,
    /// Bytes of all [`Op::Notice`].
    pub(super) notice_bytes: usize,
    pub(super) listeners: Vec<Listener>,
    pub(super) listeners_made: u32,
    pub(super) admission: Admission,
    scratch: Vec<cqueue::Entry>,
    pub(super) fixed: Fixed,
    wake_fd: RawFd,
    pub(super) now: Ticks,
    closing: bool,
}

impl Reactor {
    /// Sets up the ring. The calling thread is the only one that may use it.
    pub(super) fn new(wake_fd: RawFd) -> Result<Reactor, RingError> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(RING_COMPLETIONS)
            .dontfork()
            .build(RING_SUBMISSIONS)
            .map_err(|e| RingError::setup(&e))?;
        let provided = Provided::register(&ring).map_err(|e| RingError::buffers(&e))?;
        let mut reactor = Reactor {
            ring: Some(ring),
            provided: Some(provided),
            ops: Slab::new(),
            out: Vec::new(),
            conns: Slab::new(),
            spare_sends: Vec::new(),
            conns_made: 0,
            zero_copy_bytes_min: usize::MAX,
            sent_without_copy: 0,
            notice_bytes: 0,
            listeners: Vec::new(),
            listeners_made: 0,
            admission: Admission::default(),
            scratch: Vec::new(),
            fixed: Fixed::default(),
            wake_fd,
            now: clock::monotonic(),
            closing: false,
        };
        reactor.make_places();
        reactor.listen_for_wakes();
        Ok(reactor)
    }

    pub(super) fn ring(&mut self) -> &mut IoUring {
        self.ring.as_mut().expect("the ring lives until the reactor is dropped")
    }

    pub(super) fn ring_fd(&mut self) -> RawFd {
        self.ring().as_raw_fd()
    }

    fn listen_for_wakes(&mut self) {
        let fd = types::Fd(self.wake_fd);
        self.start(Op::Wake(Box::new([0; 8])), |op| {
            let Op::Wake(into) = op else { unreachable!("just made") };
            opcode::Read::new(fd, into.as_mut_ptr(), 8).build()
        });
    }

    /// Gives an operation a slot and queues its submission.
    pub(super) fn start(&mut self, op: Op, submission: impl FnOnce(&mut Op) -> squeue::Entry) -> usize {
        let key = self.ops.insert(op);
        let entry = submission(&mut self.ops[key]).user_data(key as u64);
        self.queue(&entry);
        key
    }

    /// Queues a submission whose success nobody waits for.
    pub(super) fn start_and_forget(&mut self, entry: squeue::Entry) {
        self.queue(&entry.user_data(NO_OPERATION).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// Asks the kernel to end an operation early; its own last completion still comes.
    pub(super) fn cancel(&mut self, key: usize) {
        self.start_and_forget(opcode::AsyncCancel::new(key as u64).build());
    }

    /// Wakes another core's ring.
    pub(super) fn wake_ring(&mut self, ring: RawFd) {
        self.start_and_forget(opcode::MsgRingData::new(types::Fd(ring), 0, NO_OPERATION, None).build());
    }

    fn queue(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: what the entry points to is owned by its slot in `ops` until its last completion.
            let pushed = unsafe { self.ring().submission().push(entry) };
            if pushed.is_ok() {
                return;
            }
            self.enter(Wait::Not);
        }
    }

    /// Whether the kernel must be asked: something is queued here, or has happened there without being reported.
    fn must_enter(&mut self) -> bool {
        let queue = self.ring().submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether completions are at hand, or events that never went through the kernel.
    pub(super) fn has_events(&mut self) -> bool {
        !self.out.is_empty() || !self.ring().completion().is_empty()
    }

    /// Submits what is queued, if anything is, without waiting.
    pub(super) fn submit(&mut self) {
        if self.must_enter() {
            self.enter(Wait::Not);
        }
    }

    /// Submits what is queued and waits for one completion or until `until`.
    pub(super) fn submit_and_wait(&mut self, until: Ticks) {
        let until = until.min(self.next_accept_retry());
        if until == Ticks::NEVER {
            self.enter(Wait::Endless);
            return;
        }
        let left = until.after(clock::monotonic());
        if !left.is_zero() {
            self.enter(Wait::AtMost(left));
        } else if self.must_enter() {
            self.enter(Wait::Not);
        }
    }

    /// One system call.
    fn enter(&mut self, wait: Wait) {
        let submitter = self.ring().submitter();
        let result = match wait {
            Wait::Not => submitter.submit_and_wait(0),
            Wait::Endless => submitter.submit_and_wait(1),
            Wait::AtMost(wait) => {
                let time = types::Timespec::from(wait);
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&time))
            }
        };
        match result.map_err(|e| e.raw_os_error().unwrap_or(0)) {
            // A signal, the end of the wait, a full completion queue: the caller looks at what there is.
            Ok(_) | Err(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {}
            Err(code) => panic!("io_uring_enter: {}", io::Error::from_raw_os_error(code)),
        }
    }

    /// Handles every completion at hand.
    pub(super) fn reap(&mut self) {
        self.now = clock::monotonic();
        self.empty_places();
        let mut entries = std::mem::take(&mut self.scratch);
        entries.extend(self.ring().completion());
        for entry in entries.drain(..) {
            if entry.user_data() != NO_OPERATION {
                self.complete(entry.user_data() as usize, entry.result(), entry.flags());
            }
        }
        self.scratch = entries;
        if let Some(provided) = &mut self.provided {
            provided.publish();
        }
        self.retry_accepts();
    }

    fn complete(&mut self, key: usize, result: i32, flags: u32) {
        if cqueue::more(flags) {
            match self.ops.get(key) {
                Some(Op::Accept(listener)) => self.accepted(*listener, result),
                Some(Op::Recv(conn)) => self.received(*conn, result, flags),
                Some(Op::Send(..)) => self.send_taken(key, result),
                _ => {}
            }
            return;
        }
        match self.ops.try_remove(key) {
            Some(Op::Wake(_)) => {
                if !self.closing {
                    self.listen_for_wakes();
                }
            }
            Some(Op::Accept(listener)) => self.accept_ended(listener, result),
            Some(Op::Recv(conn)) => self.recv_ended(conn, result, flags),
            Some(Op::EndRecv(conn, id)) => self.end_recv_ended(conn, id, result),
            Some(Op::RecvInto(conn, buffer)) => self.recv_into_ended(conn, buffer, result),
            Some(Op::Watch(conn)) => self.watch_ended(conn, result),
            Some(Op::Send(conn, sending)) => self.send_ended(conn, sending, result),
            Some(Op::Notice(notice)) => self.noticed(notice, result),
            Some(Op::Read(reading)) => self.read_ended(reading, result),
            Some(Op::Write(writing)) => self.write_ended(writing, result),
            Some(Op::Sync(file, token, what)) => self.sync_ended(file, token, what, result),
            None => debug_assert!(false, "a completion without an operation"),
        }
    }

    /// Ends every operation. False if some have not ended in time.
    fn close_all(&mut self) -> bool {
        self.closing = true;
        self.close_sockets();
        let keys: Vec<usize> = self.ops.iter().map(|(key, _)| key).collect();
        for key in keys {
            // Disk operations end by themselves, and soon; a write must not be left half done.
            if !matches!(self.ops[key], Op::Read(_) | Op::Write(_) | Op::Sync(..)) {
                self.cancel(key);
            }
        }
        let start = clock::monotonic();
        let wait = |ops: &Slab<Op>| {
            let notices = ops.iter().all(|(_, op)| matches!(op, Op::Notice(_)));
            if notices { NOTICE_WAIT } else { CLOSE_WAIT }
        };
        while !self.ops.is_empty() && clock::monotonic() < start.plus(wait(&self.ops)) {
            self.enter(Wait::AtMost(Duration::from_millis(100)));
            self.reap();
            self.out.clear();
        }
        self.ops.is_empty()
    }

    /// Whether the reactor is being dropped: nothing is started again.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let clean = self.close_all();
        self.ring = None;
        self.leave_places();
        if !clean {
            // The kernel may still write there.
            std::mem::forget(std::mem::take(&mut self.ops));
            std::mem::forget(self.provided.take());
        }
    }
}
