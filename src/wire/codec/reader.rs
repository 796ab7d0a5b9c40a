//! The reader: a cursor over borrowed bytes that never reads behind them and never allocates beyond its budget.

use std::borrow::Cow;

use super::body::{Malformed, may_note};
use super::{DecodeError, DecodeErrorKind, Element, utf8};
use crate::base::Uuid;
use crate::base::limits::DECODED_ARRAYS_BYTES_MAX;

/// Bytes of memory that the arrays of an input may take for each byte of its length. The least compact struct
/// of the protocol stays below it (asserted where arrays are read), so no honest frame meets it.
pub const ALLOC_PER_BYTE: usize = 32;
/// Bytes of memory that the arrays of any input may take on top of [`ALLOC_PER_BYTE`].
pub const ALLOC_BASE: usize = 4096;

/// An array's first allocation is at most this, however many elements it claims.
const ARRAY_FIRST_BYTES: usize = 16 << 10;

pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

type Result<T> = std::result::Result<T, DecodeError>;

/// A cursor over a frame. Everything it gives out borrows from the frame, not from the reader.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: usize,
    /// Strings that are not UTF-8, if they are no error but to be noted; they are read as empty.
    malformed: Option<Vec<Malformed>>,
}

macro_rules! numbers {
    ($($method:ident: $type:ty, $text:literal;)*) => {$(
        #[doc = concat!("A big-endian ", $text, ".")]
        #[inline]
        pub fn $method(&mut self) -> Result<$type> {
            self.chunk($text).map(<$type>::from_be_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        let budget = bytes.len().saturating_mul(ALLOC_PER_BYTE).saturating_add(ALLOC_BASE);
        Reader { bytes, at: 0, budget: budget.min(DECODED_ARRAYS_BYTES_MAX), malformed: None }
    }

    /// A reader that notes which strings are not UTF-8.
    pub(super) fn noting_malformed(bytes: &'a [u8]) -> Reader<'a> {
        Reader { malformed: Some(Vec::new()), ..Reader::new(bytes) }
    }

    /// The strings that were noted, in their order.
    pub(super) fn take_malformed(&mut self) -> Vec<Malformed> {
        self.malformed.take().unwrap_or_default()
    }

    /// Bytes from the start of the input to the cursor.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes from the cursor to the end of the input.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes behind the cursor, which stays.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Memory in bytes that arrays may still take.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// An error at the cursor.
    #[cold]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, message: "", version: -1, offset: self.at, remaining: self.remaining() }
    }

    #[inline]
    fn chunk<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.error(DecodeErrorKind::Short { what, needs: N })),
        }
    }

    #[inline]
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.error(DecodeErrorKind::Short { what, needs: length })),
        }
    }

    numbers! {
        i8: i8, "int8";
        i16: i16, "int16";
        i32: i32, "int32";
        i64: i64, "int64";
        u16: u16, "uint16";
        u32: u32, "uint32";
        f64: f64, "float64";
    }

    /// A bool: a byte, true unless zero.
    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.chunk("uuid").map(Uuid)
    }

    /// `length` bytes as they are.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        self.take(length, "raw bytes")
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(*byte))
            }
            _ => self.varint_bits(32).map(|bits| bits as u32),
        }
    }

    /// A zigzag varint of at most 32 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<i32> {
        let bits = self.uvarint()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// A zigzag varint of at most 64 bits.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64> {
        let bits = self.varint_bits(64)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, width: u32) -> Result<u64> {
        let mut value = 0u64;
        for (i, byte) in self.rest().iter().enumerate() {
            let shift = 7 * i as u32;
            let bits = u64::from(byte & 0x7f);
            if shift >= width || (width - shift < 7 && bits >> (width - shift) != 0) {
                return Err(self.error(DecodeErrorKind::Varint));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(DecodeErrorKind::Short { what: "varint", needs: self.remaining() + 1 }))
    }

    /// A length or count written as varint plus one (`flex`), int16 (`short`) or int32. None for null.
    #[inline]
    fn length(&mut self, flex: bool, short: bool, what: &'static str) -> Result<Option<usize>> {
        let length = match (flex, short) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, true) => i64::from(self.i16()?),
            (false, false) => i64::from(self.i32()?),
        };
        match length {
            -1 => Ok(None),
            0..=0x7fff_ffff => Ok(Some(length as usize)),
            _ => Err(self.error(DecodeErrorKind::Length { what, length })),
        }
    }

    #[cold]
    fn null<T>(&self, what: &'static str) -> Result<T> {
        Err(self.error(DecodeErrorKind::Null(what)))
    }

    /// A string, in a flexible version (`flex`) a compact one. It must be UTF-8; a request's body where it is not is written
    /// anew ([`super::Body`]).
    #[inline]
    pub fn string(&mut self, flex: bool) -> Result<&'a str> {
        match self.nullable_string(flex)? {
            Some(string) => Ok(string),
            None => self.null("a string"),
        }
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flex: bool) -> Result<Option<&'a str>> {
        let at = self.at;
        let Some(bytes) = self.string_bytes(flex)? else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => self.malformed_string(at, bytes.len(), flex),
        }
    }

    #[cold]
    fn malformed_string(&mut self, at: usize, length: usize, flex: bool) -> Result<Option<&'a str>> {
        let end = self.at;
        match &mut self.malformed {
            Some(noted) if may_note(noted) => {
                noted.push(Malformed { at, text_at: end - length, end, flex });
                Ok(Some(""))
            }
            _ => Err(self.error(DecodeErrorKind::Utf8)),
        }
    }

    /// A string that is not compact, or null, with replacement characters for what is not UTF-8.
    pub fn lossy_string(&mut self) -> Result<Option<Cow<'a, str>>> {
        Ok(self.string_bytes(false)?.map(utf8::text))
    }

    fn string_bytes(&mut self, flex: bool) -> Result<Option<&'a [u8]>> {
        let Some(length) = self.length(flex, true, "a string")? else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(self.error(DecodeErrorKind::Length { what: "a string", length: length as i64 }));
        }
        self.take(length, "a string").map(Some)
    }

    /// A string, or null if the version allows it.
    pub fn maybe_string(&mut self, flex: bool, null_allowed: bool) -> Result<Option<&'a str>> {
        match self.nullable_string(flex)? {
            None if !null_allowed => self.null("a string"),
            string => Ok(string),
        }
    }

    /// Bytes with a length in front.
    pub fn bytes(&mut self, flex: bool) -> Result<&'a [u8]> {
        match self.nullable_bytes(flex)? {
            Some(bytes) => Ok(bytes),
            None => self.null("bytes"),
        }
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flex: bool) -> Result<Option<&'a [u8]>> {
        match self.length(flex, false, "bytes")? {
            Some(length) => self.take(length, "bytes").map(Some),
            None => Ok(None),
        }
    }

    /// Bytes, or null if the version allows it.
    pub fn maybe_bytes(&mut self, flex: bool, null_allowed: bool) -> Result<Option<&'a [u8]>> {
        match self.nullable_bytes(flex)? {
            None if !null_allowed => self.null("bytes"),
            bytes => Ok(bytes),
        }
    }

    /// An array's count of elements that take at least `wire_min` bytes each. None for null.
    pub fn count(&mut self, flex: bool, wire_min: usize) -> Result<Option<usize>> {
        let Some(count) = self.length(flex, false, "an array")? else { return Ok(None) };
        if count > self.remaining() / wire_min.max(1) {
            return Err(self.error(DecodeErrorKind::Count { count }));
        }
        Ok(Some(count))
    }

    /// `count` elements. Memory grows with what is really there and is paid for from the budget.
    fn items<T>(&mut self, count: usize, mut get: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let item_bytes = size_of::<T>().max(1);
        let mut items: Vec<T> = Vec::new();
        while items.len() < count {
            if items.len() == items.capacity() {
                let more = items.len().max(ARRAY_FIRST_BYTES / item_bytes).max(1).min(count - items.len());
                match self.budget.checked_sub(more * item_bytes) {
                    Some(budget) => self.budget = budget,
                    None => return Err(self.error(DecodeErrorKind::Memory)),
                }
                items.reserve_exact(more);
            }
            items.push(get(self)?);
        }
        Ok(items)
    }

    /// An array.
    pub fn array<T: Element<'a>>(&mut self, flex: bool, version: i16) -> Result<Vec<T>> {
        match self.nullable_array(flex, version)? {
            Some(array) => Ok(array),
            None => self.null("an array"),
        }
    }

    /// An array or null.
    pub fn nullable_array<T: Element<'a>>(&mut self, flex: bool, version: i16) -> Result<Option<Vec<T>>> {
        const { assert!(T::WIRE_MIN > 0 && size_of::<T>() <= ALLOC_PER_BYTE * T::WIRE_MIN) };
        match self.count(flex, T::WIRE_MIN)? {
            Some(count) => self.items(count, |r| T::get(r, version)).map(Some),
            None => Ok(None),
        }
    }

    /// An array, or null if the version allows it.
    pub fn maybe_array<T: Element<'a>>(
        &mut self,
        flex: bool,
        version: i16,
        null_allowed: bool,
    ) -> Result<Option<Vec<T>>> {
        match self.nullable_array(flex, version)? {
            None if !null_allowed => self.null("an array"),
            array => Ok(array),
        }
    }

    /// An array of strings.
    pub fn strings(&mut self, flex: bool) -> Result<Vec<&'a str>> {
        match self.nullable_strings(flex)? {
            Some(array) => Ok(array),
            None => self.null("an array"),
        }
    }

    /// An array of strings, or null.
    pub fn nullable_strings(&mut self, flex: bool) -> Result<Option<Vec<&'a str>>> {
        match self.count(flex, if flex { 1 } else { 2 })? {
            Some(count) => self.items(count, |r| r.string(flex)).map(Some),
            None => Ok(None),
        }
    }

    /// An array of strings, or null if the version allows it.
    pub fn maybe_strings(&mut self, flex: bool, null_allowed: bool) -> Result<Option<Vec<&'a str>>> {
        match self.nullable_strings(flex)? {
            None if !null_allowed => self.null("an array"),
            array => Ok(array),
        }
    }

    /// A struct or null: an int8 in front, negative for null.
    pub fn nullable_struct<T: Element<'a>>(&mut self, version: i16) -> Result<Option<T>> {
        match self.i8()? {
            ..0 => Ok(None),
            0.. => T::get(self, version).map(Some),
        }
    }

    /// A struct or null as the value of a tagged field: an unsigned varint in front, zero for null.
    pub fn tagged_struct<T: Element<'a>>(&mut self, version: i16) -> Result<Option<T>> {
        match self.uvarint()? {
            0 => Ok(None),
            _ => T::get(self, version).map(Some),
        }
    }

    /// The tagged fields at a struct's end. `get` reads the value of a tag it knows and says so; it sees no more
    /// than that value. Tags it does not know are skipped.
    pub fn tags(&mut self, mut get: impl FnMut(&mut Self, u32) -> Result<bool>) -> Result<()> {
        let count = self.uvarint()?;
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let end = self.at
                + self.rest().get(..size).map_or_else(
                    || Err(self.error(DecodeErrorKind::Short { what: "a tagged field", needs: size })),
                    |value| Ok(value.len()),
                )?;
            let whole = self.bytes;
            self.bytes = whole.get(..end).unwrap_or_default();
            // The size of a tagged field would change with its strings: these have to be UTF-8.
            let noted = self.malformed.take();
            let known = get(self, tag);
            self.malformed = noted;
            let read = self.at;
            self.bytes = whole;
            if known? && read != end {
                return Err(self.error(DecodeErrorKind::Tag { tag }));
            }
            self.at = end;
        }
        Ok(())
    }

    /// Skips the tagged fields at the end of a struct that knows none.
    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(false))
    }
}
