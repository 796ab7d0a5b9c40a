//! CreateTopics (API 19), as Kafka's `ControllerApis.createTopics` and `ReplicationControlManager.createTopics`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::image::{Image, Partition};
use super::super::record::{ConfigRecord, MetadataRecord, Text, TopicRecord};
use super::super::topic_name;
use super::placement::Placer;
use super::{ApiError, Context, Controller, Decision, codes};
use crate::base::limits::METADATA_RECORDS_PER_REQUEST_MAX;
use crate::base::{BrokerId, TopicId, Uuid};
use crate::config::{self, AlterOp, Alteration, Altered, ResourceKind};
use crate::wire::messages::CreateTopicsRequest;
use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use crate::wire::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

/// The reply to CreateTopics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateTopicsReply {
    /// A result for each topic of the request.
    pub topics: Vec<CreatedTopic>,
}

/// What came of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id, zero on error.
    pub topic_id: TopicId,
    /// The error, if any.
    pub error: ApiError,
    /// How many partitions it has, -1 on error.
    pub num_partitions: i32,
    /// How many replicas each has, -1 on error.
    pub replication_factor: i16,
    /// Its whole configuration in the order of names (versions 5 and later).
    pub configs: Arc<[ConfigEcho]>,
}

/// One effective value of a new topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEcho {
    /// The key.
    pub name: String,
    /// The value; `None` for a secret and for none.
    pub value: Option<String>,
    /// `DescribeConfigsResponse.ConfigSource`.
    pub source: i8,
    /// Whether it is a secret.
    pub is_sensitive: bool,
}

impl CreateTopicsReply {
    /// The response. Fields that a version lacks are left out when it is written.
    pub fn to_wire(&self) -> CreateTopicsResponse<'_> {
        let topics = self.topics.iter().map(CreatedTopic::to_wire).collect();
        CreateTopicsResponse { throttle_time_ms: 0, topics }
    }
}

impl CreatedTopic {
    fn failed(name: &str, error: ApiError) -> CreatedTopic {
        CreatedTopic {
            name: name.to_owned(),
            topic_id: Uuid::ZERO,
            error,
            num_partitions: -1,
            replication_factor: -1,
            configs: Arc::default(),
        }
    }

    fn to_wire(&self) -> CreatableTopicResult<'_> {
        let configs = self.configs.iter().map(|c| CreatableTopicConfigs {
            name: &c.name,
            value: c.value.as_deref(),
            read_only: false,
            config_source: c.source,
            is_sensitive: c.is_sensitive,
        });
        CreatableTopicResult {
            name: &self.name,
            topic_id: self.topic_id,
            error_code: self.error.code,
            error_message: self.error.message.as_deref(),
            topic_config_error_code: codes::NONE,
            num_partitions: self.num_partitions,
            replication_factor: self.replication_factor,
            configs: Some(configs.collect()),
        }
    }
}

/// The configuration of topics that override nothing, made when the first one is there.
type Plain = OnceCell<Arc<[ConfigEcho]>>;

