//! Whether every record came back, once, in order and unchanged.

use super::BenchError;
use super::template::{Mark, Shape, VARIANTS, variant_of};
use crate::wire::record::{BatchView, Batches, Codec};
use std::sync::Arc;

/// What is known of one producer's records in one partition. The chains are hashes over checksums and offsets in the
/// order of sending, so that nothing needs to be kept for each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    records: u64,
    checksums: u64,
    offsets: u64,
}

fn chain(state: u64, next: u64) -> u64 {
    (state ^ next).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// What was sent and acknowledged, or what was read.
#[derive(Clone, Debug)]
pub struct Ledger {
    partitions: usize,
    cells: Vec<Cell>,
    records: u64,
    partition_records: Vec<u64>,
}

impl Ledger {
    /// Nothing yet.
    pub fn new(producers: usize, partitions: usize) -> Ledger {
        Ledger {
            partitions,
            cells: vec![Cell::default(); producers * partitions],
            records: 0,
            partition_records: vec![0; partitions],
        }
    }

    fn cell(&mut self, producer: u32, partition: usize) -> Option<&mut Cell> {
        self.cells.get_mut(producer as usize * self.partitions + partition)
    }

    /// Records of all producers.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records in a partition.
    pub fn partition_records(&self, partition: usize) -> u64 {
        self.partition_records.get(partition).copied().unwrap_or_default()
    }

    /// The number of the producer's next record in a partition.
    pub fn next_sequence(&mut self, producer: u32, partition: usize) -> u64 {
        self.cell(producer, partition).map_or(0, |cell| cell.records)
    }

    /// A batch was sent (or read).
    pub fn batch(&mut self, producer: u32, partition: usize, records: u64, crc: u32) {
        self.records += records;
        if let Some(count) = self.partition_records.get_mut(partition) {
            *count += records;
        }
        if let Some(cell) = self.cell(producer, partition) {
            cell.records += records;
            cell.checksums = chain(cell.checksums, u64::from(crc));
        }
    }

    /// The offset that the producer was told for its next batch (or that was read).
    pub fn offset(&mut self, producer: u32, partition: usize, offset: i64) {
        if let Some(cell) = self.cell(producer, partition) {
            cell.offsets = chain(cell.offsets, offset as u64);
        }
    }

    /// Whether what was read is what was sent. `offsets` is false where nothing was acknowledged.
    pub fn compare(&self, read: &Ledger, offsets: bool) -> Result<(), BenchError> {
        for (index, (sent, read)) in self.cells.iter().zip(&read.cells).enumerate() {
            let (producer, partition) = (index / self.partitions, index % self.partitions);
            let wrong = |what: String| Err(BenchError::Record { partition, offset: -1, what });
            if sent.records != read.records {
                let (sent, read) = (sent.records, read.records);
                return wrong(format!("producer {producer} sent {sent} records, and {read} came back"));
            }
            if sent.checksums != read.checksums {
                return wrong(format!("batches of producer {producer} are not the ones that it sent"));
            }
            if offsets && sent.offsets != read.offsets {
                return wrong(format!("producer {producer} was told other offsets than its batches have"));
            }
        }
        Ok(())
    }
}

/// Checks batches of all partitions as one consumer reads them, from the start of each.
pub struct Checker {
    shape: Arc<Shape>,
    read: Ledger,
    next_offset: Vec<i64>,
}

impl Checker {
    /// Nothing was read yet.
    pub fn new(shape: Arc<Shape>, producers: usize, partitions: usize) -> Checker {
        Checker { shape, read: Ledger::new(producers, partitions), next_offset: vec![0; partitions] }
    }

    /// The offset that is to be read next.
    pub fn next_offset(&self, partition: usize) -> i64 {
        self.next_offset.get(partition).copied().unwrap_or_default()
    }

    /// What was read so far.
    pub fn read(&self) -> &Ledger {
        &self.read
    }

    /// The next bytes of a partition: whole batches, and perhaps the start of one more. Gives the whole batches'
    /// bytes; calls `record` with the intended time of each record, unless it is compressed.
    ///
    /// # Errors
    /// A record that is lost, doubled, out of order or changed.
    pub fn feed(
        &mut self,
        partition: usize,
        bytes: &[u8],
        mut record: impl FnMut(u64),
    ) -> Result<usize, BenchError> {
        let mut whole = 0;
        for batch in Batches::new(bytes).truncated_tail() {
            let offset = self.next_offset(partition);
            let batch = batch.map_err(|e| wrong(partition, offset, e.to_string()))?;
            self.batch(partition, &batch, &mut record)?;
            whole += batch.bytes().len();
        }
        Ok(whole)
    }

    fn batch(
        &mut self,
        partition: usize,
        batch: &BatchView<'_>,
        record: &mut impl FnMut(u64),
    ) -> Result<(), BenchError> {
        let (header, expected) = (batch.header(), self.next_offset(partition));
        let base = header.base_offset;
        if base != expected {
            return Err(wrong(
                partition,
                base,
                format!("{}: offset {expected} should come", gap(base, expected)),
            ));
        }
        batch.check_crc().map_err(|e| wrong(partition, base, e.to_string()))?;
        let records = header.records_count as usize;
        let ends = self.shape.end.get(records.wrapping_sub(1));
        let Some(end) = ends.filter(|_| header.last_offset_delta == header.records_count - 1) else {
            return Err(wrong(partition, base, format!("a batch of {records} records, which was not sent")));
        };
        let producer = if self.shape.codec == Codec::None {
            if *end != batch.bytes().len() {
                let found = batch.bytes().len();
                return Err(wrong(partition, base, format!("a batch of {found} bytes and not {end}")));
            }
            self.marks(partition, batch, records, record)?
        } else {
            self.variant(partition, batch, records)?
        };
        self.read.batch(producer, partition, records as u64, header.crc);
        self.read.offset(producer, partition, base);
        if let Some(next) = self.next_offset.get_mut(partition) {
            *next = header.next_offset();
        }
        Ok(())
    }

    /// The producer of an uncompressed batch; its records follow one another.
    fn marks(
        &mut self,
        partition: usize,
        batch: &BatchView<'_>,
        records: usize,
        record: &mut impl FnMut(u64),
    ) -> Result<u32, BenchError> {
        let (bytes, base) = (batch.bytes(), batch.header().base_offset);
        let mut of: Option<(u32, u64)> = None;
        for (index, at) in self.shape.mark_at.iter().enumerate().take(records) {
            let offset = base + index as i64;
            let Some(mark) = bytes.get(*at..).and_then(Mark::get) else {
                return Err(wrong(partition, offset, "a record without our mark".to_owned()));
            };
            let (producer, first) = match of {
                Some(of) => of,
                None if self.read.cell(mark.producer, partition).is_some() => {
                    (mark.producer, self.read.next_sequence(mark.producer, partition))
                }
                None => {
                    return Err(wrong(partition, offset, format!("no producer {} was here", mark.producer)));
                }
            };
            of = Some((producer, first));
            let expected = first + index as u64;
            if mark.producer != producer || mark.sequence != expected {
                let what = gap(mark.sequence as i64, expected as i64);
                let (from, found) = (mark.producer, mark.sequence);
                let what =
                    format!("{what}: record {found} of producer {from}, and not {expected} of {producer}");
                return Err(wrong(partition, offset, what));
            }
            record(mark.intended_ns);
        }
        of.map(|(producer, _)| producer).ok_or_else(|| wrong(partition, base, "an empty batch".to_owned()))
    }

    /// The producer of a compressed batch.
    fn variant(
        &mut self,
        partition: usize,
        batch: &BatchView<'_>,
        records: usize,
    ) -> Result<u32, BenchError> {
        let base = batch.header().base_offset;
        let found = variant_of(&self.shape, batch.header());
        let Some((producer, variant)) = found.filter(|(p, _)| self.read.cell(*p, partition).is_some()) else {
            return Err(wrong(partition, base, "a batch that nobody sent".to_owned()));
        };
        let expected = self.read.next_sequence(producer, partition) / records as u64 % VARIANTS;
        if variant != expected {
            let what = format!(
                "lost, doubled or out of order: batch {variant} of producer {producer} and not {expected}"
            );
            return Err(wrong(partition, base, what));
        }
        Ok(producer)
    }
}

fn gap(found: i64, expected: i64) -> &'static str {
    if found > expected { "lost or out of order" } else { "doubled or out of order" }
}

fn wrong(partition: usize, offset: i64, what: String) -> BenchError {
    BenchError::Record { partition, offset, what }
}

#[cfg(test)]
mod tests;
