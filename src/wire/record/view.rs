//! A checked look at batches that lie one after another in memory.

use super::header::crc_of;
use super::{BatchHeader, Codec, HEADER_BYTES, RecordError, Records, Scratch};

/// One batch: its header, parsed, and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`, which may go on after it. Checks magic and length but not the
    /// checksum: see [`BatchView::check_crc`].
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>, RecordError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.total_bytes();
        match bytes.get(..need) {
            Some(bytes) => Ok(BatchView { header, bytes }),
            None => Err(RecordError::Truncated { need, have: bytes.len() }),
        }
    }

    /// Whether the header's checksum is that of the bytes.
    pub fn check_crc(&self) -> Result<(), RecordError> {
        let (stored, computed) = (self.header.crc, crc_of(self.bytes));
        if stored == computed { Ok(()) } else { Err(RecordError::Crc { stored, computed }) }
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes after the header, compressed as the attributes say.
    pub fn records_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The records; decompressed into `scratch` if need be, to at most `limit_bytes`.
    pub fn records<'s>(
        &self,
        scratch: &'s mut Scratch,
        limit_bytes: usize,
    ) -> Result<Records<'s>, RecordError>
    where
        'a: 's,
    {
        let bytes = match self.header.attributes.codec()? {
            Codec::None => self.records_bytes(),
            codec => scratch.decompress(codec, self.records_bytes(), limit_bytes)?,
        };
        Records::new(bytes, self.header.records_count)
    }
}

/// The batches in `bytes`, one after another, each with its checksum checked. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    check_crc: bool,
    truncated_tail: bool,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Every byte must belong to a batch.
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches { bytes, position: 0, check_crc: true, truncated_tail: false, failed: false }
    }

    /// A batch that the bytes cut short ends the iteration without an error: what a fetch returns, and the
    /// end of a segment after a crash.
    #[must_use]
    pub fn truncated_tail(mut self) -> Batches<'a> {
        self.truncated_tail = true;
        self
    }

    /// For bytes whose checksums were checked before.
    #[must_use]
    pub fn without_crc(mut self) -> Batches<'a> {
        self.check_crc = false;
        self
    }

    /// Bytes of the batches yielded so far: where the next one starts, or the valid length at the end.
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&self, left: &'a [u8]) -> Result<BatchView<'a>, RecordError> {
        let batch = BatchView::parse(left)?;
        if self.check_crc {
            batch.check_crc()?;
        }
        Ok(batch)
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.bytes.get(self.position..).unwrap_or_default();
        if self.failed || left.is_empty() {
            return None;
        }
        let read = self.read(left);
        match &read {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(RecordError::Truncated { .. }) if self.truncated_tail => {
                self.failed = true;
                return None;
            }
            Err(_) => self.failed = true,
        }
        Some(read)
    }
}
