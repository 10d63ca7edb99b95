//! What `Ring` promises, checked on every driver.
#![allow(clippy::unwrap_used)]

use ring::{
    Buf, ConnId, DriverChoice, Event, FileDone, FileOp, OpenOptions, Ring, RingConfig, SendBatch,
    Token,
};
use ringseed_ring as ring;
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

fn drivers() -> Vec<DriverChoice> {
    match DriverChoice::from_env() {
        DriverChoice::Auto => vec![DriverChoice::Uring, DriverChoice::Mio],
        one => vec![one],
    }
}

fn ring(driver: DriverChoice) -> Ring {
    let config = RingConfig {
        driver,
        submission_entries: 8,
        recv_buffer_length: 4096,
        recv_buffer_count: 16,
        ..RingConfig::default()
    };
    Ring::new(config).expect("the driver starts")
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Waits until `done` says so, at most ten seconds.
fn run(ring: &mut Ring, mut done: impl FnMut(&mut Ring, Event) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline, "nothing happened for ten seconds");
        let mut events = Vec::new();
        ring.wait(Some(Duration::from_millis(100)), &mut events).unwrap();
        let mut finished = false;
        for event in events {
            finished |= done(ring, event);
        }
        if finished {
            return;
        }
    }
}

fn file(ring: &mut Ring, op: FileOp) -> FileDone {
    ring.submit(op, Token(7));
    let mut result = None;
    run(ring, |_, event| {
        if let Event::File(done) = event {
            assert_eq!(done.token, Token(7));
            result = Some(done);
        }
        result.is_some()
    });
    result.unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    let mut rng = fastrand(0x9e37_79b9);
    (0..length).map(|_| rng()).collect()
}

fn fastrand(mut state: u64) -> impl FnMut() -> u8 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    }
}

fn batch(bytes: &[u8]) -> SendBatch {
    let mut batch = SendBatch::default();
    batch.push_bytes(bytes);
    batch
}

#[test]
fn bytes_arrive_in_order_and_once_through_few_buffers() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let (_, addr) = ring.listen(any_port()).unwrap();
        let data = pattern(3_000_000);
        let sent = data.clone();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let sent = sent.clone();
                std::thread::spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(&sent).unwrap();
                })
            })
            .collect();
        let mut got: HashMap<ConnId, Vec<u8>> = HashMap::new();
        let mut ended = 0;
        run(&mut ring, |_, event| {
            match event {
                Event::Received { conn, data } => {
                    got.entry(conn).or_default().extend_from_slice(&data);
                }
                Event::Closed { result, .. } => {
                    result.unwrap();
                    ended += 1;
                }
                _ => {}
            }
            ended == 8
        });
        assert_eq!(got.len(), 8);
        assert!(got.values().all(|bytes| *bytes == data), "{driver:?}");
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
}

#[test]
fn a_batch_of_bytes_and_buffers_leaves_whole_and_is_reported() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let listener = TcpListener::bind(any_port()).unwrap();
        let addr = listener.local_addr().unwrap();
        let reader = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            // A slow start, so that the send fills the socket and has to go on later.
            std::thread::sleep(Duration::from_millis(100));
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let conn = ring.connect(addr, None).unwrap();
        let mut buf: Buf = ring.buffers().get(8_000_000);
        buf.copy_from_slice(&pattern(8_000_000));
        let buf = Rc::new(buf);
        let mut expected = Vec::new();
        run(&mut ring, |ring, event| match event {
            Event::Connected { conn: which } => {
                assert_eq!(which, conn);
                let mut batch = ring.batch();
                for part in 0..40 {
                    batch.push_bytes(&[part; 13]);
                    expected.extend_from_slice(&[part; 13]);
                    let range = usize::from(part) * 200_000..(usize::from(part) + 1) * 200_000;
                    expected.extend_from_slice(&buf[range.clone()]);
                    batch.push_buf(Rc::clone(&buf), range);
                }
                ring.send(conn, batch);
                false
            }
            Event::Sent { bytes, .. } => {
                assert_eq!(bytes, 8_000_000 + 40 * 13);
                true
            }
            Event::Closed { result, .. } => panic!("{result:?}"),
            _ => false,
        });
        drop(ring);
        assert!(reader.join().unwrap() == expected, "{driver:?}");
    }
}

#[test]
fn a_refused_connection_is_reported_as_closed() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let addr = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
        // mio may learn of the refusal in the call itself.
        let Ok(conn) = ring.connect(addr, None) else { continue };
        run(&mut ring, |_, event| match event {
            Event::Closed { conn: which, result } => {
                assert_eq!(which, conn);
                assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
                true
            }
            Event::Connected { .. } => panic!("connected to nobody"),
            _ => false,
        });
    }
}

#[test]
fn outgoing_connections_leave_from_the_address_that_was_asked_for() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let listener = TcpListener::bind(any_port()).unwrap();
        let from = "127.4.5.6:0".parse().unwrap();
        ring.connect(listener.local_addr().unwrap(), Some(from)).unwrap();
        run(&mut ring, |_, event| matches!(event, Event::Connected { .. }));
        assert_eq!(listener.accept().unwrap().1.ip(), from.ip());
    }
}

#[test]
fn nothing_is_heard_of_a_connection_after_close() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let (_, addr) = ring.listen(any_port()).unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        let mut closed = None;
        run(&mut ring, |ring, event| {
            if let Event::Accepted { conn, .. } = event {
                ring.close(conn);
                closed = Some(conn);
            }
            closed.is_some()
        });
        let _ = client.write_all(b"late");
        for _ in 0..5 {
            let mut events = Vec::new();
            ring.wait(Some(Duration::from_millis(10)), &mut events).unwrap();
            assert!(events.is_empty(), "{driver:?}: {events:?}");
        }
        let mut rest = Vec::new();
        // End of file or a reset, as the late bytes arrived before or after.
        let _ = client.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}

