//! Finalized features, as Kafka's `FeaturesImage`.

use std::collections::BTreeMap;

use super::super::record::{FeatureLevelRecord, Text};

/// The feature that decides the versions of records and of the requests between brokers.
pub const METADATA_VERSION: &str = "metadata.version";

/// The finalized levels above 0. `kraft.version` is not among them: it lives in control records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    levels: BTreeMap<Text, i16>,
}

impl Features {
    /// The level of a feature, 0 if it is not finalized.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// The level of `metadata.version`; `None` before the bootstrap records.
    pub fn metadata_version(&self) -> Option<i16> {
        self.levels.get(METADATA_VERSION).copied()
    }

    /// All finalized levels in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, i16)> {
        self.levels.iter().map(|(name, level)| (name, *level))
    }

    pub(super) fn apply(&mut self, r: &FeatureLevelRecord) {
        match r.feature_level {
            0 => self.levels.remove(&r.name),
            level => self.levels.insert(r.name.clone(), level),
        };
    }
}
