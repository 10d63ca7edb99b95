//! Hostile peers: the daemon stays up, bounded in memory, and serves an honest peer meanwhile.

use anyhow::{Context, Result, ensure};
use ringseed_tests::peer::{Connection, handshake, is_closed_within};
use ringseed_tests::{
    Client, Conditions, Libtorrent, Relay, Ringseed, Scene, Shape, Torrent, for_each_driver,
    wait_complete, wait_until,
};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;
use wire::{Message, RawBlock};

const ENOUGH: Duration = Duration::from_secs(120);

/// What a daemon may grow by, whatever peers do: buffers of a fixed number, not of their choosing.
const BOUND: u64 = 64 << 20;

/// The torrent has this many pieces of 64 KiB.
const PIECES: u32 = 300;

for_each_driver! {
    malformed_messages_end_the_connection_and_nothing_else;
    floods_are_bounded;
    half_open_connections_do_not_keep_honest_peers_out;
}

/// A daemon that seeds a torrent, and an honest client that is slowly fetching it all the while.
struct Siege {
    ringseed: Ringseed,
    torrent: Torrent,
    honest: Libtorrent,
    folder: std::path::PathBuf,
    relay: Relay,
    memory: u64,
}

impl Siege {
    fn begin(scene: &Scene) -> Result<Siege> {
        let shape = Shape::file("besieged", u64::from(PIECES) << 16, 64 << 10);
        let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
        let mut ringseed = Ringseed::start(scene)?;
        ringseed.add(&torrent.with_trackers(&[])?, torrent.source())?;
        wait_complete(&mut ringseed, &torrent, ENOUGH)?;
        let conditions = Conditions { rate: Some(3_000_000), ..Conditions::default() };
        let relay = Relay::start(ringseed.peer_address(), conditions)?;
        let mut honest =
            Libtorrent::start(&scene.new_folder("honest")?, Ipv4Addr::new(127, 0, 0, 2))?;
        let folder = scene.new_folder("fetched")?;
        honest.add(&torrent.with_trackers(&[])?, &folder)?;
        let memory = ringseed.process().resident_memory()?;
        Ok(Siege { ringseed, torrent, honest, folder, relay, memory })
    }

    /// Lets the honest client come, after the hostile ones have taken what they can.
    fn let_the_honest_come(&mut self) -> Result<()> {
        self.honest.connect(self.torrent.info_hash(), self.relay.address())
    }

    fn check_memory(&mut self, scene: &Scene) -> Result<()> {
        let grown = self.ringseed.process().resident_memory()?.saturating_sub(self.memory);
        scene.say(format_args!("grown by {} KiB", grown >> 10));
        ensure!(grown < BOUND, "the daemon has grown by {grown} bytes");
        Ok(())
    }

    /// The honest client has got everything, and the daemon lives.
    fn end(mut self, scene: &Scene) -> Result<()> {
        wait_complete(&mut self.honest, &self.torrent, ENOUGH)?;
        self.torrent.compare(&self.folder)?;
        self.check_memory(scene)?;
        self.ringseed.process().check()?;
        let state = self.ringseed.state(self.torrent.info_hash())?;
        ensure!(state.seeding && state.error.is_none(), "the torrent is {state:?}");
        Ok(())
    }
}

fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(payload);
    bytes
}

fn numbers(id: u8, numbers: &[u32]) -> Vec<u8> {
    let payload: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    message(id, &payload)
}

/// What no correct peer sends, and what it is.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let bitfield = PIECES.div_ceil(8) as usize;
    let mut spare_bits = vec![0; bitfield];
    spare_bits[bitfield - 1] = 1;
    vec![
        ("a message of 4 GiB", vec![0xff; 64]),
        ("a message of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 7]),
        ("a choke with a payload", message(0, &[1])),
        ("a have without a number", message(4, &[])),
        ("a have of 3 bytes", message(4, &[0, 0, 0])),
        ("a have of the piece after the last", numbers(4, &[PIECES])),
        ("a have of piece 4294967295", numbers(4, &[u32::MAX])),
        ("a short bitfield", message(5, &vec![0; bitfield - 1])),
        ("a long bitfield", message(5, &vec![0; bitfield + 1])),
        ("a bitfield with spare bits set", message(5, &spare_bits)),
        ("a bitfield of a gigabyte", [&(1u32 << 30).to_be_bytes()[..], &[5]].concat()),
        ("a request of 3 numbers and a byte", message(6, &[0; 13])),
        ("a block too short for its header", message(7, &[0; 7])),
        ("a block of 16 MiB", [&(1u32 << 24).to_be_bytes()[..], &[7]].concat()),
        ("a cancel of 1 byte", message(8, &[0])),
        ("an extended message without an id", message(20, &[])),
        ("an extended message of 512 MiB", [&(1u32 << 29).to_be_bytes()[..], &[20, 0]].concat()),
    ]
}

