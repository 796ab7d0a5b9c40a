//! DescribeLogDirs (key 35), versions 1 to 5: KIP-113, KIP-827 (sizes of the volumes).

use std::collections::BTreeMap;

use crate::base::limits::{PARTITIONS_LISTED_SMALL_MAX, REQUEST_TIMEOUT_MS};
use crate::meta::image::Image;
use crate::shard::{Done, Job, PartitionKey, PartitionSize};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::apart::apart;
use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting, Written};
use super::scatter::ask_all;
use super::{deadline, reply, topics, write};

/// Serves a DescribeLogDirs request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    let read = move || read(&body, version, &image);
    apart(cx, request.is_large(), read, move |cx, keys| {
        let id = cx.open();
        let shards = cx.shards;
        ask_all(cx, id, |shard| {
            let own = |keys: &Vec<PartitionKey>| -> Vec<PartitionKey> {
                keys.iter().copied().filter(|key| key.owner(shards) == shard).collect()
            };
            Job::Sizes(keys.as_ref().map(own))
        });
        let waiting = Box::new(Gather { version, sizes: Vec::new(), outstanding: cx.shards });
        Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting })
    })
}

/// The partitions that are asked about, each once; None for all.
fn read(body: &Body, version: i16, image: &Image) -> Result<Option<Vec<PartitionKey>>, DecodeError> {
    let message: DescribeLogDirsRequest<'_> = body.decode(version)?;
    Ok(message.topics.as_ref().map(|asked| {
        let all = asked.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic, *p)));
        let mut found: Vec<PartitionKey> =
            all.filter_map(|(topic, p)| topics::find_partition(image, topic, p).ok()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }))
}

struct Gather {
    version: i16,
    sizes: Vec<PartitionSize>,
    outstanding: usize,
}

impl Waiting for Gather {
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

impl Gather {
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let (image, version) = (cx.image.clone(), self.version);
        let volume = |dir: &String| (dir.clone(), (cx.volume)(dir).unwrap_or((-1, -1)));
        let dirs: Vec<Dir> = cx.node.log_dirs.iter().map(volume).collect();
        let sizes = std::mem::take(&mut self.sizes);
        let many = sizes.len() > PARTITIONS_LISTED_SMALL_MAX;
        let written = apart(
            cx,
            many,
            move || Ok(describe(&image, &dirs, &sizes, version)),
            |_, written: Written| written.into(),
        );
        written.unwrap_or(Outcome::Close("a response could not be written"))
    }
}

/// A log directory, and its volume's total and usable bytes.
type Dir = (String, (i64, i64));

fn describe(image: &Image, dirs: &[Dir], sizes: &[PartitionSize], version: i16) -> Written {
    let mut results = Vec::new();
    for (index, (dir, (total_bytes, usable_bytes))) in dirs.iter().enumerate() {
        let mut by_topic: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for size in sizes.iter().filter(|s| s.log_dir as usize == index) {
            let Some(topic) = image.topics().get_by_id(size.key.topic_id) else { continue };
            by_topic.entry(&topic.name).or_default().push(DescribeLogDirsPartition {
                partition_index: size.key.partition,
                partition_size: size.size_bytes as i64,
                offset_lag: 0,
                is_future_key: false,
            });
        }
        results.push(DescribeLogDirsResult {
            log_dir: dir,
            topics: by_topic
                .into_iter()
                .map(|(name, mut partitions)| {
                    partitions.sort_by_key(|p| p.partition_index);
                    DescribeLogDirsTopic { name, partitions }
                })
                .collect(),
            total_bytes: *total_bytes,
            usable_bytes: *usable_bytes,
            ..Default::default()
        });
    }
    write(&DescribeLogDirsResponse { results, ..Default::default() }, version)
}
