//! Records of `__consumer_offsets` (`GroupCoordinatorRecordHelpers`): bytes from changes, and changes from bytes.

use super::classic::{ClassicGroup, Member};
use super::in_flight::Change;
use super::offsets::CommittedOffset;
use super::request::{CommitPartition, CommitRequest, CommitTopic};
use crate::coord::Record;
use crate::wire::codec::{Message, Reader, Writer};
use crate::wire::messages::group_metadata_value::MemberMetadata;
use crate::wire::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use std::sync::Arc;

/// The key type of offsets in Kafka's first releases; otherwise like [`KEY_OFFSET`].
const KEY_OFFSET_OLD: i16 = 0;
const KEY_OFFSET: i16 = OffsetCommitKey::KEY;
const KEY_GROUP: i16 = GroupMetadataKey::KEY;

/// The version of an offset's value, and of one that carries its own expiration.
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_EXPIRING: i16 = 1;
/// The version of a group's value.
const GROUP_VALUE: i16 = 3;

/// A record of the log.
pub(super) enum Decoded {
    /// An offset, or its tombstone.
    Offset { group: Arc<str>, topic: Arc<str>, partition: i32, value: Option<CommittedOffset> },
    /// A classic group.
    Group { group: Box<ClassicGroup> },
    /// A classic group's tombstone.
    NoGroup { group: Arc<str> },
    /// Of another type.
    Unknown,
    /// Not what its type says.
    Damaged,
}

/// The bytes of a change's record; None if something in it is too long for its field. A group's are taken out of the change.
pub(super) fn encode(change: &mut Change) -> Option<Record> {
    Some(match change {
        Change::Offset { group, topic, partition, value } => {
            let key = OffsetCommitKey { group, topic, partition: *partition };
            let value = match value {
                Some(offset) => Some(offset_value(offset)?),
                None => None,
            };
            Record { key: message(KEY_OFFSET, &key, 0)?, value }
        }
        Change::Store { group, value } => Record { key: group_key(group)?, value: Some(value.take()?) },
        Change::Drop { group } => Record { key: group_key(group)?, value: None },
    })
}

/// What the records of a commit take at least, keys and values, save for those whose metadata is longer than that many bytes:
/// they may be refused. To know that there are too many records costs less than to make them.
pub(super) fn least_bytes(request: &CommitRequest, metadata_max: usize) -> usize {
    let of_topic = |topic: &CommitTopic| {
        let key = 2 + 2 + request.group_id.len() + 2 + topic.name.len() + 4;
        let metadata = |p: &CommitPartition| p.metadata.as_ref().map_or(0, String::len);
        let lengths = topic.partitions.iter().map(metadata).filter(|bytes| *bytes <= metadata_max);
        lengths.map(|bytes| key + 2 + 8 + 8 + bytes).sum::<usize>()
    };
    request.topics.iter().map(of_topic).sum()
}

fn group_key(group: &str) -> Option<Vec<u8>> {
    message(KEY_GROUP, &GroupMetadataKey { group }, 0)
}

fn offset_value(offset: &CommittedOffset) -> Option<Vec<u8>> {
    let version = if offset.expire_at_ms.is_some() { OFFSET_VALUE_EXPIRING } else { OFFSET_VALUE };
    let value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: &offset.metadata,
        commit_timestamp: offset.commit_at_ms,
        expire_timestamp: offset.expire_at_ms.unwrap_or(-1),
        topic_id: offset.topic_id,
    };
    message(version, &value, version)
}

/// A message behind an int16: a value's version, or a key's type.
fn message<'a, M: Message<'a>>(prefix: i16, message: &M, version: i16) -> Option<Vec<u8>> {
    let mut writer = Writer::new();
    writer.i16(prefix);
    message.write(&mut writer, version).ok()?;
    writer.finish().ok()
}