/// What makes no sense, but may come from a confused peer: answered, ignored or refused, as long as
/// nothing else suffers.
fn senseless() -> Vec<(&'static str, Vec<u8>)> {
    let request = |numbers_: [u32; 3]| numbers(6, &numbers_);
    vec![
        ("a request for the piece after the last", request([PIECES, 0, 16384])),
        ("a request for piece 4294967295", request([u32::MAX, 0, 16384])),
        ("a request over the end of a piece", request([0, 65_535, 16384])),
        ("a request that overflows", request([0, u32::MAX, u32::MAX])),
        ("a request for nothing", request([0, 0, 0])),
        ("a request for a gigabyte", request([0, 0, 1 << 30])),
        ("a block nobody asked for", [numbers(7, &[0, 0]), vec![]].concat()),
        (
            "a block beyond the torrent",
            [&11u32.to_be_bytes()[..], &[7], &[255; 8], &[1, 2]].concat(),
        ),
        ("a reject of what was not asked", numbers(16, &[0, 0, 16384])),
        ("allowed fast beyond the torrent", numbers(17, &[u32::MAX])),
        ("a suggestion beyond the torrent", numbers(13, &[u32::MAX])),
        ("an unknown message", message(99, &[1, 2, 3])),
        ("an extension handshake that is no dictionary", message(20, b"\0i1e")),
        (
            "an extension handshake of open lists",
            message(20, &[&[0][..], &[b'l'; 10_000]].concat()),
        ),
        ("a second bitfield", [message(5, &[0; 38]), message(5, &[0; 38])].concat()),
    ]
}

fn malformed_messages_end_the_connection_and_nothing_else(scene: &Scene) -> Result<()> {
    let mut siege = Siege::begin(scene)?;
    siege.let_the_honest_come()?;
    let (address, hash) = (siege.ringseed.peer_address(), siege.torrent.info_hash());
    for (what, bytes) in malformed() {
        let mut peer = Connection::open(address, hash).context(what)?;
        peer.send_bytes(&bytes).context(what)?;
        ensure!(peer.is_closed_within(Duration::from_secs(10))?, "{what}: still connected");
        siege.ringseed.process().check().context(what)?;
    }
    let mut held = Vec::new();
    for (what, bytes) in senseless() {
        let mut peer = Connection::open(address, hash).context(what)?;
        peer.send(&[Message::Interested])?;
        peer.send_bytes(&bytes).context(what)?;
        siege.ringseed.process().check().context(what)?;
        held.push(peer);
    }
    for junk in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 68], handshake_for_nobody()] {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(&junk)?;
        let closed = is_closed_within(&mut socket, Duration::from_secs(10))?;
        ensure!(closed, "a connection that starts with {:?} is kept", &junk[..8]);
    }
    siege.end(scene)
}

/// A handshake for a torrent that the daemon does not have.
fn handshake_for_nobody() -> Vec<u8> {
    handshake(metainfo::InfoHash([9; 20])).to_vec()
}

fn floods_are_bounded(scene: &Scene) -> Result<()> {
    let mut siege = Siege::begin(scene)?;
    let (address, hash) = (siege.ringseed.peer_address(), siege.torrent.info_hash());
    siege.let_the_honest_come()?;
    let block = RawBlock { index: 1, begin: 0, length: 16384 };
    let repeated = |message: Message<'_>, times| {
        let mut bytes = Vec::new();
        for _ in 0..times {
            message.encode_into(&mut bytes);
        }
        bytes
    };
    let payload = vec![b'd'; 100_000];
    let floods = [
        ("requests", repeated(Message::Request(block), 300_000)),
        ("haves", repeated(Message::Have { piece: 1 }, 1_000_000)),
        ("interest and none", repeat_both(300_000)),
        ("cancels", repeated(Message::Cancel(block), 300_000)),
        ("keep-alives", repeated(Message::KeepAlive, 1_000_000)),
        ("extension handshakes", repeated(Message::Extended { id: 0, payload: &payload }, 100)),
        ("unknown extensions", repeated(Message::Extended { id: 77, payload: &payload }, 100)),
        ("unchokes", repeated(Message::Unchoke, 500_000)),
    ];
    let mut held = Vec::new();
    for (what, bytes) in &floods {
        for _ in 0..3 {
            let mut peer = Connection::open(address, hash).context(*what)?;
            peer.send(&[Message::Interested])?;
            // The daemon may close on a flood, or stop reading; it may not grow.
            let sent = peer.send_what_fits(bytes).unwrap_or(0);
            scene.say(format_args!("{what}: {sent} of {} bytes were taken", bytes.len()));
            held.push(peer);
        }
        siege.check_memory(scene).context(*what)?;
    }
    siege.end(scene)
}

fn repeat_both(times: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..times {
        Message::Interested.encode_into(&mut bytes);
        Message::NotInterested.encode_into(&mut bytes);
    }
    bytes
}

fn half_open_connections_do_not_keep_honest_peers_out(scene: &Scene) -> Result<()> {
    const CONNECTIONS: usize = 2000;
    let mut siege = Siege::begin(scene)?;
    let address = siege.ringseed.peer_address();
    let hello = handshake(siege.torrent.info_hash());
    let mut half_open = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(address)?;
        // From nothing at all to the middle of the info-hash, so that what drips on stays half.
        socket.write_all(&hello[..number % 36])?;
        half_open.push(socket);
    }
    scene.say(format_args!("{CONNECTIONS} connections are half open"));
    siege.let_the_honest_come()?;
    let mut at = 0;
    wait_until("the honest client is done while they drip", ENOUGH, || {
        // A byte now and then keeps a connection from looking dead. It may be closed: so much the
        // better.
        for _ in 0..20 {
            at = (at + 1) % CONNECTIONS;
            let _ = half_open[at].write(&[0]);
        }
        siege.ringseed.process().check()?;
        Ok(siege.honest.state(siege.torrent.info_hash())?.seeding)
    })?;
    siege.check_memory(scene)?;

    // Those that say nothing are not kept for ever.
    let silent = TcpStream::connect(address)?;
    half_open.push(silent);
    for socket in &mut half_open {
        ensure!(is_closed_within(socket, ENOUGH)?, "a half-open connection is kept");
    }
    siege.end(scene)
}
