use super::*;
use crate::base::limits::{ERROR_TEXT_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::wire::messages::api_versions_request::ApiVersionsRequest;
use crate::wire::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use crate::wire::messages::fetch_response::FetchResponse;
use crate::wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

#[test]
fn varints_are_kafkas() {
    // From ByteUtilsTest: the edges of every length.
    let cases: [(i64, &[u8]); 7] = [
        (0, &[0]),
        (-1, &[1]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 1]),
        (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in cases {
        let mut w = Writer::new();
        w.varint(value as i32);
        w.varlong(value);
        assert_eq!(w.written(), [bytes, bytes].concat());
        let mut r = Reader::new(w.written());
        assert_eq!((r.varint(), r.varlong()), (Ok(value as i32), Ok(value)));
    }
    for value in [i64::MIN, i64::MAX] {
        let mut w = Writer::new();
        w.varlong(value);
        assert_eq!(w.position(), 10);
        assert_eq!(Reader::new(w.written()).varlong(), Ok(value));
    }
    let kind = |bytes: &[u8]| Reader::new(bytes).uvarint().unwrap_err().kind;
    assert_eq!(kind(&[0xff, 0xff, 0xff, 0xff, 0x10]), DecodeErrorKind::Varint);
    assert_eq!(kind(&[0xff, 0xff, 0xff, 0xff, 0xff, 0]), DecodeErrorKind::Varint);
    assert!(matches!(kind(&[0xff, 0xff]), DecodeErrorKind::Short { .. }));
    assert!(matches!(kind(&[]), DecodeErrorKind::Short { .. }));
}

/// An error's text that repeats a name of 32 KB made the whole reply unwritable, and the connection was closed.
#[test]
fn error_texts_are_cut_between_characters() {
    for flex in [false, true] {
        for (text, expected) in [
            (Some("x".repeat(100_000)), Some(ERROR_TEXT_BYTES_MAX)),
            (Some(format!("x{}", "\u{20ac}".repeat(30_000))), Some(ERROR_TEXT_BYTES_MAX - 1)),
            (Some("short".to_owned()), Some(5)),
            (None, None),
        ] {
            let mut w = Writer::new();
            w.error_text(flex, text.as_deref());
            let bytes = w.finish().unwrap();
            let read = Reader::new(&bytes).nullable_string(flex).unwrap();
            assert_eq!(read.map(str::len), expected);
        }
    }
}

/// A client's name that is not UTF-8 closed its connection; Kafka reads it with replacement characters.
#[test]
fn lossy_strings_replace_what_is_no_utf8() {
    let read =
        |bytes: &[u8]| Reader::new(bytes).lossy_string().map(|name| name.map(std::borrow::Cow::into_owned));
    assert_eq!(read(b"\0\x03\xffa\xc0"), Ok(Some("\u{fffd}a\u{fffd}".to_owned())));
    assert_eq!(read(b"\0\x01a"), Ok(Some("a".to_owned())));
    assert_eq!(read(b"\xff\xff"), Ok(None));
    assert!(read(b"\0\x02a").is_err() && read(b"\xff\xfe").is_err());
}

#[test]
fn strings_and_bytes() {
    for flex in [false, true] {
        let mut w = Writer::new();
        w.string(flex, "ab");
        w.nullable_string(flex, None);
        w.bytes(flex, b"xyz");
        w.nullable_bytes(flex, None);
        w.strings(flex, &["p", ""]);
        let bytes = w.finish().unwrap();
        let expected: &[u8] = if flex {
            b"\x03ab\0\x04xyz\0\x03\x02p\x01"
        } else {
            b"\0\x02ab\xff\xff\0\0\0\x03xyz\xff\xff\xff\xff\0\0\0\x02\0\x01p\0\0"
        };
        assert_eq!(bytes, expected);
        let mut r = Reader::new(&bytes);
        assert_eq!(r.string(flex), Ok("ab"));
        assert_eq!(r.nullable_string(flex), Ok(None));
        assert_eq!(r.bytes(flex), Ok(&b"xyz"[..]));
        assert_eq!(r.nullable_bytes(flex), Ok(None));
        assert_eq!(r.strings(flex), Ok(vec!["p", ""]));
        assert_eq!(r.remaining(), 0);
    }
    let kind = |bytes: &[u8]| Reader::new(bytes).string(false).unwrap_err().kind;
    assert_eq!(kind(b"\xff\xff"), DecodeErrorKind::Null("a string"));
    assert_eq!(kind(b"\xff\xfe"), DecodeErrorKind::Length { what: "a string", length: -2 });
    assert_eq!(kind(b"\0\x02a"), DecodeErrorKind::Short { what: "a string", needs: 2 });
    assert_eq!(kind(b"\0\x01\xff"), DecodeErrorKind::Utf8);
    let mut w = Writer::new();
    w.string(true, &"x".repeat(32768));
    w.i32(1);
    assert_eq!(w.finish().unwrap_err().kind, EncodeErrorKind::Long { what: "a string", length: 32768 });
}

#[test]
fn counts_are_bounded_by_what_remains() {
    // Three int32 claimed, two there.
    let e = Reader::new(&[4, 0, 0, 0, 1, 0, 0, 0, 2]).array::<i32>(true, 0).unwrap_err();
    assert_eq!((e.kind, e.offset, e.remaining), (DecodeErrorKind::Count { count: 3 }, 1, 8));
    let e = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0]).array::<i8>(false, 0).unwrap_err();
    assert_eq!(e.kind, DecodeErrorKind::Count { count: 0x7fff_ffff });
    // A hundred empty strings cost a hundred bytes of input and sixteen times that of memory.
    let mut bytes = vec![101];
    bytes.extend([1; 100]);
    let mut r = Reader::new(&bytes);
    let before = r.budget();
    let strings = r.strings(true).unwrap();
    assert_eq!((strings.len(), strings.capacity(), before - r.budget()), (100, 100, 1600));
}

