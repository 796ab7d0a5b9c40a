//! A node of the quorum: its role, and the inputs and effects that all roles share.

use super::{
    ControlRecord, KRAFT_VERSION_LATEST, Leader, QuorumState, RaftError, Voter, VoterEndpoint, VoterSet,
};
use crate::base::{BrokerId, DirectoryId, LeaderEpoch, Offset, Ticks, Uuid, WallMs};

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `node.id`.
    pub node_id: BrokerId,
    /// The id of its metadata log directory.
    pub directory_id: DirectoryId,
    /// Its controller listeners.
    pub endpoints: Vec<VoterEndpoint>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The log and the newest snapshot were read; let elections begin.
    Start,
    /// The controller wants these values appended; they take effect together.
    Propose(&'a [Vec<u8>]),
    /// Everything below this offset is on the disk.
    Durable(Offset),
}

/// What is to be done, in this order: each before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the `quorum-state` file: to a new file, synced, renamed. It must be on the disk before anything else.
    PersistQuorumState(String),
    /// Append a batch. When it is on the disk, say so with [`Input::Durable`].
    Append {
        /// The offset of its first record.
        first: Offset,
        /// The offset of its last record.
        last: Offset,
        /// The batch.
        bytes: Vec<u8>,
    },
    /// A proposal got its place in the log.
    Proposed(Proposed),
    /// Everything below the high watermark is committed: apply it.
    Committed {
        /// The offset behind the last committed record.
        high_watermark: Offset,
    },
}

/// The place of a proposal in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The offset of its first record.
    pub first: Offset,
    /// The offset of its last record.
    pub last: Offset,
    /// The epoch of its records.
    pub epoch: LeaderEpoch,
}

/// The role of a node in an epoch. A lone voter leads or has not started yet; follower, candidate, prospective and
/// observer are to come.
#[derive(Clone, Debug)]
pub enum Role {
    /// No leader is known, and this node has not asked for votes.
    Unattached,
    /// This node leads.
    Leader(Leader),
}

/// A node of the quorum.
#[derive(Clone, Debug)]
pub struct Raft {
    identity: Identity,
    role: Role,
    epoch: LeaderEpoch,
    log_end: Offset,
    kraft_version: i16,
    voters: Option<VoterSet>,
    /// Whether the voters are in the log, not only in the snapshot that `format` wrote.
    voters_in_log: bool,
}

impl Raft {
    /// A node with what its `quorum-state` file says; `None` if there is no such file. The snapshot's and the log's
    /// control records follow by [`Raft::replay`].
    pub fn new(identity: Identity, state: Option<&QuorumState>) -> Raft {
        let epoch = state.map_or(0, |s| s.leader_epoch);
        Raft {
            identity,
            role: Role::Unattached,
            epoch,
            log_end: 0,
            kraft_version: 0,
            voters: None,
            voters_in_log: false,
        }
    }

    /// A brand-new quorum of one: this node, with the voters in the log from the start.
    pub fn standalone(identity: Identity) -> Raft {
        let mut raft = Raft::new(identity, None);
        raft.kraft_version = KRAFT_VERSION_LATEST;
        raft.voters = Some(VoterSet { voters: vec![raft.own_voter()] });
        raft
    }

    /// Takes in what a snapshot says; `end` is the offset behind its last record.
    pub fn replay_snapshot(&mut self, end: Offset, epoch: LeaderEpoch, snapshot: &super::Snapshot) {
        self.kraft_version = snapshot.kraft_version;
        self.voters.clone_from(&snapshot.voters);
        self.voters_in_log = end > 0 && snapshot.voters.is_some();
        self.log_end = end;
        self.epoch = self.epoch.max(epoch);
    }

    /// Takes in the control record at `offset`.
    pub fn replay(&mut self, record: &ControlRecord) {
        match record {
            ControlRecord::KraftVersion(version) => self.kraft_version = *version,
            ControlRecord::KraftVoters(voters) => {
                self.voters = Some(voters.clone());
                self.voters_in_log = true;
            }
            _ => {}
        }
    }

