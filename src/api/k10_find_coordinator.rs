//! FindCoordinator (key 10), versions 0 to 6: KIP-699 (several keys from 4). Group coordinators only: what a client
//! would do with another kind is not built.

use crate::base::ShardId;
use crate::base::limits::{COORDINATORS_SMALL_MAX, REQUEST_TIMEOUT_MS};
use crate::shard::{ControlJob, Done, Job, OFFSETS_TOPIC, PartitionKey};
use crate::wire::api::ApiKey;
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::apart::{View, apart};
use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting, Written};
use super::groups::offsets_partition;
use super::k03_metadata::create_request;
use super::{deadline, topics, write};
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
    let (body, version, listener) = (request.body.clone(), request.api_version, request.listener);
    apart(cx, request.is_large(), move || Find::read(&body, version, listener), |cx, find| find.begin(cx))
}

impl Find {
    fn read(body: &Body, version: i16, listener: u32) -> Result<Find, DecodeError> {
        let message: FindCoordinatorRequest<'_> = body.decode(version)?;
        let keys = if version >= KEYS_FROM { message.coordinator_keys } else { vec![message.key] };
        let keys = keys.into_iter().map(str::to_owned).collect();
        Ok(Find { version, listener, key_type: message.key_type, keys })
    }

    fn begin(self, cx: &mut Cx<'_>) -> Outcome {
        if self.key_type != GROUP || cx.image.topics().get(OFFSETS_TOPIC).is_some() {
            return self.answer(cx);
        }
        // The first group: the topic that groups live in is made now.
        let Some(body) = create_request(cx, &[OFFSETS_TOPIC.to_owned()]) else { return self.answer(cx) };
        let id = cx.open();
        let job = ControlJob { api_key: ApiKey::CreateTopics, api_version: 7, body: body.into() };
        cx.send(ShardId(0), id, 0, Job::Control(job));
        let waiting = Box::new(Creating { find: Some(self) });
        Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting })
    }

    /// Answers: here if few keys are looked for, otherwise on a helper thread.
    fn answer(self, cx: &mut Cx<'_>) -> Outcome {
        let heavy = self.keys.len() > COORDINATORS_SMALL_MAX;
        let view = View::of(cx, self.listener);
        let answered = apart(cx, heavy, move || Ok(self.write(&view)), |_, written: Written| written.into());
        answered.unwrap_or(Outcome::Close("a malformed request"))
    }
}

impl Find {
    fn write(&self, view: &View) -> Written {
        let mut coordinators: Vec<Coordinator<'_>> = self.keys.iter().map(|k| self.find(view, k)).collect();
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
        write(&response, self.version)
    }

    fn find<'a>(&'a self, view: &'a View, key: &'a str) -> Coordinator<'a> {
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
        let Some(PartitionKey { partition, .. }) = offsets_partition(&view.image, key) else {
            return unavailable;
        };
        let leader = view.image.topics().partition(OFFSETS_TOPIC, partition).map_or(-1, |p| p.leader);
        let listener = view.listener_name();
        let node = view.image.cluster().broker(leader).and_then(|b| topics::endpoint(b, listener));
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

/// The topic of groups is being created for a request.
struct Creating {
    find: Option<Find>,
}

impl Creating {
    fn answer(&mut self, cx: &mut Cx<'_>) -> Step {
        let answered = self.find.take().map(|find| find.answer(cx));
        Step::Finish(answered.unwrap_or(Outcome::Close("answered twice")))
    }
}

impl Waiting for Creating {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, _done: Done) -> Step {
        self.answer(cx)
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        self.answer(cx)
    }
}