impl Controller {
    /// Decides on CreateTopics. A topic fails or succeeds by itself; with `validate_only` nothing is created. The
    /// error is one for the whole request.
    pub fn create_topics(
        &self,
        context: &mut Context<'_>,
        request: &CreateTopicsRequest<'_>,
    ) -> Result<Decision<CreateTopicsReply>, ApiError> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *seen.entry(topic.name).or_default() += 1;
        }
        let repeated = |name: &str| seen.get(name).is_some_and(|n| *n > 1);
        let allowed = |t: &&CreatableTopic<'_>| !repeated(t.name) && t.name != topic_name::CLUSTER_METADATA;
        let topics: Vec<&CreatableTopic<'_>> = request.topics.iter().filter(allowed).collect();

        check_total_partitions(&topics, context.config.num_partitions)?;
        let collisions = Collisions::new(self.image(), &topics);
        let plain = OnceCell::new();
        let mut records = Vec::new();
        let mut reply = CreateTopicsReply::default();
        for topic in topics {
            let created = self.create_topic(context, (&collisions, &plain), topic, &mut records);
            reply.topics.push(created.unwrap_or_else(|error| CreatedTopic::failed(topic.name, error)));
        }
        let refused = seen.iter().filter_map(|(name, count)| {
            let refusal = match *count {
                2.. => "Duplicate topic name.".to_owned(),
                _ if *name == topic_name::CLUSTER_METADATA => {
                    format!("Creation of internal topic {name} is prohibited.")
                }
                _ => return None,
            };
            Some(CreatedTopic::failed(name, ApiError::new(codes::INVALID_REQUEST, refusal)))
        });
        reply.topics.extend(refused);
        if request.validate_only {
            records.clear();
        }
        Ok(Decision { records, reply })
    }

    fn create_topic(
        &self,
        context: &mut Context<'_>,
        (collisions, plain): (&Collisions, &Plain),
        topic: &CreatableTopic<'_>,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<CreatedTopic, ApiError> {
        self.check_new_name(collisions, topic.name)?;
        let configs = self.check_new_configs(context, topic)?;
        let partitions = if topic.assignments.is_empty() {
            self.place_new_topic(context, topic)?
        } else {
            self.assign_new_topic(topic)?
        };
        let topic_id = (context.new_topic_id)();
        let name = Text::from(topic.name);
        records.push(MetadataRecord::Topic(TopicRecord { name: name.clone(), topic_id }));
        // Configurations come before the partitions, so that these open with them.
        records.extend(configs.iter().map(|(key, value)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Topic.code(),
                resource_name: name.clone(),
                name: key.as_str().into(),
                value: Some(value.as_str().into()),
            })
        }));
        let numbered = partitions.iter().enumerate();
        records.extend(numbered.map(|(i, p)| MetadataRecord::Partition(p.to_record(topic_id, i as i32))));
        Ok(CreatedTopic {
            name: topic.name.to_owned(),
            topic_id,
            error: ApiError::NONE,
            num_partitions: partitions.len() as i32,
            replication_factor: partitions.first().map_or(-1, |p| p.replicas.len() as i16),
            configs: if configs.is_empty() {
                plain.get_or_init(|| echo(context, &configs)).clone()
            } else {
                echo(context, &configs)
            },
        })
    }

    fn check_new_name(&self, collisions: &Collisions, name: &str) -> Result<(), ApiError> {
        topic_name::validate(name).map_err(|e| ApiError::new(codes::INVALID_TOPIC_EXCEPTION, e))?;
        // That a topic exists is said first, even though it collides with itself.
        if self.image().topics().get(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(codes::TOPIC_ALREADY_EXISTS, message));
        }
        match collisions.with(name) {
            Some(existing) => {
                let message = format!("Topic '{name}' collides with existing topic: {existing}");
                Err(ApiError::new(codes::INVALID_TOPIC_EXCEPTION, message))
            }
            None => Ok(()),
        }
    }

    fn check_new_configs(
        &self,
        context: &Context<'_>,
        topic: &CreatableTopic<'_>,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let nulls: Vec<&str> = topic.configs.iter().filter(|c| c.value.is_none()).map(|c| c.name).collect();
        if !nulls.is_empty() {
            let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
            return Err(ApiError::new(codes::INVALID_CONFIG, message));
        }
        super::configs::check_count(topic.configs.len())?;
        // The last value of a key that is named twice holds.
        let values: BTreeMap<&str, Option<&str>> = topic.configs.iter().map(|c| (c.name, c.value)).collect();
        let set = |(name, value)| Alteration { name, op: AlterOp::Set, value };
        let operations: Vec<Alteration<'_>> = values.into_iter().map(set).collect();
        let altered = Altered {
            config: context.config,
            kind: ResourceKind::Topic,
            name: topic.name,
            before: &BTreeMap::new(),
            elr_enabled: self.elr_enabled(),
        };
        Ok(altered.incremental(&operations)?.overrides)
    }

    fn place_new_topic(
        &self,
        context: &mut Context<'_>,
        topic: &CreatableTopic<'_>,
    ) -> Result<Vec<Partition>, ApiError> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::new(codes::INVALID_REPLICATION_FACTOR, message));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(codes::INVALID_PARTITIONS, message));
        }
        let or = |value: i32, default: i32| if value == -1 { default } else { value };
        let count = or(topic.num_partitions, context.config.num_partitions);
        let default_factor = i32::from(context.config.default_replication_factor);
        let factor = or(i32::from(topic.replication_factor), default_factor) as i16;
        self.place(context, count as usize, factor).map_err(|why| {
            let message = format!("Unable to replicate the partition {factor} time(s): {why}");
            ApiError::new(codes::INVALID_REPLICATION_FACTOR, message)
        })
    }

    /// Places new partitions.
    pub(super) fn place(
        &self,
        context: &mut Context<'_>,
        count: usize,
        replication_factor: i16,
    ) -> Result<Vec<Partition>, String> {
        let mut placer = Placer::new(self.image().cluster(), context.random);
        placer.check(replication_factor)?;
        let place = |_| {
            let replicas = placer.place(replication_factor, context.random);
            self.new_partition(replicas)
                .ok_or_else(|| "All brokers are currently fenced or in controlled shutdown.".to_owned())
        };
        (0..count).map(place).collect()
    }

    fn assign_new_topic(&self, topic: &CreatableTopic<'_>) -> Result<Vec<Partition>, ApiError> {
        for (field, unset) in [
            ("replication factor", topic.replication_factor == -1),
            ("numPartitions", topic.num_partitions == -1),
        ] {
            if !unset {
                let message =
                    format!("A manual partition assignment was specified, but {field} was not set to -1.");
                return Err(ApiError::new(codes::INVALID_REQUEST, message));
            }
        }
        let invalid = |message: String| ApiError::new(codes::INVALID_REPLICA_ASSIGNMENT, message);
        let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
        let mut factor = None;
        for CreatableReplicaAssignment { partition_index: index, broker_ids } in &topic.assignments {
            if partitions.contains_key(index) {
                return Err(invalid(format!(
                    "Found multiple manual partition assignments for partition {index}"
                )));
            }
            self.check_assignment(broker_ids, factor)?;
            factor = Some(broker_ids.len());
            partitions.insert(*index, self.assigned_partition(*index, broker_ids)?);
        }
        if !partitions.keys().copied().eq(0..partitions.len() as i32) {
            return Err(invalid("partitions should be a consecutive 0-based integer sequence".to_owned()));
        }
        Ok(partitions.into_values().collect())
    }

    /// A partition with replicas as the user wants them.
    pub(super) fn assigned_partition(
        &self,
        index: i32,
        replicas: &[BrokerId],
    ) -> Result<Partition, ApiError> {
        self.new_partition(replicas.to_vec()).ok_or_else(|| {
            let message = format!(
                "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                 controlled shutdown."
            );
            ApiError::new(codes::INVALID_REPLICA_ASSIGNMENT, message)
        })
    }

    /// Checks a manual assignment; `factor` is what the partitions before it have.
    pub(super) fn check_assignment(
        &self,
        replicas: &[BrokerId],
        factor: Option<usize>,
    ) -> Result<(), ApiError> {
        let invalid = |what: String| {
            let message = format!("The manual partition assignment includes {what}");
            Err(ApiError::new(codes::INVALID_REPLICA_ASSIGNMENT, message))
        };
        if replicas.is_empty() {
            return invalid("an empty replica list.".to_owned());
        }
        let mut seen = BTreeSet::new();
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for broker in sorted {
            if self.image().cluster().broker(broker).is_none() {
                return invalid(format!("broker {broker}, but no such broker is registered."));
            }
            if !seen.insert(broker) {
                return invalid(format!("the broker {broker} more than once."));
            }
        }
        match factor {
            Some(factor) if factor != replicas.len() => invalid(format!(
                "a partition with {} replica(s), but this is not consistent with previous partitions, which have \
                 {factor} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }

    /// A new partition, led by the first active replica; `None` if there is none.
    fn new_partition(&self, replicas: Vec<BrokerId>) -> Option<Partition> {
        let cluster = self.image().cluster();
        let isr: Vec<BrokerId> = replicas.iter().copied().filter(|r| cluster.is_active(*r)).collect();
        Some(Partition {
            leader: *isr.first()?,
            directories: replicas.iter().map(|r| cluster.default_directory(*r)).collect(),
            replicas,
            isr,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader_epoch: 0,
            partition_epoch: 0,
            recovering: false,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        })
    }
}

fn check_total_partitions(topics: &[&CreatableTopic<'_>], default_count: i32) -> Result<(), ApiError> {
    let count = |t: &&CreatableTopic<'_>| match (t.assignments.len(), t.num_partitions) {
        (0, -1) => default_count.max(0) as usize,
        (0, count) => count.max(0) as usize,
        (assigned, _) => assigned,
    };
    if topics.iter().map(count).sum::<usize>() > METADATA_RECORDS_PER_REQUEST_MAX {
        let message = "Excessively large number of partitions per request.";
        return Err(ApiError::new(codes::POLICY_VIOLATION, message));
    }
    Ok(())
}

fn echo(context: &Context<'_>, configs: &BTreeMap<String, String>) -> Arc<[ConfigEcho]> {
    let mut entries: Vec<ConfigEcho> = config::describe_topic(context.config, configs)
        .into_iter()
        .map(|e| ConfigEcho {
            name: e.name,
            value: e.value,
            source: e.source.code(),
            is_sensitive: e.sensitive,
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.into()
}

/// The names that exist with '.' and '_' taken as one: metrics cannot tell them apart.
struct Collisions(BTreeMap<String, Text>);

impl Collisions {
    fn new(image: &Image, topics: &[&CreatableTopic<'_>]) -> Collisions {
        if !topics.iter().any(|t| topic_name::has_collision_chars(t.name)) {
            return Collisions(BTreeMap::new());
        }
        let wanted: BTreeSet<String> =
            topics.iter().map(|t| topic_name::unify_collision_chars(t.name)).collect();
        let existing = image.topics().iter().filter(|t| topic_name::has_collision_chars(&t.name));
        let unified = existing.map(|t| (topic_name::unify_collision_chars(&t.name), t.name.clone()));
        Collisions(unified.filter(|(unified, _)| wanted.contains(unified)).collect())
    }

    fn with(&self, name: &str) -> Option<&Text> {
        if !topic_name::has_collision_chars(name) {
            return None;
        }
        self.0.get(&topic_name::unify_collision_chars(name))
    }
}
