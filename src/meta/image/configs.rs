//! Dynamic configurations, as Kafka's `ConfigurationsImage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::MetaError;
use super::super::record::{ConfigRecord, Text};
use super::Delta;
use super::delta::ConfigResource;
use crate::config::ResourceKind;

/// What a record's configuration belongs to (`ConfigResource.Type`); [`ResourceKind`] is the part of it that has
/// tables of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A broker by id, or all of them by "".
    Broker = 4,
    /// The log levels of a broker; never stored.
    BrokerLogger = 8,
    /// A client metrics subscription (KIP-714).
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [ResourceType; 5] = [
        ResourceType::Topic,
        ResourceType::Broker,
        ResourceType::BrokerLogger,
        ResourceType::ClientMetrics,
        ResourceType::Group,
    ];

    /// The type with Kafka's number.
    pub fn from_id(id: i8) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|t| t.id() == id)
    }

    /// Kafka's number.
    pub fn id(self) -> i8 {
        self as i8
    }
}

impl From<ResourceKind> for ResourceType {
    fn from(kind: ResourceKind) -> ResourceType {
        match kind {
            ResourceKind::Topic => ResourceType::Topic,
            ResourceKind::Broker => ResourceType::Broker,
            ResourceKind::ClientMetrics => ResourceType::ClientMetrics,
            ResourceKind::Group => ResourceType::Group,
        }
    }
}

/// The configuration of one resource: what is set, not what holds.
pub type ConfigMap = BTreeMap<String, String>;

/// The configurations of all resources that have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configs {
    by_type: BTreeMap<ResourceType, BTreeMap<Text, Arc<ConfigMap>>>,
}

impl Configs {
    /// What is set for a resource; `None` if nothing is.
    pub fn get(&self, kind: impl Into<ResourceType>, name: &str) -> Option<&Arc<ConfigMap>> {
        self.by_type.get(&kind.into())?.get(name)
    }

    /// One value that is set for a resource.
    pub fn value(&self, kind: impl Into<ResourceType>, name: &str, key: &str) -> Option<&str> {
        self.get(kind, name)?.get(key).map(String::as_str)
    }

    /// The resources of a type that have something set, in the order of their names.
    pub fn of_type(&self, kind: ResourceType) -> impl Iterator<Item = (&Text, &Arc<ConfigMap>)> {
        self.by_type.get(&kind).into_iter().flatten()
    }

    pub(super) fn apply(&mut self, r: &ConfigRecord, delta: &mut Delta) -> Result<(), MetaError> {
        let Some(kind) = ResourceType::from_id(r.resource_type) else {
            let value = i64::from(r.resource_type);
            return Err(MetaError::BadValue { record: "ConfigRecord", field: "resourceType", value });
        };
        let resources = self.by_type.entry(kind).or_default();
        let map = Arc::make_mut(resources.entry(r.resource_name.clone()).or_default());
        match &r.value {
            Some(value) => map.insert(r.name.to_string(), value.to_string()),
            None => map.remove(r.name.as_ref()),
        };
        if map.is_empty() {
            resources.remove(&r.resource_name);
        }
        if resources.is_empty() {
            self.by_type.remove(&kind);
        }
        delta.configs.insert(ConfigResource { kind, name: r.resource_name.clone() });
        Ok(())
    }

    pub(super) fn remove(&mut self, kind: ResourceType, name: &Text, delta: &mut Delta) {
        let Some(resources) = self.by_type.get_mut(&kind) else { return };
        if resources.remove(name).is_some() {
            delta.configs.insert(ConfigResource { kind, name: name.clone() });
        }
        if resources.is_empty() {
            self.by_type.remove(&kind);
        }
    }
}
