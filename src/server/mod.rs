//! Boot, the loop of a core, shutdown: everything is wired here.

pub mod boot;
pub mod core;
mod cores;
pub mod dirs;
mod error;
pub mod format;
mod heavy;
pub mod metadata;
pub mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::limits::OPEN_FILES_WANTED;
use crate::base::{ShardId, Ticks, Uuid, WallMs};
use crate::config::BrokerConfig;
use crate::io::ring::{Remote, Ring};
use crate::io::{Files, OsFiles, clock, repeats};
use crate::shard::Mail;
use crate::shard::controller::ControllerHost;

use self::boot::{Boot, Given};
use self::core::Turned;
use self::report::{Counts, Doing};
pub use error::ServeError;

/// What `ottla serve` was asked to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The configuration.
    pub config: BrokerConfig,
    /// The cluster's id, if the user gave one; else a new directory gets a random one.
    pub cluster_id: Option<String>,
    /// The command that formats log directories with the same configuration, for messages.
    pub format_command: String,
}

/// What a core's thread tells the main thread.
enum Told {
    /// The broker may serve; the address of each listener.
    Ready(Vec<String>),
    /// It cannot go on.
    Failed(ServeError),
    /// The loop is over; whether everything was closed cleanly.
    Ended(bool),
}

/// How often the main thread looks whether a checkpoint is wanted.
const CHECKPOINT_LOOK: Duration = Duration::from_secs(1);
/// How often checkpoints are written in any case, in looks.
const CHECKPOINT_LOOKS: u32 = 60;

/// Runs a broker until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from serving, or from having stopped cleanly.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let files = OsFiles;
    raise_limits();
    crate::io::signals::ignore_file_size();
    crate::io::signals::end_on_signals().map_err(|e| ServeError::environment("signal handlers", &e))?;
    let counts = Counts::default();
    let report = report::report(counts.clone());
    let ServeOptions { config, cluster_id, format_command } = options;
    let config = with_ports(config)?;
    let paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
    let chosen = cores::choose(config.cores.as_ref()).map_err(ServeError::Config)?;
    let shards = chosen.len();
    tracing::info!(
        "ottla {} starts on {shards} cores, with the log directories {}",
        env!("CARGO_PKG_VERSION"),
        config.log_dirs.join(", ")
    );
    let taken = dirs::take(dirs::Asked {
        log_dirs: &paths,
        metadata_dir: Path::new(config.metadata_log_dir()),
        node_id: config.node_id,
        cluster_id: cluster_id.as_deref(),
        format_command: &format_command,
    })?;
    let _ = report.send(Doing::Binding);
    boot::check_listeners(&config)?;
    let seed = u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap_or_default());
    let _ = report.send(Doing::Recovering);
    let (boot, host) = Boot::prepare(
        &files,
        Given {
            config,
            cluster_id: taken.cluster_id.clone(),
            directory_ids: taken.directory_ids.clone(),
            metadata_directory_id: taken.metadata_directory_id,
            incarnation_id: Uuid(*uuid::Uuid::new_v4().as_bytes()),
            shards,
            now_ms: wall_ms(),
            seed,
            counts,
        },
    )?;
    let boot = Arc::new(boot);
    let _ = report.send(Doing::Opening);
    let remote = Remote::new(shards).map_err(|e| ServeError::environment("the cores' mailboxes", &e))?;
    let barrier = Arc::new(Barrier::new(shards));
    crate::io::signals::stop_on_signals(&remote)
        .map_err(|e| ServeError::environment("signal handlers", &e))?;

    let (tell, told) = mpsc::channel();
    let mut threads = Vec::with_capacity(shards);
    let mut host = Some(Box::new(host));
    for (index, pin) in chosen.into_iter().enumerate() {
        let (boot, tell, host) = (boot.clone(), tell.clone(), host.take());
        let (remote, barrier) = (remote.clone(), barrier.clone());
        let run = move || {
            if let Some(core) = pin {
                core_affinity::set_for_current(core);
            }
            // A panic is a bug of ours: the process ends rather than go on with a core missing.
            let id = ShardId(index as u16);
            let run = AssertUnwindSafe(|| run_core(&boot, &remote, &barrier, id, host, &tell));
            let ended = catch_unwind(run).unwrap_or_else(|_| {
                Err(ServeError::Bug(
                    "a core's thread panicked: please report this; the data is as after a crash".to_owned(),
                ))
            });
            if let Err(error) = ended {
                let _ = tell.send(Told::Failed(error));
            }
        };
        let thread = thread::Builder::new().name(format!("ottla-{index}")).spawn(run);
        threads.push(thread.map_err(|e| ServeError::environment("a core's thread", &e))?);
    }
    drop(tell);
    supervise(&told, &boot, &files, threads, &taken.cluster_id, report)
}

