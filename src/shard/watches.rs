//! Long polls' interest in partitions. One may watch thousands, and thousands may watch one: a watch knows its place in each
//! partition's list, so it ends without a search, and a turn ends a bounded number of places.

use std::collections::VecDeque;

use slab::Slab;

use crate::base::IdMap;
use crate::base::limits::{POOL_KEPT, POOL_KEPT_ITEMS, WATCHED_SMALL_MAX, WATCHES_ENDED_IN_TURN};

use super::mail::ReplyTo;
use super::partitions::Partitions;

/// In the list of a partition: which watch it is of, and which of its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    watch: u32,
    nth: u32,
}

/// A place of a watch: which partition's, and where it is in that partition's list.
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    at: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// It has seen enough, and its end waits for its turn.
    Due,
    /// Nobody waits for it any more, and its end waits for its turn.
    Gone,
}

struct Watch {
    reply_to: ReplyTo,
    bytes_left: i64,
    state: State,
    places: Vec<Place>,
}

/// The watches of a core.
#[derive(Default)]
pub(super) struct Watches {
    all: Slab<Watch>,
    by_reply: IdMap<ReplyTo, u32>,
    /// Those that end, by the number of their places: many of few places do not wait for one of many.
    small: VecDeque<u32>,
    large: VecDeque<u32>,
    /// Places that may still end in this turn.
    room: usize,
    /// For watches to come.
    spare: Vec<Vec<Place>>,
}

impl Watches {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Watches partitions until so many bytes were appended to them.
    pub fn add(
        &mut self,
        partitions: &mut Partitions,
        reply_to: ReplyTo,
        slots: impl Iterator<Item = u32>,
        bytes: usize,
    ) {
        self.forget(reply_to);
        let mut places = self.spare.pop().unwrap_or_default();
        let watch = self.all.vacant_key() as u32;
        for slot in slots {
            if let Some(hosted) = partitions.get(slot) {
                let at = hosted.watchers.len() as u32;
                hosted.watchers.push(Watcher { watch, nth: places.len() as u32 });
                places.push(Place { slot, at });
            }
        }
        self.all.insert(Watch { reply_to, bytes_left: bytes as i64, state: State::Waits, places });
        self.by_reply.insert(reply_to, watch);
    }

    /// Nobody waits for it any more.
    pub fn forget(&mut self, reply_to: ReplyTo) {
        if let Some(watch) = self.by_reply.remove(&reply_to) {
            self.end_later(watch, State::Gone);
        }
    }

    /// Bytes were appended to a partition.
    pub fn count(&mut self, partitions: &mut Partitions, slot: u32, bytes: i64) {
        let Some(hosted) = partitions.get(slot) else { return };
        for watcher in &hosted.watchers {
            let Some(watch) = self.all.get_mut(watcher.watch as usize) else { continue };
            watch.bytes_left = watch.bytes_left.saturating_sub(bytes);
            if watch.bytes_left <= 0 && watch.state == State::Waits {
                self.end_later(watcher.watch, State::Due);
            }
        }
    }

    /// Whoever watches a partition has to see it.
    pub fn end_all(&mut self, partitions: &mut Partitions, slot: u32) {
        self.count(partitions, slot, i64::MAX);
    }

    fn end_later(&mut self, watch: u32, state: State) {
        let Some(found) = self.all.get_mut(watch as usize) else { return };
        let waited = std::mem::replace(&mut found.state, state) == State::Waits;
        if waited {
            let small = found.places.len() <= WATCHED_SMALL_MAX;
            if small { self.small.push_back(watch) } else { self.large.push_back(watch) }
        }
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.room = WATCHES_ENDED_IN_TURN;
    }

    /// Whether there is something to do in the next turn.
    pub fn wants_turn(&self) -> bool {
        !self.small.is_empty() || !self.large.is_empty()
    }

    /// Ends watches whose turn it is, up to one that is to be woken: whom. None when there is none, or not in this turn.
    pub fn end_next(&mut self, partitions: &mut Partitions) -> Option<ReplyTo> {
        while self.room > 0 {
            let number = self.small.pop_front().or_else(|| self.large.pop_front())?;
            let Some(mut watch) = self.all.try_remove(number as usize) else { continue };
            self.room = self.room.saturating_sub(watch.places.len() + 1);
            for nth in 0..watch.places.len() {
                self.leave(partitions, number, &mut watch.places, nth);
            }
            let Watch { reply_to, state, mut places, .. } = watch;
            if places.capacity() <= POOL_KEPT_ITEMS && self.spare.len() < POOL_KEPT {
                places.clear();
                self.spare.push(places);
            }
            if state == State::Due {
                self.by_reply.remove(&reply_to);
                return Some(reply_to);
            }
        }
        None
    }

