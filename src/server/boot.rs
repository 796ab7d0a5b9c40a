//! What a broker is made of at start: the same for the real machine and the simulated one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::cx::Node;
use crate::base::{DirectoryId, ShardId, TopicId, TopicPartition, Uuid, WallMs};
use crate::config::{BrokerConfig, Listener};
use crate::io::{Files, World};
use crate::log::journal::{self, Journal};
use crate::log::{checkpoint, names, retire};
use crate::meta::controller::{BrokerRegistration, supported_features};
use crate::meta::image::Image;
use crate::meta::record::Endpoint;
use crate::net::{Net, NetConfig};
use crate::raft::{Identity, SnapshotPolicy, VoterEndpoint};
use crate::shard::checkpoints::CheckpointBook;
use crate::shard::controller::{ControllerHost, metadata_dir};
use crate::shard::strays;
use crate::shard::{LogDirs, Mail, PartitionKey, Shard, ShardParts};

use super::core::{Core, CoreParts};
use super::{ServeError, metadata};

/// What a start is given: the directories are formatted and nobody else uses them.
pub struct Given {
    /// The configuration, with every port chosen.
    pub config: BrokerConfig,
    /// The cluster's id.
    pub cluster_id: String,
    /// The ids of the log directories, in the order of the configuration.
    pub directory_ids: Vec<DirectoryId>,
    /// Of this start.
    pub incarnation_id: Uuid,
    /// The number of cores.
    pub shards: usize,
    /// Wall-clock time.
    pub now_ms: WallMs,
    /// Of everything random.
    pub seed: u64,
}

/// Everything that the cores start from and share.
pub struct Boot {
    config: Arc<BrokerConfig>,
    dirs: LogDirs,
    book: Arc<CheckpointBook>,
    image: Arc<Image>,
    shards: usize,
    now_ms: WallMs,
    seed: u64,
    unfinished: Vec<PathBuf>,
}

impl Boot {
    /// Reads checkpoints and metadata. The host is for core 0. Blocks.
    ///
    /// # Errors
    /// Metadata that cannot be used, or files that cannot be read.
    pub fn prepare(files: &dyn Files, given: Given) -> Result<(Boot, ControllerHost), ServeError> {
        let Given { config, cluster_id, directory_ids, incarnation_id, shards, now_ms, seed } = given;
        let paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
        let book = Arc::new(CheckpointBook::read(files, &paths));
        let previous_epoch = take_clean_shutdown(files, &paths)?;
        let identity = Identity {
            node_id: config.node_id,
            directory_id: directory_ids.first().copied().unwrap_or(Uuid::ZERO),
            endpoints: controller_endpoints(&config),
        };
        let meta_dir = metadata_dir(paths.first().map_or(Path::new("."), PathBuf::as_path));
        let clean = book.clean_shutdown();
        let loaded = metadata::load(files, &meta_dir, &cluster_id, identity, clean, now_ms)?;
        let mut policy = SnapshotPolicy::new(
            config.number("metadata.log.max.record.bytes.between.snapshots").max(1) as u64,
            config.number("metadata.log.max.snapshot.interval.ms"),
            now_ms,
        );
        policy.committed(loaded.replayed_bytes);
        let registration = BrokerRegistration {
            broker_id: config.node_id,
            cluster_id: cluster_id.as_str().into(),
            incarnation_id,
            end_points: endpoints(&config),
            features: supported_features(),
            rack: config.rack.as_deref().map(Into::into),
            log_dirs: directory_ids,
            previous_broker_epoch: previous_epoch,
        };
        let image = Arc::new(loaded.controller.image().clone());
        let unfinished = strays::sort_out(files, &paths, &image, config.node_id, &book)
            .map_err(|e| ServeError::environment("the log directories", &e))?;
        redo_journals(files, &paths, &image, &book)
            .map_err(|e| ServeError::environment("the journals of the last run (nothing is lost: make the disk readable and writable, and start again)", &e))?;
        let host =
            ControllerHost::new(loaded.controller, loaded.raft, policy, registration, loaded.log, seed);
        let dirs = LogDirs { paths: Arc::new(paths) };
        Ok((Boot { config: Arc::new(config), dirs, book, image, shards, now_ms, seed, unfinished }, host))
    }

