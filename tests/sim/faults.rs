//! What happens to the machine of a run, chosen by its seed.

use ottla::io::sim::{DiskFault, DiskOp};

use super::damage::{self, Flip};
use super::run::{OFFSETS_PARTITIONS, Run};

impl Run {
    pub(super) fn restart(&mut self) {
        if self.prng.one_in(4) {
            self.start_that_dies();
        }
        let shards = 1 + self.prng.below(3) as usize;
        match self.machine.start(shards) {
            Ok(()) => {
                self.restart_at = None;
                self.model.count("restarts");
            }
            Err(error) => {
                assert!(self.faulty, "the broker does not start on a healthy disk: {error}");
                self.model.count("starts that failed");
                self.machine.sim.disk().heal();
                self.restart_at = Some(self.machine.sim.now().plus_ms(500));
            }
        }
    }

    /// The process, or the machine, ends in the middle of a start.
    fn start_that_dies(&mut self) {
        let (shards, calls) = (1 + self.prng.below(3) as usize, 1 << self.prng.below(11));
        let calls = self.prng.below(calls);
        self.machine.start_and_kill(shards, calls);
        self.model.count("starts that died");
        if self.prng.one_in(3) {
            self.power_cut();
        }
    }

    pub(super) fn disturb(&mut self) {
        tracing::info!(now = self.machine.sim.now().0 / 1_000_000, counts = ?self.model.counts, "next");
        match self.prng.below(20) {
            10 | 11 if self.flips => self.damage(),
            0..=2 | 10 | 11 => self.kill(),
            3 | 4 => {
                self.until_a_file_is_made();
                self.kill();
            }
            5 | 6 => self.power_cut(),
            7 => {
                self.until_a_file_is_made();
                self.power_cut();
            }
            8 | 9 => self.stop_cleanly(),
            12 => self.rest(),
            13 | 14 => self.break_connections(),
            15..=17 => self.disk_fault(),
            18 => self.jump(),
            _ => self.change_speed(),
        }
    }

    /// Lets time pass until a file is made, as when a segment rolls, a checkpoint is written or a partition made: what
    /// follows comes between that and the rest.
    fn until_a_file_is_made(&mut self) {
        let goal = self.machine.sim.disk().files_made() + 1 + self.prng.below(3);
        let until = self.machine.sim.now().plus_ms(3_000);
        self.pass(until, |run| run.machine.sim.disk().files_made() >= goal);
    }

    /// Clients leave the broker alone for a while: it writes down what waits for a minute.
    fn rest(&mut self) {
        let until = self.machine.sim.now().plus_ms(5_000 + self.prng.below(60_000) as i64);
        let (mut cx, clients) = self.cx();
        for client in clients.iter_mut() {
            client.disturb(&mut cx, false);
        }
        let clients = std::mem::take(&mut self.clients);
        self.pass(until, |_| false);
        self.clients = clients;
        self.model.count("rests");
    }

    fn break_connections(&mut self) {
        let reset = self.prng.one_in(2);
        let (odd, which) = (self.prng.below(2), self.prng.next_u64());
        let (mut cx, clients) = self.cx();
        for (i, client) in clients.iter_mut().enumerate() {
            if odd == 0 || which >> i & 1 == 1 {
                client.disturb(&mut cx, reset);
            }
        }
        self.model.count("connections broken");
    }

    fn jump(&mut self) {
        let by = self.prng.below(40 * 3_600_000) as i64 - 20 * 3_600_000;
        let by = by.clamp(-86_400_000 - self.wall_shift_ms, 86_400_000 - self.wall_shift_ms);
        self.wall_shift_ms += by;
        self.machine.sim.shift_wall_ms(by);
        self.model.count("clock jumps");
    }

    fn change_speed(&mut self) {
        let slow = self.prng.one_in(2);
        self.machine.sim.disk().configure(|c| {
            (c.slow_one_in, c.slow_ns) = if slow { (3, 200_000_000) } else { (0, 0) };
        });
        self.model.count("disk speed changes");
    }

