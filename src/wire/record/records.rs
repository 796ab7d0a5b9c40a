//! The records of a batch, uncompressed: bounded, strict, without allocation.

use super::RecordError;
use super::varint::{read_i32, read_i64};

/// One record. Everything borrows from the batch or from the scratch it was decompressed into.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's base timestamp, milliseconds; see `BatchHeader::timestamp`.
    pub timestamp_delta: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by Kafka's convention, which is not checked here: brokers pass headers through.
    pub key: &'a [u8],
    /// The value, which may be null.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: &'a [u8],
    count: i32,
}

impl Headers<'_> {
    /// Headers left.
    pub fn len(&self) -> usize {
        self.count.max(0) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count <= 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.count <= 0 {
            return None;
        }
        self.count -= 1;
        // The record was walked to its end when it was read, so this does not fail.
        read_header(&mut self.left).ok()
    }
}

/// The records of a batch. An error ends the iteration; bytes after the last record are an error as well,
/// returned in place of that record (as Kafka's `DefaultRecordBatch` does).
#[derive(Clone, Debug)]
pub struct Records<'a> {
    left: &'a [u8],
    count: i32,
    read: i32,
}

impl<'a> Records<'a> {
    /// `bytes` are uncompressed records, `count` is how many the batch header counts.
    pub fn new(bytes: &'a [u8], count: i32) -> Result<Records<'a>, RecordError> {
        match count {
            ..0 => Err(RecordError::Count(count)),
            0 if !bytes.is_empty() => Err(RecordError::Trailing { count, left: bytes.len() }),
            _ => Ok(Records { left: bytes, count, read: 0 }),
        }
    }

    #[inline]
    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let index = self.read;
        let malformed = |reason| RecordError::Record { index, reason };
        let length = read_i32(&mut self.left).ok_or_else(|| malformed("its length is cut short"))?;
        let length = usize::try_from(length).map_err(|_| malformed("its length is negative"))?;
        let Some((body, left)) = self.left.split_at_checked(length) else {
            return Err(malformed("it is longer than the batch"));
        };
        let record = read_record(body).map_err(malformed)?;
        self.left = left;
        self.read += 1;
        if self.read == self.count && !left.is_empty() {
            return Err(RecordError::Trailing { count: self.count, left: left.len() });
        }
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.count {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.read = self.count;
        }
        Some(record)
    }
}

/// Reads one record from exactly its bytes.
#[inline]
fn read_record(body: &[u8]) -> Result<Record<'_>, &'static str> {
    // The attributes byte is unused in format 2.
    let (_, mut left) = body.split_first().ok_or("it is empty")?;
    let left = &mut left;
    let timestamp_delta = read_i64(left).ok_or("its timestamp delta is cut short")?;
    let offset_delta = read_i32(left).ok_or("its offset delta is cut short")?;
    let key = read_nullable(left).ok_or("its key is longer than the record")?;
    let value = read_nullable(left).ok_or("its value is longer than the record")?;
    let count = read_i32(left).ok_or("its header count is cut short")?;
    let headers = Headers { left, count };
    walk_headers(left, count)?;
    if left.is_empty() {
        Ok(Record { offset_delta, timestamp_delta, key, value, headers })
    } else {
        Err("bytes follow its last header")
    }
}

fn walk_headers(left: &mut &[u8], count: i32) -> Result<(), &'static str> {
    // A header has at least two bytes, so a count beyond the bytes fails within them.
    if count < 0 {
        return Err("its header count is negative");
    }
    for _ in 0..count {
        read_header(left)?;
    }
    Ok(())
}

fn read_header<'a>(left: &mut &'a [u8]) -> Result<Header<'a>, &'static str> {
    let key = read_nullable(left).ok_or("a header key is longer than the record")?;
    let key = key.ok_or("a header key is null")?;
    let value = read_nullable(left).ok_or("a header value is longer than the record")?;
    Ok(Header { key, value })
}

/// A length and that many bytes; null is -1, or any other negative length, as in Kafka. The outer `None` means that the
/// bytes end.
#[inline]
#[allow(clippy::option_option)] // "not readable" and "null" are different things
fn read_nullable<'a>(left: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_i32(left)?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    let (bytes, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some(Some(bytes))
}
