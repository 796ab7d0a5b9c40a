//! ApiVersions (key 18), versions 0 to 4: KIP-511, KIP-584 (features). A client that asks in a version that we do not
//! know gets the answer of version 0 with an error, and asks again.

use crate::wire::api::ApiKey;
use crate::wire::codec::{DecodeError, encode};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::api_versions_request::ApiVersionsRequest;
use crate::wire::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::cx::{Cx, Outcome, Request};
use super::{ROUTES, find, is_offered, reply};

/// Serves an ApiVersions request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: ApiVersionsRequest<'_> = request.body.decode(version)?;
    let named =
        version < 3 || (is_name(message.client_software_name) && is_name(message.client_software_version));
    if !named {
        let response =
            ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.code(), ..Default::default() };
        return Ok(reply(&response, version));
    }
    let supported = crate::meta::controller::supported_features();
    let features = cx.image.features();
    let on_controller = cx.controller_listener(request.listener).is_some();
    let mut api_keys = Vec::with_capacity(ROUTES.len());
    api_keys.extend(ROUTES.iter().filter(|r| is_offered(r.key, on_controller)).map(|r| ApiVersion {
        api_key: r.key.code(),
        // librdkafka looks for version 0 of Produce to tell whether it may send (KAFKA-18659): it is named and refused, as
        // Kafka does.
        min_version: if r.key == ApiKey::Produce { 0 } else { *r.versions.start() },
        max_version: *r.versions.end(),
    }));
    let response = ApiVersionsResponse {
        api_keys,
        supported_features: supported
            .iter()
            .filter(|f| is_built(&f.name))
            // Before version 4 a client cannot read a range that begins at 0 (KIP-1022).
            .filter(|f| version >= 4 || f.min > 0)
            .map(|f| SupportedFeatureKey { name: &f.name, min_version: f.min, max_version: f.max })
            .collect(),
        finalized_features_epoch: cx.image.offset(),
        finalized_features: features
            .iter()
            .filter(|(name, _)| is_built(name))
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    };
    Ok(reply(&response, version))
}

/// Features whose levels are in the metadata, so that Apache Kafka may take the directory over, while nothing behind them is
/// served: a client that is told of them asks for the new group protocols, or waits for transactions of version 2.
const NOT_BUILT: &[&str] = &["group.version", "share.version", "streams.version", "transaction.version"];

fn is_built(feature: &str) -> bool {
    !NOT_BUILT.contains(&feature)
}

/// The answer to a version that we do not know.
pub fn unsupported() -> Vec<u8> {
    let api_keys = find(ApiKey::ApiVersions)
        .map(|r| ApiVersion {
            api_key: r.key.code(),
            min_version: *r.versions.start(),
            max_version: *r.versions.end(),
        })
        .into_iter()
        .collect();
    let error_code = ErrorCode::UNSUPPORTED_VERSION.code();
    encode(&ApiVersionsResponse { error_code, api_keys, ..Default::default() }, 0).unwrap_or_default()
}

/// What a client may call itself: letters, digits, dots and dashes, not at the ends (`ApiVersionsRequest`).
fn is_name(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut chars = text.chars();
    end(text.chars().next())
        && end(text.chars().last())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients() {
        for good in ["apache-kafka-java", "4.3.1", "x", "a.b-c"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "a/b", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
