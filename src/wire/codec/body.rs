//! A request's body. Strings are read as slices of it, so it is written anew where they are not UTF-8.

use std::cell::OnceCell;
use std::ops::Deref;

use bytes::Bytes;

use super::reader::STRING_BYTES_MAX;
use super::{DecodeError, DecodeErrorKind, Message, Reader, utf8};
use crate::base::limits::{STRINGS_REPLACED_GROWTH_BYTES_MAX, STRINGS_REPLACED_MAX};

/// The bytes of a request behind its header. Kafka takes strings that are not UTF-8, with U+FFFD for what is malformed: the
/// first reading that meets one has the body written anew in that way, and whatever is read of it later is of the new one.
#[derive(Clone, Debug, Default)]
pub struct Body {
    bytes: Bytes,
    replaced: OnceCell<Box<Bytes>>,
}

/// A string that is not UTF-8: where its length stands, where its bytes begin and end, and whether it is compact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malformed {
    pub at: usize,
    pub text_at: usize,
    pub end: usize,
    pub flex: bool,
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body { bytes, replaced: OnceCell::new() }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl Deref for Body {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        self.replaced.get().map_or(&self.bytes, |replaced| replaced)
    }
}

impl Body {
    /// The request. What lies behind it is ignored, as by [`super::decode_request`].
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode<'a, M: Message<'a>>(&'a self, version: i16) -> Result<M, DecodeError> {
        self.walk::<M, M>(version, |bytes| M::read(&mut Reader::new(bytes), version))
    }

    /// Reads a request of the form of `M` by hand; twice if there are strings that are not UTF-8.
    ///
    /// # Errors
    /// It is malformed.
    pub fn walk<'a, M: Message<'a>, T>(
        &'a self,
        version: i16,
        mut read: impl FnMut(&'a Bytes) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        match read(self) {
            Err(error) if error.kind == DecodeErrorKind::Utf8 && self.replaced.get().is_none() => {
                read(self.replace::<M>(version)?)
            }
            done => done,
        }
    }

    #[cold]
    fn replace<'a, M: Message<'a>>(&'a self, version: i16) -> Result<&'a Bytes, DecodeError> {
        let mut reader = Reader::noting_malformed(&self.bytes);
        M::read(&mut reader, version)?;
        let malformed = reader.take_malformed();
        let replaced =
            write_anew(&self.bytes, &malformed).map_err(|kind| reader.error(kind).of(M::NAME, version))?;
        Ok(self.replaced.get_or_init(|| Box::new(replaced)))
    }
}

/// The body with the text of these strings, in their order, in place of their bytes.
fn write_anew(bytes: &[u8], malformed: &[Malformed]) -> Result<Bytes, DecodeErrorKind> {
    let between = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    let bytes_max = bytes.len() + STRINGS_REPLACED_GROWTH_BYTES_MAX;
    let mut anew = Vec::with_capacity(bytes.len() + 4 * malformed.len());
    let mut done = 0;
    for string in malformed {
        let text = utf8::text(between(string.text_at, string.end));
        if text.len() > STRING_BYTES_MAX {
            return Err(DecodeErrorKind::Length { what: "a string", length: text.len() as i64 });
        }
        anew.extend_from_slice(between(done, string.at));
        put_length(&mut anew, text.len(), string.flex);
        anew.extend_from_slice(text.as_bytes());
        done = string.end;
        if anew.len() > bytes_max {
            return Err(DecodeErrorKind::Memory);
        }
    }
    anew.extend_from_slice(between(done, bytes.len()));
    Ok(anew.into())
}

/// The length of a string, an int16 or, if it is compact, an unsigned varint of one more.
fn put_length(to: &mut Vec<u8>, length: usize, flex: bool) {
    if !flex {
        return to.extend_from_slice(&(length as u16).to_be_bytes());
    }
    let mut left = length + 1;
    while left >= 0x80 {
        to.push(left as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
}

/// Whether one more string may be replaced.
pub(super) fn may_note(malformed: &[Malformed]) -> bool {
    malformed.len() < STRINGS_REPLACED_MAX
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use crate::wire::messages::{
        HeartbeatRequest, OffsetCommitRequest, offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_request::OffsetCommitRequestTopic,
    };

    /// Changes every `?` of the bytes to one that no UTF-8 has.
    fn spoiled(bytes: Vec<u8>) -> Body {
        bytes.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect::<Vec<u8>>().into()
    }

    /// A connection was closed for a metadata of a committed offset that is no text, which some clients fill with bytes.
    #[test]
    fn strings_that_are_no_text_have_replacement_characters() {
        for (version, count) in [(2, 1), (7, 3), (8, 1), (8, 50), (10, 126)] {
            let request = |mark: &str, write: &mut dyn FnMut(&OffsetCommitRequest<'_>)| {
                let (group, metadata) = (format!("g{mark}"), mark.repeat(count));
                let partition = OffsetCommitRequestPartition {
                    partition_index: 3,
                    committed_metadata: Some(&metadata),
                    ..Default::default()
                };
                let name = if version < 10 { mark } else { "" };
                let topic =
                    OffsetCommitRequestTopic { name, partitions: vec![partition; 2], ..Default::default() };
                write(&OffsetCommitRequest {
                    group_id: &group,
                    member_id: mark,
                    topics: vec![topic],
                    ..Default::default()
                });
            };
            let mut body = Body::default();
            request("?", &mut |message| body = spoiled(encode(message, version).unwrap()));
            request("\u{fffd}", &mut |message| {
                assert_eq!(
                    body.decode::<OffsetCommitRequest<'_>>(version).as_ref(),
                    Ok(message),
                    "{version}"
                );
                assert_eq!(&body[..], encode(message, version).unwrap());
            });
        }
    }

    #[test]
    fn what_is_text_is_read_where_it_lies() {
        let message = HeartbeatRequest { group_id: "group", ..Default::default() };
        let body = Body::from(encode(&message, 4).unwrap());
        let read: HeartbeatRequest<'_> = body.decode(4).unwrap();
        assert!(body.as_ptr_range().contains(&read.group_id.as_ptr()));
        assert!(body.replaced.get().is_none());
    }

    #[test]
    fn replacements_have_bounds() {
        let long = "?".repeat(STRING_BYTES_MAX / 3 + 1);
        let message = HeartbeatRequest { group_id: &long, ..Default::default() };
        let error = spoiled(encode(&message, 4).unwrap()).decode::<HeartbeatRequest<'_>>(4).unwrap_err();
        assert!(matches!(error.kind, DecodeErrorKind::Length { .. }), "{error}");
        let message = HeartbeatRequest { group_id: &long[1..], ..Default::default() };
        assert!(spoiled(encode(&message, 4).unwrap()).decode::<HeartbeatRequest<'_>>(4).is_ok());
        // Cut short: malformed in another way as well.
        let cut = spoiled(encode(&message, 4).unwrap()[..9000].to_vec());
        assert!(cut.decode::<HeartbeatRequest<'_>>(4).is_err());
    }
}