    /// The configuration.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// The log directories.
    pub fn log_dirs(&self) -> &[PathBuf] {
        &self.dirs.paths
    }

    /// The number of cores.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Opens the partitions of a core. Blocks. Every core does this before any begins.
    pub fn open_shard(&self, files: &dyn Files, id: ShardId) -> Shard {
        let mut shard = Shard::new(ShardParts {
            id,
            shards: self.shards,
            config: self.config.clone(),
            image: self.image.clone(),
            dirs: self.dirs.clone(),
            cache_bytes: self.config.core_cache_bytes.max(0) as usize,
            journal: self.journal(files, id),
            book: self.book.clone(),
            seed: self.core_seed(id),
            unfinished: if id.0 == 0 { self.unfinished.clone() } else { Vec::new() },
        });
        shard.open_all(files, self.now_ms);
        shard
    }

    fn journal(&self, files: &dyn Files, id: ShardId) -> Journal {
        let bytes = self.config.core_journal_bytes.max(0) as u64;
        let (home, salt) = (metadata_home(&self.dirs.paths), self.core_seed(id) as u32);
        let mut journal = Journal::new(home, id, bytes, salt, files.boot_id());
        if let Err(error) = journal.open(files) {
            tracing::warn!(%error, "there is no journal; small appends go straight to their segments, which is slower");
        }
        journal
    }

