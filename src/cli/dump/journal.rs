//! The journals of small appends: Ottla's own files, which hold acknowledged records after a kill.

use super::Soundness;
use crate::base::TopicId;
use crate::io::OsFiles;
use crate::log::journal::inspect::{Batches, Found, inspect};
use crate::log::journal::{Entry, Kind};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// What a journal holds of one partition.
#[derive(Default)]
struct Sum {
    entries: u64,
    records: u64,
    bytes: u64,
    damaged: u64,
    /// The lowest and the highest offset.
    offsets: Option<(i64, i64)>,
}

/// Prints every entry, what is damaged, and what there is of each partition.
pub fn dump(path: &Path, out: &mut impl Write) -> io::Result<Soundness> {
    let mut soundness = Soundness::Sound;
    let mut sums: BTreeMap<(TopicId, i32), Sum> = BTreeMap::new();
    inspect(&OsFiles, path, &mut |found| match found {
        Found::Head(text) => writeln!(out, "{text}"),
        Found::Damaged(text) => {
            soundness = Soundness::Damaged;
            writeln!(out, "damaged: {text}")
        }
        Found::CutOff(text) => {
            writeln!(out, "{text}, or were cut off before they were acknowledged: the last write")
        }
        Found::Entry(entry, batches) => {
            sums.entry((entry.topic_id, entry.partition)).or_default().add(entry, batches);
            writeln!(out, "{}", line(entry, batches))
        }
    })?;
    for ((topic_id, partition), sum) in &sums {
        writeln!(out, "topicId: {topic_id} partition: {partition} {}", sum.line())?;
    }
    Ok(soundness)
}

impl Sum {
    fn add(&mut self, entry: &Entry, batches: Batches) {
        self.entries += 1;
        self.records += batches.records;
        self.bytes += entry.len as u64;
        self.damaged += u64::from(!batches.whole_frame || !batches.are_valid);
        if let Some(base) = batches.base {
            let (low, high) = self.offsets.unwrap_or((base, entry.next));
            self.offsets = Some((low.min(base), high.max(entry.next)));
        }
    }

    fn line(&self) -> String {
        let offsets = match self.offsets {
            Some((low, next)) => format!("baseOffset: {low} lastOffset: {}", next - 1),
            None => "without records".to_owned(),
        };
        let Sum { entries, records, bytes, damaged, .. } = self;
        format!("{offsets} entries: {entries} records: {records} bytes: {bytes} damagedEntries: {damaged}")
    }
}

fn line(entry: &Entry, batches: Batches) -> String {
    let kind = match entry.kind {
        Kind::Append => "append",
        Kind::Truncate => "truncate",
    };
    let base = batches.base.map_or("none".to_owned(), |base| base.to_string());
    format!(
        "kind: {kind} generation: {} topicId: {} partition: {} baseOffset: {base} nextOffset: {} records: {} bytes: {} \
         segment: {} position: {} frameIsWhole: {} isvalid: {}",
        entry.generation,
        entry.topic_id,
        entry.partition,
        entry.next,
        batches.records,
        entry.len,
        entry.segment,
        entry.position,
        batches.whole_frame,
        batches.are_valid
    )
}
