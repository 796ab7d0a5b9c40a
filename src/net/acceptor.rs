//! Who may connect, and which core serves it (core 0 decides for all).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::NetConfig;
use crate::base::ShardId;

/// Why a connection was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// As many as `max.connections` allows.
    #[error("{0} connections are open: raise max.connections")]
    Connections(usize),
    /// As many as `max.connections.per.ip` allows.
    #[error("{0} connections of this address are open: raise max.connections.per.ip or its overrides")]
    PerIp(usize),
}

impl Refusal {
    /// What all refusals of a kind have in common.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Refusal::Connections(_) => "max.connections",
            Refusal::PerIp(_) => "max.connections.per.ip",
        }
    }
}

/// Counts connections by core and by address.
///
/// Unlike Kafka, which leaves connections beyond `max.connections` waiting unaccepted, they are closed.
pub(super) struct Acceptor {
    per_core: Vec<usize>,
    per_ip: BTreeMap<IpAddr, usize>,
    last: usize,
}

impl Acceptor {
    /// No connections yet, on so many cores.
    pub(super) fn new(shards: usize) -> Acceptor {
        assert!(shards > 0, "a process has cores");
        Acceptor { per_core: vec![0; shards], per_ip: BTreeMap::new(), last: shards - 1 }
    }

    /// Counts a new connection and gives it the core with the fewest (the next in turn among equals).
    pub(super) fn admit(&mut self, config: &NetConfig, peer: IpAddr) -> Result<ShardId, Refusal> {
        let open = self.open();
        if open >= config.connections_max {
            return Err(Refusal::Connections(open));
        }
        let of_ip = self.per_ip.get(&peer).copied().unwrap_or(0);
        let allowed =
            config.connections_per_ip_overrides.get(&peer).copied().unwrap_or(config.connections_per_ip_max);
        if of_ip >= allowed {
            return Err(Refusal::PerIp(of_ip));
        }
        let cores = self.per_core.len();
        let in_turn = (1..=cores).map(|i| (self.last + i) % cores);
        let core = in_turn.min_by_key(|core| self.per_core[*core]).unwrap_or(0);
        self.last = core;
        self.per_core[core] += 1;
        self.per_ip.insert(peer, of_ip + 1);
        Ok(ShardId(core as u16))
    }

    /// A connection of a core has ended.
    pub(super) fn released(&mut self, shard: ShardId, peer: IpAddr) {
        if let Some(count) = self.per_core.get_mut(usize::from(shard.0)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.per_ip.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&peer);
            }
        }
    }

    /// Connections open on all cores.
    pub(super) fn open(&self) -> usize {
        self.per_core.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn spreads_evenly_even_a_few() {
        let (mut a, c) = (Acceptor::new(3), NetConfig::default());
        let cores: Vec<u16> = (0..6).map(|_| a.admit(&c, ip(1)).unwrap().0).collect();
        assert_eq!(cores, [0, 1, 2, 0, 1, 2]);
        a.released(ShardId(1), ip(1));
        a.released(ShardId(1), ip(1));
        assert_eq!(a.admit(&c, ip(1)).unwrap().0, 1);
        assert_eq!(a.admit(&c, ip(1)).unwrap().0, 1);
        assert_eq!(a.open(), 6);
    }

    #[test]
    fn refuses_beyond_the_limits_and_recovers() {
        let c = NetConfig {
            connections_max: 4,
            connections_per_ip_max: 2,
            connections_per_ip_overrides: BTreeMap::from([(ip(9), 0), (ip(8), 3)]),
            ..NetConfig::default()
        };
        let mut a = Acceptor::new(2);
        assert!(a.admit(&c, ip(1)).is_ok() && a.admit(&c, ip(1)).is_ok());
        assert_eq!(a.admit(&c, ip(1)), Err(Refusal::PerIp(2)));
        assert_eq!(a.admit(&c, ip(9)), Err(Refusal::PerIp(0)));
        assert!(a.admit(&c, ip(8)).is_ok() && a.admit(&c, ip(8)).is_ok());
        assert_eq!(a.admit(&c, ip(8)), Err(Refusal::Connections(4)));
        a.released(ShardId(0), ip(1));
        assert!(a.admit(&c, ip(1)).is_ok());
    }
}