impl Change {
    /// Stores a group as it is, with these assignments.
    pub(super) fn store(group: &ClassicGroup, assignment: impl Fn(&Member) -> Arc<[u8]>) -> Change {
        let protocol = group.protocol_name().map(|name| &**name);
        let bytes = |m: &Member| (m.metadata(protocol.unwrap_or_default()), assignment(m));
        let bytes: Vec<_> = group.members().map(bytes).collect();
        let members =
            group.members().zip(&bytes).map(|(member, (subscription, assignment))| MemberMetadata {
                member_id: &member.id,
                group_instance_id: member.instance_id.as_deref(),
                client_id: &member.client_id,
                client_host: &member.client_host,
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms,
                subscription,
                assignment,
            });
        let value = GroupMetadataValue {
            protocol_type: group.protocol_type().map(|name| &**name).unwrap_or_default(),
            generation: group.generation(),
            protocol,
            leader: group.leader().map(|id| &**id),
            current_state_timestamp: group.state_at_ms().unwrap_or(-1),
            members: members.collect(),
        };
        Change::Store { group: group.id.clone(), value: message(GROUP_VALUE, &value, GROUP_VALUE) }
    }

    /// Stores that a group exists, before its first generation.
    pub(super) fn store_empty(group: &ClassicGroup) -> Change {
        let value = GroupMetadataValue {
            protocol_type: "",
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp: group.state_at_ms().unwrap_or(-1),
            members: Vec::new(),
        };
        Change::Store { group: group.id.clone(), value: message(GROUP_VALUE, &value, GROUP_VALUE) }
    }
}

/// Reads a record. Any bytes will do.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Decoded {
    let mut reader = Reader::new(key);
    let decoded = match reader.i16() {
        Ok(KEY_OFFSET | KEY_OFFSET_OLD) => decode_offset(&mut reader, value),
        Ok(KEY_GROUP) => decode_group(&mut reader, value),
        Ok(_) => Some(Decoded::Unknown),
        Err(_) => None,
    };
    decoded.unwrap_or(Decoded::Damaged)
}

fn decode_offset(key: &mut Reader<'_>, value: Option<&[u8]>) -> Option<Decoded> {
    let key = OffsetCommitKey::read(key, 0).ok()?;
    let value = match value {
        None => None,
        Some(value) => {
            let value: OffsetCommitValue<'_> = versioned(value)?;
            Some(CommittedOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.into(),
                commit_at_ms: value.commit_timestamp,
                expire_at_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
                topic_id: value.topic_id,
            })
        }
    };
    let (group, topic) = (key.group.into(), key.topic.into());
    Some(Decoded::Offset { group, topic, partition: key.partition, value })
}

fn decode_group(key: &mut Reader<'_>, value: Option<&[u8]>) -> Option<Decoded> {
    let key = GroupMetadataKey::read(key, 0).ok()?;
    let Some(value) = value else { return Some(Decoded::NoGroup { group: key.group.into() }) };
    let value: GroupMetadataValue<'_> = versioned(value)?;
    let protocol: Option<Arc<str>> = value.protocol.map(Arc::from);
    let member = |stored: &MemberMetadata<'_>| Member {
        id: stored.member_id.into(),
        instance_id: stored.group_instance_id.map(Arc::from),
        client_id: stored.client_id.into(),
        client_host: stored.client_host.into(),
        rebalance_timeout_ms: match stored.rebalance_timeout {
            -1 => stored.session_timeout,
            timeout_ms => timeout_ms,
        },
        session_timeout_ms: stored.session_timeout,
        protocols: protocol.iter().map(|name| (name.clone(), stored.subscription.into())).collect(),
        assignment: stored.assignment.into(),
        awaiting_join: None,
        chosen: None,
        awaiting_sync: None,
        is_new: false,
    };
    let group = ClassicGroup::restored(
        key.group.into(),
        (value.current_state_timestamp != -1).then_some(value.current_state_timestamp),
        Some(value.protocol_type).filter(|name| !name.is_empty()).map(Arc::from),
        protocol.clone(),
        value.generation,
        value.leader.map(Arc::from),
        value.members.iter().map(member).collect(),
    );
    Some(Decoded::Group { group: Box::new(group) })
}

/// A value: its version, then the message. Bytes behind it are left alone.
fn versioned<'a, M: Message<'a>>(value: &'a [u8]) -> Option<M> {
    let mut reader = Reader::new(value);
    let version = reader.i16().ok()?;
    M::read(&mut reader, version).ok()
}
