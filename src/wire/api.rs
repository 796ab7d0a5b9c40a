//! The APIs: which versions there are and which headers they have.

use std::ops::RangeInclusive;

pub use super::messages::api_key::{APIS, ApiKey};

/// An API of brokers or controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// Kafka's name, as `Fetch`.
    pub name: &'static str,
    /// The first version.
    pub version_min: i16,
    /// The last version.
    pub version_max: i16,
    /// Whether the last version is not yet to be offered to clients.
    pub latest_version_unstable: bool,
    /// The first version with compact lengths and tagged fields; behind the last if there is none.
    pub flexible_from: i16,
    /// Whether brokers answer it.
    pub broker: bool,
    /// Whether controllers answer it.
    pub controller: bool,
}

impl ApiKey {
    /// The key's number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// What is known of the API.
    pub fn api(self) -> &'static Api {
        match APIS.binary_search_by_key(&self, |api| api.key) {
            Ok(i) => &APIS[i],
            Err(_) => unreachable!("the table has every key"),
        }
    }
}

impl Api {
    /// All versions.
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.version_min..=self.version_max
    }

    /// The versions that a release offers to its clients.
    pub fn stable_versions(&self) -> RangeInclusive<i16> {
        self.version_min..=self.version_max - i16::from(self.latest_version_unstable)
    }

    /// The version of the request's header (`ApiMessageType.requestHeaderVersion`).
    pub fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.flexible_from { 2 } else { 1 }
    }

    /// The version of the response's header. ApiVersions keeps the oldest: its reader does not know yet what the
    /// broker speaks (KIP-511).
    pub fn response_header_version(&self, version: i16) -> i16 {
        i16::from(version >= self.flexible_from && self.key != ApiKey::ApiVersions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_complete() {
        assert!(APIS.is_sorted_by_key(|api| api.key));
        for code in -1..200 {
            let key = ApiKey::from_code(code);
            assert_eq!(key.is_some(), APIS.iter().any(|api| api.key.code() == code));
            assert!(key.is_none_or(|key| key.code() == code && key.api().key == key));
        }
    }

    #[test]
    fn header_versions() {
        let headers = |key: ApiKey, version| {
            (key.api().request_header_version(version), key.api().response_header_version(version))
        };
        assert_eq!(headers(ApiKey::Fetch, 11), (1, 0));
        assert_eq!(headers(ApiKey::Fetch, 12), (2, 1));
        assert_eq!(headers(ApiKey::ApiVersions, 4), (2, 0));
        assert_eq!(headers(ApiKey::SaslHandshake, 1), (1, 0));
        assert_eq!(ApiKey::InitProducerId.api().stable_versions(), 0..=5);
        assert_eq!(ApiKey::Produce.api().stable_versions(), 3..=13);
    }
}
