//! One damage at a time to every kind of file of a partition, after clean and unclean stops: what it does not touch is served,
//! what it touches is right or refused, and nothing is left out without a line. A sample of the cases; all of them with
//! `OTTLA_DAMAGE_ALL=1`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;
use crate::base::prng::Prng;
use crate::wire::record::HEADER_BYTES;

/// The files of the partition's directory.
type Image = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Damage {
    /// A bit.
    Flip(usize),
    /// To this length.
    Cut(usize),
    Zero(Range<usize>),
    Delete,
}

#[derive(Clone, Debug)]
struct Case {
    file: String,
    damage: Damage,
    /// After a clean stop.
    clean: bool,
}

/// What a read of one offset gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Right,
    /// The damaged bytes as they are: the batch's checksum tells the client, as in Kafka. A fetch checks no checksums.
    Unchecked,
    Refused,
    Missing,
}

/// A partition that was stopped cleanly, its files and its records.
struct Bench {
    m: Machine,
    image: Image,
    records: Vec<Vec<u8>>,
}

/// Several segments of two leader epochs with an idempotent producer, and aborted transactions in each.
fn bench() -> Bench {
    let config = LogConfig { segment_bytes: 6000, index_interval_bytes: 400, ..LogConfig::default() };
    let mut m = Machine::new(31, config);
    for i in 0..48_i32 {
        let mut builder = match i % 8 {
            5 => BatchBuilder::new(0).producer(9, 0, i / 8 * 2).transactional(),
            _ => BatchBuilder::new(0).producer(5, 0, (i - (i + 2) / 8) * 2),
        };
        for half in 0..2 {
            builder.append(1000 + i64::from(i), None, Some(&[(i * 2 + half) as u8; 150]), &[]);
        }
        m.append_as(&builder.build(), AppendInfo { leader_epoch: i / 24, ..info() }).unwrap();
        if i % 8 == 5 {
            let marker = BatchBuilder::end_transaction(0, 9, 0, false, 3, 1000 + i64::from(i)).build();
            let info = AppendInfo {
                origin: AppendOrigin::Coordinator,
                leader_epoch: i / 24,
                transaction_version: 1,
                ..info()
            };
            m.append_as(&marker, info).unwrap();
        }
    }
    m.settle();
    let all = m.read_all(0, 5000);
    assert!(all.iter().map(|(offset, _)| *offset).eq(0..all.len() as Offset));
    assert!(m.partition.segments_count() >= 3);
    m.save_epochs();
    let disk = m.disk();
    m.partition.close_clean(&disk).unwrap();
    let image: Image = m.files().into_iter().map(|name| (name.clone(), m.file(&name))).collect();
    for kind in [".log", ".index", ".timeindex", ".txnindex", ".snapshot", "checkpoint", ".metadata"] {
        assert!(image.keys().any(|name| name.ends_with(kind)), "{kind} of {:?}", image.keys());
    }
    Bench { m, image, records: all.into_iter().map(|(_, value)| value).collect() }
}

/// Each batch of a log: where it begins and ends, its first offset and the one behind it.
fn batches_of(log: &[u8]) -> Vec<(Range<usize>, Range<Offset>)> {
    let mut batches = Batches::new(log);
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(view) = batches.next() {
        let header = *view.unwrap().header();
        found.push((from..batches.position(), header.base_offset..header.next_offset()));
        from = batches.position();
    }
    found
}

fn damages_of_a_log(log: &[u8]) -> Vec<Damage> {
    let batches = batches_of(log);
    let mut damages = vec![Damage::Delete, Damage::Zero(0..log.len())];
    for which in [0, 1, batches.len() / 2, batches.len() - 1] {
        let Range { start, end } = batches[which].0;
        let header = (start * 8..(start + HEADER_BYTES) * 8).step_by(3);
        let records = (start + HEADER_BYTES..end).step_by(41).map(|byte| byte * 8 + byte % 8);
        damages.extend(header.chain(records).map(Damage::Flip));
        let cuts = [start, start + 1, start + 12, start + 17, start + 60, start + HEADER_BYTES, end - 1];
        damages.extend(cuts.map(Damage::Cut));
        let header = start + HEADER_BYTES;
        let ranges =
            [start..end, start..header, start..start + 8, header..end, end - 1..end, start..log.len()];
        damages.extend(ranges.map(Damage::Zero));
    }
    let sector = log.len() / 2 / 512 * 512;
    damages.extend([Damage::Zero(sector..sector + 512), Damage::Zero(sector..log.len())]);
    damages
}

