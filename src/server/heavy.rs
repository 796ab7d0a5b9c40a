//! Requests that cost more than a turn should give them. Work that needs no state of the core goes to a helper thread;
//! what does need it is done in steps, a few in a turn. A connection has one such request at a time: what it sends
//! meanwhile waits (`Net::hold`), so that its requests keep their order.

use std::any::Any;
use std::collections::{HashMap, VecDeque};

use crate::api::cx::Computing;
use crate::io::repeats::limited;
use crate::io::{ConnId, Disk, DiskOutcome, FileJob, FileJobOutcome, Token};
use crate::shard::Done;
use crate::shard::tokens::{Place, token};
use crate::wire::errors::ErrorCode;

/// The heavy requests of a core.
#[derive(Default)]
pub(super) struct Heavy {
    /// Work that parked requests want done by a helper thread.
    pub(super) wanted: Vec<Computing>,
    /// Work under way, by token, and the request that waits for it.
    computing: HashMap<u32, u64>,
    last_token: u32,
    /// Requests that go on in a later turn.
    yielded: VecDeque<u64>,
    /// The connection of each such request.
    requests: HashMap<u64, ConnId>,
}

impl Heavy {
    /// Whether no request is to go on.
    pub(super) fn rests(&self) -> bool {
        self.yielded.is_empty()
    }

    /// Whether there is no such request.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// A request of this connection begins.
    pub(super) fn begin(&mut self, conn: ConnId, request: u64) {
        self.requests.insert(request, conn);
    }

    /// A request is heavy no more, if it was: its connection.
    pub(super) fn ended(&mut self, request: u64) -> Option<ConnId> {
        if self.requests.is_empty() { None } else { self.requests.remove(&request) }
    }

    /// A connection has ended.
    pub(super) fn gone(&mut self, conn: ConnId) {
        if !self.requests.is_empty() {
            self.requests.retain(|_, of| *of != conn);
        }
    }

    /// A request goes on in a later turn.
    pub(super) fn yielded(&mut self, request: u64) {
        self.yielded.push_back(request);
    }

    /// The request whose turn it is.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.yielded.pop_front()
    }

    /// Hands work to the helper threads.
    pub(super) fn submit(&mut self, disk: &mut dyn Disk) {
        for Computing { request, work, long } in self.wanted.drain(..) {
            self.last_token = self.last_token.wrapping_add(1);
            self.computing.insert(self.last_token, request);
            let token = token(Place::Heavy as u32, self.last_token);
            let job = FileJob::Run(Box::new(move |_| Ok(work())));
            if long { disk.compute_long(job, token) } else { disk.compute(job, token) }
        }
    }

    /// Whether a disk event is one of these.
    #[inline]
    pub(super) fn owns(token: Token) -> bool {
        token.0 >> 32 == Place::Heavy as u64
    }

    /// Work has ended: whose it is, and what came of it.
    pub(super) fn computed(&mut self, token: Token, outcome: DiskOutcome) -> Option<(u64, Done)> {
        let request = self.computing.remove(&(token.0 as u32))?;
        Some((request, done(outcome)))
    }
}

fn done(outcome: DiskOutcome) -> Done {
    let ran: Option<Box<dyn Any + Send>> = match outcome {
        DiskOutcome::Job(Ok(FileJobOutcome::Ran(value))) => Some(value),
        DiskOutcome::Job(Err(error)) => {
            limited!(error, "work on a helper thread failed", %error, "work on a helper thread failed: please report this");
            None
        }
        _ => None,
    };
    ran.map_or(Done::Body(Err(ErrorCode::UNKNOWN_SERVER_ERROR)), Done::Computed)
}
