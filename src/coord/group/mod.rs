//! The group coordinator: classic groups and committed offsets, one [`GroupCoordinator`] per partition of
//! `__consumer_offsets` (`GroupCoordinatorShard`, `GroupMetadataManager`, `OffsetMetadataManager`).
//!
//! How its owner drives it:
//! 1. [`GroupCoordinator::new`], then [`GroupCoordinator::replay`] for every record of the partition up to the high
//!    watermark, then [`GroupCoordinator::loaded`]. Until then requests are answered with COORDINATOR_LOAD_IN_PROGRESS.
//! 2. [`GroupCoordinator::handle`] for each request of a group whose [`partition_for`] is this partition,
//!    [`GroupCoordinator::expire`] when [`GroupCoordinator::deadline`] has come. Both fill [`Effects`]: appends, in the
//!    order of the log, and replies.
//! 3. [`GroupCoordinator::appended`] for each append once it is committed, or known not to be in the log. If that cannot
//!    be known, or leadership is lost: [`GroupCoordinator::unload`] (every open ticket is answered), and start over.
//!
//! Two kinds of state. Hard: offsets and the last stored generation of each group; it changes only by committed records,
//! so that nothing is shown that a restart could take back, and a restart rebuilds it from the log. Soft: members,
//! phases, parked requests and timers; lost at a restart, when members find out by their next request.
//!
//! A group id is of one type. Consumer (KIP-848), share and streams groups and transactional offsets have their rooms
//! here too: their records are skipped and counted until then.

pub mod config;
pub mod error;
pub mod reply;
pub mod request;

mod classic;
mod coordinator;
mod in_flight;
mod offset_requests;
mod offsets;
mod record;
mod subscription;
mod sweep;
mod timers;
mod wire_form;

pub use config::GroupConfig;
pub use coordinator::{GroupCoordinator, Replayed, partition_for};
pub use error::{GroupError, error_code};
pub use reply::GroupReply;
pub use request::{ClientInfo, GroupRequest};

use crate::base::prng::Prng;
use crate::coord::{Append, Now, Ticket};

/// What the coordinator wants done.
#[derive(Debug, Default)]
pub struct Effects {
    /// Batches for the partition, in order.
    pub appends: Vec<Append>,
    /// Answers.
    pub replies: Vec<(Ticket, GroupReply)>,
}

impl Effects {
    fn reply(&mut self, ticket: Ticket, reply: GroupReply) {
        self.replies.push((ticket, reply));
    }
}

/// What a group's code needs beside the group.
struct Cx<'a> {
    now: Now,
    config: &'a GroupConfig,
    timers: &'a mut timers::Timers,
    in_flight: &'a mut in_flight::InFlight,
    prng: &'a mut Prng,
    effects: &'a mut Effects,
}

impl Cx<'_> {
    fn reply(&mut self, ticket: Ticket, reply: GroupReply) {
        self.effects.reply(ticket, reply);
    }
}

#[cfg(test)]
mod tests;
