//! A lost, a doubled, a reordered and a changed record are found, with marks and with compression.

use super::*;
use crate::base::Uuid;
use crate::bench::client::{Topic, Versions};
use crate::bench::load::Load;
use crate::bench::template::{Stamp, Template};
use crate::wire::codec::Message as _;
use crate::wire::frame;
use crate::wire::messages::produce_request::ProduceRequest;
use crate::wire::record::set_base_offset;

/// The batches that two producers send to the only partition, and the ledger of them.
struct Sent {
    shape: Arc<Shape>,
    ledger: Ledger,
    batches: Vec<Vec<u8>>,
}

const RECORDS: usize = 3;

fn sent(codec: Codec) -> Sent {
    let load = Load { records: RECORDS, codec, producers: 2, ..Load::default() };
    let shape = Arc::new(Shape::new(&load, 1_700_000_000_000));
    let topic = Topic { name: "t".to_owned(), id: Uuid([7; 16]) };
    let mut ledger = Ledger::new(2, 1);
    let mut batches = Vec::new();
    for number in 0..40_u64 {
        let producer = (number % 2) as u32;
        let sequence = ledger.next_sequence(producer, 0);
        let variant = if codec == Codec::None { 0 } else { sequence / RECORDS as u64 % VARIANTS };
        let mut template =
            Template::new(&load, &shape, RECORDS, variant, &topic, Versions::LATEST).expect("a template");
        template.address(number as i32, &topic);
        let stamp = Stamp { producer, sequence, identity: None };
        let crc = template.stamp(&shape, 0, 0, &stamp, |record| number * 10 + record as u64);
        ledger.batch(producer, 0, RECORDS as u64, crc);
        let offset = (number as usize * RECORDS) as i64;
        ledger.offset(producer, 0, offset);
        batches.push(batch_of(template.frame(), number as i32, offset));
    }
    Sent { shape, ledger, batches }
}

/// The batch in a request, as a broker keeps it.
fn batch_of(request: &[u8], correlation_id: i32, offset: i64) -> Vec<u8> {
    let (header, mut r) = frame::read_request(&request[4..]).expect("a request");
    assert_eq!((header.api_version, header.correlation_id), (13, correlation_id));
    let request = ProduceRequest::read(&mut r, 13).expect("a Produce request");
    let part = &request.topic_data[0].partition_data[0];
    assert_eq!((request.topic_data[0].topic_id, part.index), (Uuid([7; 16]), 0));
    let mut batch = part.records.expect("records").to_vec();
    set_base_offset(&mut batch, offset);
    batch
}

/// Reads the batches, renumbered as a broker would that did not notice, and compares.
fn read(sent: &Sent, batches: &[Vec<u8>]) -> Result<Vec<u64>, BenchError> {
    let mut checker = Checker::new(Arc::clone(&sent.shape), 2, 1);
    let mut times = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let mut batch = batch.clone();
        set_base_offset(&mut batch, (number * RECORDS) as i64);
        let whole = checker.feed(0, &batch, |ns| times.push(ns))?;
        assert_eq!(whole, batch.len());
    }
    sent.ledger.compare(checker.read(), true)?;
    Ok(times)
}

const CODECS: [Codec; 2] = [Codec::None, Codec::Lz4];

#[track_caller]
fn assert_found(change: impl Fn(&mut Vec<Vec<u8>>), what: &str) {
    for codec in CODECS {
        let sent = sent(codec);
        let mut batches = sent.batches.clone();
        change(&mut batches);
        let error = read(&sent, &batches).expect_err("it is found").to_string();
        assert!(error.contains(what), "{codec:?}: {error}");
    }
}

#[test]
fn what_was_sent_is_what_is_read() {
    for codec in CODECS {
        let sent = sent(codec);
        let times = read(&sent, &sent.batches).expect("all is well");
        let all = (0..40).flat_map(|number| (0..RECORDS as u64).map(move |record| number * 10 + record));
        assert!(times.is_empty() == (codec != Codec::None) && (times.is_empty() || all.eq(times)));
    }
}

#[test]
fn a_lost_batch() {
    assert_found(|batches| drop(batches.remove(10)), "lost");
    assert_found(|batches| drop(batches.pop()), "records, and");
}

#[test]
fn as_many_lost_batches_of_one_producer_as_there_are_variants() {
    let sent = sent(Codec::Lz4);
    let mut batches = sent.batches.clone();
    let mut number = 0;
    batches.retain(|_| {
        number += 1;
        number % 2 == 0 || !(5..5 + 2 * VARIANTS).contains(&number)
    });
    assert_eq!(batches.len() as u64, 40 - VARIANTS);
    let error = read(&sent, &batches).expect_err("it is found").to_string();
    assert!(error.contains("records, and"), "{error}");
}

#[test]
fn a_doubled_batch() {
    assert_found(|batches| batches.insert(10, batches[9].clone()), "doubled");
    assert_found(|batches| batches.push(batches[39].clone()), "doubled");
}

#[test]
fn reordered_batches() {
    assert_found(|batches| batches.swap(10, 12), "out of order");
    // Of two producers: each one's are in order, but the offsets are not the acknowledged ones.
    assert_found(|batches| batches.swap(10, 11), "other offsets");
}

#[test]
fn a_changed_batch() {
    let last = |batches: &mut Vec<Vec<u8>>| *batches[5].last_mut().expect("a byte") ^= 1;
    assert_found(last, "CRC");
    // With a checksum that fits.
    let sealed = |batches: &mut Vec<Vec<u8>>| {
        let batch = &mut batches[5];
        let at = batch.len() - 10;
        batch[at] ^= 1;
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    };
    assert_found(sealed, "are not the ones");
}

#[test]
fn a_gap_in_the_offsets() {
    let sent = sent(Codec::None);
    let mut checker = Checker::new(Arc::clone(&sent.shape), 2, 1);
    checker.feed(0, &sent.batches[0], |_| {}).expect("the first");
    let error = checker.feed(0, &sent.batches[2], |_| {}).expect_err("the second is missing");
    assert!(error.to_string().contains("offset 3 should come"), "{error}");
}