fn damages_beside(bytes: &[u8]) -> Vec<Damage> {
    let len = bytes.len();
    let mut damages: Vec<Damage> = (0..len * 8).step_by(5).map(Damage::Flip).collect();
    let cuts = [0, 1, len / 2, len.saturating_sub(12), len.saturating_sub(8), len.saturating_sub(1)];
    damages.extend(cuts.into_iter().filter(|cut| *cut < len).map(Damage::Cut));
    if len > 0 {
        let last = len.saturating_sub(12);
        damages.extend([0..len, 0..len / 2, last..len, len / 2..len].map(Damage::Zero));
    }
    damages.push(Damage::Delete);
    damages
}

fn cases(image: &Image) -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, bytes) in image {
        let damages = if file.ends_with(".log") { damages_of_a_log(bytes) } else { damages_beside(bytes) };
        for damage in damages {
            for clean in [true, false] {
                cases.push(Case { file: file.clone(), damage: damage.clone(), clean });
            }
        }
    }
    cases
}

impl Case {
    fn apply(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        match &self.damage {
            Damage::Flip(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
            Damage::Cut(len) => bytes.truncate(*len),
            Damage::Zero(range) => bytes[range.clone()].fill(0),
            Damage::Delete => return None,
        }
        Some(bytes)
    }

    /// The offsets of the batches that it touches.
    fn touched(&self, bytes: &[u8]) -> Range<Offset> {
        if !self.file.ends_with(".log") {
            return 0..0;
        }
        let range = match &self.damage {
            Damage::Flip(bit) => bit / 8..bit / 8 + 1,
            Damage::Cut(len) => *len..bytes.len(),
            Damage::Zero(range) => range.clone(),
            Damage::Delete => 0..bytes.len(),
        };
        let hit = batches_of(bytes);
        let mut hit = hit.iter().filter(|(at, _)| at.start < range.end && range.start < at.end);
        let first = hit.next().map_or(0..0, |(_, offsets)| offsets.clone());
        first.start..hit.next_back().map_or(first.end, |(_, offsets)| offsets.end)
    }
}

fn is_valid(slice: &bytes::Bytes) -> bool {
    Batches::new(slice).all(|view| view.is_ok())
}

impl Bench {
    fn damage(&mut self, case: &Case) {
        let disk = self.m.disk();
        for name in self.m.files() {
            disk.remove_file(&dir().join(name)).unwrap();
        }
        for (name, bytes) in &self.image {
            let bytes = if *name == case.file { case.apply(bytes) } else { Some(bytes.clone()) };
            if let Some(bytes) = bytes {
                disk.write_atomic(&dir().join(name), &bytes).unwrap();
            }
        }
    }

    /// Opens, and reads each offset by itself. Gives all lines that were said.
    fn open(&mut self, case: &Case) -> Result<(Vec<Outcome>, Vec<String>), String> {
        let end = self.records.len() as Offset;
        let point = if case.clean { end } else { 0 };
        let report =
            self.m.try_reopen(case.clean, Some(point), Some(0)).map_err(|e| format!("refused: {e}"))?;
        let mut said = report.warnings;
        let mut outcomes = Vec::new();
        for offset in 0..end {
            outcomes.push(self.read_one(offset)?);
        }
        self.m.settle();
        for effect in &self.m.effects {
            if let LogEffect::Warning(line) | LogEffect::Damage(line) = effect {
                said.push(line.clone());
            }
        }
        Ok((outcomes, said))
    }

    /// After an unclean stop, an end that is missing, or sectors of zeros, in the last segment look like what a power cut left
    /// of a write that nobody had acknowledged, and neither had what follows in it: sectors of one write come in any order.
    /// Zeros of less than what such a write has of a sector are damage, and cost one batch.
    fn looks_torn(&self, case: &Case) -> bool {
        let last = self.image.keys().rfind(|name| name.ends_with(".log"));
        if case.clean || last != Some(&case.file) {
            return false;
        }
        let whole = &self.image[&case.file];
        match &case.damage {
            Damage::Flip(_) => false,
            Damage::Cut(_) | Damage::Delete => true,
            Damage::Zero(range) => {
                let of_a_batch = batches_of(whole).iter().any(|(at, _)| at.start == range.start);
                let begins =
                    |sector: usize| range.start <= sector || of_a_batch && range.start < sector + 512;
                (0..whole.len())
                    .step_by(512)
                    .any(|sector| begins(sector) && range.end >= (sector + 512).min(whole.len()))
            }
        }
    }

