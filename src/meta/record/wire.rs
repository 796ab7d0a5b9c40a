//! Between the records as values and the generated messages.

pub(super) use crate::wire::messages::{
    AbortTransactionRecord, AccessControlEntryRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord,
    ClearElrRecord, ClientQuotaRecord, ConfigRecord, DelegationTokenRecord, EndTransactionRecord,
    FeatureLevelRecord, FenceBrokerRecord, NoOpRecord, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord, RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord, RemoveTopicRecord, RemoveUserScramCredentialRecord, TopicRecord,
    UnfenceBrokerRecord, UnregisterBrokerRecord, UserScramCredentialRecord, ZkMigrationStateRecord,
};

use super::types;
use crate::wire::messages::client_quota_record::EntityData;
use crate::wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use crate::wire::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};

/// Both directions for a record, field by field: `copy` is copied, `vec` an array of numbers, `text` a string,
/// `each` an array of structs.
macro_rules! convert {
    ($($name:ident $(<$life:lifetime>)? { $($field:ident: $how:ident),* $(,)? })*) => {$(
        impl From<$name $(<$life>)?> for types::$name {
            fn from(m: $name) -> Self {
                types::$name { $($field: convert!(@in $how m.$field)),* }
            }
        }

        impl<'a> From<&'a types::$name> for convert!(@out $name $($life)?) {
            fn from(r: &'a types::$name) -> Self {
                $name { $($field: convert!(@to $how r.$field)),* }
            }
        }
    )*};
    (@out $name:ident) => { $name };
    (@out $name:ident $life:lifetime) => { $name<'a> };
    (@in copy $($e:tt)*) => { $($e)* };
    (@to copy $($e:tt)*) => { $($e)* };
    (@in vec $($e:tt)*) => { $($e)* };
    (@to vec $($e:tt)*) => { $($e)*.clone() };
    (@in text $($e:tt)*) => { types::Text::from($($e)*) };
    (@to text $($e:tt)*) => { &$($e)* };
    (@in option_text $($e:tt)*) => { $($e)*.map(types::Text::from) };
    (@to option_text $($e:tt)*) => { $($e)*.as_deref() };
    (@in texts $($e:tt)*) => { $($e)*.into_iter().map(types::Text::from).collect() };
    (@to texts $($e:tt)*) => { $($e)*.iter().map(AsRef::as_ref).collect() };
    (@in bytes $($e:tt)*) => { $($e)*.to_vec() };
    (@to bytes $($e:tt)*) => { &$($e)* };
    (@in each $($e:tt)*) => { $($e)*.into_iter().map(Into::into).collect() };
    (@to each $($e:tt)*) => { $($e)*.iter().map(Into::into).collect() };
}

convert! {
    RegisterBrokerRecord<'_> {
        broker_id: copy, is_migrating_zk_broker: copy, incarnation_id: copy, broker_epoch: copy, end_points: each,
        features: each, rack: option_text, fenced: copy, in_controlled_shutdown: copy, log_dirs: vec,
        cordoned_log_dirs: vec,
    }
    UnregisterBrokerRecord { broker_id: copy, broker_epoch: copy }
    TopicRecord<'_> { name: text, topic_id: copy }
    PartitionRecord {
        partition_id: copy, topic_id: copy, replicas: vec, isr: vec, removing_replicas: vec, adding_replicas: vec,
        leader: copy, leader_recovery_state: copy, leader_epoch: copy, partition_epoch: copy, directories: vec,
        eligible_leader_replicas: vec, last_known_elr: vec,
    }
    PartitionChangeRecord {
        partition_id: copy, topic_id: copy, isr: vec, leader: copy, replicas: vec, removing_replicas: vec,
        adding_replicas: vec, leader_recovery_state: copy, directories: vec, eligible_leader_replicas: vec,
        last_known_elr: vec,
    }
    ConfigRecord<'_> { resource_type: copy, resource_name: text, name: text, value: option_text }
    FenceBrokerRecord { id: copy, epoch: copy }
    UnfenceBrokerRecord { id: copy, epoch: copy }
    RemoveTopicRecord { topic_id: copy }
    DelegationTokenRecord<'_> {
        owner: text, requester: text, renewers: texts, issue_timestamp: copy, max_timestamp: copy,
        expiration_timestamp: copy, token_id: text,
    }
    UserScramCredentialRecord<'_> {
        name: text, mechanism: copy, salt: bytes, stored_key: bytes, server_key: bytes, iterations: copy,
    }
    FeatureLevelRecord<'_> { name: text, feature_level: copy }
    ClientQuotaRecord<'_> { entity: each, key: text, value: copy, remove: copy }
    ProducerIdsRecord { broker_id: copy, broker_epoch: copy, next_producer_id: copy }
    BrokerRegistrationChangeRecord {
        broker_id: copy, broker_epoch: copy, fenced: copy, in_controlled_shutdown: copy, log_dirs: vec,
        cordoned_log_dirs: vec,
    }
    AccessControlEntryRecord<'_> {
        id: copy, resource_type: copy, resource_name: text, pattern_type: copy, principal: text, host: text,
        operation: copy, permission_type: copy,
    }
    RemoveAccessControlEntryRecord { id: copy }
    ZkMigrationStateRecord { zk_migration_state: copy }
    RemoveUserScramCredentialRecord<'_> { name: text, mechanism: copy }
    BeginTransactionRecord<'_> { name: option_text }
    AbortTransactionRecord<'_> { reason: option_text }
    RemoveDelegationTokenRecord<'_> { token_id: text }
    RegisterControllerRecord<'_> {
        controller_id: copy, incarnation_id: copy, zk_migration_ready: copy, end_points: each, features: each,
    }
    ClearElrRecord<'_> { topic_name: text }
}

impl From<EntityData<'_>> for types::QuotaEntity {
    fn from(m: EntityData<'_>) -> Self {
        types::QuotaEntity { entity_type: m.entity_type.into(), entity_name: m.entity_name.map(Into::into) }
    }
}

impl<'a> From<&'a types::QuotaEntity> for EntityData<'a> {
    fn from(e: &'a types::QuotaEntity) -> Self {
        EntityData { entity_type: &e.entity_type, entity_name: e.entity_name.as_deref() }
    }
}

/// Brokers and controllers describe themselves with the same fields in messages of their own.
macro_rules! node {
    ($endpoint:ident, $feature:ident) => {
        impl From<$endpoint<'_>> for types::Endpoint {
            fn from(m: $endpoint<'_>) -> Self {
                let $endpoint { name, host, port, security_protocol } = m;
                types::Endpoint { name: name.into(), host: host.into(), port, security_protocol }
            }
        }

        impl<'a> From<&'a types::Endpoint> for $endpoint<'a> {
            fn from(e: &'a types::Endpoint) -> Self {
                $endpoint {
                    name: &e.name,
                    host: &e.host,
                    port: e.port,
                    security_protocol: e.security_protocol,
                }
            }
        }

        impl From<$feature<'_>> for types::Feature {
            fn from(m: $feature<'_>) -> Self {
                types::Feature {
                    name: m.name.into(),
                    min: m.min_supported_version,
                    max: m.max_supported_version,
                }
            }
        }

        impl<'a> From<&'a types::Feature> for $feature<'a> {
            fn from(f: &'a types::Feature) -> Self {
                $feature { name: &f.name, min_supported_version: f.min, max_supported_version: f.max }
            }
        }
    };
}

node!(BrokerEndpoint, BrokerFeature);
node!(ControllerEndpoint, ControllerFeature);