#[test]
fn nested_counts_share_one_budget() {
    // Topics that each claim as many partitions as bytes remain, with nothing there that could be one.
    let mut bytes = encode(&FetchRequest::default(), 12).unwrap();
    let topics = bytes.len() - 4;
    assert_eq!(bytes[topics..], [1, 1, 1, 0]);
    bytes.truncate(topics);
    bytes.extend([0xff, 0x1f]);
    bytes.extend([1, 0xff, 0x01].repeat(4096));
    let mut r = Reader::new(&bytes);
    let limit = r.budget();
    assert_eq!(limit, bytes.len() * ALLOC_PER_BYTE + ALLOC_BASE);
    let read = FetchRequest::read(&mut r, 12);
    assert!(read.is_err() && r.budget() <= limit);
    // What is left of the budget is what was not allocated, however reading ended.
    let mut honest = Reader::new(&[3, 0, 0, 0, 1, 0, 0, 0, 2]);
    let before = honest.budget();
    assert_eq!(honest.array::<i32>(true, 0).map(|a| a.capacity() * 4), Ok(before - honest.budget()));
}

#[test]
fn tagged_fields() {
    let state = ReplicaState { replica_id: 3, replica_epoch: 9 };
    let request = FetchRequest { cluster_id: Some("c"), replica_state: state, ..FetchRequest::default() };
    let bytes = encode(&request, 17).unwrap();
    assert_eq!(decode::<FetchRequest<'_>>(&bytes, 17), Ok(request.clone()));
    // An unknown tag behind the known ones is skipped.
    let tags = bytes.len() - 1 - (2 + 2) - (2 + 13);
    assert_eq!(bytes[tags], 2);
    let mut more = bytes.clone();
    more[tags] = 3;
    more.extend([77, 2, 1, 2]);
    assert_eq!(decode::<FetchRequest<'_>>(&more, 17), Ok(request.clone()));
    // The size of a value that is known must be right.
    let mut wrong = bytes.clone();
    wrong[tags + 2] += 1;
    assert!(decode::<FetchRequest<'_>>(&wrong, 17).is_err());
    // A tagged value of 128 bytes or more has a size of two bytes.
    let long = "x".repeat(300);
    let request = FetchRequest { cluster_id: Some(&long), ..request };
    let bytes = encode(&request, 17).unwrap();
    assert_eq!(decode::<FetchRequest<'_>>(&bytes, 17), Ok(request));
}

#[test]
fn versions_that_lack_a_field() {
    let ignorable = FetchRequest { session_id: 5, ..FetchRequest::default() };
    assert!(encode(&ignorable, 4).is_ok());
    let partition = FetchPartition { last_fetched_epoch: 1, ..FetchPartition::default() };
    let topics = vec![FetchTopic { partitions: vec![partition], ..FetchTopic::default() }];
    let e = encode(&FetchRequest { topics, ..FetchRequest::default() }, 11).unwrap_err();
    assert_eq!(
        (e.message, e.version, e.kind),
        ("FetchRequest", 11, EncodeErrorKind::Lacks("LastFetchedEpoch"))
    );
    assert_eq!(encode(&FetchRequest::default(), 19).unwrap_err().kind, EncodeErrorKind::Version);
    let e = decode::<FetchRequest<'_>>(&[], 3).unwrap_err();
    assert_eq!((e.message, e.version, e.kind), ("FetchRequest", 3, DecodeErrorKind::Version));
    assert_eq!(e.to_string(), "FetchRequest version 3: there is no such version, at byte 0 with 0 remaining");
    let nameless = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: None, ..Default::default() }]),
        ..Default::default()
    };
    assert_eq!(encode(&nameless, 9).unwrap_err().kind, EncodeErrorKind::Null("Name"));
}

