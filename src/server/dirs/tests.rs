//! A cluster ran on three directories; then they are configured in every way that three places can be filled.

use std::collections::BTreeMap;

use super::*;
use crate::base::Uuid;
use crate::log::{checkpoint, names};
use crate::server::format::MetaProperties;

/// What is put in a place of `log.dirs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where the metadata log is.
    Home,
    /// Two others with partitions.
    Second,
    Third,
    /// An empty directory: nothing is mounted there.
    Empty,
    /// Not there at all.
    Absent,
    /// A copy of the second, as a backup makes it.
    Backup,
    /// The second again, with a stale copy of a partition of the third in it.
    Stale,
    /// The third again, with a directory of a partition of the second's name and another topic.
    Namesake,
    /// Of another node of the cluster.
    Foreign,
}

use Place::{Absent, Backup, Empty, Foreign, Home, Namesake, Second, Stale, Third};

const PLACES: [Place; 9] = [Home, Second, Third, Empty, Absent, Backup, Stale, Namesake, Foreign];

fn meta(node_id: BrokerId, directory: u128) -> String {
    let directory_id = Some(Uuid::from_u128(1000 + directory));
    MetaProperties { cluster_id: "the-cluster".to_owned(), node_id, directory_id }.to_text()
}

fn partition(dir: &Path, name: &str, topic: u128) {
    fs::create_dir_all(dir.join(name)).unwrap();
    let metadata = checkpoint::format_partition_metadata(Uuid::from_u128(topic));
    fs::write(dir.join(name).join(names::PARTITION_METADATA), metadata).unwrap();
}

fn fill(dir: &Path, place: Place) {
    if place == Absent {
        return;
    }
    fs::create_dir_all(dir).unwrap();
    let formatted = |node, id| fs::write(dir.join(META_PROPERTIES), meta(node, id)).unwrap();
    match place {
        Empty | Absent => {}
        Home => {
            formatted(1, 1);
            partition(dir, METADATA_LOG, 1);
            partition(dir, "t-0", 500);
        }
        Second | Backup | Stale => {
            formatted(1, 2);
            partition(dir, "t-1", 500);
            if place == Stale {
                partition(dir, "t-2", 500);
            }
        }
        Third | Namesake => {
            formatted(1, 3);
            partition(dir, "t-2", 500);
            if place == Namesake {
                partition(dir, "t-1", 600);
            }
        }
        Foreign => {
            formatted(2, 4);
            partition(dir, "t-3", 500);
        }
    }
}

/// Every path below a directory and what is in it.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            if path.is_dir() {
                left.push(path.clone());
            }
            all.insert(path, bytes);
        }
    }
    all
}

