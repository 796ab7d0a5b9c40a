//! ListConfigResources (key 74), versions 0 and 1 (KIP-1142; version 0 lists client metrics subscriptions, KIP-714).

use std::collections::BTreeSet;

use crate::meta::image::ResourceType;
use crate::wire::codec::DecodeError;
use crate::wire::errors::ErrorCode;
use crate::wire::messages::list_config_resources_request::ListConfigResourcesRequest;
use crate::wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use super::cx::{Cx, Outcome, Request};
use super::reply;

/// Serves a ListConfigResources request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: ListConfigResourcesRequest = request.body.decode(version)?;
    let kinds = match (version, message.resource_types.is_empty()) {
        (0, _) => Some(BTreeSet::from([ResourceType::ClientMetrics])),
        (_, true) => Some(BTreeSet::from(ResourceType::ALL)),
        (_, false) => message.resource_types.iter().map(|t| ResourceType::from_id(*t)).collect(),
    };
    let Some(kinds) = kinds else {
        let error_code = ErrorCode::UNSUPPORTED_VERSION.code();
        return Ok(reply(&ListConfigResourcesResponse { error_code, ..Default::default() }, version));
    };
    let mut names: Vec<(String, i8)> = Vec::new();
    for kind in kinds {
        match kind {
            ResourceType::Topic => {
                names.extend(cx.image.topics().iter().map(|t| (t.name.to_string(), kind.id())));
            }
            ResourceType::Broker | ResourceType::BrokerLogger => {
                names.extend(cx.image.cluster().alive().map(|b| (b.broker_id.to_string(), kind.id())));
            }
            ResourceType::ClientMetrics | ResourceType::Group => {
                names.extend(cx.image.configs().of_type(kind).map(|(name, _)| (name.to_string(), kind.id())));
            }
        }
    }
    let config_resources =
        names.iter().map(|(resource_name, t)| ConfigResource { resource_name, resource_type: *t }).collect();
    Ok(reply(&ListConfigResourcesResponse { config_resources, ..Default::default() }, version))
}
