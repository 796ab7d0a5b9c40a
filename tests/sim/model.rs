//! What must hold, whatever happens: the memory of everything that was acknowledged and shown.

use std::collections::{BTreeMap, BTreeSet};

use ottla::base::Uuid;
use ottla::wire::record::{Batches, Scratch};

/// A partition of one of the run's topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub topic: String,
    pub partition: i32,
}

/// What is known about a partition.
#[derive(Default)]
pub struct Log {
    /// One offset, one value.
    at: BTreeMap<i64, String>,
    /// One value, one offset.
    offsets: BTreeMap<String, i64>,
    /// Acknowledged, at an offset, or at one that was not told.
    acked: BTreeMap<String, Option<i64>>,
    sent: BTreeSet<String>,
    high_watermark: i64,
    first: i64,
    /// Up to here records may have been deleted.
    deletable: i64,
}

/// The number of the last acknowledged commit, and what was sent since, with numbers.
struct Commits {
    last: u64,
    sent: Vec<(u64, i64)>,
}

impl Default for Commits {
    fn default() -> Self {
        Commits { last: 0, sent: vec![(0, -1)] }
    }
}

/// A topic of the run.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub partitions: i32,
    /// Acknowledged means flushed.
    pub durable: bool,
    /// Retention may delete whatever it likes.
    pub retained: bool,
}

/// The bounds of each partition: high watermark, log start.
pub type Floor = BTreeMap<Part, (i64, i64)>;

/// Everything that was promised.
#[derive(Default)]
pub struct Model {
    pub topics: Vec<Topic>,
    logs: BTreeMap<Part, Log>,
    commits: BTreeMap<(String, Part), Commits>,
    last_commit: u64,
    /// What leaders gave to members.
    assignments: BTreeMap<(String, i32, String), Vec<Vec<u8>>>,
    pub offsets_durable: bool,
    pub power_was_cut: bool,
    /// Things that happened, so that a run can be seen to have tested something.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Part {
    pub fn new(topic: &str, partition: i32) -> Part {
        Part { topic: topic.to_owned(), partition }
    }
}

