//! The headers of requests and responses, and whole frames.
//!
//! A frame on a connection is an int32 length, the header, and the message. What is called a frame here is without
//! the length, as connections hand it on.

use std::borrow::Cow;

use thiserror::Error;

use super::api::{Api, ApiKey};
use super::codec::{DecodeError, EncodeError, Message, Reader, Writer};
use super::messages::{self, ResponseHeader};

/// The header of a request whose API is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API.
    pub api_key: ApiKey,
    /// The version as the client gave it: one of the API's, or any above zero if the API is ApiVersions.
    pub api_version: i16,
    /// The number that the response repeats.
    pub correlation_id: i32,
    /// The client's name for itself. It may be any bytes: what is not UTF-8 is replaced, as in Kafka.
    pub client_id: Option<Cow<'a, str>>,
}

/// Why a request cannot be told; Kafka closes the connection on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame ends within its header, or the header is not a header.
    #[error("the request's header is malformed: {0}")]
    Header(#[from] DecodeError),
    /// No API has this key.
    #[error(
        "no API has the key {api_key} (version {api_version}): the client speaks a newer or another protocol"
    )]
    UnknownApi {
        /// The key.
        api_key: i16,
        /// The version.
        api_version: i16,
    },
    /// The API has no such version.
    #[error("{} has versions {} to {}, but not {api_version}: the client did not ask by ApiVersions",
        api.name, api.version_min, api.version_max)]
    UnsupportedVersion {
        /// The API.
        api: &'static Api,
        /// The version.
        api_version: i16,
    },
    /// A response answers another request than the first that waits.
    #[error("the response has correlation id {found}, but {expected} is waited for")]
    CorrelationId {
        /// The id in the response.
        found: i32,
        /// The id of the request.
        expected: i32,
    },
}

impl RequestHeader<'_> {
    /// Whether the version exists. It always does but for ApiVersions, whose body must not be read then: the answer
    /// is UNSUPPORTED_VERSION with the versions there are (KIP-511).
    pub fn version_exists(&self) -> bool {
        self.api_key.api().versions().contains(&self.api_version)
    }

    /// The version of the response: the request's, or zero for an ApiVersions whose version does not exist.
    pub fn response_version(&self) -> i16 {
        if self.version_exists() { self.api_version } else { 0 }
    }
}

/// The header of a request's frame, and the reader behind it, at the message.
pub fn read_request(frame: &[u8]) -> Result<(RequestHeader<'_>, Reader<'_>), FrameError> {
    let mut peek = Reader::new(frame);
    let named = |e: DecodeError| e.of("RequestHeader", 0);
    let key = peek.i16().map_err(named)?;
    let api_version = peek.i16().map_err(named)?;
    let Some(api_key) = ApiKey::from_code(key) else {
        return Err(FrameError::UnknownApi { api_key: key, api_version });
    };
    let api = api_key.api();
    if !api.versions().contains(&api_version) && (api_key != ApiKey::ApiVersions || api_version < 0) {
        return Err(FrameError::UnsupportedVersion { api, api_version });
    }
    let mut r = peek;
    let correlation_id = r.i32().map_err(named)?;
    let client_id = r.lossy_string().map_err(named)?;
    if api.request_header_version(api_version) >= 2 {
        r.skip_tags().map_err(named)?;
    }
    Ok((RequestHeader { api_key, api_version, correlation_id, client_id }, r))
}

/// Writes the header of a response; the message in [`RequestHeader::response_version`] goes behind it.
pub fn write_response_header(
    w: &mut Writer,
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), EncodeError> {
    ResponseHeader { correlation_id }.write(w, api_key.api().response_header_version(version))
}

/// The header of a response: its bytes, and how many of them there are.
pub fn response_header(api_key: ApiKey, version: i16, correlation_id: i32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5]; // without tagged fields
    bytes[..4].copy_from_slice(&correlation_id.to_be_bytes());
    let flexible = api_key.api().response_header_version(version) > 0;
    (bytes, 4 + usize::from(flexible))
}

/// A response with its length in front, as it goes out.
pub fn response<'a, M: Message<'a>>(
    message: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    w.i32(0);
    write_response_header(&mut w, key_of::<M>(), version, correlation_id)?;
    message.write(&mut w, version)?;
    w.patch_length(0);
    w.finish()
}

