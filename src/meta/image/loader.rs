//! From committed records to published images.

use std::sync::Arc;

use super::super::MetaError;
use super::super::record::MetadataRecord;
use super::{Delta, Image};
use crate::base::{LeaderEpoch, Offset};

/// Applies committed records in order and hands out an image when asked, never one from inside of a metadata
/// transaction (KIP-868): its records show together or not at all.
#[derive(Clone, Debug)]
pub struct Loader {
    image: Image,
    delta: Delta,
    /// What held before the transaction that is open.
    before: Option<Box<(Image, Delta)>>,
    published: Offset,
}

impl Loader {
    /// Goes on from an image, which counts as published.
    pub fn new(image: Image) -> Loader {
        let published = image.offset();
        Loader { image, delta: Delta::default(), before: None, published }
    }

    /// The image with everything that was replayed, an open transaction's records included. It is the controller's
    /// view; brokers get [`Loader::publish`].
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image without the records of an open transaction: what would hold if it were aborted.
    pub fn settled(&self) -> &Image {
        self.before.as_ref().map_or(&self.image, |before| &before.0)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// Applies the record at `offset`.
    pub fn replay(
        &mut self,
        offset: Offset,
        epoch: LeaderEpoch,
        record: &MetadataRecord,
    ) -> Result<(), MetaError> {
        match record {
            MetadataRecord::BeginTransaction(_) if self.before.is_some() => {
                return Err(MetaError::Transaction("BeginTransactionRecord"));
            }
            MetadataRecord::BeginTransaction(_) => {
                self.before = Some(Box::new((self.image.clone(), self.delta.clone())));
            }
            MetadataRecord::EndTransaction => {
                self.before.take().ok_or(MetaError::Transaction("EndTransactionRecord"))?;
            }
            MetadataRecord::AbortTransaction(_) => {
                let before = self.before.take().ok_or(MetaError::Transaction("AbortTransactionRecord"))?;
                (self.image, self.delta) = *before;
            }
            record => self.image.apply(record, &mut self.delta)?,
        }
        self.image.advance(offset, epoch);
        Ok(())
    }

    /// Passes a control batch, which holds no metadata.
    pub fn advance(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.image.advance(offset, epoch);
    }

    /// For who only wants the image: what has changed so far is in no delta.
    pub fn forget_changes(&mut self) {
        self.delta = Delta::default();
    }

    /// The image, and what changed since the last one that was published. `None` inside of a transaction, and if no
    /// record came since.
    pub fn publish(&mut self) -> Option<(Arc<Image>, Delta)> {
        if self.before.is_some() || self.image.offset() == self.published {
            return None;
        }
        self.published = self.image.offset();
        Some((Arc::new(self.image.clone()), std::mem::take(&mut self.delta)))
    }
}
