//! Reading ahead: what a reader that goes through a partition wants next is brought into the cache while it works on
//! what it has.
//!
//! A reader that asks for what follows its last read has a window: so much behind what it was given is to be in the cache
//! or on its way there. What is there already is looked up each time, so nothing is to be undone when a read fails or
//! the cache throws something out: whoever wants it reads it, and is told what is wrong.

use super::flow::Op;
use super::index::OffsetIndex;
use super::partition::Partition;
use super::reader::{Behind, Expected, Read, begin_at, block_start};
use super::types::{Env, ReadData};
use crate::base::Offset;
use crate::base::limits::{
    LOG_READ_AHEAD_BYTES_MAX, LOG_READ_AHEAD_STEPS_MAX, LOG_READ_BYTES_MAX, LOG_READ_BYTES_MIN,
    LOG_READERS_MAX,
};

/// Those who read a partition from the disk, the last one at the end.
#[derive(Default)]
pub(super) struct Readers(Vec<Reader>);

struct Reader {
    /// Where its last read ended.
    next: Offset,
    /// Bytes that are to be ahead of it.
    window: usize,
}

/// How far the bytes ahead of a reader reach.
struct Frontier {
    /// An offset in the batch that begins here.
    offset: Offset,
    /// The segment and the position in it; None where only the offset is known.
    spot: Option<(Offset, u64)>,
    /// What the batch there is to be like.
    expected: Expected,
    /// Bytes between the reader and here.
    ahead: usize,
}

impl Readers {
    /// The window of the reader who goes on at `offset`, if there is one.
    fn window(&self, offset: Offset) -> Option<usize> {
        self.0.iter().find(|reader| reader.next == offset).map(|reader| reader.window)
    }

    pub(super) fn is_sequential(&self, offset: Offset) -> bool {
        self.window(offset).is_some()
    }

    /// Somebody was given some bytes. Gives the window if it goes on where a read ended; if not, and it had to wait for
    /// the disk, it is remembered.
    fn advance(&mut self, offset: Offset, data: &ReadData, from_disk: bool) -> Option<usize> {
        let wider = |window: usize| {
            (2 * window).max(2 * data.bytes).clamp(2 * LOG_READ_BYTES_MIN, LOG_READ_AHEAD_BYTES_MAX)
        };
        let known = self.0.iter().position(|reader| reader.next == offset);
        if let Some(at) = known {
            let mut reader = self.0.remove(at);
            (reader.next, reader.window) = (data.next_offset, wider(reader.window));
            let window = reader.window;
            self.0.push(reader);
            return Some(window);
        }
        if from_disk {
            if self.0.len() >= LOG_READERS_MAX {
                self.0.remove(0);
            }
            self.0.push(Reader { next: data.next_offset, window: wider(0) });
        }
        None
    }

    /// A reader has come to the end: what is appended from now on it finds in memory.
    fn forget(&mut self, next: Offset) {
        self.0.retain(|reader| reader.next != next);
    }

    /// Nobody reads here any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Partition {
    /// A read from `offset` on was answered.
    pub(super) fn answered(&mut self, env: &mut Env, offset: Offset, data: &ReadData, from_disk: bool) {
        if data.bytes == 0 {
            return;
        }
        if let Some(window) = self.readers.advance(offset, data, from_disk)
            && !self.read_ahead(env, data.next_offset, window)
        {
            self.readers.forget(data.next_offset);
        }
    }

    /// A read from `offset` on waits for the disk: if it goes on where one ended, the disk gets more to do at once.
    pub(super) fn waits(&mut self, env: &mut Env, offset: Offset) {
        if let Some(window) = self.readers.window(offset) {
            self.read_ahead(env, offset, window);
        }
    }

    /// Has `window` bytes from `offset` on in the cache or on their way there, as far as limits allow. False if
    /// everything is in memory.
    fn read_ahead(&mut self, env: &mut Env, offset: Offset, window: usize) -> bool {
        let stretch = (window / 2).clamp(LOG_READ_BYTES_MIN, LOG_READ_BYTES_MAX);
        let expected = Expected { from: 0, holds: None, end: Offset::MAX };
        let mut frontier = Frontier { offset, spot: None, expected, ahead: 0 };
        for _ in 0..LOG_READ_AHEAD_STEPS_MAX {
            if frontier.offset >= self.written_end {
                return false;
            }
            let reached = frontier.ahead + stretch > window;
            if reached || !(self.is_there(env, &mut frontier) || self.read_on(env, &mut frontier, stretch)) {
                return true;
            }
        }
        true
    }

    /// Steps over what is in the cache or being read.
    fn is_there(&self, env: &mut Env, frontier: &mut Frontier) -> bool {
        if let Some((first, run)) = env.cache.peek_run(self.slot, frontier.offset) {
            // How much is left of the first one does not matter: what follows is read soon enough.
            let whole = frontier.spot.is_some() || first == frontier.offset;
            frontier.ahead += if whole { run.bytes.len() } else { 0 };
            (frontier.offset, frontier.spot) = (run.next, Some((run.segment, run.end())));
            frontier.expected = Expected { from: run.next, holds: None, end: Offset::MAX };
            return true;
        }
        if frontier.spot.is_none() {
            let Some((base, (position, expected))) = self.spot(env, frontier.offset) else { return false };
            (frontier.spot, frontier.expected) = (Some((base, position)), expected);
        }
        let Some((base, position)) = frontier.spot else { return false };
        let Some(Read { end, end_offset: Some(offset), .. }) = self.in_flight(base, position) else {
            return false;
        };
        frontier.ahead += (end - position) as usize;
        frontier.expected = Expected { from: base, holds: Some(*offset), end: Offset::MAX };
        (frontier.offset, frontier.spot) = (*offset, Some((base, *end)));
        true
    }