    /// A bit flips in what the broker lives by, while none runs. In the metadata, starts refuse as often as they are tried
    /// and change nothing, or the bit does no harm; in the groups' offsets, nothing is missed that has newer values.
    fn damage(&mut self) {
        self.machine.sim.disk().heal();
        let clean = self.prng.one_in(2) && !self.faulty;
        if clean {
            self.stop_cleanly();
        }
        let clean = clean && !self.machine.is_up();
        if self.machine.is_up() {
            self.kill();
        }
        self.machine.sim.disk().heal();
        self.faulty = false;
        let (disk, dirs) = (self.machine.sim.disk().clone(), self.machine.dirs());
        if self.prng.one_in(2) {
            let flip = damage::metadata(&disk, &mut self.prng, &dirs, clean);
            if let Some(flip) = flip {
                self.damaged_metadata(&flip);
            }
        } else if let Some(flip) = damage::offsets(&disk, &mut self.prng, &dirs, OFFSETS_PARTITIONS) {
            flip.apply(&disk);
            self.model.count("bits flipped in offsets");
        }
    }

    fn damaged_metadata(&mut self, flip: &Flip) {
        let (disk, dirs) = (self.machine.sim.disk().clone(), self.machine.dirs());
        flip.apply(&disk);
        self.model.count("bits flipped in metadata");
        let before = damage::picture(&disk, &dirs);
        for start in 1..=3 {
            let shards = 1 + self.prng.below(3) as usize;
            match self.machine.start(shards) {
                Ok(()) => {
                    assert!(start == 1, "a start refused damaged metadata, and start {start} serves");
                    return;
                }
                Err(error) => {
                    let same = damage::picture(&disk, &dirs) == before;
                    assert!(same, "a start refused, but has changed files ({error})");
                }
            }
        }
        self.model.count("starts that refused damaged metadata");
        flip.apply(&disk);
        self.restart();
    }

    fn kill(&mut self) {
        self.model.count("kills");
        self.machine.kill();
        self.healed();
    }

    fn power_cut(&mut self) {
        self.model.count("power cuts");
        self.machine.power_cut();
        self.model.power_cut();
        let durable = self.all_durable;
        let (mut cx, clients) = self.cx();
        for client in clients {
            // What had arrived and was not read is from before.
            client.disturb(&mut cx, true);
            client.power_cut(durable);
        }
        self.healed();
    }

    fn healed(&mut self) {
        if self.prng.one_in(2) {
            self.machine.sim.disk().heal();
            self.faulty = false;
        }
    }

    /// SIGTERM under load. It must end, and be clean if the disk is well.
    pub(super) fn stop_cleanly(&mut self) {
        if !self.machine.is_ready() {
            return;
        }
        self.model.count("clean stops");
        let before = self.machine.stops.len();
        self.machine.sim.stop();
        let until = self.machine.sim.now().plus_ms(30_000);
        let ended = self.pass(until, |run| run.machine.stops.len() > before);
        assert!(ended, "the broker did not stop: {:?}", self.machine.load());
        let last = self.machine.stops.last().expect("a stop");
        assert!(last.is_ok() || self.faulty, "the stop was not clean on a healthy disk: {last:?}");
    }

    fn disk_fault(&mut self) {
        let parts = self.model.parts();
        let part = &parts[self.prng.below(parts.len() as u64) as usize];
        let durable = self.model.topic(&part.topic).durable;
        let mut path = format!("/{}-{}/", part.topic, part.partition);
        // A failed flush forgets what was written: only those who flush before they acknowledge may see it.
        let ops = [DiskOp::Write, DiskOp::Allocate, DiskOp::Read, DiskOp::Open, DiskOp::Rename, DiskOp::Sync];
        let op = ops[self.prng.below(if durable { 6 } else { 5 }) as usize];
        if self.prng.one_in(5) && (op != DiskOp::Sync || self.all_durable) {
            let paths = ["/__consumer_offsets-1/", "/__cluster_metadata-0/", "checkpoint"];
            path = String::from(paths[self.prng.below(3) as usize]);
        }
        let errno = if op == DiskOp::Write && self.prng.one_in(2) { 28 } else { 5 };
        let fault = DiskFault {
            path_contains: path,
            op,
            errno,
            skip: self.prng.below(20) as u32,
            times: 1 + self.prng.below(3) as u32,
        };
        self.machine.sim.disk().fail(fault);
        self.faulty = true;
        self.model.count("disk faults");
    }
}
