//! Which requests are served, and what they hold.

use super::*;
use crate::base::limits::NET_STANDING_MS;
use crate::base::prng::Prng;

/// The first byte of a frame says what it is: 0 small, 1 alone, 255 behind replies, otherwise so many times 10,000 bytes of
/// reply.
fn weigh(frame: &[u8]) -> Weight {
    match frame[0] {
        0 => Weight::default(),
        1 => Weight { alone: true, ..Weight::default() },
        255 => Weight { alone: true, behind_replies: true, bytes: 0 },
        n => Weight { alone: true, behind_replies: false, bytes: usize::from(n) * 10_000 },
    }
}

fn bench(connection_bytes_max: usize, core_bytes_max: usize) -> Bench {
    let config = NetConfig { connection_bytes_max, core_bytes_max, ..NetConfig::default() };
    let mut bench = Bench::new(config);
    bench.weigh = weigh;
    bench
}

impl Bench {
    /// Answers whatever is given out as large as it was weighed, until nothing is; who was served.
    fn serve_all(&mut self) -> Vec<ConnId> {
        let mut served = Vec::new();
        while let Some(arrived) = self.next() {
            served.push(arrived.slot.conn);
            self.reply(arrived.slot, 7, arrived.weight.bytes.max(10));
            self.flush();
        }
        served
    }

    fn recounted(&self) -> usize {
        let held = |c: &connections::Conn| c.busy() + c.queue.bytes() + c.frames.held();
        self.net.conns.values().map(held).sum::<usize>() + self.net.budget.reserved()
    }
}

/// 2,000 SyncGroups of 60 bytes, of ten connections that read nothing, were answered with an assignment of 900 KB each: how
/// large such a reply is, is not known before it is there, and all of them were made.
#[test]
fn what_waits_behind_replies_is_served_when_they_have_left() {
    let mut b = bench(16 << 20, 256 << 20);
    let (hog, other) = (b.connect(), b.connect());
    b.event(SocketEvent::Received(hog, Bytes::from(frame(255, 8).repeat(900))));
    b.flush();
    for _ in 0..3 {
        let arrived = b.next().expect("the next");
        assert!(b.next().is_none(), "one at a time");
        b.bytes(hog, &frame(0, 8));
        b.reply(arrived.slot, 7, 900_000);
        b.flush();
        assert!(b.next().is_none(), "the reply has not left");
        assert!(b.net.held_bytes() < 900_000 + 20_000, "{}", b.net.held_bytes());
        b.bytes(other, &frame(255, 8));
        assert_eq!(b.serve_all(), [other], "others are served");
        b.all_sent();
    }
}

/// 147 KB of pipelined Fetches of a client that reads nothing held 2.5 GB: budgets kept bytes from being read, but what had
/// been read was served.
#[test]
fn what_is_not_read_is_not_served_however_much_was_asked() {
    for kind in [1, 6, 30] {
        let mut b = bench(100_000, 10 << 20);
        let (hog, other) = (b.connect(), b.connect());
        b.event(SocketEvent::Received(hog, Bytes::from(frame(kind, 8).repeat(900))));
        b.flush();
        let mut served = 0;
        loop {
            let Some(arrived) = b.next() else { break };
            b.reply(arrived.slot, 7, 60_000);
            b.flush();
            served += 1;
            assert!(served < 10, "bounded");
        }
        assert!(served >= 2 && b.net.held_bytes() <= 100_000 + 60_000 + 900 * 8, "served {served}");
        b.bytes(other, &frame(kind, 8));
        assert_eq!(b.serve_all(), [other]);
        // As it reads on it is served on, to the end.
        for _ in 0..2000 {
            b.all_sent();
            served += b.serve_all().len();
        }
        assert_eq!((served, b.net.held_bytes()), (901 - 1, 0));
    }
}

