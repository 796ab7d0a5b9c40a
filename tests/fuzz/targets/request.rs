//! A request as it comes from a connection: header, then the message that the header names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla::wire::frame;

#[allow(dead_code)]
#[path = "../../golden/entries.rs"]
mod entries;
#[allow(dead_code)]
#[path = "../../golden/rows.rs"]
mod rows;

fuzz_target!(|data: &[u8]| {
    let Ok((header, r)) = frame::read_request(data) else { return };
    if header.version_exists() {
        let row = rows::row(&format!("{}Request", header.api_key.api().name)).unwrap();
        entries::check_mutant(row, header.api_version, r.rest());
    }
});
