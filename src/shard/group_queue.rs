//! Requests for group coordinators whose records are to wait until earlier ones are in the log: what is on its way there, of
//! all coordinators of a core, is bounded.

use std::collections::{BTreeMap, HashMap};

use crate::base::limits::{GROUP_APPEND_SMALL_BYTES, GROUP_APPENDS_BYTES_MAX, GROUP_APPENDS_LARGE_BYTES_MAX};

use super::{GroupJob, ReplyTo};

/// A request's place: small ones before large ones, each in the order of arrival.
type Place = (bool, u64);

/// What is on its way to the log, and who waits.
#[derive(Default)]
pub(super) struct GroupQueue {
    /// Bytes of records that are not in the log yet.
    in_flight: usize,
    waiting: BTreeMap<Place, (usize, ReplyTo, GroupJob)>,
    places: HashMap<ReplyTo, Place>,
    last: u64,
}

impl GroupQueue {
    /// Records that are counted are not on their way any more.
    pub(super) fn settled(&mut self, bytes: usize) {
        self.in_flight -= bytes;
    }

    /// Records are on their way.
    pub(super) fn begun(&mut self, bytes: usize) {
        self.in_flight += bytes;
    }

    /// Whether there is room for so many bytes more; for the first there is.
    fn has_room(&self, bytes: usize) -> bool {
        let max = if is_large(bytes) { GROUP_APPENDS_LARGE_BYTES_MAX } else { GROUP_APPENDS_BYTES_MAX };
        self.in_flight == 0 || self.in_flight + bytes <= max
    }

    /// Whether a request that adds so many bytes has to wait: there is no room, or others of its size came first. What adds
    /// nothing does not wait.
    pub(super) fn must_wait(&self, bytes: usize) -> bool {
        let large = is_large(bytes);
        let others = || self.waiting.range((large, 0)..=(large, u64::MAX)).next().is_some();
        bytes > 0 && (!self.has_room(bytes) || others())
    }

    /// A request waits.
    pub(super) fn push(&mut self, bytes: usize, reply_to: ReplyTo, job: GroupJob) {
        self.last += 1;
        let place = (is_large(bytes), self.last);
        self.places.insert(reply_to, place);
        self.waiting.insert(place, (bytes, reply_to, job));
    }

    /// The next for which there is room.
    pub(super) fn pop(&mut self) -> Option<(ReplyTo, GroupJob)> {
        let first = [false, true].into_iter().find_map(|large| {
            let (place, (bytes, ..)) = self.waiting.range((large, 0)..=(large, u64::MAX)).next()?;
            self.has_room(*bytes).then_some(*place)
        });
        let (_, reply_to, job) = self.waiting.remove(&first?)?;
        self.places.remove(&reply_to);
        Some((reply_to, job))
    }

    /// Nobody waits for a request any more.
    pub(super) fn forget(&mut self, reply_to: ReplyTo) {
        if let Some(place) = self.places.remove(&reply_to) {
            self.waiting.remove(&place);
        }
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

fn is_large(bytes: usize) -> bool {
    bytes > GROUP_APPEND_SMALL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ShardId;
    use crate::base::prng::Prng;
    use crate::coord::group::{ClientInfo, GroupRequest};

    fn job() -> GroupJob {
        let request = GroupRequest::Describe { group_id: String::new() };
        GroupJob { partition: None, client: ClientInfo::default(), api_version: 0, request }
    }

    /// Whatever comes, what is on its way is bounded, nobody is forgotten, and large ones hold up no small one.
    #[test]
    fn what_is_on_its_way_is_bounded_and_all_have_their_turn() {
        let (mut random, mut queue) = (Prng::new(1), GroupQueue::default());
        let (mut on_their_way, mut sizes, mut done) = (Vec::new(), HashMap::new(), 0);
        for request in 0..5000u64 {
            let reply_to = ReplyTo { shard: ShardId(0), request, part: 0 };
            let bytes =
                [100, 900_000, 40 << 20][random.below(3) as usize % if request % 50 == 0 { 3 } else { 2 }];
            sizes.insert(reply_to, bytes);
            if queue.must_wait(bytes) {
                queue.push(bytes, reply_to, job());
                assert!(bytes > GROUP_APPEND_SMALL_BYTES, "a small one waits");
            } else {
                queue.begun(bytes);
                on_their_way.push(bytes);
            }
            assert!(!queue.must_wait(0));
            if random.below(3) > 0 && !on_their_way.is_empty() {
                queue.settled(on_their_way.swap_remove(random.below(on_their_way.len() as u64) as usize));
            }
            if random.below(20) == 0 {
                queue.forget(ReplyTo { request: random.below(request + 1), ..reply_to });
            }
            while let Some((reply_to, _)) = queue.pop() {
                queue.begun(sizes[&reply_to]);
                on_their_way.push(sizes[&reply_to]);
                done += 1;
            }
            let sum: usize = on_their_way.iter().sum();
            assert!(queue.in_flight == sum && sum <= (40 << 20) + GROUP_APPENDS_LARGE_BYTES_MAX, "{sum}");
        }
        for bytes in on_their_way.drain(..) {
            queue.settled(bytes);
            while let Some((reply_to, _)) = queue.pop() {
                queue.begun(sizes[&reply_to]);
                queue.settled(sizes[&reply_to]);
            }
        }
        assert!(done > 100 && queue.len() == 0 && queue.places.is_empty(), "{done}");
    }
}