#[test]
fn connections_take_turns() {
    let mut b = bench(1 << 20, 10 << 20);
    let conns = [b.connect(), b.connect(), b.connect()];
    for (conn, count) in conns.iter().zip([50, 5, 1]) {
        b.bytes(*conn, &frame(0, 2000).repeat(count));
    }
    let served = b.serve_all();
    let turns: Vec<_> = served.chunk_by(|a, b| a == b).map(|turn| (turn[0], turn.len())).collect();
    let [first, second, third] = conns;
    assert_eq!(turns, [(first, 3), (second, 3), (third, 1), (first, 3), (second, 2), (first, 44)]);
}

#[test]
fn one_request_with_a_large_reply_of_a_connection_is_under_way() {
    let mut b = bench(1 << 20, 100 << 20);
    let conn = b.connect();
    b.bytes(conn, &[frame(5, 8), frame(0, 8), frame(1, 8)].concat());
    let (first, second) = (b.next().unwrap(), b.next().unwrap());
    assert_eq!((first.weight.alone, second.weight.alone), (true, false));
    assert!(b.next().is_none(), "the first is under way");
    b.reply(first.slot, 1, 10);
    b.flush();
    assert!(b.next().unwrap().weight.alone);
}

/// Five clients with pipelined Metadata: 3.9 GB, and everyone else waited for 38 s.
#[test]
fn a_core_without_memory_answers_the_small_and_one_large_at_a_time() {
    let mut b = bench(1 << 20, 1 << 20);
    let hogs: Vec<ConnId> = (0..40).map(|_| b.connect()).collect();
    let mut most = 0;
    for hog in &hogs {
        b.bytes(*hog, &frame(8, 8).repeat(100));
        b.serve_all();
        most = most.max(b.net.held_bytes());
    }
    assert!(most <= (1 << 20) + 80_000 + 40 * 800, "held {most}");
    let (small, large, huge) = (b.connect(), b.connect(), b.connect());
    for _ in 0..100 {
        b.bytes(small, &frame(0, 8));
        assert_eq!(b.serve_all(), [small]);
        b.io.in_flight.retain(|conn| *conn != small);
        b.event(SocketEvent::Sent(small));
        b.flush();
    }
    // A reply that is larger than all that is left for such is not refused: it waits for the others.
    b.bytes(large, &frame(8, 8));
    b.bytes(huge, &frame(200, 8));
    assert_eq!(b.serve_all(), []);
    let mut served = Vec::new();
    for _ in 0..10_000 {
        b.all_sent();
        served.extend(b.serve_all());
        assert!(b.net.held_bytes() <= (1 << 20) + 2_000_000 + 40 * 800);
    }
    assert!(served.contains(&large) && served.contains(&huge), "none is forgotten");
    assert_eq!((served.iter().filter(|c| **c == hogs[39]).count(), b.net.held_bytes()), (100, 0));
}

/// A client that took nothing of its large reply kept everyone else's large replies from being made until it was closed.
#[test]
fn one_that_stands_still_passes_its_place_on() {
    let mut b = bench(10 << 20, 1 << 20);
    let conns: Vec<ConnId> = (0..5).map(|_| b.connect()).collect();
    for conn in &conns {
        b.bytes(*conn, &frame(200, 8));
    }
    assert_eq!(b.serve_all(), conns[..1], "larger than what is left: one at a time");
    let start = b.now;
    let mut served = Vec::new();
    while b.now < start.plus_ms(3 * NET_STANDING_MS - 10) {
        b.now = b.now.plus_ms(10);
        *b.io.transferred.entry(conns[1]).or_default() += 1; // slow, but it takes its reply
        b.net.expire(b.now, &mut b.io);
        b.flush();
        served.extend(b.serve_all().into_iter().map(|conn| (conn, b.now)));
    }
    let [(second, at)] = served[..] else { panic!("served {served:?}") };
    assert!(second == conns[1] && at >= start.plus_ms(NET_STANDING_MS), "the first stood still");
    assert!(b.io.closed.is_empty() && b.net.held_bytes() >= 4_000_000, "and is counted");
    let (mut served, deadline) = (Vec::new(), b.now.plus_ms(10 * NET_STANDING_MS));
    while b.now < deadline && served.len() < 3 {
        b.now = b.now.plus_ms(10);
        b.net.expire(b.now, &mut b.io);
        b.flush();
        served.extend(b.serve_all());
    }
    assert_eq!(served, conns[2..]);
}

