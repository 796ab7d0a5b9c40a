//! The wire protocol over one blocking socket.

use ottla::wire::api::ApiKey;
use ottla::wire::codec::Message;
use ottla::wire::frame;
use ottla::wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::messages::create_topics_response::CreateTopicsResponse;
use ottla::wire::messages::delete_topics_request::DeleteTopicsRequest;
use ottla::wire::messages::delete_topics_response::DeleteTopicsResponse;
use ottla::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::fetch_response::FetchResponse;
use ottla::wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::messages::metadata_response::MetadataResponse;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

const CLIENT_ID: Option<&str> = Some("perf");
/// The last versions that name topics by name.
const FETCH_VERSION: i16 = 12;
const DELETE_VERSION: i16 = 5;
const CREATE_VERSION: i16 = 7;
const METADATA_VERSION: i16 = 9;
const REPLY_BYTES_MAX: usize = 256 << 20;

/// A connection.
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
    reply: Vec<u8>,
}

/// Anything wrong that a broker said.
pub fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Client { stream, correlation_id: 0, reply: Vec::new() })
    }

    /// Connects to a broker that is starting.
    pub fn connect_soon(address: SocketAddr) -> io::Result<Client> {
        for _ in 0..2000 {
            if let Ok(client) = Client::connect(address) {
                return Ok(client);
            }
            sleep(Duration::from_millis(5));
        }
        Client::connect(address)
    }

    /// Sends a whole frame, its length in front.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame)
    }

    /// The next reply without its length.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let len = u32::from_be_bytes(prefix) as usize;
        if len > REPLY_BYTES_MAX {
            return Err(wrong(format!("a reply of {len} bytes")));
        }
        if self.reply.len() < len {
            self.reply.resize(len, 0);
        }
        self.stream.read_exact(&mut self.reply[..len])?;
        Ok(&self.reply[..len])
    }

    fn call<'a, 's, Q: Message<'a>, A: Message<'s>>(
        &'s mut self,
        request: &Q,
        version: i16,
    ) -> io::Result<A> {
        self.correlation_id += 1;
        let id = self.correlation_id;
        let bytes = frame::request(request, version, id, CLIENT_ID).map_err(|e| wrong(e.to_string()))?;
        self.send(&bytes)?;
        self.answer(key_of(Q::KEY)?, version, id)
    }

    fn answer<'s, A: Message<'s>>(&'s mut self, key: ApiKey, version: i16, id: i32) -> io::Result<A> {
        let reply = self.receive()?;
        let mut r = frame::read_response(reply, key, version, id).map_err(|e| wrong(e.to_string()))?;
        A::read(&mut r, version).map_err(|e| wrong(e.to_string()))
    }

    /// Makes a topic with one replica, and waits until every partition is served.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let topic =
            CreatableTopic { name, num_partitions: partitions, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: false };
        let reply: CreateTopicsResponse<'_> = self.call(&request, CREATE_VERSION)?;
        for topic in &reply.topics {
            if topic.error_code != 0 {
                return Err(wrong(format!("topic {name}: error {}", topic.error_code)));
            }
        }
        while !self.has_leaders(name, partitions)? {
            sleep(Duration::from_millis(1));
        }
        for partition in 0..partitions {
            // The metadata may run ahead of what the leader knows.
            for _ in 0..1000 {
                if self.fetch(name, partition, 0, 1).is_ok() {
                    break;
                }
                sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn has_leaders(&mut self, name: &str, partitions: i32) -> io::Result<bool> {
        let topic = MetadataRequestTopic { name: Some(name), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let reply: MetadataResponse<'_> = self.call(&request, METADATA_VERSION)?;
        let led = reply.topics.iter().flat_map(|t| &t.partitions).filter(|p| p.error_code == 0).count();
        Ok(led == partitions as usize)
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> io::Result<()> {
        let request =
            DeleteTopicsRequest { topic_names: vec![name], timeout_ms: 60_000, ..Default::default() };
        let _: DeleteTopicsResponse<'_> = self.call(&request, DELETE_VERSION)?;
        Ok(())
    }

    /// Reads one partition from `offset`: its batches, and how far it goes.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
    ) -> io::Result<(&[u8], i64)> {
        self.correlation_id += 1;
        let id = self.correlation_id;
        let request = fetch_frame(topic, partition, offset, max_bytes, id)?;
        self.send(&request)?;
        let reply: FetchResponse<'_> = self.answer(ApiKey::Fetch, FETCH_VERSION, id)?;
        let found = reply.responses.first().and_then(|t| t.partitions.first());
        match found {
            Some(part) if part.error_code == 0 => Ok((part.records.unwrap_or_default(), part.high_watermark)),
            Some(part) => Err(wrong(format!("fetch of {topic}-{partition}: error {}", part.error_code))),
            None => {
                Err(wrong(format!("fetch of {topic}-{partition}: no answer, error {}", reply.error_code)))
            }
        }
    }
}

fn key_of(code: i16) -> io::Result<ApiKey> {
    ApiKey::from_code(code).ok_or_else(|| wrong("a message without an API"))
}

/// A fetch of one partition, its length in front.
pub fn fetch_frame(
    topic: &str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    correlation_id: i32,
) -> io::Result<Vec<u8>> {
    let part = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic { topic, partitions: vec![part], ..Default::default() }],
        ..Default::default()
    };
    frame::request(&request, FETCH_VERSION, correlation_id, CLIENT_ID).map_err(|e| wrong(e.to_string()))
}
