//! What `Ring` promises holds in a simulated world too, and the world does the same for the same
//! seed.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use ring::{
    Event, File, FileDone, FileOp, OpenOptions, Ring, RingConfig, SendBatch, Token,
    sim::{Crash, DiskFaults, Machine, World},
};
use ringseed_ring as ring;
use std::{path::Path, rc::Rc, time::Duration};

const LISTEN: &str = "10.0.0.1:6881";

fn config() -> RingConfig {
    RingConfig { recv_buffer_length: 4096, recv_buffer_count: 16, ..RingConfig::default() }
}

fn machine(world: &World, number: u8) -> (Machine, Ring) {
    let machine = world.add_machine([10, 0, 0, number].into(), 1 << 30);
    (machine, world.ring(machine, &config()).unwrap().1)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

fn batch(bytes: &[u8]) -> SendBatch {
    let mut batch = SendBatch::default();
    batch.push_bytes(bytes);
    batch
}

/// Lets time pass one step for both rings.
fn step(world: &World, rings: [&mut Ring; 2]) -> Vec<Event> {
    let next = world.next().expect("something is to come");
    world.advance(next);
    let mut events = Vec::new();
    for ring in rings {
        ring.wait(Some(Duration::ZERO), &mut events).unwrap();
    }
    events
}

/// One ring sends to another; what came, and the digest of it all.
fn transfer(seed: u64, length: usize) -> (Vec<u8>, u64) {
    let world = World::new(seed).unwrap();
    world.schedule_by_hand();
    let ((_, mut server), (_, mut client)) = (machine(&world, 1), machine(&world, 2));
    server.listen(LISTEN.parse().unwrap()).unwrap();
    client.connect(LISTEN.parse().unwrap(), None).unwrap();
    let (mut got, mut sent) = (Vec::new(), false);
    loop {
        for event in step(&world, [&mut server, &mut client]) {
            match event {
                Event::Connected { conn } => client.send(conn, batch(&pattern(length))),
                Event::Received { data, .. } => got.extend_from_slice(&data),
                Event::Sent { conn, bytes } => {
                    assert_eq!(bytes, length as u64);
                    sent = true;
                    client.close(conn);
                }
                Event::Closed { .. } => {
                    assert!(sent, "the end comes behind what was sent");
                    return (got, world.digest());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn bytes_arrive_in_order_and_once_and_the_seed_decides_when() {
    let (got, digest) = transfer(7, 3_000_000);
    assert!(got == pattern(3_000_000));
    assert_eq!(transfer(7, 3_000_000).1, digest);
    assert_ne!(transfer(8, 3_000_000).1, digest);
}

#[test]
fn nobody_listens_and_the_connection_is_refused() {
    let world = World::new(1).unwrap();
    let ((_, _server), (_, mut client)) = (machine(&world, 1), machine(&world, 2));
    let conn = client.connect(LISTEN.parse().unwrap(), None).unwrap();
    let mut events = Vec::new();
    client.wait(None, &mut events).unwrap();
    let Some(Event::Closed { conn: which, result }) = events.pop() else { panic!("{events:?}") };
    assert_eq!(which, conn);
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_socket_is_handed_from_one_ring_to_another_without_losing_bytes() {
    let world = World::new(3).unwrap();
    let (host, mut first) = machine(&world, 1);
    let mut second = world.ring(host, &config()).unwrap().1;
    let (_, mut client) = machine(&world, 2);
    first.listen(LISTEN.parse().unwrap()).unwrap();
    let conn = client.connect(LISTEN.parse().unwrap(), None).unwrap();
    let mut events = Vec::new();
    client.wait(None, &mut events).unwrap();
    client.send(conn, batch(b"hello world"));
    let mut socket = None;
    while socket.is_none() {
        first.wait(None, &mut events).unwrap();
        for event in events.drain(..) {
            match event {
                Event::Accepted { conn, .. } => first.detach(conn),
                Event::Detached { socket: gone, .. } => socket = Some(gone),
                _ => {}
            }
        }
    }
    second.adopt(socket.unwrap()).unwrap();
    let mut got = Vec::new();
    while got.len() < 11 {
        second.wait(None, &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Received { data, .. } = event {
                got.extend_from_slice(&data);
            }
        }
    }
    assert_eq!(got, b"hello world");
}

#[test]
fn a_wait_takes_virtual_time_only() {
    let world = World::new(1).unwrap();
    let (_, mut ring) = machine(&world, 1);
    let mut events = Vec::new();
    let began = std::time::Instant::now();
    ring.wait(Some(Duration::from_secs(3600)), &mut events).unwrap();
    assert_eq!(ring.now(), Duration::from_secs(3600));
    assert!(began.elapsed() < Duration::from_secs(60));
    ring.waker().wake();
    ring.wait(None, &mut events).unwrap();
    assert!(matches!(events.as_slice(), [Event::Woken]));
}

fn file(ring: &mut Ring, op: FileOp) -> FileDone {
    ring.submit(op, Token(7));
    let mut events = Vec::new();
    while events.is_empty() {
        ring.wait(None, &mut events).unwrap();
    }
    let Some(Event::File(done)) = events.pop() else { panic!("{events:?}") };
    assert_eq!(done.token, Token(7));
    done
}

fn write(ring: &mut Ring, file_of: &File, offset: u64, bytes: &[u8]) -> FileDone {
    let mut buf = ring.buffers().get(bytes.len());
    buf.copy_from_slice(bytes);
    let (source, range) = (Rc::new(buf), 0..bytes.len());
    file(ring, FileOp::Write { file: file_of.clone(), offset, source, range })
}

#[test]
fn files_are_made_written_read_synced_and_renamed() {
    let world = World::new(5).unwrap();
    let (host, mut ring) = machine(&world, 1);
    let path = Path::new("/a/b/data").to_path_buf();
    let open = |options| FileOp::Open { path: path.clone(), options };
    file(&mut ring, FileOp::MakeDir { path: "/a/b".into() }).result.unwrap();
    let missing = file(&mut ring, open(OpenOptions::READ)).result.unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    let handle = file(&mut ring, open(OpenOptions::WRITE)).file.unwrap();
    assert_eq!(world.open_files(host), 1);
    assert_eq!(write(&mut ring, &handle, 5, &pattern(100_000)).result.unwrap(), 100_000);
    file(&mut ring, FileOp::SyncData { file: handle.clone() }).result.unwrap();
    let buf = ring.buffers().get(200_000);
    let read = FileOp::Read { file: handle.clone(), offset: 5, buf, length: 200_000 };
    let done = file(&mut ring, read);
    assert_eq!(done.result.unwrap(), 100_000, "a read ends at the end of the file");
    assert_eq!(done.buf.unwrap()[..100_000], pattern(100_000));
    file(&mut ring, FileOp::Truncate { file: handle.clone(), length: 50 }).result.unwrap();
    let stat = file(&mut ring, FileOp::Stat { path: path.clone() }).stat.unwrap();
    assert_eq!((stat.length, stat.is_file), (50, true));
    file(&mut ring, FileOp::Rename { from: path, to: "/a/c".into() }).result.unwrap();
    assert_eq!(world.paths(host), [Path::new("/a/c")]);
    file(&mut ring, FileOp::Unlink { path: "/a/c".into() }).result.unwrap();
    drop(handle);
    assert_eq!((world.paths(host).len(), world.open_files(host)), (0, 0));
}

#[test]
fn a_crash_keeps_what_was_synced_and_the_ring_says_no_more() {
    let world = World::new(9).unwrap();
    let (host, mut ring) = machine(&world, 1);
    let path = Path::new("/data");
    let open = FileOp::Open { path: path.into(), options: OpenOptions::WRITE };
    let handle = file(&mut ring, open).file.unwrap();
    write(&mut ring, &handle, 0, &[1; 1000]).result.unwrap();
    file(&mut ring, FileOp::SyncData { file: handle.clone() }).result.unwrap();
    let folder = FileOp::Open { path: "/".into(), options: OpenOptions::READ };
    let folder = file(&mut ring, folder).file.unwrap();
    file(&mut ring, FileOp::SyncAll { file: folder }).result.unwrap();
    ring.submit(FileOp::SyncData { file: handle }, Token(1));
    world.crash(host, Crash::Power);
    let mut events = Vec::new();
    ring.wait(Some(Duration::from_secs(9)), &mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(world.content(host, path).unwrap(), [1; 1000]);
}

#[test]
fn what_a_disk_does_in_parts_is_told_as_a_whole() {
    let world = World::new(21).unwrap();
    let (host, mut ring) = machine(&world, 1);
    let open = FileOp::Open { path: "/data".into(), options: OpenOptions::WRITE };
    let handle = file(&mut ring, open).file.unwrap();
    let whole = DiskFaults::default();
    world.set_disk_faults(host, DiskFaults { short: 800_000, ..whole.clone() });
    for round in 0..20 {
        let (offset, bytes) = (round * 10_000, pattern(50_000 + round as usize));
        assert_eq!(write(&mut ring, &handle, offset, &bytes).result.unwrap(), bytes.len());
        let buf = ring.buffers().get(bytes.len() + 9);
        let read = FileOp::Read { file: handle.clone(), offset, buf, length: bytes.len() + 9 };
        let done = file(&mut ring, read);
        assert_eq!(done.result.unwrap(), bytes.len(), "up to the end of the file");
        assert_eq!(done.buf.unwrap()[..bytes.len()], bytes);
    }
    // What has no room in the middle of it fails as a whole.
    world.set_disk_capacity(host, 300_000);
    assert!(write(&mut ring, &handle, 0, &pattern(400_000)).result.is_err());
    // A crash finds it in the middle.
    world.set_disk_capacity(host, 1 << 30);
    let (source, range) = (Rc::new(ring.buffers().get(400_000)), 0..400_000);
    let op = FileOp::Write { file: handle, offset: 0, source, range };
    ring.submit(op, Token(1));
    ring.wait(Some(Duration::from_millis(6)), &mut Vec::new()).unwrap();
    world.crash(host, Crash::Process);
    let length = world.content(host, Path::new("/data")).unwrap().len();
    assert!(length <= 400_000, "{length}");
}

#[test]
fn a_disk_fails_as_often_as_it_is_told_to() {
    let world = World::new(11).unwrap();
    let (host, mut ring) = machine(&world, 1);
    let open = FileOp::Open { path: "/data".into(), options: OpenOptions::WRITE };
    let handle = file(&mut ring, open).file.unwrap();
    world.set_disk_faults(host, DiskFaults { errors: 500_000, ..DiskFaults::default() });
    let failed =
        (0..100).filter(|_| write(&mut ring, &handle, 0, &[1; 10]).result.is_err()).count();
    assert!((20..80).contains(&failed), "{failed}");
}