    fn core_seed(&self, id: ShardId) -> u64 {
        self.seed ^ (u64::from(id.0) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// A core about to turn; core 0 is given the host. `volume` asks for a volume's total and usable bytes.
    ///
    /// # Errors
    /// If the controller cannot begin to lead.
    pub fn begin(
        &self,
        files: &dyn Files,
        world: &mut dyn World<Mail>,
        mut shard: Shard,
        host: Option<ControllerHost>,
        volume: fn(&str) -> Option<(i64, i64)>,
    ) -> Result<Core, ServeError> {
        let id = world.shard();
        if let Some(host) = host {
            shard.host_controller(host);
            shard.start_controller(world, files).map_err(ServeError::Environment)?;
        }
        let sessions = self.config.network.max_incremental_fetch_session_cache_slots.max(0) as usize;
        let mut core = Core::new(CoreParts {
            shard,
            net: Net::new(self.net_config(id)),
            id,
            shards: self.shards,
            node: Node { log_dirs: absolute(&self.dirs.paths) },
            session_slots: sessions.div_ceil(self.shards),
            seed: !self.core_seed(id),
            volume,
        });
        core.begin(world);
        Ok(core)
    }

    /// Listens, on core 0 when it is ready; gives the address of each listener.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub fn listen(&self, core: &mut Core, world: &mut dyn World<Mail>) -> Result<Vec<String>, ServeError> {
        let mut addresses = Vec::new();
        for (index, listener) in self.config.listeners.iter().enumerate() {
            let host = listener.host.as_deref().unwrap_or("0.0.0.0");
            let mut bound = false;
            for address in resolve(host, listener.port)? {
                match core.net().listen(index as u32, address, world) {
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
        for listener in &self.config.advertised_listeners {
            addresses.push(format!("{}:{}", advertised_host(listener), listener.port));
        }
        Ok(addresses)
    }

    /// Replies of at least so many bytes are sent without a copy; 0 for none.
    pub fn zero_copy_bytes(&self) -> usize {
        self.config.network.connection_zero_copy_bytes.max(0) as usize
    }

    fn net_config(&self, id: ShardId) -> NetConfig {
        let network = &self.config.network;
        NetConfig {
            shard: id,
            shards: self.shards,
            frame_bytes_max: network.socket_request_max_bytes.max(0) as usize,
            connection_bytes_max: network.connection_buffer_bytes.max(0) as usize,
            core_bytes_max: network.core_buffer_bytes.max(0) as usize,
            idle_ms: network.connections_max_idle_ms,
            connections_max: network.max_connections.max(0) as usize,
            connections_per_ip_max: network.max_connections_per_ip.max(0) as usize,
            connections_per_ip_overrides: network
                .max_connections_per_ip_overrides
                .iter()
                .filter_map(|(address, max)| Some((address.parse().ok()?, (*max).max(0) as usize)))
                .collect(),
            ..NetConfig::default()
        }
    }

    /// Whether a core wants the checkpoints written soon, once.
    pub fn take_wanted(&self) -> bool {
        self.book.take_wanted()
    }

    /// Writes the checkpoints; a failure is only logged. Blocks.
    pub fn write_checkpoints(&self, files: &dyn Files) {
        if let Err(error) = self.book.write(files, &self.dirs.paths) {
            tracing::error!(%error, "the checkpoints could not be written; the next start may have to check more");
        }
    }

    /// After the last core has ended: the last checkpoints, and the marks of a clean stop if it was one. Blocks.
    ///
    /// # Errors
    /// If it was not clean, or the files cannot be written.
    pub fn stopped(&self, files: &dyn Files, clean: bool) -> Result<(), ServeError> {
        self.book
            .write(files, &self.dirs.paths)
            .map_err(|e| ServeError::environment("the checkpoints could not be written", &e))?;
        if !clean {
            return Err(ServeError::Bug(
                "some partitions were not closed cleanly; the next start will check them".to_owned(),
            ));
        }
        journal::replay::remove(files, metadata_home(&self.dirs.paths))
            .map_err(|e| ServeError::environment("the journals could not be removed", &e))?;
        let mark = checkpoint::format_clean_shutdown(self.book.broker_epoch());
        for dir in self.dirs.paths.iter() {
            let path = dir.join(names::CLEAN_SHUTDOWN);
            files
                .write_atomic(&path, &mark)
                .map_err(|e| ServeError::environment(&path.display().to_string(), &e))?;
        }
        Ok(())
    }
}

const EADDRNOTAVAIL: i32 = 99;

/// The log directory with the metadata and the journals.
fn metadata_home(paths: &[PathBuf]) -> &Path {
    paths.first().map_or(Path::new("."), PathBuf::as_path)
}

/// What a killed process had acknowledged and not yet written to segments is written there.
fn redo_journals(
    files: &dyn Files,
    paths: &[PathBuf],
    image: &Image,
    book: &CheckpointBook,
) -> std::io::Result<()> {
    let home = metadata_home(paths);
    if book.clean_shutdown() {
        return journal::replay::remove(files, home);
    }
    let target = |topic_id: TopicId, partition: i32| {
        let topic = image.topics().get_by_id(topic_id)?;
        topic.partitions.get(&partition)?;
        let name = TopicPartition::new(&*topic.name, partition);
        let key = PartitionKey { topic_id, partition };
        let dir_name = name.to_string();
        let found = paths.iter().map(|path| path.join(&dir_name)).find(|dir| files.exists(dir));
        let dir = found.unwrap_or_else(|| paths[key.owner(paths.len()).0 as usize].join(&dir_name));
        let of = retire::topic_id_of(files, &dir);
        if of.is_some_and(|of| of != topic_id) {
            return None; // of an earlier topic of this name, which is still to be removed
        }
        let recovery_point = book.initial(&name).recovery_point.unwrap_or(0);
        Some(journal::replay::Target { dir, recovery_point })
    };
    let done = journal::replay::replay(files, home, paths, target)?;
    if done.entries > 0 {
        tracing::info!(
            entries = done.entries,
            bytes = done.bytes,
            "the journals of the last run were redone"
        );
    }
    Ok(())
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ServeError> {
    use std::net::ToSocketAddrs;
    let found = (host, port).to_socket_addrs();
    let mut all: Vec<_> =
        found.map_err(|e| ServeError::environment(&format!("listener host {host}"), &e))?.collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
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
