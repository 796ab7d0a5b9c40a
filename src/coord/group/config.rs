//! The broker's configuration as far as it concerns groups.

use crate::base::limits::GROUP_NEW_MEMBER_JOIN_MS;
use crate::config::BrokerConfig;

/// Keys of `server.properties`, with Kafka's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub size_max: usize,
    /// How long a new member's JoinGroup may be parked.
    pub new_member_join_timeout_ms: i32,
    /// `message.max.bytes`: a batch of `__consumer_offsets`, and so a group with all its members.
    pub record_bytes_max: usize,
    /// `offset.metadata.max.bytes`: in UTF-16 units, as Kafka counts.
    pub offset_metadata_units_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            size_max: i32::MAX as usize,
            new_member_join_timeout_ms: GROUP_NEW_MEMBER_JOIN_MS,
            record_bytes_max: 1_048_588,
            offset_metadata_units_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

impl GroupConfig {
    /// From the broker's configuration.
    pub fn of(broker: &BrokerConfig) -> GroupConfig {
        let (classic, offsets) = (&broker.classic_groups, &broker.offsets);
        GroupConfig {
            session_timeout_ms_min: classic.min_session_timeout_ms,
            session_timeout_ms_max: classic.max_session_timeout_ms,
            initial_rebalance_delay_ms: classic.initial_rebalance_delay_ms,
            size_max: usize::try_from(classic.max_size).unwrap_or(0),
            new_member_join_timeout_ms: GROUP_NEW_MEMBER_JOIN_MS,
            record_bytes_max: usize::try_from(broker.topic_defaults.max_message_bytes).unwrap_or(0),
            offset_metadata_units_max: usize::try_from(offsets.metadata_max_bytes).unwrap_or(0),
            offsets_retention_ms: offsets.retention_ms,
            offsets_retention_check_interval_ms: offsets.retention_check_interval_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_brokers() {
        let pairs: [(&str, &str); 0] = [];
        let (broker, _) = BrokerConfig::from_pairs(pairs).expect("the defaults are good");
        assert_eq!(GroupConfig::of(&broker), GroupConfig::default());
    }
}
