//! Lines of the log that clients or a lasting fault can repeat: a few of each kind are written, the others are counted,
//! and their number is written instead.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use crate::base::Ticks;
use crate::base::limits::{REPEATED_LINES_MAX, REPEATED_LINES_MS};

/// `limited!(warn, "a kind of line", %field, "text {value}")`: as `tracing::warn!` with what stands behind the kind, while not
/// too many of this place have been written. With `by cause, of whom` behind the kind, not too many of each cause, and their
/// number names the cause and the last one of whom it was.
macro_rules! limited {
    ($level:ident, $kind:literal, by $cause:expr, of $whom:expr, $($line:tt)+) => {{
        static SITE: $crate::io::repeats::Site = $crate::io::repeats::Site::new($kind, |text| tracing::$level!("{text}"));
        if SITE.admits($crate::io::clock::monotonic(), $cause, &$whom) {
            tracing::$level!($($line)+);
        }
    }};
    ($level:ident, $kind:literal, $($line:tt)+) => {
        $crate::io::repeats::limited!($level, $kind, by "", of "", $($line)+)
    };
}
pub(crate) use limited;

/// A place in the source that writes lines of one kind.
pub struct Site {
    kind: &'static str,
    /// Writes a line of the same level and room.
    say: fn(&str),
    /// By cause. There are as many as the source names.
    windows: Mutex<Vec<(&'static str, Window)>>,
}

/// Places that count lines: their number is written when the time is over, even if no other line comes.
static COUNTING: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

impl Site {
    /// Of lines that `kind` describes.
    pub const fn new(kind: &'static str, say: fn(&str)) -> Site {
        Site { kind, say, windows: Mutex::new(Vec::new()) }
    }

    /// Whether a line is written; else it is counted, with whom it was about.
    pub fn admits(&'static self, now: Ticks, cause: &'static str, whom: &dyn Display) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let at = windows.iter().position(|(of, _)| *of == cause).unwrap_or_else(|| {
            windows.push((cause, Window::default()));
            windows.len() - 1
        });
        let window = &mut windows[at].1;
        let ended = window.end(now);
        let admitted = window.admits(now, whom);
        let first_counted = window.counted == 1 && !admitted;
        drop(windows);
        self.tell(cause, ended.as_ref());
        if first_counted {
            let mut counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
            if !counting.iter().any(|site| std::ptr::eq(*site, self)) {
                counting.push(self);
            }
        }
        admitted
    }

    fn tell(&self, cause: &str, ended: Option<&Ended>) {
        let Some(Ended { counted, seconds, last }) = ended else { return };
        let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
        let last = if last.is_empty() { String::new() } else { format!("; the last: {last}") };
        (self.say)(&format!("{counted} more lines like this in {seconds} s: {}{cause}{last}", self.kind));
    }
}

/// Writes the numbers of lines whose time is over; of all of them at the end of time.
pub fn tell_counted(now: Ticks) {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner).retain(|site| {
        let mut windows = site.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<_> = windows.iter_mut().map(|(cause, window)| (*cause, window.end(now))).collect();
        let counts = windows.iter().any(|(_, window)| window.counted > 0);
        drop(windows);
        for (cause, ended) in &ended {
            site.tell(cause, ended.as_ref());
        }
        counts
    });
}

/// The rule: so many lines, then none until the time that began with the first is over.
#[derive(Default)]
struct Window {
    began: Option<Ticks>,
    written: u32,
    counted: u64,
    /// Whom the last line that was counted was about.
    last: String,
}

/// What was not written.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    counted: u64,
    seconds: i64,
    last: String,
}

impl Window {
    fn admits(&mut self, now: Ticks, whom: &dyn Display) -> bool {
        self.began.get_or_insert(now);
        let admitted = self.written < REPEATED_LINES_MAX;
        if admitted {
            self.written += 1;
        } else {
            self.counted += 1;
            self.last = whom.to_string();
        }
        admitted
    }

