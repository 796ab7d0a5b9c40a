//! Bits that flip while no broker runs, in what the broker itself lives by: the metadata log and the groups' offsets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla::base::prng::Prng;
use ottla::io::Files;
use ottla::io::sim::SimDisk;
use ottla::wire::record::{BatchView, Batches, Scratch};

/// A flipped bit.
pub struct Flip {
    pub path: PathBuf,
    pub offset: u64,
    pub mask: u8,
}

impl Flip {
    /// Does it, or takes it back.
    pub fn apply(&self, disk: &SimDisk) {
        disk.flip(&self.path, self.offset, self.mask).expect("a file to flip a bit in");
    }
}

/// A batch in a file: where it is, how long, and its records' keys.
struct Placed {
    at: u64,
    len: u64,
    keys: Vec<Vec<u8>>,
}

fn placed(batch: &BatchView<'_>, at: u64) -> Placed {
    let mut scratch = Scratch::default();
    let records = batch.records(&mut scratch, 1 << 20).expect("records");
    let keys = records.map(|r| r.expect("a record").key.unwrap_or_default().to_vec()).collect();
    Placed { at, len: batch.header().total_bytes() as u64, keys }
}

fn batches(disk: &SimDisk, path: &Path) -> Vec<Placed> {
    let bytes = disk.read(path).expect("a segment");
    let mut at = 0;
    let mut found = Vec::new();
    for batch in Batches::new(&bytes).truncated_tail() {
        let Ok(batch) = batch else { break };
        let batch = placed(&batch, at);
        at += batch.len;
        found.push(batch);
    }
    found
}

/// The newest segment of a partition that is in one of the directories.
fn newest_segment(disk: &SimDisk, dirs: &[PathBuf], partition: &str) -> Option<PathBuf> {
    let dir = dirs.iter().map(|dir| dir.join(partition)).find(|dir| disk.exists(dir))?;
    let names = disk.list(&dir).expect("a directory").into_iter().map(|entry| entry.name);
    let logs = names.filter(|name| Path::new(name).extension().is_some_and(|e| e == "log"));
    Some(dir.join(logs.max()?))
}

fn flip_in(prng: &mut Prng, path: PathBuf, batch: &Placed) -> Flip {
    Flip { path, offset: batch.at + prng.below(batch.len), mask: 1 << prng.below(8) }
}

/// Somewhere in the metadata log, but not in what a stop that was not clean may have torn.
pub fn metadata(disk: &SimDisk, prng: &mut Prng, dirs: &[PathBuf], clean: bool) -> Option<Flip> {
    let path = newest_segment(disk, dirs, "__cluster_metadata-0")?;
    let batches = batches(disk, &path);
    let count = batches.len() - usize::from(!clean && !batches.is_empty());
    let batch = batches[..count].get(prng.below(count as u64) as usize)?;
    Some(flip_in(prng, path, batch))
}

/// Somewhere in the groups' offsets, in a batch all of whose keys have newer values: nothing may be missed.
pub fn offsets(disk: &SimDisk, prng: &mut Prng, dirs: &[PathBuf], partitions: i32) -> Option<Flip> {
    let mut found = Vec::new();
    for partition in 0..partitions {
        let Some(path) = newest_segment(disk, dirs, &format!("__consumer_offsets-{partition}")) else {
            continue;
        };
        let batches = batches(disk, &path);
        let newest: BTreeMap<&Vec<u8>, u64> =
            batches.iter().flat_map(|b| b.keys.iter().map(|key| (key, b.at))).collect();
        let older = batches.iter().filter(|b| b.keys.iter().all(|key| newest[key] > b.at));
        found.extend(older.map(|batch| (path.clone(), batch.at, batch.len)));
    }
    let chosen = prng.below(found.len() as u64) as usize;
    let (path, at, len) = found.into_iter().nth(chosen)?;
    Some(flip_in(prng, path, &Placed { at, len, keys: Vec::new() }))
}

/// What a start that refuses may not change: every name in the log directories, and every byte of the metadata.
pub fn picture(disk: &SimDisk, dirs: &[PathBuf]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut picture = BTreeMap::new();
    for dir in dirs {
        for entry in disk.list(dir).expect("a log directory").into_iter().filter(|e| e.is_dir) {
            let path = dir.join(&entry.name);
            picture.insert(path.clone(), Vec::new());
            if entry.name == "__cluster_metadata-0" {
                for file in disk.list(&path).expect("the metadata's directory") {
                    let file = path.join(&file.name);
                    picture.insert(file.clone(), disk.read(&file).expect("a file"));
                }
            }
        }
    }
    picture
}
