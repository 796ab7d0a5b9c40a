//! Brokers and controllers, as Kafka's `ClusterImage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::MetaError;
use super::super::record::{
    BrokerRegistrationChangeRecord, MetadataRecord, RegisterBrokerRecord, RegisterControllerRecord,
};
use super::{DIRECTORY_UNASSIGNED, Delta};
use crate::base::{BrokerId, DirectoryId};

/// A broker's registration: the last record with the later changes in it.
pub type Broker = RegisterBrokerRecord;
/// A controller's registration.
pub type Controller = RegisterControllerRecord;

/// The registered nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Brokers by id.
    pub brokers: BTreeMap<BrokerId, Arc<Broker>>,
    /// Controllers by id.
    pub controllers: BTreeMap<BrokerId, Arc<Controller>>,
}

impl Cluster {
    /// A broker's registration.
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id).map(AsRef::as_ref)
    }

    /// Whether a broker is registered, unfenced and not shutting down: only such a one may lead.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|b| !b.fenced && !b.in_controlled_shutdown)
    }

    /// The brokers that clients are told of: those that are not fenced.
    pub fn alive(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(AsRef::as_ref).filter(|b| !b.fenced)
    }

    /// The directory for a broker's new replica: its only one, or none in particular.
    pub fn default_directory(&self, id: BrokerId) -> DirectoryId {
        match self.broker(id).map(|b| b.log_dirs.as_slice()) {
            Some([only]) => *only,
            Some([]) | None => super::DIRECTORY_MIGRATING,
            Some(_) => DIRECTORY_UNASSIGNED,
        }
    }

    pub(super) fn apply(&mut self, record: &MetadataRecord, delta: &mut Delta) -> Result<(), MetaError> {
        let name = record.name();
        match record {
            MetadataRecord::RegisterBroker(r) => {
                delta.brokers.insert(r.broker_id);
                self.brokers.insert(r.broker_id, Arc::new(r.clone()));
                Ok(())
            }
            MetadataRecord::UnregisterBroker(r) => {
                self.registered(name, r.broker_id, r.broker_epoch)?;
                delta.brokers.insert(r.broker_id);
                self.brokers.remove(&r.broker_id);
                Ok(())
            }
            MetadataRecord::FenceBroker(r) => {
                let broker = self.registered(name, r.id, r.epoch)?;
                broker.fenced = true;
                delta.brokers.insert(r.id);
                Ok(())
            }
            MetadataRecord::UnfenceBroker(r) => {
                let broker = self.registered(name, r.id, r.epoch)?;
                broker.fenced = false;
                delta.brokers.insert(r.id);
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(r) => {
                change(self.registered(name, r.broker_id, r.broker_epoch)?, r)?;
                delta.brokers.insert(r.broker_id);
                Ok(())
            }
            MetadataRecord::RegisterController(r) => {
                delta.controllers.insert(r.controller_id);
                self.controllers.insert(r.controller_id, Arc::new(r.clone()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn registered(
        &mut self,
        record: &'static str,
        id: BrokerId,
        epoch: i64,
    ) -> Result<&mut Broker, MetaError> {
        let unknown = MetaError::UnknownBroker { record, broker_id: id, epoch };
        match self.brokers.get_mut(&id) {
            Some(broker) if broker.broker_epoch == epoch => Ok(Arc::make_mut(broker)),
            _ => Err(unknown),
        }
    }
}

fn change(broker: &mut Broker, r: &BrokerRegistrationChangeRecord) -> Result<(), MetaError> {
    let bad = |field, value: i8| {
        let value = i64::from(value);
        Err(MetaError::BadValue { record: "BrokerRegistrationChangeRecord", field, value })
    };
    let fenced = match r.fenced {
        -1 => false,
        0 => broker.fenced,
        1 => true,
        other => return bad("fenced", other),
    };
    let in_controlled_shutdown = match r.in_controlled_shutdown {
        0 => broker.in_controlled_shutdown,
        1 => true,
        other => return bad("inControlledShutdown", other),
    };
    broker.fenced = fenced;
    broker.in_controlled_shutdown = in_controlled_shutdown;
    if !r.log_dirs.is_empty() {
        broker.log_dirs.clone_from(&r.log_dirs);
    }
    if r.cordoned_log_dirs.is_some() {
        broker.cordoned_log_dirs.clone_from(&r.cordoned_log_dirs);
    }
    Ok(())
}

/// Whether a broker has a log directory that takes new partitions.
pub fn has_usable_directory(broker: &Broker) -> bool {
    match &broker.cordoned_log_dirs {
        Some(cordoned) if !broker.log_dirs.is_empty() => {
            broker.log_dirs.iter().any(|d| !cordoned.contains(d))
        }
        _ => true,
    }
}
