//! What stands beside a partition's segments: a file that is damaged is made anew, one that cannot be read keeps the partition
//! closed.

use std::collections::BTreeSet;
use std::path::Path;

use super::checkpoint::{self, Content};
use super::epochs::Epochs;
use super::error::LogError;
use super::names::{self, FileKind};
use super::open::Loader;
use super::producers::Producers;
use super::segment::storage;
use super::snapshot;
use crate::base::Offset;

impl Loader<'_> {
    pub(super) fn snapshot_at(
        &self,
        offset: Offset,
        snapshots: &BTreeSet<Offset>,
    ) -> Result<Option<Producers>, LogError> {
        let path = self.path(offset, FileKind::ProducerSnapshot);
        let bytes = if snapshots.contains(&offset) { self.read_if_there(&path)? } else { None };
        Ok(bytes.and_then(|bytes| snapshot::parse(&bytes)))
    }

    /// A small file; an error is not damage, which is mended.
    pub(super) fn read_if_there(&self, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
        self.files.read_if_there(path).map_err(storage("reading", path))
    }

    /// The epochs, if they can be believed.
    pub(super) fn epochs(&mut self) -> Result<Option<Epochs>, LogError> {
        let path = self.dir.join(names::LEADER_EPOCH_CHECKPOINT);
        let said = checkpoint::read(self.files, &path, checkpoint::parse_epochs);
        Ok(match said.map_err(storage("reading", &path))? {
            Content::Whole(epochs) => Some(Epochs::new(epochs)),
            Content::Absent => None,
            Content::Damaged(_) => {
                self.warn("leader-epoch-checkpoint is damaged: it is built anew from the log");
                None
            }
        })
    }
}
