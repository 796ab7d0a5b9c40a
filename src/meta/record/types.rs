//! The records as owned values. Field names and defaults are those of Kafka's schemas; a null is `None`.

use std::sync::Arc;

use crate::base::{BrokerId, DirectoryId, LeaderEpoch, TopicId, Uuid};

/// A shared text: names live in records, in the image and in replies at the same time.
pub type Text = Arc<str>;

/// `PartitionChangeRecord.leader`: the leader stays.
pub const NO_LEADER_CHANGE: BrokerId = -2;
/// A partition's leader: none.
pub const NO_LEADER: BrokerId = -1;
/// `leaderRecoveryState`: the log is whole.
pub const RECOVERED: i8 = 0;
/// `leaderRecoveryState`: the leader was elected uncleanly and has not recovered yet (KIP-704).
pub const RECOVERING: i8 = 1;
/// `PartitionChangeRecord.leaderRecoveryState`: it stays.
pub const NO_RECOVERY_CHANGE: i8 = -1;

/// A listener of a broker or controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: Text,
    /// Host name or address.
    pub host: Text,
    /// TCP port.
    pub port: u16,
    /// `SecurityProtocol`: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The range of levels of a feature that a node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The feature's name.
    pub name: Text,
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}

/// A broker registers; replaces an earlier registration of the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// `node.id`.
    pub broker_id: BrokerId,
    /// A leftover of the ZooKeeper migration.
    pub is_migrating_zk_broker: bool,
    /// Changes with every start of the process.
    pub incarnation_id: Uuid,
    /// The offset of the first record of this incarnation.
    pub broker_epoch: i64,
    /// The listeners.
    pub end_points: Vec<Endpoint>,
    /// The supported features.
    pub features: Vec<Feature>,
    /// `broker.rack`.
    pub rack: Option<Text>,
    /// Whether it must not lead yet.
    pub fenced: bool,
    /// Whether it is shutting down.
    pub in_controlled_shutdown: bool,
    /// Its online log directories (KIP-858).
    pub log_dirs: Vec<DirectoryId>,
    /// Directories that get no new partitions; `None` until the broker has said (metadata.version 30).
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

/// A broker is gone for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnregisterBrokerRecord {
    /// `node.id`.
    pub broker_id: BrokerId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
}

/// A topic comes into being; its partitions follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The name.
    pub name: Text,
    /// The id.
    pub topic_id: TopicId,
}

/// A partition comes into being, or its whole state is written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The number, from 0.
    pub partition_id: i32,
    /// The topic.
    pub topic_id: TopicId,
    /// Assigned brokers, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<BrokerId>,
    /// The leader, or [`NO_LEADER`].
    pub leader: BrokerId,
    /// [`RECOVERED`] or [`RECOVERING`].
    pub leader_recovery_state: i8,
    /// The leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this partition.
    pub partition_epoch: i32,
    /// The log directory of each replica.
    pub directories: Vec<DirectoryId>,
    /// KIP-966.
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// KIP-966.
    pub last_known_elr: Option<Vec<BrokerId>>,
}

/// Changes of a partition; what is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// The number, from 0.
    pub partition_id: i32,
    /// The topic.
    pub topic_id: TopicId,
    /// In-sync replicas.
    pub isr: Option<Vec<BrokerId>>,
    /// The leader, [`NO_LEADER`] or [`NO_LEADER_CHANGE`]; anything but the last bumps the leader epoch.
    pub leader: BrokerId,
    /// Assigned brokers.
    pub replicas: Option<Vec<BrokerId>>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Option<Vec<BrokerId>>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Option<Vec<BrokerId>>,
    /// [`RECOVERED`], [`RECOVERING`] or [`NO_RECOVERY_CHANGE`].
    pub leader_recovery_state: i8,
    /// The log directory of each replica.
    pub directories: Option<Vec<DirectoryId>>,
    /// KIP-966.
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// KIP-966.
    pub last_known_elr: Option<Vec<BrokerId>>,
}

impl PartitionChangeRecord {
    /// A record that changes nothing yet.
    pub fn new(topic_id: TopicId, partition_id: i32) -> PartitionChangeRecord {
        PartitionChangeRecord {
            partition_id,
            topic_id,
            isr: None,
            leader: NO_LEADER_CHANGE,
            replicas: None,
            removing_replicas: None,
            adding_replicas: None,
            leader_recovery_state: NO_RECOVERY_CHANGE,
            directories: None,
            eligible_leader_replicas: None,
            last_known_elr: None,
        }
    }

    /// Whether it changes nothing.
    pub fn is_no_op(&self) -> bool {
        *self == PartitionChangeRecord::new(self.topic_id, self.partition_id)
    }
}

