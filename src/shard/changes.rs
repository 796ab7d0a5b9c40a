//! Committed changes of the metadata that an operator asks about afterwards, as lines of the log: topics that are created or
//! deleted, and what is configured. Each is a write to the metadata log anyway, so no client makes more lines than records.

use std::collections::BTreeMap;

use crate::base::TopicId;
use crate::base::limits::CHANGE_VALUE_CHARS_MAX;
use crate::config::Key;
use crate::config::table::BROKER;
use crate::meta::image::{Image, ResourceType};
use crate::meta::record::{ConfigRecord, MetadataRecord};

/// The changes of records that are committed together.
#[derive(Default)]
pub(super) struct Changes {
    /// Topics that come into being, and those that get partitions.
    partitions: BTreeMap<TopicId, (String, usize, bool)>,
    lines: Vec<String>,
}

impl Changes {
    /// Takes a record; `before` is the image without it.
    pub(super) fn add(&mut self, before: &Image, record: &MetadataRecord) {
        let name = |id: TopicId| {
            let topic = before.topics().get_by_id(id);
            topic.map_or_else(|| format!("of id {id}"), |topic| topic.name.to_string())
        };
        match record {
            MetadataRecord::Topic(r) => {
                self.partitions.insert(r.topic_id, (r.name.to_string(), 0, true));
            }
            MetadataRecord::Partition(r) => {
                let of = self.partitions.entry(r.topic_id);
                of.or_insert_with(|| (name(r.topic_id), 0, false)).1 += 1;
            }
            MetadataRecord::RemoveTopic(r) => {
                self.lines.push(format!("topic {} is deleted (id {})", name(r.topic_id), r.topic_id));
            }
            MetadataRecord::Config(r) => self.lines.push(configured(r)),
            _ => {}
        }
    }

    /// What is to be said.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        for (id, (name, count, is_new)) in self.partitions {
            let what = if is_new { "created with" } else { "given" };
            let more = if is_new { "" } else { " more" };
            self.lines.push(format!("topic {name} is {what} {count}{more} partitions (id {id})"));
        }
        self.lines
    }
}

/// Values of brokers may be secrets: only those that are known not to be are said.
fn configured(r: &ConfigRecord) -> String {
    let kind = ResourceType::from_id(r.resource_type);
    let is_brokers = !matches!(kind, Some(ResourceType::Topic | ResourceType::Group));
    let is_secret = is_brokers && BROKER.get(&r.name).is_none_or(Key::sensitive);
    let resource = match kind {
        Some(ResourceType::Broker) if r.resource_name.is_empty() => "all brokers".to_owned(),
        Some(kind) => format!("{} {}", format!("{kind:?}").to_lowercase(), r.resource_name),
        None => r.resource_name.to_string(),
    };
    match &r.value {
        None => format!("configuration of {resource}: {} is back at its default", r.name),
        Some(_) if is_secret => format!("configuration of {resource}: {} is set", r.name),
        Some(value) => {
            let shown: String = value.chars().take(CHANGE_VALUE_CHARS_MAX).collect();
            format!("configuration of {resource}: {} is set to {shown:?}", r.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Uuid;
    use crate::meta::record::samples::config;
    use crate::meta::record::{RemoveTopicRecord, TopicRecord};

    /// Nothing was said of a topic that was created, deleted or configured, so a log could not tell who lost what when.
    #[test]
    fn each_change_is_a_line_and_no_secret_is_in_one() {
        let id = Uuid::from_u128(7);
        let image = Image::empty("c");
        let lines = |records: &[MetadataRecord]| {
            let mut changes = Changes::default();
            for record in records {
                changes.add(&image, record);
            }
            changes.into_lines().join("\n")
        };
        let made = MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id: id });
        assert_eq!(lines(&[made]), format!("topic t is created with 0 partitions (id {id})"));
        let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id });
        assert_eq!(lines(&[gone]), format!("topic of id {id} is deleted (id {id})"));
        let table = [
            (
                config(ResourceType::Topic, "t", "retention.ms", Some("5")),
                "of topic t: retention.ms is set to \"5\"",
            ),
            (
                config(ResourceType::Topic, "t", "retention.ms", None),
                "of topic t: retention.ms is back at its default",
            ),
            (
                config(ResourceType::Broker, "", "log.retention.ms", Some("a\nb")),
                "all brokers: log.retention.ms is set to \"a\\nb\"",
            ),
            (
                config(ResourceType::Broker, "1", "ssl.key.password", Some("secret")),
                "broker 1: ssl.key.password is set",
            ),
            (config(ResourceType::Broker, "1", "my.own", Some("secret")), "broker 1: my.own is set"),
        ];
        for (record, want) in table {
            let said = lines(&[record]);
            assert!(said.starts_with("configuration of ") && said.ends_with(want), "{said}");
        }
        let long = "x".repeat(10_000);
        let said = lines(&[config(ResourceType::Topic, "t", "a", Some(&long))]);
        assert!(said.len() < CHANGE_VALUE_CHARS_MAX + 100);
    }
}
