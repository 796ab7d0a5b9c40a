//! DescribeLogDirs (key 35), versions 1 to 5: KIP-113, KIP-827 (sizes of the volumes).

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::REQUEST_TIMEOUT_MS;
use crate::shard::{Done, Job, PartitionKey, PartitionSize};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::scatter::ask_all;
use super::{deadline, reply, topics};

struct LogDirs {
    version: i16,
    sizes: Vec<PartitionSize>,
    outstanding: usize,
}

/// Serves a DescribeLogDirs request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let message: DescribeLogDirsRequest<'_> = decode_request(&request.body, request.api_version)?;
    let keys: Option<Vec<PartitionKey>> = message.topics.as_ref().map(|asked| {
        let all = asked.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic, *p)));
        // One that is named twice is told of once.
        let found: BTreeSet<PartitionKey> =
            all.filter_map(|(topic, p)| topics::find_partition(cx.image, topic, p).ok()).collect();
        found.into_iter().collect()
    });
    let id = cx.open();
    ask_all(cx, id, || Job::Sizes(keys.clone()));
    let waiting = LogDirs { version: request.api_version, sizes: Vec::new(), outstanding: cx.shards };
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting: Box::new(waiting) }))
}

impl Waiting for LogDirs {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        if let Done::Sizes(sizes) = done {
            self.sizes.extend(sizes);
        }
        self.outstanding -= 1;
        if self.outstanding > 0 { Step::Wait } else { Step::Finish(self.finish(cx)) }
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        let error_code = ErrorCode::REQUEST_TIMED_OUT.code();
        Step::Finish(reply(&DescribeLogDirsResponse { error_code, ..Default::default() }, self.version))
    }
}

impl LogDirs {
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let mut results = Vec::new();
        for (index, dir) in cx.node.log_dirs.iter().enumerate() {
            let mut by_topic: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
            for size in self.sizes.iter().filter(|s| s.log_dir as usize == index) {
                let Some(topic) = cx.image.topics().get_by_id(size.key.topic_id) else { continue };
                by_topic.entry(&topic.name).or_default().push(DescribeLogDirsPartition {
                    partition_index: size.key.partition,
                    partition_size: size.size_bytes as i64,
                    offset_lag: 0,
                    is_future_key: false,
                });
            }
            let (total_bytes, usable_bytes) = (cx.volume)(dir).unwrap_or((-1, -1));
            results.push(DescribeLogDirsResult {
                log_dir: dir,
                topics: by_topic
                    .into_iter()
                    .map(|(name, mut partitions)| {
                        partitions.sort_by_key(|p| p.partition_index);
                        DescribeLogDirsTopic { name, partitions }
                    })
                    .collect(),
                total_bytes,
                usable_bytes,
                ..Default::default()
            });
        }
        reply(&DescribeLogDirsResponse { results, ..Default::default() }, self.version)
    }
}
