//! Any message from any bytes: refused, or it comes back from what it is written as. The first two bytes choose the
//! message, the third its version.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../golden/entries.rs"]
mod entries;
#[allow(dead_code)]
#[path = "../../golden/rows.rs"]
mod rows;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first_chunk::<3>() else { return };
    let row = &rows::ROWS[usize::from(u16::from_le_bytes([choice[0], choice[1]])) % rows::ROWS.len()];
    let count = row.versions.end() - row.versions.start() + 1;
    let version = row.versions.start() + i16::from(choice[2]) % count;
    entries::check_mutant(row, version, bytes);
});
