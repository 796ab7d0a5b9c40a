//! Boot, the loop of a core, shutdown: everything is wired here.

pub mod core;
mod cores;
mod dirs;
mod error;
pub mod format;
pub mod metadata;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::{ShardId, Uuid, WallMs};
use crate::config::{BrokerConfig, Listener};
use crate::io::ring::{Remote, Ring};
use crate::io::{Files, OsFiles, World};
use crate::log::{checkpoint, names};
use crate::meta::controller::{BrokerRegistration, supported_features};
use crate::meta::record::Endpoint;
use crate::net::{Net, NetConfig};
use crate::raft::{Identity, SnapshotPolicy, VoterEndpoint};
use crate::shard::checkpoints::CheckpointBook;
use crate::shard::controller::{ControllerHost, metadata_dir};
use crate::shard::{LogDirs, Mail, Shard, ShardParts};

use self::core::{Core, CoreParts, Turned};
pub use error::ServeError;

/// What `ottla serve` was asked to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The configuration.
    pub config: BrokerConfig,
    /// The cluster's id, if the user gave one; else a new directory gets a random one.
    pub cluster_id: Option<String>,
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

/// Everything the cores' threads start from.
struct Boot {
    config: Arc<BrokerConfig>,
    dirs: LogDirs,
    book: Arc<CheckpointBook>,
    image: Arc<crate::meta::image::Image>,
    barrier: Barrier,
    remote: Remote<Mail>,
    shards: usize,
    now_ms: WallMs,
    seed: u64,
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
    let ServeOptions { config, cluster_id } = options;
    let config = with_ports(config)?;
    let paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
    let formatted = dirs::ensure(&paths, config.node_id, cluster_id.as_deref())?;
    let _locks = dirs::lock(&paths)?;
    let now_ms = wall_ms();
    let book = Arc::new(CheckpointBook::read(&files, &paths));
    let previous_epoch = take_clean_shutdown(&files, &paths)?;

