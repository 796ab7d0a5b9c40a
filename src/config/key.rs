//! What is known of one key: type, default, rule, importance, how it may change, whether Ottla acts on it.

use super::error::ConfigError;
use super::value::{Value, list_parts, parse_double, trim};

/// The type of a key's value (`ConfigDef.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    Text,
    /// A 32-bit number.
    Int,
    /// A 16-bit number.
    Short,
    /// A 64-bit number.
    Long,
    /// A floating-point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class; Ottla never loads it.
    Class,
    /// A secret: never shown.
    Password,
}

impl Kind {
    /// The number of this type in DescribeConfigs responses (`DescribeConfigsResponse.ConfigType`).
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// Kafka's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::Text => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// What holds if a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Kafka insists that the key is set.
    Required,
    /// No value.
    Null,
    /// This value, in text form.
    Is(&'static str),
}

/// What a value must fulfil beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Nothing.
    Any,
    /// A number within bounds, both included (`ConfigDef.Range`).
    Range {
        /// The smallest number.
        min: f64,
        /// The largest number, if there is one.
        max: Option<f64>,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list without empty entries (`ConfigDef.ValidList`).
    List {
        /// The entries that are allowed; none means all.
        of: &'static [&'static str],
        /// Whether the list may have no entries.
        empty: bool,
        /// Whether there may be no list.
        null: bool,
    },
    /// There must be a value.
    NonNull,
    /// No value, or a text that is not empty.
    NonEmpty,
    /// 1 to 9, or -1.
    GzipLevel,
    /// `id@host:port` entries.
    Voters,
    /// `host:port` entries.
    BootstrapServers,
    /// `partition:broker` entries, or `*`.
    ThrottledReplicas,
    /// `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration.
    ShareOffsetReset,
}

/// How much attention Kafka thinks a key deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Most.
    High,
    /// Some.
    Medium,
    /// Least.
    Low,
}

impl Importance {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        }
    }
}

/// How a key may change while the broker runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A broker key that needs a restart.
    ReadOnly,
    /// A broker key that can be altered for one broker.
    PerBroker,
    /// A broker key that can be altered for one broker or for all.
    ClusterWide,
    /// A key of a topic, group or subscription: always alterable.
    Dynamic,
}

impl Mode {
    /// Kafka's name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Mode::ReadOnly | Mode::Dynamic => "read-only",
            Mode::PerBroker => "per-broker",
            Mode::ClusterWide => "cluster-wide",
        }
    }
}

