//! Directories in the log directories that no partition of this broker owns: found at start, set aside, never used.

use std::io;
use std::path::PathBuf;

use crate::base::{BrokerId, TopicId, TopicPartition};
use crate::io::Files;
use crate::log::names::{DirKind, parse_dir_name};
use crate::log::retire::{retire, suffix};
use crate::meta::image::Image;

use super::checkpoints::CheckpointBook;

/// Kafka's name for the topic of the metadata log, which is in no image.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Renames what is not in the image to `-stray` (`LogManager.isStrayReplica`), with a warning, and gives the directories
/// of deletions that were not finished. Blocks.
///
/// # Errors
/// A directory that cannot be listed or renamed.
pub fn sort_out(
    files: &dyn Files,
    dirs: &[PathBuf],
    image: &Image,
    node_id: BrokerId,
    book: &CheckpointBook,
) -> io::Result<Vec<PathBuf>> {
    let mut unfinished = Vec::new();
    for log_dir in dirs {
        for entry in files.list(log_dir)?.into_iter().filter(|entry| entry.is_dir) {
            let path = log_dir.join(&entry.name);
            match parse_dir_name(&entry.name) {
                DirKind::Delete => unfinished.push(path),
                // Whether one that is known by name is really this topic's shows when it is opened.
                DirKind::Partition(name) if is_ours(image, node_id, &name, TopicId::ZERO) => {}
                DirKind::Partition(name) if *name.topic != *METADATA_TOPIC => {
                    let mut id = TopicId::ZERO;
                    let is_stray = |found: Option<TopicId>| {
                        id = found.unwrap_or_default();
                        !is_ours(image, node_id, &name, id)
                    };
                    // The topic is only known once the directory was looked into.
                    let unique =
                        suffix(crate::log::retire::topic_id_of(files, &path).unwrap_or_default(), "stray");
                    if let Some(stray) = retire(files, &path, &unique, is_stray)? {
                        book.distrust(&name);
                        tracing::warn!(partition = %name, topic_id = %id, path = %stray.display(), "no such partition is in the metadata: its directory was set aside; remove it when nothing in it is wanted");
                    }
                }
                DirKind::Partition(_) | DirKind::Stray | DirKind::Future | DirKind::Other => {}
            }
        }
    }
    Ok(unfinished)
}

/// Whether the image gives this broker the partition. A directory that does not name its topic's id goes by its name.
fn is_ours(image: &Image, node_id: BrokerId, name: &TopicPartition, id: TopicId) -> bool {
    let topics = image.topics();
    let topic = if id.is_zero() { topics.get(&name.topic) } else { topics.get_by_id(id) };
    let partition = topic.filter(|t| *t.name == *name.topic).and_then(|t| t.partitions.get(&name.partition));
    partition.is_some_and(|p| p.replicas.contains(&node_id))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::Uuid;
    use crate::io::sim::{Sim, SimConfig};
    use crate::log::{checkpoint, names};
    use crate::shard::checkpoints::Checkpoints;

    #[test]
    fn what_the_image_does_not_know_is_set_aside() {
        let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
        let files = sim.disk();
        let id = Uuid::from_u128(7);
        for dir in
            ["gone-0", "__cluster_metadata-0", "x-0.00000000000000000000000000000007-delete", "lost+found"]
        {
            let dir = Path::new("/data").join(dir);
            files.create_dir_all(&dir).unwrap();
            let metadata = checkpoint::format_partition_metadata(id);
            files.write_atomic(&dir.join(names::PARTITION_METADATA), &metadata).unwrap();
        }
        let dirs = [PathBuf::from("/data")];
        let image = Image::empty("cluster");
        let read = Checkpoints::read(files, &dirs).unwrap();
        let book = CheckpointBook::new(files, &dirs, &read, &image, (1, Uuid::ONE));
        let unfinished = sort_out(files, &dirs, &image, 1, &book).unwrap();
        assert_eq!(unfinished, [dirs[0].join("x-0.00000000000000000000000000000007-delete")]);
        let left: Vec<String> = files.list(&dirs[0]).unwrap().into_iter().map(|e| e.name).collect();
        let stray = "gone-0.00000000000000000000000000000007-stray".to_owned();
        assert!(left.contains(&stray) && !left.contains(&"gone-0".to_owned()), "{left:?}");
        assert!(left.contains(&"__cluster_metadata-0".to_owned()), "{left:?}");
        assert_eq!(
            sort_out(files, &dirs, &image, 1, &book).unwrap(),
            unfinished,
            "nothing more to set aside"
        );
    }
}
