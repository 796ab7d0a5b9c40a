//! Many random histories: clients join, sync, commit, leave, die and come back; appends end in any order, some fail; the
//! coordinator restarts. What must hold whatever happens:
//! - every ticket is answered exactly once (the rig refuses a second answer; the end of a history looks for missing ones);
//! - all assignments of one generation come from one SyncGroup of its one leader;
//! - an offset that was shown or acknowledged is never followed by an older one, restarts included;
//! - the offsets shown are those that a restart reads from the log.

use super::*;
use crate::base::prng::Prng;

const CLIENTS: usize = 6;
const STEPS: usize = 600;

/// What a client believes, and what it waits for.
#[derive(Clone, Debug, Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    /// None when it has to join.
    generation: Option<i32>,
    /// The members to assign to, if it leads.
    leads: Option<Vec<String>>,
    waits: Option<(Ticket, Waits)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Waits {
    Join,
    Sync,
    Commit(i64),
    Heartbeat,
}

struct Model {
    rig: Rig,
    prng: Prng,
    clients: Vec<Client>,
    /// Tickets nobody waits for any more.
    orphans: Vec<Ticket>,
    /// The next offset to commit, always of the same partition; and what it was when the group was last deleted.
    next_offset: i64,
    deleted_at: i64,
    /// The newest offset that someone has seen.
    seen: i64,
    /// Generation → the stamp of its assignment.
    stamps: BTreeMap<i32, String>,
    syncs: u64,
    /// How often what the test is about has happened.
    assigned: u64,
    acknowledged: u64,
    restarts: u64,
}