    /// Reads a stretch from the frontier on. False if that is not possible now.
    fn read_on(&mut self, env: &mut Env, frontier: &mut Frontier, stretch: usize) -> bool {
        let room = env.cache.ahead_room().min(LOG_READ_AHEAD_BYTES_MAX);
        let Some(base) = frontier.spot.map(|(base, _)| base).or_else(|| self.segment_of(frontier.offset))
        else {
            return false;
        };
        if room < LOG_READ_BYTES_MIN || self.damaged.is_in(base) {
            return false;
        }
        let position = frontier.spot.map_or(0, |(_, position)| position);
        let want = stretch.min(room);
        let found = self.place(env, base, |offsets, limit| stretch_end(offsets, position, want, limit));
        let Some((place, end)) = found else {
            // It is opened, and read later.
            self.load_segment(env, base, None, false);
            return false;
        };
        if position >= place.limit {
            return self.step_to_next_segment(base, place.limit, frontier);
        }
        // Where one ends that is not known to end with a batch is seen when it has.
        let known =
            end.filter(|(end, _)| end - position <= room as u64 && self.in_flight(base, position).is_none());
        let Some((end, offset)) = known else { return false };
        let bytes = (end - position) as usize;
        let end_offset = offset.unwrap_or_else(|| self.offset_behind(base));
        let expected = Expected { end: self.offset_behind(base), ..frontier.expected };
        let read = Read::ahead((base, position), (end, end_offset), expected, env.cache.reserve(bytes));
        self.submit_read(env, &place.file, read);
        frontier.ahead += bytes;
        frontier.expected = Expected { from: base, holds: Some(end_offset), end: Offset::MAX };
        (frontier.offset, frontier.spot) = (end_offset, Some((base, end)));
        true
    }

    fn step_to_next_segment(&self, base: Offset, limit: u64, frontier: &mut Frontier) -> bool {
        let size = self.segments.get(base).map_or(u64::MAX, |segment| segment.size);
        let next = self.segments.next_base(base);
        // Of one that was rolled just now, something may still be in memory only.
        let Some(next) = next.filter(|_| limit >= size) else { return false };
        frontier.expected = Expected { from: next, holds: None, end: Offset::MAX };
        (frontier.offset, frontier.spot) = (next, Some((next, 0)));
        true
    }

    /// Where in which file an offset is, or at most a few batches before it; None if the file is not open.
    fn spot(&self, env: &mut Env, offset: Offset) -> Option<(Offset, (u64, Expected))> {
        let base = self.segment_of(offset)?;
        let known = self.known_before(env, base, offset, None);
        let (_, begin) =
            self.place(env, base, |offsets, _| begin_at(offsets, base, offset, known, Offset::MAX))?;
        Some((base, begin))
    }

    /// What is known to end before the batch of an offset, besides what the index says: `from`, the run in the cache that ends
    /// with the offset, or damage.
    pub(super) fn known_before(
        &self,
        env: &Env,
        base: Offset,
        offset: Offset,
        from: Option<Behind>,
    ) -> Option<Behind> {
        let run = env.cache.peek_run(self.slot, offset - 1).map(|(_, run)| run);
        let run = run.filter(|run| run.segment == base && run.next == offset).map(|run| (run.end(), offset));
        [from, run, self.damaged.end_before(base, offset)].into_iter().flatten().max()
    }

    /// The segment that has an offset.
    pub(super) fn segment_of(&self, offset: Offset) -> Option<Offset> {
        self.segments.floor(offset).map(|segment| segment.base)
    }

    /// What comes after everything that is written of a segment.
    pub(super) fn offset_behind(&self, base: Offset) -> Offset {
        let next = self.segments.next_base(base).unwrap_or(self.written_end);
        next.min(self.written_end)
    }

    /// The read in flight that will have the batch at a position.
    pub(super) fn in_flight(&self, base: Offset, position: u64) -> Option<&Read> {
        self.ops.iter().find_map(|(_, op)| match op {
            Op::Read(read) if read.holds(base, position) => Some(read),
            _ => None,
        })
    }
}

/// Where a stretch of about `want` bytes from `position` on ends, which is where a batch begins: the position, and an
/// offset in that batch, None at the end of what is written. None if no such place is known.
pub(super) fn stretch_end(
    offsets: &OffsetIndex,
    position: u64,
    want: usize,
    limit: u64,
) -> Option<(u64, Option<Offset>)> {
    let to = block_start(position) + want as u64;
    if to >= limit {
        return (limit > position).then_some((limit, None));
    }
    offsets.boundary(position, to).map(|(end, offset)| (end, Some(offset)))
}
