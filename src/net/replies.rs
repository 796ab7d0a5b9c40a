//! Replies in the order of their requests, whatever order they are answered in.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::Reply;
use crate::base::limits::NET_COPY_BYTES_MAX;

/// The open and the unsent slots of one connection.
#[derive(Default)]
pub(super) struct Replies {
    first_seq: u64,
    slots: VecDeque<State>,
    open: usize,
    /// Bytes of requests in flight and of replies that wait.
    held: usize,
}

enum State {
    /// Not answered; the size of its request.
    Open(usize),
    /// Answered, and the size of the reply with its prefix.
    Reply(Reply, usize),
    /// Answered by silence.
    Nothing,
}

impl Replies {
    /// A new slot for a request of so many bytes.
    pub(super) fn open(&mut self, request_bytes: usize) -> u64 {
        self.slots.push_back(State::Open(request_bytes));
        self.open += 1;
        self.held += request_bytes;
        self.first_seq + self.slots.len() as u64 - 1
    }

    /// Answers a slot (None: without a reply). False if there is no such open slot.
    pub(super) fn answer(&mut self, seq: u64, reply: Option<Reply>) -> bool {
        let at = seq.checked_sub(self.first_seq).and_then(|n| usize::try_from(n).ok());
        let Some(state) = at.and_then(|at| self.slots.get_mut(at)) else { return false };
        let State::Open(request_bytes) = *state else { return false };
        self.open -= 1;
        self.held -= request_bytes;
        *state = match reply {
            None => State::Nothing,
            Some(parts) => {
                let bytes = 4 + parts.iter().map(Bytes::len).sum::<usize>();
                self.held += bytes;
                State::Reply(parts, bytes)
            }
        };
        true
    }

    /// Takes every reply that is due, each with its length before it; small parts are put together in `scratch`.
    pub(super) fn take_due(&mut self, scratch: &mut BytesMut) -> (Vec<Bytes>, usize) {
        let (mut out, mut total) = (Vec::new(), 0);
        while let Some(state) = self.slots.pop_front_if(|s| !matches!(s, State::Open(_))) {
            self.first_seq += 1;
            let State::Reply(parts, bytes) = state else { continue };
            self.held -= bytes;
            total += bytes;
            let len = i32::try_from(bytes - 4).expect("a reply within Kafka's frame size");
            scratch.put_i32(len);
            for part in parts {
                if part.len() <= NET_COPY_BYTES_MAX {
                    scratch.extend_from_slice(&part);
                } else {
                    out.push(scratch.split().freeze());
                    out.push(part);
                }
            }
        }
        if !scratch.is_empty() {
            out.push(scratch.split().freeze());
        }
        (out, total)
    }

    /// Requests that are not answered.
    pub(super) fn open_count(&self) -> usize {
        self.open
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
        let (parts, total) = replies.take_due(&mut BytesMut::new());
        let bytes = parts.concat();
        assert_eq!(bytes.len(), total);
        bytes
    }

    fn reply(text: &'static str) -> Reply {
        vec![Bytes::from_static(text.as_bytes())]
    }

    #[test]
    fn any_order_of_answers_leaves_in_order_of_requests() {
        // All 24 orders of four answers; the third request wants none.
        for order in 0..24 {
            let mut left = vec![0u64, 1, 2, 3];
            let (mut n, mut replies, mut stream) = (order, Replies::default(), Vec::new());
            for seq in 0..4 {
                assert_eq!(replies.open(10), seq);
            }
            for radix in (1..=4).rev() {
                let seq = left.remove(n % radix);
                n /= radix;
                let answer = (seq != 2).then(|| reply(["a", "bb", "", "dddd"][seq as usize]));
                assert!(replies.answer(seq, answer.clone()));
                assert!(!replies.answer(seq, answer), "answered once");
                stream.extend(sent(&mut replies));
            }
            assert_eq!(stream, b"\0\0\0\x01a\0\0\0\x02bb\0\0\0\x04dddd");
            assert_eq!((replies.held(), replies.len(), replies.open_count()), (0, 0, 0));
        }
    }

    #[test]
    fn large_parts_are_not_copied_and_small_ones_share_a_buffer() {
        let mut replies = Replies::default();
        let large = Bytes::from(vec![7; NET_COPY_BYTES_MAX + 1]);
        for _ in 0..3 {
            replies.open(1);
        }
        replies.answer(0, Some(reply("one")));
        replies
            .answer(1, Some(vec![Bytes::from_static(b"head"), large.clone(), Bytes::from_static(b"tail")]));
        replies.answer(2, Some(Vec::new()));
        let (parts, total) = replies.take_due(&mut BytesMut::new());
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[1].as_ptr(), large.as_ptr());
        assert_eq!(total, 7 + 4 + 4 + large.len() + 4 + 4);
        assert!(!replies.answer(3, None) && !replies.answer(0, None));
    }
}