/// A configuration value of a resource is set, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// `ConfigResource.Type`: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic, broker id, or "" for the default of all brokers.
    pub resource_name: Text,
    /// The key.
    pub name: Text,
    /// The value; `None` removes it.
    pub value: Option<Text>,
}

/// A broker is fenced (metadata.version 7 wrote it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceBrokerRecord {
    /// `node.id`.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: i64,
}

/// A broker is unfenced (metadata.version 7 wrote it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfenceBrokerRecord {
    /// `node.id`.
    pub id: BrokerId,
    /// The epoch of its registration.
    pub epoch: i64,
}

/// A topic is deleted with all its partitions and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// The topic.
    pub topic_id: TopicId,
}

/// A delegation token is created or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationTokenRecord {
    /// The principal that owns it.
    pub owner: Text,
    /// The principal that asked for it.
    pub requester: Text,
    /// Principals that may renew it.
    pub renewers: Vec<Text>,
    /// Milliseconds since the epoch.
    pub issue_timestamp: i64,
    /// Milliseconds since the epoch.
    pub max_timestamp: i64,
    /// Milliseconds since the epoch.
    pub expiration_timestamp: i64,
    /// The token's id.
    pub token_id: Text,
}

/// A SCRAM credential is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserScramCredentialRecord {
    /// The user.
    pub name: Text,
    /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
    /// The salt.
    pub salt: Vec<u8>,
    /// RFC 5802's StoredKey.
    pub stored_key: Vec<u8>,
    /// RFC 5802's ServerKey.
    pub server_key: Vec<u8>,
    /// Iterations of the hash.
    pub iterations: i32,
}

/// A feature is finalized at a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// The feature.
    pub name: Text,
    /// The level; 0 removes it.
    pub feature_level: i16,
}

/// One part of what a client quota applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity {
    /// `user`, `client-id` or `ip`.
    pub entity_type: Text,
    /// The name; `None` is the default for the type.
    pub entity_name: Option<Text>,
}

/// A client quota is set or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientQuotaRecord {
    /// What it applies to.
    pub entity: Vec<QuotaEntity>,
    /// The quota's key.
    pub key: Text,
    /// Its value.
    pub value: f64,
    /// Whether it is removed.
    pub remove: bool,
}

/// A block of producer ids was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that got the block.
    pub broker_id: BrokerId,
    /// Its epoch.
    pub broker_epoch: i64,
    /// The first id of the next block.
    pub next_producer_id: i64,
}

/// Changes of a broker's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistrationChangeRecord {
    /// `node.id`.
    pub broker_id: BrokerId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// -1 unfences, 0 changes nothing, 1 fences.
    pub fenced: i8,
    /// 0 changes nothing, 1 enters controlled shutdown.
    pub in_controlled_shutdown: i8,
    /// Its online log directories; none changes nothing.
    pub log_dirs: Vec<DirectoryId>,
    /// Its cordoned log directories; `None` changes nothing.
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

/// An ACL is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControlEntryRecord {
    /// The entry's id.
    pub id: Uuid,
    /// `ResourceType`.
    pub resource_type: i8,
    /// The resource.
    pub resource_name: Text,
    /// `PatternType`.
    pub pattern_type: i8,
    /// `User:name`.
    pub principal: Text,
    /// The host, or `*`.
    pub host: Text,
    /// `AclOperation`.
    pub operation: i8,
    /// `AclPermissionType`.
    pub permission_type: i8,
}

/// An ACL is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveAccessControlEntryRecord {
    /// The entry's id.
    pub id: Uuid,
}

/// The state of a migration from ZooKeeper; of no meaning any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZkMigrationStateRecord {
    /// The state.
    pub zk_migration_state: i8,
}

/// A SCRAM credential is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveUserScramCredentialRecord {
    /// The user.
    pub name: Text,
    /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
}

/// The records from here to the end of the transaction take effect together (KIP-868).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginTransactionRecord {
    /// What it is for.
    pub name: Option<Text>,
}

/// The records since the transaction's beginning never were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortTransactionRecord {
    /// Why.
    pub reason: Option<Text>,
}

/// A delegation token is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveDelegationTokenRecord {
    /// The token's id.
    pub token_id: Text,
}

/// A controller registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterControllerRecord {
    /// `node.id`.
    pub controller_id: BrokerId,
    /// Changes with every start of the process.
    pub incarnation_id: Uuid,
    /// A leftover of the ZooKeeper migration.
    pub zk_migration_ready: bool,
    /// The listeners.
    pub end_points: Vec<Endpoint>,
    /// The supported features.
    pub features: Vec<Feature>,
}

/// Forgets the eligible leader replicas of a topic, or of all (KIP-966).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearElrRecord {
    /// The topic; empty for all.
    pub topic_name: Text,
}
