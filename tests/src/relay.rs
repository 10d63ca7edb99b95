//! A path of a chosen length and width: a TCP relay in user space.

use anyhow::Result;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the path does to the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    /// How long each byte is under way, in each direction.
    pub latency: Duration,
    /// Bytes per second of each connection in each direction; unlimited if `None`.
    pub rate: Option<u64>,
}

/// Listens on 127.0.0.1 and forwards each connection to the target.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    conditions: Conditions,
    forwarded: AtomicU64,
    returned: AtomicU64,
    stalled: AtomicBool,
    stop: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

/// Bytes that are taken from a socket at once.
const CHUNK: usize = 64 * 1024;

/// Chunks that may be under way in one direction: 16 MiB, so 100 ms at 160 MB/s.
const UNDER_WAY: usize = 256;

impl Relay {
    /// Starts a relay to the target.
    pub fn start(target: SocketAddr, conditions: Conditions) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port()))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            conditions,
            forwarded: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || accept(&listener, &state)));
        Ok(Relay { address, shared, accepting })
    }

    /// Where to connect to instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes delivered to the target so far.
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::Relaxed)
    }

    /// Bytes delivered from the target so far.
    pub fn returned(&self) -> u64 {
        self.shared.returned.load(Ordering::Relaxed)
    }

    /// Holds back all bytes, or lets them go again.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Breaks all connections that there are.
    pub fn reset(&self) {
        let mut sockets = self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in sockets.drain(..) {
            // One that is closed already needs no closing.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.reset();
        if let Some(accepting) = self.accepting.take() {
            // A panic in it has been printed already.
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // A target that refuses shows as a connection that closes at once.
            Ok((socket, _)) => _ = join(socket, shared),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return,
        }
    }
}

/// Four threads for a connection: in each direction one that reads and one that writes in time.
fn join(near: TcpStream, shared: &Arc<Shared>) -> Result<()> {
    near.set_nonblocking(false)?;
    let far = TcpStream::connect(shared.target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut sockets = shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
    sockets.push(near.try_clone()?);
    sockets.push(far.try_clone()?);
    drop(sockets);
    pump(near.try_clone()?, far.try_clone()?, shared, |shared| &shared.forwarded);
    pump(far, near, shared, |shared| &shared.returned);
    Ok(())
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Arc<Shared>,
    counter: fn(&Shared) -> &AtomicU64,
) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let conditions = shared.conditions;
    thread::spawn(move || {
        // An end that only stops sending still reads; any other end breaks both directions.
        if receive(&mut from, &sender, conditions).is_err() {
            let _ = from.shutdown(Shutdown::Both);
        }
    });
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let how = match deliver(&mut to, &receiver, &shared, counter(&shared)) {
            Ok(()) => Shutdown::Write,
            Err(_) => Shutdown::Both,
        };
        let _ = to.shutdown(how);
    });
}

type Parcel = (Instant, Vec<u8>);

/// Reads no faster than the rate, and stamps each chunk with the time of its arrival.
fn receive(
    from: &mut TcpStream,
    sender: &SyncSender<Parcel>,
    conditions: Conditions,
) -> Result<()> {
    let mut departure = Instant::now();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let now = Instant::now();
        departure = departure.max(now);
        if let Some(rate) = conditions.rate {
            departure += Duration::from_secs_f64(length as f64 / rate as f64);
        }
        sender.send((departure + conditions.latency, buffer[..length].to_vec()))?;
        thread::sleep(departure.saturating_duration_since(now));
    }
}

fn deliver(
    to: &mut TcpStream,
    receiver: &Receiver<Parcel>,
    shared: &Shared,
    counter: &AtomicU64,
) -> Result<()> {
    for (arrival, bytes) in receiver {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        while shared.stalled.load(Ordering::Relaxed) && !shared.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        to.write_all(&bytes)?;
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
