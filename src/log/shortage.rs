//! Steps that failed before anything was written: opening or creating a file, reserving space, sealing, removing. Nothing is
//! lost by that, so the partition is not fenced: they are tried again, after a pause that grows, until they work.
//!
//! | operation | if it fails |
//! |---|---|
//! | opening a segment's file, or creating one and flushing its directory | tried again; appends are refused |
//! | reserving space | less is asked for; if not even that, tried again; appends are refused once there is no room |
//! | writing, for lack of space or memory | the same bytes go to the same blocks again: nobody has read them from there |
//! | writing, otherwise | fenced: what the blocks hold is not known |
//! | flushing a segment | fenced: the kernel may have dropped what it could not write, and call the next flush a success |
//! | cutting a rolled segment, writing its indexes and snapshot and flushing those | all of it again, from memory |
//! | removing a segment's files | tried again |
//! | reading | whoever reads is told |
//!
//! Appends that were taken before the first step failed stay in the queue and are written when it works. Who waits for them
//! is told after [`SHORTAGE_PATIENCE_MS`] that they have failed, as clients give up as well; an idempotent producer that
//! repeats one is given its offset.

use super::error::{AppendError, LogError};
use super::flow::Op;
use super::partition::{Partition, State};
use super::types::{Env, LogEffect};
use crate::base::limits::{SHORTAGE_PATIENCE_MS, SHORTAGE_RETRY_MS_MAX, SHORTAGE_RETRY_MS_MIN};
use crate::base::{Offset, Ticks};

/// What has to be taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The file of a segment is opened or created.
    Open(Offset),
    /// Space is reserved in it.
    Reserve(Offset),
    /// The unit in flight is written.
    Write,
    /// A rolled segment gets its end.
    Seal(Offset),
    /// The files of a segment that is gone are removed.
    Remove(Offset),
}

/// The steps that wait to be taken again.
#[derive(Default)]
pub(super) struct Shortage {
    steps: Vec<Step>,
    error: Option<LogError>,
    since: Ticks,
    retry_at: Ticks,
    pause_ms: i64,
    /// Who waits for what is queued was told.
    gave_up: bool,
    /// One of them failed for another reason than a lack.
    is_fault: bool,
}

impl Partition {
    /// A step failed before anything was written.
    pub(super) fn put_off(
        &mut self,
        env: &mut Env,
        step: Step,
        error: LogError,
        effects: &mut Vec<LogEffect>,
    ) {
        if matches!(self.state, State::Closed) {
            return;
        }
        let now = env.disk.now();
        let refuses = |partition: &Partition| partition.writes_wait();
        let shortage = &mut self.shortage;
        if shortage.steps.is_empty() {
            *shortage = Shortage { since: now, pause_ms: SHORTAGE_RETRY_MS_MIN, ..Shortage::default() };
        }
        if !shortage.steps.contains(&step) {
            shortage.steps.push(step);
        }
        if now >= shortage.retry_at {
            shortage.retry_at = now.plus_ms(shortage.pause_ms);
            shortage.pause_ms = (2 * shortage.pause_ms).min(SHORTAGE_RETRY_MS_MAX);
        }
        shortage.is_fault |= error.lack().is_none();
        shortage.error = Some(error.clone());
        let patient = now < shortage.since.plus_ms(SHORTAGE_PATIENCE_MS);
        let give_up = !patient && !self.shortage.gave_up && refuses(self);
        self.shortage.gave_up |= give_up;
        let retry_at = self.shortage.retry_at;
        effects.push(LogEffect::PutOff { error, retry_at, give_up });
    }

    /// A step worked, or is not needed any more.
    pub(super) fn taken(&mut self, step: Step, effects: &mut Vec<LogEffect>) {
        if self.shortage.steps.is_empty() {
            return;
        }
        self.shortage.steps.retain(|other| *other != step);
        if self.shortage.steps.is_empty() {
            self.shortage = Shortage::default();
            effects.push(LogEffect::Resumed);
        }
    }