    /// Takes a place out of its partition's list; the last one there moves into it, and is told.
    fn leave(&mut self, partitions: &mut Partitions, of: u32, places: &mut [Place], nth: usize) {
        let Place { slot, at } = places[nth];
        let Some(hosted) = partitions.get(slot) else { return };
        let was = hosted.watchers.swap_remove(at as usize);
        debug_assert_eq!(was, Watcher { watch: of, nth: nth as u32 });
        let Some(moved) = hosted.watchers.get(at as usize) else { return };
        let theirs = if moved.watch == of {
            places.get_mut(moved.nth as usize)
        } else {
            self.all.get_mut(moved.watch as usize).and_then(|w| w.places.get_mut(moved.nth as usize))
        };
        if let Some(place) = theirs {
            place.at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::prng::Prng;
    use crate::base::{ShardId, TopicPartition, Uuid};
    use crate::shard::PartitionKey;

    fn reply_to(request: u64) -> ReplyTo {
        ReplyTo { shard: ShardId(0), request, part: 0 }
    }

    fn partitions(count: i32) -> (Partitions, Vec<u32>) {
        let mut partitions = Partitions::default();
        let key = |partition| PartitionKey { topic_id: Uuid::from_u128(1), partition };
        let slots = (0..count).map(|n| partitions.insert(key(n), TopicPartition::new("t", n))).collect();
        (partitions, slots)
    }

    /// All that end now, however many turns it takes.
    fn woken(watches: &mut Watches, partitions: &mut Partitions) -> Vec<u64> {
        let mut woken = Vec::new();
        while watches.wants_turn() {
            watches.begin_turn();
            while let Some(ended) = watches.end_next(partitions) {
                woken.push(ended.request);
            }
        }
        woken.sort_unstable();
        woken
    }

    /// Against a model: each watch by itself, with the bytes it still waits for and the partitions that it names.
    #[test]
    fn everybody_is_woken_once_who_has_seen_enough() {
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let (mut partitions, slots) = partitions(5);
            let mut watches = Watches::default();
            let mut model: BTreeMap<u64, (i64, Vec<u32>)> = BTreeMap::new();
            for request in 0..60u64 {
                match prng.below(4) {
                    0 | 1 => {
                        let named: Vec<u32> =
                            (0..prng.below(7)).map(|_| slots[prng.below(5) as usize]).collect();
                        let bytes = 1 + prng.below(20);
                        watches.add(
                            &mut partitions,
                            reply_to(request),
                            named.iter().copied(),
                            bytes as usize,
                        );
                        model.insert(request, (bytes as i64, named));
                    }
                    2 => {
                        let other = prng.below(request + 1);
                        watches.forget(reply_to(other));
                        model.remove(&other);
                    }
                    _ => {
                        let slot = slots[prng.below(5) as usize];
                        watches.count(&mut partitions, slot, 4);
                        for (left, named) in model.values_mut() {
                            *left -= 4 * named.iter().filter(|name| **name == slot).count() as i64;
                        }
                        let due: Vec<u64> = model.iter().filter(|(_, w)| w.0 <= 0).map(|(r, _)| *r).collect();
                        model.retain(|_, w| w.0 > 0);
                        assert_eq!(woken(&mut watches, &mut partitions), due, "seed {seed}");
                    }
                }
            }
            for slot in &slots {
                watches.end_all(&mut partitions, *slot);
            }
            let due: Vec<u64> = model.iter().filter(|(_, w)| !w.1.is_empty()).map(|(r, _)| *r).collect();
            assert_eq!(woken(&mut watches, &mut partitions), due, "seed {seed}");
            (0..60).for_each(|request| watches.forget(reply_to(request)));
            woken(&mut watches, &mut partitions);
            assert_eq!((watches.len(), watches.by_reply.len()), (0, 0));
            assert!(slots.iter().all(|slot| partitions.get(*slot).unwrap().watchers.is_empty()));
        }
    }

    /// Thousands of long polls of thousands of partitions were all woken, and all ended, in one turn: everybody else waited for
    /// seconds.
    #[test]
    fn a_turn_ends_so_many_places() {
        let (mut partitions, slots) = partitions(1000);
        let mut watches = Watches::default();
        for request in 0..50 {
            watches.add(&mut partitions, reply_to(request), slots.iter().copied(), 1);
        }
        watches.add(&mut partitions, reply_to(99), slots.iter().copied().take(1), 1);
        watches.count(&mut partitions, slots[0], 10);
        (0..10).for_each(|request| watches.forget(reply_to(request)));
        let listed = |partitions: &mut Partitions| -> usize {
            slots.iter().map(|slot| partitions.get(*slot).unwrap().watchers.len()).sum()
        };
        let mut left = listed(&mut partitions);
        let mut order = Vec::new();
        while watches.wants_turn() {
            watches.begin_turn();
            while let Some(ended) = watches.end_next(&mut partitions) {
                order.push(ended.request);
            }
            let now = listed(&mut partitions);
            assert!(left - now <= WATCHES_ENDED_IN_TURN + 1000, "{} places in one turn", left - now);
            left = now;
        }
        assert_eq!(order[0], 99, "one of few places does not wait for those of many");
        assert_eq!((order[1..].to_vec(), left), ((10..50).collect(), 0));
    }
}
