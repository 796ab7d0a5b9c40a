//! Features: what this program supports, and the records that an empty log starts with
//! (`QuorumFeatures`, `BootstrapMetadata`, `ActivationRecordsGenerator`).

use super::super::image::METADATA_VERSION;
use super::super::record::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, Feature, FeatureLevelRecord,
    METADATA_VERSION_LATEST, METADATA_VERSION_MIN, MetadataRecord,
};
use super::{Controller, Decision};
use crate::config::ResourceKind;

/// A feature and the levels of it that are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature's name.
    pub name: &'static str,
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
    /// The level that a new cluster starts with at the newest `metadata.version`.
    pub initial: i16,
}

/// The features of Kafka 4.3 in the order of names. A broker must claim every one that is finalized above 0.
pub const FEATURES: &[FeatureRange] = &[
    FeatureRange { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1, initial: 1 },
    FeatureRange { name: "group.version", min: 0, max: 1, initial: 1 },
    FeatureRange { name: "kraft.version", min: 0, max: 1, initial: 1 },
    FeatureRange {
        name: METADATA_VERSION,
        min: METADATA_VERSION_MIN,
        max: METADATA_VERSION_LATEST,
        initial: METADATA_VERSION_LATEST,
    },
    FeatureRange { name: "share.version", min: 0, max: 1, initial: 1 },
    FeatureRange { name: "streams.version", min: 0, max: 1, initial: 1 },
    FeatureRange { name: "transaction.version", min: 0, max: 2, initial: 2 },
];

/// KIP-966.
pub(super) const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
/// It lives in control records, not in FeatureLevelRecords.
const KRAFT_VERSION: &str = "kraft.version";

/// The features as a registration says them.
pub fn supported_features() -> Vec<Feature> {
    FEATURES.iter().map(|f| Feature { name: f.name.into(), min: f.min, max: f.max }).collect()
}

/// The records of `bootstrap.checkpoint`: `metadata.version` first, then the other features above 0.
pub fn bootstrap_records() -> Vec<MetadataRecord> {
    let mut features: Vec<&FeatureRange> =
        FEATURES.iter().filter(|f| f.name != KRAFT_VERSION && f.initial > 0).collect();
    features.sort_by_key(|f| f.name != METADATA_VERSION);
    let record = |f: &FeatureRange| FeatureLevelRecord { name: f.name.into(), feature_level: f.initial };
    features.into_iter().map(|f| MetadataRecord::FeatureLevel(record(f))).collect()
}

impl Controller {
    /// What a controller writes before anything else: an open transaction is aborted, and a log without
    /// `metadata.version` gets the bootstrap records in a transaction of their own.
    ///
    /// With eligible leader replicas, `min.insync.replicas` must be set for the cluster.
    pub fn activate(&self, bootstrap: &[MetadataRecord], min_insync_replicas: i32) -> Decision<()> {
        let mut records = Vec::new();
        if self.in_transaction() {
            let reason = Some("Controller failover".into());
            records.push(MetadataRecord::AbortTransaction(AbortTransactionRecord { reason }));
        }
        if self.loader.settled().features().metadata_version().is_some() {
            return Decision { records, reply: () };
        }
        let name = Some("Bootstrap records".into());
        records.push(MetadataRecord::BeginTransaction(BeginTransactionRecord { name }));
        records.extend_from_slice(bootstrap);
        let elr = |r: &MetadataRecord| matches!(r, MetadataRecord::FeatureLevel(f) if *f.name == *ELIGIBLE_LEADER_REPLICAS && f.feature_level > 0);
        if bootstrap.iter().any(elr) {
            records.push(MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Broker.code(),
                resource_name: "".into(),
                name: super::configs::MIN_INSYNC_REPLICAS.into(),
                value: Some(min_insync_replicas.to_string().into()),
            }));
        }
        records.push(MetadataRecord::EndTransaction);
        Decision { records, reply: () }
    }

    /// Whether eligible leader replicas are on (KIP-966).
    pub(super) fn elr_enabled(&self) -> bool {
        self.image().features().level(ELIGIBLE_LEADER_REPLICAS) > 0
    }
}
