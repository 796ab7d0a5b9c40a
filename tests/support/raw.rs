//! A Kafka client written by hand, independent of Ottla's own codec: the oldest non-flexible version of each request
//! that Apache Kafka 4.3.1 still answers. Network errors are returned (a killed broker is part of some tests);
//! answers that cannot be decoded fail the test.

use super::broker::Broker;
use super::{poll, records};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Kafka's error codes that the tests name.
pub mod code {
    pub const NONE: i16 = 0;
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const NOT_COORDINATOR: i16 = 16;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
    pub const UNSUPPORTED_VERSION: i16 = 35;
}

/// Writes the protocol's primitive types.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn string(self, value: &str) -> Self {
        let mut writer = self.i16(value.len() as i16);
        writer.0.extend(value.as_bytes());
        writer
    }
    pub fn null_string(self) -> Self {
        self.i16(-1)
    }
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut writer = self.i32(value.len() as i32);
        writer.0.extend(value);
        writer
    }
}

/// Reads the protocol's primitive types; fails the test at the end of the bytes.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(count <= self.0.len(), "the answer ends {} bytes early", count - self.0.len());
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }
    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("N bytes")
    }
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.array())
    }
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.array())
    }
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }
    pub fn string(&mut self) -> String {
        let length = self.i16().max(0) as usize;
        String::from_utf8(self.take(length).to_vec()).expect("UTF-8")
    }
    /// So many bytes as they are.
    pub fn raw(&mut self, count: usize) -> &'a [u8] {
        self.take(count)
    }
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = self.i32().max(0) as usize;
        self.take(length)
    }
    pub fn end(&self) {
        assert!(self.0.is_empty(), "{} bytes after the answer", self.0.len());
    }
}

/// One request frame: length, header (version 1) and body.
pub fn frame(api_key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let header = Writer::default().i16(api_key).i16(version).i32(correlation).string("raw").0;
    let mut frame = Writer::default().i32((header.len() + body.len()) as i32).0;
    frame.extend(header);
    frame.extend(body);
    frame
}

/// What a request says that its client waits, unless the test has changed it.
const TIMEOUT_MS: i32 = 20_000;

/// One connection that asks and waits for the answer.
pub struct Client {
    stream: TcpStream,
    correlation: i32,
    /// What its requests say that it waits.
    pub timeout_ms: i32,
}

impl Client {
    pub fn connect(broker: &Broker) -> Client {
        Client::open(broker.address()).expect("connect to the broker")
    }

