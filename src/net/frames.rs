//! Requests out of a stream of bytes: a big-endian i32 length, then so many bytes.

use bytes::{Buf, Bytes};

use crate::base::limits::{
    FRAME_BYTES_MIN, FRAME_FIRST_BYTES, FRAME_GROWTH_BYTES_MAX, FRAME_LARGE_BYTES_MIN,
};

/// A length prefix that no Kafka client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first bytes of a TLS handshake.
    #[error(
        "a TLS handshake: this version of Ottla speaks PLAINTEXT only; set security.protocol=PLAINTEXT in the client"
    )]
    Tls,
    /// The first bytes of an HTTP request.
    #[error("an HTTP request on a Kafka listener")]
    Http,
    /// Too small to be a request, or negative.
    #[error("a request of {0} bytes: not the Kafka protocol")]
    TooSmall(i32),
    /// Larger than allowed.
    #[error("a request of {len} bytes is larger than socket.request.max.bytes = {max}")]
    TooLarge {
        /// The length announced.
        len: i32,
        /// The bound.
        max: usize,
    },
}

impl FrameError {
    /// What all errors of a kind have in common.
    pub fn cause(self) -> &'static str {
        match self {
            FrameError::Tls => "a TLS handshake",
            FrameError::Http => "an HTTP request",
            FrameError::TooSmall(_) => "not the Kafka protocol",
            FrameError::TooLarge { .. } => "a request larger than socket.request.max.bytes",
        }
    }
}

/// The part of the stream that has arrived but is no whole request yet.
pub(super) struct Frames {
    max: usize,
    prefix: [u8; 4],
    prefix_len: usize,
    partial: Option<Partial>,
}

struct Partial {
    len: usize,
    /// Empty while it is lent out.
    buffer: Vec<u8>,
    lent: usize,
}

impl Frames {
    pub(super) fn new(max: usize) -> Frames {
        Frames { max, prefix: [0; 4], prefix_len: 0, partial: None }
    }

    /// Takes the next bytes; whole requests go to `out`: slices of `chunk` where they lie in it whole.
    pub(super) fn feed(&mut self, mut chunk: Bytes, out: &mut impl Extend<Bytes>) -> Result<(), FrameError> {
        while !chunk.is_empty() {
            if self.partial.is_some() {
                self.feed_partial(&mut chunk, out);
            } else if let Some(len) = self.length(&mut chunk)? {
                if chunk.len() >= len {
                    out.extend(Some(chunk.split_to(len)));
                } else {
                    // What a peer announces is not allocated before a good part of it has come.
                    let all = len <= 4 * chunk.len();
                    let room = if all { len } else { len.min(chunk.len().max(FRAME_FIRST_BYTES)) };
                    let mut buffer = Vec::with_capacity(room);
                    buffer.extend_from_slice(&chunk);
                    chunk.clear();
                    self.partial = Some(Partial { len, buffer, lent: 0 });
                }
            }
        }
        Ok(())
    }

    /// The length of the next request, once its four bytes are there.
    fn length(&mut self, chunk: &mut Bytes) -> Result<Option<usize>, FrameError> {
        let n = (4 - self.prefix_len).min(chunk.len());
        self.prefix[self.prefix_len..self.prefix_len + n].copy_from_slice(&chunk[..n]);
        self.prefix_len += n;
        chunk.advance(n);
        if self.prefix_len < 4 {
            return Ok(None);
        }
        self.prefix_len = 0;
        check(self.prefix, self.max).map(Some)
    }

    fn feed_partial(&mut self, chunk: &mut Bytes, out: &mut impl Extend<Bytes>) {
        let Some(partial) = &mut self.partial else { return };
        assert!(partial.lent == 0, "bytes outside the buffer that was lent for them");
        let (len, capacity) = (partial.buffer.len(), partial.buffer.capacity());
        let n = (partial.len - len).min(chunk.len());
        if capacity - len < n {
            // Never more than the request, or a receive into the rest would wait for the next request's bytes.
            partial.buffer.reserve_exact((2 * capacity).clamp(len + n, partial.len) - len);
        }
        partial.buffer.extend_from_slice(&chunk[..n]);
        chunk.advance(n);
        self.finish_partial(out);
    }

