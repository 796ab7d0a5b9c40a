//! One consuming connection: long polls in a fetch session (KIP-227), one at a time, as Kafka's consumer does it.

use super::BenchError;
use super::check::{Checker, Ledger};
use super::client::{Topic, Versions};
use super::load::Load;
use super::outcome::Outcome;
use super::producer::Window;
use super::socket::Socket;
use super::template::CLIENT_ID;
use crate::wire::api::ApiKey;
use crate::wire::codec::Message as _;
use crate::wire::errors::ErrorCode;
use crate::wire::frame;
use crate::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use crate::wire::messages::fetch_response::FetchResponse;

/// `fetch.max.bytes` over `max.partition.fetch.bytes`, by Kafka's defaults.
const FETCH_PARTITIONS: i32 = 50;
/// A session with no more requests: KIP-227.
const FULL_FETCH: i32 = 0;

/// A connection.
pub struct Consumer {
    /// For events.
    pub socket: Socket,
    checker: Checker,
    /// The partitions it reads, over all topics.
    partitions: std::ops::Range<usize>,
    /// Partitions whose offset the session does not know yet, rising.
    changed: Vec<usize>,
    session: (i32, i32),
    correlation_id: i32,
}

impl Consumer {
    /// Of some partitions, from their start.
    pub fn new(socket: Socket, checker: Checker, partitions: std::ops::Range<usize>) -> Consumer {
        let changed = partitions.clone().collect();
        Consumer { socket, checker, partitions, changed, session: (0, FULL_FETCH), correlation_id: 0 }
    }

    /// What it has read.
    pub fn read(&self) -> &Ledger {
        self.checker.read()
    }

    /// Sends the next fetch.
    pub fn fetch(&mut self, load: &Load, topics: &[Topic], versions: Versions) -> Result<(), BenchError> {
        let mut wanted: Vec<FetchTopic<'_>> = Vec::new();
        let mut of = usize::MAX;
        for partition in self.changed.drain(..) {
            let (topic, index) = (partition / load.partitions, partition % load.partitions);
            if of != topic {
                of = topic;
                let Topic { name, id } = &topics[topic];
                wanted.push(FetchTopic { topic: name, topic_id: *id, partitions: Vec::new() });
            }
            let part = FetchPartition {
                partition: index as i32,
                current_leader_epoch: -1,
                fetch_offset: self.checker.next_offset(partition),
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: load.fetch_bytes,
                ..FetchPartition::default()
            };
            if let Some(topic) = wanted.last_mut() {
                topic.partitions.push(part);
            }
        }
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: load.fetch_wait_ms,
            min_bytes: 1,
            max_bytes: load.fetch_bytes.saturating_mul(FETCH_PARTITIONS),
            session_id: self.session.0,
            session_epoch: self.session.1,
            topics: wanted,
            ..FetchRequest::default()
        };
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let bytes = frame::request(&request, versions.fetch, self.correlation_id, Some(CLIENT_ID))
            .map_err(BenchError::reply("a Fetch request"))?;
        self.socket.send(&bytes).and_then(|()| self.socket.flush()).map_err(BenchError::io("send Fetch"))
    }

    /// Takes the answer if it has come, and checks what is in it; whether it has.
    pub fn take_reply(
        &mut self,
        load: &Load,
        topics: &[Topic],
        versions: Versions,
        outcome: &mut Outcome,
        window: &Window,
        now_ns: impl Fn() -> u64,
    ) -> Result<bool, BenchError> {
        let Some(reply) = self.socket.receive().map_err(BenchError::io("a Fetch reply"))? else {
            return Ok(false);
        };
        let received_ns = now_ns();
        let mut r = frame::read_response(reply, ApiKey::Fetch, versions.fetch, self.correlation_id)
            .map_err(BenchError::reply("Fetch"))?;
        let reply = FetchResponse::read(&mut r, versions.fetch).map_err(BenchError::reply("Fetch"))?;
        let error = ErrorCode(reply.error_code);
        if matches!(error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND | ErrorCode::INVALID_FETCH_SESSION_EPOCH) {
            // The broker keeps some number of sessions and has dropped this one.
            self.restart();
            return Ok(true);
        }
        BenchError::check(|| "Fetch".to_owned(), error.0)?;
        let (mut bytes, records_before) = (0, self.checker.read().records());
        for topic in &reply.responses {
            let found = topics.iter().position(|t| {
                if versions.fetch >= 13 { t.id == topic.topic_id } else { t.name == topic.topic }
            });
            let Some(found) = found else { return Err(BenchError::reply("Fetch")("a topic of nobody")) };
            for part in &topic.partitions {
                let partition = found * load.partitions + part.partition_index as usize;
                BenchError::check(
                    || format!("Fetch of {}-{}", topics[found].name, part.partition_index),
                    part.error_code,
                )?;
                if !self.partitions.contains(&partition) {
                    return Err(BenchError::reply("Fetch")("a partition that was not asked for"));
                }
                let Some(some) = part.records.filter(|records| !records.is_empty()) else { continue };
                bytes += self.checker.feed(partition, some, |intended_ns| {
                    if window.has(intended_ns) {
                        outcome.end_to_end_ns.saturating_record(received_ns.saturating_sub(intended_ns));
                    }
                })?;
                self.changed.push(partition);
            }
        }
        if window.has(received_ns) {
            outcome.fetches += 1;
            outcome.fetched_bytes += bytes as u64;
            outcome.fetched_records += self.checker.read().records() - records_before;
        }
        self.session = match (reply.session_id, self.session.1) {
            // No session: everything is asked for each time.
            (0, _) => (0, FULL_FETCH),
            (id, i32::MAX) => (id, 1),
            (id, epoch) => (id, epoch + 1),
        };
        if self.session.0 == 0 {
            self.restart();
        } else {
            self.changed.sort_unstable();
        }
        Ok(true)
    }

    /// The next fetch asks for everything, and for a session.
    fn restart(&mut self) {
        self.session = (0, FULL_FETCH);
        self.changed.clear();
        self.changed.extend(self.partitions.clone());
    }
}
