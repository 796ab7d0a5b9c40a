//! What a partition's only producer was told, and what it has seen since: nothing of it may change.

use std::collections::BTreeMap;

use crate::support::raw::{Client, code};
use crate::support::records;

/// How the log start may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    Never,
    /// Up to what DeleteRecords was asked for.
    Asked,
    /// Retention: whole segments, while so many bytes of batches stay.
    Bytes(u64),
}

/// One partition of one topic, or of one life of a topic that comes and goes.
pub struct Ledger {
    pub topic: String,
    pub partition: i32,
    /// How its values begin: those of another life begin otherwise.
    prefix: String,
    idempotent: bool,
    trim: Trim,
    /// The number at each offset, as acknowledged or read.
    at: BTreeMap<i64, u64>,
    /// Where batches begin, and their bytes.
    batches: BTreeMap<i64, u64>,
    /// Acknowledged as a duplicate, at an offset that was not told.
    unplaced: Vec<u64>,
    /// The highest log start and end that were seen or acknowledged.
    start: i64,
    end: i64,
    /// What DeleteRecords was asked for, answered or not.
    asked: i64,
    /// Everything below has been read since it was acknowledged.
    checked: i64,
}

impl Ledger {
    pub fn new(topic: &str, partition: i32, life: u64, idempotent: bool, trim: Trim) -> Ledger {
        Ledger {
            topic: topic.to_owned(),
            partition,
            prefix: format!("{topic}-{partition}#{life}-"),
            idempotent,
            trim,
            at: BTreeMap::new(),
            batches: BTreeMap::new(),
            unplaced: Vec::new(),
            start: 0,
            end: 0,
            asked: 0,
            checked: 0,
        }
    }

    /// A record's value: its number, then something to fill it.
    pub fn value(&self, number: u64, bytes: usize) -> String {
        let head = format!("{}{number} ", self.prefix);
        let fill = bytes.saturating_sub(head.len());
        let letter = char::from(b'a' + (number % 26) as u8);
        head + &String::from(letter).repeat(fill)
    }

    pub fn start(&self) -> i64 {
        self.start
    }

    pub fn end(&self) -> i64 {
        self.end
    }

    /// Whether the number was acknowledged or read.
    pub fn has(&self, number: u64) -> bool {
        self.at.values().rev().any(|n| *n == number)
    }

    /// Records `first..first + count` in a batch of so many bytes are acknowledged at `offset`, or (below zero) at one that
    /// was not told.
    pub fn acknowledged(&mut self, first: u64, count: u64, bytes: u64, offset: i64) {
        if offset < 0 {
            return self.unplaced.extend(first..first + count);
        }
        let (topic, partition, start) = (&self.topic, self.partition, self.start);
        assert!(
            offset >= start,
            "{topic}-{partition}: acknowledged at {offset}, below the log start {start}"
        );
        self.batches.insert(offset, bytes);
        for i in 0..count {
            self.place(offset + i as i64, first + i);
        }
        self.end = self.end.max(offset + count as i64);
    }

    fn place(&mut self, offset: i64, number: u64) {
        let before = self.at.insert(offset, number);
        assert!(
            before.is_none_or(|before| before == number),
            "{}-{}: offset {offset} had number {before:?} and has {number} now",
            self.topic,
            self.partition
        );
    }

    pub fn asks_to_delete(&mut self, before: i64) {
        self.asked = self.asked.max(before);
    }

    pub fn deleted(&mut self, low_watermark: i64) {
        assert!(low_watermark >= self.start, "DeleteRecords answers {low_watermark} below {}", self.start);
        self.start = low_watermark;
    }

    /// Reads what was acknowledged and not read since, or everything, and compares. Errors are those of the network.
    pub fn check(&mut self, client: &mut Client, all: bool) -> std::io::Result<()> {
        let name = format!("{}-{}", self.topic, self.partition);
        let ask = |client: &mut Client, time| {
            let answer = client.list_offset(&self.topic, self.partition, time)?;
            answer.map_err(|error| std::io::Error::other(format!("ListOffsets: error {error}")))
        };
        // The end first: a log start that is asked for later may be above it.
        let end = ask(client, -1)?;
        let start = ask(client, -2)?;
        assert!(end >= self.end, "{name}: the log end went back from {} to {end}", self.end);
        assert!(start >= self.start, "{name}: the log start went back from {} to {start}", self.start);
        self.end = end;
        self.start = start;
        let mut offset = if all { start } else { start.max(self.checked) };
        while offset < end {
            let (error, _, bytes) = client.fetch(&self.topic, self.partition, offset)?;
            if error == code::OFFSET_OUT_OF_RANGE && matches!(self.trim, Trim::Bytes(_)) {
                return self.check(client, all); // retention went on
            }
            assert_eq!(error, code::NONE, "{name}: Fetch at {offset} of {start}..{end}");
            let batches = records::decode(&bytes);
            assert!(!batches.is_empty(), "{name}: no batch at {offset} of {start}..{end}");
            for batch in batches {
                assert!(batch.base_offset <= offset, "{name}: {offset} was asked, {}", batch.base_offset);
                for (i, (_, value)) in batch.records.iter().enumerate() {
                    let number = self.number(value.as_deref().expect("a value"));
                    self.place(batch.base_offset + i as i64, number);
                }
                offset = batch.base_offset + batch.records.len() as i64;
                self.batches.entry(batch.base_offset).or_insert_with(|| batch.encode().len() as u64);
            }
        }
        self.checked = end;
        self.bound_start(&name, start);
        Ok(())
    }

    fn bound_start(&self, name: &str, start: i64) {
        match self.trim {
            Trim::Never => assert_eq!(start, 0, "{name}: the log start, though nothing was deleted"),
            Trim::Asked => {
                assert!(start <= self.asked, "{name}: starts at {start}, {} was asked", self.asked);
            }
            Trim::Bytes(bytes) => {
                let kept: u64 = self.batches.range(start..).map(|(_, bytes)| bytes).sum();
                // Retention also counted the batch that was on its way.
                let least = bytes.saturating_sub(1 << 20);
                assert!(start == 0 || kept >= least, "{name}: retention has left {kept} bytes of {bytes}");
            }
        }
    }

    fn number(&self, value: &[u8]) -> u64 {
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let text = String::from_utf8_lossy(&value[..end]);
        let number = text.strip_prefix(&self.prefix).and_then(|n| n.parse().ok());
        number.unwrap_or_else(|| panic!("a foreign value in {}: {text}", self.prefix))
    }

    /// At the end, after a check of everything: all `produced` numbers are there, those of an idempotent producer once and
    /// in order.
    pub fn complete(&self, produced: u64, in_order: bool) {
        let name = format!("{}-{}", self.topic, self.partition);
        let mut seen = vec![false; produced as usize];
        let mut next = 0;
        for (offset, number) in &self.at {
            assert!(*number < produced, "{name}: {number} at {offset} was never sent");
            seen[*number as usize] = true;
            if self.idempotent {
                assert_eq!(*number, next, "{name}: the value at offset {offset}");
                next = number + 1;
            } else if in_order {
                assert!(*number <= next, "{name}: {number} before {next}");
                next = next.max(number + 1);
            }
        }
        let missing = seen.iter().position(|seen| !seen);
        assert_eq!(missing, None, "{name}: the first of {produced} values that is not there");
        for number in &self.unplaced {
            assert!(seen[*number as usize], "{name}: {number} was called a duplicate and is not there");
        }
        let dense = self.at.keys().enumerate().find(|(i, offset)| *i as i64 != **offset);
        assert_eq!(dense, None, "{name}: the first offset (place, offset) that is not dense");
    }
}
