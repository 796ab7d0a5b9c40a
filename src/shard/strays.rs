//! Directories in the log directories that no partition of this broker owns: found at start, set aside, never used.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::base::{BrokerId, DirectoryId, TopicId, TopicPartition};
use crate::io::Files;
use crate::log::checkpoint::Content;
use crate::log::names::{DirKind, parse_dir_name};
use crate::log::retire::{resembles_id, retire, suffix, topic_id_of};
use crate::meta::image::{Image, directory_is_reserved};

use super::checkpoints::CheckpointBook;

/// Kafka's name for the topic of the metadata log, which is in no image.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// What the log directories hold, as far as the metadata has a say in it. Nothing is renamed while it is made.
#[derive(Debug, Default)]
pub struct Survey {
    /// Of deletions that were not finished.
    unfinished: Vec<PathBuf>,
    /// Not in the image: by name, and by the topic that the directory says it is of.
    strays: Vec<(TopicPartition, PathBuf)>,
    /// In the image by name.
    known: BTreeMap<TopicPartition, PathBuf>,
}

/// Looks at all directories. Blocks.
///
/// # Errors
/// A directory that cannot be listed.
pub fn survey(files: &dyn Files, dirs: &[PathBuf], image: &Image, node_id: BrokerId) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for log_dir in dirs {
        for entry in files.list(log_dir)?.into_iter().filter(|entry| entry.is_dir) {
            let path = log_dir.join(&entry.name);
            match parse_dir_name(&entry.name) {
                DirKind::Delete => survey.unfinished.push(path),
                // Whether one that is known by name is really this topic's shows when it is opened.
                DirKind::Partition(name) if is_ours(image, node_id, &name, TopicId::ZERO) => {
                    survey.known.insert(name, path);
                }
                DirKind::Partition(name) if *name.topic != *METADATA_TOPIC => {
                    survey.strays.push((name, path));
                }
                DirKind::Partition(_) | DirKind::Stray | DirKind::Future | DirKind::Other => {}
            }
        }
    }
    Ok(survey)
}

impl Survey {
    /// Whether every partition that is missing may be made anew: it was committed and the process ended before its
    /// directory was made. It may not if it can be in a directory that is not configured any more.
    ///
    /// # Errors
    /// In words.
    pub fn check_complete(
        &self,
        image: &Image,
        node_id: BrokerId,
        ids: &[DirectoryId],
    ) -> Result<(), String> {
        let registered = image.cluster().broker(node_id).map_or(&[][..], |b| b.log_dirs.as_slice());
        let gone = registered.iter().find(|id| is_elsewhere(**id, ids));
        let mut missing: BTreeMap<DirectoryId, Vec<TopicPartition>> = BTreeMap::new();
        for topic in image.topics().iter() {
            for (number, partition) in &topic.partitions {
                let Some(at) = partition.replicas.iter().position(|r| *r == node_id) else { continue };
                let assigned = partition.directories.get(at).filter(|id| !directory_is_reserved(**id));
                let place = assigned.map_or(gone, |id| is_elsewhere(*id, ids).then_some(id));
                let Some(place) = place else { continue };
                let name = TopicPartition::new(&*topic.name, *number);
                if !self.known.contains_key(&name) {
                    missing.entry(*place).or_default().push(name);
                }
            }
        }
        let Some((id, names)) = missing.first_key_value() else { return Ok(()) };
        Err(format!(
            "{} partitions ({}{}) are in none of the log directories: they were in the one whose meta.properties has \
             directory.id={id}, which is not configured; add it to log.dirs again. If its disk is lost for good, add an \
             empty directory in its place with `ottla format --ignore-formatted --directory-id {id}` and the same \
             configuration: the partitions then begin anew, empty",
            names.len(),
            names[0],
            if names.len() > 1 { ", ..." } else { "" },
        ))
    }

    /// Renames what is not in the image to `-stray` (`LogManager.isStrayReplica`), with a warning, and gives the
    /// directories of deletions that were not finished. What cannot be renamed stays, named: nobody uses it. Blocks.
    pub fn set_strays_aside(
        self,
        files: &dyn Files,
        image: &Image,
        node_id: BrokerId,
        book: &CheckpointBook,
    ) -> Vec<PathBuf> {
        for (name, path) in self.strays {
            let mut id = TopicId::ZERO;
            let is_stray = |said: &Content<TopicId>| {
                id = named(said);
                !is_ours(image, node_id, &name, id)
            };
            // The topic is only known once the directory was looked into.
            let retired = topic_id_of(files, &path)
                .and_then(|said| retire(files, &path, &suffix(named(&said), "stray"), is_stray));
            match retired {
                Ok(None) => continue,
                Ok(Some(stray)) => {
                    tracing::warn!(partition = %name, topic_id = %id, path = %stray.display(), "no such partition is in the metadata: its directory was set aside; remove it when nothing in it is wanted");
                }
                Err(error) => {
                    tracing::error!(%error, partition = %name, path = %path.display(), "no such partition is in the metadata, and its directory cannot be set aside: it stays where it is and is not used; move or remove it");
                }
            }
            book.distrust(&name);
        }
        self.unfinished
    }
}

/// The topic that a directory names; zero for one that names none, which goes by its name.
fn named(said: &Content<TopicId>) -> TopicId {
    match said {
        Content::Whole(id) => *id,
        Content::Absent | Content::Damaged(_) => TopicId::ZERO,
    }
}

