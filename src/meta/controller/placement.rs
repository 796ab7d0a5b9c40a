//! Which brokers get a new partition: stripes over racks and brokers, as Kafka's `StripedReplicaPlacer`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::image::{Broker, Cluster, has_usable_directory};
use super::super::record::Text;
use crate::base::BrokerId;
use crate::base::prng::Prng;

/// The brokers of a list in turn, each epoch starting one further.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<BrokerId>,
    index: usize,
    offset: usize,
    epoch: usize,
}

impl Ring {
    fn start(&mut self, random: &mut Prng) {
        self.offset = random.below(self.brokers.len() as u64) as usize;
    }

    fn next(&mut self, epoch: usize) -> Option<BrokerId> {
        let count = self.brokers.len();
        if count == 0 {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.index = 0;
            self.offset = (self.offset + 1) % count;
        }
        if self.index >= count {
            return None;
        }
        let broker = self.brokers.get((self.index + self.offset) % count).copied();
        self.index += 1;
        broker
    }
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn next(&mut self, epoch: usize) -> Option<BrokerId> {
        self.unfenced.next(epoch).or_else(|| self.fenced.next(epoch))
    }
}

/// Hands out replica lists.
#[derive(Debug)]
pub(super) struct Placer {
    racks: Vec<Rack>,
    total: usize,
    unfenced: usize,
    epoch: usize,
    offset: usize,
}

impl Placer {
    /// Over the brokers that are not shutting down and have a directory for new partitions.
    pub(super) fn new(cluster: &Cluster, random: &mut Prng) -> Placer {
        let mut racks: BTreeMap<Option<Text>, Rack> = BTreeMap::new();
        let (mut total, mut unfenced) = (0, 0);
        let usable = |b: &&Arc<Broker>| !b.in_controlled_shutdown && has_usable_directory(b);
        for broker in cluster.brokers.values().filter(usable) {
            let rack = racks.entry(broker.rack.clone()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.broker_id);
            total += 1;
            unfenced += usize::from(!broker.fenced);
        }
        let mut racks: Vec<Rack> = racks.into_values().collect();
        for rack in &mut racks {
            rack.unfenced.start(random);
            rack.fenced.start(random);
        }
        let offset = random.below(racks.len() as u64) as usize;
        Placer { racks, total, unfenced, epoch: 0, offset }
    }

    /// Whether a partition with that many replicas can be placed; if not, why.
    pub(super) fn check(&self, replication_factor: i16) -> Result<(), String> {
        if replication_factor <= 0 {
            return Err(format!(
                "Invalid replication factor {replication_factor}: the replication factor must be positive."
            ));
        }
        if self.unfenced == 0 {
            return Err(
                "All brokers are currently fenced, or have all their log directories cordoned.".to_owned()
            );
        }
        if replication_factor as usize > self.total {
            return Err(format!(
                "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) \
                 are registered or some brokers have all their log directories cordoned.",
                self.total
            ));
        }
        Ok(())
    }

    /// The replicas of the next partition, the leader first; to be called after [`Placer::check`].
    pub(super) fn place(&mut self, replication_factor: i16, random: &mut Prng) -> Vec<BrokerId> {
        assert!(self.check(replication_factor).is_ok(), "placement was not checked");
        if self.epoch == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
            self.epoch = 0;
        }
        if self.offset == self.racks.len() {
            self.offset = 0;
        }
        let (racks, epoch) = (self.racks.len(), self.epoch);
        let mut replicas = Vec::with_capacity(replication_factor as usize);
        // The leader must be unfenced; some rack has such a broker left in this epoch.
        let mut leader_rack = self.offset;
        for step in 0..racks {
            leader_rack = (self.offset + step) % racks;
            if let Some(leader) = self.racks[leader_rack].unfenced.next(epoch) {
                replicas.push(leader);
                break;
            }
        }
        // The first round passes the leader's rack by; then the racks take turns.
        let mut skip = Some(leader_rack);
        let mut rack = self.offset;
        while replicas.len() < replication_factor as usize {
            if skip == Some(rack) {
                skip = None;
            } else {
                replicas.extend(self.racks[rack].next(epoch));
            }
            rack = (rack + 1) % racks;
        }
        self.epoch += 1;
        self.offset += 1;
        replicas
    }

    fn shuffle(&mut self, random: &mut Prng) {
        shuffle(&mut self.racks, random);
        for rack in &mut self.racks {
            shuffle(&mut rack.unfenced.brokers, random);
            shuffle(&mut rack.fenced.brokers, random);
        }
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Prng) {
    for i in (1..items.len()).rev() {
        items.swap(i, random.below(i as u64 + 1) as usize);
    }
}
