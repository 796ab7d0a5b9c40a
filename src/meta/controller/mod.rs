//! The controller: requests become records, records become state.
//!
//! As a machine of the house: a decision reads the state and changes nothing, [`Controller::replay`] changes it and
//! decides nothing. The state is an image that is ahead of the published one by what is not committed yet. A reply may
//! leave when its records are committed; if they cannot be appended, the controller is dropped and built anew from
//! the log.

mod auto_create;
mod cluster;
mod configs;
mod create_topics;
mod delete_topics;
mod features;
mod partition_change;
mod partitions;
mod placement;
mod producer_ids;
mod reply;

#[cfg(test)]
mod tests;

pub use auto_create::{CreatableTopic, InternalTopic, creatable_topic};
pub use cluster::{BrokerRegistration, ControllerRegistration};
pub use configs::{AlterConfigsReply, AlteredResource};
pub use create_topics::{ConfigEcho, CreateTopicsReply, CreatedTopic};
pub use delete_topics::{DeleteTopicsReply, DeletedTopic};
pub use features::{FEATURES, FeatureRange, bootstrap_records, supported_features};
pub use partitions::{CreatePartitionsReply, GrownTopic};
pub use producer_ids::{PRODUCER_ID_BLOCK_SIZE, ProducerIdBlock};
pub use reply::ApiError;

use reply::codes;

use super::MetaError;
use super::image::{Image, Loader};
use super::record::MetadataRecord;
use crate::base::prng::Prng;
use crate::base::{LeaderEpoch, Offset, TopicId};
use crate::config::BrokerConfig;

/// What a decision may need beside the state and the request.
pub struct Context<'a> {
    /// The configuration of this node, dynamic changes included.
    pub config: &'a BrokerConfig,
    /// Chance, for placement.
    pub random: &'a mut Prng,
    /// Gives a topic id that was never used (not zero, not [`crate::base::Uuid::ONE`]).
    pub new_topic_id: &'a mut dyn FnMut() -> TopicId,
}

/// What a request leads to: records to append together, and the reply for when they are committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// The records; they take effect together.
    pub records: Vec<MetadataRecord>,
    /// The reply.
    pub reply: R,
}

impl<R> Decision<R> {
    /// A decision that changes nothing.
    pub fn reply(reply: R) -> Decision<R> {
        Decision { records: Vec::new(), reply }
    }
}

/// The controller's state.
#[derive(Clone, Debug)]
pub struct Controller {
    loader: Loader,
}

impl Controller {
    /// A controller that goes on from an image.
    pub fn new(image: Image) -> Controller {
        Controller { loader: Loader::new(image) }
    }

    /// The state: everything replayed so far, committed or not.
    pub fn image(&self) -> &Image {
        self.loader.image()
    }

    /// Takes in the record at `offset`. An error means that the log is not one a controller wrote.
    pub fn replay(
        &mut self,
        offset: Offset,
        epoch: LeaderEpoch,
        record: &MetadataRecord,
    ) -> Result<(), MetaError> {
        self.loader.replay(offset, epoch, record)?;
        // Nobody asks a controller what has changed: it would remember every topic that there ever was.
        self.loader.forget_changes();
        Ok(())
    }

    /// Takes note of a control batch that ends at `offset`.
    pub fn advance(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.loader.advance(offset, epoch);
    }

    /// Whether the log ends inside of a metadata transaction, which must be aborted before anything else.
    pub fn in_transaction(&self) -> bool {
        self.loader.in_transaction()
    }

    /// The finalized `metadata.version`, or the one that bootstrap will write.
    pub fn metadata_version(&self) -> i16 {
        self.image().features().metadata_version().unwrap_or(super::record::METADATA_VERSION_LATEST)
    }
}
