//! CreatePartitions (API 37), as Kafka's `ReplicationControlManager.createPartitions`.

use std::collections::BTreeMap;

use super::super::image::{Partition, Topic};
use super::super::record::MetadataRecord;
use super::{ApiError, Context, Controller, Decision, codes};
use crate::base::limits::METADATA_RECORDS_PER_REQUEST_MAX;
use crate::wire::messages::CreatePartitionsRequest;
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

/// The reply to CreatePartitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreatePartitionsReply {
    /// A result for each topic.
    pub topics: Vec<GrownTopic>,
}

/// What came of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct GrownTopic {
    /// Its name.
    pub name: String,
    /// The error, if any.
    pub error: ApiError,
}

impl CreatePartitionsReply {
    /// The response.
    pub fn to_wire(&self) -> CreatePartitionsResponse<'_> {
        let results = self.topics.iter().map(|t| CreatePartitionsTopicResult {
            name: &t.name,
            error_code: t.error.code,
            error_message: t.error.message.as_deref(),
        });
        CreatePartitionsResponse { throttle_time_ms: 0, results: results.collect() }
    }
}

impl Controller {
    /// Decides on CreatePartitions. A topic fails or succeeds by itself; with `validate_only` nothing is created.
    pub fn create_partitions(
        &self,
        context: &mut Context<'_>,
        request: &CreatePartitionsRequest<'_>,
    ) -> Decision<CreatePartitionsReply> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *seen.entry(topic.name).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut reply = CreatePartitionsReply::default();
        let mut push = |name: &str, error| reply.topics.push(GrownTopic { name: name.to_owned(), error });
        for (name, _) in seen.iter().filter(|(_, count)| **count > 1) {
            push(name, ApiError::new(codes::INVALID_REQUEST, "Duplicate topic name."));
        }
        for topic in request.topics.iter().filter(|t| seen.get(t.name) == Some(&1)) {
            push(topic.name, self.grow_topic(context, topic, &mut records).into());
        }
        if request.validate_only {
            records.clear();
        }
        Decision { records, reply }
    }

    fn grow_topic(
        &self,
        context: &mut Context<'_>,
        request: &CreatePartitionsTopic<'_>,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<(), ApiError> {
        let topic = self.image().topics().get(request.name).ok_or_else(ApiError::unknown_topic)?;
        let additional = additional_partitions(topic, request)?;
        if records.len() + additional > METADATA_RECORDS_PER_REQUEST_MAX {
            let message = "Excessively large number of partitions per request.";
            return Err(ApiError::new(codes::POLICY_VIOLATION, message));
        }
        let first = topic.partitions.len() as i32;
        let factor = topic.partitions.values().next().map_or(1, |p| p.replicas.len());
        let partitions = match &request.assignments {
            Some(assignments) => self.assign_more(first, factor, assignments)?,
            None => self.place(context, additional, factor as i16).map_err(|why| {
                let message = format!("Unable to replicate the partition {factor} time(s): {why}");
                ApiError::new(codes::INVALID_REPLICATION_FACTOR, message)
            })?,
        };
        let numbered = (first..).zip(partitions);
        records.extend(numbered.map(|(number, p)| MetadataRecord::Partition(p.to_record(topic.id, number))));
        Ok(())
    }

    fn assign_more(
        &self,
        first: i32,
        factor: usize,
        assignments: &[CreatePartitionsAssignment],
    ) -> Result<Vec<Partition>, ApiError> {
        let assign = |(number, assignment): (i32, &CreatePartitionsAssignment)| {
            self.check_assignment(&assignment.broker_ids, Some(factor))?;
            self.assigned_partition(number, &assignment.broker_ids)
        };
        (first..).zip(assignments).map(assign).collect()
    }
}

fn additional_partitions(topic: &Topic, request: &CreatePartitionsTopic<'_>) -> Result<usize, ApiError> {
    let (name, wanted, current) = (request.name, request.count, topic.partitions.len());
    let invalid = |message| Err(ApiError::new(codes::INVALID_PARTITIONS, message));
    let additional = match usize::try_from(wanted) {
        Ok(wanted) if wanted == current => {
            return invalid(format!("Topic already has {current} partition(s)."));
        }
        Ok(wanted) if wanted > current => wanted - current,
        _ => {
            return invalid(format!(
                "The topic {name} currently has {current} partition(s); {wanted} would not be an increase."
            ));
        }
    };
    match &request.assignments {
        Some(assignments) if assignments.len() != additional => {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            Err(ApiError::new(codes::INVALID_REPLICA_ASSIGNMENT, message))
        }
        _ => Ok(additional),
    }
}
