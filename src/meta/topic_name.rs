//! Topic names: which are valid, which are internal, which collide (Kafka's `Topic`).

use crate::base::limits::TOPIC_NAME_BYTES_MAX;

/// The topic of the metadata log; clients can neither create nor see it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";
/// The topic of groups and committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether brokers keep state of their own in the topic.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Checks a name; the error is the message for the user.
pub fn validate(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        name if name.encode_utf16().count() > TOPIC_NAME_BYTES_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
        }
        name if !name.chars().all(legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {why}"))
}

/// Whether a name can collide with another: '.' and '_' are the same in the names of metrics.
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The name as metrics see it.
pub fn unify_collision_chars(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "A-b_c.9", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", "a\0", &"x".repeat(250)] {
            assert!(validate(bad).unwrap_err().starts_with("Topic name is invalid: "), "{bad}");
        }
        assert!(is_internal(CONSUMER_OFFSETS) && !is_internal(CLUSTER_METADATA));
        assert_eq!(unify_collision_chars("a.b_c"), "a_b_c");
    }
}