    fn finish_partial(&mut self, out: &mut impl Extend<Bytes>) {
        if let Some(partial) = self.partial.take_if(|p| p.buffer.len() == p.len) {
            out.extend(Some(Bytes::from(partial.buffer)));
        }
    }

    /// Whether the rest of the request under way is large enough to be received into its own buffer.
    pub(super) fn is_large(&self) -> bool {
        self.partial.as_ref().is_some_and(|p| p.lent > 0 || p.len - p.buffer.len() >= FRAME_LARGE_BYTES_MIN)
    }

    /// What [`Frames::lend`] would allocate next: up to three times what has come, a quarter if memory is to be saved; no
    /// more than is left.
    pub(super) fn growth(&self, saving: bool) -> usize {
        self.partial.as_ref().map_or(0, |p| {
            let wanted = if saving { p.buffer.len() / 4 } else { 3 * p.buffer.len() };
            let wanted = wanted.clamp(FRAME_FIRST_BYTES, FRAME_GROWTH_BYTES_MAX);
            let missing = p.len - p.buffer.len();
            if missing < wanted + FRAME_LARGE_BYTES_MIN { missing } else { wanted } // no small rest
        })
    }

    /// Gives the buffer of the request under way out, with room for [`Frames::growth`] more bytes.
    pub(super) fn lend(&mut self, saving: bool) -> Option<Vec<u8>> {
        let growth = self.growth(saving);
        let partial = self.partial.as_mut().filter(|p| p.lent == 0)?;
        let mut buffer = std::mem::take(&mut partial.buffer);
        buffer.reserve_exact(growth);
        debug_assert!(buffer.capacity() <= partial.len, "room beyond the request");
        partial.lent = buffer.capacity();
        Some(buffer)
    }

    /// Bytes of the request under way that have not come.
    pub(super) fn missing(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| p.len - p.buffer.len())
    }

    /// Takes the buffer back with what has come.
    pub(super) fn filled(
        &mut self,
        mut buffer: Vec<u8>,
        out: &mut impl Extend<Bytes>,
    ) -> Result<(), FrameError> {
        let Some(partial) = self.partial.as_mut().filter(|p| p.lent > 0) else { return Ok(()) };
        partial.lent = 0;
        // An allocator may give more room than was asked for; then the next request has begun in it.
        let rest = if buffer.len() > partial.len { buffer.split_off(partial.len) } else { Vec::new() };
        partial.buffer = buffer;
        self.finish_partial(out);
        self.feed(Bytes::from(rest), out)
    }

    /// Memory held for the request under way.
    pub(super) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| p.buffer.capacity() + p.lent)
    }
}

