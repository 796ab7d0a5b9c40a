//! A client's connection: requests out, answers in, each exactly once and in order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use ottla::base::Ticks;
use ottla::io::sim::{Sim, SimClient};
use ottla::shard::Mail;
use ottla::wire::api::ApiKey;
use ottla::wire::codec::{Message, decode};
use ottla::wire::frame;

use super::machine::{Machine, address};

/// A request without an answer for so long is lost, which must not happen while its connection lives.
const ANSWER_MS: i64 = 60_000;

/// An answer's body, for the request that was sent with this tag.
pub struct Answer<T> {
    pub tag: T,
    pub api: ApiKey,
    version: i16,
    body: Vec<u8>,
}

impl<T> Answer<T> {
    /// The message.
    pub fn read<'a, M: Message<'a>>(&'a self) -> M {
        decode(&self.body, self.version)
            .unwrap_or_else(|e| panic!("an answer of {:?} v{} is malformed: {e}", self.api, self.version))
    }
}

/// What happened on a link.
pub enum News<T> {
    Answer(Answer<T>),
    /// The connection has ended; what these requests have done is unknown.
    Lost(Vec<T>),
}

struct Waiting<T> {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    tag: T,
    since: Ticks,
}

/// A connection that is made anew when it was lost.
pub struct Link<T> {
    name: String,
    from: SocketAddr,
    conn: Option<SimClient>,
    buffer: Vec<u8>,
    waiting: VecDeque<Waiting<T>>,
    correlation_id: i32,
}

impl<T> Link<T> {
    pub fn new(name: &str, number: u8) -> Link<T> {
        let from = SocketAddr::from(([10, 0, 1, number], 50_000));
        Link {
            name: name.to_owned(),
            from,
            conn: None,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            correlation_id: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.conn.is_some()
    }

    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    pub fn open(&mut self, sim: &Sim<Mail>) {
        if self.conn.is_none() {
            self.buffer.clear();
            self.conn = Some(sim.connect(self.from, address()));
        }
    }

    /// Sends a request. Its answer comes with `tag`.
    pub fn ask<'a, M: Message<'a>>(&mut self, sim: &Sim<Mail>, message: &M, version: i16, tag: T) {
        let api = self.send(sim, message, version);
        let correlation_id = self.correlation_id;
        self.waiting.push_back(Waiting { correlation_id, api, version, tag, since: sim.now() });
    }

    /// Sends a request that gets no answer.
    pub fn send<'a, M: Message<'a>>(&mut self, sim: &Sim<Mail>, message: &M, version: i16) -> ApiKey {
        self.correlation_id += 1;
        let bytes =
            frame::request(message, version, self.correlation_id, Some(&self.name)).expect("a request");
        self.send_raw(sim, bytes);
        ApiKey::from_code(M::KEY).expect("an API")
    }

    pub fn send_raw(&mut self, sim: &Sim<Mail>, bytes: Vec<u8>) {
        if let Some(conn) = self.conn {
            sim.client_send(conn, Bytes::from(bytes));
        }
    }

    /// Ends the connection from this side.
    pub fn close(&mut self, sim: &Sim<Mail>, reset: bool) -> Vec<T> {
        if let Some(conn) = self.conn.take() {
            if reset { sim.client_reset(conn) } else { sim.client_close(conn) }
        }
        self.waiting.drain(..).map(|w| w.tag).collect()
    }

    /// What has happened since the last call.
    pub fn poll(&mut self, sim: &Sim<Mail>) -> Vec<News<T>> {
        let Some(conn) = self.conn else { return Vec::new() };
        let mut news = Vec::new();
        let Some(bytes) = sim.client_receive(conn) else {
            sim.client_close(conn);
            self.conn = None;
            news.push(News::Lost(self.waiting.drain(..).map(|w| w.tag).collect()));
            return news;
        };
        self.buffer.extend(bytes);
        while self.buffer.len() >= 4 {
            let len = i32::from_be_bytes(self.buffer[..4].try_into().expect("4 bytes")) as usize;
            if self.buffer.len() < 4 + len {
                break;
            }
            let rest = self.buffer.split_off(4 + len);
            let frame = std::mem::replace(&mut self.buffer, rest);
            let Some(w) = self.waiting.pop_front() else {
                panic!("{}: an answer to nothing that was asked", self.name)
            };
            let reader = frame::read_response(&frame[4..], w.api, w.version, w.correlation_id)
                .unwrap_or_else(|e| panic!("{}: {:?}: {e}", self.name, w.api));
            let body = reader.rest().to_vec();
            news.push(News::Answer(Answer { tag: w.tag, api: w.api, version: w.version, body }));
        }
        if let Some(oldest) = self.waiting.front() {
            let waited = sim.now().ms_since(oldest.since);
            assert!(
                waited < ANSWER_MS,
                "{}: {:?} v{} has no answer after {waited} ms",
                self.name,
                oldest.api,
                oldest.version
            );
        }
        news
    }

    /// Lets time pass until `n` answers have come; the connection must not end.
    pub fn answers(&mut self, machine: &mut Machine, n: usize) -> Vec<Answer<T>> {
        let until = machine.sim.now().plus_ms(ANSWER_MS);
        let mut answers = Vec::new();
        while answers.len() < n {
            let (so_far, load) = (answers.len(), machine.load());
            assert!(
                machine.sim.now() < until,
                "{}: {so_far} of {n} answers in a minute: {load:?}",
                self.name
            );
            machine.step(until);
            for news in self.poll(&machine.sim) {
                match news {
                    News::Answer(answer) => answers.push(answer),
                    News::Lost(_) => panic!("{}: the connection ended", self.name),
                }
            }
        }
        answers
    }
}
