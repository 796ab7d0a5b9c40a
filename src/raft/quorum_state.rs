//! The `quorum-state` file: the highest epoch seen, its leader and this node's vote (`FileQuorumStateStore`).

use serde_json::{Map, Value};

use super::RaftError;
use crate::base::{BrokerId, DirectoryId, LeaderEpoch, Uuid};

/// What must survive a restart for elections to be safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// The leader of the epoch, -1 if unknown.
    pub leader_id: BrokerId,
    /// The highest epoch seen.
    pub leader_epoch: LeaderEpoch,
    /// Whom this node voted for in the epoch, -1 for no one.
    pub voted_id: BrokerId,
    /// The directory of that candidate, zero if unknown.
    pub voted_directory_id: DirectoryId,
}

impl Default for QuorumState {
    /// Before the first election.
    fn default() -> QuorumState {
        QuorumState { leader_id: -1, leader_epoch: 0, voted_id: -1, voted_directory_id: Uuid::ZERO }
    }
}

impl QuorumState {
    /// Reads the file's content, version 0 (static voters) or 1.
    pub fn parse(text: &[u8]) -> Result<QuorumState, RaftError> {
        let damaged = |what: &str| RaftError::QuorumState(what.to_owned());
        // Kafka reads one line.
        let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let value: Value = serde_json::from_slice(line).map_err(|e| RaftError::QuorumState(e.to_string()))?;
        let fields = value.as_object().ok_or_else(|| damaged("it is not a JSON object"))?;
        let version = number(fields, "data_version")?;
        let state = QuorumState {
            leader_id: number(fields, "leaderId")?,
            leader_epoch: number(fields, "leaderEpoch")?,
            voted_id: number(fields, "votedId")?,
            voted_directory_id: match version {
                0 => Uuid::ZERO,
                1 => {
                    let text = fields.get("votedDirectoryId").and_then(Value::as_str);
                    text.and_then(Uuid::parse)
                        .ok_or_else(|| damaged("votedDirectoryId is missing or no id"))?
                }
                _ => return Err(damaged(&format!("data_version {version} is not 0 or 1"))),
            },
        };
        if !(0..i32::MAX).contains(&state.leader_epoch) {
            return Err(damaged(&format!("leaderEpoch is {}", state.leader_epoch)));
        }
        Ok(state)
    }

    /// The file's content as Kafka writes it: version 1 with `kraft.version` 1 and above, else version 0.
    pub fn to_text(&self, kraft_version: i16) -> String {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        if kraft_version == 0 {
            put("clusterId", "".into());
        }
        put("leaderId", self.leader_id.into());
        put("leaderEpoch", self.leader_epoch.into());
        put("votedId", self.voted_id.into());
        if kraft_version == 0 {
            put("appliedOffset", 0.into());
            put("currentVoters", Value::Array(Vec::new()));
            put("data_version", 0.into());
        } else {
            put("votedDirectoryId", self.voted_directory_id.to_string().into());
            put("data_version", 1.into());
        }
        Value::Object(fields).to_string()
    }
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<i32, RaftError> {
    let number = fields.get(name).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
    number.ok_or_else(|| RaftError::QuorumState(format!("{name} is missing or no number")))
}
