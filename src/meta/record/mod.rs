//! The records of `__cluster_metadata`: owned values, and their bytes.
//!
//! A record's value is frame version 1, the record's key and its version, all three unsigned varints, and then the
//! message (Kafka's `MetadataRecordSerde`). Records are read in every version that exists and written in the version
//! that the finalized `metadata.version` asks for.

#[cfg(test)]
pub mod samples;
mod types;
mod wire;

#[cfg(test)]
pub(super) mod tests;

pub use types::*;

use super::MetaError;
use crate::wire::codec::{Message, Reader, Writer};

const FRAME_VERSION: u32 = 1;

/// The lowest `metadata.version` that can be read and written (3.3-IV3).
pub const METADATA_VERSION_MIN: i16 = 7;
/// The newest `metadata.version` (4.3-IV0).
pub const METADATA_VERSION_LATEST: i16 = 30;

const MIGRATION: i16 = 8; // 3.4-IV0
const DIRECTORIES: i16 = 17; // 3.7-IV2
const ELR: i16 = 23; // 4.0-IV1
const CORDONED: i16 = 30; // 4.3-IV0

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident $(($type:ident))? = $key:literal, $message:ident;)*) => {
        /// A metadata record.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {
            $($(#[$doc])* $variant $(($type))?,)*
        }

        impl MetadataRecord {
            /// The names and keys of all records.
            pub const KINDS: &'static [(&'static str, u32)] = &[$((stringify!($message), $key)),*];

            /// Kafka's name of the record.
            pub fn name(&self) -> &'static str {
                match self { $(records!(@any $variant $(($type))?) => stringify!($message),)* }
            }

            /// The record's key.
            pub fn key(&self) -> u32 {
                match self { $(records!(@any $variant $(($type))?) => $key,)* }
            }

            fn read(key: u32, version: u32, r: &mut Reader<'_>) -> Result<MetadataRecord, MetaError> {
                match key {
                    $($key => records!(@read r, version, $variant $(($type))?, $message),)*
                    key => Err(MetaError::UnknownRecord(key)),
                }
            }

            fn write(&self, w: &mut Writer, version: i16) -> Result<(), MetaError> {
                match self {
                    $(records!(@bind value $variant $(($type))?) =>
                        records!(@write w, version, value, $message $(, $type)?),)*
                }
                Ok(())
            }
        }
    };
    (@any $variant:ident) => { MetadataRecord::$variant };
    (@any $variant:ident ($type:ident)) => { MetadataRecord::$variant(_) };
    (@bind $value:ident $variant:ident) => { MetadataRecord::$variant };
    (@bind $value:ident $variant:ident ($type:ident)) => { MetadataRecord::$variant($value) };
    (@read $r:ident, $version:ident, $variant:ident, $message:ident) => {
        message::<wire::$message>($version, $r).map(|_| MetadataRecord::$variant)
    };
    (@read $r:ident, $version:ident, $variant:ident ($type:ident), $message:ident) => {
        message::<wire::$message>($version, $r).map(|m| MetadataRecord::$variant($type::from(m)))
    };
    (@write $w:ident, $version:ident, $value:ident, $message:ident) => {
        wire::$message::default().write($w, $version)?
    };
    (@write $w:ident, $version:ident, $value:ident, $message:ident, $type:ident) => {
        wire::$message::from($value).write($w, $version)?
    };
}

records! {
    /// A broker registers.
    RegisterBroker(RegisterBrokerRecord) = 0, RegisterBrokerRecord;
    /// A broker is gone for good.
    UnregisterBroker(UnregisterBrokerRecord) = 1, UnregisterBrokerRecord;
    /// A topic comes into being.
    Topic(TopicRecord) = 2, TopicRecord;
    /// A partition comes into being.
    Partition(PartitionRecord) = 3, PartitionRecord;
    /// A configuration value changes.
    Config(ConfigRecord) = 4, ConfigRecord;
    /// A partition changes.
    PartitionChange(PartitionChangeRecord) = 5, PartitionChangeRecord;
    /// A broker is fenced.
    FenceBroker(FenceBrokerRecord) = 7, FenceBrokerRecord;
    /// A broker is unfenced.
    UnfenceBroker(UnfenceBrokerRecord) = 8, UnfenceBrokerRecord;
    /// A topic is deleted.
    RemoveTopic(RemoveTopicRecord) = 9, RemoveTopicRecord;
    /// A delegation token is created or renewed.
    DelegationToken(DelegationTokenRecord) = 10, DelegationTokenRecord;
    /// A SCRAM credential is set.
    UserScramCredential(UserScramCredentialRecord) = 11, UserScramCredentialRecord;
    /// A feature is finalized.
    FeatureLevel(FeatureLevelRecord) = 12, FeatureLevelRecord;
    /// A client quota changes.
    ClientQuota(ClientQuotaRecord) = 14, ClientQuotaRecord;
    /// A block of producer ids is handed out.
    ProducerIds(ProducerIdsRecord) = 15, ProducerIdsRecord;
    /// A broker's registration changes.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord) = 17, BrokerRegistrationChangeRecord;
    /// An ACL is added.
    AccessControlEntry(AccessControlEntryRecord) = 18, AccessControlEntryRecord;
    /// An ACL is removed.
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord) = 19, RemoveAccessControlEntryRecord;
    /// Nothing: shows that the controller lives.
    NoOp = 20, NoOpRecord;
    /// A leftover of the ZooKeeper migration.
    ZkMigrationState(ZkMigrationStateRecord) = 21, ZkMigrationStateRecord;
    /// A SCRAM credential is removed.
    RemoveUserScramCredential(RemoveUserScramCredentialRecord) = 22, RemoveUserScramCredentialRecord;
    /// A metadata transaction begins.
    BeginTransaction(BeginTransactionRecord) = 23, BeginTransactionRecord;
    /// A metadata transaction ends and takes effect.
    EndTransaction = 24, EndTransactionRecord;
    /// A metadata transaction is undone.
    AbortTransaction(AbortTransactionRecord) = 25, AbortTransactionRecord;
    /// A delegation token is removed.
    RemoveDelegationToken(RemoveDelegationTokenRecord) = 26, RemoveDelegationTokenRecord;
    /// A controller registers.
    RegisterController(RegisterControllerRecord) = 27, RegisterControllerRecord;
    /// Eligible leader replicas are forgotten.
    ClearElr(ClearElrRecord) = 28, ClearElrRecord;
}

