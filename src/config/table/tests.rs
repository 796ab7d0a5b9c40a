//! The table against a list made from Apache Kafka's own `ConfigDef` objects.

use super::*;
use crate::config::key::{DefaultValue, Rule};

const ORACLE: &str = include_str!("../../../tests/config/kafka-4.3.1-keys.tsv");

fn rule_text(rule: Rule) -> String {
    let names = |of: &[&str]| format!("[{}]", of.join(", "));
    match rule {
        Rule::Any => String::new(),
        Rule::Range { min, max: None } => format!("range [{min},...]"),
        Rule::Range { min, max: Some(max) } => format!("range [{min},...,{max}]"),
        Rule::OneOf(of) => format!("one of {}", names(of)),
        Rule::OneOfIgnoringCase(of) => format!("one of ignoring case {}", names(of)),
        Rule::List { of, empty, null } => {
            format!(
                "list {}{}{}",
                names(of),
                if empty { " empty" } else { "" },
                if null { " null" } else { "" }
            )
        }
        Rule::NonNull => "non-null".to_owned(),
        Rule::NonEmpty => "non-empty".to_owned(),
        Rule::GzipLevel => "gzip".to_owned(),
        Rule::Voters => "voters".to_owned(),
        Rule::BootstrapServers => "bootstrap servers".to_owned(),
        Rule::ThrottledReplicas => "throttled replicas".to_owned(),
        Rule::ShareOffsetReset => "share offset reset".to_owned(),
    }
}

fn lines(scope: &str, table: &Table) -> Vec<String> {
    table
        .iter()
        .filter(|key| !key.name.starts_with("ottla."))
        .map(|key| {
            let scope = if scope == "broker" && is_dynamic_only(key.name) { "broker-dynamic" } else { scope };
            let default = match key.default {
                DefaultValue::Required => "-",
                DefaultValue::Null => "~",
                DefaultValue::Is(text) => text,
            };
            [
                scope,
                key.name,
                key.kind.name(),
                default,
                &rule_text(key.rule),
                &key.importance.name().to_lowercase(),
                if key.internal { "internal" } else { "" },
                key.mode.name(),
            ]
            .join("\t")
        })
        .collect()
}

#[test]
fn the_table_is_kafkas() {
    let mut ours = lines("broker", &BROKER);
    ours.extend(lines("topic", &TOPIC));
    ours.extend(lines("group", &GROUP));
    ours.extend(lines("client-metrics", &CLIENT_METRICS));
    ours.sort();
    let mut theirs: Vec<&str> = ORACLE.lines().filter(|line| !line.starts_with('#')).collect();
    theirs.sort_unstable();
    let missing: Vec<_> = theirs.iter().filter(|line| !ours.iter().any(|o| o == *line)).collect();
    let extra: Vec<_> = ours.iter().filter(|line| !theirs.contains(&line.as_str())).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
}

/// Once the journal's default was doubled and README still named the old one.
#[test]
fn readme_names_our_own_keys_with_their_defaults() {
    let readme = include_str!("../../../README.md");
    for key in BROKER.iter().filter(|key| key.name.starts_with("ottla.")) {
        let rows = || readme.lines().filter(|line| line.starts_with(&format!("| `{}`", key.name)));
        assert_eq!(rows().count(), 1, "{} has a row", key.name);
        let DefaultValue::Is(default) = key.default else { continue };
        let shown = match default.parse::<u64>() {
            Ok(bytes)
                if key.name.rsplit('.').next() == Some("bytes") && bytes > 0 && bytes % (1 << 20) == 0 =>
            {
                format!("{} MiB", bytes >> 20)
            }
            _ => default.to_owned(),
        };
        assert!(rows().all(|row| row.contains(&format!("| {shown} |"))), "{}: {shown}", key.name);
    }
}

#[test]
fn defaults_fulfil_their_rules_and_docs_are_one_line() {
    for table in [&*BROKER, &*TOPIC, &*GROUP, &*CLIENT_METRICS] {
        for key in table.iter() {
            if let DefaultValue::Is(text) = key.default {
                let parsed = key.parse(text);
                assert_eq!(parsed, Ok(key.default_value()), "{}", key.name);
                assert_eq!(key.default_value().to_text().as_deref(), Some(text), "{}", key.name);
            }
            assert!(key.doc.ends_with('.') && !key.doc.contains('\n'), "{}", key.name);
        }
    }
}

/// Every source file outside of the tables, without its tests.
fn sources(dir: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs")
            && !name.ends_with("tests.rs")
            && !name.contains("config/table/")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((name, text.split("#[cfg(test)]").next().unwrap().to_owned()));
        }
    }
}

/// Six keys, max.connection.creation.rate among them, were said to work, and nothing outside of the configuration read them.
/// A key that gives a topic key its default is read through that.
#[test]
fn what_works_is_read_and_what_is_read_nowhere_does_not_work() {
    use crate::config::key::Support;
    use crate::config::synonyms::of_topic_key;
    let mut all = Vec::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let of_topic = |name: &str| TOPIC.iter().any(|key| of_topic_key(key.name).contains(&name));
    let mut unread = Vec::new();
    for key in BROKER.iter().filter(|key| matches!(key.support, Support::Works | Support::AtStart)) {
        let literal = format!("\"{}\"", key.name);
        let lines = all.iter().flat_map(|(path, text)| text.lines().map(move |line| (path, line)));
        let mut places = lines.filter(|(_, line)| line.contains(&literal));
        let is_read = places.any(|(_, line)| {
            // `field: v.int("key"),` is only a copy: somebody else has to look at the field.
            let field = line.trim().split_once(": v.").map(|(field, _)| format!(".{field}"));
            let used = |field: &str| {
                all.iter().any(|(path, text)| !path.contains("/config/") && text.contains(field))
            };
            field.is_none_or(|field| used(&field))
        });
        if !is_read && !of_topic(key.name) {
            unread.push(key.name);
        }
    }
    // `auto_create.rs` puts the name together.
    assert_eq!(unread, ["offsets.topic.num.partitions"], "are said to work");
    for key in BROKER.iter() {
        if let Support::Harmless(why) | Support::Refused(why) = key.support {
            assert!(why.len() > 20, "{} says why", key.name);
        }
    }
}
