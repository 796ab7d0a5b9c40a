//! One script for every world: what the rooms above rely on must hold in the real and in the simulated one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::ring::{Remote, Ring};
use super::sim::{Sim, SimClient, SimConfig, SimWorld};
use super::*;
use crate::base::limits::{BLOCK_BYTES, FILE_NAME_BYTES_MAX};
use crate::base::{ShardId, Ticks};

/// What the script needs of a machine besides its worlds.
trait Machine {
    type World: World<u64>;
    /// A simulation lets a job's panic through, to the test.
    const CATCHES_PANICS: bool;
    fn new(shards: usize) -> Self;
    fn worlds(&self) -> Vec<Self::World>;
    fn dir(&self) -> PathBuf;
    /// Called when no world had an event.
    fn idle(&self);
    fn connect(&self, to: SocketAddr) -> Box<dyn Client>;
    fn post(&self, to: ShardId, mail: u64);
    fn stop(&self);
}

/// A client's end of a connection.
trait Client {
    /// Sends some of the bytes; how many.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// What has arrived; None when the other side has closed.
    fn receive(&mut self) -> Option<Vec<u8>>;
    fn close(self: Box<Self>);
}

struct Real {
    remote: Remote<u64>,
    dir: tempfile::TempDir,
}

impl Machine for Real {
    type World = Ring<u64>;
    const CATCHES_PANICS: bool = true;
    fn new(shards: usize) -> Real {
        Real { remote: Remote::new(shards).unwrap(), dir: tempfile::tempdir_in("target").unwrap() }
    }
    fn worlds(&self) -> Vec<Ring<u64>> {
        (0..self.remote.shards()).map(|i| Ring::new(&self.remote, ShardId(i as u16)).unwrap()).collect()
    }
    fn dir(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }
    fn idle(&self) {}
    fn connect(&self, to: SocketAddr) -> Box<dyn Client> {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nonblocking(true).unwrap();
        Box::new(stream)
    }
    fn post(&self, to: ShardId, mail: u64) {
        let remote = self.remote.clone();
        std::thread::spawn(move || remote.post(to, mail)).join().unwrap();
    }
    fn stop(&self) {
        self.remote.stop();
    }
}

impl Client for TcpStream {
    fn send(&mut self, bytes: &[u8]) -> usize {
        self.write(bytes).unwrap_or(0)
    }
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buf = vec![0; 1 << 16];
        match self.read(&mut buf) {
            Ok(0) => None,
            Ok(n) => Some(buf[..n].to_vec()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Some(Vec::new()),
            Err(_) => None,
        }
    }
    fn close(self: Box<Self>) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

struct Simulated {
    sim: Sim<u64>,
    shards: usize,
}

impl Machine for Simulated {
    type World = SimWorld<u64>;
    const CATCHES_PANICS: bool = false;
    fn new(shards: usize) -> Simulated {
        let sim = Sim::new(SimConfig::new(11, shards));
        sim.disk().create_dir_all(Path::new("/data")).unwrap();
        Simulated { sim, shards }
    }
    fn worlds(&self) -> Vec<SimWorld<u64>> {
        (0..self.shards).map(|i| self.sim.world(ShardId(i as u16))).collect()
    }
    fn dir(&self) -> PathBuf {
        "/data".into()
    }
    fn idle(&self) {
        self.sim.step(Ticks::NEVER);
    }
    fn connect(&self, to: SocketAddr) -> Box<dyn Client> {
        let client = self.sim.connect("10.0.0.1:1000".parse().unwrap(), to);
        Box::new((self.sim.clone(), client))
    }
    fn post(&self, to: ShardId, mail: u64) {
        self.sim.post(to, mail);
    }
    fn stop(&self) {
        self.sim.stop();
    }
}

impl Client for (Sim<u64>, SimClient) {
    fn send(&mut self, bytes: &[u8]) -> usize {
        self.0.client_send(self.1, Bytes::copy_from_slice(bytes));
        bytes.len()
    }
    fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.client_receive(self.1)
    }
    fn close(self: Box<Self>) {
        self.0.client_close(self.1);
    }
}

/// The worlds of a machine, run round and round.
struct Run<T: Machine> {
    machine: T,
    worlds: Vec<T::World>,
    events: Vec<(usize, Event<u64>)>,
}