#[test]
fn bytes_behind_a_message() {
    assert_eq!(decode::<ApiVersionsRequest<'_>>(&[], 0), Ok(ApiVersionsRequest::default()));
    let e = decode::<ApiVersionsRequest<'_>>(&[1, 2], 0).unwrap_err();
    assert_eq!((e.message, e.kind, e.remaining), ("ApiVersionsRequest", DecodeErrorKind::Trailing, 2));
}

#[test]
fn messages_by_hand() {
    let request = ApiVersionsRequest { client_software_name: "ab", client_software_version: "1" };
    assert_eq!(encode(&request, 3).unwrap(), b"\x03ab\x021\0");
    let empty = FetchResponse { throttle_time_ms: 7, session_id: 1, ..FetchResponse::default() };
    assert_eq!(encode(&empty, 11).unwrap(), [0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(encode(&empty, 12).unwrap(), [0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 1, 0]);
}

#[test]
fn what_lies_behind_a_request_is_ignored() {
    // All topics, as librdkafka asks for them.
    let bytes = [0, 0, 0, 0, 0, 0, 0];
    let request: MetadataRequest<'_> = decode_request(&bytes, 13).unwrap();
    assert!(request.topics.is_none() && !request.allow_auto_topic_creation);
    assert_eq!(decode::<MetadataRequest<'_>>(&bytes, 13).unwrap_err().kind, DecodeErrorKind::Trailing);
    assert!(decode_request::<MetadataRequest<'_>>(&bytes[..3], 13).is_err());
}

/// A reply that repeats one large assignment was once written until its length did not fit a frame, and the process ended.
#[test]
fn a_message_that_passes_the_bound_is_an_error_and_not_written_to_its_end() {
    let assignment = vec![7; 1 << 20];
    let member = DescribedGroupMember { member_assignment: &assignment, ..Default::default() };
    let fits = MESSAGE_BYTES_MAX / assignment.len() - 1;
    for (groups, members) in [(fits, 1), (1, fits), (fits + 2, 1), (1, fits + 2), (5000, 1), (70, 70)] {
        let group = DescribedGroup { members: vec![member.clone(); members], ..Default::default() };
        let response = DescribeGroupsResponse { groups: vec![group; groups], ..Default::default() };
        let mut w = Writer::new();
        let written = response.write(&mut w, 5);
        assert_eq!(written.is_ok(), groups * members == fits, "{groups} of {members}: {written:?}");
        assert!(w.position() <= MESSAGE_BYTES_MAX + (1 << 10), "{} bytes", w.position());
    }
}
