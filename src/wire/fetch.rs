//! A Fetch request, read from front to back without being built: the form of it that costs no memory.
//!
//! It accepts and refuses what [`FetchRequest`] does, with the same errors.

use super::codec::{DecodeError, Element, Message, Reader};
use super::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};
use super::topics::{TopicsWalk, WalkedTopic};

/// A walk through a request: [`FetchWalk::topic`] until there is none, and after each [`FetchWalk::partition`] until
/// there is none; the same of [`FetchWalk::forgotten_topic`] and [`FetchWalk::forgotten_partition`]; then
/// [`FetchWalk::end`]. Only then the request is known to be one.
pub struct FetchWalk<'a> {
    topics: TopicsWalk<'a>,
    /// How long to wait for `min_bytes`, milliseconds.
    pub max_wait_ms: i32,
    /// Bytes to wait for.
    pub min_bytes: i32,
    /// Bytes at most.
    pub max_bytes: i32,
    /// 1 for read_committed.
    pub isolation_level: i8,
    /// The session, 0 for none.
    pub session_id: i32,
    /// Its epoch.
    pub session_epoch: i32,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> FetchWalk<'a> {
    /// At the first topic. `version` is one that Fetch has.
    ///
    /// # Errors
    /// What comes before the topics is malformed.
    pub fn new(body: &'a [u8], version: i16) -> Result<FetchWalk<'a>> {
        let mut walk = FetchWalk {
            topics: TopicsWalk::new(body, version, FetchRequest::FLEXIBLE_FROM),
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 0,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
        };
        walk.head().map_err(|e| walk.named(e))?;
        Ok(walk)
    }

    fn head(&mut self) -> Result<()> {
        let (reader, version) = (&mut self.topics.reader, self.topics.version);
        if version <= 14 {
            reader.i32()?; // the replica's id
        }
        self.max_wait_ms = reader.i32()?;
        self.min_bytes = reader.i32()?;
        self.max_bytes = reader.i32()?;
        self.isolation_level = reader.i8()?;
        if version >= 7 {
            self.session_id = reader.i32()?;
            self.session_epoch = reader.i32()?;
        }
        self.topics.begin_topics(FetchTopic::WIRE_MIN)
    }

    /// A request that names more than so many topics and partitions is malformed. To be called before the first one.
    pub fn limit(&mut self, named_max: usize) {
        self.topics.limit(named_max);
    }

    /// Topics and partitions that were named so far.
    pub fn named_count(&self) -> usize {
        self.topics.named()
    }

    /// The next topic.
    ///
    /// # Errors
    /// It is malformed.
    pub fn topic(&mut self) -> Result<Option<WalkedTopic<'a>>> {
        self.topics.next_topic(FetchPartition::WIRE_MIN).map_err(|e| self.named(e))
    }

    /// The next partition of the topic.
    ///
    /// # Errors
    /// It is malformed.
    pub fn partition(&mut self) -> Result<Option<FetchPartition>> {
        let version = self.topics.version;
        self.topics.next_partition(|r| FetchPartition::get(r, version)).map_err(|e| self.named(e))
    }

    /// The next topic of which partitions leave the session.
    ///
    /// # Errors
    /// It is malformed.
    pub fn forgotten_topic(&mut self) -> Result<Option<WalkedTopic<'a>>> {
        self.topics.next_topic(i32::WIRE_MIN).map_err(|e| self.named(e))
    }

    /// The next partition that leaves the session.
    ///
    /// # Errors
    /// It is malformed.
    pub fn forgotten_partition(&mut self) -> Result<Option<i32>> {
        self.topics.next_partition(Reader::i32).map_err(|e| self.named(e))
    }

    /// From the topics to those that are forgotten.
    ///
    /// # Errors
    /// Their count is malformed.
    pub fn begin_forgotten(&mut self) -> Result<()> {
        debug_assert!(self.topics.is_behind_topics(), "there are more topics");
        if self.topics.version >= 7 {
            self.topics.begin_topics(ForgottenTopic::WIRE_MIN).map_err(|e| self.named(e))?;
        }
        Ok(())
    }

    /// The rest of the request.
    ///
    /// # Errors
    /// It is malformed.
    pub fn end(mut self) -> Result<()> {
        debug_assert!(self.topics.is_behind_topics(), "there are more topics");
        self.tail().map_err(|e| self.named(e))
    }

    fn tail(&mut self) -> Result<()> {
        let (reader, version, flex) = (&mut self.topics.reader, self.topics.version, self.topics.is_flexible);
        if version >= 11 {
            reader.string(flex)?; // the rack
        }
        if flex {
            reader.tags(|r, tag| {
                match tag {
                    0 => r.nullable_string(true).map(drop)?, // the cluster's id
                    1 if version >= 15 => ReplicaState::get(r, version).map(drop)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    #[cold]
    fn named(&self, error: DecodeError) -> DecodeError {
        error.of(FetchRequest::NAME, self.topics.version)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{decode_request, encode};
    use super::*;
    use crate::base::Uuid;
    use proptest::prelude::*;

    /// What the walk sees of a request.
    fn walked(body: &[u8], version: i16) -> Result<FetchRequest<'_>> {
        let mut walk = FetchWalk::new(body, version)?;
        let mut request = FetchRequest {
            max_wait_ms: walk.max_wait_ms,
            min_bytes: walk.min_bytes,
            max_bytes: walk.max_bytes,
            isolation_level: walk.isolation_level,
            session_id: walk.session_id,
            session_epoch: walk.session_epoch,
            ..FetchRequest::default()
        };
        while let Some(topic) = walk.topic()? {
            let mut partitions = Vec::new();
            while let Some(partition) = walk.partition()? {
                partitions.push(partition);
            }
            request.topics.push(FetchTopic { topic: topic.name, topic_id: topic.id, partitions });
        }
        walk.begin_forgotten()?;
        while let Some(topic) = walk.forgotten_topic()? {
            let mut partitions = Vec::new();
            while let Some(partition) = walk.forgotten_partition()? {
                partitions.push(partition);
            }
            let topic = ForgottenTopic { topic: topic.name, topic_id: topic.id, partitions };
            request.forgotten_topics_data.push(topic);
        }
        walk.end()?;
        Ok(request)
    }

    /// The generated reader's request, without what the walk passes over.
    fn read(body: &[u8], version: i16) -> Result<FetchRequest<'_>> {
        let request: FetchRequest<'_> = decode_request(body, version)?;
        Ok(FetchRequest {
            cluster_id: None,
            replica_id: -1,
            replica_state: ReplicaState::default(),
            rack_id: "",
            ..request
        })
    }

    type Topics<T> = Vec<(String, [u8; 16], Vec<T>)>;

    fn topics<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Topics<T>> {
        let partitions = proptest::collection::vec(of, 0..4);
        proptest::collection::vec(("[a-z]{0,9}", any::<[u8; 16]>(), partitions), 0..4)
    }

    proptest! {
        #[test]
        fn agrees_with_the_generated_reader(
            version in 4i16..=18,
            numbers in any::<(i32, i32, i32, i8, i32, i32)>(),
            named in topics(any::<(i32, i64, i32)>()),
            forgotten in topics(any::<i32>()),
            rack_id in "[a-z]{0,5}",
            cluster_id in proptest::option::of("[a-z]{0,5}"),
            cut in any::<prop::sample::Index>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let by_id = version >= 13;
            let id = |id: &[u8; 16]| if by_id { Uuid(*id) } else { Uuid::ZERO };
            let (max_wait_ms, min_bytes, max_bytes, isolation_level, session_id, session_epoch) = numbers;
            let partition = |(partition, fetch_offset, partition_max_bytes): &(i32, i64, i32)| FetchPartition {
                partition: *partition,
                fetch_offset: *fetch_offset,
                partition_max_bytes: *partition_max_bytes,
                high_watermark: if version >= 18 { *fetch_offset } else { i64::MAX },
                ..FetchPartition::default()
            };
            let request = FetchRequest {
                max_wait_ms,
                min_bytes,
                max_bytes,
                isolation_level,
                session_id: if version >= 7 { session_id } else { 0 },
                session_epoch: if version >= 7 { session_epoch } else { -1 },
                topics: named.iter().map(|(name, of, partitions)| FetchTopic {
                    topic: if by_id { "" } else { name },
                    topic_id: id(of),
                    partitions: partitions.iter().map(partition).collect(),
                }).collect(),
                forgotten_topics_data: forgotten.iter().filter(|_| version >= 7).map(|(name, of, partitions)| {
                    ForgottenTopic {
                        topic: if by_id { "" } else { name },
                        topic_id: id(of),
                        partitions: partitions.clone(),
                    }
                }).collect(),
                rack_id: if version >= 11 { &rack_id } else { "" },
                cluster_id: cluster_id.as_deref().filter(|_| version >= 12),
                ..FetchRequest::default()
            };
            let bytes = encode(&request, version).unwrap();
            prop_assert!(read(&bytes, version).is_ok());
            prop_assert_eq!(walked(&bytes, version), read(&bytes, version));
            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(walked(cut, version), read(cut, version));
            let mut changed = bytes.clone();
            for (at, byte) in changes {
                let at = at.index(changed.len());
                changed[at] = byte;
                prop_assert_eq!(walked(&changed, version), read(&changed, version));
            }
        }
    }
}