impl<T: Machine> Run<T> {
    fn new(shards: usize) -> Run<T> {
        let machine = T::new(shards);
        let worlds = machine.worlds();
        Run { machine, worlds, events: Vec::new() }
    }

    /// One turn of each world.
    fn round(&mut self) {
        let mut some = false;
        for (i, world) in self.worlds.iter_mut().enumerate() {
            let mut events = Vec::new();
            world.turn(world.now().plus_ms(1), &mut events);
            some |= !events.is_empty();
            self.events.extend(events.into_iter().map(|e| (i, e)));
        }
        if !some {
            self.machine.idle();
        }
    }

    /// Rounds until an event that `wanted` takes.
    fn until<R>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(usize, Event<u64>) -> Result<R, Event<u64>>,
    ) -> R {
        for _ in 0..20_000 {
            let mut found = None;
            for (i, event) in std::mem::take(&mut self.events) {
                if found.is_some() {
                    self.events.push((i, event));
                    continue;
                }
                match wanted(i, event) {
                    Ok(value) => found = Some(value),
                    Err(event) => self.events.push((i, event)),
                }
            }
            if let Some(found) = found {
                return found;
            }
            self.round();
        }
        panic!("never came: {what}");
    }

    fn disk(&mut self, token: u64) -> DiskOutcome {
        self.until(&format!("disk operation {token}"), |_, event| match event {
            Event::Disk(Token(t), outcome) if t == token => Ok(outcome),
            other => Err(other),
        })
    }

    fn job(&mut self, job: FileJob) -> std::io::Result<FileJobOutcome> {
        self.worlds[0].background(job, Token(77));
        let DiskOutcome::Job(result) = self.disk(77) else { panic!("no job") };
        result
    }

    fn listen(&mut self) -> (ListenerId, SocketAddr) {
        self.worlds[0].listen("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    fn accept(&mut self) -> Socket {
        self.until("a connection", |_, event| match event {
            Event::Socket(SocketEvent::Accepted(_, socket)) => Ok(socket),
            other => Err(other),
        })
    }

    fn received(&mut self, conn: ConnId, len: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < len {
            let more = self.until("bytes", |_, event| match event {
                Event::Socket(SocketEvent::Received(c, bytes)) if c == conn => Ok(bytes),
                other => Err(other),
            });
            assert!(!more.is_empty());
            got.extend_from_slice(&more);
        }
        got
    }

    fn closed(&mut self, conn: ConnId) -> std::io::Result<()> {
        self.until("the end", |_, event| match event {
            Event::Socket(SocketEvent::Closed(c, how)) if c == conn => Ok(how),
            other => Err(other),
        })
    }

    /// Waits for an event of a connection that is as wanted; true if the connection was closed instead.
    fn ends(&mut self, conn: ConnId, wanted: impl Fn(&SocketEvent) -> bool) -> bool {
        self.until("the peer's end", |_, event| match event {
            Event::Socket(SocketEvent::Closed(c, _)) if c == conn => Ok(true),
            Event::Socket(event) if wanted(&event) => Ok(false),
            other => Err(other),
        })
    }

    fn sent(&mut self, conn: ConnId) {
        self.until("a send's end", |_, event| match event {
            Event::Socket(SocketEvent::Sent(c)) if c == conn => Ok(()),
            other => Err(other),
        });
    }

    fn send_all(&mut self, client: &mut dyn Client, bytes: &[u8]) {
        let mut done = 0;
        for _ in 0..20_000 {
            done += client.send(&bytes[done..]);
            if done == bytes.len() {
                return;
            }
            self.round();
        }
        panic!("could not send");
    }

    fn client_gets(&mut self, client: &mut dyn Client, len: usize) -> Vec<u8> {
        let mut got = Vec::new();
        for _ in 0..20_000 {
            got.extend(client.receive().expect("open"));
            if got.len() >= len {
                return got;
            }
            self.round();
        }
        panic!("only {} of {len} bytes came", got.len());
    }

    fn client_sees_end(&mut self, client: &mut dyn Client) {
        for _ in 0..20_000 {
            if client.receive().is_none() {
                return;
            }
            self.round();
        }
        panic!("never closed");
    }
}

