//! The batches of the metadata log: control batches of the quorum and data batches of the controller.

use super::{ControlRecord, RaftError};
use crate::base::limits::{METADATA_BATCH_BYTES_MAX, RECORDS_UNCOMPRESSED_BYTES_MAX};
use crate::base::{LeaderEpoch, Offset, WallMs};
use crate::wire::record::{BatchBuilder, BatchView, Batches, RecordError, Scratch};

/// One record of the log or of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that wrote it.
    pub epoch: LeaderEpoch,
    /// When it was appended, milliseconds.
    pub timestamp_ms: WallMs,
    /// What it is.
    pub kind: EntryKind<'a>,
}

/// A record of the quorum or of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// The quorum's own.
    Control(ControlRecord),
    /// The value of a metadata record.
    Data(&'a [u8]),
}

/// Reads batches one after another, each with its checksum, and hands out their records.
pub struct Entries<'a> {
    batches: Batches<'a>,
    scratch: Scratch,
    next_offset: Option<Offset>,
}

impl<'a> Entries<'a> {
    /// Over bytes that are whole batches. The first may start anywhere; the others must follow without a gap.
    pub fn new(bytes: &'a [u8]) -> Entries<'a> {
        Entries { batches: Batches::new(bytes), scratch: Scratch::default(), next_offset: None }
    }

    /// The offset behind the last record that was read.
    pub fn next_offset(&self) -> Option<Offset> {
        self.next_offset
    }

    /// Calls `each` with every record of the next batch. False at the end.
    pub fn next_batch<E: From<RaftError>>(
        &mut self,
        mut each: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let at = self.next_offset.unwrap_or(0);
        let batch = match self.batches.next() {
            None => return Ok(false),
            Some(batch) => batch.map_err(|source| RaftError::Batch { offset: at, source })?,
        };
        let base = batch.header().base_offset;
        if let Some(expected) = self.next_offset
            && base != expected
        {
            return Err(RaftError::Gap { expected, found: base }.into());
        }
        self.next_offset = Some(batch.header().next_offset());
        read_batch(&batch, &mut self.scratch, &mut each)?;
        Ok(true)
    }

    /// Calls `each` with every record that is left.
    pub fn for_each<E: From<RaftError>>(
        &mut self,
        mut each: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.next_batch(&mut each)? {}
        Ok(())
    }
}

fn read_batch<E: From<RaftError>>(
    batch: &BatchView<'_>,
    scratch: &mut Scratch,
    each: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let header = *batch.header();
    let damaged = |source: RecordError| RaftError::Batch { offset: header.base_offset, source };
    let records = batch.records(scratch, RECORDS_UNCOMPRESSED_BYTES_MAX).map_err(damaged)?;
    for record in records {
        let record = record.map_err(damaged)?;
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        let value = record.value.ok_or(RaftError::NoValue(offset))?;
        let kind = if header.attributes.is_control() {
            let control = ControlRecord::decode(record.key.unwrap_or_default(), value);
            EntryKind::Control(control.map_err(|source| RaftError::Control { offset, source })?)
        } else {
            EntryKind::Data(value)
        };
        let timestamp_ms = header.timestamp(record.timestamp_delta);
        each(Entry { offset, epoch: header.partition_leader_epoch, timestamp_ms, kind })?;
    }
    Ok(())
}

/// One batch with these values, in order.
pub fn data_batch<V: AsRef<[u8]>>(
    base_offset: Offset,
    epoch: LeaderEpoch,
    now_ms: WallMs,
    values: &[V],
) -> Result<Vec<u8>, RaftError> {
    let mut builder = BatchBuilder::new(base_offset).leader_epoch(epoch);
    for value in values {
        builder.append(now_ms, None, Some(value.as_ref()), &[]);
        let bytes = builder.uncompressed_bytes();
        if bytes > METADATA_BATCH_BYTES_MAX {
            return Err(RaftError::TooLarge { bytes, max: METADATA_BATCH_BYTES_MAX });
        }
    }
    Ok(builder.build())
}
