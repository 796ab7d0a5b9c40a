//! Finding topics, brokers and listeners in the metadata.

use std::sync::Arc;

use crate::base::TopicId;
use crate::config::TopicConfig;
use crate::meta::image::{Broker, Image, Topic};
use crate::shard::PartitionKey;
use crate::wire::errors::ErrorCode;

use super::cx::Cx;

/// Topics that clients do not write to: groups and transactions live in them.
pub const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic is one of Kafka's own.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// A topic by id or by name.
pub fn find_topic<'a>(image: &'a Image, by_id: bool, name: &str, id: TopicId) -> Option<&'a Arc<Topic>> {
    if by_id { image.topics().get_by_id(id) } else { image.topics().get(name) }
}

/// A partition by its topic's name.
pub fn find_partition(image: &Image, name: &str, partition: i32) -> Result<PartitionKey, ErrorCode> {
    let topic = image.topics().get(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if !topic.partitions.contains_key(&partition) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    Ok(PartitionKey { topic_id: topic.id, partition })
}

/// A broker as a client sees it: id, host, port, rack.
pub type Endpoint<'a> = (i32, &'a str, u16, Option<&'a str>);

/// A broker's address on the listener that a client came in by.
pub fn endpoint<'a>(broker: &'a Broker, listener: &str) -> Option<Endpoint<'a>> {
    let at = broker.end_points.iter().find(|e| *e.name == *listener)?;
    Some((broker.broker_id, &at.host, at.port, broker.rack.as_deref()))
}

impl Cx<'_> {
    /// The name of a listener.
    pub fn listener_name(&self, listener: u32) -> &str {
        self.config().listeners.get(listener as usize).map_or("PLAINTEXT", |l| &l.name)
    }

    /// The controller's listener of this number: its place among them.
    pub fn controller_listener(&self, listener: u32) -> Option<usize> {
        (listener as usize).checked_sub(self.effective.statics().listeners.len())
    }

    /// A topic's configuration in force.
    pub fn topic_config(&mut self, topic: &Topic) -> &Arc<TopicConfig> {
        self.effective.topic(self.image, topic.id, &topic.name)
    }
}

/// The brokers that can be reached by a listener.
pub fn endpoints<'a>(image: &'a Image, listener: &'a str) -> impl Iterator<Item = Endpoint<'a>> {
    image.cluster().alive().filter_map(move |b| endpoint(b, listener))
}

/// The broker that clients take for the controller: brokers forward to it, so any will do; ours is the first.
pub fn controller_id(image: &Image) -> i32 {
    image.cluster().alive().map(|b| b.broker_id).next().unwrap_or(-1)
}
