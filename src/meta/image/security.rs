//! Client quotas, ACLs, SCRAM credentials and delegation tokens, kept as data.

use std::collections::BTreeMap;

use super::super::record::{
    AccessControlEntryRecord, DelegationTokenRecord, MetadataRecord, QuotaEntity, Text,
    UserScramCredentialRecord,
};
use super::Delta;
use crate::base::Uuid;

/// What the records say about who may do what, and how fast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// Quota values by entity (its parts in order) and key.
    pub client_quotas: BTreeMap<Vec<QuotaEntity>, BTreeMap<Text, f64>>,
    /// ACLs by id.
    pub acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// SCRAM credentials by mechanism and user.
    pub scram: BTreeMap<(i8, Text), UserScramCredentialRecord>,
    /// Delegation tokens by id.
    pub tokens: BTreeMap<Text, DelegationTokenRecord>,
}

impl Security {
    pub(super) fn apply(&mut self, record: &MetadataRecord, delta: &mut Delta) {
        match record {
            MetadataRecord::ClientQuota(r) => {
                let mut entity = r.entity.clone();
                entity.sort();
                let values = self.client_quotas.entry(entity.clone()).or_default();
                if r.remove {
                    values.remove(&r.key);
                } else {
                    values.insert(r.key.clone(), r.value);
                }
                if values.is_empty() {
                    self.client_quotas.remove(&entity);
                }
                delta.client_quotas = true;
            }
            MetadataRecord::AccessControlEntry(r) => {
                self.acls.insert(r.id, r.clone());
                delta.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(r) => {
                self.acls.remove(&r.id);
                delta.acls = true;
            }
            MetadataRecord::UserScramCredential(r) => {
                self.scram.insert((r.mechanism, r.name.clone()), r.clone());
                delta.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(r) => {
                self.scram.remove(&(r.mechanism, r.name.clone()));
                delta.scram = true;
            }
            MetadataRecord::DelegationToken(r) => {
                self.tokens.insert(r.token_id.clone(), r.clone());
                delta.tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(r) => {
                self.tokens.remove(&r.token_id);
                delta.tokens = true;
            }
            _ => {}
        }
    }
}
