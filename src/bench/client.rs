//! One blocking connection for everything around a load: versions, topics, producer ids, offsets.

use super::BenchError;
use super::template::CLIENT_ID;
use crate::base::Uuid;
use crate::base::limits::BENCH_REPLY_BYTES_MAX;
use crate::wire::api::ApiKey;
use crate::wire::codec::Message;
use crate::wire::frame;
use crate::wire::messages::api_versions_request::ApiVersionsRequest;
use crate::wire::messages::api_versions_response::ApiVersionsResponse;
use crate::wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::wire::messages::create_topics_response::CreateTopicsResponse;
use crate::wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use crate::wire::messages::delete_topics_response::DeleteTopicsResponse;
use crate::wire::messages::init_producer_id_request::InitProducerIdRequest;
use crate::wire::messages::init_producer_id_response::InitProducerIdResponse;
use crate::wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::wire::messages::list_offsets_response::ListOffsetsResponse;
use crate::wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use crate::wire::messages::metadata_response::MetadataResponse;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

const REPLY_WAIT: Duration = Duration::from_mins(2);
/// How long leaders of new partitions may take.
const LEADERS_WAIT: Duration = Duration::from_mins(2);
/// How long a coordinator may take to be made and loaded.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at what a broker cannot tell us of by itself.
const PAUSE: Duration = Duration::from_millis(5);
/// ListOffsets for the end of a partition.
const LATEST: i64 = -1;

/// The versions that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Produce.
    pub produce: i16,
    /// Fetch.
    pub fetch: i16,
    metadata: i16,
    create_topics: i16,
    delete_topics: i16,
    init_producer_id: i16,
    list_offsets: i16,
}

#[cfg(test)]
impl Versions {
    /// What tests write.
    pub const LATEST: Versions = Versions {
        produce: 13,
        fetch: 17,
        metadata: 12,
        create_topics: 7,
        delete_topics: 6,
        init_producer_id: 4,
        list_offsets: 7,
    };
}

/// A topic as requests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Up to Produce 12 and Fetch 12.
    pub name: String,
    /// From Produce 13 and Fetch 13.
    pub id: Uuid,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// Where to.
    pub address: SocketAddr,
    /// What was agreed on.
    pub versions: Versions,
    correlation_id: i32,
    reply: Vec<u8>,
}