fn blocks(fill: u8, count: usize) -> Bytes {
    let mut b = AlignedBuf::with_capacity(count * BLOCK_BYTES);
    b.set_len(count * BLOCK_BYTES);
    b.as_mut_slice().fill(fill);
    b.freeze()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut prng = crate::base::prng::Prng::new(seed);
    (0..len).map(|_| prng.next_u64() as u8).collect()
}

fn disk<T: Machine>() {
    let mut run = Run::<T>::new(1);
    let dir = run.machine.dir();
    let path = dir.join("segment");
    let block = BLOCK_BYTES as u64;
    let missing = run.job(FileJob::Open { path: path.clone(), mode: OpenMode::Direct, allocate: 0 });
    assert_eq!(missing.err().unwrap().kind(), std::io::ErrorKind::NotFound);
    let open = FileJob::Open { path: path.clone(), mode: OpenMode::DirectCreate, allocate: 8 * block };
    let Ok(FileJobOutcome::Opened(file)) = run.job(open) else { panic!("not opened") };
    assert_eq!(run.worlds[0].files().len(&file).unwrap(), 8 * block);

    // Writes in flight together, then a flush, then reads: inside, at the end, past it.
    let world = &mut run.worlds[0];
    world.write(&file, 0, blocks(b'a', 2), Token(1));
    world.write(&file, 2 * block, blocks(b'b', 1), Token(2));
    for token in [1, 2] {
        assert!(matches!(run.disk(token), DiskOutcome::Written(Ok(()))));
    }
    run.worlds[0].sync(&file, Token(3));
    assert!(matches!(run.disk(3), DiskOutcome::Synced(Ok(()))));
    let mut read = |offset: u64, len: usize| {
        run.worlds[0].read(&file, offset, len, Token(4));
        let DiskOutcome::Read(Ok(bytes)) = run.disk(4) else { panic!("not read") };
        bytes
    };
    let got = read(block, 2 * BLOCK_BYTES);
    assert!(got[..BLOCK_BYTES].iter().all(|b| *b == b'a') && got[BLOCK_BYTES..].iter().all(|b| *b == b'b'));
    assert_eq!(got.len(), 2 * BLOCK_BYTES);
    assert_eq!(read(7 * block, 4 * BLOCK_BYTES).len(), BLOCK_BYTES, "fewer at the end");
    assert_eq!(read(8 * block, BLOCK_BYTES).len(), 0, "nothing past the end");

    // From the block that was written last on: one write, whatever becomes of it on the way.
    run.worlds[0].write(&file, 2 * block, blocks(b'c', 4), Token(4));
    assert!(matches!(run.disk(4), DiskOutcome::Written(Ok(()))));
    run.worlds[0].read(&file, 0, 8 * BLOCK_BYTES, Token(4));
    let DiskOutcome::Read(Ok(got)) = run.disk(4) else { panic!("not read") };
    let expected = [(b'a', 2), (b'c', 4), (0, 2)].map(|(fill, count)| blocks(fill, count));
    assert!(got == expected.concat(), "in its place");

    // A length within a block.
    assert!(matches!(run.job(FileJob::SetLen(file.clone(), block + 10)), Ok(FileJobOutcome::Done)));
    run.worlds[0].read(&file, 0, 4 * BLOCK_BYTES, Token(5));
    let DiskOutcome::Read(Ok(got)) = run.disk(5) else { panic!("not read") };
    assert_eq!(got.len(), BLOCK_BYTES + 10);

    // Jobs run in order, and say what went wrong.
    let moved = dir.join("moved");
    run.worlds[0].background(FileJob::Allocate(file.clone(), 16 * block), Token(6));
    run.worlds[0].background(FileJob::Rename(path.clone(), moved.clone()), Token(7));
    let asked = moved.clone();
    let work = move |files: &dyn Files| Ok(Box::new(files.exists(&asked)) as Box<dyn std::any::Any + Send>);
    run.worlds[0].background(FileJob::Run(Box::new(work)), Token(8));
    run.worlds[0].background(FileJob::RemoveFile(moved.clone()), Token(9));
    run.worlds[0].background(FileJob::RemoveFile(moved.clone()), Token(10));
    run.worlds[0].background(FileJob::Rename(path, moved.clone()), Token(11));
    for token in [6, 7] {
        assert!(matches!(run.disk(token), DiskOutcome::Job(Ok(FileJobOutcome::Done))));
    }
    let DiskOutcome::Job(Ok(FileJobOutcome::Ran(value))) = run.disk(8) else { panic!("did not run") };
    assert!(*value.downcast::<bool>().unwrap());
    for token in [9, 10] {
        assert!(matches!(run.disk(token), DiskOutcome::Job(Ok(FileJobOutcome::Done))));
    }
    let DiskOutcome::Job(Err(e)) = run.disk(11) else { panic!("renamed nothing") };
    assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
    let named = |length: usize| dir.join("n".repeat(length));
    assert!(run.job(FileJob::WriteAtomic(dir.join("kept"), Vec::new())).is_ok());
    let (longest, longer) = (named(FILE_NAME_BYTES_MAX), named(FILE_NAME_BYTES_MAX + 1));
    assert!(run.job(FileJob::Rename(dir.join("kept"), longest.clone())).is_ok());
    let refused = run.job(FileJob::Rename(longest.clone(), longer)).err().unwrap();
    assert_eq!(refused.raw_os_error(), Some(libc::ENAMETOOLONG));
    assert!(run.job(FileJob::RemoveFile(longest)).is_ok());
    let panics = FileJob::Run(Box::new(|_| panic!("on purpose")));
    if T::CATCHES_PANICS {
        assert!(run.job(panics).err().unwrap().to_string().contains("on purpose"));
    }

    let small = dir.join("meta");
    assert!(run.job(FileJob::WriteAtomic(small.clone(), b"version=1".to_vec())).is_ok());
    assert_eq!(run.worlds[0].files().read(&small).unwrap(), b"version=1");
    assert!(run.job(FileJob::RemoveDirAll(dir.join("nothing"))).is_ok());
    let listed = run.worlds[0].files().list(Path::new(&dir)).unwrap();
    assert_eq!(listed.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["meta"]);
}