/// Every partition in use has open files and every client a socket; many systems begin with 1024.
fn raise_limits() {
    match crate::io::descriptors::raise_open_files() {
        Ok((soft, hard)) if soft < hard => tracing::debug!(soft, hard, "the limit of open files was raised"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
    match crate::io::descriptors::open_files() {
        Some(limit) if limit < OPEN_FILES_WANTED => tracing::warn!(
            limit,
            "few open files are allowed, so partitions and clients beyond them are refused: ulimit -n 1048576, or \
             LimitNOFILE=1048576 in the systemd unit"
        ),
        _ => {}
    }
}

/// Waits for the cores, writes checkpoints now and then, and the last ones at the end.
fn supervise(
    told: &Receiver<Told>,
    boot: &Boot,
    files: &dyn Files,
    threads: Vec<JoinHandle<()>>,
    cluster_id: &str,
    report: Sender<Doing>,
) -> Result<(), ServeError> {
    let (mut ended, mut clean, mut looks) = (0, true, 0);
    while ended < boot.shards() {
        match told.recv_timeout(CHECKPOINT_LOOK) {
            Ok(Told::Ready(addresses)) => {
                let _ = report.send(Doing::Serving);
                announce(&addresses, boot, cluster_id);
            }
            // The other cores may wait for this one for ever: the process ends with what it has on the disk.
            Ok(Told::Failed(error)) => return Err(error),
            Ok(Told::Ended(was_clean)) => {
                ended += 1;
                clean &= was_clean;
            }
            Err(RecvTimeoutError::Timeout) => {
                repeats::tell_counted(clock::monotonic());
                looks += 1;
                if boot.take_wanted() || looks >= CHECKPOINT_LOOKS {
                    looks = 0;
                    boot.write_checkpoints(files);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ServeError::Bug("a core's thread ended without a word".to_owned()));
            }
        }
    }
    drop(report);
    for thread in threads {
        let _ = thread.join();
    }
    repeats::tell_counted(Ticks::NEVER);
    boot.stopped(files, clean)?;
    tracing::info!("stopped");
    Ok(())
}

/// One line when the broker serves, and what to type next.
fn announce(addresses: &[String], boot: &Boot, cluster_id: &str) {
    use std::io::Write;
    let address = addresses.first().map_or("", String::as_str);
    let dirs: Vec<String> = boot.log_dirs().iter().map(|d| d.display().to_string()).collect();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "ottla {} ready on {} (node {}, cluster {cluster_id}, {} cores, data in {}); try: kcat -b {address} -L",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        boot.config().node_id,
        boot.shards(),
        dirs.join(", "),
    );
    let _ = out.flush();
}

/// A core's thread, from ring to end.
fn run_core(
    boot: &Boot,
    remote: &Remote<Mail>,
    barrier: &Barrier,
    id: ShardId,
    host: Option<Box<ControllerHost>>,
    tell: &Sender<Told>,
) -> Result<(), ServeError> {
    let mut ring: Ring<Mail> = Ring::new(remote, id).map_err(|e| ServeError::Environment(e.to_string()))?;
    ring.send_without_copy(boot.zero_copy_bytes());
    let shard = boot.open_shard(&OsFiles, id);
    barrier.wait();
    let mut core = boot.begin(&OsFiles, &mut ring, shard, host.map(|h| *h), crate::io::volume_bytes)?;
    loop {
        match core.turn(&mut ring) {
            Turned::More => {}
            Turned::Ready => {
                let addresses = boot.listen(&mut core, &mut ring)?;
                let _ = tell.send(Told::Ready(addresses));
            }
            Turned::Failed(why) => {
                return Err(ServeError::Environment(format!(
                    "the broker cannot serve: the metadata log: {why}"
                )));
            }
            Turned::Ended(clean) => {
                let _ = tell.send(Told::Ended(clean));
                return Ok(());
            }
        }
    }
}

/// A port of 0 is chosen now, because the registration names it.
fn with_ports(mut config: BrokerConfig) -> Result<BrokerConfig, ServeError> {
    for listener in config.listeners.iter_mut().chain(&mut config.controller_listeners) {
        if listener.port != 0 {
            continue;
        }
        let host = listener.host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let probe = std::net::TcpListener::bind((host.as_str(), 0));
        listener.port = probe.and_then(|p| p.local_addr()).map_err(|e| ServeError::listen(&host, &e))?.port();
        let (name, port) = (&listener.name, listener.port);
        for advertised in config.advertised_listeners.iter_mut().filter(|a| a.name == *name && a.port == 0) {
            advertised.port = port;
        }
    }
    Ok(config)
}

fn wall_ms() -> WallMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}