    pub fn open(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, correlation: 0, timeout_ms: TIMEOUT_MS })
    }

    /// Sends a request without waiting; returns its correlation id.
    pub fn send(&mut self, api_key: i16, version: i16, body: &[u8]) -> io::Result<i32> {
        self.correlation += 1;
        self.stream.write_all(&frame(api_key, version, self.correlation, body))?;
        Ok(self.correlation)
    }

    /// Reads the next answer: its correlation id must be the given one.
    pub fn receive(&mut self, correlation: i32) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length);
        assert!((4..100_000_000).contains(&length), "length of the answer: {length}");
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer)?;
        assert_eq!(answer[..4], correlation.to_be_bytes(), "correlation id");
        answer.drain(..4);
        Ok(answer)
    }

    /// Sends a request and returns the body of its answer.
    pub fn call(&mut self, api_key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        let correlation = self.send(api_key, version, body)?;
        self.receive(correlation)
    }

    /// ApiVersions v0: (key, lowest, highest) of every API.
    pub fn api_versions(&mut self) -> io::Result<Vec<(i16, i16, i16)>> {
        let answer = self.call(18, 0, &[])?;
        let mut reader = Reader(&answer);
        assert_eq!(reader.i16(), code::NONE, "ApiVersions");
        let versions = (0..reader.i32()).map(|_| (reader.i16(), reader.i16(), reader.i16())).collect();
        reader.end();
        Ok(versions)
    }

    /// CreateTopics v2 with one replica; returns the error code.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<i16> {
        self.create_topic_with(name, partitions, &[])
    }

    /// CreateTopics v2 with one replica and settings; returns the error code.
    pub fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<i16> {
        let mut body = Writer::default().i32(1).string(name).i32(partitions).i16(1).i32(0);
        body = body.i32(configs.len() as i32);
        for (key, value) in configs {
            body = body.string(key).string(value);
        }
        let answer = self.call(19, 2, &body.i32(self.timeout_ms).i8(0).0)?;
        let mut reader = Reader(&answer);
        assert_eq!((reader.i32(), reader.i32(), reader.string()), (0, 1, name.to_string()), "CreateTopics");
        Ok(reader.i16())
    }

    /// DeleteTopics v1 of one topic; returns the error code.
    pub fn delete_topic(&mut self, name: &str) -> io::Result<i16> {
        let answer = self.call(20, 1, &Writer::default().i32(1).string(name).i32(self.timeout_ms).0)?;
        let mut reader = Reader(&answer);
        let _throttle = reader.i32();
        assert_eq!((reader.i32(), reader.string()), (1, name.to_string()), "DeleteTopics");
        Ok(reader.i16())
    }

    /// DeleteRecords v0 of one partition: the log start after it, or the error code.
    pub fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        before: i64,
    ) -> io::Result<Result<i64, i16>> {
        let body =
            Writer::default().i32(1).string(topic).i32(1).i32(partition).i64(before).i32(self.timeout_ms);
        let answer = self.call(21, 0, &body.0)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
        let (low_watermark, error) = (reader.i64(), reader.i16());
        reader.end();
        Ok(if error == code::NONE { Ok(low_watermark) } else { Err(error) })
    }

    /// InitProducerId v0 without a transaction: producer id and epoch.
    pub fn init_producer_id(&mut self) -> io::Result<(i64, i16)> {
        let answer = self.call(22, 0, &Writer::default().null_string().i32(-1).0)?;
        let mut reader = Reader(&answer);
        let (_throttle, error) = (reader.i32(), reader.i16());
        if error != code::NONE {
            return Err(io::Error::other(format!("InitProducerId: error {error}")));
        }
        Ok((reader.i64(), reader.i16()))
    }

    /// The body of Produce v3 with one batch.
    pub fn produce_body(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
        Client::produce_body_within(TIMEOUT_MS, topic, partition, acks, batch)
    }

    fn produce_body_within(timeout_ms: i32, topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
        let head = Writer::default().null_string().i16(acks).i32(timeout_ms);
        head.i32(1).string(topic).i32(1).i32(partition).bytes(batch).0
    }

    /// Produce v3 with one batch: error code and base offset. Not for acks 0, which has no answer.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        acks: i16,
        batch: &[u8],
    ) -> io::Result<(i16, i64)> {
        let body = Client::produce_body_within(self.timeout_ms, topic, partition, acks, batch);
        let correlation = self.send(0, 3, &body)?;
        self.receive_produced(correlation)
    }

    /// The answer to a Produce v3 sent before.
    pub fn receive_produced(&mut self, correlation: i32) -> io::Result<(i16, i64)> {
        let answer = self.receive(correlation)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        Ok((reader.i16(), reader.i64()))
    }

    /// ListOffsets v1: the offset for a timestamp (-1 latest, -2 earliest), or its error code.
    pub fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> io::Result<Result<i64, i16>> {
        let body = Writer::default().i32(-1).i32(1).string(topic).i32(1).i32(partition).i64(timestamp);
        let answer = self.call(2, 1, &body.0)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        let (error, _timestamp, offset) = (reader.i16(), reader.i64(), reader.i64());
        Ok(if error == code::NONE { Ok(offset) } else { Err(error) })
    }

    /// Fetch v4 from one partition: error code, high watermark and the raw records.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<(i16, i64, Vec<u8>)> {
        let head = Writer::default().i32(-1).i32(500).i32(1).i32(50 << 20).i8(0);
        let body = head.i32(1).string(topic).i32(1).i32(partition).i64(offset).i32(8 << 20);
        let answer = self.call(1, 4, &body.0)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
        let (error, high_watermark, _stable) = (reader.i16(), reader.i64(), reader.i64());
        for _ in 0..reader.i32() {
            let _aborted = (reader.i64(), reader.i64());
        }
        let records = reader.bytes().to_vec();
        reader.end();
        Ok((error, high_watermark, records))
    }

    /// Fetches partition 0 of a topic from its log start to its end: the values, by offset.
    pub fn read_all(&mut self, topic: &str) -> io::Result<BTreeMap<i64, String>> {
        let mut bound = |which| {
            let answer = self.list_offset(topic, 0, which)?;
            io::Result::Ok(answer.unwrap_or_else(|error| panic!("ListOffsets of {topic}: error {error}")))
        };
        let (mut next, end) = (bound(-2)?, bound(-1)?);
        let mut all = BTreeMap::new();
        while next < end {
            let (error, _, bytes) = self.fetch(topic, 0, next)?;
            assert_eq!(error, code::NONE, "Fetch of {topic} at {next} of {end}");
            let before = next;
            for batch in records::decode(&bytes) {
                for (offset, (_, value)) in (batch.base_offset..).zip(batch.records) {
                    all.insert(offset, String::from_utf8(value.expect("a value")).expect("text"));
                    next = offset + 1;
                }
            }
            assert!(next > before, "Fetch of {topic} at {before} of {end} gives nothing");
        }
        Ok(all)
    }

    /// OffsetCommit v2 outside a group generation; returns the error code.
    pub fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) -> io::Result<i16> {
        let head = Writer::default().string(group).i32(-1).string("").i64(-1);
        let body = head.i32(1).string(topic).i32(1).i32(partition).i64(offset).null_string();
        let answer = self.call(8, 2, &body.0)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        let error = reader.i16();
        reader.end();
        Ok(error)
    }

    /// OffsetFetch v1: the committed offset (-1 when there is none), or its error code.
    pub fn committed(&mut self, group: &str, topic: &str, partition: i32) -> io::Result<Result<i64, i16>> {
        let body = Writer::default().string(group).i32(1).string(topic).i32(1).i32(partition);
        let answer = self.call(9, 1, &body.0)?;
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        let (offset, _metadata, error) = (reader.i64(), reader.string(), reader.i16());
        Ok(if error == code::NONE { Ok(offset) } else { Err(error) })
    }

    /// FindCoordinator v0 for a group: its error code. The first call makes the broker create the offsets topic.
    pub fn find_coordinator(&mut self, group: &str) -> io::Result<i16> {
        let answer = self.call(10, 0, &Writer::default().string(group).0)?;
        Ok(Reader(&answer).i16())
    }

    /// Waits until the group has a coordinator.
    pub fn wait_for_coordinator(&mut self, group: &str) {
        poll::until("a coordinator", Duration::from_secs(30), || {
            (self.find_coordinator(group).ok()? == code::NONE).then_some(())
        });
    }
}