    let identity = Identity {
        node_id: config.node_id,
        directory_id: formatted.directory_ids.first().copied().unwrap_or(Uuid::ZERO),
        endpoints: controller_endpoints(&config),
    };
    let meta_dir = metadata_dir(paths.first().map_or(Path::new("."), PathBuf::as_path));
    let clean = book.clean_shutdown();
    let loaded = metadata::load(&files, &meta_dir, &formatted.cluster_id, identity, clean, now_ms)?;
    let seed = u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap_or_default());
    let policy = SnapshotPolicy::new(
        config.number("metadata.log.max.record.bytes.between.snapshots").max(1) as u64,
        config.number("metadata.log.max.snapshot.interval.ms"),
        now_ms,
    );
    let registration = BrokerRegistration {
        broker_id: config.node_id,
        cluster_id: formatted.cluster_id.as_str().into(),
        incarnation_id: Uuid(*uuid::Uuid::new_v4().as_bytes()),
        end_points: endpoints(&config),
        features: supported_features(),
        rack: config.rack.as_deref().map(Into::into),
        log_dirs: formatted.directory_ids.clone(),
        previous_broker_epoch: previous_epoch,
    };
    let image = Arc::new(loaded.controller.image().clone());
    let host = ControllerHost::new(loaded.controller, loaded.raft, policy, registration, loaded.log, seed);

    let chosen = cores::choose(config.cores.as_ref()).map_err(ServeError::Config)?;
    let shards = chosen.len();
    let remote = Remote::new(shards).map_err(|e| ServeError::environment("the cores' mailboxes", &e))?;
    let boot = Arc::new(Boot {
        config: Arc::new(config),
        dirs: LogDirs { paths: Arc::new(paths.clone()) },
        book: book.clone(),
        image,
        barrier: Barrier::new(shards),
        remote: remote.clone(),
        shards,
        now_ms,
        seed,
    });
    crate::io::signals::stop_on_signals(&remote)
        .map_err(|e| ServeError::environment("signal handlers", &e))?;

    let (tell, told) = mpsc::channel();
    let mut threads = Vec::with_capacity(shards);
    let mut host = Some(Box::new(host));
    for (index, pin) in chosen.into_iter().enumerate() {
        let (boot, tell, host) = (boot.clone(), tell.clone(), host.take());
        let run = move || {
            if let Some(core) = pin {
                core_affinity::set_for_current(core);
            }
            // A panic is a bug of ours: the process ends rather than go on with a core missing.
            let run = AssertUnwindSafe(|| run_core(&boot, ShardId(index as u16), host, &tell));
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
    supervise(&told, &boot, &files, threads, &formatted.cluster_id)
}

/// Waits for the cores, writes checkpoints now and then, and the last ones at the end.
fn supervise(
    told: &Receiver<Told>,
    boot: &Boot,
    files: &dyn Files,
    threads: Vec<JoinHandle<()>>,
    cluster_id: &str,
) -> Result<(), ServeError> {
    let (mut ended, mut clean, mut looks) = (0, true, 0);
    while ended < boot.shards {
        match told.recv_timeout(CHECKPOINT_LOOK) {
            Ok(Told::Ready(addresses)) => announce(&addresses, boot, cluster_id),
            // The other cores may wait for this one for ever: the process ends with what it has on the disk.
            Ok(Told::Failed(error)) => return Err(error),
            Ok(Told::Ended(was_clean)) => {
                ended += 1;
                clean &= was_clean;
            }
            Err(RecvTimeoutError::Timeout) => {
                looks += 1;
                if boot.book.take_wanted() || looks >= CHECKPOINT_LOOKS {
                    looks = 0;
                    write_checkpoints(files, boot);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ServeError::Bug("a core's thread ended without a word".to_owned()));
            }
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
    boot.book
        .write(files, &boot.dirs.paths)
        .map_err(|e| ServeError::environment("the checkpoints could not be written", &e))?;
    if !clean {
        return Err(ServeError::Bug(
            "some partitions were not closed cleanly; the next start will check them".to_owned(),
        ));
    }
    let mark = checkpoint::format_clean_shutdown(boot.book.broker_epoch());
    for dir in boot.dirs.paths.iter() {
        let path = dir.join(names::CLEAN_SHUTDOWN);
        files
            .write_atomic(&path, &mark)
            .map_err(|e| ServeError::environment(&path.display().to_string(), &e))?;
    }
    tracing::info!("stopped");
    Ok(())
}

fn write_checkpoints(files: &dyn Files, boot: &Boot) {
    if let Err(error) = boot.book.write(files, &boot.dirs.paths) {
        tracing::error!(%error, "the checkpoints could not be written; the next start may have to check more");
    }
}

/// One line when the broker serves, and what to type next.
fn announce(addresses: &[String], boot: &Boot, cluster_id: &str) {
    use std::io::Write;
    let address = addresses.first().map_or("", String::as_str);
    let dirs: Vec<String> = boot.dirs.paths.iter().map(|d| d.display().to_string()).collect();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "ottla {} ready on {} (node {}, cluster {cluster_id}, {} cores, data in {}); try: kcat -b {address} -L",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        boot.config.node_id,
        boot.shards,
        dirs.join(", "),
    );
    let _ = out.flush();
}

/// A core's thread, from ring to end.
fn run_core(
    boot: &Boot,
    id: ShardId,
    host: Option<Box<ControllerHost>>,
    tell: &Sender<Told>,
) -> Result<(), ServeError> {
    let mut ring: Ring<Mail> =
        Ring::new(&boot.remote, id).map_err(|e| ServeError::Environment(e.to_string()))?;
    let mut shard = Shard::new(ShardParts {
        id,
        shards: boot.shards,
        config: boot.config.clone(),
        image: boot.image.clone(),
        dirs: boot.dirs.clone(),
        cache_bytes: boot.config.core_cache_bytes.max(0) as usize,
        book: boot.book.clone(),
    });
    shard.open_all(&OsFiles, boot.now_ms);
    boot.barrier.wait();
    if let Some(host) = host {
        shard.host_controller(*host);
        shard.start_controller(&mut ring, &OsFiles).map_err(ServeError::Environment)?;
    }
    let mut core = Core::new(CoreParts {
        shard,
        net: Net::new(net_config(boot, id)),
        id,
        shards: boot.shards,
        node: crate::api::cx::Node { log_dirs: absolute(&boot.dirs.paths) },
        session_slots: (boot.config.network.max_incremental_fetch_session_cache_slots.max(0) as usize)
            .div_ceil(boot.shards),
        seed: boot.seed ^ (u64::from(id.0) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        volume: crate::io::volume_bytes,
    });
    core.begin(&mut ring);
    loop {
        match core.turn(&mut ring) {
            Turned::More => {}
            Turned::Ready => {
                let addresses = listen(boot, &mut core, &mut ring)?;
                let _ = tell.send(Told::Ready(addresses));
            }
            Turned::Ended(clean) => {
                let _ = tell.send(Told::Ended(clean));
                return Ok(());
            }
        }
    }
}

fn listen(boot: &Boot, core: &mut Core, ring: &mut dyn World<Mail>) -> Result<Vec<String>, ServeError> {
    let mut addresses = Vec::new();
    for (index, listener) in boot.config.listeners.iter().enumerate() {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        let mut bound = false;
        for address in resolve(host, listener.port)? {
            match core.net().listen(index as u32, address, ring) {
                Ok(_) => bound = true,
                // `localhost` may have an address of a family that this machine does not have.
                Err(e) if e.raw_os_error() == Some(EADDRNOTAVAIL) => {}
                Err(e) => return Err(ServeError::listen(&address.to_string(), &e)),
            }
        }
        if !bound {
            let name = format!("{host}:{}", listener.port);
            return Err(ServeError::Environment(format!(
                "no address of listener {name} is one of this machine's"
            )));
        }
    }
    for listener in &boot.config.advertised_listeners {
        addresses.push(format!("{}:{}", advertised_host(listener), listener.port));
    }
    Ok(addresses)
}

const EADDRNOTAVAIL: i32 = 99;

fn resolve(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, ServeError> {
    use std::net::ToSocketAddrs;
    let found = (host, port).to_socket_addrs();
    let mut all: Vec<_> =
        found.map_err(|e| ServeError::environment(&format!("listener host {host}"), &e))?.collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn net_config(boot: &Boot, id: ShardId) -> NetConfig {
    let network = &boot.config.network;
    NetConfig {
        shard: id,
        shards: boot.shards,
        frame_bytes_max: network.socket_request_max_bytes.max(0) as usize,
        connection_bytes_max: network.connection_buffer_bytes.max(0) as usize,
        core_bytes_max: network.core_buffer_bytes.max(0) as usize,
        idle_ms: network.connections_max_idle_ms,
        connections_max: network.max_connections.max(0) as usize,
        connections_per_ip_max: network.max_connections_per_ip.max(0) as usize,
        ..NetConfig::default()
    }
}

/// A port of 0 is chosen now, because the registration names it.
fn with_ports(mut config: BrokerConfig) -> Result<BrokerConfig, ServeError> {
    for i in 0..config.listeners.len() {
        if config.listeners[i].port != 0 {
            continue;
        }
        let host = config.listeners[i].host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let probe = std::net::TcpListener::bind((host.as_str(), 0));
        let port = probe.and_then(|p| p.local_addr()).map_err(|e| ServeError::listen(&host, &e))?.port();
        config.listeners[i].port = port;
        let name = config.listeners[i].name.clone();
        for advertised in config.advertised_listeners.iter_mut().filter(|a| a.name == name && a.port == 0) {
            advertised.port = port;
        }
    }
    Ok(config)
}

fn advertised_host(listener: &Listener) -> String {
    match listener.host.as_deref() {
        Some(host) if !host.is_empty() && host != "0.0.0.0" && host != "::" => host.to_owned(),
        _ => hostname(),
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn endpoints(config: &BrokerConfig) -> Vec<Endpoint> {
    config
        .advertised_listeners
        .iter()
        .map(|l| Endpoint {
            name: l.name.as_str().into(),
            host: advertised_host(l).into(),
            port: l.port,
            security_protocol: l.protocol.id(),
        })
        .collect()
}

fn controller_endpoints(config: &BrokerConfig) -> Vec<VoterEndpoint> {
    config
        .controller_listeners
        .iter()
        .map(|l| VoterEndpoint { name: l.name.clone(), host: advertised_host(l), port: l.port })
        .collect()
}

/// Reads and removes the marks of a clean stop: from now on a stop is unclean until it is clean again.
fn take_clean_shutdown(files: &dyn Files, dirs: &[PathBuf]) -> Result<i64, ServeError> {
    let mut epoch = -1;
    for dir in dirs {
        let path = dir.join(names::CLEAN_SHUTDOWN);
        if files.exists(&path) {
            let bytes = files.read(&path).unwrap_or_default();
            epoch = checkpoint::parse_clean_shutdown(&bytes).unwrap_or(-1).max(epoch);
            let removed = files.remove_file(&path).and_then(|()| files.sync_dir(dir));
            removed.map_err(|e| ServeError::environment(&path.display().to_string(), &e))?;
        }
    }
    Ok(epoch)
}

fn absolute(paths: &[PathBuf]) -> Vec<String> {
    let absolute = |p: &PathBuf| std::path::absolute(p).unwrap_or_else(|_| p.clone()).display().to_string();
    paths.iter().map(absolute).collect()
}

fn wall_ms() -> WallMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}
