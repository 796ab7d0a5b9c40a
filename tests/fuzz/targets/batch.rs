//! A produced record batch, its checksum put right so that what stands behind it is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla::wire::record::{
    BatchHeader, BatchView, Origin, Scratch, TimestampType, ValidationRules, validate,
};

const LIMIT_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    if let Ok(header) = BatchHeader::parse(&bytes) {
        header.seal(&mut bytes);
    }
    let mut scratch = Scratch::new();
    if let Ok(batch) = BatchView::parse(&bytes)
        && let Ok(records) = batch.records(&mut scratch, LIMIT_BYTES)
    {
        records.take_while(Result::is_ok).for_each(drop);
    }
    let rules = ValidationRules {
        max_message_bytes: LIMIT_BYTES,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compacted: data.len() % 2 == 0,
        compression: None,
        zstd_allowed: true,
        uncompressed_bytes_max: LIMIT_BYTES,
        recompressed_bytes_max: usize::MAX,
        origin: Origin::Client,
        now_ms: 1_700_000_000_000,
    };
    let _ = validate(&bytes, &rules, &mut scratch);
});
