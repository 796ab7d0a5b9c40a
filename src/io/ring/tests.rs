use super::*;
use crate::base::limits::{
    BLOCK_BYTES, FIXED_BYTES_MIN, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_KEPT_MAX,
    REGION_BYTES, REGIONS_FREE_MAX,
};
use crate::io::world::{FileJobOutcome, SocketEvent};
use crate::io::{AlignedBuf, OpenMode};
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

/// Writes noise of so many bytes at an offset and reads it back.
fn there_and_back(ring: &mut Ring<()>, file: &File, offset: u64, len: usize, seed: u64) {
    let mut random = crate::base::prng::Prng::new(seed);
    let mut buf = AlignedBuf::with_capacity(len);
    while buf.remaining() > 0 {
        buf.extend_from_slice(&random.next_u64().to_ne_bytes());
    }
    let bytes = buf.freeze();
    ring.write(file, offset, bytes.clone(), Token(1));
    let mut events = Vec::new();
    while events.is_empty() {
        ring.turn(Ticks::NEVER, &mut events);
    }
    let Some(Event::Disk(Token(1), DiskOutcome::Written(Ok(())))) = events.pop() else {
        panic!("not written")
    };
    ring.read(file, offset, len, Token(2));
    while events.is_empty() {
        ring.turn(Ticks::NEVER, &mut events);
    }
    let Some(Event::Disk(Token(2), DiskOutcome::Read(Ok(read)))) = events.pop() else { panic!("not read") };
    assert!(read == bytes, "{len} bytes at {offset}");
}

fn new_file(ring: &mut Ring<()>, dir: &tempfile::TempDir) -> File {
    ring.files().open(&dir.path().join("f"), OpenMode::DirectCreate).unwrap()
}

#[test]
fn large_reads_and_writes_use_registered_memory_and_others_do_not() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let dir = tempfile::tempdir_in("target").unwrap();
    let file = new_file(&mut ring, &dir);
    let block = BLOCK_BYTES as u64;
    let mut check = |offset, len, expected, what: &str| {
        let before = ring.reactor.fixed.operations;
        there_and_back(&mut ring, &file, offset, len, offset + len as u64);
        assert_eq!(ring.reactor.fixed.operations - before, expected, "{what}");
    };
    check(0, FIXED_BYTES_MIN, 2, "large");
    check(0, FIXED_BYTES_MIN - BLOCK_BYTES, 0, "small");
    check(FIXED_BYTES_MIN as u64, FIXED_BYTES_MIN, 2, "large");
    check(2 * FIXED_BYTES_MIN as u64 - block, FIXED_BYTES_MIN + BLOCK_BYTES, 2, "in two parts");
    check(0, REGION_BYTES + BLOCK_BYTES, 0, "in no region");
    drop(ring);
    let mut next = Ring::<()>::new(&remote, ShardId(0)).unwrap();
    there_and_back(&mut next, &file, 0, FIXED_BYTES_MIN, 7);
    assert_eq!(next.reactor.fixed.operations, 2, "the next ring has its own table");
}

#[test]
fn unmapped_regions_leave_the_table_and_new_ones_are_their_own() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    let dir = tempfile::tempdir_in("target").unwrap();
    let file = new_file(&mut ring, &dir);
    for round in 0..3 {
        let held: Vec<AlignedBuf> = (0..=REGIONS_FREE_MAX)
            .map(|_| AlignedBuf::with_capacity(REGION_BYTES - FIXED_BYTES_MIN))
            .collect();
        // The rest of each region, and some more.
        for i in 0..=REGIONS_FREE_MAX as u64 {
            there_and_back(&mut ring, &file, i * FIXED_BYTES_MIN as u64, FIXED_BYTES_MIN, round * 100 + i);
        }
        drop(held);
        ring.turn(ring.now(), &mut Vec::new());
        let (taken, left) = memory::places();
        assert!(taken <= REGIONS_FREE_MAX + 1 && left == 0, "{taken} taken, {left} left");
        assert!(taken > 0);
    }
}

