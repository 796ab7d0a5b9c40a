//! A non-blocking connection that sends frames and receives them, without an allocation for either.

use crate::base::limits::{BENCH_READ_BYTES, BENCH_REPLY_BYTES_MAX};
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

/// Frames below this are collected and sent together at the end of a turn, as the copy costs less than a call.
const COLLECT_BYTES_MAX: usize = 16 << 10;

/// A connection. `input[start..end]` was received and not yet taken; `output[sent..]` waits to be sent.
pub struct Socket {
    /// For registration.
    pub stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    sent: usize,
    /// The kernel's buffer is full until it says otherwise.
    blocked: bool,
    /// There may be more to receive: events come at edges only.
    readable: bool,
}

impl Socket {
    /// Connects, waiting for it: there may be a thousand, and a listener's queue is shorter.
    pub fn connect(address: SocketAddr) -> io::Result<Socket> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Socket {
            stream: TcpStream::from_std(stream),
            input: vec![0; 4096],
            start: 0,
            end: 0,
            output: Vec::new(),
            sent: 0,
            blocked: false,
            readable: false,
        })
    }

    /// Sends a frame, now or with the next [`Socket::flush`].
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let direct = self.output.is_empty() && !self.blocked && frame.len() > COLLECT_BYTES_MAX;
        let at = if direct { self.write(frame)? } else { 0 };
        self.output.extend_from_slice(&frame[at..]);
        Ok(())
    }

    /// Whether something waits to be sent.
    pub fn is_behind(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends what was collected, as far as the kernel takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() || self.blocked {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let written = self.write(&output[self.sent..]);
        self.output = output;
        self.sent += written?;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.stream.write(&bytes[at..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => at += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(at)
    }

    /// What the poll said.
    pub fn on_event(&mut self, readable: bool, writable: bool) -> io::Result<()> {
        self.readable |= readable;
        if writable {
            self.blocked = false;
            self.flush()?;
        }
        Ok(())
    }

    /// The next whole frame without its length; `None` when there is none yet.
    pub fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let have = self.end - self.start;
            let need = match self.input.get(self.start..self.end).and_then(<[u8]>::first_chunk::<4>) {
                None => 4,
                Some(prefix) => 4 + u32::from_be_bytes(*prefix) as usize,
            };
            if need > BENCH_REPLY_BYTES_MAX {
                return Err(io::Error::other(format!("a reply of {need} bytes")));
            }
            if have >= 4 && have >= need {
                let frame = self.start + 4..self.start + need;
                self.start += need;
                return Ok(Some(&self.input[frame]));
            }
            if !self.readable {
                return Ok(None);
            }
            self.fill(need)?;
        }
    }

    /// Receives at least one byte of a frame of `need` bytes, or finds that there is nothing.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.input.len() - self.start < need.max(BENCH_READ_BYTES) {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.input.len() < need.max(BENCH_READ_BYTES) {
                self.input.resize(need.max(BENCH_READ_BYTES), 0);
            }
        }
        let room = self.input.len() - self.end;
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.end += n;
                // Less than there was room for: the next byte makes a new edge.
                self.readable = n == room;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(e),
        }
    }
}
