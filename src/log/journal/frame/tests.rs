use super::*;

fn header(version: u32) -> FileHeader {
    FileHeader {
        version,
        half_bytes: 1 << 25,
        salt: 0xDEAD_BEEF,
        boot_id: 0x0102,
        incarnation_id: Uuid::from_u128(if version == 1 { 0 } else { 0x0304 }),
        directory_id: Uuid::from_u128(if version == 1 { 0 } else { 0x0506 }),
        core: if version == 1 { 0 } else { 3 },
        level: u32::from(version != 1),
    }
}

fn entry(partition: i32, len: usize) -> Entry {
    Entry {
        kind: if len == 0 { Kind::Truncate } else { Kind::Append },
        generation: 9,
        topic_id: Uuid([7; 16]),
        partition,
        segment: 5,
        position: 4242,
        next: 99,
        safe: 98,
        behind_gap: partition == 1,
        len,
    }
}

fn frame(entries: &[(i32, &[u8])]) -> Vec<u8> {
    let mut buf = AlignedBuf::with_capacity(4096);
    buf.set_len(HEADER_BYTES);
    for (partition, bytes) in entries {
        entry(*partition, bytes.len()).put(&mut buf);
        buf.extend_from_slice(bytes);
    }
    finish(&mut buf, 17, 4, header(2));
    buf.as_slice().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn what_goes_in_comes_out() {
    let of = header(2);
    let bytes = frame(&[(1, b"abc"), (-2, b""), (3, b"defg")]);
    let parsed = Frame::parse(&bytes, of).unwrap();
    assert!(parsed.is_whole && parsed.has_end);
    assert_eq!((parsed.sequence, parsed.half_use, parsed.len), (17, 4, bytes.len()));
    let found: Vec<_> = parsed.entries().map(Result::unwrap).collect();
    assert_eq!(found, [(entry(1, 3), &b"abc"[..]), (entry(-2, 0), b""), (entry(3, 4), b"defg")]);
    assert!(Frame::parse(&bytes, FileHeader { salt: 1, ..of }).is_none());
    let is_whole = |bytes: &[u8]| Frame::parse(bytes, of).is_some_and(|frame| frame.is_whole);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(!is_whole(&damaged), "a flipped bit in byte {at} goes unseen");
        assert!(!is_whole(&bytes[..at]), "cut off at {at}");
    }
}

/// These bytes are on disks: whoever changes one of them makes a new version.
#[test]
fn headers_frames_and_entries_have_these_bytes() {
    let both = header(2).format();
    assert_eq!(both[..BLOCK_BYTES], both[BLOCK_BYTES..]);
    let crc = hex(&both[4..8]);
    let golden = [
        &format!("4f744a46{crc}0000000002000000deadbeef00000002"),
        "00000000000000000000000000000102",
        "00000000000000000000000000000304",
        "00000000000000000000000000000506",
        "0000000300000001",
    ];
    assert_eq!(hex(&both[..80]), golden.concat());
    assert_eq!(both[80..BLOCK_BYTES], [0; BLOCK_BYTES - 80]);

    let bytes = frame(&[(1, b"abc"), (2, b"")]);
    let crc = hex(&bytes[4..8]);
    let append = "0101000000000009070707070707070707070707070707070000000100000000000000050000000000001092\
                  0000000000000063000000000000006200000003616263";
    let truncate = "0200000000000009070707070707070707070707070707070000000200000000000000050000000000001092\
                    0000000000000063000000000000006200000000";
    let length = format!("{:08x}", bytes.len());
    let head = format!("91d9f4dd{crc}0000000000000011{length}00000004");
    assert_eq!(hex(&bytes), format!("{head}{append}{truncate}0000000000000011"));
    assert_eq!(u32_at(&bytes, 4), Some(crc32c::crc32c_append(0xDEAD_BEEF, &bytes[8..])));
}

/// Journals of version 1 as an older Ottla has left them.
#[test]
fn version_1_is_read() {
    let mut block = vec![0; BLOCK_BYTES];
    block[..4].copy_from_slice(&FILE_MAGIC.to_be_bytes());
    block[8..16].copy_from_slice(&(1_u64 << 25).to_be_bytes());
    block[16..20].copy_from_slice(&0xDEAD_BEEF_u32.to_be_bytes());
    block[24..40].copy_from_slice(&0x0102_u128.to_be_bytes());
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_be_bytes());
    let of = FileHeader::parse(&block).unwrap();
    assert_eq!((of, of.data_at()), (header(1), BLOCK_BYTES as u64));

    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend([7; 16]);
    bytes.extend(1_i32.to_be_bytes());
    bytes.extend(5_i64.to_be_bytes());
    bytes.extend(4242_u64.to_be_bytes());
    bytes.extend(99_i64.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend(b"abc");
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(b"OtJ1");
    bytes[8..16].copy_from_slice(&17_u64.to_be_bytes());
    bytes[16..20].copy_from_slice(&len.to_be_bytes());
    let crc = crc32c::crc32c_append(of.salt, &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    let parsed = Frame::parse(&bytes, of).unwrap();
    assert!(parsed.is_whole && !parsed.has_end);
    let found: Vec<_> = parsed.entries().map(Result::unwrap).collect();
    let expected = Entry { generation: 0, safe: -1, ..entry(1, 3) };
    assert_eq!(found, [(expected, &b"abc"[..])]);
}

#[test]
fn a_kind_of_a_later_version_is_told() {
    let mut buf = AlignedBuf::with_capacity(4096);
    buf.set_len(HEADER_BYTES);
    entry(1, 3).put(&mut buf);
    buf.extend_from_slice(b"abc");
    buf.as_mut_slice()[HEADER_BYTES] = 3;
    finish(&mut buf, 17, 4, header(2));
    let bytes = buf.as_slice().to_vec();
    let parsed = Frame::parse(&bytes, header(2)).unwrap();
    assert_eq!(parsed.entries().collect::<Vec<_>>(), [Err(EntryError::Kind(3))]);
}

#[test]
fn a_damaged_header_is_seen() {
    let mut block = header(2).format();
    assert_eq!(FileHeader::parse(&block), Some(header(2)));
    block[18] ^= 1;
    assert_eq!(FileHeader::parse(&block), None);
    assert_eq!(FileHeader::parse(&block[BLOCK_BYTES..]), Some(header(2)), "the second block");
    assert_eq!(FileHeader::parse(&[]), None);
}
