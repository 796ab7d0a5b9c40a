use super::*;
use crate::wire::record::{BatchBuilder, Codec};
use std::fs;

fn run(path: &Path) -> (Soundness, String) {
    let mut out = Vec::new();
    let soundness = dump(path, true, &mut out).unwrap();
    (soundness, String::from_utf8(out).unwrap())
}

fn in_dir(dir: &str, file: &str, bytes: &[u8]) -> (Soundness, String) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(dir);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(file), bytes).unwrap();
    let (soundness, text) = run(&dir.join(file));
    (soundness, text.split_once('\n').unwrap().1.to_owned())
}

fn segment() -> Vec<u8> {
    let mut bytes = BatchBuilder::new(5)
        .leader_epoch(2)
        .producer(9, 1, 7)
        .compression(Codec::Lz4)
        .record(1000, Some(b"k"), Some(b"v"))
        .record(1001, None, Some(&[0xff, 0]))
        .build();
    bytes.extend(BatchBuilder::new(7).record(1002, Some(b"gone"), None).build());
    bytes
}

#[test]
fn batches_and_records() {
    let (soundness, text) = in_dir("t-0", "00000000000000000005.log", &segment());
    assert_eq!(soundness, Soundness::Sound);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[0].starts_with(
            "baseOffset: 5 lastOffset: 6 count: 2 baseSequence: 7 lastSequence: 8 producerId: 9 producerEpoch: 1 \
             partitionLeaderEpoch: 2 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty \
             position: 0 CreateTime: 1001 size: "
        ),
        "{text}"
    );
    assert!(lines[0].contains("compresscodec: lz4") && lines[0].ends_with("isvalid: true"));
    assert_eq!(
        lines[1],
        "| offset: 5 CreateTime: 1000 keySize: 1 valueSize: 1 sequence: 7 headerKeys: [] key: k payload: v"
    );
    assert_eq!(
        lines[2],
        "| offset: 6 CreateTime: 1001 keySize: -1 valueSize: 2 sequence: 8 headerKeys: [] key: null payload: 0xff00"
    );
    assert!(lines[4].ends_with("sequence: -1 headerKeys: [] key: gone payload: null"));
}

#[test]
fn damage_is_named_with_its_place() {
    let whole = segment();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut room = whole.clone();
    room.resize(whole.len() + 100_000, 0);
    let mut after_room = room.clone();
    after_room.push(1);
    let mut garbage = whole.clone();
    garbage.extend([7; 100]);
    let table = [
        (whole[..whole.len() - 1].to_vec(), Soundness::Damaged, "damaged: the batch needs"),
        (flipped, Soundness::Damaged, "isvalid: false"),
        (room, Soundness::Sound, "zeros to the end: 100000 bytes"),
        (after_room, Soundness::Damaged, "damaged: zeros, and data after them"),
        (garbage, Soundness::Damaged, "damaged: batch magic 7"),
        (Vec::new(), Soundness::Sound, ""),
    ];
    for (bytes, want, text) in table {
        let (soundness, out) = in_dir("t-0", "0.log", &bytes);
        assert_eq!(soundness, want, "{out}");
        assert!(out.contains(text), "{text}: {out}");
    }
}

#[test]
fn indexes() {
    let offsets = [[0, 0, 0, 3, 0, 0, 1, 0], [0, 0, 0, 9, 0, 0, 2, 0], [0; 8]].concat();
    let (soundness, text) = in_dir("t-0", "00000000000000000100.index", &offsets);
    assert_eq!(soundness, Soundness::Sound);
    assert_eq!(text, "offset: 103 position: 256\noffset: 109 position: 512\n");
    let mut falling = offsets.clone();
    falling[11] = 1;
    assert_eq!(in_dir("t-0", "0.index", &falling).0, Soundness::Damaged);
    assert_eq!(in_dir("t-0", "0.index", &offsets[..17]).0, Soundness::Sound);
    assert_eq!(in_dir("t-0", "0.index", &offsets[..15]).0, Soundness::Damaged);
    let times = [0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 1];
    assert_eq!(in_dir("t-0", "00000000000000000010.timeindex", &times).1, "timestamp: 1000 offset: 11\n");
}

#[test]
fn producers_and_text() {
    let mut snapshot = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    snapshot.extend(9_i64.to_be_bytes());
    snapshot.extend(1_i16.to_be_bytes());
    snapshot.extend(8_i32.to_be_bytes());
    snapshot.extend(6_i64.to_be_bytes());
    snapshot.extend(1_i32.to_be_bytes());
    snapshot.extend(1001_i64.to_be_bytes());
    snapshot.extend((-1_i32).to_be_bytes());
    snapshot.extend((-1_i64).to_be_bytes());
    let crc = crc32c::crc32c(&snapshot[6..]);
    snapshot[2..6].copy_from_slice(&crc.to_be_bytes());
    let (soundness, text) = in_dir("t-0", "7.snapshot", &snapshot);
    assert_eq!(soundness, Soundness::Sound);
    assert!(text.ends_with(
        "producerId: 9 producerEpoch: 1 lastSequence: 8 lastOffset: 6 offsetDelta: 1 timestamp: 1001 \
         coordinatorEpoch: -1 currentTxnFirstOffset: -1\n"
    ));
    snapshot[20] ^= 1;
    assert_eq!(in_dir("t-0", "7.snapshot", &snapshot).0, Soundness::Damaged);
    assert_eq!(in_dir("t-0", "leader-epoch-checkpoint", b"0\n1\n0 0\n").1, "0\n1\n0 0\n");
    assert_eq!(in_dir("t-0", "meta.properties", b"version=1\n").1, "version=1\n");
}

/// Any text was printed as if it were a log directory's.
#[test]
fn a_file_of_another_name_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["server.properties", "notes.txt", "README", "t-0"] {
        let path = root.path().join(name);
        fs::write(&path, "a=b\n").unwrap();
        let refused = dump(&path, true, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("not one of a log directory's files"), "{name}: {refused}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_printed(
        noise in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        at in 0..200_usize,
        byte in proptest::num::u8::ANY,
    ) {
        let mut altered = segment();
        if let Some(b) = altered.get_mut(at) {
            *b = byte;
        }
        for bytes in [&noise, &altered] {
            for schema in [Schema::Plain, Schema::Metadata, Schema::Offsets] {
                dump_batches(bytes.as_slice(), bytes.len() as u64, Some(schema), &mut Vec::new()).unwrap();
            }
            for extension in ["index", "timeindex", "txnindex", "snapshot"] {
                files::dump("0", extension, bytes, &mut Vec::new()).unwrap();
            }
            files::dump("leader-epoch-checkpoint", "", bytes, &mut Vec::new()).unwrap();
        }
    }
}
