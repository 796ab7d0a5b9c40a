//! AllocateProducerIds (API 67), as Kafka's `ProducerIdControlManager`.

use super::super::record::{MetadataRecord, ProducerIdsRecord};
use super::{ApiError, Controller, Decision, codes};
use crate::base::{BrokerId, ProducerId};

/// How many ids a broker gets at once.
pub const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

/// Producer ids that no one else gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: ProducerId,
    /// How many there are.
    pub len: i32,
}

impl Controller {
    /// Hands the next block to a broker that is registered with that epoch. Usable once the record is committed.
    pub fn allocate_producer_ids(
        &self,
        broker_id: BrokerId,
        broker_epoch: i64,
    ) -> Result<Decision<ProducerIdBlock>, ApiError> {
        self.check_broker_epoch(broker_id, broker_epoch)?;
        let first = self.image().next_producer_id().unwrap_or(0);
        let Some(next_producer_id) = first.checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
            return Err(ApiError::new(codes::UNKNOWN_SERVER_ERROR, "All producer ids are used up."));
        };
        let record = ProducerIdsRecord { broker_id, broker_epoch, next_producer_id };
        let reply = ProducerIdBlock { first, len: PRODUCER_ID_BLOCK_SIZE };
        Ok(Decision { records: vec![MetadataRecord::ProducerIds(record)], reply })
    }
}
