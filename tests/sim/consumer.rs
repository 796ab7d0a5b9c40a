//! Consumers: long polls, with sessions or without, each record looked at.

use std::collections::BTreeMap;

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::wire::messages::{
    FetchRequest, FetchResponse, ListOffsetsResponse,
    fetch_request::{FetchPartition, FetchTopic},
};

use super::link::{Link, News};
use super::model::{Floor, Part};
use super::producer::is_retriable;
use super::run::{Client, Cx};

pub enum Tag {
    Fetch(Floor),
    /// Where a partition begins, as what was asked for is out of its range.
    Start(Part, Floor),
}

pub struct Consumer {
    name: String,
    link: Link<Tag>,
    /// Partitions that begin after what was asked for.
    behind: Vec<Part>,
    prng: Prng,
    version: i16,
    sessions: bool,
    session: (i32, i32),
    /// Next offset, and the one the session knows.
    at: BTreeMap<Part, (i64, Option<i64>)>,
    next_at: Ticks,
    stopping: bool,
    /// The newest high watermark of this connection.
    ends: BTreeMap<Part, i64>,
    lazy_until: Ticks,
    stopped: bool,
}

impl Consumer {
    pub fn new(number: u8, parts: &[Part], seed: u64) -> Consumer {
        let mut prng = Prng::new(seed);
        let version = [10, 11, 12, 13, 15, 17][prng.below(6) as usize];
        Consumer {
            name: format!("consumer {number}"),
            link: Link::new(&format!("consumer {number}"), number),
            behind: Vec::new(),
            version,
            sessions: version >= 7 && prng.one_in(2),
            session: (0, 0),
            prng,
            at: parts.iter().map(|p| (p.clone(), (0, None))).collect(),
            next_at: Ticks(0),
            stopping: false,
            ends: BTreeMap::new(),
            lazy_until: Ticks(0),
            stopped: false,
        }
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) {
        let incremental = self.sessions && self.session.1 > 0;
        let mut topics: Vec<FetchTopic<'_>> = Vec::new();
        for (part, (next, known)) in &mut self.at {
            if incremental && *known == Some(*next) {
                continue;
            }
            *known = Some(*next);
            let partition = FetchPartition {
                partition: part.partition,
                fetch_offset: *next,
                partition_max_bytes: 1 << [10, 16, 20][self.prng.below(3) as usize],
                ..Default::default()
            };
            match topics.last_mut() {
                Some(last) if last.topic == part.topic => last.partitions.push(partition),
                _ => topics.push(FetchTopic {
                    topic: &part.topic,
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        if self.version >= 13 {
            for topic in &mut topics {
                topic.topic_id = cx.model.topic(topic.topic).id;
                topic.topic = "";
            }
        }
        let (session_id, session_epoch) = if self.sessions { self.session } else { (0, -1) };
        let request = FetchRequest {
            max_wait_ms: if self.stopping { 10 } else { [0, 50, 500, 2000][self.prng.below(4) as usize] },
            min_bytes: [0, 1, 1, 5000][self.prng.below(4) as usize],
            max_bytes: 1 << [12, 18, 24][self.prng.below(3) as usize],
            isolation_level: self.prng.below(2) as i8,
            session_id,
            session_epoch,
            topics,
            ..Default::default()
        };
        self.link.ask(cx.sim, &request, self.version, Tag::Fetch(cx.model.floor()));
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, floor: &Floor, response: &FetchResponse<'_>) {
        match response.error_code {
            0 => {}
            70 | 71 => {
                self.session = (0, 0);
                return;
            }
            error => panic!("{}: fetch error {error}", self.name),
        }
        if self.sessions {
            self.session =
                (response.session_id, if response.session_id == 0 { 0 } else { self.session.1 + 1 });
        }
        for topic in &response.responses {
            let name = if topic.topic.is_empty() {
                cx.model.by_id(topic.topic_id).name.clone()
            } else {
                topic.topic.to_owned()
            };
            for p in &topic.partitions {
                let part = Part::new(&name, p.partition_index);
                let next = self.at.get(&part).expect("a partition that was asked for").0;
                let mut to = next;
                match p.error_code {
                    0 => {
                        cx.model.shown(&part, floor, Some(p.high_watermark), Some(p.log_start_offset));
                        to = cx.model.fetched(&part, next, p.records.unwrap_or_default());
                        assert!(to <= p.high_watermark, "{part:?}: records above the high watermark");
                        self.ends.insert(part.clone(), p.high_watermark);
                    }
                    1 => to = self.out_of_range(cx, &part, next),
                    error => {
                        assert!(is_retriable(error), "{} {part:?}: error {error}", self.name);
                        cx.model.count("fetches refused");
                        self.next_at = cx.now().plus_ms(100);
                    }
                }
                self.at.insert(part, (to, self.at[&Part::new(&name, p.partition_index)].1));
            }
        }
    }

    fn out_of_range(&mut self, cx: &mut Cx<'_>, part: &Part, next: i64) -> i64 {
        let (start, end) = (cx.model.deletable(part), cx.model.high_watermark(part));
        assert!(
            next < start || next > end,
            "{} {part:?}: {next} is out of range, but {end} was the high watermark",
            self.name
        );
        if next < start {
            self.behind.push(part.clone());
            next
        } else {
            0
        }
    }

    fn ask_start(&mut self, cx: &mut Cx<'_>, part: &Part) {
        let tag = Tag::Start(part.clone(), cx.model.floor());
        self.link.list_offset(cx.sim, &part.topic, part.partition, -2, tag);
    }

    fn told_start(
        &mut self,
        cx: &mut Cx<'_>,
        part: &Part,
        floor: &Floor,
        response: &ListOffsetsResponse<'_>,
    ) {
        let p = &response.topics[0].partitions[0];
        if p.error_code == 0 {
            cx.model.shown(part, floor, None, Some(p.offset));
            let at = self.at.get_mut(part).expect("a partition of ours");
            at.0 = at.0.max(p.offset);
        } else {
            assert!(is_retriable(p.error_code), "ListOffsets {part:?}: {}", p.error_code);
        }
    }
}

impl Client for Consumer {
    fn poll(&mut self, cx: &mut Cx<'_>) {
        if cx.now() < self.lazy_until {
            return; // does not read what has arrived
        }
        for news in self.link.poll(cx.sim) {
            match news {
                News::Lost(_) => {
                    self.session = (0, 0);
                    self.ends.clear();
                    self.next_at = cx.now().plus_ms(20);
                }
                News::Answer(answer) => match &answer.tag {
                    Tag::Fetch(floor) => self.fetched(cx, floor, &answer.read()),
                    Tag::Start(part, floor) => self.told_start(cx, part, floor, &answer.read()),
                },
            }
        }
        if cx.now() < self.next_at || self.link.in_flight() > 0 || self.stopped {
            return;
        }
        if !self.stopping && self.prng.one_in(200) {
            // Asks, and then does not read for a while.
            self.lazy_until = cx.now().plus_ms(self.prng.below(3000) as i64);
        }
        self.next_at = cx.now().plus_ms(self.prng.below(30) as i64);
        self.link.open(cx.sim);
        match self.behind.pop() {
            Some(part) => self.ask_start(cx, &part),
            None => self.fetch(cx),
        }
    }

    fn next_at(&self) -> Ticks {
        if self.link.in_flight() > 0 { self.lazy_until.max(self.next_at) } else { self.next_at }
    }

    fn power_cut(&mut self, all_durable: bool) {
        self.behind.clear();
        if !all_durable {
            self.at.values_mut().for_each(|at| at.0 = 0);
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.ends.clear();
        self.lazy_until = Ticks(0);
        // From the beginning, all of it.
        self.session = (0, 0);
    }

    fn is_done(&self) -> bool {
        let ends = |part: &Part, next: i64| self.ends.get(part).is_some_and(|end| next >= *end);
        self.at.iter().all(|(part, (next, _))| ends(part, *next))
    }

    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool) {
        self.link.close(cx.sim, reset);
        self.session = (0, 0);
        self.lazy_until = Ticks(0);
        self.next_at = cx.now().plus_ms(50);
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        self.link.close(cx.sim, false);
        self.stopped = true;
    }

    fn describe(&self) -> String {
        format!("{}: at {:?} of {:?}", self.name, self.at, self.ends)
    }
}
