//! What Produce and Fetch requests have in common: topics by name or id, each with its partitions, read from front to
//! back without being built.

use super::codec::{DecodeError, DecodeErrorKind, Reader};
use crate::base::TopicId;

/// From this version on Produce and Fetch name topics by their ids (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// A topic of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkedTopic<'a> {
    /// Its name; empty from version 13 on.
    pub name: &'a str,
    /// Its id; zero before version 13.
    pub id: TopicId,
}

/// Where a walk through topics and their partitions stands.
pub(super) struct TopicsWalk<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) version: i16,
    pub(super) is_flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    /// Topics and partitions so far, and at most.
    named: usize,
    named_max: usize,
}

impl<'a> TopicsWalk<'a> {
    /// At the start of the request.
    pub(super) fn new(body: &'a [u8], version: i16, flexible_from: Option<i16>) -> TopicsWalk<'a> {
        let is_flexible = flexible_from.is_some_and(|from| version >= from);
        let reader = Reader::new(body);
        let (topics_left, partitions_left, named) = (0, 0, 0);
        TopicsWalk {
            reader,
            version,
            is_flexible,
            topics_left,
            partitions_left,
            named,
            named_max: usize::MAX,
        }
    }

    /// From here on a request with more than so many topics and partitions is malformed.
    pub(super) fn limit(&mut self, named_max: usize) {
        self.named_max = named_max;
    }

    /// Topics and partitions of those lists that were begun.
    pub(super) fn named(&self) -> usize {
        self.named
    }

    /// The number of topics stands here; each is at least `wire_min` bytes long.
    pub(super) fn begin_topics(&mut self, wire_min: usize) -> Result<(), DecodeError> {
        debug_assert!(self.topics_left == 0, "there are more topics");
        self.topics_left = self.count(wire_min)?;
        Ok(())
    }

    /// The next topic, whose partitions are at least so long. Behind the last one nothing is read.
    pub(super) fn next_topic(
        &mut self,
        partition_wire_min: usize,
    ) -> Result<Option<WalkedTopic<'a>>, DecodeError> {
        debug_assert!(self.partitions_left == 0, "the topic before has more partitions");
        if self.topics_left == 0 {
            return Ok(None);
        }
        // The number of topics was read before the limit was known.
        self.check_named()?;
        self.topics_left -= 1;
        let topic = if self.version >= TOPIC_IDS_FROM {
            WalkedTopic { name: "", id: self.reader.uuid()? }
        } else {
            WalkedTopic { name: self.reader.string(self.is_flexible)?, id: TopicId::ZERO }
        };
        self.partitions_left = self.count(partition_wire_min)?;
        self.check_named()?;
        Ok(Some(topic))
    }

    fn check_named(&self) -> Result<(), DecodeError> {
        let max = self.named_max;
        if self.named > max { Err(self.reader.error(DecodeErrorKind::Many { max })) } else { Ok(()) }
    }

    /// The next partition of the topic; behind the last one the end of the topic.
    pub(super) fn next_partition<T>(
        &mut self,
        get: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.partitions_left == 0 {
            return self.skip_tags().map(|()| None);
        }
        self.partitions_left -= 1;
        get(&mut self.reader).map(Some)
    }

    /// Tagged fields that nobody knows, in a version that has them.
    pub(super) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        if self.is_flexible { self.reader.skip_tags() } else { Ok(()) }
    }

    /// Whether every topic was given.
    pub(super) fn is_behind_topics(&self) -> bool {
        self.topics_left == 0
    }

    fn count(&mut self, wire_min: usize) -> Result<usize, DecodeError> {
        match self.reader.count(self.is_flexible, wire_min)? {
            Some(count) => {
                self.named = self.named.saturating_add(count);
                Ok(count)
            }
            None => Err(self.reader.error(DecodeErrorKind::Null("an array"))),
        }
    }
}
