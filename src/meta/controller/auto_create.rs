//! Topics that brokers create by themselves, as Kafka's `AutoTopicCreationManager`.

use super::super::topic_name;
use crate::config::BrokerConfig;
use crate::wire::messages::create_topics_request::{self, CreatableTopicConfig};

/// The topics in which brokers keep state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalTopic {
    /// `__consumer_offsets`.
    ConsumerOffsets,
    /// `__transaction_state`.
    TransactionState,
    /// `__share_group_state`.
    ShareGroupState,
}

impl InternalTopic {
    /// The internal topic of this name.
    pub fn from_name(name: &str) -> Option<InternalTopic> {
        match name {
            topic_name::CONSUMER_OFFSETS => Some(InternalTopic::ConsumerOffsets),
            topic_name::TRANSACTION_STATE => Some(InternalTopic::TransactionState),
            topic_name::SHARE_GROUP_STATE => Some(InternalTopic::ShareGroupState),
            _ => None,
        }
    }

    fn counts(self, config: &BrokerConfig) -> (i64, i64) {
        let prefix = match self {
            InternalTopic::ConsumerOffsets => "offsets.topic",
            InternalTopic::TransactionState => "transaction.state.log",
            InternalTopic::ShareGroupState => "share.coordinator.state.topic",
        };
        let number = |key: &str| config.number(&format!("{prefix}.{key}"));
        (number("num.partitions"), number("replication.factor"))
    }

    fn configs(self, config: &BrokerConfig) -> Vec<(&'static str, String)> {
        let number = |key: &str| config.number(key).to_string();
        let text = |value: &str| value.to_owned();
        match self {
            InternalTopic::ConsumerOffsets => vec![
                ("cleanup.policy", text("compact")),
                ("compression.type", text("producer")),
                ("segment.bytes", number("offsets.topic.segment.bytes")),
            ],
            InternalTopic::TransactionState => vec![
                ("cleanup.policy", text("compact")),
                ("compression.type", text("uncompressed")),
                ("min.insync.replicas", number("transaction.state.log.min.isr")),
                ("segment.bytes", number("transaction.state.log.segment.bytes")),
                ("unclean.leader.election.enable", text("false")),
            ],
            InternalTopic::ShareGroupState => vec![
                ("cleanup.policy", text("delete")),
                ("compression.type", text("producer")),
                ("min.insync.replicas", number("share.coordinator.state.topic.min.isr")),
                ("retention.ms", text("-1")),
                ("segment.bytes", number("share.coordinator.state.topic.segment.bytes")),
            ],
        }
    }
}

/// A topic to be created without a user's asking: its name, counts (-1 for the defaults) and configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatableTopic {
    /// The name.
    pub name: String,
    /// How many partitions, or -1.
    pub num_partitions: i32,
    /// How many replicas, or -1.
    pub replication_factor: i16,
    /// The configuration.
    pub configs: Vec<(&'static str, String)>,
}

impl CreatableTopic {
    /// The topic for a CreateTopicsRequest.
    pub fn to_wire(&self) -> create_topics_request::CreatableTopic<'_> {
        let configs =
            self.configs.iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
        create_topics_request::CreatableTopic {
            name: &self.name,
            num_partitions: self.num_partitions,
            replication_factor: self.replication_factor,
            assignments: Vec::new(),
            configs: configs.collect(),
        }
    }
}

/// What to ask the controller for when a topic is wanted that does not exist: an internal topic as its coordinator
/// wants it, any other with the defaults. `None` if the name is not valid (INVALID_TOPIC_EXCEPTION).
pub fn creatable_topic(config: &BrokerConfig, name: &str) -> Option<CreatableTopic> {
    topic_name::validate(name).ok()?;
    let mut topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        configs: Vec::new(),
    };
    if let Some(internal) = InternalTopic::from_name(name) {
        let (partitions, factor) = internal.counts(config);
        topic.num_partitions = partitions as i32;
        topic.replication_factor = factor as i16;
        topic.configs = internal.configs(config);
    }
    Some(topic)
}
