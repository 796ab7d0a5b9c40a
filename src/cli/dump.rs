//! `ottla dump`: the files of a log directory in a readable form, in the manner of `kafka-dump-log`.

mod files;
mod journal;
mod values;

use super::{CliError, DumpArgs};
use crate::base::limits::{DUMP_BATCH_BYTES_MAX, DUMP_FILE_BYTES_MAX, DUMP_UNCOMPRESSED_BYTES_MAX};
use crate::log::journal::inspect::is_journal;
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES, RecordError, Scratch, TimestampType};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use values::Schema;

/// Prints the files one after another. Goes on after a damaged one, and ends with an error then.
pub fn run(args: &DumpArgs) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut damaged, mut unread) = (Vec::new(), Vec::new());
    for path in &args.files {
        match dump(path, args.records, &mut out) {
            Ok(Soundness::Sound) => {}
            Ok(Soundness::Damaged) => damaged.push(path.display().to_string()),
            // Someone has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => unread.push(format!("{}: {e}", path.display())),
        }
    }
    match out.flush() {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            return Err(CliError::environment(format!("standard output: {e}")));
        }
        _ => {}
    }
    if !damaged.is_empty() {
        return Err(CliError::data(format!("damaged: {}", damaged.join(", "))));
    }
    if unread.is_empty() { Ok(()) } else { Err(CliError::environment(unread.join("\n"))) }
}

/// Whether a file is what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// It is.
    Sound,
    /// It is not; what was wrong is printed.
    Damaged,
}

fn dump(path: &Path, records: bool, out: &mut impl Write) -> io::Result<Soundness> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    writeln!(out, "Dumping {}", path.display())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    // Snapshots of the metadata are batches as well.
    if extension == "log" || extension == "checkpoint" {
        let parent = path.canonicalize()?.parent().and_then(Path::file_name).map(ToOwned::to_owned);
        let schema = Schema::of(&parent.unwrap_or_default().to_string_lossy(), &extension);
        return dump_batches(BufReader::new(file), bytes, records.then_some(schema), out);
    }
    if is_journal(&name) {
        return journal::dump(path, out);
    }
    if bytes > DUMP_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {bytes} bytes, which no such file of a log has")));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    files::dump(&name, &extension, &content, out)
}

/// Prints the batches of a segment of `bytes` bytes, and with a schema their records.
fn dump_batches(
    mut from: impl Read,
    bytes: u64,
    schema: Option<Schema>,
    out: &mut impl Write,
) -> io::Result<Soundness> {
    let (mut position, mut batch, mut scratch) = (0_u64, Vec::new(), Scratch::new());
    let mut soundness = Soundness::Sound;
    while position < bytes {
        batch.clear();
        (&mut from).take(HEADER_BYTES as u64).read_to_end(&mut batch)?;
        if batch.iter().all(|b| *b == 0) {
            return dump_zeros(from, position, bytes, soundness, out);
        }
        let size = match BatchHeader::parse(&batch) {
            Ok(header) if header.total_bytes() <= DUMP_BATCH_BYTES_MAX => header.total_bytes(),
            Ok(header) => {
                writeln!(out, "position: {position} damaged: a batch of {} bytes", header.total_bytes())?;
                return Ok(Soundness::Damaged);
            }
            Err(error) => {
                writeln!(out, "position: {position} damaged: {error}")?;
                return Ok(Soundness::Damaged);
            }
        };
        (&mut from).take((size - HEADER_BYTES.min(size)) as u64).read_to_end(&mut batch)?;
        let view = match BatchView::parse(&batch) {
            Ok(view) => view,
            Err(error) => {
                writeln!(out, "position: {position} damaged: {error}")?;
                return Ok(Soundness::Damaged);
            }
        };
        let valid = view.check_crc().is_ok();
        writeln!(out, "{}", header_line(view.header(), position, valid))?;
        if !valid {
            soundness = Soundness::Damaged;
        } else if let Some(schema) = schema
            && let Err(error) = dump_records(&view, schema, &mut scratch, out)?
        {
            writeln!(out, "position: {position} damaged: {error}")?;
            soundness = Soundness::Damaged;
        }
        position += size as u64;
    }
    Ok(soundness)
}

/// After the last batch of an active segment there may be room made ready for the next ones.
fn dump_zeros(
    mut from: impl Read,
    position: u64,
    bytes: u64,
    soundness: Soundness,
    out: &mut impl Write,
) -> io::Result<Soundness> {
    let mut block = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut block)?;
        if n == 0 {
            writeln!(out, "position: {position} zeros to the end: {} bytes", bytes - position)?;
            return Ok(soundness);
        }
        if block.iter().take(n).any(|b| *b != 0) {
            writeln!(out, "position: {position} damaged: zeros, and data after them")?;
            return Ok(Soundness::Damaged);
        }
    }
}

fn time_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn header_line(h: &BatchHeader, position: u64, valid: bool) -> String {
    let codec = match h.attributes.codec() {
        Ok(codec) => codec.name().to_owned(),
        Err(error) => error.to_string(),
    };
    let horizon =
        h.delete_horizon_ms().map_or("OptionalLong.empty".to_owned(), |ms| format!("OptionalLong[{ms}]"));
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} \
         position: {position} {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {valid}",
        h.base_offset,
        h.last_offset(),
        h.records_count,
        h.base_sequence,
        h.last_sequence(),
        h.producer_id,
        h.producer_epoch,
        h.partition_leader_epoch,
        h.attributes.is_transactional(),
        h.attributes.is_control(),
        time_name(h.attributes.timestamp_type()),
        h.max_timestamp,
        h.total_bytes(),
        h.magic,
        h.crc,
    )
}

/// Prints the records of a batch; the inner error is the batch's.
fn dump_records(
    view: &BatchView,
    schema: Schema,
    scratch: &mut Scratch,
    out: &mut impl Write,
) -> io::Result<Result<(), RecordError>> {
    let header = *view.header();
    let records = match view.records(scratch, DUMP_UNCOMPRESSED_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return Ok(Err(error)),
    };
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
        let sequence = if header.has_producer_id() && !header.attributes.is_control() {
            header.base_sequence.wrapping_add(record.offset_delta)
        } else {
            header.base_sequence
        };
        let keys: Vec<_> =
            record.headers.clone().map(|h| String::from_utf8_lossy(h.key).into_owned()).collect();
        write!(
            out,
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            header.base_offset.saturating_add(i64::from(record.offset_delta)),
            time_name(header.attributes.timestamp_type()),
            header.timestamp(record.timestamp_delta),
            size(record.key),
            size(record.value),
            keys.join(","),
        )?;
        let shown =
            if header.attributes.is_control() { values::control(&record) } else { schema.show(&record) };
        writeln!(out, " {shown}")?;
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests;
