use super::*;
use crate::base::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_KEPT_MAX};
use crate::io::world::{FileJobOutcome, SocketEvent};
use std::io::{Read, Write};
use std::thread;

/// A lost wake-up would leave both cores asleep for ever.
#[test]
fn sleeping_cores_are_always_woken() {
    const ROUNDS: u32 = 3000;
    let remote: Remote<u32> = Remote::new(2).unwrap();
    let play = |shard: u16| {
        let remote = remote.clone();
        thread::spawn(move || {
            let mut ring = Ring::new(&remote, ShardId(shard)).unwrap();
            let mut events = Vec::new();
            if shard == 0 {
                ring.post(ShardId(1), 0);
            }
            loop {
                ring.turn(Ticks::NEVER, &mut events);
                for event in events.drain(..) {
                    let Event::Mail(from, n) = event else { panic!("not mail") };
                    if n < ROUNDS {
                        ring.post(from, n + 1);
                    }
                    if n + 1 >= ROUNDS {
                        ring.turn(ring.now(), &mut Vec::new()); // the last post leaves
                        return n;
                    }
                }
            }
        })
    };
    let (zero, one) = (play(0), play(1));
    assert_eq!(zero.join().unwrap().max(one.join().unwrap()), ROUNDS);
}

#[test]
fn outside_mail_and_stop_end_an_endless_wait() {
    let remote: Remote<u32> = Remote::new(1).unwrap();
    let theirs = remote.clone();
    let core = thread::spawn(move || {
        let mut ring = Ring::new(&theirs, ShardId(0)).unwrap();
        let (mut events, mut sum) = (Vec::new(), 0);
        loop {
            ring.turn(Ticks::NEVER, &mut events);
            for event in events.drain(..) {
                match event {
                    Event::Mail(ShardId(0), n) => sum += n,
                    Event::Stop => return sum,
                    _ => panic!("something else"),
                }
            }
        }
    });
    for n in 1..=100 {
        remote.post(ShardId(0), n);
    }
    remote.stop();
    assert!(core.join().unwrap() <= 5050);
}

#[test]
fn a_dropped_ring_frees_its_port_and_closes_its_connections() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let (_, address) = ring.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let mut events = Vec::new();
    ring.turn(Ticks::NEVER, &mut events);
    let Some(Event::Socket(SocketEvent::Accepted(_, socket))) = events.pop() else { panic!("not accepted") };
    ring.adopt(socket).unwrap();
    ring.turn(ring.now(), &mut events);
    drop(ring);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let mut again = Ring::new(&remote, ShardId(0)).unwrap();
    assert_eq!(again.listen(address).unwrap().1, address);
}

#[test]
fn a_short_write_is_continued_and_a_full_device_is_an_error() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let full = ring.files().open("/dev/full".as_ref(), crate::io::OpenMode::Direct).unwrap();
    let mut block = crate::io::AlignedBuf::with_capacity(4096);
    block.set_len(4096);
    ring.write(&full, 0, block.freeze(), Token(1));
    let mut events = Vec::new();
    ring.turn(Ticks::NEVER, &mut events);
    let Some(Event::Disk(Token(1), DiskOutcome::Written(Err(e)))) = events.pop() else { panic!("no error") };
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn operations_on_a_file_of_another_world_fail() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    ring.sync(&File::new(0u8), Token(3));
    ring.background(FileJob::Allocate(File::new(0u8), 1), Token(4));
    let mut events = Vec::new();
    while events.len() < 2 {
        ring.turn(Ticks::NEVER, &mut events);
    }
    assert!(matches!(&events[0], Event::Disk(Token(3), DiskOutcome::Synced(Err(_)))));
    assert!(matches!(&events[1], Event::Disk(Token(4), DiskOutcome::Job(Err::<FileJobOutcome, _>(_)))));
}

fn accept(ring: &mut Ring<()>, address: std::net::SocketAddr) -> (ConnId, std::net::TcpStream) {
    let client = std::net::TcpStream::connect(address).unwrap();
    let mut events = Vec::new();
    loop {
        ring.turn(Ticks::NEVER, &mut events);
        for event in events.drain(..) {
            if let Event::Socket(SocketEvent::Accepted(_, socket)) = event {
                return (ring.adopt(socket).unwrap(), client);
            }
        }
    }
}

/// Requests are slices of receive buffers, which must not be filled again under them; nor may they keep too many.
#[test]
fn what_was_received_stays_while_it_is_needed() {
    const TOTAL: usize = 3 * RECEIVE_BUFFERS_KEPT_MAX / 2 * RECEIVE_BUFFER_BYTES;
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let (_, address) = ring.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (conn, mut client) = accept(&mut ring, address);
    let sender = thread::spawn(move || {
        for at in (0..TOTAL).step_by(1 << 16) {
            let words: Vec<u8> = (at..at + (1 << 16)).step_by(8).flat_map(usize::to_ne_bytes).collect();
            client.write_all(&words).unwrap();
        }
        client
    });
    let (mut held, mut len, mut events) = (Vec::new(), 0, Vec::new());
    while len < TOTAL {
        ring.turn(Ticks::NEVER, &mut events);
        for event in events.drain(..) {
            let Event::Socket(SocketEvent::Received(c, bytes)) = event else { panic!("not bytes") };
            assert_eq!(c, conn);
            len += bytes.len();
            held.push(bytes);
        }
    }
    drop(sender.join().unwrap());
    for (at, byte) in held.into_iter().flatten().enumerate() {
        assert_eq!(byte, (at & !7).to_ne_bytes()[at & 7], "byte {at}");
    }
    // Connections that end without a byte use no buffer up.
    for _ in 0..3 * RECEIVE_BUFFERS {
        drop(accept(&mut ring, address));
    }
    let (conn, mut client) = accept(&mut ring, address);
    client.write_all(b"last").unwrap();
    loop {
        ring.turn(Ticks::NEVER, &mut events);
        for event in events.drain(..) {
            if let Event::Socket(SocketEvent::Received(c, bytes)) = event {
                assert_eq!((c, &bytes[..]), (conn, &b"last"[..]));
                return;
            }
        }
    }
}