fn message<'a, M: Message<'a>>(version: u32, r: &mut Reader<'a>) -> Result<M, MetaError> {
    match i16::try_from(version).ok().filter(|v| M::VERSIONS.contains(v)) {
        Some(version) => Ok(M::read(r, version)?),
        None => Err(MetaError::UnknownVersion { name: M::NAME, version }),
    }
}

impl MetadataRecord {
    /// Reads a record's value, all of it.
    pub fn decode(value: &[u8]) -> Result<MetadataRecord, MetaError> {
        let mut r = Reader::new(value);
        let frame = r.uvarint()?;
        if frame != FRAME_VERSION {
            return Err(MetaError::FrameVersion(frame));
        }
        let (key, version) = (r.uvarint()?, r.uvarint()?);
        let record = MetadataRecord::read(key, version, &mut r)?;
        match r.remaining() {
            0 => Ok(record),
            _ => Err(r
                .error(crate::wire::codec::DecodeErrorKind::Trailing)
                .of(record.name(), version as i16)
                .into()),
        }
    }

    /// The record's value, in the version that the finalized `metadata_version` asks for.
    pub fn encode(&self, metadata_version: i16) -> Result<Vec<u8>, MetaError> {
        let version = self.version(metadata_version);
        let mut w = Writer::new();
        w.uvarint(FRAME_VERSION);
        w.uvarint(self.key());
        w.uvarint(version as u32);
        self.for_version(version).as_ref().unwrap_or(self).write(&mut w, version)?;
        Ok(w.finish()?)
    }

    /// The version in which the record is written (Kafka's `MetadataVersion`; a change of a registration takes the
    /// lowest version that has the fields it sets).
    pub fn version(&self, metadata_version: i16) -> i16 {
        match self {
            MetadataRecord::RegisterBroker(_) => match metadata_version {
                CORDONED.. => 4,
                DIRECTORIES.. => 3,
                MIGRATION.. => 2,
                _ => 1,
            },
            MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => match metadata_version {
                ELR.. => 2,
                DIRECTORIES.. => 1,
                _ => 0,
            },
            MetadataRecord::BrokerRegistrationChange(r) if r.cordoned_log_dirs.is_some() => 3,
            MetadataRecord::BrokerRegistrationChange(r) if !r.log_dirs.is_empty() => 2,
            MetadataRecord::BrokerRegistrationChange(r) if r.in_controlled_shutdown != 0 => 1,
            _ => 0,
        }
    }

    /// The record without what its version cannot say; `None` if nothing has to go.
    fn for_version(&self, version: i16) -> Option<MetadataRecord> {
        let newest = match self {
            MetadataRecord::RegisterBroker(_) => 4,
            MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
            _ => 0,
        };
        if version >= newest {
            return None; // the usual case, without a copy
        }
        let mut lesser = self.clone();
        match &mut lesser {
            MetadataRecord::RegisterBroker(r) if version < 4 => {
                r.cordoned_log_dirs = None;
                if version < 3 {
                    r.log_dirs.clear();
                }
            }
            MetadataRecord::Partition(r) if version < 2 => {
                r.eligible_leader_replicas = None;
                r.last_known_elr = None;
                if version < 1 {
                    r.directories.clear();
                }
            }
            MetadataRecord::PartitionChange(r) if version < 2 => {
                r.eligible_leader_replicas = None;
                r.last_known_elr = None;
                if version < 1 {
                    r.directories = None;
                }
            }
            _ => return None,
        }
        Some(lesser)
    }
}
