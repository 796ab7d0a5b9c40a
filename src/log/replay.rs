//! Reading a whole log at start: for coordinators and the controller, whose state is in their partitions.

use super::names::{FileKind, parse_file_name};
use super::{LogError, Partition};
use crate::base::Offset;
use crate::base::limits::REPLAY_READ_BYTES;
use crate::io::{Files, OpenMode};
use crate::wire::record::{BatchView, Batches, HEADER_BYTES, LOG_OVERHEAD};

/// Calls `each` with every batch from the one that holds `from` to the log's end. Blocks; memory is bounded by one read
/// or one batch, whichever is larger.
pub fn replay(
    files: &dyn Files,
    log: &Partition,
    from: Offset,
    each: &mut dyn FnMut(&BatchView<'_>),
) -> Result<(), LogError> {
    let failed = |action, path: &std::path::Path, error| LogError::Storage {
        action,
        path: path.display().to_string(),
        error: std::sync::Arc::new(error),
    };
    let listed = files.list(log.dir()).map_err(|e| failed("listing", log.dir(), e))?;
    let mut bases: Vec<Offset> = listed
        .iter()
        .filter_map(|e| parse_file_name(&e.name))
        .filter(|(_, kind)| *kind == FileKind::Log)
        .map(|(base, _)| base)
        .collect();
    bases.sort_unstable();
    let first = bases.iter().rposition(|b| *b <= from).unwrap_or(0);
    for base in bases.split_off(first.min(bases.len())) {
        let path = log.dir().join(super::names::file_name(base, FileKind::Log));
        let file = files.open(&path, OpenMode::Read).map_err(|e| failed("opening", &path, e))?;
        let mut position = 0;
        let mut want = REPLAY_READ_BYTES;
        loop {
            let bytes = files.read_at(&file, position, want).map_err(|e| failed("reading", &path, e))?;
            let mut batches = Batches::new(&bytes).truncated_tail();
            let mut ended = false;
            for batch in &mut batches {
                // Recovery has decided where the log ends; what is behind is not of it.
                let Ok(batch) = batch else {
                    ended = true;
                    break;
                };
                if batch.header().base_offset >= log.log_end_offset() {
                    ended = true;
                    break;
                }
                if batch.header().last_offset() >= from {
                    each(&batch);
                }
            }
            let read = batches.position();
            position += read as u64;
            if ended || bytes.len() < want && read == 0 {
                break;
            }
            want = if read == 0 { batch_bytes(&bytes).max(want * 2) } else { REPLAY_READ_BYTES };
            if read == bytes.len() && bytes.len() < REPLAY_READ_BYTES {
                break;
            }
        }
    }
    Ok(())
}

/// The length of the batch that `bytes` begin with, as its header says.
fn batch_bytes(bytes: &[u8]) -> usize {
    match bytes.get(8..12).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes) {
        Some(length) if length > 0 => LOG_OVERHEAD + length as usize,
        _ => HEADER_BYTES,
    }
}
