//! Lookups by time. They may look at much, so a turn gives a bounded number of them one step each, requests take turns, and
//! what needs the processor for long is done by a helper thread, for one lookup at a time.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::base::IdMap;
use crate::base::limits::{
    INFLATED_QUICKLY_BYTES_MAX, LOOKUP_STEPS_IN_TURN, LOOKUPS_AT_ONCE, LOOKUPS_OF_REQUEST,
};
use crate::io::{Disk, DiskOutcome, FileJob, FileJobOutcome, Files};
use crate::log::{BatchScan, LogError, OffsetAndTimestamp, Paused, TakesLong};
use crate::wire::errors::ErrorCode;

use super::append::log_error_code;
use super::tokens::{CoreTag, of_core};
use super::{Done, OffsetsPart, ReplyTo, Shard};

pub(super) type Found = Result<Option<OffsetAndTimestamp>, ErrorCode>;

/// A request's lookups.
pub(super) struct LookupState {
    reply_to: ReplyTo,
    results: Vec<Found>,
    /// Those that have not begun, with their places.
    left: VecDeque<(usize, OffsetsPart)>,
    under_way: usize,
    /// It is among those whose next lookup begins when it is its turn.
    waits: bool,
}

/// The lookups of a core.
#[derive(Default)]
pub(super) struct Lookups {
    requests: IdMap<u64, LookupState>,
    /// Requests whose next lookup may begin, each once.
    waiting: VecDeque<u64>,
    under_way: usize,
    /// Lookups that go on in the next turn, by ticket.
    paused: VecDeque<(u64, Paused)>,
    /// Those for which a helper has to look through a batch first.
    heavy: VecDeque<(u64, Paused)>,
    scanning: Option<Scanning>,
}

/// A lookup for which a helper looks through a batch.
struct Scanning {
    ticket: u64,
    paused: Paused,
    /// Dropped once nobody waits for it.
    wanted: Option<Arc<()>>,
}

/// What a helper has found in a batch.
enum Scanned {
    Found(Option<OffsetAndTimestamp>),
    /// It takes long.
    Long(BatchScan),
}

impl Lookups {
    /// How many requests wait for some.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is something to do in the next turn.
    fn wants_turn(&self) -> bool {
        !self.paused.is_empty() || self.under_way < LOOKUPS_AT_ONCE && !self.waiting.is_empty()
    }

    /// The next lookup of a request waits for its turn, if the request has one and others of it do not go on already.
    fn wait(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if !request.waits && !request.left.is_empty() && request.under_way < LOOKUPS_OF_REQUEST {
            request.waits = true;
            self.waiting.push_back(number);
        }
    }

    /// The lookup whose turn it is to begin.
    fn begin(&mut self) -> Option<(u64, usize, OffsetsPart)> {
        if self.under_way >= LOOKUPS_AT_ONCE {
            return None;
        }
        let number = self.waiting.pop_front()?;
        let request = self.requests.get_mut(&number)?;
        request.waits = false;
        let (place, part) = request.left.pop_front()?;
        request.under_way += 1;
        self.under_way += 1;
        Some((number, place, part))
    }
}

impl Shard {
    /// Whether lookups go on in the next turn.
    pub fn looks_up(&self) -> bool {
        self.lookups.wants_turn()
    }

    /// Lookups have their turn.
    pub fn look_up(&mut self, disk: &mut dyn Disk) {
        for _ in 0..LOOKUP_STEPS_IN_TURN {
            if let Some((ticket, paused)) = self.lookups.paused.pop_front() {
                self.go_on_lookup(disk, ticket, &paused, None);
            } else if let Some((number, place, part)) = self.lookups.begin() {
                self.begin_lookup(disk, number, place, &part);
            } else {
                break;
            }
        }
        self.settle(disk);
    }

    /// Puts lookups off to their turns; the others' results are there.
    pub(super) fn look_up_later(
        &mut self,
        reply_to: ReplyTo,
        results: Vec<Found>,
        left: VecDeque<(usize, OffsetsPart)>,
    ) {
        let number = self.number();
        let request = LookupState { reply_to, results, left, under_way: 0, waits: false };
        self.lookups.requests.insert(number, request);
        self.lookups.wait(number);
    }

    fn begin_lookup(&mut self, disk: &mut dyn Disk, number: u64, place: usize, part: &OffsetsPart) {
        let ticket = self.number();
        let result = match self.offset(disk, part, ticket) {
            Ok(None) => {
                let slot = self.partitions.slot(part.key).unwrap_or_default();
                self.tickets.insert(ticket, (slot, number, place));
                return self.lookups.wait(number);
            }
            Ok(Some(found)) => found.map_err(|e| log_error_code(&e)),
            Err(code) => Err(code),
        };
        self.looked_up(number, place, result);
    }

    fn go_on_lookup(
        &mut self,
        disk: &mut dyn Disk,
        ticket: u64,
        paused: &Paused,
        found: Option<OffsetAndTimestamp>,
    ) {
        let Some((slot, ..)) = self.tickets.get(&ticket).copied() else { return };
        self.with_log(disk, slot, |log, env, effects| log.go_on(env, paused, found, effects));
    }

