//! The table: every key of Apache Kafka 4.3.1, and Ottla's own.

use super::key::Key;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Makes a file's `KEYS` out of lines
/// `"name" => TYPE, default, rule, IMPORTANCE, MODE, SUPPORT[, INTERNAL]; "one line about it";`.
macro_rules! keys {
    ($($name:literal => $kind:ident, $default:expr, $rule:expr, $importance:ident, $mode:ident,
       $support:ident $(, $internal:ident)?; $doc:literal);* $(;)?) => {
        /// The keys of this file.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            kind: $kind,
            default: $default,
            rule: $rule,
            importance: $importance,
            mode: $mode,
            support: $support,
            internal: false $(|| $internal)?,
            doc: $doc,
        }),*];
    };
}

/// The short words of the table's lines.
mod prelude {
    pub(super) use crate::config::key::DefaultValue::{Is, Null, Required};
    pub(super) use crate::config::key::Rule::{
        BootstrapServers, GzipLevel, NonEmpty, NonNull, OneOf, OneOfIgnoringCase, ShareOffsetReset,
        ThrottledReplicas, Voters,
    };
    pub(super) use crate::config::key::{Importance, Key, Kind, Mode, Rule, Support};

    pub(super) const BOOLEAN: Kind = Kind::Boolean;
    pub(super) const STRING: Kind = Kind::Text;
    pub(super) const INT: Kind = Kind::Int;
    pub(super) const SHORT: Kind = Kind::Short;
    pub(super) const LONG: Kind = Kind::Long;
    pub(super) const DOUBLE: Kind = Kind::Double;
    pub(super) const LIST: Kind = Kind::List;
    pub(super) const CLASS: Kind = Kind::Class;
    pub(super) const PASSWORD: Kind = Kind::Password;
    pub(super) const HIGH: Importance = Importance::High;
    pub(super) const MEDIUM: Importance = Importance::Medium;
    pub(super) const LOW: Importance = Importance::Low;
    pub(super) const READ_ONLY: Mode = Mode::ReadOnly;
    pub(super) const PER_BROKER: Mode = Mode::PerBroker;
    pub(super) const CLUSTER_WIDE: Mode = Mode::ClusterWide;
    pub(super) const DYNAMIC: Mode = Mode::Dynamic;
    pub(super) const WORKS: Support = Support::Works;
    pub(super) const AT_START: Support = Support::AtStart;
    pub(super) const WARNS: Support = Support::Warns;
    /// Threads and queues of Kafka's that Ottla does not have.
    pub(super) const NO_THREADS: Support = Support::Harmless("Ottla runs one thread per core");
    /// Timings between brokers, and between a broker and its controller.
    pub(super) const ALONE: Support = Support::Harmless("this version of Ottla runs alone");
    /// Buffers that Ottla sizes by itself.
    pub(super) const OWN_MEMORY: Support = Support::Harmless("Ottla sizes its buffers by itself");
    pub(super) const NO_ACLS: Support =
        Support::Refused("this version of Ottla has no ACLs, so everybody could do everything");
    pub(super) const NO_POLICY: Support =
        Support::Refused("Ottla cannot load Java classes, so what the policy forbids would be allowed");
    pub(super) const NO_QUOTA: Support =
        Support::Refused("Ottla cannot load Java classes, so no client would be held to its quota");
    pub(super) const NO_PRINCIPAL: Support =
        Support::Refused("Ottla cannot load Java classes, so every client would be taken for another");
    pub(super) const NO_PROTECTION: Support = Support::Refused(
        "this version of Ottla speaks PLAINTEXT only, so what should be protected would not be",
    );
    pub(super) const NO_RATE: Support =
        Support::Refused("this version of Ottla does not limit how fast clients connect");
    pub(super) const NO_REPORTER: Support =
        Support::Refused("Ottla cannot load Java classes, so the metrics would not be reported");
    pub(super) const INTERNAL: bool = true;
    pub(super) const ANY: Rule = Rule::Any;
    pub(super) const ANY_LIST: Rule = list_of(&[], true, false);
    pub(super) const NON_EMPTY_LIST: Rule = list_of(&[], false, false);
    pub(super) const NON_EMPTY_OR_NULL_LIST: Rule = list_of(&[], false, true);
    pub(super) const NULLABLE_LIST: Rule = list_of(&[], true, true);

    pub(super) const fn list_of(of: &'static [&'static str], empty: bool, null: bool) -> Rule {
        Rule::List { of, empty, null }
    }
    pub(super) const fn at_least(min: f64) -> Rule {
        Rule::Range { min, max: None }
    }
    pub(super) const fn between(min: f64, max: f64) -> Rule {
        Rule::Range { min, max: Some(max) }
    }
}

mod cleaner;
mod client_metrics;
mod group;
mod groups;
mod log;
mod network;
mod ottla;
mod quorum;
mod quota;
mod remote;
mod replication;
mod security;
mod server;
mod topic;
mod transactions;

/// The keys of one kind of resource, in the order of their names.
pub struct Table(BTreeMap<&'static str, &'static Key>);

impl Table {
    fn new(parts: &[&'static [Key]]) -> Table {
        let mut keys = BTreeMap::new();
        for key in parts.iter().copied().flatten() {
            let before = keys.insert(key.name, key);
            assert!(before.is_none(), "{} stands twice in the table", key.name);
        }
        Table(keys)
    }

    /// The key of this name.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.0.get(name).copied()
    }

    /// All keys in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &'static Key> + '_ {
        self.0.values().copied()
    }
}

/// The keys of a server: what may stand in `server.properties`, quota rates that exist only dynamically
/// ([`is_dynamic_only`]), and Ottla's own.
pub static BROKER: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        server::KEYS,
        network::KEYS,
        log::KEYS,
        cleaner::KEYS,
        replication::KEYS,
        quorum::KEYS,
        groups::KEYS,
        transactions::KEYS,
        quota::KEYS,
        security::KEYS,
        remote::KEYS,
        ottla::KEYS,
    ])
});

/// The keys of a topic.
pub static TOPIC: LazyLock<Table> = LazyLock::new(|| Table::new(&[topic::KEYS]));

/// The keys of a group.
pub static GROUP: LazyLock<Table> = LazyLock::new(|| Table::new(&[group::KEYS]));

/// The keys of a client-metrics subscription.
pub static CLIENT_METRICS: LazyLock<Table> = LazyLock::new(|| Table::new(&[client_metrics::KEYS]));

/// The broker key that somebody may have meant: the one that gives a topic key its default, or the one that is spelled most
/// like it.
pub fn nearest(name: &str) -> Option<&'static str> {
    if let Some(of_topic) = super::synonyms::of_topic_key(name).first() {
        return Some(of_topic);
    }
    let keys = BROKER.iter().map(|key| (distance(&name.to_lowercase(), key.name), key.name));
    let (distance, key) = keys.min()?;
    (distance <= 1 + name.len() / 6).then_some(key)
}

/// Letters to insert, remove or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Whether a broker key can only be set dynamically, not in a file (`QuotaConfig.BROKER_QUOTA_CONFIGS`).
pub fn is_dynamic_only(name: &str) -> bool {
    matches!(
        name,
        "follower.replication.throttled.rate"
            | "leader.replication.throttled.rate"
            | "replica.alter.log.dirs.io.max.bytes.per.second"
    )
}

#[cfg(test)]
mod tests;