/// What is right, without looking at how it is decided.
fn right(places: &[Place], home: Option<usize>) -> Right {
    let count = |of: &[Place]| places.iter().filter(|p| of.contains(p)).count();
    let none = count(&[Empty, Absent]);
    let in_place = places.iter().position(|p| *p == Home) == home.or(Some(0)) && count(&[Home]) == 1;
    if none == places.len() {
        Right::New
    } else if in_place
        && none == 0
        && count(&[Foreign]) == 0
        && count(&[Second, Backup, Stale]) <= 1
        && count(&[Third, Namesake]) <= 1
        && (count(&[Stale]) == 0 || count(&[Third, Namesake]) == 0)
    {
        Right::Serve
    } else {
        Right::Refuse
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    New,
    Serve,
    Refuse,
}

fn asked<'a>(log_dirs: &'a [PathBuf], metadata_dir: &'a Path) -> Asked<'a> {
    Asked { log_dirs, metadata_dir, node_id: 1, cluster_id: None, format_command: "ottla format --x" }
}

/// With `log.dirs` in another order, one of them empty, or a stale copy of a partition in two, an empty or older cluster
/// started, partitions were renamed to `-stray` or began again at offset 0, and putting the directories back did not bring
/// everything back. All ways of filling up to three places, and each of them as the metadata directory.
#[test]
fn every_way_to_fill_the_places_is_served_whole_or_refused_untouched() {
    let mut all: Vec<Vec<Place>> = Vec::new();
    for a in PLACES {
        all.push(vec![a]);
        for b in PLACES {
            all.push(vec![a, b]);
            let three = PLACES.into_iter().map(|c| vec![a, b, c]);
            // A third place that is not there is refused as an empty one is: pairs are enough for it.
            all.extend(three.filter(|places| !places.contains(&Absent) && !places.contains(&Foreign)));
        }
    }
    let root = tempfile::tempdir().unwrap();
    for (number, places) in all.iter().enumerate() {
        for home in [None, Some(places.len() - 1)] {
            let top = root.path().join(format!("{number}-{home:?}"));
            fs::create_dir_all(&top).unwrap();
            let dirs: Vec<PathBuf> = (0..places.len()).map(|i| top.join(["x", "y", "z"][i])).collect();
            for (dir, place) in dirs.iter().zip(places) {
                fill(dir, *place);
            }
            let before = tree(&top);
            let want = right(places, home);
            let got = take(asked(&dirs, &dirs[home.unwrap_or(0)]));
            let context = format!("{places:?}, metadata in {home:?}: {got:?}");
            match (&got, want) {
                (Ok(dirs), Right::Serve) => assert_eq!(dirs.cluster_id, "the-cluster", "{context}"),
                (Ok(dirs), Right::New) => assert_ne!(dirs.cluster_id, "the-cluster", "{context}"),
                (Err(error), Right::Refuse) => {
                    assert!(matches!(error, ServeError::Data(_)), "{context}");
                    let text = error.to_string();
                    assert!(text.contains(&top.display().to_string()), "names no directory: {context}");
                    assert_eq!(tree(&top), before, "something was written: {context}");
                }
                _ => panic!("{want:?} is right: {context}"),
            }
        }
    }
}

/// A journal that was set aside in each of two directories was taken for a partition that stood in both.
#[test]
fn a_file_is_no_partition() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    fill(&dirs[0], Home);
    fill(&dirs[1], Second);
    for dir in &dirs {
        fs::write(dir.join("ottla-journal-0.flushed.aside-1"), [0; 10]).unwrap();
    }
    assert_eq!(take(asked(&dirs, &dirs[0])).unwrap().cluster_id, "the-cluster");
}

#[test]
fn an_added_directory_is_formatted_by_hand_and_a_first_start_that_was_killed_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    fill(&dirs[0], Home);
    let refused = take(asked(&dirs, &dirs[0])).unwrap_err().to_string();
    assert!(
        refused.contains("/b has no meta.properties") && refused.contains("ottla format --x"),
        "{refused}"
    );
    let fresh = [root.path().join("c"), root.path().join("d")];
    let first = take(asked(&fresh, &fresh[0])).unwrap();
    fs::remove_file(fresh[1].join(META_PROPERTIES)).unwrap();
    drop(first.locks);
    let second = take(asked(&fresh, &fresh[0])).unwrap();
    assert_eq!((second.cluster_id, second.directory_ids[0]), (first.cluster_id, first.directory_ids[0]));
    let again = take(asked(&fresh, &fresh[0])).unwrap_err();
    assert!(matches!(&again, ServeError::Environment(text) if text.contains("another broker")), "{again}");
}

#[test]
fn a_directory_of_its_own_for_the_metadata() {
    let root = tempfile::tempdir().unwrap();
    let (home, dirs) = (root.path().join("m"), [root.path().join("a"), root.path().join("b")]);
    let taken = take(asked(&dirs, &home)).unwrap();
    assert_eq!((taken.directory_ids.len(), taken.locks.len()), (2, 3));
    assert!(!taken.directory_ids.contains(&taken.metadata_directory_id));
    drop(taken.locks);
    partition(&home, METADATA_LOG, 1);
    assert_eq!(take(asked(&dirs, &home)).unwrap().metadata_directory_id, taken.metadata_directory_id);
    let refused = take(asked(&dirs, &dirs[0])).map(|_| ());
    assert!(refused.is_ok(), "nothing says yet that the cluster was used: {refused:?}");
    fs::write(dirs[1].join(names::RECOVERY_POINT_CHECKPOINT), "0\n0\n").unwrap();
    let refused = take(asked(&dirs, &dirs[0])).unwrap_err().to_string();
    assert!(refused.contains("metadata.log.dir") && refused.contains("/b"), "{refused}");
}

#[test]
fn two_names_of_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let (dir, link) = (root.path().join("a"), root.path().join("link"));
    fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    for other in [dir.clone(), link, root.path().join("a/")] {
        let dirs = [dir.clone(), other];
        let error = take(asked(&dirs, &dirs[0])).unwrap_err();
        assert!(matches!(&error, ServeError::Config(text) if text.contains("twice")), "{error}");
    }
}
