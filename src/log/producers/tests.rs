//! The rules of `ProducerAppendInfo`, case by case.

use super::*;
use crate::wire::record::{BatchBuilder, BatchHeader};

fn batch(id: ProducerId, epoch: i16, sequence: i32, base: Offset, records: i32, txn: bool) -> PlannedBatch {
    let mut builder = BatchBuilder::new(base).producer(id, epoch, sequence);
    if txn {
        builder = builder.transactional();
    }
    for i in 0..records {
        builder.append(1000 + i64::from(i), None, Some(b"v"), &[]);
    }
    PlannedBatch { header: BatchHeader::parse(&builder.build()).unwrap(), marker: None }
}

fn marker(id: ProducerId, epoch: i16, base: Offset, commit: bool, coordinator_epoch: i32) -> PlannedBatch {
    let bytes = BatchBuilder::end_transaction(base, id, epoch, commit, coordinator_epoch, 2000).build();
    let marker = Marker { commit, coordinator_epoch, timestamp: 2000 };
    PlannedBatch { header: BatchHeader::parse(&bytes).unwrap(), marker: Some(marker) }
}

fn append_as(
    p: &mut Producers,
    batch: PlannedBatch,
    origin: AppendOrigin,
    version: i16,
) -> Result<Vec<AbortedTransaction>, AppendError> {
    match p.check(&[batch], origin, version)? {
        Checked::Accept(update) => Ok(p.apply(update)),
        Checked::Duplicate(mark) => panic!("a duplicate of {mark:?}"),
    }
}

fn append(p: &mut Producers, batch: PlannedBatch) -> Result<(), AppendError> {
    append_as(p, batch, AppendOrigin::Client, 0).map(|_| ())
}

#[test]
fn sequences_follow_and_wrap() {
    let mut p = Producers::default();
    append(&mut p, batch(1, 0, i32::MAX - 1, 0, 2, false)).expect("any sequence without state");
    append(&mut p, batch(1, 0, 0, 2, 1, false)).expect("zero follows the largest");
    let gap = append(&mut p, batch(1, 0, 2, 3, 1, false)).unwrap_err();
    assert!(matches!(gap, AppendError::OutOfOrderSequence { expected: 1, sequence: 2, .. }), "{gap}");
    let new_epoch = append(&mut p, batch(1, 1, 1, 3, 1, false)).unwrap_err();
    assert!(matches!(new_epoch, AppendError::OutOfOrderSequence { expected: 0, .. }), "{new_epoch}");
    append(&mut p, batch(1, 1, 0, 3, 1, false)).expect("a new epoch starts at zero");
    let old = append(&mut p, batch(1, 0, 1, 4, 1, false)).unwrap_err();
    assert!(matches!(old, AppendError::InvalidProducerEpoch { epoch: 0, current: 1, .. }), "{old}");
}

#[test]
fn a_sequence_that_wraps_within_a_batch_is_recognised() {
    let mut p = Producers::default();
    let wrapping = batch(1, 0, i32::MAX - 1, 0, 4, false);
    append(&mut p, wrapping).unwrap();
    assert_eq!(p.get(1).unwrap().last_sequence(), 1);
    let again = p.check(&[wrapping], AppendOrigin::Client, 0).unwrap();
    assert!(matches!(again, Checked::Duplicate(mark) if mark.first_offset() == 0 && mark.last_offset == 3));
}

#[test]
fn the_last_five_batches_are_recognised() {
    let mut p = Producers::default();
    for i in 0..6 {
        append(&mut p, batch(1, 0, i * 2, i64::from(i) * 2, 2, false)).unwrap();
    }
    for i in 1..6 {
        let again = p.check(&[batch(1, 0, i * 2, 99, 2, false)], AppendOrigin::Client, 0).unwrap();
        let Checked::Duplicate(mark) = again else { panic!("batch {i} was not recognised") };
        assert_eq!((mark.first_offset(), mark.last_offset), (i64::from(i) * 2, i64::from(i) * 2 + 1));
    }
    let oldest = p.check(&[batch(1, 0, 0, 99, 2, false)], AppendOrigin::Client, 0).unwrap_err();
    assert!(matches!(oldest, AppendError::OutOfOrderSequence { .. }), "{oldest}");
    let part = p.check(&[batch(1, 0, 10, 99, 1, false)], AppendOrigin::Client, 0).unwrap_err();
    assert!(matches!(part, AppendError::OutOfOrderSequence { .. }), "another size is no duplicate: {part}");
}

