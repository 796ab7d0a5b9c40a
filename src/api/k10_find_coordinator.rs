//! FindCoordinator (key 10), versions 0 to 6: KIP-699 (several keys from 4). Group coordinators only: what a client
//! would do with another kind is not built.

use crate::base::ShardId;
use crate::base::limits::REQUEST_TIMEOUT_MS;
use crate::shard::{ControlJob, Done, Job, OFFSETS_TOPIC, PartitionKey};
use crate::wire::api::ApiKey;
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::groups::offsets_partition;
use super::k03_metadata::create_request;
use super::{deadline, reply, topics};
const GROUP: i8 = 0;
/// From this version a request may name several keys.
const KEYS_FROM: i16 = 4;

struct Find {
    version: i16,
    listener: u32,
    key_type: i8,
    keys: Vec<String>,
}

/// Serves a FindCoordinator request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: FindCoordinatorRequest<'_> = decode_request(&request.body, version)?;
    let keys = if version >= KEYS_FROM { message.coordinator_keys } else { vec![message.key] };
    let find = Find {
        version,
        listener: request.listener,
        key_type: message.key_type,
        keys: keys.into_iter().map(str::to_owned).collect(),
    };
    if find.key_type != GROUP || cx.image.topics().get(OFFSETS_TOPIC).is_some() {
        return Ok(find.answer(cx));
    }
    // The first group: the topic that groups live in is made now.
    let Some(body) = create_request(cx, &[OFFSETS_TOPIC.to_owned()]) else { return Ok(find.answer(cx)) };
    let id = cx.open();
    let job = ControlJob { api_key: ApiKey::CreateTopics, api_version: 7, body: body.into() };
    cx.send(ShardId(0), id, 0, Job::Control(job));
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting: Box::new(find) }))
}

impl Find {
    fn answer(&self, cx: &Cx<'_>) -> Outcome {
        let mut coordinators: Vec<Coordinator<'_>> = self.keys.iter().map(|k| self.find(cx, k)).collect();
        let response = match coordinators.pop() {
            Some(only) if self.version < KEYS_FROM => FindCoordinatorResponse {
                error_code: only.error_code,
                error_message: only.error_message,
                node_id: only.node_id,
                host: only.host,
                port: only.port,
                ..Default::default()
            },
            last => {
                coordinators.extend(last);
                FindCoordinatorResponse { coordinators, ..Default::default() }
            }
        };
        reply(&response, self.version)
    }

    fn find<'a>(&'a self, cx: &Cx<'a>, key: &'a str) -> Coordinator<'a> {
        let failed = |code: ErrorCode, message: &'a str| Coordinator {
            key,
            node_id: -1,
            host: "",
            port: -1,
            error_code: code.code(),
            error_message: Some(message),
        };
        if self.key_type != GROUP {
            return failed(ErrorCode::INVALID_REQUEST, "this broker has group coordinators only");
        }
        let unavailable =
            failed(ErrorCode::COORDINATOR_NOT_AVAILABLE, "__consumer_offsets has no leader yet; try again");
        let Some(PartitionKey { partition, .. }) = offsets_partition(cx.image, key) else {
            return unavailable;
        };
        let leader = cx.image.topics().partition(OFFSETS_TOPIC, partition).map_or(-1, |p| p.leader);
        let listener = cx.listener_name(self.listener);
        let node = cx.image.cluster().broker(leader).and_then(|b| topics::endpoint(b, listener));
        match node {
            Some((node_id, host, port, _)) => Coordinator {
                key,
                node_id,
                host,
                port: port.into(),
                error_code: 0,
                error_message: if self.version >= KEYS_FROM { Some("") } else { Some("NONE") },
            },
            None => unavailable,
        }
    }
}

impl Waiting for Find {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, _done: Done) -> Step {
        Step::Finish(self.answer(cx))
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(self.answer(cx))
    }
}
