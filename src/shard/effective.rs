//! Configurations as they are in force: the broker's own file, what was altered since, topics over both. Worked
//! out once per change, not once per request.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{IdMap, TopicId};
use crate::config::{BrokerConfig, TopicConfig};
use crate::io::repeats::limited;
use crate::meta::image::{Delta, Image, ResourceType};

/// The configurations in force on one core.
pub struct Effective {
    statics: Arc<BrokerConfig>,
    broker: Arc<BrokerConfig>,
    topics: IdMap<TopicId, Arc<TopicConfig>>,
}

impl Effective {
    /// As the image has it.
    pub fn new(statics: Arc<BrokerConfig>, image: &Image) -> Effective {
        let broker = with_dynamic(&statics, image);
        Effective { statics, broker, topics: IdMap::default() }
    }

    /// What the broker was started with.
    pub fn statics(&self) -> &Arc<BrokerConfig> {
        &self.statics
    }

    /// The broker's configuration in force.
    pub fn broker(&self) -> &Arc<BrokerConfig> {
        &self.broker
    }

    /// A topic's configuration in force.
    pub fn topic(&mut self, image: &Image, id: TopicId, name: &str) -> &Arc<TopicConfig> {
        let broker = &self.broker;
        self.topics.entry(id).or_insert_with(|| Arc::new(topic_config(broker, image, name)))
    }

    /// Follows a change.
    pub fn update(&mut self, image: &Image, delta: &Delta) {
        if delta.configs.iter().any(|c| c.kind == ResourceType::Broker) {
            self.broker = with_dynamic(&self.statics, image);
            self.topics.clear();
        }
        for id in delta.topics.keys() {
            self.topics.remove(id);
        }
        for changed in delta.configs.iter().filter(|c| c.kind == ResourceType::Topic) {
            if let Some(topic) = image.topics().get(&changed.name) {
                self.topics.remove(&topic.id);
            }
        }
    }
}

fn with_dynamic(statics: &Arc<BrokerConfig>, image: &Image) -> Arc<BrokerConfig> {
    let cluster = overrides(image, ResourceType::Broker, "");
    let own = overrides(image, ResourceType::Broker, &statics.node_id.to_string());
    if cluster.is_empty() && own.is_empty() {
        return statics.clone();
    }
    let (config, warnings) = statics.with_dynamic(&cluster, &own);
    for warning in warnings {
        limited!(warn, "a warning of a dynamic configuration", by "", of warning, "{warning}");
    }
    Arc::new(config)
}

fn topic_config(broker: &BrokerConfig, image: &Image, name: &str) -> TopicConfig {
    TopicConfig::effective(broker, &overrides(image, ResourceType::Topic, name))
}

/// What was set for a resource.
pub fn overrides(image: &Image, kind: ResourceType, name: &str) -> BTreeMap<String, String> {
    image.configs().get(kind, name).map(|map| map.as_ref().clone()).unwrap_or_default()
}
