//! Random operations against a plain list of records, with restarts, kills and power cuts.

use super::*;
use crate::base::prng::Prng;

/// What must hold.
struct Model {
    /// Value of every offset that was ever appended in this life or was found after the last restart.
    values: std::collections::BTreeMap<Offset, Vec<u8>>,
    log_start: Offset,
    /// Everything below was acknowledged.
    durable: Offset,
    /// Everything below was flushed, as last reported.
    flushed: Offset,
}

fn random_batch(prng: &mut Prng, clock: &mut i64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let records = 1 + prng.below(3) as usize;
    let size = match prng.below(20) {
        0 => 9000,
        1..4 => 2500,
        _ => 60,
    };
    let values: Vec<Vec<u8>> =
        (0..records).map(|_| (0..=prng.below(size)).map(|_| prng.below(256) as u8).collect()).collect();
    let mut builder = BatchBuilder::new(0);
    if prng.one_in(3) {
        builder = builder.compression(crate::wire::record::Codec::Lz4);
    }
    for value in &values {
        *clock += prng.below(20) as i64 - 5;
        builder.append(*clock, None, Some(value), &[]);
    }
    (builder.build(), values)
}

fn check_reads(m: &mut Machine, model: &Model, cursor: &mut Offset, prng: &mut Prng) {
    let durable = m.partition.durable_end_offset();
    let start = m.partition.log_start_offset();
    if durable <= start {
        return;
    }
    // Often where the last one ended, as a consumer reads.
    let on = !prng.one_in(4) && (start..durable).contains(cursor);
    let from = if on { *cursor } else { start + prng.below((durable - start) as u64) as i64 };
    let max_bytes = [1, 500, 5000, 1 << 20][prng.below(4) as usize];
    let data = m.read(from, max_bytes).expect("readable");
    *cursor = data.next_offset;
    let found = records(&data);
    assert!(!found.is_empty(), "{from} {durable} {max_bytes} {data:?}");
    assert!(data.next_offset <= m.partition.durable_end_offset() && data.next_offset > from);
    let first = found[0].0;
    assert!(first <= from || !model.values.contains_key(&from), "{from} is skipped");
    assert!(found.last().unwrap().0 + 1 == data.next_offset);
    for (offset, value) in found.iter().filter(|(o, _)| *o >= start) {
        assert_eq!(model.values.get(offset), Some(value), "offset {offset}");
    }
}

fn run(seed: u64, flush_messages: i64, power_cuts: bool) {
    let mut prng = Prng::new(seed);
    let config = LogConfig {
        segment_bytes: 30_000,
        index_interval_bytes: 800,
        flush_messages,
        retention_ms: -1,
        ..LogConfig::default()
    };
    let cache = [1, 30_000, 1 << 20][prng.below(3) as usize];
    let mut m = Machine::with_cache(seed, config, cache);
    let mut model = Model { values: [].into(), log_start: 0, durable: 0, flushed: 0 };
    let (mut clock, mut cursor) = (1_000_000, 0);
    for _ in 0..300 {
        match prng.below(100) {
            0..60 => {
                let (bytes, values) = random_batch(&mut prng, &mut clock);
                let appended = m.append(&bytes).unwrap();
                for (i, value) in values.into_iter().enumerate() {
                    model.values.insert(appended.base_offset + i as i64, value);
                }
            }
            60..75 => {
                let _ = m.partition.is_idle() || m.turn();
            }
            75..85 => check_reads(&mut m, &model, &mut cursor, &mut prng),
            85..86 => m.save_epochs(),
            86..88 => {
                let (partition, mut env, effects) = m.parts();
                partition.sync_now(&mut env, effects);
            }
            88..90 => {
                let durable = m.partition.durable_end_offset();
                let before = prng.below(durable as u64 + 1) as i64;
                let (partition, mut env, effects) = m.parts();
                model.log_start = partition.delete_records(&mut env, before, durable, effects).unwrap();
            }
            90..92 => {
                let keep = m.partition.size_bytes() as i64 / 2;
                let config = LogConfig { retention_bytes: keep, ..m.config.clone() };
                m.partition.update_config(config);
                let durable = m.partition.durable_end_offset();
                let (partition, mut env, effects) = m.parts();
                let now = env.disk.wall_ms();
                partition.retain(&mut env, now, durable, effects);
                m.partition.update_config(m.config.clone());
                model.log_start = m.partition.log_start_offset();
            }
            92..95 => {
                let report = m.restart();
                assert_eq!(report.warnings, Vec::<String>::new(), "seed {seed}");
                let last = model.values.last_key_value().map_or(0, |(offset, _)| offset + 1);
                assert_eq!(m.partition.log_end_offset(), last);
                (model.durable, model.flushed) = (m.partition.log_end_offset(), m.partition.log_end_offset());
            }
            95..99 => {
                note(&m, &mut model);
                let point = m.partition.recovery_point();
                m.sim.kill();
                let acknowledged = model.durable;
                reopened(&mut m, &mut model, point, acknowledged, seed);
            }
            _ if power_cuts => {
                note(&m, &mut model);
                let point = m.partition.recovery_point();
                m.sim.power_cut();
                let acknowledged = if flush_messages == 1 { model.durable } else { model.flushed };
                reopened(&mut m, &mut model, point, acknowledged, seed);
            }
            _ => {}
        }
        note(&m, &mut model);
        assert!(m.partition.fenced().is_none(), "seed {seed}: {:?}", m.partition.fenced());
    }
    m.settle();
    let start = m.partition.log_start_offset();
    let all = m.read_all(start, 10_000);
    let expected: Vec<_> = model.values.range(start..).map(|(o, v)| (*o, v.clone())).collect();
    assert!(all == expected, "seed {seed}");
}

