//! The leaves of [`super::key::Rule`] that need a little grammar.

use crate::base::limits::SHARDS_MAX;

/// `id@host:port` with an id from 0.
pub fn is_voter(entry: &str) -> bool {
    match entry.split_once('@') {
        Some((id, address)) => id.parse::<i32>().is_ok_and(|id| id >= 0) && is_host_port(address),
        None => false,
    }
}

/// `host:port`; the host may be an IPv6 address in brackets.
pub fn is_host_port(entry: &str) -> bool {
    match entry.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok(),
        None => false,
    }
}

/// `partition:broker` entries (empty ones too, as Kafka has it), or a lone `*`.
pub fn are_throttled_replicas(entries: &[String]) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let replica = |e: &str| e.is_empty() || e.split_once(':').is_some_and(|(p, b)| digits(p) && digits(b));
    entries.iter().all(|e| replica(e.trim())) || entries.concat().trim() == "*"
}

/// `earliest`, `latest` or `by_duration:` and a duration that is not negative
/// (`ShareGroupAutoOffsetResetStrategy`).
pub fn is_share_offset_reset(text: &str) -> bool {
    match text {
        "earliest" | "latest" => true,
        _ => text.strip_prefix("by_duration:").is_some_and(|d| iso_duration_ms(d).is_some()),
    }
}

/// Milliseconds of an ISO 8601 duration of days, hours, minutes and seconds, `PnDTnHnMn.nS`. None for
/// anything else, for a negative one, and for one that does not fit.
pub fn iso_duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total_ms: i64 = 0;
    let mut add = |count: i64, unit_ms: i64| -> Option<()> {
        total_ms = total_ms.checked_add(count.checked_mul(unit_ms)?)?;
        Some(())
    };
    if !days.is_empty() {
        add(whole(days.strip_suffix('D')?)?, 86_400_000)?;
    }
    let mut left = time;
    for (unit, unit_ms) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((count, after)) = left.split_once(unit) {
            add(whole(count)?, unit_ms)?;
            left = after;
        }
    }
    if !left.is_empty() {
        let seconds = left.strip_suffix('S')?;
        let (count, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        add(whole(count)?, 1000)?;
        if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let ms: String = fraction.chars().chain("000".chars()).take(3).collect();
        add(ms.parse().ok()?, 1)?;
    }
    Some(total_ms)
}

/// The cores of `ottla.cores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// That many of those that the process may use.
    Count(usize),
    /// These, by the kernel's numbers, each once and in rising order.
    List(Vec<usize>),
}

impl Cores {
    /// From a number, or a list of numbers and ranges such as `0,2-4`. A list of one core is written with a comma
    /// after it: `3,`. None for anything else, and for no cores or more than there may be shards.
    pub fn parse(text: &str) -> Option<Cores> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        if !text.contains([',', '-']) {
            return number(text).filter(|n| (1..=SHARDS_MAX).contains(n)).map(Cores::Count);
        }
        let mut cores = Vec::new();
        for part in text.trim_end_matches(',').split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last - first >= SHARDS_MAX {
                return None;
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        cores.dedup();
        (1..=SHARDS_MAX).contains(&cores.len()).then_some(Cores::List(cores))
    }
}

fn whole(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("PT0S", Some(0)),
            ("PT1H", Some(3_600_000)),
            ("P2DT3H4M5.678S", Some(183_845_678)),
            ("P1D", Some(86_400_000)),
            ("pt1m", Some(60_000)),
            ("PT1.5S", Some(1500)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("1H", None),
            ("PT-1H", None),
            ("PT1S1H", None),
            ("P9999999999999999999D", None),
            ("P9223372036854775807D", None),
        ];
        for (text, want) in table {
            assert_eq!(iso_duration_ms(text), want, "{text}");
        }
        assert!(is_share_offset_reset("by_duration:PT1H"));
        assert!(!is_share_offset_reset("none"));
    }

    #[test]
    fn cores() {
        let table = [
            ("4", Some(Cores::Count(4))),
            ("256", Some(Cores::Count(256))),
            ("0,2-4", Some(Cores::List(vec![0, 2, 3, 4]))),
            ("3,", Some(Cores::List(vec![3]))),
            ("3-3", Some(Cores::List(vec![3]))),
            ("2, 1,2", Some(Cores::List(vec![1, 2]))),
            ("0", None),
            ("257", None),
            ("", None),
            (",", None),
            ("a", None),
            ("4-2", None),
            ("0-9999999999", None),
            ("-1", None),
            ("1,,2", None),
        ];
        for (text, want) in table {
            assert_eq!(Cores::parse(text), want, "{text}");
        }
    }

    #[test]
    fn entries() {
        assert!(is_voter("1@localhost:9093"));
        assert!(is_voter("1@[::1]:9093"));
        assert!(!is_voter("localhost:9093"));
        assert!(!is_voter("x@localhost:9093"));
        assert!(!is_voter("1@localhost:99999"));
        let list = |s: &[&str]| s.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
        assert!(are_throttled_replicas(&list(&["*"])));
        assert!(are_throttled_replicas(&list(&["0:1", "2:3"])));
        assert!(are_throttled_replicas(&list(&[])));
        assert!(!are_throttled_replicas(&list(&["0:1", "*"])));
        assert!(!are_throttled_replicas(&list(&["a:1"])));
    }
}
