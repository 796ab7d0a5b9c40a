//! What AlterConfigs and IncrementalAlterConfigs make of a resource's overrides
//! (`ConfigurationControlManager`, `ConfigAdminManager`).

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::key::{DefaultValue, Kind};
use super::resource::{ResourceKind, check_overrides};
use crate::base::limits::CONFIG_VALUE_UNITS_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// One operation of IncrementalAlterConfigs (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// Set the value.
    Set,
    /// Go back to the default.
    Delete,
    /// Add entries to a list.
    Append,
    /// Take entries from a list.
    Subtract,
}

impl AlterOp {
    /// From Kafka's number; None for one that means nothing.
    pub fn from_code(code: i8) -> Option<AlterOp> {
        match code {
            0 => Some(AlterOp::Set),
            1 => Some(AlterOp::Delete),
            2 => Some(AlterOp::Append),
            3 => Some(AlterOp::Subtract),
            _ => None,
        }
    }
}

/// One change that a client asks for. `value` is of no account for [`AlterOp::Delete`].
#[derive(Clone, Copy, Debug)]
pub struct Alteration<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do.
    pub op: AlterOp,
    /// The value, or the entries to add or take.
    pub value: Option<&'a str>,
}

/// The resource whose overrides change, and the broker that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Altered<'a> {
    /// This broker, with its dynamic layers.
    pub config: &'a BrokerConfig,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The name of the resource.
    pub name: &'a str,
    /// What it overrides now.
    pub before: &'a BTreeMap<String, String>,
    /// Whether `eligible.leader.replicas.version` is above 0 (KIP-966).
    pub elr_enabled: bool,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The pairs to write as config records: None deletes. A broker's come even if nothing changes, for they make
    /// the broker read its files again (KAFKA-14136).
    pub records: Vec<(String, Option<String>)>,
    /// All that it overrides then.
    pub overrides: BTreeMap<String, String>,
}

impl Altered<'_> {
    /// Applies IncrementalAlterConfigs: all operations or none.
    pub fn incremental(&self, operations: &[Alteration]) -> Result<Outcome, ConfigError> {
        check_request(operations)?;
        let mut outcome = Outcome { records: Vec::new(), overrides: self.before.clone() };
        for operation in operations {
            let now = self.before.get(operation.name);
            let next = match operation.op {
                AlterOp::Set => operation.value.map(str::to_owned),
                AlterOp::Delete => None,
                AlterOp::Append | AlterOp::Subtract => Some(self.alter_list(operation)?),
            };
            if now == next.as_ref() && self.kind != ResourceKind::Broker {
                continue;
            }
            self.put(&mut outcome, operation.name, next)?;
        }
        self.check(&outcome)?;
        Ok(outcome)
    }

    /// Applies AlterConfigs: the pairs take the place of all that was overridden.
    pub fn replace(&self, pairs: &[(&str, Option<&str>)]) -> Result<Outcome, ConfigError> {
        let as_set: Vec<Alteration> =
            pairs.iter().map(|&(name, value)| Alteration { name, op: AlterOp::Set, value }).collect();
        check_request(&as_set)?;
        let mut outcome = Outcome { records: Vec::new(), overrides: self.before.clone() };
        for (name, value) in pairs {
            let next = value.map(str::to_owned);
            if self.before.get(*name) != next.as_ref() || self.kind == ResourceKind::Broker {
                self.put(&mut outcome, name, next)?;
            }
        }
        let named: BTreeSet<&str> = pairs.iter().map(|(name, _)| *name).collect();
        for name in self.before.keys().filter(|name| !named.contains(name.as_str())) {
            self.put(&mut outcome, name, None)?;
        }
        self.check(&outcome)?;
        Ok(outcome)
    }

    fn put(&self, outcome: &mut Outcome, name: &str, next: Option<String>) -> Result<(), ConfigError> {
        self.check_min_isr(name, next.is_none())?;
        match &next {
            Some(value) if value.encode_utf16().count() > CONFIG_VALUE_UNITS_MAX => {
                return Err(ConfigError::Rule(format!(
                    "The configuration value cannot be added because it exceeds the maximum value size of \
                     {CONFIG_VALUE_UNITS_MAX} bytes."
                )));
            }
            Some(value) => outcome.overrides.insert(name.to_owned(), value.clone()),
            None => outcome.overrides.remove(name),
        };
        outcome.records.push((name.to_owned(), next));
        Ok(())
    }

    /// With ELR the number of replicas that acks=all waits for must be one for the whole cluster.
    fn check_min_isr(&self, name: &str, removed: bool) -> Result<(), ConfigError> {
        if !self.elr_enabled || self.kind != ResourceKind::Broker || name != "min.insync.replicas" {
            return Ok(());
        }
        let text = match (self.name.is_empty(), removed) {
            (false, _) => "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
            (true, true) => "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
            (true, false) => return Ok(()),
        };
        Err(ConfigError::Rule(text.to_owned()))
    }

    fn alter_list(&self, operation: &Alteration) -> Result<String, ConfigError> {
        let (name, append) = (operation.name, operation.op == AlterOp::Append);
        let key = self.kind.table().get(name);
        let Some(key) = key.filter(|key| key.kind == Kind::List) else {
            return Err(ConfigError::Rule(match (self.kind, key, append) {
                (ResourceKind::Broker, None, _) => format!("Unknown config name: {name}"),
                (ResourceKind::Broker, Some(_), true) => {
                    format!("Config value append is not allowed for config key: {name}")
                }
                (ResourceKind::Broker, Some(_), false) => {
                    format!("Config value subtract is not allowed for config key: {name}")
                }
                (_, _, true) => format!("Can't APPEND to key {name} because its type is not LIST."),
                (_, _, false) => format!("Can't SUBTRACT to key {name} because its type is not LIST."),
            }));
        };
        let default = match key.default {
            DefaultValue::Is(text) => text,
            DefaultValue::Null | DefaultValue::Required => "",
        };
        let now = self.before.get(name).map_or(default, String::as_str);
        let mut entries: Vec<&str> = now.split(',').filter(|entry| !entry.is_empty()).collect();
        for entry in operation.value.unwrap_or_default().split(',') {
            let at = entries.iter().position(|e| *e == entry);
            match (append, at) {
                (true, None) => entries.push(entry),
                (false, Some(at)) => {
                    entries.remove(at);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(entries.join(","))
    }

    fn check(&self, outcome: &Outcome) -> Result<(), ConfigError> {
        if outcome.records.is_empty() {
            return Ok(());
        }
        check_overrides(self.config, self.kind, self.name, self.before, &outcome.overrides)?;
        if self.kind != ResourceKind::Broker {
            return Ok(());
        }
        let mut changed = outcome
            .records
            .iter()
            .filter(|(name, next)| next.is_some() && self.before.get(name) != next.as_ref());
        changed.try_for_each(|(name, _)| super::dynamic::check_effect(name))
    }
}

fn check_request(operations: &[Alteration]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    if !operations.iter().all(|operation| seen.insert(operation.name)) {
        return Err(ConfigError::Request("Error due to duplicate config keys".to_owned()));
    }
    let nulls = operations.iter().filter(|o| o.op != AlterOp::Delete && o.value.is_none());
    let nulls: Vec<&str> = nulls.map(|o| o.name).collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Request(format!("Null value not supported for : {}", nulls.join(", "))))
}
