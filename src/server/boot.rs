//! What a broker is made of at start: the same for the real machine and the simulated one.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::api::cx::Node;
use crate::base::limits::LINE_NAMES_MAX;
use crate::base::progress::Progress;
use crate::base::{DirectoryId, ShardId, TopicPartition, Uuid, WallMs};
use crate::config::{BrokerConfig, Listener, host_port};
use crate::io::repeats::limited;
use crate::io::{Files, World, canonical_host_name};
use crate::log::checkpoint::Content;
use crate::log::journal::replay::{self, Found, JournalError, Journals, Redone, Since, Target};
use crate::log::journal::{Journal, JournalDir, Run};
use crate::log::retire::Whose;
use crate::log::{checkpoint, names, retire};
use crate::meta::controller::{BrokerRegistration, supported_features};
use crate::meta::image::Image;
use crate::meta::record::Endpoint;
use crate::net::{Net, NetConfig};
use crate::raft::{Identity, SnapshotPolicy, VoterEndpoint};
use crate::shard::checkpoints::{CheckpointBook, CheckpointError, Checkpoints, Unclean};
use crate::shard::controller::{ControllerHost, metadata_dir};
use crate::shard::shortages::Shortages;
use crate::shard::strays;
use crate::shard::{LogDirs, Mail, PartitionKey, Shard, ShardParts};

use super::core::{Core, CoreParts, limit_connections};
use super::metadata::Known;
use super::report::Counts;
use super::{ServeError, metadata};

/// What a start is given: the directories are formatted and nobody else uses them.
pub struct Given {
    /// The configuration, with every port chosen.
    pub config: BrokerConfig,
    /// The cluster's id.
    pub cluster_id: String,
    /// The ids of the log directories, in the order of the configuration.
    pub directory_ids: Vec<DirectoryId>,
    /// The id of the directory with the metadata log.
    pub metadata_directory_id: DirectoryId,
    /// Of this start.
    pub incarnation_id: Uuid,
    /// The number of cores.
    pub shards: usize,
    /// Wall-clock time.
    pub now_ms: WallMs,
    /// Of everything random.
    pub seed: u64,
    /// How far the start is.
    pub counts: Counts,
}

/// Everything that the cores start from and share.
pub struct Boot {
    config: Arc<BrokerConfig>,
    dirs: LogDirs,
    journal_dirs: Vec<JournalDir>,
    incarnation_id: Uuid,
    book: Arc<CheckpointBook>,
    shortages: Arc<Shortages>,
    image: Arc<Image>,
    shards: usize,
    now_ms: WallMs,
    seed: u64,
    unfinished: Vec<PathBuf>,
    partitions: Arc<Progress>,
}

