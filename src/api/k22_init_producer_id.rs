//! InitProducerId (key 22), versions 0 to 5, for idempotent producers (KIP-98). Transactional ids are refused:
//! transactions are not built.

use crate::base::ShardId;
use crate::base::limits::REQUEST_TIMEOUT_MS;
use crate::shard::{ControlJob, Done, Job};
use crate::wire::api::ApiKey;
use crate::wire::codec::{DecodeError, decode, encode};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use crate::wire::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use crate::wire::messages::init_producer_id_request::InitProducerIdRequest;
use crate::wire::messages::init_producer_id_response::InitProducerIdResponse;

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::producer_ids::ProducerIdBlock;
use super::{deadline, reply};

struct InitProducerId {
    version: i16,
}

/// Serves an InitProducerId request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: InitProducerIdRequest<'_> = request.body.decode(version)?;
    let init = InitProducerId { version };
    if message.transactional_id == Some("") {
        return Ok(init.refused(ErrorCode::INVALID_REQUEST));
    }
    if message.transactional_id.is_some() {
        return Ok(init.refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    }
    if (message.producer_id == -1) != (message.producer_epoch == -1) {
        return Ok(init.refused(ErrorCode::INVALID_REQUEST));
    }
    if let Some(producer_id) = cx.producer_ids.take() {
        return Ok(init.given(producer_id));
    }
    let broker_epoch = cx.image.cluster().broker(cx.config().node_id).map_or(-1, |b| b.broker_epoch);
    let allocate = AllocateProducerIdsRequest { broker_id: cx.config().node_id, broker_epoch };
    let Ok(body) = encode(&allocate, 0) else { return Ok(init.refused(ErrorCode::UNKNOWN_SERVER_ERROR)) };
    let id = cx.open();
    let job = ControlJob { api_key: ApiKey::AllocateProducerIds, api_version: 0, body: body.into() };
    cx.send(ShardId(0), id, 0, Job::Control(job));
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting: Box::new(init) }))
}

impl InitProducerId {
    fn given(&self, producer_id: i64) -> Outcome {
        reply(&InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }, self.version)
    }

    fn refused(&self, code: ErrorCode) -> Outcome {
        let error_code = code.code();
        let response =
            InitProducerIdResponse { error_code, producer_id: -1, producer_epoch: -1, ..Default::default() };
        reply(&response, self.version)
    }
}

impl Waiting for InitProducerId {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        let block = match &done {
            Done::Body(Ok(body)) => decode::<AllocateProducerIdsResponse>(body, 0).ok(),
            _ => None,
        };
        let outcome = match block {
            Some(block) if block.error_code == 0 => {
                // Several requests may have asked: a block that comes while another is in use is left unused.
                let mut fresh = ProducerIdBlock::new(block.producer_id_start, block.producer_id_len);
                let given = cx.producer_ids.take().or_else(|| {
                    let given = fresh.take();
                    *cx.producer_ids = fresh;
                    given
                });
                given.map(|id| self.given(id))
            }
            _ => None,
        };
        Step::Finish(outcome.unwrap_or_else(|| self.refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)))
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(self.refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS))
    }
}
