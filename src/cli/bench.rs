//! `ottla bench`: the suite of loads against a broker that runs.

use super::{BenchArgs, CliError, complain, print};
use crate::bench::{
    BenchError, Case, Client, Flush, GROUPS, Metric, Moment, Place, RateOf, Sample, Timing, cases, process,
    table,
};
use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Uncounted time of the load itself before it counts.
const RAMP: Duration = Duration::from_millis(500);

/// Runs the cases one after another, and prints a row for each.
pub fn run(args: &BenchArgs) -> Result<(), CliError> {
    if args.list {
        return print(&list());
    }
    check(args)?;
    let Some(against) = &args.against else {
        return print(&list());
    };
    let address = against.to_socket_addrs().ok().and_then(|mut found| found.next());
    let Some(address) = address else {
        return Err(CliError::usage(format!("--against {against}: no such address; HOST:PORT is wanted")));
    };
    let cases = selected(args)?;
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|e| CliError::usage(format!("{name} {value}: {e}")))
    };
    let timing = Timing {
        warm: seconds("--warm", args.warm)?,
        ramp: RAMP,
        time: seconds("--seconds", args.seconds)?,
        shrink: 1,
    };
    Client::connect(address).map_err(|e| {
        CliError::environment(format!(
            "{e}; is a broker running there, and is it the port for clients without encryption?"
        ))
    })?;
    clean_up_on_signals(address)?;
    print(&(table::head() + "\n"))?;
    for (number, case) in cases.iter().enumerate() {
        let prefix = format!("{}{number}", prefix());
        let mut cpu_ns = Vec::new();
        let mut meter = |_: Moment| cpu_ns.push(args.pid.and_then(|pid| process::cpu_ns(pid).ok()));
        let mut place = Place {
            address,
            prefix: &prefix,
            delete: true,
            warmed: &mut || {},
            filled: &mut || {},
            meter: &mut meter,
        };
        let found = crate::bench::run(case, &case.load, &timing, &mut place).map_err(|e| {
            clean_up(address);
            fault(&case.name, &e)
        })?;
        let cpu_s = match cpu_ns[..] {
            [Some(before), Some(after)] => Some(after.saturating_sub(before) as f64 / 1e9),
            _ => None,
        };
        let mut sample = Sample::of(&found, cpu_s);
        if let Some(bytes) = args.pid.and_then(|pid| process::status_bytes(pid, "VmRSS").ok()) {
            sample.set(Metric::Resident, bytes as f64 / f64::from(1 << 20));
        }
        print(&(table::row(&case.name, |metric| sample.values.get(&metric).copied()) + "\n"))?;
    }
    print("Every record that was sent came back once, in order and unchanged.\n")
}

/// What makes no sense, whatever the broker says.
fn check(args: &BenchArgs) -> Result<(), CliError> {
    if args.seconds <= 0.0 || !args.seconds.is_finite() {
        return Err(CliError::usage(format!("--seconds {}: a load has to run for some time", args.seconds)));
    }
    if let Some(pid) = args.pid.filter(|pid| process::cpu_ns(*pid).is_err()) {
        return Err(CliError::usage(format!("--pid {pid}: there is no such process on this machine")));
    }
    Ok(())
}

/// What the names of this process's topics begin with.
fn prefix() -> String {
    format!("ottla-bench-{}-", std::process::id())
}

/// Deletes what a bench that did not come to its end has left.
fn clean_up(address: SocketAddr) {
    let deleted = Client::connect(address).and_then(|mut client| client.delete_topics_named(&prefix()));
    if let Err(error) = deleted {
        complain(&format!("ottla: the topics {}... could not be deleted: {error}", prefix()));
    }
}

/// A signal deletes the topics before it ends the process.
fn clean_up_on_signals(address: SocketAddr) -> Result<(), CliError> {
    let flag = crate::io::signals::flag_on_signals()
        .map_err(|e| CliError::environment(format!("signal handlers: {e}")))?;
    let watch = move || loop {
        std::thread::park_timeout(SIGNAL_LOOK);
        let signal = flag.load(Ordering::SeqCst);
        if signal != 0 {
            clean_up(address);
            std::process::exit(128 + signal);
        }
    };
    let watched = std::thread::Builder::new().name("ottla-signals".to_owned()).spawn(watch);
    watched.map(|_| ()).map_err(|e| CliError::environment(format!("a thread for signals: {e}")))
}

/// How often a bench looks whether a signal has come.
const SIGNAL_LOOK: Duration = Duration::from_millis(50);

/// A record that went wrong is a fault of the data; everything else is one around the broker.
fn fault(case: &str, error: &BenchError) -> CliError {
    let text = format!("{case}: {error}");
    match error {
        BenchError::Record { .. } => CliError::data(text),
        BenchError::Usage(_) => CliError::usage(text),
        _ => CliError::environment(text),
    }
}

/// The cases that the arguments name.
fn selected(args: &BenchArgs) -> Result<Vec<Case>, CliError> {
    let all = args.scenario == "all";
    if !all && !GROUPS.iter().any(|(group, _)| *group == args.scenario) {
        return Err(CliError::usage(format!(
            "there is no scenario {}: `ottla bench --list` shows all",
            args.scenario
        )));
    }
    let mut cases = cases();
    cases.retain(|case| case.group == args.scenario || all);
    cases.retain(is_for_any_broker);
    for case in cases.iter_mut().filter(|case| case.flush == Flush::Both) {
        case.load.config.push(("flush.messages".to_owned(), "1".to_owned()));
    }
    if let Some(only) = &args.only {
        cases.retain(|case| case.name.contains(only.as_str()) || case.describe().contains(only.as_str()));
    }
    if cases.is_empty() {
        return Err(CliError::usage(format!(
            "nothing is called {} in scenario {}: `ottla bench --list` shows all",
            args.only.as_deref().unwrap_or_default(),
            args.scenario
        )));
    }
    Ok(cases)
}

/// Neither a share of what Kafka reached, nor a difference between two brokers.
fn is_for_any_broker(case: &Case) -> bool {
    case.rate == RateOf::Load && case.flush != Flush::Ours
}

fn list() -> String {
    let mut text = "all: every scenario\n".to_owned();
    for (group, what) in GROUPS {
        let _ = writeln!(text, "{group}: {what}");
        for case in cases().iter().filter(|case| case.group == *group && is_for_any_broker(case)) {
            let _ = writeln!(text, "    {:<24} {}", case.name, case.describe());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(scenario: &str, only: Option<&str>) -> BenchArgs {
        BenchArgs {
            against: None,
            scenario: scenario.to_owned(),
            only: only.map(str::to_owned),
            seconds: 1.0,
            warm: 0.0,
            pid: None,
            list: false,
        }
    }

    #[test]
    fn selection() {
        let names = |scenario, only| -> Vec<String> {
            selected(&args(scenario, only)).expect("cases").into_iter().map(|case| case.name).collect()
        };
        assert_eq!(names("bars", Some("100B-4")), ["produce-100B-4"]);
        assert_eq!(names("groups", None), ["group-churn"]);
        assert!(names("all", None).len() > 50);
        assert!(selected(&args("bars", Some("nothing"))).is_err());
        assert!(selected(&args("nothing", None)).is_err());
        assert!(list().contains("produce-100B-4"));
    }
}