impl Boot {
    /// Reads checkpoints and metadata. The host is for core 0. Blocks.
    ///
    /// # Errors
    /// Metadata that cannot be used, or files that cannot be read.
    pub fn prepare(files: &dyn Files, given: Given) -> Result<(Boot, ControllerHost), ServeError> {
        let Given { config, cluster_id, directory_ids, incarnation_id, shards, now_ms, seed, counts, .. } =
            given;
        let paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
        let home = PathBuf::from(config.metadata_log_dir());
        let checkpoints = Checkpoints::read(files, &paths)?;
        let journal_dirs = journal_dirs(&paths, &directory_ids);
        // Before anything is changed: what a later version has written is left as it is.
        let mut journals = replay::find(files, &journal_dirs)?;
        journals.count_in(counts.journals);
        let identity = Identity {
            node_id: config.node_id,
            directory_id: given.metadata_directory_id,
            endpoints: controller_endpoints(&config),
        };
        let meta_dir = metadata_dir(&home);
        let clean = checkpoints.clean_shutdown();
        let loaded = metadata::load(files, &meta_dir, &cluster_id, identity, clean, now_ms)?;
        let mut policy = SnapshotPolicy::new(
            config.number("metadata.log.max.record.bytes.between.snapshots").max(1) as u64,
            config.number("metadata.log.max.snapshot.interval.ms"),
            now_ms,
        );
        policy.committed(loaded.replayed_bytes);
        let image = Arc::new(loaded.controller.image().clone());
        let found = strays::survey(files, &paths, &image, config.node_id)
            .map_err(|e| ServeError::environment("the log directories", &e))?;
        found.check_complete(&image, config.node_id, &directory_ids).map_err(ServeError::Data)?;
        // Up to here nothing was changed but the end of a torn metadata log, so a start that is refused can be repeated.
        let previous_epoch = clean_shutdown_epoch(files, &paths)?;
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
        let of = (config.node_id, incarnation_id);
        let book = Arc::new(CheckpointBook::new(files, &paths, &checkpoints, &image, of));
        let unfinished = found.set_strays_aside(files, &image, config.node_id, &book);
        end_last_run(files, &paths, journals, (&image, &loaded.known), &book)
            .map_err(|e| ServeError::environment("the journals of the last run (nothing is lost: make the disk readable and writable, and start again)", &e))?;
        let host =
            ControllerHost::new(loaded.controller, loaded.raft, policy, registration, loaded.log, seed);
        let dirs = LogDirs { paths: Arc::new(paths), metadata: Arc::new(home) };
        let config = Arc::new(config);
        let boot = Boot {
            config,
            dirs,
            journal_dirs,
            incarnation_id,
            book,
            shortages: Arc::default(),
            image,
            shards,
            now_ms,
            seed,
            unfinished,
            partitions: counts.partitions,
        };
        Ok((boot, host))
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
            shortages: self.shortages.clone(),
            progress: self.partitions.clone(),
            seed: self.core_seed(id),
            unfinished: if id.0 == 0 { self.unfinished.clone() } else { Vec::new() },
        });
        shard.open_all(files, self.now_ms);
        shard
    }

    fn journal(&self, files: &dyn Files, id: ShardId) -> Journal {
        let bytes = self.config.core_journal_bytes.max(0) as u64;
        let salt = self.core_seed(id) as u32;
        let run = Run { boot_id: files.boot_id(), incarnation_id: self.incarnation_id, salt };
        let mut journal = Journal::new(&self.journal_dirs, id, bytes, run);
        if let Err(error) = journal.open(files) {
            tracing::warn!(%error, "there is no journal; until it can be made, which is tried again, small appends go straight to their segments, which is slower");
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
            node: Node {
                log_dirs: absolute(&self.dirs.paths),
                controller_listeners: controller_endpoints(&self.config)
                    .into_iter()
                    .map(|endpoint| (endpoint.name, endpoint.host, endpoint.port))
                    .collect(),
            },
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
        each_address(&self.config, |listener, address| {
            core.net().listen(listener, address, world).map(drop)
        })?;
        for listener in &self.config.controller_listeners {
            tracing::info!("listener {} of the controller is open: {listener}", listener.name);
        }
        for listener in &self.config.advertised_listeners {
            addresses.push(host_port(&advertised_host(listener), listener.port));
        }
        Ok(addresses)
    }

    /// Replies of at least so many bytes are sent without a copy; 0 for none.
    pub fn zero_copy_bytes(&self) -> usize {
        self.config.network.connection_zero_copy_bytes.max(0) as usize
    }

    fn net_config(&self, id: ShardId) -> NetConfig {
        let network = &self.config.network;
        let mut config = NetConfig {
            shard: id,
            shards: self.shards,
            frame_bytes_max: network.socket_request_max_bytes.max(0) as usize,
            connection_bytes_max: network.connection_buffer_bytes.max(0) as usize,
            core_bytes_max: network.core_buffer_bytes.max(0) as usize,
            idle_ms: network.connections_max_idle_ms,
            ..NetConfig::default()
        };
        limit_connections(&mut config, network);
        config
    }

    /// Whether a core wants the checkpoints written soon, once.
    pub fn take_wanted(&self) -> bool {
        self.book.take_wanted()
    }

    /// Writes the checkpoints; a failure is only logged. Blocks.
    pub fn write_checkpoints(&self, files: &dyn Files) {
        if let Err(error) = self.book.write(files, &self.dirs.paths) {
            limited!(error, "the checkpoints could not be written", %error, "the checkpoints could not be written; the next start may have to check more");
        }
    }

    /// After the last core has ended: the last checkpoints, and the marks of a clean stop if it was one. Blocks.
    ///
    /// # Errors
    /// If it was not clean, a partition was offline, or the files cannot be written.
    pub fn stopped(&self, files: &dyn Files, clean: bool) -> Result<(), ServeError> {
        self.book
            .write(files, &self.dirs.paths)
            .map_err(|e| ServeError::environment("the checkpoints could not be written", &e))?;
        if !clean {
            return Err(ServeError::Unclean(
                "some partitions were not closed cleanly (they are named above), so the journals stay: start Ottla again, which checks them, and stop it again before Apache Kafka is given the directories".to_owned(),
            ));
        }
        // Every partition that took anything has written it out.
        replay::remove(files, &self.dirs.paths)
            .map_err(|e| ServeError::environment("the journals could not be removed", &e))?;
        let Unclean { offline, unopened } = self.book.unclean();
        if let Some(names) = some_of(&offline) {
            return Err(ServeError::Unclean(format!(
                "stopped, with {} partitions offline ({names}): records of theirs may be in no log, so repair them (a start says what each needs) before Apache Kafka is given the directories. The next start checks all partitions",
                offline.len()
            )));
        }
        if unopened > 0 {
            tracing::info!(
                unopened,
                "stopped before all partitions were opened: the next start checks all partitions"
            );
            return Ok(());
        }
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

fn journal_dirs(paths: &[PathBuf], ids: &[DirectoryId]) -> Vec<JournalDir> {
    let id = |index: usize| ids.get(index).copied().unwrap_or_default();
    (0..).zip(paths).map(|(index, path)| JournalDir { path: path.clone(), directory_id: id(index) }).collect()
}

/// Writes back what a killed process had acknowledged, and does away with what only its end said: each thing goes when
/// what follows from it is durable, so that a start that ends anywhere here is repeated by the next one.
fn end_last_run(
    files: &dyn Files,
    paths: &[PathBuf],
    journals: Journals,
    (image, known): (&Image, &Known),
    book: &CheckpointBook,
) -> std::io::Result<()> {
    let redone = redo_journals(files, paths, journals, (image, known), book)?;
    // What keeps partitions offline, before the journals that prove it have other names.
    if let Err(error) = book.write(files, paths) {
        if !redone.done.refused.is_empty() {
            return Err(error);
        }
        // Without them the next start believes less and reads more.
        tracing::error!(%error, "the checkpoints could not be written; the next start may have to check more");
    }
    // Journals of before a clean stop are told by its marks, and what was redone is only part of a log that is recovered.
    redone.set_aside(files)?;
    remove_clean_shutdown(files, paths)?;
    replay::remove(files, paths)
}

/// What a killed process had acknowledged and not yet written to segments is written there, and what could not be is noted.
fn redo_journals(
    files: &dyn Files,
    paths: &[PathBuf],
    journals: Journals,
    (image, known): (&Image, &Known),
    book: &CheckpointBook,
) -> std::io::Result<Redone> {
    let since = Since { registered: book.previous_id(), clean: book.clean_shutdown() };
    let redone = journals.redo(files, paths, since, |topic_id, partition| {
        let key = PartitionKey { topic_id, partition };
        find_partition(files, paths, (image, known), book, key)
    })?;
    let done = &redone.done;
    if done.entries > 0 {
        tracing::info!(
            entries = done.entries,
            bytes = done.bytes,
            "the journals of the last run were redone"
        );
    }
    if done.gone + done.unacknowledged > 0 {
        let (gone, unacknowledged) = (done.gone, done.unacknowledged);
        tracing::info!(
            gone,
            unacknowledged,
            "entries of the journals were of deleted topics, or never acknowledged"
        );
    }
    done.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    done.errors.iter().for_each(|error| tracing::error!("{error}"));
    for (topic_id, partition) in &done.changed {
        book.note_changed(PartitionKey { topic_id: *topic_id, partition: *partition });
    }
    for ((topic_id, partition), upto) in &done.acknowledged {
        book.note_acknowledged(PartitionKey { topic_id: *topic_id, partition: *partition }, *upto);
    }
    for refused in &done.refused {
        let key = PartitionKey { topic_id: refused.topic_id, partition: refused.partition };
        let journal = &refused.journal;
        tracing::error!(topic_id = %key.topic_id, partition = key.partition, journal = %journal.display(), "{}", refused.why);
        if image.topics().get_by_id(key.topic_id).is_none() {
            continue; // there is nothing to keep offline
        }
        let dir = paths.iter().position(|path| journal.starts_with(path)).unwrap_or(0);
        let name = journal.file_name().map(|name| name.to_string_lossy().into_owned());
        book.keep_offline(key, dir, name.unwrap_or_default());
    }
    Ok(redone)
}

/// The names of some partitions; None if there are none.
fn some_of(names: &BTreeSet<TopicPartition>) -> Option<String> {
    let some: Vec<String> = names.iter().take(LINE_NAMES_MAX).map(ToString::to_string).collect();
    let more = if names.len() > LINE_NAMES_MAX { ", ..." } else { "" };
    (!some.is_empty()).then(|| format!("{}{more}", some.join(", ")))
}

/// Where a partition of the journals is.
fn find_partition(
    files: &dyn Files,
    paths: &[PathBuf],
    (image, known): (&Image, &Known),
    book: &CheckpointBook,
    key: PartitionKey,
) -> std::io::Result<Found> {
    let topic = image.topics().get_by_id(key.topic_id).filter(|t| t.partitions.contains_key(&key.partition));
    let Some(topic) = topic else {
        if known.was_deleted(key.topic_id) {
            return Ok(Found::Gone);
        }
        let why = "the metadata do not know the partition, and do not say that it was deleted";
        return Ok(Found::Missing(why.to_owned()));
    };
    let name = TopicPartition::new(&*topic.name, key.partition).to_string();
    let noted = book.initial(key);
    Ok(match retire::find(files, paths, &name, (key.topic_id, noted.certain))? {
        (Some(index), _) => Found::Here(Target {
            dir: paths[index].join(&name),
            recovery_point: noted.recovery_point.unwrap_or(0),
            log_start: noted.log_start_offset.filter(|_| noted.certain).unwrap_or(0),
        }),
        (None, None) => {
            Found::Missing(format!("the directory {name} of the partition is in no log directory"))
        }
        (None, Some(Whose::Unclear)) => Found::Missing(format!(
            "the directory {name} does not say whose it is, as its partition.metadata is damaged"
        )),
        (None, Some(_)) => {
            Found::Missing(format!("the directory {name} belongs to another topic of this name"))
        }
    })
}

impl From<CheckpointError> for ServeError {
    fn from(error: CheckpointError) -> ServeError {
        match &error {
            CheckpointError::Io(path, system) => ServeError::environment(&path.display().to_string(), system),
            _ => ServeError::Data(error.to_string()),
        }
    }
}

impl From<JournalError> for ServeError {
    fn from(error: JournalError) -> ServeError {
        match &error {
            JournalError::Newer { .. } => ServeError::Data(error.to_string()),
            JournalError::Io(path, system) => ServeError::environment(&path.display().to_string(), system),
        }
    }
}

/// Fails where a listener cannot listen, before a start that takes long.
///
/// # Errors
/// An address that cannot be listened on.
pub fn check_listeners(config: &BrokerConfig) -> Result<(), ServeError> {
    each_address(config, |_, address| crate::io::ring::bind(address).map(drop))
}

/// Listens on the addresses of each listener, by its number.
fn each_address(
    config: &BrokerConfig,
    mut listen: impl FnMut(u32, SocketAddr) -> io::Result<()>,
) -> Result<(), ServeError> {
    let all = config.listeners.iter().chain(&config.controller_listeners);
    for (index, listener) in all.enumerate() {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        let mut bound = false;
        for address in resolve(host, listener.port)? {
            match listen(index as u32, address) {
                Ok(()) => bound = true,
                // `localhost` may have an address of a family that this machine does not have.
                Err(e) if e.raw_os_error() == Some(EADDRNOTAVAIL) => {}
                Err(e) => return Err(ServeError::listen(&address.to_string(), &e)),
            }
        }
        if !bound {
            let name = host_port(host, listener.port);
            return Err(ServeError::Environment(format!(
                "no address of listener {name} is one of this machine's; listen on 0.0.0.0 or on an address of this \
                 machine, and name the one that clients use in advertised.listeners"
            )));
        }
    }
    Ok(())
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ServeError> {
    use std::net::ToSocketAddrs;
    let found = (host, port).to_socket_addrs();
    let mut all: Vec<_> = found
        .map_err(|e| {
            ServeError::Environment(format!(
                "listener host {host}: {e}; give an address of this machine, or a name that stands for one"
            ))
        })?
        .collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn advertised_host(listener: &Listener) -> String {
    match listener.host.as_deref() {
        Some(host) if !host.is_empty() && host != "0.0.0.0" && host != "::" => host.to_owned(),
        _ => canonical_host_name().to_owned(),
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

/// The broker's epoch at the last clean stop, as its marks say.
fn clean_shutdown_epoch(files: &dyn Files, dirs: &[PathBuf]) -> Result<i64, ServeError> {
    let mut epoch = -1;
    for dir in dirs {
        let path = dir.join(names::CLEAN_SHUTDOWN);
        let read = checkpoint::read(files, &path, checkpoint::parse_clean_shutdown);
        match read.map_err(|e| ServeError::environment(&path.display().to_string(), &e))? {
            Content::Whole(of_dir) => epoch = of_dir.max(epoch),
            // The file counts as present whatever is in it, as in Kafka.
            Content::Damaged(_) | Content::Absent => {}
        }
    }
    Ok(epoch)
}

/// Removes the marks of a clean stop: from now on a stop is unclean until it is clean again.
fn remove_clean_shutdown(files: &dyn Files, dirs: &[PathBuf]) -> std::io::Result<()> {
    for dir in dirs {
        let path = dir.join(names::CLEAN_SHUTDOWN);
        if files.exists(&path) {
            files.remove_file(&path)?;
            files.sync_dir(dir)?;
        }
    }
    Ok(())
}

fn absolute(paths: &[PathBuf]) -> Vec<String> {
    let absolute = |p: &PathBuf| std::path::absolute(p).unwrap_or_else(|_| p.clone()).display().to_string();
    paths.iter().map(absolute).collect()
}
