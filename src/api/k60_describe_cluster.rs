//! DescribeCluster (key 60), versions 0 to 2: KIP-700, KIP-919 (endpoint type), KIP-1073 (fenced brokers).

use crate::wire::codec::DecodeError;
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_cluster_request::DescribeClusterRequest;
use crate::wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use super::cx::{Cx, Outcome, Request};
use super::k03_metadata::CLUSTER_OPERATIONS;
use super::{reply, topics};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Serves a DescribeCluster request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: DescribeClusterRequest = request.body.decode(version)?;
    let listener = cx.listener_name(request.listener);
    let controller = cx.controller_listener(request.listener);
    if let (CONTROLLERS, Some(index)) = (message.endpoint_type, controller) {
        return Ok(reply(&controllers(cx, index), version));
    }
    if message.endpoint_type != BROKERS || controller.is_some() {
        let (code, text) = match message.endpoint_type {
            CONTROLLERS => (ErrorCode::MISMATCHED_ENDPOINT_TYPE, "this is a listener of a broker"),
            BROKERS => (ErrorCode::MISMATCHED_ENDPOINT_TYPE, "this is a listener of a controller"),
            _ => (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "the endpoint type is not known"),
        };
        let response = DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(text),
            ..Default::default()
        };
        return Ok(reply(&response, version));
    }
    let brokers = cx.image.cluster().brokers.values().filter(|b| !b.fenced || message.include_fenced_brokers);
    let response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: cx.image.cluster_id(),
        controller_id: topics::controller_id(cx.image),
        brokers: brokers
            .filter_map(|b| {
                let (broker_id, host, port, rack) = topics::endpoint(b, listener)?;
                Some(DescribeClusterBroker { broker_id, host, port: port.into(), rack, is_fenced: b.fenced })
            })
            .collect(),
        cluster_authorized_operations: if message.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..Default::default()
    };
    Ok(reply(&response, version))
}

/// The only controller, as it is reached by this listener.
fn controllers<'a>(cx: &'a Cx<'_>, index: usize) -> DescribeClusterResponse<'a> {
    let me = cx.effective.statics().node_id;
    let endpoint = cx.node.controller_listeners.get(index);
    let node = |(_, host, port): &'a (String, String, u16)| DescribeClusterBroker {
        broker_id: me,
        host,
        port: i32::from(*port),
        rack: None,
        is_fenced: false,
    };
    DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: cx.image.cluster_id(),
        controller_id: me,
        brokers: endpoint.map(node).into_iter().collect(),
        cluster_authorized_operations: i32::MIN,
        ..Default::default()
    }
}
