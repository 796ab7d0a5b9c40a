//! The memory of one core for requests and replies.

use std::collections::BTreeMap;

use crate::base::limits::{NET_GRANT_BYTES_MIN, NET_GRANT_SHARE, NET_RESERVE_SHARE};

/// What the connections of one core hold, and what the requests under way may still come to hold.
///
/// The last part of it is a reserve: only small requests of connections without anything else in flight use it, so that
/// heartbeats are answered whatever the others do.
#[derive(Debug, Default)]
pub struct Budget {
    max: usize,
    /// By connections: partial requests, requests that wait or are under way, replies that have not left.
    pub(super) held: usize,
    /// By requests under way, for their replies.
    reserved: usize,
    /// Parked requests that wait for room, the oldest first, and for how much.
    waiting: BTreeMap<u64, usize>,
}

impl Budget {
    pub(super) fn new(max: usize) -> Budget {
        Budget { max, ..Budget::default() }
    }

    /// All that is counted.
    pub fn used(&self) -> usize {
        self.held + self.reserved
    }

    /// Bytes granted to requests under way.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Whether anything is left, the reserve included.
    pub(super) fn is_short(&self) -> bool {
        self.used() >= self.max
    }

    /// Whether more than half is in use: then a connection has one large request at a time in memory, its reply included.
    pub(super) fn is_half_used(&self) -> bool {
        self.used() >= self.max / 2
    }

    /// Bytes that are left for large requests.
    pub fn room(&self) -> usize {
        (self.max - self.max / NET_RESERVE_SHARE).saturating_sub(self.used())
    }

    /// Reserves memory for a reply under construction: what is wanted, at most a fair share of what is left. None if too
    /// little is left; but one request at a time always goes on. To be given back by [`Budget::release`].
    pub fn grant(&mut self, wanted: usize) -> Option<usize> {
        let granted = wanted.min((self.room() / NET_GRANT_SHARE).max(NET_GRANT_BYTES_MIN));
        let fits = granted <= self.room() || self.reserved == 0;
        self.reserved += if fits { granted } else { 0 };
        fits.then_some(granted)
    }

    /// Whether there is room for so many bytes. One request at a time goes on beyond that, as long as what is in use does not
    /// pass the bound, or it is a small part.
    fn fits(&self, bytes: usize) -> bool {
        let alone = self.reserved == 0 && (bytes <= NET_GRANT_BYTES_MIN || !self.is_short());
        bytes <= self.room() || alone
    }

    /// Reserves memory for a reply whose size is known: all of it, or nothing. To be given back by [`Budget::release`].
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let fits = self.fits(bytes);
        self.reserved += if fits { bytes } else { 0 };
        fits
    }

    /// Ends a reservation: its request was answered, has nothing to answer with yet, or is gone.
    pub fn release(&mut self, granted: usize) {
        self.reserved -= granted;
    }

    /// A parked request wants to be told when there is room for so many bytes.
    pub fn wait(&mut self, id: u64, bytes: usize) {
        self.waiting.insert(id, bytes);
    }

    /// A parked request waits no more, if it did: it is gone.
    pub fn forget(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Whether one waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether one waits that is to try again.
    pub(super) fn has_next(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(_, bytes)| self.fits(*bytes))
    }

    /// The next that is to try again.
    pub fn next_waiting(&mut self) -> Option<u64> {
        if self.has_next() { self.waiting.pop_first().map(|(id, _)| id) } else { None }
    }
}

/// What a request may cost beyond its own bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// One such request of a connection is under way at a time: its reply may be large.
    pub alone: bool,
    /// It waits until the replies before it have left, if they are large: its own is counted only when it is there.
    pub behind_replies: bool,
    /// An estimate of its reply; zero for what is small, or reserves what it needs itself.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn grants_are_fair_and_one_always_goes_on() {
        let mut budget = Budget::new(64 << 20);
        let mut granted = Vec::new();
        while let Some(bytes) = budget.grant(1 << 30) {
            granted.push(bytes);
        }
        assert!(granted.is_sorted_by(|a, b| a >= b) && granted.len() > 16, "{granted:?}");
        assert!(budget.used() <= (64 << 20) - (64 << 20) / NET_RESERVE_SHARE);
        budget.held = 200 << 20;
        budget.wait(7, NET_GRANT_BYTES_MIN);
        assert_eq!(budget.next_waiting(), None);
        for bytes in granted {
            budget.release(bytes);
        }
        assert_eq!((budget.reserved(), budget.room()), (0, 0));
        assert_eq!(budget.next_waiting(), Some(7));
        assert_eq!(budget.grant(1 << 30), Some(NET_GRANT_BYTES_MIN));
        assert_eq!(budget.grant(1), None, "one at a time");
    }

    /// A request that was gone stayed among those that wait, and while memory was short connections were closed for it.
    #[test]
    fn nobody_waits_who_is_gone() {
        let mut budget = Budget::new(1 << 20);
        budget.held = 2 << 20;
        budget.wait(7, 1 << 20);
        budget.wait(8, 1 << 20);
        assert!(budget.has_waiting());
        budget.forget(7);
        budget.forget(8);
        budget.forget(9);
        assert!(!budget.has_waiting() && !budget.has_next());
    }

    /// Replies whose size is known are bounded however many wait, and whoever is told that there is room has it.
    #[test]
    fn known_replies_wait_for_room_and_one_goes_beyond_it() {
        let mut random = Prng::new(5);
        let (mut budget, mut reserved) = (Budget::new(32 << 20), BTreeMap::new());
        for id in 0..10_000 {
            let bytes = 1 + random.below(12 << 20) as usize;
            if budget.reserve(bytes) {
                reserved.insert(id, bytes);
            } else {
                budget.wait(id, bytes);
            }
            assert!(budget.used() < (32 << 20) + (12 << 20), "the bound, and one more");
            if random.below(3) == 0 {
                for (_, bytes) in reserved.extract_if(.., |id, _| id % 3 == 0) {
                    budget.release(bytes);
                }
            }
            while let Some(id) = budget.next_waiting() {
                let bytes = 1 + random.below(NET_GRANT_BYTES_MIN as u64) as usize;
                assert!(budget.reserve(bytes));
                reserved.insert(id, bytes);
            }
        }
        for bytes in reserved.into_values() {
            budget.release(bytes);
        }
        budget.held = 40 << 20;
        assert!(!budget.reserve(1 << 20), "what has not left is not passed by large ones");
    }

    #[test]
    fn what_is_granted_comes_back_in_any_order() {
        let mut random = Prng::new(3);
        let mut budget = Budget::new(32 << 20);
        let mut granted = Vec::new();
        for _ in 0..10_000 {
            if random.below(2) == 0
                && let Some(bytes) = budget.grant(random.below(8 << 20) as usize)
            {
                granted.push(bytes);
            } else if !granted.is_empty() {
                budget.release(granted.swap_remove(random.below(granted.len() as u64) as usize));
            }
            assert_eq!(budget.reserved(), granted.iter().sum::<usize>());
            assert!(budget.used() <= 32 << 20);
        }
        for bytes in granted {
            budget.release(bytes);
        }
        assert_eq!(budget.used(), 0);
    }
}