    /// Nothing is tried again: the partition is fenced, or begins anew.
    pub(super) fn nothing_put_off(&mut self, effects: &mut Vec<LogEffect>) {
        if !self.shortage.steps.is_empty() {
            self.shortage = Shortage::default();
            effects.push(LogEffect::Resumed);
        }
    }

    /// Whether a step has failed and its time has not come again.
    pub(super) fn is_put_off(&self, env: &Env, step: Step) -> bool {
        self.shortage.steps.contains(&step) && env.disk.now() < self.shortage.retry_at
    }

    /// Whether opening a segment has failed: a name that it made may not be flushed.
    pub(super) fn opens_again(&self, base: Offset) -> bool {
        self.shortage.steps.contains(&Step::Open(base))
    }

    /// Takes the steps again that were put off, if their time has come ([`LogEffect::PutOff`]).
    pub fn retry(&mut self, env: &mut Env, effects: &mut Vec<LogEffect>) {
        if !matches!(self.state, State::Open | State::Fenced(_)) || env.disk.now() < self.shortage.retry_at {
            return;
        }
        for step in self.shortage.steps.clone() {
            match step {
                Step::Open(base) if self.has_sink(base) => self.ensure_open(env, base),
                Step::Reserve(base) if self.has_sink(base) => self.reserve_again(env, base, effects),
                Step::Seal(base) if self.has_sink(base) => self.seal_written(env),
                Step::Write => self.write_again(env),
                Step::Remove(base) => self.remove_files(env, base),
                Step::Open(_) | Step::Reserve(_) | Step::Seal(_) => self.taken(step, effects),
            }
        }
    }

    fn has_sink(&self, base: Offset) -> bool {
        self.sinks.iter().any(|sink| sink.base == base)
    }

    /// The unit whose write lacked something is written again, to the same blocks.
    fn write_again(&mut self, env: &mut Env) {
        let writing = self.ops.iter().any(|(_, op)| matches!(op, Op::Write));
        let Some((segment, position, bytes)) =
            self.writer.in_flight.as_ref().map(|unit| (unit.segment, unit.position, unit.bytes.clone()))
        else {
            return;
        };
        let file = self.sinks.iter().find(|sink| sink.base == segment).and_then(|sink| sink.file.clone());
        if let Some(file) = file.filter(|_| !writing) {
            let token = self.token(Op::Write);
            env.disk.write(&file, position, bytes, token);
        }
    }

    /// Whether the next unit cannot be written yet.
    fn writes_wait(&self) -> bool {
        self.shortage.steps.iter().any(|step| match step {
            Step::Open(_) | Step::Write => true,
            Step::Reserve(base) => self.lacks_room(*base),
            // A flush waits until rolled segments have their end.
            Step::Seal(_) => self.sync_target > self.flushed_end,
            Step::Remove(_) => false,
        })
    }

    fn lacks_room(&self, base: Offset) -> bool {
        let allocated = self.sinks.iter().find(|sink| sink.base == base).map_or(0, |sink| sink.allocated);
        self.writer.front().is_some_and(|unit| unit.segment == base && unit.padded_end() > allocated)
    }

    /// Appends are refused while what was appended before cannot be written.
    pub fn check_room(&self) -> Result<(), AppendError> {
        match &self.shortage.error {
            Some(error) if self.writes_wait() => Err(AppendError::Log(error.clone())),
            _ => Ok(()),
        }
    }

    /// Whether something was put off, and why.
    pub fn put_off_by(&self) -> Option<&LogError> {
        self.shortage.error.as_ref()
    }

    /// Whether segments may be given up: not once the disk has failed otherwise than by a lack.
    pub(super) fn check_trimmable(&self) -> Result<(), LogError> {
        self.check_open()?;
        match &self.shortage.error {
            Some(error) if self.shortage.is_fault => Err(error.clone()),
            _ => Ok(()),
        }
    }
}