/// For any sequence of requests, answers, sends and ends: what is counted is what is held, the bounds hold, and all of it
/// comes back.
#[test]
fn the_books_are_right_after_every_step() {
    for seed in 0..60 {
        let mut random = Prng::new(seed);
        let mut b = bench(50_000, 400_000);
        let mut open: Vec<Arrived> = Vec::new();
        let mut granted = Vec::new();
        let mut conns: Vec<ConnId> = (0..8).map(|_| b.connect()).collect();
        for _ in 0..3000 {
            let at = random.below(conns.len() as u64) as usize;
            let conn = conns[at];
            match random.below(12) {
                0..=3 if b.io.reading[&conn] => {
                    let kind = random.below(8) as u8;
                    let bytes = frame(kind, 8 + random.below(300) as usize).repeat(random.below(20) as usize);
                    let cut = random.below(bytes.len() as u64 / 4 + 1) as usize;
                    b.event(SocketEvent::Received(conn, Bytes::copy_from_slice(&bytes[..cut])));
                    b.event(SocketEvent::Received(conn, Bytes::copy_from_slice(&bytes[cut..])));
                }
                4..=5 => open.extend(b.next()),
                6..=8 if !open.is_empty() => {
                    let arrived = open.swap_remove(random.below(open.len() as u64) as usize);
                    match random.below(10) {
                        0 => b.net.no_reply(arrived.slot),
                        _ => b.reply(arrived.slot, 1, arrived.weight.bytes.max(10)),
                    }
                }
                9 => {
                    let sent = b.io.in_flight.iter().position(|c| *c == conn);
                    if let Some(at) = sent {
                        b.io.in_flight.swap_remove(at);
                        b.event(SocketEvent::Sent(conn));
                    }
                }
                10 => match granted.pop() {
                    Some(bytes) => b.net.budget.release(bytes),
                    None => granted.extend(b.net.budget.grant(random.below(40_000) as usize)),
                },
                11 if random.below(30) == 0 => {
                    if random.below(2) == 0 {
                        b.event(SocketEvent::Ended(conn));
                    }
                    b.event(SocketEvent::Closed(conn, Ok(())));
                    b.io.in_flight.retain(|c| *c != conn);
                    open.retain(|arrived| arrived.slot.conn != conn);
                    b.events.clear();
                    conns[at] = b.connect();
                }
                _ => {}
            }
            assert_eq!(b.net.held_bytes(), b.recounted(), "seed {seed}");
            b.flush();
            assert_eq!(b.net.held_bytes(), b.recounted(), "seed {seed}");
            let small = 2 * 8 * 20 * 312 + 8 * 1000;
            assert!(b.net.held_bytes() <= 400_000 + 70_000 + 40_000 + small, "{}", b.net.held_bytes());
        }
        for bytes in granted {
            b.net.budget.release(bytes);
        }
        // The clients read all, and are answered to the end.
        for _ in 0..10_000 {
            open.extend(b.next());
            for arrived in open.drain(..) {
                b.reply(arrived.slot, 1, 10);
            }
            b.flush();
            b.all_sent();
        }
        assert!(!b.net.has_ready() && !b.net.ready.is_blocked());
        for conn in conns {
            b.event(SocketEvent::Closed(conn, Ok(())));
        }
        assert_eq!((b.net.held_bytes(), b.recounted()), (0, 0), "seed {seed}");
    }
}