fn check(prefix: [u8; 4], max: usize) -> Result<usize, FrameError> {
    let len = i32::from_be_bytes(prefix);
    if len < FRAME_BYTES_MIN as i32 {
        return Err(FrameError::TooSmall(len));
    }
    if len as usize <= max {
        return Ok(len as usize);
    }
    Err(match &prefix {
        [0x16, 0x03, 0..=4, _] => FrameError::Tls,
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" => FrameError::Http,
        _ => FrameError::TooLarge { len, max },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        frames.iter().flat_map(|f| [&(f.len() as i32).to_be_bytes()[..], f].concat()).collect()
    }

    fn sample() -> Vec<Vec<u8>> {
        [8, 9, 100, 8, 5000].iter().enumerate().map(|(i, n)| vec![i as u8; *n]).collect()
    }

    #[test]
    fn every_cut_gives_the_same_requests() {
        let stream = framed(&sample());
        for cut in 0..=stream.len() {
            let mut frames = Frames::new(1 << 20);
            let mut out = Vec::new();
            for piece in [&stream[..cut], &stream[cut..]] {
                frames.feed(Bytes::copy_from_slice(piece), &mut out).unwrap();
            }
            assert_eq!(out, sample(), "cut at {cut}");
            assert_eq!(frames.held(), 0);
        }
        for size in 1..20 {
            let mut frames = Frames::new(1 << 20);
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                frames.feed(Bytes::copy_from_slice(piece), &mut out).unwrap();
            }
            assert_eq!(out, sample(), "pieces of {size}");
        }
    }

    #[test]
    fn whole_requests_are_not_copied() {
        let chunk = Bytes::from(framed(&sample()));
        let mut out = Vec::new();
        Frames::new(1 << 20).feed(chunk.clone(), &mut out).unwrap();
        let inside = chunk.as_ptr_range();
        assert!(out.iter().all(|f| inside.contains(&f.as_ptr())));
    }

    #[test]
    fn memory_follows_what_arrives_not_what_is_announced() {
        let mut frames = Frames::new(100 << 20);
        let mut out = Vec::new();
        frames.feed(Bytes::copy_from_slice(&(100i32 << 20).to_be_bytes()), &mut out).unwrap();
        frames.feed(Bytes::from_static(b"x"), &mut out).unwrap();
        assert!(frames.held() <= FRAME_FIRST_BYTES && frames.is_large());
        let mut got = 1;
        while out.is_empty() {
            let mut buffer = frames.lend(false).unwrap();
            assert!(frames.lend(false).is_none(), "lent once");
            let most = (4 * got).max(got + FRAME_FIRST_BYTES) + FRAME_LARGE_BYTES_MIN;
            assert!(buffer.capacity() <= most, "at {got}");
            buffer.resize(buffer.capacity(), b'y');
            got = buffer.len();
            frames.filled(buffer, &mut out).unwrap();
        }
        assert_eq!((out[0].len(), frames.held()), (100 << 20, 0));
        assert!(out[0][0] == b'x' && out[0][1] == b'y');
    }

    /// Or the receive would wait for bytes that the client only sends after it has its reply.
    #[test]
    fn a_lent_buffer_ends_where_the_request_ends() {
        for first in [1000, 30_000, 33_000, 50_000, 65_000, 100_000, 140_000, 199_000] {
            for piece in [1000, 5000, 16_384] {
                let stream = framed(&[vec![1; 500_000]]);
                let mut frames = Frames::new(1 << 20);
                for chunk in stream[..first].chunks(piece) {
                    frames.feed(Bytes::copy_from_slice(chunk), &mut Vec::new()).unwrap();
                }
                assert!(frames.lend(false).unwrap().capacity() <= 500_000, "after {first} bytes by {piece}");
            }
        }
    }

    #[test]
    fn a_short_fill_is_continued_either_way() {
        let frame: Vec<u8> = (0..900_000u32).map(|i| i as u8).collect();
        let stream = framed(std::slice::from_ref(&frame));
        let mut frames = Frames::new(1 << 20);
        let mut out = Vec::new();
        frames.feed(Bytes::copy_from_slice(&stream[..10_000]), &mut out).unwrap();
        let mut buffer = frames.lend(false).unwrap();
        buffer.extend_from_slice(&stream[10_000..10_007]);
        frames.filled(buffer, &mut out).unwrap();
        assert!(frames.is_large());
        frames.feed(Bytes::copy_from_slice(&stream[10_007..]), &mut out).unwrap();
        assert_eq!(out, [frame]);
    }

    #[test]
    fn absurd_lengths_are_named() {
        let table: [([u8; 4], FrameError); 7] = [
            ((-1i32).to_be_bytes(), FrameError::TooSmall(-1)),
            (i32::MIN.to_be_bytes(), FrameError::TooSmall(i32::MIN)),
            (7i32.to_be_bytes(), FrameError::TooSmall(7)),
            (1001i32.to_be_bytes(), FrameError::TooLarge { len: 1001, max: 1000 }),
            ([0x16, 0x03, 0x01, 0x02], FrameError::Tls),
            (*b"GET ", FrameError::Http),
            (i32::MAX.to_be_bytes(), FrameError::TooLarge { len: i32::MAX, max: 1000 }),
        ];
        for (prefix, expected) in table {
            let mut out = Vec::new();
            let fed = Frames::new(1000).feed(Bytes::copy_from_slice(&prefix), &mut out);
            assert_eq!(fed, Err(expected));
        }
    }
}