    /// A lookup waits for its next turn, or for a helper.
    pub(super) fn lookup_paused(&mut self, disk: &mut dyn Disk, ticket: u64, paused: Paused) {
        if paused.is_heavy() {
            self.lookups.heavy.push_back((ticket, paused));
            self.scan_next(disk);
        } else {
            self.lookups.paused.push_back((ticket, paused));
        }
    }

    /// Has a helper look through the next batch, unless it does so for another lookup.
    fn scan_next(&mut self, disk: &mut dyn Disk) {
        while self.lookups.scanning.is_none() {
            let Some((ticket, mut paused)) = self.lookups.heavy.pop_front() else { return };
            let Some(scan) = paused.take_scan().filter(|_| self.tickets.contains_key(&ticket)) else {
                continue;
            };
            self.scan(disk, ticket, paused, scan, false);
        }
    }

    fn scan(&mut self, disk: &mut dyn Disk, ticket: u64, paused: Paused, scan: BatchScan, long: bool) {
        let wanted = Arc::new(());
        let by = Arc::downgrade(&wanted);
        let work = move |_: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
            Ok(Box::new(if long {
                Scanned::Found(scan.run_long(&by))
            } else {
                let found = scan.run(&by, INFLATED_QUICKLY_BYTES_MAX);
                found.map_or_else(|TakesLong| Scanned::Long(scan), Scanned::Found)
            }))
        };
        let job = FileJob::Run(Box::new(work));
        if long {
            disk.compute_long(job, of_core(CoreTag::Scanned));
        } else {
            disk.compute(job, of_core(CoreTag::Scanned));
        }
        self.lookups.scanning = Some(Scanning { ticket, paused, wanted: Some(wanted) });
    }

    /// A helper has looked through a batch.
    pub(super) fn scanned(&mut self, disk: &mut dyn Disk, outcome: DiskOutcome) {
        let Some(Scanning { ticket, paused, .. }) = self.lookups.scanning.take() else { return };
        match outcome {
            DiskOutcome::Job(Ok(FileJobOutcome::Ran(found))) => match found.downcast().map(|found| *found) {
                Ok(Scanned::Long(scan)) if self.tickets.contains_key(&ticket) => {
                    return self.scan(disk, ticket, paused, scan, true);
                }
                Ok(Scanned::Found(found)) => self.go_on_lookup(disk, ticket, &paused, found),
                _ => {}
            },
            DiskOutcome::Job(Err(error)) => {
                let (path, error) = (String::new(), Arc::new(error));
                let error = LogError::Storage { action: "looking through a batch", path, error };
                self.lookup_done(ticket, Err(error));
            }
            _ => self.lookup_done(ticket, Err(LogError::Closed)),
        }
        self.scan_next(disk);
    }

    pub(super) fn lookup_done(&mut self, ticket: u64, result: Result<Option<OffsetAndTimestamp>, LogError>) {
        let Some((_, number, place)) = self.tickets.remove(&ticket) else { return };
        self.looked_up(number, place, result.map_err(|e| log_error_code(&e)));
    }

    /// A lookup of a request has ended: the next one may begin, or the request is answered.
    fn looked_up(&mut self, number: u64, place: usize, result: Found) {
        let Some(request) = self.lookups.requests.get_mut(&number) else { return };
        request.results[place] = result;
        request.under_way -= 1;
        self.lookups.under_way -= 1;
        if request.under_way > 0 || !request.left.is_empty() {
            return self.lookups.wait(number);
        }
        if let Some(request) = self.lookups.requests.remove(&number) {
            self.answer(request.reply_to, Done::Offsets(request.results));
        }
    }

    /// Nobody waits for a request's lookups any more.
    pub(super) fn forget_lookups(&mut self, reply_to: ReplyTo) {
        let number = self.lookups.requests.iter().find(|(_, request)| request.reply_to == reply_to);
        let Some(number) = number.map(|(number, _)| *number) else { return };
        let Some(request) = self.lookups.requests.remove(&number) else { return };
        self.lookups.under_way -= request.under_way;
        self.lookups.waiting.retain(|of| *of != number);
        let tickets: Vec<(u64, u32)> =
            self.tickets.iter().filter(|(_, t)| t.1 == number).map(|(ticket, t)| (*ticket, t.0)).collect();
        for (ticket, slot) in tickets {
            self.tickets.remove(&ticket);
            self.lookups.paused.retain(|(of, _)| *of != ticket);
            self.lookups.heavy.retain(|(of, _)| *of != ticket);
            if let Some(log) = self.partitions.get(slot).and_then(|hosted| hosted.log()) {
                log.forget_lookup(ticket);
            }
            if let Some(scanning) =
                self.lookups.scanning.as_mut().filter(|scanning| scanning.ticket == ticket)
            {
                scanning.wanted = None;
            }
        }
    }
}
