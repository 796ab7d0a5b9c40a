//! What keys and values say, where the topic tells.

use crate::meta::record::MetadataRecord;
use crate::wire::codec::decode;
use crate::wire::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use crate::wire::record::{ControlType, Record};

/// How the records of a topic are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// As text, or as hexadecimal digits if they are none.
    Plain,
    /// Of `__cluster_metadata`.
    Metadata,
    /// Of `__consumer_offsets`.
    Offsets,
}

impl Schema {
    /// From the name of the partition's directory and the end of the file's name.
    pub fn of(directory: &str, extension: &str) -> Schema {
        let topic = directory.rsplit_once('-').map_or(directory, |(topic, _)| topic);
        match topic {
            "__cluster_metadata" => Schema::Metadata,
            "__consumer_offsets" => Schema::Offsets,
            // Such as bootstrap.checkpoint beside the partitions.
            _ if extension == "checkpoint" => Schema::Metadata,
            _ => Schema::Plain,
        }
    }

    /// Key and value of a record.
    pub fn show(self, record: &Record) -> String {
        let (key, value) = (record.key, record.value);
        match self {
            Schema::Plain => None,
            Schema::Metadata => value.map(metadata),
            Schema::Offsets => key.and_then(|key| offsets(key, value)),
        }
        .unwrap_or_else(|| format!("key: {} payload: {}", bytes(key), bytes(value)))
    }
}

/// The key of a control record.
pub fn control(record: &Record) -> String {
    let kind = record.key.and_then(ControlType::from_key);
    match kind {
        Some(kind) => format!("control: {kind:?} payload: {}", hex(record.value.unwrap_or_default())),
        None => format!("control: unknown, key: {}", bytes(record.key)),
    }
}

fn metadata(value: &[u8]) -> String {
    match MetadataRecord::decode(value) {
        Ok(record) => format!("payload: {record:?}"),
        Err(error) => format!("payload: {} ({error})", hex(value)),
    }
}

fn offsets(key: &[u8], value: Option<&[u8]>) -> Option<String> {
    let (kind, key) = key.split_first_chunk::<2>()?;
    let value = match value {
        Some(value) => Some(value.split_first_chunk::<2>().map(|(v, rest)| (i16::from_be_bytes(*v), rest))?),
        None => None,
    };
    let (key, value) = match i16::from_be_bytes(*kind) {
        0 | 1 => {
            let key = decode::<OffsetCommitKey>(key, 0).ok()?;
            let value = match value {
                Some((version, v)) => format!("{:?}", decode::<OffsetCommitValue>(v, version).ok()?),
                None => "null".to_owned(),
            };
            (format!("{key:?}"), value)
        }
        2 => {
            let key = decode::<GroupMetadataKey>(key, 0).ok()?;
            let value = match value {
                Some((version, v)) => format!("{:?}", decode::<GroupMetadataValue>(v, version).ok()?),
                None => "null".to_owned(),
            };
            (format!("{key:?}"), value)
        }
        _ => return None,
    };
    Some(format!("key: {key} payload: {value}"))
}

/// Text if it is printable, hexadecimal digits if not.
fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('?');
    "0x".chars().chain(bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)])).collect()
}
