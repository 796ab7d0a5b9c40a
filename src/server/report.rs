//! What a start that takes long says of itself, and how far it is.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::limits::START_REPORT_MS;
use crate::base::progress::Progress;

/// What is counted while a start recovers.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Bytes of the journals' entries, and those that were gone through.
    pub journals: Arc<Progress>,
    /// Partitions of this broker, and those that were opened.
    pub partitions: Arc<Progress>,
}

/// What a start is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// What the log directories hold is looked at.
    Looking,
    /// The addresses of the listeners are asked for.
    Binding,
    /// Metadata and journals are read, and the journals redone.
    Recovering,
    /// Partitions of coordinators are opened, and the broker registers.
    Opening,
    /// Clients are served; the other partitions are still being opened.
    Serving,
}

/// A start that takes longer says so.
const FIRST_REPORT: Duration = Duration::from_secs(1);

/// Says what a start is doing once it takes long, and again every few seconds, until all partitions are open or the
/// sender is dropped.
pub fn report(counts: Counts) -> Sender<Doing> {
    let (tell, told) = mpsc::channel();
    let report = move || {
        let began = Instant::now();
        let mut doing = Doing::Looking;
        let mut wait = FIRST_REPORT;
        loop {
            match told.recv_timeout(wait) {
                Ok(next) => doing = next,
                Err(RecvTimeoutError::Timeout) => {
                    let Some(text) = line(doing, &counts) else {
                        let partitions = counts.partitions.get().1;
                        return tracing::info!(
                            seconds = began.elapsed().as_secs(),
                            "serving; all {partitions} partitions are open, but for those that a line names as offline"
                        );
                    };
                    tracing::info!(seconds = began.elapsed().as_secs(), "{text}");
                    wait = Duration::from_millis(START_REPORT_MS);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    // Without the thread nothing is said, and all else goes on.
    let _ = thread::Builder::new().name("ottla-start".to_owned()).spawn(report);
    tell
}

/// What is said; None when nothing is left to do.
fn line(doing: Doing, counts: &Counts) -> Option<String> {
    let (bytes, all_bytes) = counts.journals.get();
    let (opened, partitions) = counts.partitions.get();
    let opened = format!("{opened} of {partitions} partitions are open");
    Some(match doing {
        Doing::Looking => "starting: looking at the log directories".to_owned(),
        Doing::Binding => "starting: waiting for a port that is in use".to_owned(),
        Doing::Recovering if all_bytes == 0 => {
            "starting: reading the metadata and the journals of the last run".to_owned()
        }
        Doing::Recovering => {
            format!("starting: {bytes} of {all_bytes} bytes of the journals of the last run are redone")
        }
        Doing::Opening => format!("starting: opening __consumer_offsets and registering; {opened}"),
        Doing::Serving if counts.partitions.get().0 == partitions => return None,
        Doing::Serving => format!("serving; {opened}, those that are asked for come first"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start that had much to recover said nothing for minutes.
    #[test]
    fn each_step_says_how_far_it_is() {
        let counts = Counts::default();
        let said = |doing| line(doing, &counts).unwrap_or_default();
        assert!(said(Doing::Looking).contains("log directories"));
        assert!(said(Doing::Binding).contains("port"));
        assert!(said(Doing::Recovering).contains("reading the metadata"));
        counts.journals.expect(300);
        counts.journals.advance(120);
        assert!(said(Doing::Recovering).contains("120 of 300 bytes"));
        counts.partitions.expect(50);
        counts.partitions.advance(7);
        assert!(said(Doing::Opening).contains("7 of 50 partitions"));
        assert!(said(Doing::Serving).contains("7 of 50 partitions"));
        counts.partitions.advance(43);
        assert_eq!(line(Doing::Serving, &counts), None);
    }
}