    /// The log was read up to `end`, the last batch having `epoch`.
    pub fn log_read(&mut self, end: Offset, epoch: LeaderEpoch) {
        assert!(matches!(self.role, Role::Unattached), "the log is read before the start");
        self.log_end = self.log_end.max(end);
        self.epoch = self.epoch.max(epoch);
    }

    /// Takes in what happened and adds to `effects` what is to be done.
    pub fn step(
        &mut self,
        _now: Ticks,
        now_ms: WallMs,
        input: Input<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RaftError> {
        match (input, &mut self.role) {
            (Input::Start, Role::Unattached) => self.start(now_ms, effects),
            (Input::Propose(values), Role::Leader(leader)) => {
                let proposed = leader.propose(values, now_ms, effects)?;
                // The caller learns the offsets before it does the append.
                effects.insert(effects.len() - 1, Effect::Proposed(proposed));
                Ok(())
            }
            (Input::Propose(_), Role::Unattached) => Err(RaftError::NotLeader),
            (Input::Durable(end), Role::Leader(leader)) => {
                leader.durable(end, effects);
                Ok(())
            }
            (Input::Start, Role::Leader(_)) | (Input::Durable(_), Role::Unattached) => Ok(()),
        }
    }

    /// A lone voter is elected by its own vote: one epoch further, with the vote on the disk first.
    fn start(&mut self, now_ms: WallMs, effects: &mut Vec<Effect>) -> Result<(), RaftError> {
        self.check_voter()?;
        let own = self.own_voter();
        let changed = self.voters.as_ref().is_some_and(|set| set.voters.first() != Some(&own));
        let write_voters =
            (self.kraft_version > 0 && (changed || !self.voters_in_log)).then_some(self.kraft_version);
        let voters = VoterSet { voters: vec![own] };
        self.epoch += 1;
        let (leader_id, leader_epoch) = (self.identity.node_id, self.epoch);
        let state = QuorumState { leader_id, leader_epoch, voted_id: -1, voted_directory_id: Uuid::ZERO };
        effects.push(Effect::PersistQuorumState(state.to_text(self.kraft_version)));
        let leader =
            Leader::start(self.epoch, leader_id, self.log_end, &voters, write_voters, now_ms, effects);
        self.role = Role::Leader(leader);
        self.voters = Some(voters);
        self.voters_in_log |= write_voters.is_some();
        Ok(())
    }

    /// Whether what was read lets this node lead.
    ///
    /// # Errors
    /// If the voters are others.
    pub fn check_voter(&self) -> Result<(), RaftError> {
        // kraft.version 0 keeps the voters in the configuration: a lone node is its own quorum.
        let Some(set) = &self.voters else { return Ok(()) };
        let own = &self.identity;
        match set.voters.as_slice() {
            [only]
                if only.id == own.node_id
                    && (self.kraft_version == 0 || only.directory_id == own.directory_id) =>
            {
                Ok(())
            }
            _ => Err(self.not_the_voter(set)),
        }
    }

    fn own_voter(&self) -> Voter {
        Voter {
            id: self.identity.node_id,
            directory_id: self.identity.directory_id,
            endpoints: self.identity.endpoints.clone(),
            kraft_version_min: 0,
            kraft_version_max: KRAFT_VERSION_LATEST,
        }
    }

    fn not_the_voter(&self, voters: &VoterSet) -> RaftError {
        let names: Vec<String> =
            voters.voters.iter().map(|v| format!("{}-{}", v.id, v.directory_id)).collect();
        RaftError::NotTheVoter {
            node_id: self.identity.node_id,
            directory_id: self.identity.directory_id,
            voters: names.join(", "),
        }
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The leader's state, if this node leads.
    pub fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Unattached => None,
        }
    }

    /// The highest epoch seen.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The `kraft.version`.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version
    }

    /// The voters; none before the start of a quorum with static voters.
    pub fn voters(&self) -> Option<&VoterSet> {
        self.voters.as_ref()
    }
}
