//! Every key of `server.properties`, of topics, groups and client-metrics subscriptions, in one table; and
//! the typed configurations made of them.
//!
//! Pure: input is text and pairs, and the files and variables are read by others.

mod alter;
mod broker;
mod client_metrics;
mod describe;
mod dynamic;
pub mod environment;
mod error;
mod group;
mod key;
mod listeners;
pub mod properties;
mod resource;
mod rules;
pub mod synonyms;
pub mod table;
mod topic;
mod value;

pub use alter::{AlterOp, Alteration, Altered, Outcome};
pub use broker::{BrokerConfig, ClassicGroupLimits, NetworkConfig, OffsetsConfig, STANDALONE};
pub use describe::{
    Entry, Source, Synonym, describe_broker, describe_broker_defaults, describe_client_metrics,
    describe_group, describe_topic,
};
pub use dynamic::check_broker_overrides;
pub use error::{ConfigError, Warning};
pub use key::{DefaultValue, Importance, Key, Kind, Mode, Rule, Support};
pub use listeners::{Listener, SecurityProtocol, host_port};
pub use resource::{ResourceKind, check_overrides, topic_name_fault};
pub use rules::{Cores, iso_duration_ms};
pub use topic::{
    CleanupPolicy, CompressionType, TimestampType, TopicConfig, check_topic_override, check_topic_overrides,
};
pub use value::Value;
