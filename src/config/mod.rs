//! Every key of `server.properties`, of topics, groups and client-metrics subscriptions, in one table; and
//! the typed configurations made of them.
//!
//! Pure: input is text and pairs, and the files and variables are read by others.

mod broker;
mod dynamic;
pub mod environment;
mod error;
mod key;
mod listeners;
pub mod properties;
mod rules;
pub mod synonyms;
pub mod table;
mod topic;
mod value;

pub use broker::{BrokerConfig, ClassicGroupLimits, NetworkConfig, OffsetsConfig, STANDALONE};
pub use dynamic::check_broker_overrides;
pub use error::{ConfigError, Warning};
pub use key::{DefaultValue, Importance, Key, Kind, Mode, Rule, Support};
pub use listeners::{Listener, SecurityProtocol};
pub use rules::iso_duration_ms;
pub use topic::{
    CleanupPolicy, CompressionType, TimestampType, TopicConfig, check_topic_override, check_topic_overrides,
};
pub use value::Value;
