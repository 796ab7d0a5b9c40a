//! The index of aborted transactions of a segment: `.txnindex` files (`TransactionIndex`, `AbortedTxn`).

use super::types::AbortedTransaction;

const VERSION: i16 = 0;
const ENTRY_BYTES: usize = 34;

/// The bytes of a file.
pub fn format(aborted: &[AbortedTransaction]) -> Vec<u8> {
    let mut out = Vec::with_capacity(aborted.len() * ENTRY_BYTES);
    for txn in aborted {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for value in [txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset] {
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
    out
}

/// Reads a file. None if it is damaged.
pub fn parse(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let entry = |bytes: &[u8; ENTRY_BYTES]| {
        let field =
            |i: usize| bytes.get(2 + 8 * i..).and_then(<[u8]>::first_chunk).map(|b| i64::from_be_bytes(*b));
        let txn = AbortedTransaction {
            producer_id: field(0)?,
            first_offset: field(1)?,
            last_offset: field(2)?,
            last_stable_offset: field(3)?,
        };
        (bytes[..2] == VERSION.to_be_bytes() && txn.first_offset <= txn.last_offset).then_some(txn)
    };
    let parsed: Vec<AbortedTransaction> = entries.iter().map(entry).collect::<Option<_>>()?;
    parsed.is_sorted_by(|a, b| a.last_offset < b.last_offset).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let txn = |first_offset, last_offset| AbortedTransaction {
            producer_id: 7,
            first_offset,
            last_offset,
            last_stable_offset: first_offset,
        };
        let aborted = vec![txn(5, 10), txn(3, 12)];
        assert_eq!(format(&aborted).len(), 68);
        assert_eq!(parse(&format(&aborted)), Some(aborted.clone()));
        assert_eq!(parse(&format(&aborted)[..67]), None);
        assert_eq!(parse(&format(&[txn(5, 10), txn(3, 9)])), None);
        assert_eq!(parse(&format(&[txn(5, 4)])), None);
    }
}