    /// Begins anew if the time is over; what was not written, if anything.
    fn end(&mut self, now: Ticks) -> Option<Ended> {
        let began = self.began.filter(|began| now >= began.plus_ms(REPEATED_LINES_MS))?;
        let Window { counted, last, .. } = std::mem::take(self);
        let over = if now == Ticks::NEVER { began.plus_ms(REPEATED_LINES_MS) } else { now };
        (counted > 0).then(|| Ended { counted, seconds: over.ms_since(began) / 1000, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn at(ms: u64) -> Ticks {
        Ticks(1 + ms * 1_000_000)
    }

    /// A client that sends garbage, or a disk that stays broken, wrote a line each time.
    #[test]
    fn a_lasting_fault_writes_a_few_lines_a_minute_and_none_is_forgotten() {
        for every_ms in [1, 50, 2_000, 30_000, 61_000] {
            let mut window = Window::default();
            let (mut written, mut told, mut happened) = (0, 0, 0);
            for ms in (0..3_600_000).step_by(every_ms) {
                let ended = window.end(at(ms));
                written += u64::from(ended.is_some());
                told += ended.map_or(0, |ended| ended.counted);
                happened += 1;
                let admitted = window.admits(at(ms), &"");
                written += u64::from(admitted);
                told += u64::from(admitted);
            }
            told += window.end(Ticks::NEVER).map_or(0, |ended| ended.counted);
            assert_eq!(told, happened, "every {every_ms} ms");
            assert!(
                written <= 60 * u64::from(REPEATED_LINES_MAX + 1),
                "every {every_ms} ms: {written} lines"
            );
        }
    }

    #[test]
    fn rare_lines_are_all_written() {
        let mut window = Window::default();
        for i in 0..1000 {
            let now = at(i * (REPEATED_LINES_MS as u64) / u64::from(REPEATED_LINES_MAX));
            assert_eq!(window.end(now), None);
            assert!(window.admits(now, &""), "line {i}");
        }
    }

    #[test]
    fn lines_at_random_times_are_written_or_counted_once() {
        let mut random = Prng::new(7);
        for _ in 0..200 {
            let (mut window, mut now, mut told) = (Window::default(), 0, 0);
            let pace = 1 + random.below(40_000);
            for _ in 0..300 {
                now += random.below(pace);
                told += window.end(at(now)).map_or(0, |ended| ended.counted);
                told += u64::from(window.admits(at(now), &""));
                assert!(window.written <= REPEATED_LINES_MAX);
            }
            assert_eq!(told + window.end(Ticks::NEVER).map_or(0, |ended| ended.counted), 300);
        }
    }

    #[test]
    fn what_was_counted_is_told_when_no_other_line_comes() {
        static SITE: Site = Site::new("a test", |_| {});
        let admitted = (0..50).filter(|_| SITE.admits(at(5), "", &"")).count();
        assert_eq!(admitted, REPEATED_LINES_MAX as usize);
        let counts = || COUNTING.lock().unwrap().iter().any(|site| std::ptr::eq(*site, &raw const SITE));
        assert!(counts());
        tell_counted(at(6));
        assert!(counts(), "its time is not over");
        tell_counted(at(5 + REPEATED_LINES_MS as u64));
        assert!(!counts() && SITE.windows.lock().unwrap()[0].1.counted == 0);
        assert!(SITE.admits(at(7 + REPEATED_LINES_MS as u64), "", &""));
    }
    /// Eight TLS handshakes used up the lines of "a connection is closed", and what a client with garbage did was not said; the
    /// number that stood for it named neither a cause nor a peer.
    #[test]
    fn each_cause_has_lines_of_its_own_and_their_number_names_it() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        static SITE: Site = Site::new("closed", |text| TOLD.lock().unwrap().push(text.to_owned()));
        let written = |cause, peers: std::ops::Range<u32>| {
            peers.filter(|peer| SITE.admits(at(5), cause, &format!("peer {peer}"))).count()
        };
        let max = REPEATED_LINES_MAX as usize;
        assert_eq!(written("TLS", 0..1000), max);
        assert_eq!((written("HTTP", 0..3), written("garbage", 0..10)), (3, max));
        tell_counted(at(5 + REPEATED_LINES_MS as u64));
        let mut told = TOLD.lock().unwrap().clone();
        told.sort();
        let line = |counted, cause, last| {
            format!("{counted} more lines like this in 60 s: closed: {cause}; the last: peer {last}")
        };
        assert_eq!(told, [line(10 - max, "garbage", 9), line(1000 - max, "TLS", 999)]);
    }
}
