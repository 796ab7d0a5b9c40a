//! Replies in the order of their requests, whatever order they are answered in.

use std::collections::VecDeque;
use std::mem;

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::limits::{
    NET_COPY_BYTES_MAX, NET_SLICE_BYTES_MIN, NET_WAITING_COPY_BYTES_MAX, REPLIES_KEPT, REPLY_KEPT_BYTES,
    REPLY_KEPT_SLICES,
};

/// A reply, without the length before it: bytes that were written for it, and slices that lie elsewhere and go between
/// them.
#[derive(Debug, Default)]
pub struct Reply {
    /// What was written.
    pub bytes: Vec<u8>,
    /// How many of the bytes go before a slice, and the slice; in order.
    pub slices: Vec<(usize, Bytes)>,
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Reply {
        Reply { bytes, slices: Vec::new() }
    }
}

impl Reply {
    fn len(&self) -> usize {
        self.bytes.len() + self.slices.iter().map(|(_, slice)| slice.len()).sum::<usize>()
    }

    /// What it keeps in memory: a slice keeps more than itself.
    fn cost(&self) -> usize {
        let slice = |len: usize| if len <= NET_COPY_BYTES_MAX { len } else { len.max(NET_SLICE_BYTES_MIN) };
        self.bytes.len() + self.slices.iter().map(|(_, s)| slice(s.len())).sum::<usize>()
    }

    /// Copies small slices, so that a reply that has to wait keeps nothing larger than itself.
    fn own(&mut self) {
        if self.slices.iter().all(|(_, slice)| slice.len() > NET_WAITING_COPY_BYTES_MAX) {
            return;
        }
        let (mut bytes, mut slices, mut written) = (Vec::with_capacity(self.bytes.len()), Vec::new(), 0);
        for (before, slice) in self.slices.drain(..) {
            bytes.extend_from_slice(&self.bytes[written..before]);
            written = before;
            if slice.len() <= NET_WAITING_COPY_BYTES_MAX {
                bytes.extend_from_slice(&slice);
            } else {
                slices.push((bytes.len(), slice));
            }
        }
        bytes.extend_from_slice(&self.bytes[written..]);
        (self.bytes, self.slices) = (bytes, slices);
    }

    /// Puts small pieces together in `scratch`; a large one ends what is there and becomes a part of its own.
    fn leave(&mut self, scratch: &mut BytesMut, out: &mut Vec<Bytes>) {
        if self.slices.is_empty() && self.bytes.len() > NET_COPY_BYTES_MAX {
            out.push(scratch.split().freeze());
            out.push(Bytes::from(mem::take(&mut self.bytes)));
            return;
        }
        let mut written = 0;
        for (before, slice) in self.slices.drain(..) {
            scratch.extend_from_slice(&self.bytes[written..before]);
            written = before;
            if slice.len() <= NET_COPY_BYTES_MAX {
                scratch.extend_from_slice(&slice);
            } else {
                out.push(scratch.split().freeze());
                out.push(slice);
            }
        }
        scratch.extend_from_slice(&self.bytes[written..]);
    }
}

/// Replies that have left, to write others into.
#[derive(Default)]
pub struct Spare(Vec<Reply>);

impl Spare {
    /// An empty reply.
    pub fn take(&mut self) -> Reply {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps a reply that is not needed any more.
    pub fn keep(&mut self, mut reply: Reply) {
        let small =
            reply.bytes.capacity() <= REPLY_KEPT_BYTES && reply.slices.capacity() <= REPLY_KEPT_SLICES;
        if small && self.0.len() < REPLIES_KEPT {
            reply.bytes.clear();
            reply.slices.clear();
            self.0.push(reply);
        }
    }
}

/// Bytes between the length and a reply: correlation id and tags, at most.
const HEAD_BYTES: usize = 8;

/// The open and the unsent slots of one connection.
#[derive(Default)]
pub(super) struct Replies {
    first_seq: u64,
    slots: VecDeque<State>,
    open: usize,
    /// Open slots of requests that want to be alone.
    alone: usize,
    /// Bytes of requests in flight and of replies that wait.
    held: usize,
}

enum State {
    /// Not answered; the size of its request, whether it wants to be alone, and who waits to answer it.
    Open(usize, bool, Option<u64>),
    /// Answered: what goes before the reply, the reply, and what all of it keeps in memory.
    Reply([u8; HEAD_BYTES], u8, Reply, usize),
    /// Answered by silence.
    Nothing,
}

impl Replies {
    /// A new slot for a request of so many bytes.
    pub(super) fn open(&mut self, request_bytes: usize, alone: bool) -> u64 {
        self.slots.push_back(State::Open(request_bytes, alone, None));
        self.open += 1;
        self.alone += usize::from(alone);
        self.held += request_bytes;
        self.first_seq + self.slots.len() as u64 - 1
    }

