//! Which partitions hold appends back from their segments, and which of them is to write next.

use std::collections::VecDeque;

use crate::base::Ticks;
use crate::base::limits::{
    HELD_BACK_BYTES_MAX, HELD_BACK_EARLY_BYTES, WRITE_BEHIND_EARLY_MS, WRITE_BEHIND_MS,
    WRITES_BEHIND_TOGETHER,
};

/// Partitions that hold back, those that began first at the front.
#[derive(Default)]
pub(super) struct Held {
    queue: VecDeque<Place>,
    /// So many were taken from the front.
    taken: u64,
    /// What all of them hold back.
    bytes: usize,
    drain: Drain,
    /// Some are written at the moment: with them go those that would follow soon, as the disk takes several writes at
    /// once for little more than one.
    writing: bool,
}

struct Place {
    slot: u32,
    since: Ticks,
    bytes: usize,
}

/// A half of the journal that becomes free when these have written, numbers as in [`Held::taken`].
#[derive(Clone, Copy, Default)]
struct Drain {
    from: u64,
    to: u64,
    /// Those below are due.
    due: u64,
}

impl Held {
    /// A partition holds back so many bytes. `number` is its own: its place here.
    pub(super) fn note(&mut self, number: &mut Option<u64>, slot: u32, bytes: usize, now: Ticks) {
        let at = number.get_or_insert_with(|| {
            self.queue.push_back(Place { slot, since: now, bytes: 0 });
            self.taken + self.queue.len() as u64 - 1
        });
        let place = at.checked_sub(self.taken).and_then(|at| self.queue.get_mut(usize::try_from(at).ok()?));
        if let Some(place) = place.filter(|place| place.slot == slot) {
            self.bytes = self.bytes - place.bytes + bytes;
            place.bytes = bytes;
        }
    }

    /// Whoever holds back now has to have written when the rest of a half is written.
    pub(super) fn begin_drain(&mut self) {
        self.drain = Drain { from: self.taken, to: self.taken + self.queue.len() as u64, due: self.taken };
    }

    /// `done` of `all` bytes are gone in which the drain has to come to its end.
    pub(super) fn drain_upto(&mut self, done: u64, all: u64) {
        let Drain { from, to, .. } = self.drain;
        let share = u128::from(to - from) * u128::from(done.min(all)) / u128::from(all.max(1));
        self.drain.due = self.drain.due.max(from + share as u64); // at most `to`
    }

    /// When somebody is due whatever else happens.
    pub(super) fn deadline(&self) -> Ticks {
        self.queue.front().map_or(Ticks::NEVER, |place| place.since.plus_ms(WRITE_BEHIND_MS))
    }

    /// Whether somebody is to write.
    fn is_due(&self, now: Ticks) -> bool {
        let Drain { due, to, .. } = self.drain;
        self.deadline() <= now
            || self.bytes > HELD_BACK_BYTES_MAX
            || (self.taken < due && (due == to || due - self.taken >= WRITES_BEHIND_TOGETHER))
    }

    /// Whether somebody is to write soon.
    fn is_nearly_due(&self, now: Ticks) -> bool {
        self.deadline() <= now.plus_ms(WRITE_BEHIND_EARLY_MS)
            || self.bytes > HELD_BACK_BYTES_MAX - HELD_BACK_EARLY_BYTES
            || self.taken < self.drain.due
    }

    /// A partition that is to write what it holds back; it is not listed any more.
    pub(super) fn next(&mut self, now: Ticks) -> Option<u32> {
        self.writing = self.is_due(now) || (self.writing && self.is_nearly_due(now));
        let place = if self.writing { self.queue.pop_front() } else { None }?;
        self.taken += 1;
        self.bytes -= place.bytes;
        Some(place.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(held: &mut Held, now: Ticks) -> Vec<u32> {
        std::iter::from_fn(|| held.next(now)).collect()
    }

    #[test]
    fn the_oldest_write_when_their_time_has_come() {
        let (mut held, start) = (Held::default(), Ticks(0));
        let mut numbers = [None; 4];
        for (slot, number) in (0..).zip(&mut numbers) {
            held.note(number, slot, 100, start.plus_ms(WRITE_BEHIND_EARLY_MS * i64::from(slot)));
        }
        held.note(&mut numbers[0], 0, 200, start.plus_ms(9));
        assert_eq!((held.bytes, held.deadline()), (500, start.plus_ms(WRITE_BEHIND_MS)));
        assert!(all(&mut held, start.plus_ms(WRITE_BEHIND_MS - 1)).is_empty());
        assert_eq!(all(&mut held, start.plus_ms(WRITE_BEHIND_MS + 1)), [0, 1], "1 nearly has to");
        numbers[0] = None;
        held.note(&mut numbers[0], 0, 7, start.plus_ms(90));
        held.note(&mut numbers[3], 3, 0, start.plus_ms(90));
        assert_eq!(held.bytes, 107);
        assert_eq!(all(&mut held, start.plus_ms(WRITE_BEHIND_MS + 90)), [2, 3, 0]);
        assert_eq!((held.bytes, held.deadline()), (0, Ticks::NEVER));
    }

    #[test]
    fn more_than_the_bound_is_not_held_back() {
        let mut held = Held::default();
        let mut numbers = [None; 3];
        for (slot, number) in (0..).zip(&mut numbers) {
            held.note(number, slot, HELD_BACK_BYTES_MAX / 2, Ticks(0));
        }
        assert_eq!(all(&mut held, Ticks(0)), [0, 1]);
        held.note(&mut None, 7, HELD_BACK_BYTES_MAX / 2, Ticks(0));
        assert!(all(&mut held, Ticks(0)).is_empty(), "as much as the bound");
    }

    #[test]
    fn a_drain_goes_on_as_the_other_half_fills() {
        let mut held = Held::default();
        let mut numbers = [None; 20];
        for (slot, number) in (0..).zip(&mut numbers) {
            held.note(number, slot, 1, Ticks(0));
        }
        held.begin_drain();
        held.note(&mut None, 99, 1, Ticks(0));
        held.drain_upto(0, 100);
        assert!(all(&mut held, Ticks(0)).is_empty());
        held.drain_upto(35, 100);
        assert!(all(&mut held, Ticks(0)).is_empty(), "there are too few yet");
        held.drain_upto(45, 100);
        assert_eq!(all(&mut held, Ticks(0)), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        held.drain_upto(95, 100);
        assert_eq!(all(&mut held, Ticks(0)), [9, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
        held.drain_upto(120, 100);
        assert_eq!(all(&mut held, Ticks(0)), [19]);
    }
}
