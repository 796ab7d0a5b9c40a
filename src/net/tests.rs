mod dispatch;

use super::*;
use crate::base::{Ticks, WallMs};
use crate::io::{Clock, ListenerId, SocketEvent, Sockets};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// Sockets that only write down what they are told.
#[derive(Default)]
struct Fake {
    next: u64,
    reading: BTreeMap<ConnId, bool>,
    into: BTreeMap<ConnId, Vec<u8>>,
    watched: BTreeSet<ConnId>,
    transferred: BTreeMap<ConnId, u64>,
    sent: BTreeMap<ConnId, Vec<u8>>,
    sends: usize,
    in_flight: Vec<ConnId>,
    closed: Vec<ConnId>,
}

impl Clock for Fake {
    fn now(&self) -> Ticks {
        Ticks(0)
    }
    fn wall_ms(&self) -> WallMs {
        0
    }
}

impl Sockets for Fake {
    fn listen(&mut self, _: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        Ok((ListenerId(3), "127.0.0.1:9092".parse().unwrap()))
    }
    fn unlisten(&mut self, _: ListenerId) {}
    fn adopt(&mut self, _: Socket) -> io::Result<ConnId> {
        self.next += 1;
        self.reading.insert(ConnId(self.next), true);
        Ok(ConnId(self.next))
    }
    fn pause(&mut self, conn: ConnId) {
        self.reading.insert(conn, false);
    }
    fn resume(&mut self, conn: ConnId) {
        assert!(!self.into.contains_key(&conn));
        self.reading.insert(conn, true);
    }
    fn watch(&mut self, conn: ConnId) {
        assert!(!self.reading[&conn], "watched because it is not read");
        self.watched.insert(conn);
    }
    fn transferred(&self, conn: ConnId) -> u64 {
        self.transferred.get(&conn).copied().unwrap_or_default()
    }
    fn recv_into(&mut self, conn: ConnId, buffer: Vec<u8>) {
        assert!(!self.reading[&conn] && buffer.capacity() > buffer.len());
        assert!(self.into.insert(conn, buffer).is_none());
    }
    fn send(&mut self, conn: ConnId, parts: &mut Vec<Bytes>) {
        assert!(!self.in_flight.contains(&conn), "one send at a time");
        self.in_flight.push(conn);
        self.sends += 1;
        self.sent.entry(conn).or_default().extend(parts.concat());
        parts.clear();
    }
    fn close(&mut self, conn: ConnId) {
        self.closed.push(conn);
    }
}

struct Bench {
    net: Net,
    io: Fake,
    events: VecDeque<NetEvent>,
    now: Ticks,
    weigh: fn(&[u8]) -> Weight,
}

fn frame(fill: u8, len: usize) -> Vec<u8> {
    [&(len as i32).to_be_bytes()[..], &vec![fill; len]].concat()
}

impl Bench {
    fn new(config: NetConfig) -> Bench {
        let now = Ticks(1_000_000_000);
        let (net, io, events, weigh) =
            (Net::new(config), Fake::default(), VecDeque::new(), |_: &[u8]| Weight::default());
        let mut bench = Bench { net, io, events, now, weigh };
        bench.net.listen(5, "127.0.0.1:0".parse().unwrap(), &mut bench.io).unwrap();
        bench
    }

    fn event(&mut self, event: SocketEvent) {
        self.net.on_event(self.now, event, &mut self.io, &mut self.events);
    }

    fn connect(&mut self) -> ConnId {
        let socket = Socket { handle: Box::new(()), peer: "10.0.0.1:1000".parse().unwrap() };
        self.event(SocketEvent::Accepted(ListenerId(3), socket));
        ConnId(self.io.next)
    }

    fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.event(SocketEvent::Received(conn, Bytes::copy_from_slice(bytes)));
        self.flush();
    }

    fn requests(&mut self) -> Vec<(Slot, Bytes)> {
        assert!(self.events.is_empty(), "not a request");
        let mut requests = Vec::new();
        while let Some(Arrived { slot, frame, listener: 5, .. }) = self.next() {
            requests.push((slot, frame));
        }
        requests
    }

    fn next(&mut self) -> Option<Arrived> {
        let weigh = self.weigh;
        self.net.next_small(weigh).or_else(|| self.net.next_large(weigh))
    }

    fn reply(&mut self, slot: Slot, fill: u8, len: usize) {
        self.net.reply(slot, b"", vec![fill; len].into());
    }

    fn flush(&mut self) {
        self.net.flush(&mut self.io);
    }

    /// The clients read all that was sent.
    fn all_sent(&mut self) {
        for conn in std::mem::take(&mut self.io.in_flight) {
            self.event(SocketEvent::Sent(conn));
        }
        self.flush();
    }

    /// Fills the buffer that waits, as far as `bytes` go.
    fn fill(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let mut buffer = self.io.into.remove(&conn).expect("a buffer waits");
        let n = bytes.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&bytes[..n]);
        self.event(SocketEvent::Filled(conn, buffer));
        self.flush();
        n
    }

    fn expire(&mut self) {
        self.net.expire(self.now, &mut self.io);
    }

    fn gone(&mut self, conn: ConnId) {
        assert!(self.io.closed.contains(&conn));
        self.event(SocketEvent::Closed(conn, Ok(())));
        assert!(self.events.iter().any(|e| matches!(e, NetEvent::Gone { conn: c, .. } if *c == conn)));
        self.events.clear();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_with_one_send_a_turn() {
    let mut b = Bench::new(NetConfig::default());
    let conn = b.connect();
    let stream: Vec<u8> = (0..5).flat_map(|i| frame(i, 20 + usize::from(i))).collect();
    b.bytes(conn, &stream);
    let requests = b.requests();
    assert_eq!(
        requests.iter().map(|(s, f)| (s.seq, f.len())).collect::<Vec<_>>(),
        [(0, 20), (1, 21), (2, 22), (3, 23), (4, 24)]
    );
    for i in [3, 1, 4] {
        b.reply(requests[i].0, i as u8, 3);
    }
    b.flush();
    assert_eq!(b.io.sends, 0, "the first is still open");
    b.reply(requests[0].0, 0, 3);
    b.net.no_reply(requests[2].0);
    b.flush();
    assert_eq!(b.io.sends, 1);
    let expected: Vec<u8> = [0, 1, 3, 4].iter().flat_map(|i| frame(*i, 3)).collect();
    assert_eq!(b.io.sent[&conn], expected);
    assert!(b.net.held_bytes() > 0, "until the client has taken it");
    b.all_sent();
    assert_eq!(b.net.held_bytes(), 0);
}

#[test]
fn a_client_that_does_not_read_is_not_read() {
    let config = NetConfig { connection_bytes_max: 100_000, ..NetConfig::default() };
    let mut b = Bench::new(config);
    let (conn, other) = (b.connect(), b.connect());
    let mut served = 0;
    // It asks for 10 kB with each small request and never reads.
    while b.io.reading[&conn] {
        b.bytes(conn, &frame(1, 100));
        for (slot, _) in b.requests() {
            b.reply(slot, 2, 10_000);
            served += 1;
        }
        b.flush();
        assert!(served < 20, "bounded");
    }
    assert!(b.net.held_bytes() < 120_000);
    b.bytes(other, &frame(1, 100));
    assert_eq!(b.requests().len(), 1, "others go on");
    b.all_sent();
    b.all_sent();
    assert!(b.io.reading[&conn], "read on when it has read");
}

#[test]
fn requests_in_flight_are_bounded_by_number() {
    let config = NetConfig { requests_in_flight_max: 10, ..NetConfig::default() };
    let mut b = Bench::new(config);
    let conn = b.connect();
    b.bytes(conn, &frame(1, 8).repeat(9));
    assert!(b.io.reading[&conn]);
    b.bytes(conn, &frame(1, 8));
    assert!(!b.io.reading[&conn]);
    let slot = b.requests()[0].0;
    b.reply(slot, 1, 1);
    b.flush();
    assert!(b.io.reading[&conn]);
}

#[test]
fn large_requests_go_straight_into_their_buffer() {
    let mut b = Bench::new(NetConfig::default());
    let conn = b.connect();
    let stream = [frame(7, 500_000), frame(8, 10)].concat();
    b.bytes(conn, &stream[..1000]);
    assert!(!b.io.reading[&conn]);
    let mut at = 1000;
    while at < 500_004 {
        at += b.fill(conn, &stream[at..500_004]);
    }
    assert!(b.io.reading[&conn]);
    b.bytes(conn, &stream[at..]);
    let requests = b.requests();
    assert_eq!((requests[0].1.len(), requests[1].1.len()), (500_000, 10));
    assert!(requests[0].1.iter().all(|x| *x == 7));
}

#[test]
fn a_large_request_may_be_completed_by_what_its_turn_still_brings() {
    let mut b = Bench::new(NetConfig::default());
    let conn = b.connect();
    let stream = [frame(7, 100_000), frame(8, 500_000)].concat();
    // All of it lies among the events of one turn: nothing may be lent in between.
    for chunk in stream[..150_000].chunks(16_384) {
        b.event(SocketEvent::Received(conn, Bytes::copy_from_slice(chunk)));
        assert!(b.io.into.is_empty());
    }
    b.flush();
    assert_eq!(b.requests()[0].1.len(), 100_000);
    let mut at = 150_000;
    while at < stream.len() {
        at += b.fill(conn, &stream[at..]);
    }
    assert_eq!(b.requests()[0].1.len(), 500_000);
    assert!(b.io.reading[&conn]);
}

#[test]
fn what_is_no_request_closes_the_connection() {
    for prefix in [&[0x16, 3, 1, 0][..], b"GET ", &[255; 4], &[127, 0, 0, 0], &[0, 0, 0, 1]] {
        let mut b = Bench::new(NetConfig::default());
        let conn = b.connect();
        b.bytes(conn, &frame(1, 10));
        b.bytes(conn, prefix);
        let requests = b.requests();
        assert_eq!(requests.len(), 1, "what came before is served");
        b.bytes(conn, &frame(1, 10));
        assert!(b.requests().is_empty() && b.io.closed.is_empty());
        b.reply(requests[0].0, 1, 1);
        b.flush();
        b.all_sent();
        assert_eq!((b.io.closed.clone(), b.io.sends), (vec![conn], 1));
        b.gone(conn);
        // A late answer reaches nobody.
        b.reply(Slot { conn, seq: 0 }, 1, 1);
        b.flush();
        assert_eq!((b.io.sends, b.net.held_bytes(), b.net.len()), (1, 0, 0));
    }
}

#[test]
fn idle_connections_end_but_not_those_that_wait_for_us() {
    let mut b = Bench::new(NetConfig { idle_ms: 1000, ..NetConfig::default() });
    let (idle, waiting, active) = (b.connect(), b.connect(), b.connect());
    b.bytes(waiting, &frame(1, 10));
    assert_eq!(b.net.deadline(), b.now.plus_ms(1000));
    b.now = b.now.plus_ms(900);
    b.bytes(active, &[0]);
    b.now = b.now.plus_ms(100);
    b.expire();
    assert_eq!(b.io.closed, [idle]);
    b.now = b.net.deadline();
    b.expire();
    assert_eq!(b.io.closed, [idle, active], "half a length prefix is not life");
    let slot = b.requests()[0].0;
    b.reply(slot, 1, 1);
    b.flush();
    b.all_sent();
    b.now = b.now.plus_ms(3000);
    b.expire();
    b.now = b.net.deadline().min(b.now.plus_ms(3000));
    b.expire();
    assert!(b.io.closed.contains(&waiting));
    let mut never = Bench::new(NetConfig { idle_ms: -1, ..NetConfig::default() });
    never.connect();
    assert_eq!(never.net.deadline(), Ticks::NEVER);
}

#[test]
fn a_core_without_memory_serves_the_small_and_one_large_at_a_time() {
    let config = NetConfig { core_bytes_max: 1 << 20, frame_bytes_max: 4 << 20, ..NetConfig::default() };
    let mut b = Bench::new(config);
    let conns: Vec<ConnId> = (0..40).map(|_| b.connect()).collect();
    let large = frame(9, 4 << 20);
    let mut at: Vec<usize> = vec![100_000; 40];
    for conn in &conns {
        b.bytes(*conn, &large[..100_000]);
        b.flush();
    }
    // Everyone announces 4 MiB and has sent 100 kB; all that is allocated stays near the budget.
    let mut finished = 0;
    let mut most = 0;
    for _ in 0..2000 {
        for (i, conn) in conns.iter().enumerate() {
            if b.io.into.contains_key(conn) {
                at[i] += b.fill(*conn, &large[at[i]..]);
            }
            b.flush();
            most = most.max(b.net.held_bytes());
        }
        for (slot, request) in b.requests() {
            assert_eq!(request.len(), 4 << 20);
            finished += 1;
            b.reply(slot, 1, 10);
        }
        b.flush();
        b.all_sent();
        if finished == 40 {
            break;
        }
    }
    assert_eq!(finished, 40, "none starves for ever");
    assert!(most <= 40 * 140_000 + (1 << 20) + 2 * (4 << 20), "held {most}");
    assert_eq!(b.net.held_bytes(), 0);
}

#[test]
fn whoever_blocks_a_core_without_memory_is_closed() {
    let config = NetConfig { core_bytes_max: 100_000, pressure_ms: 500, ..NetConfig::default() };
    let mut b = Bench::new(config);
    let (hog, large, small) = (b.connect(), b.connect(), b.connect());
    b.bytes(hog, &frame(1, 10));
    let slot = b.requests()[0].0;
    b.reply(slot, 1, 200_000);
    b.flush();
    let stream = frame(2, 600_000);
    b.bytes(large, &stream[..50_000]);
    let privileged = b.connect();
    b.bytes(privileged, &stream[..50_000]);
    b.bytes(small, &frame(3, 10));
    assert_eq!(b.requests().len(), 1, "a small request passes");
    for _ in 0..6 {
        b.now = b.net.deadline();
        b.expire();
    }
    assert!(b.io.closed.contains(&hog) && b.io.closed.contains(&large) && !b.io.closed.contains(&small));
    b.gone(hog);
    b.flush();
}

#[test]
fn close_after_a_reply_and_drain() {
    let mut b = Bench::new(NetConfig::default());
    let (conn, other) = (b.connect(), b.connect());
    b.bytes(conn, &frame(1, 10).repeat(2));
    let requests = b.requests();
    b.net.close_after(requests[1].0);
    b.bytes(conn, &frame(1, 10));
    assert!(b.events.is_empty(), "not read any more");
    b.flush();
    assert!(b.io.closed.is_empty(), "the one before is open");
    b.reply(requests[0].0, 5, 5);
    b.flush();
    assert_eq!(b.io.sent[&conn], frame(5, 5));
    assert!(b.io.closed.is_empty(), "not before it has left");
    b.all_sent();
    assert_eq!(b.io.closed, [conn]);
    b.gone(conn);

    b.bytes(other, &frame(1, 10));
    let slot = b.requests()[0].0;
    b.net.drain(&mut b.io);
    b.flush();
    assert!(!b.io.reading[&other] && !b.net.is_drained());
    b.reply(slot, 6, 6);
    b.flush();
    b.all_sent();
    b.gone(other);
    assert!(b.net.is_drained());
    let socket = Socket { handle: Box::new(()), peer: "10.0.0.1:1".parse().unwrap() };
    b.event(SocketEvent::Accepted(ListenerId(3), socket));
    assert!(b.net.is_empty() && b.events.is_empty(), "nobody new");
}

#[test]
fn connections_are_spread_and_counted() {
    let config = NetConfig { shards: 2, connections_per_ip_max: 6, ..NetConfig::default() };
    let mut b = Bench::new(config);
    for _ in 0..6 {
        b.connect();
    }
    let handed = b.events.drain(..).map(|e| match e {
        NetEvent::Handover { to, listener: 5, .. } => to.0,
        _ => panic!("something else"),
    });
    assert_eq!((handed.collect::<Vec<_>>(), b.net.len()), (vec![1, 1, 1], 3), "every second one");
    b.connect();
    assert!(b.events.is_empty() && b.net.len() == 3, "one too many of this address");
    b.net.released(ShardId(1), "10.0.0.1".parse().unwrap());
    b.connect();
    assert!(matches!(b.events.make_contiguous(), [NetEvent::Handover { to: ShardId(1), .. }]));
}

/// Requests of all sizes through a real ring, echoed by their length and first byte.
#[test]
fn over_a_real_ring() {
    use crate::io::{Event, Remote, Ring, World};
    use std::io::{Read, Write};

    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let mut net = Net::new(NetConfig::default());
    let address = net.listen(0, "127.0.0.1:0".parse().unwrap(), &mut ring).unwrap();
    let sizes = [8, 100, 16_380, 16_384, 40_000, 70_000, 900_000, 9, 5_000_000, 300_000, 12];
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        for alone in [true, false, true, false] {
            for (i, size) in sizes.iter().enumerate() {
                stream.write_all(&frame(i as u8, *size)).unwrap();
                if alone {
                    let mut reply = [0; 9];
                    stream.read_exact(&mut reply).unwrap();
                    assert_eq!((reply[3], reply[4]), (5, i as u8));
                }
            }
            if alone {
                continue;
            }
            let mut replies = vec![0; sizes.len() * 9];
            stream.read_exact(&mut replies).unwrap();
            for (i, reply) in replies.chunks(9).enumerate() {
                let len = u32::from_be_bytes(reply[5..].try_into().unwrap());
                assert_eq!((reply[3], reply[4], len as usize), (5, i as u8, sizes[i]));
            }
        }
    });
    let (mut events, mut out) = (Vec::new(), VecDeque::new());
    while !client.is_finished() {
        ring.turn(ring.now().plus_ms(100), &mut events);
        let now = ring.now();
        for event in events.drain(..) {
            let Event::Socket(event) = event else { panic!("no socket's event") };
            net.on_event(now, event, &mut ring, &mut out);
        }
        for event in out.drain(..) {
            assert!(matches!(event, NetEvent::Gone { .. }));
        }
        while let Some(Arrived { slot, frame, .. }) = net.next_small(|_| Weight::default()) {
            assert!(frame.iter().all(|b| *b == frame[0]));
            let len = Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes());
            net.reply(slot, b"", [&frame[..1], &len].concat().into());
        }
        net.flush(&mut ring);
    }
    client.join().unwrap();
}