/// What setting a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what Kafka's documentation says; if the key is dynamic, at once.
    Works,
    /// The same, from the start on: it cannot be altered while the broker runs.
    AtStart,
    /// It is checked, kept and shown, but has no effect yet; a start with it says so.
    Warns,
    /// Ignoring it changes nothing that a client or an operator could rely on, for this reason; nothing is said.
    Harmless(&'static str),
    /// Ignoring it would allow more than the operator meant, for this reason: no start with anything but its default.
    Refused(&'static str),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name in files.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What holds if it is not set.
    pub default: DefaultValue,
    /// What a value must fulfil.
    pub rule: Rule,
    /// Its importance.
    pub importance: Importance,
    /// How it may change.
    pub mode: Mode,
    /// Whether Ottla acts on it.
    pub support: Support,
    /// Not shown by DescribeConfigs unless it is set.
    pub internal: bool,
    /// One line about it.
    pub doc: &'static str,
}

impl Key {
    /// Whether its value is a secret.
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// The value from its text form, checked against type and rule (`ConfigDef.parseValue`).
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = self.parse_kind(text)?;
        let value = match (value, self.rule) {
            // Kafka drops repeated entries of such lists.
            (Value::List(entries), Rule::List { .. }) => Value::List(distinct(entries)),
            (value, _) => value,
        };
        self.check(&value)?;
        Ok(value)
    }

    /// The default value; [`Value::Null`] also for keys that must be set.
    pub fn default_value(&self) -> Value {
        match self.default {
            DefaultValue::Required | DefaultValue::Null => Value::Null,
            DefaultValue::Is(text) => {
                let value = self.parse_kind(text);
                assert!(value.is_ok(), "the default of {} does not parse", self.name);
                value.unwrap_or(Value::Null)
            }
        }
    }

    fn parse_kind(&self, text: &str) -> Result<Value, ConfigError> {
        let trimmed = trim(text);
        let number = || self.invalid(text, format!("Not a number of type {}", self.kind.name()));
        Ok(match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => {
                return Err(self.invalid(text, "Expected value to be either true or false".to_owned()));
            }
            Kind::Text | Kind::Class | Kind::Password => Value::Text(trimmed.to_owned()),
            Kind::Int => Value::Int(trimmed.parse().map_err(|_| number())?),
            Kind::Short => Value::Short(trimmed.parse().map_err(|_| number())?),
            Kind::Long => Value::Long(trimmed.parse().map_err(|_| number())?),
            Kind::Double => Value::Double(parse_double(trimmed).ok_or_else(number)?),
            Kind::List => Value::List(list_parts(trimmed)),
        })
    }

    fn check(&self, value: &Value) -> Result<(), ConfigError> {
        let shown = || value.show();
        match self.rule {
            Rule::Any | Rule::NonNull => Ok(()),
            Rule::Range { min, max } => {
                let Some(n) = value.as_f64() else {
                    return Err(self.invalid(&shown(), "Value must be non-null".to_owned()));
                };
                if n < min {
                    return Err(self.invalid(&shown(), format!("Value must be at least {min}")));
                }
                match max {
                    Some(max) if n > max => {
                        Err(self.invalid(&shown(), format!("Value must be no more than {max}")))
                    }
                    _ => Ok(()),
                }
            }
            Rule::OneOf(allowed) => match value.as_text() {
                Some(t) if allowed.contains(&t) => Ok(()),
                _ => Err(self.invalid(&shown(), format!("String must be one of: {}", allowed.join(", ")))),
            },
            Rule::OneOfIgnoringCase(allowed) => match value.as_text() {
                Some(t) if allowed.iter().any(|a| a.eq_ignore_ascii_case(t)) => Ok(()),
                _ => Err(self.invalid(
                    &shown(),
                    format!("String must be one of (case insensitive): {}", allowed.join(", ")),
                )),
            },
            Rule::List { of, empty, null } => self.check_list(value, of, empty, null),
            Rule::NonEmpty => match value.as_text() {
                Some("") => Err(self.invalid(&shown(), "String must be non-empty".to_owned())),
                _ => Ok(()),
            },
            Rule::GzipLevel => match value {
                Value::Int(-1 | 1..=9) => Ok(()),
                _ => Err(self.invalid(&shown(), "Value must be between 1 and 9 or equal to -1".to_owned())),
            },
            Rule::Voters => self.check_entries(value, super::rules::is_voter, "id@host:port"),
            Rule::BootstrapServers => self.check_entries(value, super::rules::is_host_port, "host:port"),
            Rule::ThrottledReplicas => {
                let entries = value.as_list().unwrap_or_default();
                if super::rules::are_throttled_replicas(entries) {
                    return Ok(());
                }
                Err(self.invalid(
                    &shown(),
                    format!(
                        "{} must be the literal '*' or a list of replicas in the following format: \
                         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                        self.name
                    ),
                ))
            }
            Rule::ShareOffsetReset => match value.as_text() {
                Some(t) if super::rules::is_share_offset_reset(t) => Ok(()),
                _ => Err(self.invalid(
                    &shown(),
                    format!(
                        "Invalid value `{}` for configuration {}. The value must be either 'earliest', \
                         'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
                        shown(),
                        self.name
                    ),
                )),
            },
        }
    }

    fn check_list(
        &self,
        value: &Value,
        of: &'static [&'static str],
        empty: bool,
        null: bool,
    ) -> Result<(), ConfigError> {
        let rule = |what: String| ConfigError::Rule(format!("Configuration '{}' {what}", self.name));
        let Some(entries) = value.as_list() else {
            return if null { Ok(()) } else { Err(rule("values must not be null.".to_owned())) };
        };
        if !empty && entries.is_empty() {
            let valid =
                if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
            return Err(rule(format!("must not be empty. Valid values include: {valid}")));
        }
        for entry in entries {
            if entry.is_empty() {
                return Err(rule("values must not be empty.".to_owned()));
            }
            if !of.is_empty() && !of.contains(&entry.as_str()) {
                return Err(self.invalid(entry, format!("String must be one of: {}", of.join(", "))));
            }
        }
        Ok(())
    }

    fn check_entries(&self, value: &Value, valid: fn(&str) -> bool, form: &str) -> Result<(), ConfigError> {
        match value.as_list().unwrap_or_default().iter().find(|e| !valid(e)) {
            Some(bad) => Err(self.invalid(bad, format!("Each entry must be in the form `{form}`."))),
            None => Ok(()),
        }
    }

    fn invalid(&self, value: &str, why: String) -> ConfigError {
        // A secret is not repeated in an error that goes to a log or to another client.
        let value = if self.sensitive() { "[hidden]" } else { value };
        ConfigError::InvalidValue { key: self.name.to_owned(), value: value.to_owned(), why }
    }
}

fn distinct(entries: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(entries.len());
    for entry in entries {
        if !kept.contains(&entry) {
            kept.push(entry);
        }
    }
    kept
}
