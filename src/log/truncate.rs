//! Cutting a log back to an offset, for a follower or a Raft voter whose leader has other records.

use std::io;
use std::sync::Arc;

use super::error::LogError;
use super::flow::Op;
use super::open::{Loader, Start};
use super::partition::{Journaled, Partition, State};
use super::recover;
use super::segment::{Segments, storage};
use super::types::{Env, LogEffect, OpenOptions, RecoveryReport};
use super::writer::Writer;
use crate::base::Offset;
use crate::io::{FileJob, FileJobOutcome};

impl Partition {
    /// Cuts the log so that `offset` is its end, or the end of the last whole batch before it. Appends, reads and
    /// lookups are refused until [`LogEffect::Truncated`]; searches under way end with an error.
    pub fn truncate_to(&mut self, env: &mut Env, offset: Offset, effects: &mut Vec<LogEffect>) {
        if let Err(error) = self.check_open() {
            effects.push(LogEffect::Truncated { result: Err(error) });
            return;
        }
        if offset >= self.log_end {
            effects.push(LogEffect::Truncated { result: Ok(self.log_end) });
            return;
        }
        self.state = State::Truncating;
        self.truncate_target = Some(offset.max(self.log_start));
        self.writer.drop_pending();
        self.readers.clear();
        self.damaged.forget(Offset::MIN, Offset::MAX);
        env.cache.remove_slot(self.slot);
        self.truncate_if_quiet(env);
    }

    /// Starts the job once nothing is in flight that could write to the files.
    pub(super) fn truncate_if_quiet(&mut self, env: &mut Env) {
        if !matches!(self.state, State::Truncating) || !self.ops.is_empty() {
            return;
        }
        let Some(offset) = self.truncate_target.take() else { return };
        let (dir, config) = (self.dir.clone(), self.config.clone());
        let options = OpenOptions {
            slot: self.slot,
            clean_shutdown: false,
            recovery_point: Some(self.flushed_end.min(offset)),
            acknowledged: 0,
            log_start_offset: Some(self.log_start),
            log_start_is_certain: true,
            now_ms: env.disk.wall_ms(),
            seed: 0,
        };
        let work = move |files: &dyn crate::io::Files| {
            let done = recover::cut_at(files, &dir, offset).map_err(storage("truncating", &dir));
            let mut loader = Loader {
                files,
                dir: &dir,
                config: &config,
                options: &options,
                report: RecoveryReport::default(),
                names_changed: false,
            };
            let loaded = done.and_then(|()| loader.load());
            Ok(Box::new(loaded) as Box<dyn std::any::Any + Send>)
        };
        let token = self.token(Op::Truncate);
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }

    pub(super) fn on_truncated(&mut self, result: io::Result<FileJobOutcome>, effects: &mut Vec<LogEffect>) {
        let loaded = match result {
            Ok(FileJobOutcome::Ran(value)) => {
                value.downcast::<Result<Start, LogError>>().map(|loaded| *loaded)
            }
            Ok(_) => unreachable!("a job that runs gives a value"),
            Err(error) => {
                let (path, error) = (self.dir.display().to_string(), Arc::new(error));
                Ok(Err(LogError::Storage { action: "truncating", path, error }))
            }
        };
        let Ok(loaded) = loaded else { unreachable!("truncating gives a loaded log") };
        self.nothing_put_off(effects);
        match loaded {
            Err(error) => {
                self.fence(error.clone(), effects);
                effects.push(LogEffect::Truncated { result: Err(error) });
            }
            Ok(start) if matches!(self.state, State::Truncating) => {
                self.segments = Segments::new(start.segments);
                self.sinks = [start.active].into();
                self.writer = Writer::new(start.tail);
                self.producers = start.producers;
                self.epochs = start.epochs;
                self.epochs_dirty = true;
                self.epochs_unsaved = self.epochs_unsaved.min(start.log_end);
                self.log_end = start.log_end;
                self.written_end = start.log_end;
                self.durable_end = start.log_end;
                self.flushed_end = start.flushed_end.min(start.log_end);
                (self.sync_target, self.write_target) = (0, 0);
                self.journaled = Journaled::none();
                self.unflushed_since_ms = None;
                self.dirty = true;
                self.state = State::Open;
                self.want_epochs_saved();
                effects.push(LogEffect::Truncated { result: Ok(start.log_end) });
            }
            Ok(_) => effects.push(LogEffect::Truncated { result: Err(LogError::Closed) }),
        }
    }
}