fn mail<T: Machine>() {
    let mut run = Run::<T>::new(3);
    let mut next = [[0u64; 3]; 3];
    for n in 0..200 {
        for from in 0..3 {
            for to in 0..3u16 {
                run.worlds[from].post(ShardId(to), n);
            }
        }
        if n % 7 == 0 {
            run.round();
        }
    }
    let mut left = 3 * 3 * 200;
    while left > 0 {
        for (to, event) in std::mem::take(&mut run.events) {
            let Event::Mail(from, n) = event else { panic!("not mail") };
            let expected = &mut next[usize::from(from.0)][to];
            assert_eq!(n, *expected, "order from {from:?} to {to}");
            *expected += 1;
            left -= 1;
        }
        run.round();
    }
    assert!(run.events.is_empty());
    run.machine.post(ShardId(2), 42);
    let got = run.until("mail from outside", |to, event| match event {
        Event::Mail(_, n) => Ok((to, n)),
        other => Err(other),
    });
    assert_eq!(got, (2, 42));
    run.machine.stop();
    let stopped = run.until("a stop", |to, e| if matches!(e, Event::Stop) { Ok(to) } else { Err(e) });
    assert_eq!(stopped, 0);
}

fn sockets<T: Machine>() {
    let mut run = Run::<T>::new(2);
    let (listener, address) = run.listen();
    assert_ne!(address.port(), 0);
    let mut client = run.machine.connect(address);
    let socket = run.accept();
    // Handed to another core, as when connections are spread.
    let conn = run.worlds[1].adopt(socket).unwrap();
    run.send_all(&mut *client, b"hello");
    assert_eq!(run.received(conn, 5), b"hello");
    run.worlds[1].send(conn, &mut vec![Bytes::from_static(b"wor"), Bytes::new(), Bytes::from_static(b"ld")]);
    run.sent(conn);
    assert_eq!(run.client_gets(&mut *client, 5), b"world");

    // A large frame: what comes after the pause goes into its own buffer, in order, then small ones again.
    let large = noise(600_000, 1);
    run.send_all(&mut *client, &large[..1000]);
    let mut got = run.received(conn, 1000);
    run.worlds[1].pause(conn);
    run.send_all(&mut *client, &large[1000..50_000]);
    for end in [50_000, 300_000, 600_000] {
        if end > 50_000 {
            // The client sends while we read, or it would wait for us.
            let mut sent = if end == 300_000 { 50_000 } else { 300_000 };
            let mut buffer = Vec::with_capacity(end - got.len());
            while got.len() < end {
                if buffer.capacity() > 0 {
                    run.worlds[1].recv_into(conn, std::mem::take(&mut buffer));
                }
                sent += client.send(&large[sent..end]);
                run.round();
                for (_, event) in std::mem::take(&mut run.events) {
                    match event {
                        Event::Socket(SocketEvent::Filled(c, mut filled)) if c == conn => {
                            got.append(&mut filled);
                            buffer = Vec::with_capacity(end - got.len());
                        }
                        Event::Socket(SocketEvent::Received(c, bytes)) if c == conn => {
                            got.extend_from_slice(&bytes);
                        }
                        _ => panic!("something else"),
                    }
                }
            }
        }
    }
    assert!(got == large, "the bytes in order");
    run.worlds[1].resume(conn);
    run.send_all(&mut *client, b"small again");
    assert_eq!(run.received(conn, 11), b"small again");

    // Many parts and more bytes than the socket holds, while the client reads late.
    let reply = Bytes::from(noise(3_000_000, 2));
    let mut parts: Vec<Bytes> = (0..3000).map(|i| reply.slice(i * 1000..(i + 1) * 1000)).collect();
    run.worlds[1].send(conn, &mut parts);
    assert!(parts.is_empty());
    for _ in 0..20 {
        run.round();
    }
    assert!(run.client_gets(&mut *client, reply.len()) == reply);
    run.sent(conn);

    // Either side may end it, which is told though nothing is read; an id is never used again.
    run.worlds[1].pause(conn);
    for _ in 0..5 {
        run.round();
    }
    run.worlds[1].watch(conn);
    client.close();
    if !run.ends(conn, |event| matches!(event, SocketEvent::Ending(_))) {
        run.worlds[1].resume(conn);
        if !run.ends(conn, |event| matches!(event, SocketEvent::Ended(_))) {
            assert!(run.worlds[1].transferred(conn) >= 3_000_000);
            run.worlds[1].close(conn);
            assert!(run.closed(conn).is_ok());
        }
    }
    let mut second = run.machine.connect(address);
    let socket = run.accept();
    let other = run.worlds[1].adopt(socket).unwrap();
    assert_ne!(other, conn);
    run.worlds[1].send(conn, &mut vec![Bytes::from_static(b"to nobody")]);
    run.worlds[1].close(conn);
    run.worlds[1].send(other, &mut vec![Bytes::from_static(b"bye")]);
    run.sent(other);
    run.worlds[1].close(other);
    assert!(run.closed(other).is_ok());
    assert_eq!(run.client_gets(&mut *second, 3), b"bye");
    run.client_sees_end(&mut *second);
    run.worlds[0].unlisten(listener);
    for _ in 0..20 {
        run.round();
    }
    assert!(run.events.is_empty(), "nothing follows the end");
}

fn time<T: Machine>() {
    let mut run = Run::<T>::new(1);
    let world = &mut run.worlds[0];
    let mut events = Vec::new();
    let start = world.now();
    world.turn(start.plus_ms(5), &mut events);
    assert!(events.is_empty() && world.now() >= start.plus_ms(5));
    assert!(world.wall_ms() > 1_700_000_000_000);
    world.post(ShardId(0), 1);
    world.turn(Ticks::NEVER, &mut events);
    assert!(matches!(events[..], [Event::Mail(ShardId(0), 1)]), "mail to itself ends the wait");
}

macro_rules! conform {
    ($machine:ident, $module:ident) => {
        mod $module {
            #[test]
            fn disk() {
                super::disk::<super::$machine>();
            }
            #[test]
            fn mail() {
                super::mail::<super::$machine>();
            }
            #[test]
            fn sockets() {
                super::sockets::<super::$machine>();
            }
            #[test]
            fn time() {
                super::time::<super::$machine>();
            }
        }
    };
}

conform!(Real, real);
conform!(Simulated, simulated);
