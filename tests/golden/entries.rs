//! What `Golden.java` wrote, and bytes that differ from it.

use ottla::base::prng::Prng;
use ottla::wire::codec::Reader;

use crate::rows::{Failure, Row};

/// What values a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Default,
    Full,
    Nulls,
    Empty,
    Long,
}

/// A message that was filled for version `from`, in that version and in `to`.
pub struct Entry {
    pub name: String,
    pub shape: Shape,
    pub from: i16,
    pub to: i16,
    pub first: Vec<u8>,
    /// None if Kafka refuses to write it.
    pub second: Option<Vec<u8>>,
}

pub fn parse(bytes: &[u8]) -> Vec<Entry> {
    const SHAPES: [Shape; 5] = [Shape::Default, Shape::Full, Shape::Nulls, Shape::Empty, Shape::Long];
    let mut r = Reader::new(bytes);
    let mut entries = Vec::new();
    while r.remaining() > 0 {
        // Java's classes of requests, responses and headers have a longer name than their schemas.
        let class = r.string(false).unwrap();
        let name =
            class.strip_suffix("Data").filter(|name| crate::rows::row(name).is_some()).unwrap_or(class);
        entries.push(Entry {
            name: name.to_string(),
            shape: SHAPES[r.i8().unwrap() as usize],
            from: r.i16().unwrap(),
            to: r.i16().unwrap(),
            first: r.bytes(false).unwrap().to_vec(),
            second: r.nullable_bytes(false).unwrap().map(<[u8]>::to_vec),
        });
    }
    entries
}

/// One to four changes: bits flipped, bytes replaced by ones that are edges of lengths, removed, repeated, added.
pub fn mutate(bytes: &[u8], random: &mut Prng) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let edge = EDGES[random.below(8) as usize];
        match random.below(6) {
            _ if at == bytes.len() => bytes.push(edge),
            0 => bytes[at] ^= 1 << random.below(8),
            1 | 2 => bytes[at] = edge,
            3 => bytes.insert(at, edge),
            4 => drop(bytes.remove(at)),
            _ => {
                let end = (at + 1 + random.below(16) as usize).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Bytes are refused, or are a message that comes back from what it is written as.
pub fn check_mutant(row: &Row, version: i16, bytes: &[u8]) {
    match (row.recode)(bytes, version, version) {
        Err(Failure::Decode(_)) => {}
        Ok(written) => {
            let again = (row.recode)(&written, version, version);
            assert_eq!(again.as_ref(), Ok(&written), "{} version {version}: {bytes:?}", row.name);
        }
        Err(Failure::Encode(e)) => panic!("{} version {version}: {e}: {bytes:?}", row.name),
    }
}