    fn slot(&mut self, seq: u64) -> Option<&mut State> {
        let at = seq.checked_sub(self.first_seq).and_then(|n| usize::try_from(n).ok())?;
        self.slots.get_mut(at)
    }

    /// Names who waits to answer an open slot.
    pub(super) fn waits(&mut self, seq: u64, who: u64) {
        if let Some(State::Open(_, _, waiting)) = self.slot(seq) {
            *waiting = Some(who);
        }
    }

    /// Who waits to answer open slots.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.slots
            .iter()
            .filter_map(|slot| if let State::Open(_, _, waiting) = slot { *waiting } else { None })
    }

    /// Answers a slot (None: without a reply); `waits` if it cannot leave soon. False if there is no such open slot.
    pub(super) fn answer(&mut self, seq: u64, reply: Option<(&[u8], Reply)>, waits: bool) -> bool {
        let Some(state) = self.slot(seq) else { return false };
        let State::Open(request_bytes, alone, _) = *state else { return false };
        let mut bytes = 0;
        *state = match reply {
            None => State::Nothing,
            Some((head, mut reply)) => {
                if waits {
                    reply.own();
                }
                bytes = 4 + head.len() + reply.cost();
                let mut kept = [0; HEAD_BYTES];
                kept[..head.len()].copy_from_slice(head);
                State::Reply(kept, head.len() as u8, reply, bytes)
            }
        };
        self.open -= 1;
        self.alone -= usize::from(alone);
        self.held = self.held - request_bytes + bytes;
        true
    }

    /// Takes every reply that is due, each with its length before it, and gives what they keep in memory. What is left of
    /// them to be used again goes to `spare`.
    pub(super) fn take_due(
        &mut self,
        scratch: &mut BytesMut,
        out: &mut Vec<Bytes>,
        spare: &mut Spare,
    ) -> usize {
        let mut total = 0;
        while let Some(state) = self.slots.pop_front_if(|s| !matches!(s, State::Open(..))) {
            self.first_seq += 1;
            let State::Reply(head, head_len, mut reply, cost) = state else { continue };
            self.held -= cost;
            total += cost;
            let len = usize::from(head_len) + reply.len();
            scratch.put_i32(i32::try_from(len).expect("a reply within Kafka's frame size"));
            scratch.extend_from_slice(&head[..usize::from(head_len)]);
            reply.leave(scratch, out);
            spare.keep(reply);
        }
        if !scratch.is_empty() {
            out.push(scratch.split().freeze());
        }
        total
    }

    /// Requests that are not answered.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// Whether a request that wants to be alone is not answered.
    pub(super) fn has_alone(&self) -> bool {
        self.alone > 0
    }

    /// The seq of the first slot that has not been taken.
    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Slots that are open or wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of requests in flight and of replies that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(replies: &mut Replies) -> Vec<u8> {
        let mut parts = Vec::new();
        let total = replies.take_due(&mut BytesMut::new(), &mut parts, &mut Spare::default());
        let bytes = parts.concat();
        assert!(bytes.len() <= total);
        bytes
    }

    fn reply(text: &str) -> Reply {
        Reply::from(text.as_bytes().to_vec())
    }

    #[test]
    fn any_order_of_answers_leaves_in_order_of_requests() {
        // All 24 orders of four answers; the third request wants none.
        for order in 0..24 {
            let mut left = vec![0u64, 1, 2, 3];
            let (mut n, mut replies, mut stream) = (order, Replies::default(), Vec::new());
            for seq in 0..4 {
                assert_eq!(replies.open(10, false), seq);
            }
            for radix in (1..=4).rev() {
                let seq = left.remove(n % radix);
                n /= radix;
                let text = ["a", "bb", "", "dddd"][seq as usize];
                let answer = || (seq != 2).then(|| (&b"h"[..], reply(text)));
                assert!(replies.answer(seq, answer(), false));
                assert!(!replies.answer(seq, answer(), false), "answered once");
                stream.extend(sent(&mut replies));
            }
            assert_eq!(stream, b"\0\0\0\x02ha\0\0\0\x03hbb\0\0\0\x05hdddd");
            assert_eq!((replies.held(), replies.len(), replies.open_count()), (0, 0, 0));
        }
    }