#[test]
fn a_transaction_holds_the_stable_offset_until_its_end_is_replicated() {
    let mut p = Producers::default();
    append(&mut p, batch(1, 0, 0, 10, 2, true)).unwrap();
    append(&mut p, batch(2, 0, 0, 12, 1, true)).unwrap();
    assert_eq!(p.first_unstable_offset(99), Some(10));
    let aborted = append_as(&mut p, marker(1, 0, 13, false, 0), AppendOrigin::Coordinator, 0).unwrap();
    let expected =
        AbortedTransaction { producer_id: 1, first_offset: 10, last_offset: 13, last_stable_offset: 12 };
    assert_eq!(aborted, [expected]);
    assert_eq!(p.first_unstable_offset(13), Some(10), "its marker is not below the high watermark");
    assert_eq!(p.first_unstable_offset(14), Some(12));
    let none = append_as(&mut p, marker(2, 0, 14, true, 0), AppendOrigin::Coordinator, 0).unwrap();
    assert!(none.is_empty());
    assert_eq!(p.first_unstable_offset(15), None);
    p.forget_ended(15);
    assert_eq!(p.first_unstable_offset(0), None);
}

#[test]
fn markers_of_version_two_raise_the_epoch() {
    let mut p = Producers::default();
    append(&mut p, batch(1, 3, 0, 0, 1, true)).unwrap();
    let late = append_as(&mut p, marker(1, 3, 1, true, 0), AppendOrigin::Coordinator, 2).unwrap_err();
    assert!(matches!(late, AppendError::InvalidProducerEpoch { .. }), "{late}");
    append_as(&mut p, marker(1, 4, 1, true, 0), AppendOrigin::Coordinator, 2).unwrap();
    append_as(&mut p, marker(1, 4, 2, true, 0), AppendOrigin::Coordinator, 2).expect("a repeated marker");
    append(&mut p, batch(1, 4, 0, 3, 1, true)).expect("the raised epoch starts at zero");
}

#[test]
fn refusals_of_transactions() {
    let mut p = Producers::default();
    append(&mut p, batch(1, 0, 0, 0, 1, true)).unwrap();
    let outside = append(&mut p, batch(1, 0, 1, 1, 1, false)).unwrap_err();
    assert!(matches!(outside, AppendError::InvalidTransactionState(1)), "{outside}");
    append_as(&mut p, marker(1, 0, 1, true, 5), AppendOrigin::Coordinator, 0).unwrap();
    let zombie = append_as(&mut p, marker(1, 0, 2, true, 4), AppendOrigin::Coordinator, 0).unwrap_err();
    assert!(matches!(zombie, AppendError::CoordinatorFenced { epoch: 4, current: 5, .. }), "{zombie}");
    append_as(&mut p, marker(1, 0, 2, true, 4), AppendOrigin::Replication, 0).expect("a copy is not checked");
}

#[test]
fn silent_producers_expire_unless_in_a_transaction() {
    let mut p = Producers::default();
    append(&mut p, batch(1, 0, 0, 0, 1, true)).unwrap();
    append(&mut p, batch(2, 0, 0, 1, 1, false)).unwrap();
    p.expire(1000 + 99, 100);
    assert_eq!(p.iter().len(), 2);
    p.expire(1000 + 100, 100);
    assert_eq!(p.describe(0, 9).0.iter().map(|d| d.producer_id).collect::<Vec<_>>(), [1]);
}

/// All producers of a partition were copied at once, 55 MB of 1.5 million.
#[test]
fn producers_are_described_some_at_a_time() {
    let mut p = Producers::default();
    for id in 1..=10 {
        append(&mut p, batch(id, 0, 0, id, 1, false)).unwrap();
    }
    let ids = |(described, more): (Vec<ProducerDescription>, bool)| -> (Vec<i64>, bool) {
        (described.iter().map(|d| d.producer_id).collect(), more)
    };
    assert_eq!(ids(p.describe(i64::MIN, 4)), (vec![1, 2, 3, 4], true));
    assert_eq!(ids(p.describe(5, 4)), (vec![5, 6, 7, 8], true));
    assert_eq!(ids(p.describe(9, 4)), (vec![9, 10], false));
}