fn note(m: &Machine, model: &mut Model) {
    let durable = m.partition.durable_end_offset();
    assert!(durable >= model.durable, "the durable end never goes back");
    model.durable = durable;
    model.flushed = m.partition.flushed_end_offset().min(durable);
}

/// After a kill or power cut: everything below `acknowledged` is there, as it was; what else is there is a part of
/// what was appended.
fn reopened(m: &mut Machine, model: &mut Model, point: Offset, acknowledged: Offset, seed: u64) {
    let report = m.reopen(false, Some(point), Some(model.log_start));
    let end = m.partition.log_end_offset();
    assert!(
        end >= acknowledged,
        "seed {seed}: {acknowledged} records were acknowledged, {end} found: {report:?}"
    );
    assert!(report.lost_offsets.iter().all(|(first, _)| *first >= acknowledged), "seed {seed}: {report:?}");
    assert_eq!(m.partition.log_start_offset(), model.log_start.min(end), "seed {seed}");
    let found = m.read_all(m.partition.log_start_offset(), 20_000);
    for (offset, value) in &found {
        assert_eq!(model.values.get(offset), Some(value), "seed {seed}: offset {offset}");
    }
    let missing = |o: &Offset| found.binary_search_by_key(o, |(o, _)| *o).is_err();
    // Holes that an earlier power cut has torn into what was not acknowledged stay.
    for offset in
        model.values.range(model.log_start.min(acknowledged)..acknowledged).map(|(offset, _)| *offset)
    {
        assert!(
            !missing(&offset),
            "seed {seed}: offset {offset} of {acknowledged} was acknowledged: {report:?}"
        );
    }
    model.values.retain(|offset, _| *offset < end);
    model.values.retain(|offset, _| *offset < m.partition.log_start_offset() || !missing(offset));
    (model.durable, model.flushed) = (end, m.partition.flushed_end_offset());
}

/// Thirty seeds; more with `OTTLA_SEEDS`.
fn seeds(from: u64) -> std::ops::Range<u64> {
    let count = std::env::var("OTTLA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    from * 100_000..from * 100_000 + count
}

#[test]
fn random_operations_with_kills() {
    for seed in seeds(0) {
        run(seed, i64::MAX, false);
    }
}

#[test]
fn random_operations_with_power_cuts_and_flushes() {
    for seed in seeds(1) {
        run(seed, 1, true);
    }
}

#[test]
fn random_operations_with_power_cuts_and_few_flushes() {
    for seed in seeds(2) {
        run(seed, 10, true);
    }
}
