//! What it costs to check a produced batch: `cargo bench --bench batch`.
//!
//! The null case is the loop with the same arguments and nothing done.

mod support;

use ottla::wire::record::{
    BatchBuilder, BatchView, Batches, Codec, Compression, Origin, Scratch, TimestampType, ValidationRules,
    validate, validate_shallow,
};
use std::hint::black_box;
use support::Rounds;

const RECORDS: usize = 100;
const VALUE_BYTES: usize = 100;

fn main() {
    let rounds = Rounds::from_arguments();
    println!("one batch of {RECORDS} records with {VALUE_BYTES}-byte values");
    println!("{:<24}{:>10}{:>14}{:>12}", "case", "bytes", "ns per batch", "GB/s");
    for codec in Codec::ALL {
        let bytes = batch(codec);
        let name = |what: &str| format!("{what} {}", codec.name());
        if codec == Codec::None {
            measure(&rounds, "null", &bytes, <[u8]>::len);
            measure(&rounds, "memcpy", &bytes, |bytes| black_box(bytes.to_vec()).len());
            measure(&rounds, "crc32c", &bytes, |bytes| crc32c::crc32c(bytes) as usize);
            measure(&rounds, "header", &bytes, |bytes| {
                BatchView::parse(bytes).map_or(0, |b| b.bytes().len())
            });
            measure(&rounds, "iterate", &bytes, |bytes| {
                Batches::new(bytes).without_crc().filter_map(Result::ok).count()
            });
        }
        let rules = rules(None);
        measure(&rounds, &name("shallow"), &bytes, |bytes| {
            validate_shallow(bytes, &rules).expect("a good batch").bytes().len()
        });
        let mut scratch = Scratch::new();
        measure(&rounds, &name("deep"), &bytes, |bytes| {
            validate(bytes, &rules, &mut scratch).expect("a good batch").max_timestamp as usize
        });
        if codec != Codec::None {
            let rules = self::rules(Some(codec.into()));
            let plain = batch(Codec::None);
            measure(&rounds, &name("recompress to"), &plain, |bytes| {
                validate(bytes, &rules, &mut scratch).expect("a good batch").bytes(bytes).len()
            });
        }
    }
}

fn rules(compression: Option<Compression>) -> ValidationRules {
    ValidationRules {
        max_message_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compacted: false,
        compression,
        zstd_allowed: true,
        uncompressed_bytes_max: 1 << 20,
        recompressed_bytes_max: usize::MAX,
        origin: Origin::Client,
        now_ms: 1_700_000_000_000,
    }
}

/// Values that compress to about a third: a pseudo-random word and a text, as JSON events have.
fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0).compression(codec);
    for i in 0..RECORDS as u64 {
        let id = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let text =
            format!(r#"{{"id":"{id:016x}","user":{},"action":"page_view","path":"/products/{i}""#, id % 997);
        let mut value = text.into_bytes();
        value.resize(VALUE_BYTES, b' ');
        builder.append(1_700_000_000_000 + i as i64, Some(&id.to_be_bytes()), Some(&value), &[]);
    }
    builder.build()
}

fn measure(rounds: &Rounds, name: &str, bytes: &[u8], mut work: impl FnMut(&[u8]) -> usize) {
    let ns = rounds.measure(|| work(black_box(bytes)));
    println!("{name:<24}{:>10}{ns:>14.1}{:>12.2}", bytes.len(), bytes.len() as f64 / ns);
}
