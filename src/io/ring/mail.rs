//! Mail between cores, and into cores from threads that are none.
//!
//! Each core has one queue behind a lock that is held for a push or a swap only. Whoever makes it non-empty while
//! its core sleeps wakes the core: with one MSG_RING per burst from another core, through the eventfd from elsewhere.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::super::background::{Background, Lane, Threads};
use super::super::world::{FileJob, FileJobOutcome, Token};
use crate::base::ShardId;

/// What waits for a core.
pub(in crate::io) enum Item<M> {
    /// From a core, or from outside.
    Mail(ShardId, M),
    /// A background job has ended.
    Job(Token, io::Result<FileJobOutcome>),
}

/// What the cores of one process share.
pub(super) struct Shared<M> {
    boxes: Vec<Mailbox<M>>,
    stop: AtomicBool,
    background: OnceLock<Background>,
    compute: OnceLock<Background>,
}

struct Mailbox<M> {
    queue: Mutex<Vec<Item<M>>>,
    /// Something may be in `queue`.
    pending: AtomicBool,
    /// The core is about to wait, or waits, and nobody has woken it yet.
    sleeping: AtomicBool,
    /// The core's ring, or -1.
    ring: AtomicI32,
    event: OwnedFd,
}

/// How a sender has to wake the receiver.
pub(super) enum Wake {
    /// It is awake, or someone else wakes it.
    Not,
    /// It sleeps in this ring.
    Ring(RawFd),
}

impl<M> Shared<M> {
    pub(super) fn new(shards: usize) -> io::Result<Shared<M>> {
        let boxes = (0..shards).map(|_| Mailbox::new()).collect::<io::Result<Vec<_>>>()?;
        Ok(Shared {
            boxes,
            stop: AtomicBool::new(false),
            background: OnceLock::new(),
            compute: OnceLock::new(),
        })
    }

    pub(super) fn shards(&self) -> usize {
        self.boxes.len()
    }

    fn mailbox(&self, shard: ShardId) -> &Mailbox<M> {
        &self.boxes[usize::from(shard.0)]
    }

    pub(super) fn event_fd(&self, shard: ShardId) -> RawFd {
        self.mailbox(shard).event.as_raw_fd()
    }

    /// Says that a core's ring stands, or (-1) that it is gone.
    pub(super) fn set_ring(&self, shard: ShardId, ring: RawFd) {
        self.mailbox(shard).ring.store(ring, Ordering::SeqCst);
    }

    /// Adds a burst from another core.
    pub(super) fn push(&self, to: ShardId, items: &mut Vec<Item<M>>) -> Wake {
        let target = self.mailbox(to);
        target.push(items);
        if target.must_wake() {
            let ring = target.ring.load(Ordering::SeqCst);
            if ring >= 0 {
                return Wake::Ring(ring);
            }
        }
        Wake::Not // a core whose ring does not stand yet looks before its first wait
    }

    /// Adds one item from a thread that has no ring.
    pub(super) fn push_from_outside(&self, to: ShardId, item: Item<M>) {
        let target = self.mailbox(to);
        target.push(&mut vec![item]);
        if target.must_wake() {
            signal(target.event.as_raw_fd());
        }
    }

    /// Takes all that waits for a core.
    pub(super) fn take(&self, shard: ShardId) -> Vec<Item<M>> {
        let mine = self.mailbox(shard);
        if !mine.pending.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *mine.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_mail(&self, shard: ShardId) -> bool {
        self.mailbox(shard).pending.load(Ordering::SeqCst)
            || (shard.0 == 0 && self.stop.load(Ordering::SeqCst))
    }

    /// A core announces that it will wait; false if it must not, because something has come.
    pub(super) fn fall_asleep(&self, shard: ShardId) -> bool {
        self.mailbox(shard).sleeping.store(true, Ordering::SeqCst);
        let sleeps = !self.has_mail(shard);
        if !sleeps {
            self.wake_up(shard);
        }
        sleeps
    }

    pub(super) fn wake_up(&self, shard: ShardId) {
        self.mailbox(shard).sleeping.store(false, Ordering::SeqCst);
    }

    /// Whether a stop was asked for since the last call.
    pub(super) fn take_stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst) && self.stop.swap(false, Ordering::SeqCst)
    }

    /// Asks for a stop. Safe in a signal handler: two atomic stores and a write.
    pub(super) fn ask_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        signal(self.event_fd(ShardId(0)));
    }
}

impl<M: Send + 'static> Shared<M> {
    /// Hands a job to the background executor, which starts with the first job.
    pub(super) fn background(shared: &Arc<Shared<M>>, from: ShardId, lane: Lane, token: Token, job: FileJob) {
        let (pool, threads) = match lane {
            Lane::Compute | Lane::ComputeLong => (&shared.compute, Threads::compute(shared.shards())),
            Lane::Quick | Lane::Slow => (&shared.background, Threads::FILES),
        };
        let background = pool.get_or_init(|| {
            let back: Weak<Shared<M>> = Arc::downgrade(shared);
            let deliver = move |to: ShardId, token, result| {
                if let Some(shared) = back.upgrade() {
                    shared.push_from_outside(to, Item::Job(token, result));
                }
            };
            Background::new(threads, shared.shards(), Box::new(deliver))
        });
        if let Err(e) = background.submit(from, lane, token, job) {
            let e = io::Error::new(e.kind(), format!("cannot start a background thread: {e}"));
            shared.push_from_outside(from, Item::Job(token, Err(e)));
        }
    }
}

impl<M> Mailbox<M> {
    fn new() -> io::Result<Mailbox<M>> {
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just given this descriptor to us alone.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Mailbox {
            queue: Mutex::new(Vec::new()),
            pending: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            ring: AtomicI32::new(-1),
            event,
        })
    }

    fn push(&self, items: &mut Vec<Item<M>>) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).append(items);
        self.pending.store(true, Ordering::SeqCst);
    }

    // The receiver stores `sleeping` and then reads `pending`, the sender stores `pending` and then reads `sleeping`,
    // all sequentially consistent: at least one of them sees the other.
    fn must_wake(&self) -> bool {
        self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst)
    }
}

/// Adds one to an eventfd. A full counter (EAGAIN) already wakes its reader.
fn signal(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes.
    let _ = unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

/// A way to reach the cores from any thread. Clones are cheap.
pub struct Remote<M> {
    pub(super) shared: Arc<Shared<M>>,
}

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Self {
        Remote { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Send> Remote<M> {
    /// Sends mail to a core; it comes as from that core itself. Order per sending thread and core is kept.
    pub fn post(&self, to: ShardId, mail: M) {
        self.shared.push_from_outside(to, Item::Mail(to, mail));
    }

    /// Asks the process to stop: core 0 gets [`super::super::Event::Stop`].
    pub fn stop(&self) {
        self.shared.ask_stop();
    }

    /// The number of cores.
    pub fn shards(&self) -> usize {
        self.shared.shards()
    }
}
