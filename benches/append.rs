//! Direct appends through a core's ring, one write in flight, against a null world that completes at once: what the
//! device and the kernel cost, and what our own code above them costs.
//!
//! `cargo bench --bench append [-- DIRECTORY]` (default: the target directory's file system).

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use ottla::base::limits::BLOCK_BYTES;
use ottla::base::{ShardId, Ticks, WallMs};
use ottla::io::{
    AlignedBuf, Clock, Disk, DiskOutcome, Event, File, FileJob, FileJobOutcome, OpenMode, Remote, Ring,
    Token, World,
};

const FILE_BYTES: u64 = 64 << 20;

/// A disk whose operations are over at once.
#[derive(Default)]
struct Null {
    done: Vec<(Token, DiskOutcome)>,
}

impl Clock for Null {
    fn now(&self) -> Ticks {
        Ticks(0)
    }
    fn wall_ms(&self) -> WallMs {
        0
    }
}

impl Disk for Null {
    fn read(&mut self, _: &File, _: u64, _: usize, token: Token) {
        self.done.push((token, DiskOutcome::Read(Ok(Bytes::new()))));
    }
    fn write(&mut self, _: &File, _: u64, _: Bytes, token: Token) {
        self.done.push((token, DiskOutcome::Written(Ok(()))));
    }
    fn write_durable(&mut self, _: &File, _: u64, _: Bytes, _: Token) {
        unreachable!("no journal here");
    }
    fn stage(&mut self, _: &File, _: u64, _: &[u8]) -> std::io::Result<()> {
        unreachable!("no journal here");
    }
    fn sync(&mut self, _: &File, token: Token) {
        self.done.push((token, DiskOutcome::Synced(Ok(()))));
    }
    fn background(&mut self, _: FileJob, token: Token) {
        self.done.push((token, DiskOutcome::Job(Ok(FileJobOutcome::Done))));
    }
}

fn main() {
    let dir: PathBuf =
        std::env::args().skip(1).find(|a| !a.starts_with('-')).map_or("target".into(), PathBuf::from);
    let path = dir.join(format!("append-bench-{}", std::process::id()));
    let remote: Remote<()> = Remote::new(1).expect("mailboxes");
    let mut ring = Ring::new(&remote, ShardId(0)).expect("a ring");
    let open = FileJob::Open { path: path.clone(), mode: OpenMode::DirectCreate, allocate: FILE_BYTES };
    ring.background(open, Token(0));
    let DiskOutcome::Job(Ok(FileJobOutcome::Opened(file))) = wait(&mut ring) else {
        panic!("cannot open {}", path.display())
    };
    for bytes in [4 << 10, 64 << 10] {
        for (pass, name) in ["preallocated", "over written extents"].iter().enumerate() {
            let writes = if bytes == 4 << 10 { 4000 } else { 800 };
            report(&format!("append {} KiB, {name}", bytes >> 10), bytes, writes, |at, data| {
                ring.write(&file, at, data, Token(1));
                assert!(
                    matches!(wait(&mut ring), DiskOutcome::Written(Ok(()))),
                    "write failed in pass {pass}"
                );
            });
        }
        let mut null = Null::default();
        report(&format!("append {} KiB, null world", bytes >> 10), bytes, 100_000, |at, data| {
            null.write(&file, at, data, Token(1));
            assert!(matches!(null.done.pop(), Some((_, DiskOutcome::Written(Ok(()))))));
        });
    }
    report("append 4 KiB + fdatasync", 4 << 10, 1000, |at, data| {
        ring.write(&file, at, data, Token(1));
        wait(&mut ring);
        ring.sync(&file, Token(2));
        assert!(matches!(wait(&mut ring), DiskOutcome::Synced(Ok(()))));
    });
    report("append 4 KiB, durable", 4 << 10, 300, |at, data| {
        ring.write_durable(&file, at, data, Token(1));
        assert!(matches!(wait(&mut ring), DiskOutcome::Written(Ok(()))));
    });
    ring.background(FileJob::RemoveFile(path), Token(3));
    wait(&mut ring);
}

fn wait(ring: &mut Ring<()>) -> DiskOutcome {
    let mut events = Vec::new();
    loop {
        ring.turn(Ticks::NEVER, &mut events);
        if let Some(Event::Disk(_, outcome)) = events.pop() {
            return outcome;
        }
    }
}

/// Fills a tail buffer and appends it, `writes` times, round and round the file.
fn report(what: &str, bytes: usize, writes: u64, mut append: impl FnMut(u64, Bytes)) {
    let mut histogram: Histogram<u64> = Histogram::new(3).expect("a histogram");
    let payload = vec![7; bytes - BLOCK_BYTES / 2];
    let start = Instant::now();
    for n in 0..writes {
        let mut tail = AlignedBuf::with_capacity(bytes);
        tail.extend_from_slice(&payload);
        let begun = Instant::now();
        append(n * bytes as u64 % FILE_BYTES, tail.freeze());
        histogram.record(begun.elapsed().as_nanos() as u64).expect("the histogram grows");
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{what}: p50 {:.1} us, p99 {:.1} us, {:.0} writes/s, {:.0} MB/s",
        histogram.value_at_quantile(0.5) as f64 / 1000.0,
        histogram.value_at_quantile(0.99) as f64 / 1000.0,
        writes as f64 / took,
        writes as f64 * bytes as f64 / took / 1e6,
    );
}
