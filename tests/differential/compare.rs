//! What may differ between two brokers, and the comparison of two answers without it.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields whose values may differ in every answer, and why. They must still be there on both sides, with the same JSON
/// type, and null on both sides or on neither.
const MAY_DIFFER: &[(&str, &str)] = &[
    ("throttleTimeMs", "a measured time"),
    ("host", "the address of the broker"),
    ("port", "the address of the broker"),
    ("clusterId", "random"),
    ("topicId", "random"),
    ("memberId", "random"),
    ("leader", "a random member id, or a node id that is compared in other fields"),
    ("sessionId", "random"),
    ("producerId", "a counter of each cluster"),
    ("errorMessage", "prose; its presence is compared"),
    ("batchIndexErrorMessage", "prose; its presence is compared"),
    ("documentation", "prose; its presence is compared"),
    ("logAppendTimeMs", "the clock"),
    ("lastTimestamp", "the clock"),
    ("totalBytes", "the disk"),
    ("usableBytes", "the disk"),
    ("logDir", "the data directory"),
    ("finalizedFeaturesEpoch", "a counter of each cluster"),
    ("clientHost", "written with or without the name"),
];

/// Two answers of one step, reduced to what has to be equal; `None` when they agree.
pub fn difference(ours: &Value, theirs: &Value, ignored: &[&str]) -> Option<String> {
    // Two requests that were never sent, or never answered, are not equal answers but a mistake in the script.
    for word in ["failed", "silent", "trailing"] {
        if !theirs[word].is_null() || !ours[word].is_null() {
            return Some(format!("{word}: {ours} here, {theirs} at Apache Kafka"));
        }
    }
    let (ours, theirs) = (canonical(ours, ignored), canonical(theirs, ignored));
    let mut found = Vec::new();
    walk("", &ours, &theirs, &mut found);
    (!found.is_empty()).then(|| found.join("\n"))
}

/// The answer without what may differ, and with the objects of each array in a fixed order: Apache Kafka builds many
/// of them from hash maps.
fn canonical(value: &Value, ignored: &[&str]) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted = BTreeMap::new();
            for (key, field) in fields {
                if ignored.contains(&key.as_str()) {
                    continue;
                }
                let may_differ = MAY_DIFFER.iter().any(|(name, _)| name == key);
                sorted.insert(key.clone(), if may_differ { kind(field) } else { canonical(field, ignored) });
            }
            Value::Object(sorted.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| canonical(item, ignored)).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// What is left of a field that may differ: whether it is null, empty, and of which type. A number keeps its sign,
/// because -1 stands for "none" in most of them.
fn kind(value: &Value) -> Value {
    let text = match value {
        Value::Null => "null",
        Value::String(text) if text.is_empty() => "an empty text",
        Value::String(text) if text == "AAAAAAAAAAAAAAAAAAAAAA" => "the zero id",
        Value::String(_) => "a text",
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => "a negative number",
        Value::Number(_) => "a number",
        _ => "something else",
    };
    Value::String(format!("<{text}>"))
}

fn walk(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let missing = Value::String("<missing>".into());
                let (a, b) = (a.get(key).unwrap_or(&missing), b.get(key).unwrap_or(&missing));
                walk(&format!("{path}/{key}"), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}/{index}"), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            // Say which elements only one side has rather than print both.
            let only = |these: &[Value], those: &[Value]| -> Vec<String> {
                these.iter().filter(|item| !those.contains(item)).map(Value::to_string).collect()
            };
            found.push(format!(
                "{path}: {} elements here, {} at Apache Kafka\n    only here: {}\n    only there: {}",
                a.len(),
                b.len(),
                only(a, b).join(", "),
                only(b, a).join(", ")
            ));
        }
        (a, b) if a != b => found.push(format!("{path}: {a} here, {b} at Apache Kafka")),
        _ => {}
    }
}

#[test]
fn differences_are_found() {
    let json = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let differ = |a: &str, b: &str| difference(&json(a), &json(b), &["idle"]);
    assert_eq!(differ(r#"{"a":1,"topicId":"x","idle":1}"#, r#"{"topicId":"y","a":1}"#), None);
    assert_eq!(differ(r#"{"a":[{"n":1},{"n":2}]}"#, r#"{"a":[{"n":2},{"n":1}]}"#), None);
    assert!(differ(r#"{"a":1}"#, r#"{"a":2}"#).is_some());
    assert!(differ(r#"{"a":1}"#, r#"{"a":1,"b":2}"#).is_some());
    assert!(differ(r#"{"errorMessage":null}"#, r#"{"errorMessage":"x"}"#).is_some());
    assert!(differ(r#"{"producerId":-1}"#, r#"{"producerId":1}"#).is_some());
    assert!(differ(r#"{"a":[{"n":1}]}"#, r#"{"a":[{"n":2}]}"#).is_some());
    assert!(differ(r#"{"failed":"x"}"#, r#"{"failed":"x"}"#).is_some());
    assert!(differ(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#).is_some());
}