/// `shutdown(SHUT_WR)` after a request: its reply was lost.
#[test]
fn a_client_that_sends_no_more_gets_its_replies() {
    let mut b = bench(100_000, 1 << 20);
    let conn = b.connect();
    b.event(SocketEvent::Received(conn, Bytes::from(frame(1, 8).repeat(3))));
    b.event(SocketEvent::Ended(conn));
    b.flush();
    for served in 0..3 {
        assert!(b.io.closed.is_empty(), "after {served}");
        let arrived = b.next().unwrap();
        assert_eq!(b.net.waits(arrived.slot, 7), (true, false), "it does not wait for more");
        b.reply(arrived.slot, 3, 5);
        b.flush();
        b.all_sent();
    }
    assert_eq!(b.io.sent[&conn], frame(3, 5).repeat(3));
    assert_eq!(b.io.closed, [conn]);
    b.gone(conn);
    let idle = b.connect();
    b.event(SocketEvent::Ended(idle));
    b.flush();
    assert_eq!(b.io.closed, [conn, idle], "nothing is owed to it");
}

/// Long polls of connections that were gone stayed parked, if they had come with the connection's end or while it was not
/// read.
#[test]
fn whoever_waits_is_told_when_its_client_has_ended() {
    let mut b = bench(50, 1 << 20);
    let conn = b.connect();
    b.bytes(conn, &frame(1, 40).repeat(2));
    let first = b.next().unwrap();
    b.net.waits(first.slot, 70);
    assert!(!b.io.reading[&conn] && b.io.watched.contains(&conn));
    b.event(SocketEvent::Ending(conn));
    assert!(matches!(&b.events.pop_front(), Some(NetEvent::Ended { waiting }) if *waiting == [70]));
    b.reply(first.slot, 1, 1);
    b.flush();
    b.all_sent();
    let second = b.next().unwrap();
    assert_eq!(b.net.waits(second.slot, 71), (true, false));
    assert!(b.io.reading[&conn], "there may be more to read");
    b.event(SocketEvent::Closed(conn, Ok(())));
    assert_eq!(b.net.waits(second.slot, 71), (false, false));
}

/// 400 uploads that stood still held the core's budget for half a minute, and nobody's large requests were received.
#[test]
fn uploads_without_progress_end_when_others_need_the_memory() {
    let mut b = bench(1 << 20, 8 << 20);
    let stalled: Vec<ConnId> = (0..40).map(|_| b.connect()).collect();
    for conn in &stalled {
        let announced = 100i32 << 20;
        b.bytes(*conn, &[&announced.to_be_bytes()[..], &vec![0; 150_000]].concat());
    }
    assert!(b.net.held_bytes() <= 11 << 20, "no more than what was sent, nearly");
    let (good, request) = (b.connect(), frame(0, 1 << 20));
    b.bytes(good, &request[..100_000]);
    let (mut at, mut turns) = (100_000, 0);
    while at < request.len() {
        if b.io.into.contains_key(&good) {
            at += b.fill(good, &request[at..]);
            *b.io.transferred.entry(good).or_default() = at as u64;
        }
        b.now = b.now.plus_ms(50);
        b.expire();
        b.flush();
        turns += 1;
        assert!(turns < 300, "it comes through");
    }
    assert_eq!(b.requests().len(), 1);
    for _ in 0..600 {
        b.now = b.now.plus_ms(50);
        b.expire();
        b.flush();
    }
    let closed = stalled.iter().filter(|conn| b.io.closed.contains(conn)).count();
    assert!(closed > 0 && !b.io.closed.contains(&good), "{closed}");
}

#[test]
fn a_slow_transfer_is_not_idle() {
    let mut b = Bench::new(NetConfig { idle_ms: 1000, ..NetConfig::default() });
    let (slow, still) = (b.connect(), b.connect());
    for conn in [slow, still] {
        b.bytes(conn, &frame(0, 8));
        let slot = b.requests()[0].0;
        b.reply(slot, 1, 900_000);
        b.flush();
    }
    for step in 1..20 {
        b.io.transferred.insert(slow, step * 1000);
        b.io.transferred.insert(still, 1000);
        b.now = b.now.plus_ms(500);
        b.expire();
        assert!(step < 8 || b.io.closed == [still], "step {step}");
    }
}
