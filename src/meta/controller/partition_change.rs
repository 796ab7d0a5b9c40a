//! What becomes of a partition when brokers come and go: in-sync and eligible replicas, and who leads
//! (Kafka's `PartitionChangeBuilder`, KIP-966).

use super::super::image::Partition;
use super::super::record::{NO_LEADER, NO_LEADER_CHANGE, PartitionChangeRecord, RECOVERING};
use crate::base::{BrokerId, TopicId};

/// A change to be made of one partition.
pub(super) struct PartitionChange<'a> {
    /// The partition's topic.
    pub topic_id: TopicId,
    /// Its number.
    pub partition_id: i32,
    /// As it is.
    pub partition: &'a Partition,
    /// The in-sync replicas it shall have.
    pub isr: Vec<BrokerId>,
    /// A replica that came back without having shut down cleanly: what it had may be gone.
    pub unclean: Option<BrokerId>,
    /// Who may lead.
    pub acceptable: &'a dyn Fn(BrokerId) -> bool,
    /// `unclean.leader.election.enable` of the topic.
    pub unclean_election: bool,
    /// How many replicas the ISR must have, at most as many as there are replicas.
    pub min_isr: usize,
    /// Whether eligible leader replicas are on.
    pub elr_enabled: bool,
}

/// Who shall lead, and whether that can lose records.
struct Elected {
    leader: BrokerId,
    unclean: bool,
}

impl PartitionChange<'_> {
    /// The record that makes the change; `None` if nothing changes.
    pub(super) fn build(mut self) -> Option<PartitionChangeRecord> {
        let mut record = PartitionChangeRecord::new(self.topic_id, self.partition_id);
        let mut elr = self.eligible();
        let elected = self.elect(&elr);
        let mut unclean_isr = false;
        if elected.leader != self.partition.leader {
            record.leader = elected.leader;
            if elr.contains(&elected.leader) {
                self.isr = vec![elected.leader];
                elr.retain(|r| *r != elected.leader);
            }
            if elected.unclean {
                unclean_isr = true;
                record.isr = Some(vec![elected.leader]);
                if !self.partition.recovering {
                    record.leader_recovery_state = RECOVERING;
                }
            }
        }
        self.note_eligible(&mut record, elr, unclean_isr);
        let emptied = self.isr.is_empty() && !self.elr_enabled;
        if !unclean_isr && !emptied && self.isr != self.partition.isr {
            record.isr = Some(self.isr);
        }
        (!record.is_no_op()).then_some(record)
    }

    /// The eligible leader replicas: who left the ISR, with everything committed, since it fell below its minimum.
    fn eligible(&self) -> Vec<BrokerId> {
        let p = self.partition;
        if !self.elr_enabled {
            return p.elr.clone();
        }
        if self.isr.len() >= self.min_isr {
            return Vec::new();
        }
        let out = |r: &BrokerId| !self.isr.contains(r) && Some(*r) != self.unclean;
        let mut elr: Vec<BrokerId> = p.elr.iter().chain(&p.isr).copied().filter(out).collect();
        elr.sort_unstable();
        elr.dedup();
        elr
    }

    fn elect(&self, elr: &[BrokerId]) -> Elected {
        let p = self.partition;
        let in_sync = |r: BrokerId| self.isr.contains(&r) || (self.isr.is_empty() && elr.contains(&r));
        let valid = |r: BrokerId| in_sync(r) && (self.acceptable)(r);
        if valid(p.leader) {
            return Elected { leader: p.leader, unclean: false };
        }
        if let Some(leader) = p.replicas.iter().copied().find(|r| valid(*r)) {
            return Elected { leader, unclean: false };
        }
        // The last leader has everything that was ever committed, if its disk kept it.
        if self.elr_enabled
            && elr.is_empty()
            && self.isr.is_empty()
            && let [last] = p.last_known_elr.as_slice()
            && (self.acceptable)(*last)
        {
            return Elected { leader: *last, unclean: true };
        }
        let willing = p.replicas.iter().copied().find(|r| self.unclean_election && (self.acceptable)(*r));
        match willing {
            Some(leader) => Elected { leader, unclean: true },
            None => Elected { leader: NO_LEADER, unclean: false },
        }
    }

    fn note_eligible(&self, record: &mut PartitionChangeRecord, elr: Vec<BrokerId>, unclean: bool) {
        let p = self.partition;
        let elr = if unclean || !self.elr_enabled { Vec::new() } else { elr };
        if elr != p.elr {
            record.eligible_leader_replicas = Some(elr);
        }
        if !self.elr_enabled {
            return;
        }
        // The field holds the last leader of a partition without one, and nothing else.
        if record.leader == NO_LEADER && p.last_known_elr.is_empty() {
            record.last_known_elr = Some(vec![p.leader]);
        } else if record.leader != NO_LEADER
            && record.leader != NO_LEADER_CHANGE
            && !p.last_known_elr.is_empty()
        {
            record.last_known_elr = Some(Vec::new());
        }
    }
}