impl Client {
    /// Connects and asks for the versions.
    pub fn connect(address: SocketAddr) -> Result<Client, BenchError> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REPLY_WAIT))?;
            Ok(stream)
        };
        let stream = connect().map_err(BenchError::io(format!("connect to {address}")))?;
        let versions = Versions {
            produce: 0,
            fetch: 0,
            metadata: 0,
            create_topics: 0,
            delete_topics: 0,
            init_producer_id: 0,
            list_offsets: 0,
        };
        let mut client = Client { stream, address, versions, correlation_id: 0, reply: Vec::new() };
        client.versions = client.agree()?;
        Ok(client)
    }

    /// Connects to a broker that may still be starting.
    pub fn connect_within(address: SocketAddr, wait: Duration) -> Result<Client, BenchError> {
        let begin = Instant::now();
        loop {
            match Client::connect(address) {
                Err(_) if begin.elapsed() < wait => park_timeout(PAUSE),
                connected => return connected,
            }
        }
    }

    fn agree(&mut self) -> Result<Versions, BenchError> {
        let reply: ApiVersionsResponse<'_> = self.call(&ApiVersionsRequest::default(), 0)?;
        BenchError::check(|| "ApiVersions".to_owned(), reply.error_code)?;
        let pick = |key: ApiKey, max: i16| {
            let name = key.api().name;
            let found = reply.api_keys.iter().find(|api| api.api_key == key.code());
            let found = found.ok_or_else(|| BenchError::Usage(format!("the broker has no {name}")))?;
            let (version, min) = (found.max_version.min(max), found.min_version.max(key.api().version_min));
            if version < min {
                return Err(BenchError::Usage(format!("the broker has {name} from version {min} on")));
            }
            Ok(version)
        };
        Ok(Versions {
            produce: pick(ApiKey::Produce, 13)?,
            fetch: pick(ApiKey::Fetch, 17)?,
            metadata: pick(ApiKey::Metadata, 12)?,
            create_topics: pick(ApiKey::CreateTopics, 7)?,
            delete_topics: pick(ApiKey::DeleteTopics, 6)?,
            init_producer_id: pick(ApiKey::InitProducerId, 4)?,
            list_offsets: pick(ApiKey::ListOffsets, 7)?,
        })
    }

    /// Sends one request and reads its reply.
    pub fn call<'a, 's, Q: Message<'a>, A: Message<'s>>(
        &'s mut self,
        request: &Q,
        version: i16,
    ) -> Result<A, BenchError> {
        self.correlation_id += 1;
        let id = self.correlation_id;
        let Some(key) = ApiKey::from_code(Q::KEY) else {
            return Err(BenchError::Usage(format!("{} is no request", Q::NAME)));
        };
        let bytes =
            frame::request(request, version, id, Some(CLIENT_ID)).map_err(BenchError::reply(Q::NAME))?;
        self.stream.write_all(&bytes).map_err(BenchError::io(format!("send {}", Q::NAME)))?;
        let reply = self.receive(Q::NAME)?;
        let mut r = frame::read_response(reply, key, version, id).map_err(BenchError::reply(A::NAME))?;
        A::read(&mut r, version).map_err(BenchError::reply(A::NAME))
    }

    /// Sends a whole frame, its length in front, and gives the reply's, without it. Allocates nothing once the
    /// largest reply was seen.
    pub fn exchange(&mut self, frame: &[u8]) -> Result<&[u8], BenchError> {
        self.stream.write_all(frame).map_err(BenchError::io("send a request"))?;
        self.receive("a request")
    }

    fn receive(&mut self, what: &str) -> Result<&[u8], BenchError> {
        let mut prefix = [0; 4];
        let io = |error| BenchError::Io { what: format!("the reply to {what}"), error };
        self.stream.read_exact(&mut prefix).map_err(io)?;
        let bytes = u32::from_be_bytes(prefix) as usize;
        if bytes > BENCH_REPLY_BYTES_MAX {
            return Err(BenchError::reply(what)(format!("it has {bytes} bytes")));
        }
        self.reply.resize(bytes, 0);
        self.stream.read_exact(&mut self.reply).map_err(io)?;
        Ok(&self.reply)
    }

    /// Makes topics with one replica and waits until this broker leads every partition.
    pub fn create_topics(
        &mut self,
        names: &[String],
        partitions: usize,
        config: &[(String, String)],
    ) -> Result<Vec<Topic>, BenchError> {
        let configs: Vec<_> =
            config.iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) }).collect();
        let topic = |name| CreatableTopic {
            name,
            num_partitions: partitions as i32,
            replication_factor: 1,
            configs: configs.clone(),
            ..CreatableTopic::default()
        };
        // Kafka bounds the records that one request may cause; so does Ottla.
        for some in names.chunks((5_000 / partitions).max(1)) {
            let topics = some.iter().map(|name| topic(name)).collect();
            let request = CreateTopicsRequest { topics, timeout_ms: 60_000, validate_only: false };
            let reply: CreateTopicsResponse<'_> = self.call(&request, self.versions.create_topics)?;
            for topic in &reply.topics {
                BenchError::check(|| format!("create topic {}", topic.name), topic.error_code)?;
            }
        }
        let begin = Instant::now();
        loop {
            match self.look_up(names, partitions)? {
                Some(topics) if self.is_served(&topics, partitions)? => return Ok(topics),
                _ if begin.elapsed() > LEADERS_WAIT => {
                    let name = names.first().map_or("", String::as_str);
                    return Err(BenchError::Late(format!("partitions of {name} have no leader yet")));
                }
                _ => park_timeout(PAUSE),
            }
        }
    }

    /// Whether the broker also knows that it leads: the metadata may run ahead of that.
    fn is_served(&mut self, topics: &[Topic], partitions: usize) -> Result<bool, BenchError> {
        for topic in topics {
            match self.ends(topic, partitions) {
                Ok(_) => {}
                Err(BenchError::Refused { error, .. }) if error.is_retriable() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The topics; `None` while a partition has no leader.
    fn look_up(&mut self, names: &[String], partitions: usize) -> Result<Option<Vec<Topic>>, BenchError> {
        let topics = names
            .iter()
            .map(|name| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() });
        let request = MetadataRequest { topics: Some(topics.collect()), ..MetadataRequest::default() };
        let reply: MetadataResponse<'_> = self.call(&request, self.versions.metadata)?;
        if reply.brokers.len() > 1 {
            let text =
                "the cluster has more than one broker: a bench speaks to one, which must lead everything";
            return Err(BenchError::Usage(text.to_owned()));
        }
        let mut found = Vec::new();
        for name in names {
            let topic = reply.topics.iter().find(|topic| topic.name == Some(name));
            let Some(topic) = topic.filter(|topic| topic.error_code == 0) else { return Ok(None) };
            let led = topic.partitions.iter().filter(|p| p.error_code == 0 && p.leader_id >= 0);
            if led.count() != partitions {
                return Ok(None);
            }
            found.push(Topic { name: name.clone(), id: topic.topic_id });
        }
        Ok(Some(found))
    }

    /// Deletes all topics whose name begins so.
    pub fn delete_topics_named(&mut self, prefix: &str) -> Result<(), BenchError> {
        let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let reply: MetadataResponse<'_> = self.call(&everything, self.versions.metadata)?;
        let found = reply.topics.iter().filter_map(|topic| Some((topic.name?, topic.topic_id)));
        let meant: Vec<Topic> = found
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, id)| Topic { name: name.to_owned(), id })
            .collect();
        self.delete_topics(&meant)
    }

    /// Deletes topics.
    pub fn delete_topics(&mut self, topics: &[Topic]) -> Result<(), BenchError> {
        let version = self.versions.delete_topics;
        for some in topics.chunks(100) {
            let mut request = DeleteTopicsRequest { timeout_ms: 60_000, ..DeleteTopicsRequest::default() };
            if version >= 6 {
                let state = |t: &'_ Topic| DeleteTopicState { name: None, topic_id: t.id };
                request.topics = some.iter().map(state).collect();
            } else {
                request.topic_names = some.iter().map(|t| t.name.as_str()).collect();
            }
            let reply: DeleteTopicsResponse<'_> = self.call(&request, version)?;
            for topic in &reply.responses {
                BenchError::check(|| "delete a topic".to_owned(), topic.error_code)?;
            }
        }
        Ok(())
    }

    /// Asks again while a coordinator is still being made or loaded.
    pub fn until_served<T>(
        &mut self,
        mut ask: impl FnMut(&mut Client) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let begin = Instant::now();
        loop {
            match ask(self) {
                Err(BenchError::Refused { error, .. })
                    if error.is_retriable() && begin.elapsed() < COORDINATOR_WAIT =>
                {
                    park_timeout(PAUSE);
                }
                asked => return asked,
            }
        }
    }

    /// Id and epoch for an idempotent producer.
    pub fn producer_id(&mut self) -> Result<(i64, i16), BenchError> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        self.until_served(|client| {
            let reply: InitProducerIdResponse = client.call(&request, client.versions.init_producer_id)?;
            BenchError::check(|| "InitProducerId".to_owned(), reply.error_code)?;
            Ok((reply.producer_id, reply.producer_epoch))
        })
    }

    /// Where each partition of a topic ends.
    pub fn ends(&mut self, topic: &Topic, partitions: usize) -> Result<Vec<i64>, BenchError> {
        let one = |index| ListOffsetsPartition {
            partition_index: index as i32,
            current_leader_epoch: -1,
            timestamp: LATEST,
        };
        let wanted = ListOffsetsTopic { name: &topic.name, partitions: (0..partitions).map(one).collect() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![wanted], ..ListOffsetsRequest::default() };
        let reply: ListOffsetsResponse<'_> = self.call(&request, self.versions.list_offsets)?;
        let mut ends = vec![0; partitions];
        for part in reply.topics.iter().flat_map(|topic| &topic.partitions) {
            BenchError::check(|| format!("ListOffsets of {}", topic.name), part.error_code)?;
            if let Some(end) = ends.get_mut(part.partition_index as usize) {
                *end = part.offset;
            }
        }
        Ok(ends)
    }
}