fn config() -> GroupConfig {
    GroupConfig { initial_rebalance_delay_ms: 500, size_max: 5, ..GroupConfig::default() }
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut rig = Rig::with(config());
        rig.immediate = false;
        let instance_id = |i: usize| i.is_multiple_of(3).then(|| format!("i{i}"));
        Model {
            rig,
            prng: Prng::new(seed),
            clients: (0..CLIENTS)
                .map(|i| Client { instance_id: instance_id(i), ..Client::default() })
                .collect(),
            orphans: Vec::new(),
            next_offset: 1,
            deleted_at: 0,
            seen: -1,
            stamps: BTreeMap::new(),
            syncs: 0,
            assigned: 0,
            acknowledged: 0,
            restarts: 0,
        }
    }

    fn step(&mut self) {
        match self.prng.below(200) {
            0..110 => self.act(),
            110..150 => self.settle(),
            150..180 => {
                let ms = self.prng.below(1_500) as i64;
                self.rig.advance(ms);
            }
            180..190 => self.look(),
            190..196 => self.vanish(),
            196 => self.delete_group(),
            197 => self.restart(),
            _ => self.rig.advance(12_000),
        }
        self.collect();
    }

    /// One client that waits for nothing does what a client does next.
    fn act(&mut self) {
        let at = self.prng.below(CLIENTS as u64) as usize;
        let client = self.clients[at].clone();
        if client.waits.is_some() {
            return;
        }
        self.clients[at].waits = match client.generation {
            None => Some((self.send_join(&client), Waits::Join)),
            Some(generation) => self.act_in(at, &client, generation),
        };
    }

    fn send_join(&mut self, client: &Client) -> Ticket {
        let mut request = joining(&client.member_id);
        request.group_instance_id.clone_from(&client.instance_id);
        if self.prng.one_in(5) {
            request.protocols[0].1 = Arc::from([self.prng.next_u64() as u8]);
        }
        let version = if self.prng.one_in(4) { 3 } else { 9 };
        self.rig.send(version, GroupRequest::Join(request))
    }

    fn send_sync(&mut self, client: &Client, generation: i32, stamp: &str, members: &[String]) -> Ticket {
        let parts: Vec<(&str, &[u8])> = members.iter().map(|id| (id.as_str(), stamp.as_bytes())).collect();
        let mut request = syncing(&client.member_id, generation, &parts);
        request.group_instance_id.clone_from(&client.instance_id);
        self.rig.send(5, GroupRequest::Sync(request))
    }

    fn act_in(&mut self, at: usize, client: &Client, generation: i32) -> Option<(Ticket, Waits)> {
        if let Some(members) = &client.leads {
            self.syncs += 1;
            let stamp = format!("{generation}/{}", self.syncs);
            self.clients[at].leads = None;
            return Some((self.send_sync(client, generation, &stamp, members), Waits::Sync));
        }
        match self.prng.below(8) {
            // What a follower would assign is of no interest.
            0 | 1 => {
                let members = [client.member_id.clone()];
                Some((self.send_sync(client, generation, "follower", &members), Waits::Sync))
            }
            2 | 3 => {
                let offset = self.next_offset;
                self.next_offset += 1;
                let request = committing_as(&client.member_id, generation, offset);
                Some((self.rig.commit_offset(request), Waits::Commit(offset)))
            }
            4 => {
                self.clients[at].generation = None;
                None
            }
            5 if self.prng.one_in(4) => {
                let ticket = self.rig.leave_ticket(&[(&client.member_id, client.instance_id.as_deref())]);
                self.orphans.push(ticket);
                self.clients[at] = Client { instance_id: client.instance_id.clone(), ..Client::default() };
                None
            }
            _ => {
                let request = HeartbeatRequest {
                    group_id: "g".into(),
                    generation_id: generation,
                    member_id: client.member_id.clone(),
                    group_instance_id: client.instance_id.clone(),
                };
                Some((self.rig.send(4, GroupRequest::Heartbeat(request)), Waits::Heartbeat))
            }
        }
    }

    /// An append ends, one of those on their way, seldom badly.
    fn settle(&mut self) {
        if !self.rig.pending.is_empty() {
            let at = self.prng.below(self.rig.pending.len() as u64) as usize;
            let outcome = if self.prng.one_in(12) { Err(7) } else { Ok(()) };
            self.rig.settle(at, outcome);
        }
    }

    /// Someone looks at the group.
    fn look(&mut self) {
        let offsets = self.rig.offsets("g");
        if let Some((_, _, offset)) = offsets.first() {
            assert!(*offset >= self.seen, "{offset} after {}", self.seen);
            self.seen = *offset;
        } else {
            assert!(self.seen < self.deleted_at, "{} is lost", self.seen);
            self.seen = self.seen.max(self.deleted_at - 1);
        }
        let described = self.rig.describe("g");
        if described.state == "Stable" {
            let first = &described.members[0].assignment;
            assert!(!first.is_empty());
            assert!(described.members.iter().all(|member| member.assignment == *first), "{described:?}");
        }
    }

    /// A client loses its connection, and perhaps its memory too.
    fn vanish(&mut self) {
        let at = self.prng.below(CLIENTS as u64) as usize;
        let client = &mut self.clients[at];
        self.orphans.extend(client.waits.take().map(|(ticket, _)| ticket));
        (client.generation, client.leads) = (None, None);
        if self.prng.one_in(2) {
            client.member_id.clear();
        }
    }

    fn delete_group(&mut self) {
        let ticket = self.rig.send(2, GroupRequest::Delete { group_id: "g".into() });
        self.orphans.push(ticket);
        if self.rig.is_parked(ticket) {
            self.deleted_at = self.next_offset;
        }
    }

    /// The coordinator goes and comes back from the log, which may hold more than it had heard of.
    fn restart(&mut self) {
        let mut effects = Effects::default();
        self.rig.coordinator.unload(&mut effects);
        self.rig.take_in(effects);
        self.collect();
        assert!(self.clients.iter().all(|client| client.waits.is_none()), "{:?}", self.clients);
        assert!(self.orphans.is_empty(), "{:?}", self.orphans);
        for append in std::mem::take(&mut self.rig.pending) {
            if self.prng.one_in(2) {
                self.rig.log.insert((self.rig.incarnation, append.id), append.records);
            }
        }
        let next_ticket = self.rig.next_ticket;
        self.rig = self.rig.restarted(config());
        (self.rig.next_ticket, self.rig.immediate) = (next_ticket, false);
        // A generation that was not stored has its number given again.
        self.stamps.clear();
        self.restarts += 1;
    }

    /// Clients take in what they were answered.
    fn collect(&mut self) {
        self.orphans.retain(|ticket| self.rig.replies.remove(ticket).is_none());
        for at in 0..CLIENTS {
            let Some((ticket, waits)) = self.clients[at].waits else { continue };
            let Some(reply) = self.rig.replies.remove(&ticket) else { continue };
            self.clients[at].waits = None;
            let error = match (reply, waits) {
                (GroupReply::Join(reply), Waits::Join) => self.take_joined(at, &reply),
                (GroupReply::Sync(reply), Waits::Sync) => self.take_synced(at, &reply),
                (GroupReply::Heartbeat(error), Waits::Heartbeat) => error,
                (GroupReply::CommitOffsets(reply), Waits::Commit(offset)) => {
                    let error = reply.topics[0].partitions[0].1;
                    if error.is_none() {
                        self.seen = self.seen.max(offset);
                        self.acknowledged += 1;
                    }
                    error
                }
                other => panic!("{other:?}"),
            };
            let client = &mut self.clients[at];
            match error {
                None => {}
                Some(
                    GroupError::UnknownMemberId
                    | GroupError::FencedInstanceId
                    | GroupError::GroupMaxSizeReached,
                ) => {
                    client.member_id.clear();
                    (client.generation, client.leads) = (None, None);
                }
                Some(_) => (client.generation, client.leads) = (None, None),
            }
        }
        assert!(self.rig.replies.is_empty(), "{:?}", self.rig.replies);
    }

    fn take_joined(&mut self, at: usize, reply: &JoinReply) -> Option<GroupError> {
        let client = &mut self.clients[at];
        if reply.error.is_none() || reply.error == Some(GroupError::MemberIdRequired) {
            client.member_id = reply.member_id.to_string();
        }
        if reply.error.is_none() {
            client.generation = Some(reply.generation_id);
            let assigns = !reply.members.is_empty() && !reply.skip_assignment;
            assert!(!assigns || reply.leader == reply.member_id);
            let ids = reply.members.iter().map(|member| member.member_id.to_string());
            client.leads = assigns.then(|| ids.collect());
        }
        reply.error
    }

    fn take_synced(&mut self, at: usize, reply: &SyncReply) -> Option<GroupError> {
        if reply.error.is_none() {
            let stamp = String::from_utf8(reply.assignment.to_vec()).expect("a stamp");
            let (generation, _) = stamp.split_once('/').expect("from a leader");
            let generation: i32 = generation.parse().expect("a generation");
            assert_eq!(Some(generation), self.clients[at].generation, "of another generation");
            let one = self.stamps.entry(generation).or_insert_with(|| stamp.clone());
            assert_eq!(*one, stamp, "two assignments in one generation");
            self.assigned += 1;
        }
        reply.error
    }

    /// All appends end, and time passes: nobody is left waiting.
    fn finish(&mut self) {
        self.rig.commit();
        self.rig.immediate = true;
        self.rig.advance(400_000);
        self.collect();
        assert!(self.clients.iter().all(|client| client.waits.is_none()), "{:?}", self.clients);
        assert!(self.orphans.is_empty(), "{:?}", self.orphans);
        self.look();
        assert_eq!(self.rig.restarted(config()).offsets("g"), self.rig.offsets("g"));
    }
}

#[test]
fn random_histories_keep_the_promises() {
    let (mut assigned, mut acknowledged, mut restarts) = (0, 0, 0);
    for seed in 0..150 {
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.step();
        }
        model.finish();
        assigned += model.assigned;
        acknowledged += model.acknowledged;
        restarts += model.restarts;
    }
    // The histories are about something.
    assert!(assigned > 500 && acknowledged > 500 && restarts > 150, "{assigned} {acknowledged} {restarts}");
}
