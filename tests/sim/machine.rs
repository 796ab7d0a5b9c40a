//! The simulated machine with a broker on it: starts, steps, kills, stops.

use std::net::SocketAddr;
use std::path::PathBuf;

use ottla::base::{ShardId, Ticks, Uuid};
use ottla::config::BrokerConfig;
use ottla::io::Files;
use ottla::io::sim::{Sim, SimConfig, SimWorld};
use ottla::server::boot::{Boot, Given};
use ottla::server::core::{Core, Turned};
use ottla::server::report::Counts;
use ottla::shard::Mail;

/// Where the broker listens.
pub const ADDRESS: &str = "10.0.0.1:9092";
/// How often the main thread looks after the checkpoints, and every how many looks it writes them anyway.
const LOOK_MS: i64 = 1000;
const LOOKS: u32 = 60;

/// A machine, on which a broker runs or not.
pub struct Machine {
    pub sim: Sim<Mail>,
    process: Option<Process>,
    pairs: Vec<(String, String)>,
    seed: u64,
    starts: u64,
    /// How each clean stop ended, in order.
    pub stops: Vec<Result<(), String>>,
}

struct Process {
    boot: Boot,
    cores: Vec<(Core, SimWorld<Mail>, Option<bool>)>,
    look_at: Ticks,
    looks: u32,
    ready: bool,
    /// The broker's epoch when the process began.
    old_epoch: Option<i64>,
}

impl Machine {
    /// A machine that is switched on, without a broker.
    pub fn new(config: SimConfig, settings: &[(&str, &str)]) -> Machine {
        let mut pairs = vec![
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://10.0.0.1:9092,CONTROLLER://10.0.0.1:9093"),
            ("advertised.listeners", "PLAINTEXT://10.0.0.1:9092"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", "1@10.0.0.1:9093"),
            ("log.dirs", "/data"),
            ("offsets.topic.num.partitions", "3"),
            ("offsets.topic.replication.factor", "1"),
            ("group.initial.rebalance.delay.ms", "100"),
            ("group.min.session.timeout.ms", "1000"),
            // Snapshots, and a metadata log that is cut, in every run.
            ("metadata.log.max.record.bytes.between.snapshots", "3000"),
            ("metadata.max.retention.bytes", "9000"),
        ];
        pairs.retain(|(key, _)| !settings.iter().any(|(other, _)| other == key));
        pairs.extend(settings);
        let seed = config.seed;
        Machine {
            sim: Sim::new(SimConfig { stepped: true, ..config }),
            process: None,
            pairs: pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            seed,
            starts: 0,
            stops: Vec::new(),
        }
    }

    /// The log directories.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let dirs = self.pairs.iter().find(|(key, _)| key == "log.dirs").map_or("", |(_, dirs)| dirs);
        dirs.split(',').map(PathBuf::from).collect()
    }

    /// A start whose process is killed after so many operations of the disk.
    pub fn start_and_kill(&mut self, shards: usize, calls: u64) {
        self.sim.disk().end_after(calls);
        // Whether it gives up or goes on without what fails, nothing of it reaches the disk.
        let _ = self.start(shards);
        self.kill();
    }

    /// Starts a broker with so many cores.
    ///
    /// # Errors
    /// In words; the process has ended then.
    pub fn start(&mut self, shards: usize) -> Result<(), String> {
        assert!(self.process.is_none(), "one broker at a time");
        self.sim.set_shards(shards);
        self.starts += 1;
        let started = self.try_start(shards);
        match started {
            Ok(process) => {
                self.process = Some(process);
                Ok(())
            }
            Err(error) => {
                self.sim.kill();
                Err(error)
            }
        }
    }

    fn try_start(&mut self, shards: usize) -> Result<Process, String> {
        let disk = self.sim.disk().clone();
        let worlds: Vec<SimWorld<Mail>> = (0..shards).map(|i| self.sim.world(ShardId(i as u16))).collect();
        let now_ms = ottla::io::Clock::wall_ms(&worlds[0]);
        let dirs = self.dirs();
        for dir in &dirs {
            disk.create_dir_all(dir).map_err(|e| e.to_string())?;
        }
        disk.sync_dir(&PathBuf::from("/")).map_err(|e| e.to_string())?;
        let directory_id = |n: usize| Uuid::from_u128(0x7777_0000_0000_4000_8000_0000_0000_0077 + n as u128);
        let (config, _) = BrokerConfig::from_pairs(self.pairs.clone()).map_err(|e| e.to_string())?;
        let given = Given {
            config,
            cluster_id: "simulated-cluster-0001".to_owned(),
            directory_ids: (0..dirs.len()).map(directory_id).collect(),
            metadata_directory_id: directory_id(0),
            incarnation_id: Uuid::from_u128(1000 + u128::from(self.starts)),
            shards,
            now_ms,
            seed: self.seed ^ self.starts,
            counts: Counts::default(),
        };
        let (boot, host) = Boot::prepare(&disk, given).map_err(|e| e.to_string())?;
        let shards: Vec<_> = (0..shards).map(|i| boot.open_shard(&disk, ShardId(i as u16))).collect();
        let mut host = Some(host);
        let mut cores = Vec::new();
        for (shard, mut world) in shards.into_iter().zip(worlds) {
            let core =
                boot.begin(&disk, &mut world, shard, host.take(), |_| None).map_err(|e| e.to_string())?;
            cores.push((core, world, None));
        }
        let look_at = self.sim.now().plus_ms(LOOK_MS);
        let old_epoch = cores.iter_mut().find_map(|(core, _, _)| active_epoch(core));
        Ok(Process { boot, cores, look_at, looks: 0, ready: false, old_epoch })
    }

