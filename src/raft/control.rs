//! Control records: what the quorum says to itself in the log.

use crate::base::{BrokerId, DirectoryId, Uuid};
use crate::wire::codec;
use crate::wire::messages::leader_change_message;
use crate::wire::messages::voters_record::{self, KRaftVersionFeature};
use crate::wire::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use crate::wire::record::ControlType;
use crate::wire::{DecodeError, Message, Reader};

/// The newest `kraft.version`: voters live in the log (KIP-853).
pub const KRAFT_VERSION_LATEST: i16 = 1;

/// A control record's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// A leader starts its epoch.
    LeaderChange {
        /// The leader.
        leader_id: BrokerId,
    },
    /// A snapshot starts.
    SnapshotHeader {
        /// The append time of the last record in it, milliseconds.
        last_contained_log_timestamp: i64,
    },
    /// A snapshot ends: without it, it was cut short.
    SnapshotFooter,
    /// The version of the quorum's protocol.
    KraftVersion(i16),
    /// The voters from here on.
    KraftVoters(VoterSet),
    /// One that this version does not know and so skips, or a transaction marker, which has no place here.
    Unknown,
}

/// The voters of the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    /// The voters in the order of their ids.
    pub voters: Vec<Voter>,
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// `node.id`.
    pub id: BrokerId,
    /// The id of its metadata log directory.
    pub directory_id: DirectoryId,
    /// Its controller listeners.
    pub endpoints: Vec<VoterEndpoint>,
    /// The lowest `kraft.version` it supports.
    pub kraft_version_min: i16,
    /// The highest `kraft.version` it supports.
    pub kraft_version_max: i16,
}

/// A controller listener of a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl ControlRecord {
    /// Reads a control record. What `key` does not say is unknown, not wrong: newer versions add types.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<ControlRecord, DecodeError> {
        Ok(match ControlType::from_key(key) {
            Some(ControlType::LeaderChange) => {
                let message: LeaderChangeMessage = read(value)?;
                ControlRecord::LeaderChange { leader_id: message.leader_id }
            }
            Some(ControlType::SnapshotHeader) => {
                let message: SnapshotHeaderRecord = read(value)?;
                ControlRecord::SnapshotHeader {
                    last_contained_log_timestamp: message.last_contained_log_timestamp,
                }
            }
            Some(ControlType::SnapshotFooter) => {
                read::<SnapshotFooterRecord>(value)?;
                ControlRecord::SnapshotFooter
            }
            Some(ControlType::KraftVersion) => {
                ControlRecord::KraftVersion(read::<KRaftVersionRecord>(value)?.kraft_version)
            }
            Some(ControlType::KraftVoters) => {
                ControlRecord::KraftVoters(VoterSet::from(read::<VotersRecord<'_>>(value)?))
            }
            Some(ControlType::Abort | ControlType::Commit) | None => ControlRecord::Unknown,
        })
    }
}

/// Reads a control message, whose version stands in its first field as well; versions newer than the known ones are
/// read as the newest, for they only add tagged fields.
fn read<'a, M: Message<'a>>(value: &'a [u8]) -> Result<M, DecodeError> {
    let version = Reader::new(value).i16()?.clamp(*M::VERSIONS.start(), *M::VERSIONS.end());
    codec::decode(value, version)
}

/// LeaderChange, version 0 as Kafka 4.3 writes it.
pub(super) fn leader_change(leader_id: BrokerId, voters: &[BrokerId], granting: &[BrokerId]) -> Vec<u8> {
    let list = |ids: &[BrokerId]| {
        ids.iter()
            .map(|id| leader_change_message::Voter { voter_id: *id, voter_directory_id: Uuid::ZERO })
            .collect()
    };
    write(&LeaderChangeMessage {
        version: 0,
        leader_id,
        voters: list(voters),
        granting_voters: list(granting),
    })
}

pub(super) fn snapshot_header(last_contained_log_timestamp: i64) -> Vec<u8> {
    write(&SnapshotHeaderRecord { version: 0, last_contained_log_timestamp })
}

pub(super) fn snapshot_footer() -> Vec<u8> {
    write(&SnapshotFooterRecord { version: 0 })
}

pub(super) fn kraft_version(kraft_version: i16) -> Vec<u8> {
    write(&KRaftVersionRecord { version: 0, kraft_version })
}

pub(super) fn kraft_voters(voters: &VoterSet) -> Vec<u8> {
    write(&voters.to_wire())
}

fn write<'a, M: Message<'a>>(message: &M) -> Vec<u8> {
    // Ours are short and complete; only a text beyond 32 KiB fails, which no listener has.
    codec::encode(message, 0).expect("a control record fits its schema")
}

impl VoterSet {
    /// The voter with this id.
    pub fn get(&self, id: BrokerId) -> Option<&Voter> {
        self.voters.iter().find(|v| v.id == id)
    }

    /// The ids of all voters.
    pub fn ids(&self) -> Vec<BrokerId> {
        self.voters.iter().map(|v| v.id).collect()
    }

    fn to_wire(&self) -> VotersRecord<'_> {
        let voters = self.voters.iter().map(|v| voters_record::Voter {
            voter_id: v.id,
            voter_directory_id: v.directory_id,
            endpoints: v
                .endpoints
                .iter()
                .map(|e| voters_record::Endpoint { name: &e.name, host: &e.host, port: e.port })
                .collect(),
            kraft_version_feature: KRaftVersionFeature {
                min_supported_version: v.kraft_version_min,
                max_supported_version: v.kraft_version_max,
            },
        });
        VotersRecord { version: 0, voters: voters.collect() }
    }
}

impl From<VotersRecord<'_>> for VoterSet {
    fn from(record: VotersRecord<'_>) -> VoterSet {
        let voters = record.voters.into_iter().map(|v| Voter {
            id: v.voter_id,
            directory_id: v.voter_directory_id,
            endpoints: v
                .endpoints
                .into_iter()
                .map(|e| VoterEndpoint { name: e.name.to_owned(), host: e.host.to_owned(), port: e.port })
                .collect(),
            kraft_version_min: v.kraft_version_feature.min_supported_version,
            kraft_version_max: v.kraft_version_feature.max_supported_version,
        });
        VoterSet { voters: voters.collect() }
    }
}
