//! The coordinator's deadlines: at most one per key, the earliest first.

use crate::base::Ticks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// Look for expired offsets and groups.
    Cleanup,
    /// Delete offsets of topics that are gone.
    Topics,
    /// End the join phase of a group.
    Join(Arc<str>),
    /// Remove the members of a group that have not sent SyncGroup.
    Sync(Arc<str>),
    /// A member of a group, joined or pending, has been silent for too long.
    Session(Arc<str>, Arc<str>),
}

impl TimerKey {
    /// Whether it goes through many groups: one is a turn's work.
    pub(super) fn is_sweep(&self) -> bool {
        matches!(self, TimerKey::Cleanup | TimerKey::Topics)
    }
}

/// All deadlines.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Ticks, TimerKey)>,
    by_key: BTreeMap<TimerKey, Ticks>,
}

impl Timers {
    /// Sets the deadline of `key`, in place of the one it has.
    pub(super) fn schedule(&mut self, key: TimerKey, at: Ticks) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Removes the deadline of `key`, if it has one.
    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
    }

    /// Removes every deadline of a group.
    pub(super) fn cancel_group(&mut self, group: &Arc<str>) {
        self.cancel(&TimerKey::Join(group.clone()));
        self.cancel(&TimerKey::Sync(group.clone()));
        let first = TimerKey::Session(group.clone(), "".into());
        let keys: Vec<TimerKey> = self
            .by_key
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| matches!(key, TimerKey::Session(of, _) if of == group))
            .cloned()
            .collect();
        for key in keys {
            self.cancel(&key);
        }
    }

    /// Removes every deadline.
    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.by_key.clear();
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Ticks> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The earliest deadline that has come.
    pub(super) fn due(&self, now: Ticks) -> Option<&TimerKey> {
        self.by_time.first().filter(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    /// Whether the deadline of `key` is past; then it is removed.
    pub(super) fn take_overdue(&mut self, key: &TimerKey, now: Ticks) -> bool {
        let due = self.by_key.get(key).is_some_and(|at| *at < now);
        if due {
            self.cancel(key);
        }
        due
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}