    /// A start, until the broker is ready.
    pub fn start_ready(&mut self, shards: usize) {
        self.start(shards).expect("a start");
        while !self.is_ready() {
            self.step(self.sim.now().plus_ms(1000));
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: i64) {
        let until = self.sim.now().plus_ms(ms);
        while self.sim.now() < until {
            self.step(until);
        }
    }

    /// Whether a broker runs.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether a broker runs and listens.
    pub fn is_ready(&self) -> bool {
        self.process.as_ref().is_some_and(|p| p.ready)
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.process = None;
        self.sim.kill();
    }

    /// The power fails.
    pub fn power_cut(&mut self) {
        self.process = None;
        self.sim.power_cut();
    }

    /// What is in flight in all cores, by name.
    pub fn load(&self) -> Vec<String> {
        let cores = self.process.iter().flat_map(|p| &p.cores).enumerate();
        let all =
            cores.flat_map(|(i, (core, _, _))| core.load().into_iter().map(move |(what, n)| (i, what, n)));
        all.filter(|(_, _, n)| *n > 0).map(|(core, what, n)| format!("core {core}: {n} {what}")).collect()
    }

    /// Lets every core that has something to do turn, then moves the clock to what happens next, not beyond `limit`.
    pub fn step(&mut self, limit: Ticks) {
        let mut limit = limit;
        if let Some(process) = &mut self.process {
            process.look(&self.sim);
            limit = limit.min(process.look_at);
            if process.turn(&self.sim) {
                return;
            }
            if let Some(clean) = process.ended() {
                let disk = self.sim.disk().clone();
                let stopped = process.boot.stopped(&disk, clean).map_err(|e| e.to_string());
                self.stops.push(stopped);
                self.process = None;
                self.sim.exit();
                return;
            }
        }
        self.sim.step(limit);
    }
}

/// The broker's epoch as a core knows it, if the broker is not fenced.
fn active_epoch(core: &mut Core) -> Option<i64> {
    let cluster = core.shard().metadata().0.cluster();
    cluster.broker(1).filter(|_| cluster.is_active(1)).map(|broker| broker.broker_epoch)
}

impl Process {
    /// One turn of each core that is due. False if none was.
    fn turn(&mut self, sim: &Sim<Mail>) -> bool {
        let mut some = false;
        for index in 0..self.cores.len() {
            let (core, world, ended) = &mut self.cores[index];
            if ended.is_some() || !sim.is_due(ShardId(index as u16)) {
                continue;
            }
            some = true;
            match core.turn(world) {
                Turned::More => {}
                Turned::Ready => {
                    self.boot.listen(core, world).expect("an address to listen on");
                    self.ready = true;
                    self.check_ready();
                }
                Turned::Failed(why) => panic!("the broker cannot serve: {why}"),
                Turned::Ended(clean) => {
                    *ended = Some(clean);
                    sim.core_ended(ShardId(index as u16));
                }
            }
        }
        some
    }

    /// A broker that had been killed once said that it was ready when it read the metadata of its earlier life, and
    /// before its other cores had the new one: clients got NOT_ENOUGH_REPLICAS from those.
    fn check_ready(&mut self) {
        for (index, (core, _, _)) in self.cores.iter_mut().enumerate() {
            let epoch = active_epoch(core);
            assert!(
                epoch > self.old_epoch,
                "core {index} serves in epoch {epoch:?}, after {:?}",
                self.old_epoch
            );
        }
    }

    fn ended(&self) -> Option<bool> {
        let all: Option<Vec<bool>> = self.cores.iter().map(|c| c.2).collect();
        all.map(|all| all.into_iter().all(|clean| clean))
    }

    /// What the main thread does now and then.
    fn look(&mut self, sim: &Sim<Mail>) {
        if sim.now() < self.look_at {
            return;
        }
        self.look_at = sim.now().plus_ms(LOOK_MS);
        self.looks += 1;
        if self.boot.take_wanted() || self.looks >= LOOKS {
            self.looks = 0;
            self.boot.write_checkpoints(sim.disk());
        }
    }
}

/// Where clients connect to.
pub fn address() -> SocketAddr {
    ADDRESS.parse().expect("an address")
}