/// Without the capability that root has, registered memory counts as locked.
#[test]
fn without_lockable_memory_everything_goes_on_unregistered() {
    thread::spawn(|| {
        #[repr(C)]
        struct Header(u32, i32);
        let mut sets = [[0u32; 3]; 2];
        let header = Header(0x2008_0522, 0); // version 3, this thread
        // SAFETY: a header and two sets, as version 3 has them.
        let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) };
        assert_eq!(got, 0);
        sets[0][0] &= !(1 << 14); // CAP_IPC_LOCK, effective
        // SAFETY: as above.
        let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
        assert_eq!(set, 0);
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a limit to write to.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) }, 0);
        let old = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_cur.min(32 << 20);
        // SAFETY: a limit to read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
        let remote: Remote<()> = Remote::new(1).unwrap();
        let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
        let dir = tempfile::tempdir_in("target").unwrap();
        let file = new_file(&mut ring, &dir);
        let regions = (limit.rlim_cur as usize >> 20) / 4 + 2;
        let mut held = Vec::new();
        for seed in 0..regions as u64 {
            there_and_back(&mut ring, &file, 0, REGION_BYTES / 2, seed);
            held.push(AlignedBuf::with_capacity(REGION_BYTES)); // what was free is taken
            held.push(AlignedBuf::with_capacity(REGION_BYTES / 2));
        }
        assert!(ring.reactor.fixed.operations < 2 * regions as u64, "not every region was registered");
        limit.rlim_cur = old;
        // SAFETY: a limit to read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    })
    .join()
    .unwrap();
}

/// Turns until the send has ended and nothing of it is held.
fn sent_and_noticed(ring: &mut Ring<()>, conn: ConnId) {
    let (mut events, mut sent) = (Vec::new(), false);
    while !sent || ring.reactor.notice_bytes > 0 {
        ring.turn(ring.now().plus_ms(10), &mut events);
        for event in events.drain(..) {
            assert!(matches!(event, Event::Socket(SocketEvent::Sent(c)) if c == conn));
            sent = true;
        }
    }
}

#[test]
fn what_is_sent_without_a_copy_is_held_until_the_kernel_has_read_it() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    ring.send_without_copy(1000);
    let (_, address) = ring.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (conn, mut client) = accept(&mut ring, address);
    let expected: Vec<u8> = (0..3_000_000u32 / 4).flat_map(u32::to_ne_bytes).collect();
    let reply = Bytes::from(expected.clone());
    let pieces = || (0..3000).map(|i| reply.slice(i * 1000..(i + 1) * 1000));
    let reader = thread::spawn(move || {
        let mut all = vec![0; 6_000_005];
        client.read_exact(&mut all).unwrap();
        (all, client)
    });
    // More parts than one message may have, and more bytes than the socket holds.
    ring.send(conn, &mut pieces().collect());
    sent_and_noticed(&mut ring, conn);
    assert!(ring.reactor.sent_without_copy > 0);
    let before = ring.reactor.sent_without_copy;
    // Loopback copies, as the kernel said: this connection goes on with copies, and so do small replies anyway.
    ring.send(conn, &mut pieces().collect());
    sent_and_noticed(&mut ring, conn);
    ring.send(conn, &mut vec![Bytes::from_static(b"small")]);
    sent_and_noticed(&mut ring, conn);
    assert_eq!(ring.reactor.sent_without_copy, before);
    assert!(reply.is_unique(), "nothing is held");
    let (all, _client) = reader.join().unwrap();
    assert!(all[..3_000_000] == expected[..] && all[3_000_000..6_000_000] == expected[..]);
    assert_eq!(all[6_000_000..], *b"small");
}

#[test]
fn a_send_without_a_copy_ends_with_its_connection_and_with_its_ring() {
    let remote: Remote<()> = Remote::new(1).unwrap();
    let mut ring = Ring::new(&remote, ShardId(0)).unwrap();
    ring.send_without_copy(1);
    let (_, address) = ring.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let reply = Bytes::from(vec![7; 32 << 20]); // more than a socket takes
    // Closed by us, closed by the client, and neither when the ring ends.
    let (ours, mut client) = accept(&mut ring, address);
    ring.send(ours, &mut vec![reply.clone()]);
    ring.turn(ring.now(), &mut Vec::new());
    ring.close(ours);
    let mut rest = Vec::new();
    let reader = thread::spawn(move || client.read_to_end(&mut rest).map(|n| (n, rest)));
    let (theirs, gone) = accept(&mut ring, address);
    ring.send(theirs, &mut vec![reply.clone()]);
    ring.turn(ring.now(), &mut Vec::new());
    drop(gone);
    while ring.reactor.conns.len() + ring.reactor.notice_bytes > 0 {
        ring.turn(ring.now().plus_ms(10), &mut Vec::new());
    }
    if let Ok((n, rest)) = reader.join().unwrap() {
        assert!(n < reply.len() && rest.iter().all(|byte| *byte == 7));
    }
    assert!(reply.is_unique(), "nothing is held");
    let (last, client) = accept(&mut ring, address);
    ring.send(last, &mut vec![reply.clone()]);
    ring.turn(ring.now(), &mut Vec::new());
    assert!(ring.reactor.sent_without_copy > 0);
    drop(ring);
    drop(client);
}