    #[test]
    fn large_slices_are_not_copied_and_small_ones_share_a_buffer() {
        let mut replies = Replies::default();
        let large = Bytes::from(vec![7; NET_COPY_BYTES_MAX + 1]);
        for _ in 0..3 {
            replies.open(1, false);
        }
        replies.answer(0, Some((b"", reply("one"))), false);
        let small = Bytes::from_static(b"small");
        let slices = vec![(0, small), (4, large.clone())];
        replies.answer(1, Some((b"!", Reply { bytes: b"headtail".to_vec(), slices })), false);
        replies.answer(2, Some((b"", Reply::default())), false);
        let mut parts = Vec::new();
        let mut spare = Spare::default();
        let total = replies.take_due(&mut BytesMut::new(), &mut parts, &mut spare);
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0][7 + 4..], *b"!smallhead");
        assert_eq!(parts[1].as_ptr(), large.as_ptr());
        assert_eq!(parts[2], &b"tail\0\0\0\0"[..]);
        assert_eq!(total, 7 + 4 + 1 + 5 + 4 + NET_SLICE_BYTES_MIN + 4 + 4, "what is kept, not what is sent");
        assert!(!replies.answer(3, None, false) && !replies.answer(0, None, false));
        assert_eq!(spare.0.len(), 3);
        let used = spare.take();
        assert!(used.bytes.is_empty() && used.slices.is_empty());
    }

    #[test]
    fn a_large_reply_is_not_copied() {
        let mut replies = Replies::default();
        replies.open(1, false);
        let bytes = vec![7; NET_COPY_BYTES_MAX + 1];
        let place = bytes.as_ptr();
        replies.answer(0, Some((b"hd", bytes.into())), false);
        let mut parts = Vec::new();
        replies.take_due(&mut BytesMut::new(), &mut parts, &mut Spare::default());
        assert_eq!((parts.len(), parts[1].as_ptr()), (2, place));
    }

    #[test]
    fn those_who_wait_are_known_until_they_answer() {
        let mut replies = Replies::default();
        for seq in 0..3 {
            replies.open(1, false);
            replies.waits(seq, seq + 70);
        }
        replies.answer(1, None, false);
        assert_eq!(replies.waiting().collect::<Vec<_>>(), [70, 72]);
    }

    /// A slice of a few bytes keeps the buffer of a whole read from the disk: replies that a client does not read kept a
    /// thousand times what they were counted for.
    #[test]
    fn a_reply_that_waits_keeps_nothing_larger_than_itself() {
        let mut replies = Replies::default();
        let (small, large) = (NET_WAITING_COPY_BYTES_MAX, NET_WAITING_COPY_BYTES_MAX + 1);
        let read = Bytes::from(vec![7; 1 << 20]);
        for waits in [true, false] {
            let seq = replies.open(1, true);
            let slices = vec![(1, read.slice(..small)), (1, read.slice(..large)), (3, read.slice(..10))];
            let before = replies.held();
            replies.answer(seq, Some((b"", Reply { bytes: b"abc".to_vec(), slices })), waits);
            assert!(!replies.has_alone() && replies.held() >= before + small + large + 16);
            let mut parts = Vec::new();
            replies.take_due(&mut BytesMut::new(), &mut parts, &mut Spare::default());
            let kept = parts.iter().filter(|p| read.as_ptr_range().contains(&p.as_ptr())).count();
            assert_eq!(kept, if waits { 1 } else { 2 });
            let expected = [
                &b"\0\0"[..],
                &((small + large + 13) as u16).to_be_bytes(),
                b"a",
                &vec![7; small + large],
                b"bc",
                &[7; 10],
            ];
            assert_eq!(parts.concat(), expected.concat());
        }
        assert_eq!(replies.held(), 0);
    }
}
