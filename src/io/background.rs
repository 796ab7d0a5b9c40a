//! The background executor: file work that may take its time, on threads beside the cores.
//!
//! Each thread drives a glommio executor for one job at a time: renaming and removing go through its ring, the rest simply
//! blocks the thread. Opening does too: of 10,000 partitions that are written to for the first time it was a seventh of all
//! CPU time through the ring, which hands each open and preallocation to a kernel thread. A core has two lanes, quick and
//! slow. Jobs of one lane run one after the other, in order; lanes run side by side on up to [`BACKGROUND_THREADS_MAX`]
//! threads, which start when they are needed, and of which [`BACKGROUND_SLOW_MAX`] at most do slow jobs.
//!
//! Work that needs the processor (decompression, requests of many elements) has a pool of its own, with two lanes for
//! each core, the second for what takes long, and threads that stand behind the cores' own.
//!
//! Between jobs a thread sleeps on a condition variable, so that jobs need no wake-ups across threads through glommio
//! and a long blocking one delays only its own core's.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::jobs;
use super::os_files::OsFiles;
use super::world::{FileJob, FileJobOutcome, Token};
use crate::base::ShardId;
use crate::base::limits::{
    BACKGROUND_SLOW_MAX, BACKGROUND_THREADS_MAX, COMPUTE_LONG_MAX, COMPUTE_NICE, COMPUTE_THREADS_MAX,
};

/// With less than 1 ms an executor can park with runnable tasks; 100 ms is glommio's own default.
const PREEMPT_TIMER: Duration = Duration::from_millis(100);
/// Registered memory of glommio's rings: it reads and writes no file contents.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Where results go.
pub(super) type Deliver = Box<dyn Fn(ShardId, Token, io::Result<FileJobOutcome>) + Send + Sync>;

/// The way to the threads. Dropping it ends them after the jobs they hold.
pub(super) struct Background {
    pool: Arc<Pool>,
}

/// The threads of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threads {
    name: &'static str,
    max: usize,
    /// How many of them do slow jobs at once.
    slow_max: usize,
    /// How far behind others they stand when the processor is short: a nice value.
    nice: i32,
}

impl Threads {
    /// For files.
    pub(super) const FILES: Threads =
        Threads { name: "background", max: BACKGROUND_THREADS_MAX, slow_max: BACKGROUND_SLOW_MAX, nice: 0 };

    /// For what needs the processor: it must not take it from the cores.
    pub(super) fn compute(shards: usize) -> Threads {
        let max = shards.clamp(1, COMPUTE_THREADS_MAX) + COMPUTE_LONG_MAX;
        Threads { name: "compute", max, slow_max: COMPUTE_LONG_MAX, nice: COMPUTE_NICE }
    }
}

struct Pool {
    threads: Threads,
    work: Mutex<Work>,
    more: Condvar,
    deliver: Deliver,
}

/// Which of a core's queues a job is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody waits for it.
    Quick,
    /// It may take long.
    Slow,
    /// It needs the processor: a pool of its own.
    Compute,
    /// The same, and for long.
    ComputeLong,
}

/// Jobs by lane: a core's quick one, its slow one, the next core's.
struct Work {
    jobs: Vec<VecDeque<(Token, FileJob)>>,
    /// Quick lanes with jobs of which none is running.
    ready: VecDeque<usize>,
    /// The same for slow ones.
    ready_slow: VecDeque<usize>,
    /// Lanes of which a job is running.
    running: Vec<bool>,
    running_slow: usize,
    slow_max: usize,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn is_ready(&mut self, lane: usize) {
        if is_slow(lane) { self.ready_slow.push_back(lane) } else { self.ready.push_back(lane) }
    }

    /// The lane to serve next.
    fn next(&mut self) -> Option<usize> {
        let slow = self.running_slow < self.slow_max;
        let lane = self.ready.pop_front().or_else(|| self.ready_slow.pop_front_if(|_| slow))?;
        self.running[lane] = true;
        self.running_slow += usize::from(is_slow(lane));
        Some(lane)
    }

    fn ended(&mut self, lane: usize) {
        self.running[lane] = false;
        self.running_slow -= usize::from(is_slow(lane));
        if !self.jobs[lane].is_empty() {
            self.is_ready(lane);
        }
    }
}

fn is_slow(lane: usize) -> bool {
    lane % 2 == 1
}

impl Background {
    /// A pool without threads yet.
    pub(super) fn new(threads: Threads, shards: usize, deliver: Deliver) -> Background {
        let work = Work {
            jobs: (0..2 * shards).map(|_| VecDeque::new()).collect(),
            ready: VecDeque::new(),
            ready_slow: VecDeque::new(),
            running: vec![false; 2 * shards],
            running_slow: 0,
            slow_max: threads.slow_max,
            threads: 0,
            idle: 0,
            closed: false,
        };
        Background { pool: Arc::new(Pool { threads, work: Mutex::new(work), more: Condvar::new(), deliver }) }
    }

