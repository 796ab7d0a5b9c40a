//! Small requests about groups that make the broker hold or write much: replies with members' metadata and assignments, and
//! records of whole groups.

use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::poll;
use crate::support::raw::{self, Client, Reader, Writer};

const LARGE_BYTES: usize = 900_000;
/// What a burst of small requests may add to the process, whatever it asks for.
const BURST_BYTES_MAX: u64 = 100 << 20;

fn start(name: &str) -> Broker {
    let broker = Broker::start(name, &[("group.initial.rebalance.delay.ms", "0")]);
    let mut client = Client::connect(&broker);
    poll::until("a coordinator", Duration::from_secs(30), || {
        (client.find_coordinator("g").ok()? == raw::code::NONE).then_some(())
    });
    broker
}

/// JoinGroup v5 of a static member.
fn join(member_id: &str, instance_id: &str, metadata: &[u8]) -> Vec<u8> {
    let head = Writer::default().string("g").i32(300_000).i32(300_000).string(member_id).string(instance_id);
    head.string("x").i32(1).string("p").bytes(metadata).0
}

/// What a JoinGroup was answered.
struct Joined {
    error: i16,
    generation: i32,
    member_id: String,
    metadata_bytes: usize,
}

fn joined(answer: &[u8]) -> Joined {
    let mut r = Reader(answer);
    let (_throttle, error, generation) = (r.i32(), r.i16(), r.i32());
    let (_protocol, _leader, member_id) = (r.string(), r.string(), r.string());
    let of_member = |r: &mut Reader<'_>| {
        let _ = (r.string(), r.string());
        r.bytes().len()
    };
    let metadata_bytes = (0..r.i32()).map(|_| of_member(&mut r)).sum();
    Joined { error, generation, member_id, metadata_bytes }
}

/// SyncGroup v3 of a static member.
fn sync(generation: i32, member_id: &str, instance_id: &str, assignment: Option<&[u8]>) -> Vec<u8> {
    let head = Writer::default().string("g").i32(generation).string(member_id).string(instance_id);
    match assignment {
        Some(assignment) => head.i32(1).string(member_id).bytes(assignment).0,
        None => head.i32(0).0,
    }
}

/// The only member of the group, with a large assignment.
fn assigned(broker: &Broker) -> Joined {
    let mut client = Client::connect(broker);
    let member = poll::until("a member", Duration::from_secs(30), || {
        let member = joined(&client.call(11, 5, &join("", "i", b"m")).expect("join"));
        (member.error == raw::code::NONE).then_some(member)
    });
    let body = sync(member.generation, &member.member_id, "i", Some(&vec![7; LARGE_BYTES]));
    let answer = client.call(14, 3, &body).expect("sync");
    assert_eq!((answer.len(), &answer[4..6]), (4 + 2 + 4 + LARGE_BYTES, &[0, 0][..]));
    member
}

/// Sends the same request so many times over each of some connections, which read the answers only when others have been
/// served; what the process had in memory at most meanwhile.
fn flood(broker: &Broker, count: usize, key: i16, version: i16, body: &[u8], check: impl Fn(&[u8])) {
    let mut member = Client::connect(broker);
    let beat = Writer::default().string("other").i32(1).string("nobody").null_string().0;
    // From here on the peak is the flood's.
    let _ = std::fs::write(format!("/proc/{}/clear_refs", broker.pid()), "5");
    let before = super::work::peak_bytes(broker);
    let mut attackers: Vec<Client> = (0..3).map(|_| Client::connect(broker)).collect();
    let asked: Vec<Vec<i32>> = attackers
        .iter_mut()
        .map(|client| (0..count).map(|_| client.send(key, version, body).expect("send")).collect())
        .collect();
    for _ in 0..50 {
        let answer = member.call(12, 3, &beat).expect("heartbeats are answered");
        assert_eq!(answer[4..6], 25i16.to_be_bytes(), "UNKNOWN_MEMBER_ID");
    }
    for (client, asked) in attackers.iter_mut().zip(asked) {
        for correlation in asked {
            check(&client.receive(correlation).expect("an answer"));
        }
    }
    let grown = super::work::peak_bytes(broker).saturating_sub(before);
    assert!(grown < BURST_BYTES_MAX, "{} MB for {count} requests of {} bytes", grown >> 20, body.len());
}

/// 2,000 SyncGroups of 60 bytes, replies not read, held 1.2 GB and everybody else waited for three seconds: each was answered
/// with an assignment of 900 KB, and neither before nor behind it anybody counted.
#[test]
fn assignments_are_sent_one_at_a_time_to_a_connection() {
    let broker = start("groups-sync");
    let member = assigned(&broker);
    let body = sync(member.generation, &member.member_id, "i", None);
    flood(&broker, 100, 14, 3, &body, |answer| {
        assert_eq!((answer.len(), &answer[4..6]), (4 + 2 + 4 + LARGE_BYTES, &[0, 0][..]));
    });
}

/// The same with JoinGroups of a leader, whose answers carry the metadata of all members.
#[test]
fn metadata_of_members_is_sent_one_at_a_time_to_a_connection() {
    let broker = start("groups-join");
    let (mut small, mut large) = (Client::connect(&broker), Client::connect(&broker));
    let leader = poll::until("a member", Duration::from_secs(30), || {
        let member = joined(&small.call(11, 5, &join("", "small", b"m")).expect("join"));
        (member.error == raw::code::NONE).then_some(member)
    });
    let other = large.send(11, 5, &join("", "large", &vec![7; LARGE_BYTES])).expect("join");
    let again = join(&leader.member_id, "small", b"m");
    // Both are in the generation that begins when both have joined.
    poll::until("the second member", Duration::from_secs(30), || {
        let member = joined(&small.call(11, 5, &again).expect("join"));
        (member.metadata_bytes > LARGE_BYTES).then_some(())
    });
    large.receive(other).expect("joined");
    flood(&broker, 100, 11, 5, &again, |answer| {
        let member = joined(answer);
        assert_eq!((member.error, member.metadata_bytes), (raw::code::NONE, LARGE_BYTES + 1));
    });
}

/// Clients that took the place of one static member again and again, with 59 bytes each, had the whole group stored each time:
/// 2.4 GB were on their way to the log, and heartbeats of other groups waited for fifteen seconds.
#[test]
fn static_members_that_fight_do_not_fill_the_memory_with_records() {
    let broker = start("groups-static");
    assigned(&broker);
    flood(&broker, 60, 11, 5, &join("", "i", b"m"), |answer| {
        assert!([raw::code::NONE, 82].contains(&joined(answer).error), "taken, or fenced by the next");
    });
}