#[test]
fn a_peer_that_never_reads_can_be_closed_with_a_send_under_way() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let (_, addr) = ring.listen(any_port()).unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let big = Rc::new(ring.buffers().get(64 << 20));
        let mut conn = None;
        run(&mut ring, |ring, event| {
            if let Event::Accepted { conn: which, .. } = event {
                let mut batch = ring.batch();
                batch.push_buf(Rc::clone(&big), 0..64 << 20);
                ring.send(which, batch);
                conn = Some(which);
            }
            conn.is_some()
        });
        let mut events = Vec::new();
        ring.wait(Some(Duration::from_millis(50)), &mut events).unwrap();
        assert!(events.is_empty(), "{events:?}");
        ring.close(conn.unwrap());
        let start = Instant::now();
        drop(client);
        drop(ring);
        assert!(start.elapsed() < Duration::from_secs(1), "{driver:?}: the ring did not let go");
        assert_eq!(Rc::strong_count(&big), 1, "{driver:?}: the send still holds its bytes");
    }
}

#[test]
fn a_socket_is_handed_from_one_ring_to_another_without_losing_bytes() {
    for driver in drivers() {
        let (mut first, mut second) = (ring(driver), ring(driver));
        let (_, addr) = first.listen(any_port()).unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"hello ").unwrap();
        let mut got = Vec::new();
        let mut socket = None;
        run(&mut first, |ring, event| {
            match event {
                Event::Received { conn, data } => {
                    got.extend_from_slice(&data);
                    ring.detach(conn);
                }
                Event::Detached { socket: gone, .. } => socket = Some(gone),
                _ => {}
            }
            socket.is_some()
        });
        client.write_all(b"world").unwrap();
        let conn = second.adopt(socket.unwrap()).unwrap();
        assert_eq!(second.peer_addr(conn), Some(client.local_addr().unwrap()));
        run(&mut second, |_, event| {
            if let Event::Received { data, .. } = event {
                got.extend_from_slice(&data);
            }
            got.len() == 11
        });
        assert_eq!(got, b"hello world");
        second.send(conn, batch(b"answer"));
        run(&mut second, |_, event| matches!(event, Event::Sent { bytes: 6, .. }));
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    for driver in drivers() {
        let mut ring = ring(driver);
        for _ in 0..3 {
            let waker = ring.waker();
            let other = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                waker.wake();
                waker.wake();
            });
            run(&mut ring, |_, event| matches!(event, Event::Woken));
            other.join().unwrap();
        }
    }
}

#[test]
fn files_are_made_written_read_synced_and_renamed() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b/c");
        file(&mut ring, FileOp::MakeDir { path: folder.clone() }).result.unwrap();
        file(&mut ring, FileOp::MakeDir { path: folder.clone() }).result.unwrap();
        let path = folder.join("data");
        let open = |path: &Path, options| FileOp::Open { path: path.into(), options };
        let missing = file(&mut ring, open(&path, OpenOptions::READ));
        assert_eq!(missing.result.unwrap_err().kind(), std::io::ErrorKind::NotFound);
        let handle = file(&mut ring, open(&path, OpenOptions::WRITE)).file.unwrap();

        let mut buf = ring.buffers().get(100_000);
        buf.copy_from_slice(&pattern(100_000));
        let source = Rc::new(buf);
        let write = FileOp::Write { file: handle.clone(), offset: 5, source, range: 10..100_000 };
        assert_eq!(file(&mut ring, write).result.unwrap(), 99_990);
        file(&mut ring, FileOp::SyncData { file: handle.clone() }).result.unwrap();

        let folder_handle = file(&mut ring, open(&folder, OpenOptions::READ)).file.unwrap();
        file(&mut ring, FileOp::SyncAll { file: folder_handle }).result.unwrap();

        let buf = ring.buffers().get(200_000);
        let read = FileOp::Read { file: handle.clone(), offset: 5, buf, length: 200_000 };
        let done = file(&mut ring, read);
        assert_eq!(done.result.unwrap(), 99_990, "a read ends at the end of the file");
        assert_eq!(done.buf.unwrap()[..99_990], pattern(100_000)[10..]);

        file(&mut ring, FileOp::Truncate { file: handle.clone(), length: 50 }).result.unwrap();
        let allocate = FileOp::Allocate { file: handle.clone(), offset: 0, length: 8192 };
        file(&mut ring, allocate).result.unwrap();
        let stat = file(&mut ring, FileOp::Stat { path: path.clone() }).stat.unwrap();
        assert_eq!((stat.length, stat.is_file), (8192, true));
        file(&mut ring, FileOp::WillNeed { file: handle, offset: 0, length: 50 }).result.unwrap();

        let to = dir.path().join("renamed");
        file(&mut ring, FileOp::Rename { from: path, to: to.clone() }).result.unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().len(), 8192);
        file(&mut ring, FileOp::Unlink { path: to.clone() }).result.unwrap();
        assert!(!to.exists());
        let nul = Path::new("a\0b");
        assert!(file(&mut ring, open(nul, OpenOptions::READ)).result.is_err());
    }
}

#[test]
fn listening_stops_when_told() {
    for driver in drivers() {
        let mut ring = ring(driver);
        let (listener, addr) = ring.listen(any_port()).unwrap();
        ring.stop_listening(listener);
        let mut events = Vec::new();
        ring.wait(Some(Duration::from_millis(50)), &mut events).unwrap();
        assert!(TcpStream::connect(addr).is_err(), "{driver:?}");
    }
}