    /// Queues a job of a core. Fails if not even one thread can be started.
    pub(super) fn submit(&self, shard: ShardId, lane: Lane, token: Token, job: FileJob) -> io::Result<()> {
        let lane = 2 * usize::from(shard.0) + usize::from(matches!(lane, Lane::Slow | Lane::ComputeLong));
        let mut work = self.pool.lock();
        if work.idle == 0 && work.threads < self.pool.threads.max {
            let pool = Arc::clone(&self.pool);
            match thread::Builder::new().name(pool.threads.name.into()).spawn(move || serve(&pool)) {
                Ok(_) => work.threads += 1,
                Err(e) if work.threads == 0 => return Err(e),
                Err(_) => {} // those that run will do
            }
        }
        work.jobs[lane].push_back((token, job));
        if work.jobs[lane].len() == 1 && !work.running[lane] {
            work.is_ready(lane);
            drop(work);
            self.pool.more.notify_one();
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.more.notify_all();
    }
}

fn serve(pool: &Pool) {
    be_nice(pool.threads.nice);
    let mut executor = None;
    let mut work = pool.lock();
    loop {
        let Some(lane) = work.next() else {
            if work.closed {
                return;
            }
            work.idle += 1;
            work = pool.more.wait(work).unwrap_or_else(PoisonError::into_inner);
            work.idle -= 1;
            continue;
        };
        if let Some((token, job)) = work.jobs[lane].pop_front() {
            drop(work);
            let result = run(&mut executor, job);
            (pool.deliver)(ShardId((lane / 2) as u16), token, result);
            work = pool.lock();
        }
        work.ended(lane);
    }
}

/// Puts the calling thread behind others by a nice value, where the kernel allows it.
fn be_nice(nice: i32) {
    if nice > 0 {
        // SAFETY: a plain system call; on Linux it concerns the calling thread alone.
        let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    }
}

/// Runs a job on this thread, through its executor (made by the first job that has an asynchronous form).
fn run(executor: &mut Option<LocalExecutor>, job: FileJob) -> io::Result<FileJobOutcome> {
    if !matches!(job, FileJob::Rename(..) | FileJob::RemoveFile(_)) {
        return run_blocking(job);
    }
    if executor.is_none() {
        let builder = LocalExecutorBuilder::new(Placement::Unbound).name("background");
        match builder.preempt_timer(PREEMPT_TIMER).io_memory(IO_MEMORY_BYTES).make() {
            Ok(made) => *executor = Some(made),
            Err(e) => {
                tracing::warn!(error = %e, "the background executor has no io_uring; its jobs run blocking");
            }
        }
    }
    match executor {
        Some(executor) => executor.run(run_async(job)),
        None => run_blocking(job),
    }
}

/// Runs a job on the calling thread. A panic of the job becomes its error.
fn run_blocking(job: FileJob) -> io::Result<FileJobOutcome> {
    let work = || jobs::run(&OsFiles, job, OsFiles::open_or_create);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(io::Error::other(panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref().cloned());
    format!("a background job panicked: {}", text.unwrap_or_default())
}

async fn run_async(job: FileJob) -> io::Result<FileJobOutcome> {
    match job {
        FileJob::Rename(from, to) => {
            glommio::io::rename(&from, &to).await?;
            jobs::sync_renamed(&OsFiles, &from, &to)?;
            Ok(FileJobOutcome::Done)
        }
        FileJob::RemoveFile(path) => match glommio::io::remove(&path).await.map_err(io::Error::from) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(FileJobOutcome::Done),
        },
        other => run_blocking(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    fn job(work: impl FnOnce() + Send + 'static) -> FileJob {
        FileJob::Run(Box::new(move |_| {
            work();
            Ok(Box::new(()))
        }))
    }

    /// A batch that came to 100 MB when it was decompressed kept a core's short work waiting, and those of several connections
    /// together for seconds.
    #[test]
    fn short_work_does_not_wait_for_long_work_of_which_one_job_runs_at_a_time() {
        for shards in [1, 2, 4] {
            let (done, ended): (Sender<u64>, Receiver<u64>) = channel();
            let deliver = Box::new(move |_, token: Token, _| done.send(token.0).expect("somebody listens"));
            let pool = Background::new(Threads::compute(shards), shards, deliver);
            let (release, held): (Sender<()>, Receiver<()>) = channel();
            let submit = |shard, lane, token, job| {
                pool.submit(ShardId(shard as u16), lane, Token(token), job).expect("a thread");
            };
            submit(0, Lane::ComputeLong, 100, job(move || held.recv().expect("released")));
            for shard in 0..shards {
                submit(shard, Lane::ComputeLong, 101, job(|| ()));
            }
            for token in 0..10 {
                submit(token as usize % shards, Lane::Compute, token, job(|| ()));
            }
            let mut first: Vec<u64> = ended.iter().take(10).collect();
            first.sort_unstable();
            assert_eq!(first, (0..10).collect::<Vec<_>>(), "{shards} cores");
            release.send(()).expect("it waits");
            assert_eq!(ended.recv(), Ok(100), "{shards} cores");
        }
    }
}
