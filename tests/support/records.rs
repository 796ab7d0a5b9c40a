//! Record batches (magic 2) written and read by hand, without compression.

use super::raw::{Reader, Writer};

/// Length of a batch header in bytes.
pub const HEADER_BYTES: usize = 61;
/// Where the length field ends, and what it counts begins.
const LENGTH_END: usize = 12;
/// Where the CRC stands, and where the bytes that it covers begin.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
/// The attributes, whose lowest bits name the codec.
const ATTRIBUTES_AT: usize = 21;

/// Key and value of a record, each of which may be null.
pub type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// What a batch header says, and its records as key and value.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base_offset: i64,
    pub timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records: Vec<KeyValue>,
}

impl Batch {
    /// A batch without idempotence, with a fixed timestamp so that two brokers get the same bytes.
    pub fn plain(values: &[&str]) -> Batch {
        Batch {
            base_offset: 0,
            timestamp: 1_700_000_000_000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records: values.iter().map(|value| (None, Some(value.as_bytes().to_vec()))).collect(),
        }
    }

    /// The same batch of an idempotent producer.
    pub fn idempotent(mut self, producer: (i64, i16), base_sequence: i32) -> Batch {
        (self.producer_id, self.producer_epoch) = producer;
        self.base_sequence = base_sequence;
        self
    }

    /// Its bytes, with a right length and CRC.
    pub fn encode(&self) -> Vec<u8> {
        let count = self.records.len() as i32;
        let head = Writer::default().i64(self.base_offset).i32(0).i32(0).i8(2).i32(0).i16(0).i32(count - 1);
        let head = head.i64(self.timestamp).i64(self.timestamp);
        let mut bytes =
            head.i64(self.producer_id).i16(self.producer_epoch).i32(self.base_sequence).i32(count).0;
        for (index, (key, value)) in self.records.iter().enumerate() {
            let mut record = vec![0, 0];
            varint(&mut record, index as i64);
            for field in [key, value] {
                match field {
                    Some(field) => {
                        varint(&mut record, field.len() as i64);
                        record.extend(field);
                    }
                    None => varint(&mut record, -1),
                }
            }
            varint(&mut record, 0);
            varint(&mut bytes, record.len() as i64);
            bytes.extend(record);
        }
        let length = (bytes.len() - LENGTH_END) as i32;
        bytes[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
        seal(&mut bytes);
        bytes
    }
}

/// A batch with other bytes in the place of its records: those compressed by the codec of this number.
pub fn with_compressed(batch: &[u8], codec: u8, records: &[u8]) -> Vec<u8> {
    let mut batch = [&batch[..HEADER_BYTES], records].concat();
    let length = (batch.len() - LENGTH_END) as i32;
    batch[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_AT + 1] = codec;
    seal(&mut batch);
    batch
}

/// A zstd frame that declares this window and holds its content as it is.
pub fn zstd_frame(window: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = 0xFD2F_B528_u32.to_le_bytes().to_vec();
    bytes.extend([0, window]);
    bytes.extend(&((data.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    bytes.extend(data);
    bytes
}

/// Sets the CRC of a single batch after its bytes were changed.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

fn varint(bytes: &mut Vec<u8>, value: i64) {
    uvarint(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

/// A number of records and of the protocol's flexible versions.
pub fn uvarint(bytes: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn read_varint(reader: &mut Reader) -> i64 {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let byte = reader.i8() as u8;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
    }
}

/// The whole batches in fetched bytes, their CRC checked; a cut-off one at the end is left out.
pub fn decode(mut bytes: &[u8]) -> Vec<Batch> {
    let mut batches = Vec::new();
    while bytes.len() >= HEADER_BYTES {
        let length =
            i32::from_be_bytes(bytes[8..LENGTH_END].try_into().expect("4 bytes")) as usize + LENGTH_END;
        if length > bytes.len() {
            break;
        }
        let (batch, rest) = bytes.split_at(length);
        batches.push(decode_one(batch));
        bytes = rest;
    }
    batches
}

fn decode_one(bytes: &[u8]) -> Batch {
    let crc = u32::from_be_bytes(bytes[CRC_AT..CRC_FROM].try_into().expect("4 bytes"));
    assert_eq!(crc, crc32c::crc32c(&bytes[CRC_FROM..]), "CRC of a fetched batch");
    let mut reader = Reader(bytes);
    let (base_offset, _length, _leader_epoch) = (reader.i64(), reader.i32(), reader.i32());
    assert_eq!(reader.i8(), 2, "magic");
    let (_crc, attributes, last_delta) = (reader.i32(), reader.i16(), reader.i32());
    assert_eq!(attributes & 7, 0, "these tests send uncompressed batches");
    let (timestamp, _max_timestamp) = (reader.i64(), reader.i64());
    let (producer_id, producer_epoch, base_sequence) = (reader.i64(), reader.i16(), reader.i32());
    let count = reader.i32();
    assert_eq!(last_delta, count - 1, "last offset delta");
    let field = |reader: &mut Reader| {
        let length = read_varint(reader);
        (length >= 0).then(|| reader.raw(length as usize).to_vec())
    };
    let records = (0..count)
        .map(|_| {
            let (_length, _attributes, _time, _offset) =
                (read_varint(&mut reader), reader.i8(), read_varint(&mut reader), read_varint(&mut reader));
            let (key, value) = (field(&mut reader), field(&mut reader));
            assert_eq!(read_varint(&mut reader), 0, "headers");
            (key, value)
        })
        .collect();
    reader.end();
    Batch { base_offset, timestamp, producer_id, producer_epoch, base_sequence, records }
}