impl Model {
    pub fn new(offsets_durable: bool) -> Model {
        Model { offsets_durable, ..Model::default() }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn topic(&self, name: &str) -> &Topic {
        self.topics.iter().find(|t| t.name == name).expect("a topic of the run")
    }

    pub fn by_id(&self, id: Uuid) -> &Topic {
        self.topics.iter().find(|t| t.id == id).expect("an id of a topic of the run")
    }

    pub fn parts(&self) -> Vec<Part> {
        self.topics.iter().flat_map(|t| (0..t.partitions).map(|p| Part::new(&t.name, p))).collect()
    }

    fn log(&mut self, part: &Part) -> &mut Log {
        self.logs.entry(part.clone()).or_default()
    }

    pub fn sent(&mut self, part: &Part, value: &str) {
        self.log(part).sent.insert(value.to_owned());
    }

    pub fn acked(&mut self, part: &Part, base: Option<i64>, values: &[String]) {
        self.count("batches acknowledged");
        for (i, value) in values.iter().enumerate() {
            let offset = base.map(|b| b + i as i64);
            if let Some(offset) = offset {
                self.place(part, offset, value);
            }
            self.log(part).acked.insert(value.clone(), offset);
        }
    }

    /// One offset has one value, and one value one offset (A3, A4).
    fn place(&mut self, part: &Part, offset: i64, value: &str) {
        let log = self.log(part);
        assert!(log.sent.contains(value), "{part:?} offset {offset}: {value:?} was never sent there");
        if let Some(before) = log.at.insert(offset, value.to_owned()) {
            assert!(before == value, "{part:?} offset {offset} was {before:?} and is now {value:?}");
        }
        if let Some(before) = log.offsets.insert(value.to_owned(), offset) {
            assert!(before == offset, "{part:?}: {value:?} is at {before} and at {offset}");
        }
    }

    /// What was known of all bounds when something is asked: the answer must not be behind it. (Answers of two
    /// connections may overtake each other.)
    pub fn floor(&self) -> Floor {
        self.logs.iter().map(|(part, log)| (part.clone(), (log.high_watermark, log.first))).collect()
    }

    /// What an answer has shown: bounds never go back (A21). `None` is what it does not tell.
    pub fn shown(&mut self, part: &Part, floor: &Floor, high_watermark: Option<i64>, log_start: Option<i64>) {
        let retained = self.topic(&part.topic).retained;
        let log = self.log(part);
        let (before, start) = floor.get(part).copied().unwrap_or_default();
        if let Some(end) = high_watermark {
            assert!(end >= before, "{part:?}: the high watermark went back from {before} to {end}");
            log.high_watermark = log.high_watermark.max(end);
        }
        if let Some(now) = log_start.filter(|s| *s >= 0) {
            assert!(now >= start, "{part:?}: the log start went back from {start} to {now}");
            let asked = if retained { i64::MAX } else { log.deletable };
            assert!(now <= asked, "{part:?}: records before {now} were deleted, {asked} was asked");
            log.first = log.first.max(now);
        }
    }

    /// Records fetched from `offset` on: without gaps (A8). Gives the next offset.
    pub fn fetched(&mut self, part: &Part, mut offset: i64, bytes: &[u8]) -> i64 {
        let mut scratch = Scratch::default();
        for batch in Batches::new(bytes).truncated_tail() {
            let batch = batch.unwrap_or_else(|e| panic!("{part:?}: a fetched batch: {e}"));
            let base = batch.header().base_offset;
            assert!(base <= offset, "{part:?}: {offset} was asked, the next record is {base}");
            for record in batch.records(&mut scratch, 1 << 30).expect("records") {
                let record = record.expect("a record");
                let at = base + i64::from(record.offset_delta);
                let value = name_of(record.value.expect("a value"));
                self.place(part, at, &value);
                if at >= offset {
                    assert_eq!(at, offset, "{part:?}: a gap");
                    offset += 1;
                    self.count("records fetched");
                }
            }
        }
        offset
    }

    pub fn high_watermark(&mut self, part: &Part) -> i64 {
        self.log(part).high_watermark
    }

    pub fn deletable(&mut self, part: &Part) -> i64 {
        if self.topic(&part.topic).retained { i64::MAX } else { self.log(part).deletable }
    }

    pub fn log_start(&mut self, part: &Part) -> i64 {
        self.log(part).first
    }

    pub fn may_delete(&mut self, part: &Part, before: i64) {
        let log = self.log(part);
        log.deletable = log.deletable.max(before);
    }

    pub fn deleted(&mut self, part: &Part, low_watermark: i64) {
        let asked = self.deletable(part);
        assert!(low_watermark <= asked, "{part:?}: more was deleted than asked");
        let log = self.log(part);
        assert!(
            low_watermark >= log.first,
            "{part:?}: DeleteRecords answers {low_watermark}, {} before",
            log.first
        );
        log.first = log.first.max(low_watermark);
        self.count("records deleted");
    }

    /// Gives the commit's number.
    pub fn committing(&mut self, group: &str, part: &Part, offset: i64) -> u64 {
        self.last_commit += 1;
        let number = self.last_commit;
        let entry = self.commits.entry((group.to_owned(), part.clone())).or_default();
        entry.sent.push((number, offset));
        number
    }

    pub fn committed(&mut self, group: &str, part: &Part, number: u64) {
        self.count("commits acknowledged");
        let entry = self.commits.entry((group.to_owned(), part.clone())).or_default();
        entry.last = entry.last.max(number);
    }

    /// The number of the last acknowledged commit, to be taken when a group's commits are asked for.
    pub fn commit_floor(&mut self, group: &str, part: &Part) -> u64 {
        self.commits.entry((group.to_owned(), part.clone())).or_default().last
    }

    /// What a group was told of its commit: the last that was acknowledged when it asked, or a later one (A20).
    pub fn told_committed(&mut self, group: &str, part: &Part, floor: u64, offset: i64) {
        self.count("commits read");
        let entry = self.commits.entry((group.to_owned(), part.clone())).or_default();
        let since: Vec<_> = entry.sent.iter().filter(|(n, _)| *n >= floor).collect();
        assert!(
            since.iter().any(|(_, o)| *o == offset),
            "{group} {part:?}: {offset} is committed, but the last acknowledged and later ones are {since:?}"
        );
    }

    pub fn assigned(&mut self, group: &str, generation: i32, member: &str, share: &[u8]) {
        let key = (group.to_owned(), generation, member.to_owned());
        self.assignments.entry(key).or_default().push(share.to_vec());
    }

    pub fn told_assignment(&mut self, group: &str, generation: i32, member: &str, share: &[u8]) {
        let given = self.assignments.get(&(group.to_owned(), generation, member.to_owned()));
        assert!(
            given.is_some_and(|g| g.iter().any(|s| s == share)),
            "{group} generation {generation}: {member} was given {share:?}, its leader had said {given:?}"
        );
    }

    /// The power failed: what was not flushed may be gone.
    pub fn power_cut(&mut self) {
        self.power_was_cut = true;
        for topic in self.topics.iter().filter(|t| !t.durable) {
            for partition in 0..topic.partitions {
                let part = Part::new(&topic.name, partition);
                let log = self.logs.entry(part).or_default();
                let sent = std::mem::take(&mut log.sent);
                // A log start that was shown was written down before: offsets below it never come back (A21).
                let (deletable, first) = (log.deletable, log.first);
                *log = Log { sent, deletable, first, high_watermark: first, ..Log::default() };
            }
        }
        if !self.offsets_durable {
            self.commits.values_mut().for_each(|c| c.last = 0);
        }
    }

    /// At the end, when everything that is in a partition has been fetched: nothing acknowledged is missing (A1), and
    /// each producer's records are in the order in which it sent them.
    pub fn complete(&mut self, part: &Part, end: i64) {
        let log = self.log(part);
        let start = log.first;
        for offset in start..end {
            assert!(
                log.at.contains_key(&offset),
                "{part:?}: offset {offset} of {start}..{end} was never read"
            );
        }
        assert!(
            log.at.range(end..).next().is_none(),
            "{part:?}: ends at {end}, but more was shown: {:?}",
            log.at.range(end..).next()
        );
        for (value, offset) in &log.acked {
            let found = log.offsets.get(value).copied();
            let deleted = offset.or(found).is_some_and(|o| o < start) || (offset.is_none() && start > 0);
            assert!(
                found.is_some() || deleted,
                "{part:?}: {value:?} was acknowledged at {offset:?} and is lost"
            );
            assert!(found.is_none_or(|o| o < end), "{part:?}: {value:?} at {found:?} is lost");
        }
        let mut last: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
        for (offset, value) in &log.at {
            let (producer, number) = value.rsplit_once('.').expect("a value of ours");
            let number: u64 = number.parse().expect("a number");
            if let Some((before, at)) = last.insert(producer, (number, *offset)) {
                assert!(
                    before < number,
                    "{part:?}: {producer} sent {before} before {number}, at {at} and {offset}"
                );
            }
        }
    }
}

/// A value's name: what stands before its padding.
fn name_of(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    String::from_utf8(value[..end].to_vec()).expect("a value of ours")
}
