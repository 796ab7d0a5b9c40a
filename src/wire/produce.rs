//! A Produce request, read from front to back without being built: the form of it that costs no memory.
//!
//! It accepts and refuses what [`ProduceRequest`] does, with the same
//! errors.

use super::codec::{DecodeError, Element, Message};
use super::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use super::topics::{TopicsWalk, WalkedTopic};

/// A walk through a request: [`ProduceWalk::topic`] until there is none, and after each [`ProduceWalk::partition`] until
/// there is none. Only when it has come to its end is the request known to be one.
pub struct ProduceWalk<'a> {
    topics: TopicsWalk<'a>,
    /// The transactional id.
    pub transactional_id: Option<&'a str>,
    /// How many acknowledgements are wanted: -1 for all.
    pub acks: i16,
    /// How long the client waits, milliseconds.
    pub timeout_ms: i32,
}

impl<'a> ProduceWalk<'a> {
    /// At the first topic. `version` is one that Produce has.
    ///
    /// # Errors
    /// What comes before the topics is malformed.
    pub fn new(body: &'a [u8], version: i16) -> Result<ProduceWalk<'a>, DecodeError> {
        let topics = TopicsWalk::new(body, version, ProduceRequest::FLEXIBLE_FROM);
        let mut walk = ProduceWalk { topics, transactional_id: None, acks: 0, timeout_ms: 0 };
        walk.head().map_err(|e| walk.named(e))?;
        Ok(walk)
    }

    fn head(&mut self) -> Result<(), DecodeError> {
        self.transactional_id = self.topics.reader.nullable_string(self.topics.is_flexible)?;
        self.acks = self.topics.reader.i16()?;
        self.timeout_ms = self.topics.reader.i32()?;
        self.topics.begin_topics(TopicProduceData::WIRE_MIN)
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
    /// It is malformed, or what comes after the last one.
    pub fn topic(&mut self) -> Result<Option<WalkedTopic<'a>>, DecodeError> {
        self.next_topic().map_err(|e| self.named(e))
    }

    fn next_topic(&mut self) -> Result<Option<WalkedTopic<'a>>, DecodeError> {
        let next = self.topics.next_topic(PartitionProduceData::WIRE_MIN)?;
        if next.is_none() {
            self.topics.skip_tags()?;
        }
        Ok(next)
    }

    /// The next partition of the topic.
    ///
    /// # Errors
    /// It is malformed, or what comes after the last one.
    pub fn partition(&mut self) -> Result<Option<PartitionProduceData<'a>>, DecodeError> {
        let version = self.topics.version;
        self.topics.next_partition(|r| PartitionProduceData::get(r, version)).map_err(|e| self.named(e))
    }

    #[cold]
    fn named(&self, error: DecodeError) -> DecodeError {
        error.of(ProduceRequest::NAME, self.topics.version)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{decode_request, encode};
    use super::*;
    use crate::base::Uuid;
    use proptest::prelude::*;

    fn walked(body: &[u8], version: i16) -> Result<ProduceRequest<'_>, DecodeError> {
        let mut walk = ProduceWalk::new(body, version)?;
        let mut request = ProduceRequest {
            transactional_id: walk.transactional_id,
            acks: walk.acks,
            timeout_ms: walk.timeout_ms,
            topic_data: Vec::new(),
        };
        while let Some(topic) = walk.topic()? {
            let mut partition_data = Vec::new();
            while let Some(partition) = walk.partition()? {
                partition_data.push(partition);
            }
            request.topic_data.push(TopicProduceData {
                name: topic.name,
                topic_id: topic.id,
                partition_data,
            });
        }
        Ok(request)
    }

    type Topics = Vec<(String, [u8; 16], Vec<(i32, Option<Vec<u8>>)>)>;

    fn topics() -> impl Strategy<Value = Topics> {
        let partition = (any::<i32>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)));
        let partitions = proptest::collection::vec(partition, 0..4);
        proptest::collection::vec(("[a-z]{0,9}", any::<[u8; 16]>(), partitions), 0..4)
    }

    proptest! {
        #[test]
        fn agrees_with_the_generated_reader(
            version in 3i16..=13,
            transactional_id in proptest::option::of("[a-z]{0,5}"),
            acks in any::<i16>(),
            timeout_ms in any::<i32>(),
            topics in topics(),
            cut in any::<prop::sample::Index>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let topic_data = topics.iter().map(|(name, id, partitions)| TopicProduceData {
                name: if version >= 13 { "" } else { name },
                topic_id: if version >= 13 { Uuid(*id) } else { Uuid::ZERO },
                partition_data: partitions
                    .iter()
                    .map(|(index, records)| PartitionProduceData { index: *index, records: records.as_deref() })
                    .collect(),
            }).collect();
            let request = ProduceRequest {
                transactional_id: transactional_id.as_deref(), acks, timeout_ms, topic_data
            };
            let bytes = encode(&request, version).unwrap();
            prop_assert_eq!(walked(&bytes, version), Ok(request));

            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(walked(cut, version), decode_request(cut, version));
            let mut changed = bytes.clone();
            for (at, byte) in changes {
                let at = at.index(changed.len());
                changed[at] = byte;
                prop_assert_eq!(walked(&changed, version), decode_request(&changed, version));
            }
        }
    }
}