/// The same over many simulated networks; a seed decides every piece, delay and reset.
#[test]
fn over_simulated_networks() {
    let mut ends = 0;
    for seed in 0..12 {
        let (trace, ended) = simulated(seed);
        assert_eq!((trace, ended), simulated(seed), "seed {seed}");
        ends += usize::from(ended);
    }
    assert!(ends > 0 && ends < 12, "{ends} of 12 were reset");
}

/// Two cores echo the requests of three clients; gives the trace and whether a connection was reset.
fn simulated(seed: u64) -> (u64, bool) {
    use crate::base::prng::Prng;
    use crate::io::sim::{Sim, SimConfig};
    use crate::io::{Event, World};

    let sim: Sim<(u32, Socket)> = Sim::new(SimConfig::new(seed, 2));
    let mut worlds = [sim.world(ShardId(0)), sim.world(ShardId(1))];
    let mut nets =
        [0, 1].map(|i| Net::new(NetConfig { shard: ShardId(i), shards: 2, ..NetConfig::default() }));
    let address = nets[0].listen(7, "10.9.9.9:9092".parse().unwrap(), &mut worlds[0]).unwrap();
    let mut prng = Prng::new(seed);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let sizes: Vec<usize> = (0..20)
                .map(|_| {
                    let bits = 4 + prng.below(15);
                    8 + prng.below(1 << bits) as usize
                })
                .collect();
            let stream: Vec<u8> = sizes.iter().flat_map(|n| frame(*n as u8, *n)).collect();
            let client = sim.connect("10.0.0.1:1000".parse().unwrap(), address);
            (client, sizes, stream, 0, Vec::new())
        })
        .collect();
    let (mut events, mut out, mut reset) = (Vec::new(), VecDeque::new(), false);
    for _ in 0..100_000 {
        let mut busy = false;
        for core in 0..2 {
            let (world, net) = (&mut worlds[core], &mut nets[core]);
            world.turn(Ticks::NEVER, &mut events);
            let now = world.now();
            busy |= !events.is_empty();
            for event in events.drain(..) {
                match event {
                    Event::Socket(event) => net.on_event(now, event, world, &mut out),
                    Event::Mail(_, (listener, socket)) => net.adopt(now, listener, socket, world, &mut out),
                    _ => panic!("something else"),
                }
            }
            for event in out.drain(..) {
                match event {
                    NetEvent::Handover { socket, listener, to } => world.post(to, (listener, socket)),
                    NetEvent::Gone { .. } => reset = true,
                    NetEvent::Ended { .. } => panic!("nothing waits"),
                }
            }
            while let Some(Arrived { slot, frame, listener: 7, .. }) = net.next_small(|_| Weight::default()) {
                assert!(frame.iter().all(|b| *b == frame.len() as u8));
                net.reply(slot, b"", (frame.len() as u32).to_be_bytes().to_vec().into());
            }
            net.flush(world);
        }
        let mut waiting = false;
        for (client, sizes, stream, sent, got) in &mut clients {
            let n = prng.below((stream.len() - *sent).min(100_000) as u64 + 1) as usize;
            sim.client_send(*client, Bytes::copy_from_slice(&stream[*sent..*sent + n]));
            *sent += n;
            if !seed.is_multiple_of(2) && prng.one_in(200) {
                sim.client_reset(*client);
                reset = true;
            }
            match sim.client_receive(*client) {
                Some(bytes) => {
                    got.extend(bytes);
                    waiting |= got.len() < 8 * sizes.len();
                }
                None => reset = true,
            }
        }
        if !waiting {
            break;
        }
        if !busy {
            sim.step(Ticks::NEVER);
        }
    }
    for (_, sizes, _, _, got) in &clients {
        let answered: Vec<usize> =
            got.chunks_exact(8).map(|r| u32::from_be_bytes(r[4..].try_into().unwrap()) as usize).collect();
        assert!(sizes.starts_with(&answered), "in order");
        assert!(reset || answered.len() == sizes.len(), "all of them");
    }
    (sim.trace(), reset)
}
