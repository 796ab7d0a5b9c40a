//! Seeded mutations of every message and of requests' frames: whatever bytes come, nothing panics, and what is read
//! can be written. `tests/fuzz` searches the same checks with coverage.

use ottla::base::prng::Prng;
use ottla::wire::api::APIS;
use ottla::wire::codec::{DecodeErrorKind, Writer};
use ottla::wire::frame;

#[allow(dead_code)] // Java's bytes are not used here
#[path = "golden/entries.rs"]
mod entries;
#[path = "golden/rows.rs"]
mod rows;

use rows::{Failure, ROWS};

#[test]
fn any_bytes_are_refused_or_read() {
    let mut random = Prng::new(1);
    for row in ROWS {
        for version in row.versions.clone() {
            let seed = (row.default)(version).unwrap_or_default();
            for _ in 0..40 {
                entries::check_mutant(row, version, &entries::mutate(&seed, &mut random));
                let length = random.below(64) as usize;
                // Small bytes make more structure than bytes of all sizes.
                let top = 1 << (1 + random.below(8));
                let bytes: Vec<u8> = (0..length).map(|_| random.below(top) as u8).collect();
                entries::check_mutant(row, version, &bytes);
            }
        }
    }
}

#[test]
fn a_claimed_count_costs_nothing() {
    // Every message with every length that it reads claimed to be huge: refused by the bytes that remain.
    for row in ROWS {
        for version in row.versions.clone() {
            for huge in [[0x7f, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0x07]] {
                let bytes: Vec<u8> = huge.iter().copied().cycle().take(4096).collect();
                for start in 0..4 {
                    let read = (row.recode)(&bytes[start..], version, version);
                    let Err(Failure::Decode(e)) = read else { continue };
                    assert!(e.kind != DecodeErrorKind::Memory, "{} version {version}: {e}", row.name);
                }
            }
        }
    }
}

#[test]
fn any_frame_is_refused_or_has_a_header() {
    let mut random = Prng::new(2);
    for api in &APIS {
        for version in api.versions() {
            let mut w = Writer::new();
            w.i16(api.key.code());
            w.i16(version);
            w.i32(7);
            w.string(false, "client");
            w.tags();
            let frame = w.finish().unwrap();
            for _ in 0..50 {
                let frame = entries::mutate(&frame, &mut random);
                let Ok((header, r)) = frame::read_request(&frame) else { continue };
                assert_eq!(header.api_key.code().to_be_bytes(), frame[..2]);
                assert_eq!(header.api_version.to_be_bytes(), frame[2..4]);
                assert!(r.remaining() <= frame.len() - 10);
                assert!(header.api_key.api().versions().contains(&header.response_version()));
            }
        }
    }
}