/// Whether a directory's id is of none of the configured ones.
fn is_elsewhere(id: DirectoryId, configured: &[DirectoryId]) -> bool {
    !directory_is_reserved(id) && !configured.contains(&id)
}

/// Whether the image gives this broker the partition. A directory that does not name its topic's id goes by its name.
fn is_ours(image: &Image, node_id: BrokerId, name: &TopicPartition, id: TopicId) -> bool {
    let topics = image.topics();
    // A flipped bit makes another id of it, which no topic has.
    let nearly = || topics.get(&name.topic).filter(|topic| resembles_id(id, topic.id));
    let topic = if id.is_zero() { topics.get(&name.topic) } else { topics.get_by_id(id).or_else(nearly) };
    let partition = topic.filter(|t| *t.name == *name.topic).and_then(|t| t.partitions.get(&name.partition));
    partition.is_some_and(|p| p.replicas.contains(&node_id))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::Uuid;
    use crate::io::sim::{DiskFault, DiskOp, Sim, SimConfig};
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
        let set_aside = || survey(files, &dirs, &image, 1).unwrap().set_strays_aside(files, &image, 1, &book);
        let unfinished = set_aside();
        assert_eq!(unfinished, [dirs[0].join("x-0.00000000000000000000000000000007-delete")]);
        let left: Vec<String> = files.list(&dirs[0]).unwrap().into_iter().map(|e| e.name).collect();
        let stray = "gone-0.00000000000000000000000000000007-stray".to_owned();
        assert!(left.contains(&stray) && !left.contains(&"gone-0".to_owned()), "{left:?}");
        assert!(left.contains(&"__cluster_metadata-0".to_owned()), "{left:?}");
        assert_eq!(set_aside(), unfinished, "nothing more to set aside");
    }

    /// One directory that could not be renamed ended every start.
    #[test]
    fn a_stray_that_cannot_be_renamed_is_passed_over() {
        let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
        let files = sim.disk();
        let dirs = [PathBuf::from("/data")];
        for name in ["a-0", "b-0"] {
            files.create_dir_all(&dirs[0].join(name)).unwrap();
        }
        files.fail(DiskFault {
            path_contains: "a-0".into(),
            op: DiskOp::Rename,
            errno: libc::EACCES,
            skip: 0,
            times: u32::MAX,
        });
        let image = Image::empty("cluster");
        let read = Checkpoints::read(files, &dirs).unwrap();
        let book = CheckpointBook::new(files, &dirs, &read, &image, (1, Uuid::ONE));
        let survey = survey(files, &dirs, &image, 1).unwrap();
        assert_eq!(survey.set_strays_aside(files, &image, 1, &book), [] as [PathBuf; 0]);
        let left: Vec<String> = files.list(&dirs[0]).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(left, ["a-0", "b-0.00000000000000000000000000000000-stray"]);
    }

    /// A log directory was left out of `log.dirs`: its partitions were made anew, empty, in the others.
    #[test]
    fn a_partition_is_only_made_anew_if_it_can_be_nowhere_else() {
        let (here, other, new) = (Uuid::from_u128(1001), Uuid::from_u128(1002), Uuid::from_u128(1003));
        let unassigned = Uuid::ONE;
        // Registered with, assigned to, found by name, configured with; whether the start is right.
        let table = [
            (vec![here], here, true, vec![here], true),
            (vec![here], here, false, vec![here], true),
            (vec![here, other], unassigned, true, vec![here], true),
            (vec![here, other], unassigned, false, vec![here, other], true),
            (vec![here, other], unassigned, false, vec![here], false),
            (vec![here, other], unassigned, false, vec![here, new], false),
            (vec![here, other], other, false, vec![here, new], false),
            (vec![here], other, false, vec![here], false),
            (vec![here], other, true, vec![here], true),
            (vec![here, other], here, false, vec![here], true),
            (vec![], unassigned, false, vec![here], true),
        ];
        for (registered, assigned, found, configured, right) in table {
            let image = image(&registered, assigned);
            let mut survey = Survey::default();
            if found {
                survey.known.insert(TopicPartition::new("t", 0), PathBuf::from("/a/t-0"));
            }
            let checked = survey.check_complete(&image, 1, &configured);
            assert_eq!(
                checked.is_ok(),
                right,
                "{registered:?} {assigned} {found} {configured:?}: {checked:?}"
            );
            if let Err(text) = checked {
                assert!(text.contains("t-0") && text.contains(&other.to_string()), "{text}");
            }
        }
    }

    fn image(registered: &[DirectoryId], assigned: DirectoryId) -> Image {
        use crate::meta::image::Delta;
        use crate::meta::record::{MetadataRecord, RegisterBrokerRecord, TopicRecord, samples};

        let topic_id = Uuid::from_u128(77);
        let records = [
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: 1,
                is_migrating_zk_broker: false,
                incarnation_id: Uuid::ONE,
                broker_epoch: 1,
                end_points: Vec::new(),
                features: Vec::new(),
                rack: None,
                fenced: false,
                in_controlled_shutdown: false,
                log_dirs: registered.to_vec(),
                cordoned_log_dirs: None,
            }),
            MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id }),
            samples::partition(topic_id, 0, &[1], &[assigned]),
        ];
        let mut image = Image::empty("cluster");
        for record in records {
            image.apply(&record, &mut Delta::default()).unwrap();
        }
        image
    }
}