/// A request with its length in front, as it goes out.
pub fn request<'a, M: Message<'a>>(
    message: &M,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<u8>, EncodeError> {
    let api = key_of::<M>().api();
    let header = messages::RequestHeader {
        request_api_key: M::KEY,
        request_api_version: version,
        correlation_id,
        client_id,
    };
    let mut w = Writer::new();
    w.i32(0);
    header.write(&mut w, api.request_header_version(version))?;
    message.write(&mut w, version)?;
    w.patch_length(0);
    w.finish()
}

/// The reader of a response's frame behind its header, at the message. `correlation_id` is the request's.
pub fn read_response(
    frame: &[u8],
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Reader<'_>, FrameError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::read(&mut r, api_key.api().response_header_version(version))?;
    if header.correlation_id != correlation_id {
        return Err(FrameError::CorrelationId { found: header.correlation_id, expected: correlation_id });
    }
    Ok(r)
}

fn key_of<'a, M: Message<'a>>() -> ApiKey {
    ApiKey::from_code(M::KEY).unwrap_or_else(|| panic!("{} is not a request or response", M::NAME))
}

#[cfg(test)]
mod tests {
    use super::super::messages::{ApiVersionsRequest, ApiVersionsResponse, FetchRequest, HeartbeatResponse};
    use super::*;

    #[test]
    fn requests() {
        let fetch = FetchRequest { max_wait_ms: 5, ..FetchRequest::default() };
        for version in [4, 11, 12, 18] {
            let bytes = request(&fetch, version, 9, Some("me")).unwrap();
            assert_eq!(bytes[..4], (bytes.len() as i32 - 4).to_be_bytes());
            let (header, mut r) = read_request(&bytes[4..]).unwrap();
            let expected = RequestHeader {
                api_key: ApiKey::Fetch,
                api_version: version,
                correlation_id: 9,
                client_id: Some("me".into()),
            };
            assert_eq!(header, expected);
            assert_eq!(FetchRequest::read(&mut r, version), Ok(fetch.clone()));
            assert_eq!(r.remaining(), 0);
        }
    }

    #[test]
    fn api_versions_of_the_future_can_be_answered() {
        // Key 18, version 100, correlation id 7, client id "c", no tags; then what only that version knows.
        let frame = b"\0\x12\0\x64\0\0\0\x07\0\x01c\0what only that version knows";
        let (header, _) = read_request(frame).unwrap();
        assert_eq!(
            (header.api_version, header.correlation_id, header.client_id.as_deref()),
            (100, 7, Some("c"))
        );
        assert!(!header.version_exists());
        assert_eq!(header.response_version(), 0);
        let answer = ApiVersionsResponse { error_code: 35, ..ApiVersionsResponse::default() };
        let bytes = response(&answer, header.response_version(), 7).unwrap();
        assert_eq!(bytes, [0, 0, 0, 10, 0, 0, 0, 7, 0, 35, 0, 0, 0, 0]);
        let bytes = request(&ApiVersionsRequest::default(), 0, 1, None).unwrap();
        assert_eq!(read_request(&bytes[4..]).unwrap().0.response_version(), 0);
    }

    #[test]
    fn requests_that_are_none() {
        let error = |frame: &[u8]| read_request(frame).unwrap_err();
        assert_eq!(error(b"\x03\xe7\0\x01rest"), FrameError::UnknownApi { api_key: 999, api_version: 1 });
        let api = ApiKey::Fetch.api();
        assert_eq!(error(b"\0\x01\0\x13rest"), FrameError::UnsupportedVersion { api, api_version: 19 });
        assert_eq!(
            error(b"\0\x01\0\x03rest").to_string(),
            "Fetch has versions 4 to 18, but not 3: the client did not ask by ApiVersions"
        );
        assert!(matches!(error(b"\0\x12\xff\xff\0\0\0\x07\0\0"), FrameError::UnsupportedVersion { .. }));
        assert!(matches!(error(b"\0\x01\0"), FrameError::Header(_)));
        assert!(matches!(error(b"\0\x01\0\x04\0\0\0\x01\0\x05x"), FrameError::Header(_)));
    }

    #[test]
    fn responses() {
        for (version, header) in [(3, 0), (4, 1)] {
            let bytes = response(&HeartbeatResponse::default(), version, 3).unwrap();
            assert_eq!(ApiKey::Heartbeat.api().response_header_version(version), header);
            let mut w = Writer::new();
            write_response_header(&mut w, ApiKey::Heartbeat, version, 3).unwrap();
            let (head, head_len) = response_header(ApiKey::Heartbeat, version, 3);
            assert_eq!(w.written(), &head[..head_len]);
            let mut r = read_response(&bytes[4..], ApiKey::Heartbeat, version, 3).unwrap();
            assert_eq!(HeartbeatResponse::read(&mut r, version), Ok(HeartbeatResponse::default()));
            assert_eq!(r.remaining(), 0);
            let wrong = read_response(&bytes[4..], ApiKey::Heartbeat, version, 4).unwrap_err();
            assert_eq!(wrong, FrameError::CorrelationId { found: 3, expected: 4 });
        }
    }
}