    /// Whether nothing but zeros is left from an offset's batch on: nobody can know that there was more.
    fn ends_blank(&self, case: &Case, offset: Offset) -> bool {
        let whole = &self.image[&case.file];
        let batches = batches_of(whole);
        let from = batches.iter().find(|(_, offsets)| offsets.start == offset).map_or(0, |(at, _)| at.start);
        let left = case.apply(whole).unwrap_or_default();
        left.iter().skip(from).all(|byte| *byte == 0)
    }

    fn read_one(&mut self, offset: Offset) -> Result<Outcome, String> {
        match self.m.read(offset, 1) {
            Ok(data) if !data.slices.iter().all(is_valid) => Ok(Outcome::Unchecked),
            Ok(data) => {
                let found = records(&data).into_iter().find(|(at, _)| *at == offset);
                match found {
                    Some((_, value)) if value == self.records[offset as usize] => Ok(Outcome::Right),
                    Some(_) => Err(format!("another record at {offset}")),
                    None => Ok(Outcome::Missing),
                }
            }
            Err(LogError::Corrupt { .. }) => Ok(Outcome::Refused),
            Err(LogError::OffsetOutOfRange { .. }) => Ok(Outcome::Missing),
            Err(error) => Err(format!("{offset}: {error}")),
        }
    }

    fn judge(&mut self, case: &Case) -> Result<(), String> {
        // What an earlier case left in flight is not this one's.
        self.m.settle();
        self.damage(case);
        let touched = case.touched(&self.image[&case.file]);
        let torn = self.looks_torn(case);
        let (first, said) = self.open(case)?;
        let end = self.records.len() as Offset;
        let beside = |offset: &Offset| !touched.contains(offset) && (!torn || *offset < touched.end);
        for offset in (0..end).filter(beside) {
            let outcome = first[offset as usize];
            if outcome != Outcome::Right {
                return Err(format!(
                    "offset {offset} beside the damage ({touched:?}): {outcome:?}; {said:?}"
                ));
            }
        }
        let lost: Vec<Offset> =
            touched.clone().filter(|offset| first[*offset as usize] > Outcome::Unchecked).collect();
        let names_it = |line: &String| line.contains(&dir().display().to_string());
        let blank = torn && self.ends_blank(case, touched.start);
        let excused = lost.is_empty() || blank || said.iter().any(names_it);
        if !excused {
            return Err(format!("{lost:?} left out, and said was {said:?}"));
        }
        let (second, again) = self.open(case)?;
        if second != first {
            return Err(format!(
                "the second opening gives {second:?}, the first {first:?}; {said:?}; {again:?}"
            ));
        }
        let appended = self.m.append(&batch(1, b"new")).map_err(|e| format!("append: {e:?}"))?;
        self.m.settle();
        // After an unclean stop, what is damaged at the log's end was not acknowledged as far as anyone knows.
        let unknown = torn || !case.clean && touched.end == end;
        if appended.base_offset < end && !unknown {
            return Err(format!(
                "offset {} is given out again, the log ended at {end}",
                appended.base_offset
            ));
        }
        Ok(())
    }
}

#[test]
fn every_damage_to_every_file_is_served_around_and_named() {
    let mut bench = bench();
    let mut cases = cases(&bench.image);
    let all = std::env::var_os("OTTLA_DAMAGE_ALL").is_some();
    if !all {
        let mut prng = Prng::new(10);
        cases.retain(|case| {
            let sampled = prng.below(if matches!(case.damage, Damage::Flip(_)) { 90 } else { 7 }) == 0;
            // There are few of them, and nothing that is left in the file tells of a cut between two batches.
            sampled || (matches!(case.damage, Damage::Cut(_)) && case.file.ends_with(".log"))
        });
    }
    let mut failed = Vec::new();
    for case in &cases {
        if let Err(why) = bench.judge(case) {
            failed.push(format!("{case:?}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
