//! Less of the system than the daemon could use: few descriptors, little locked memory, little memory.
//! It keeps within it, answers and serves, and goes on as before when the pressure has gone.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use ringseed_tests::leech::{Known, visit};
use ringseed_tests::peer::{Connection, Manner, Seed};
use ringseed_tests::{
    Client, Conditions, Dialect, MemoryLimit, Missing, Options, Relay, Remote, Ringseed, Rpc,
    Scene, ScriptedTracker, Shape, for_each_driver, wait_complete, wait_for, wait_until,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use wire::{Message, RawBlock};

const ENOUGH: Duration = Duration::from_secs(120);

/// Longer than a call takes on a machine that has other things to do.
const PROMPT: Duration = Duration::from_secs(5);

for_each_driver! {
    with_few_descriptors_everybody_gets_some;
    callers_that_hold_connections_do_not_take_the_descriptors_of_others;
    with_little_locked_memory_it_serves_all_the_same;
    five_thousand_peers_fit_a_small_memory;
}

fn shell(command: &str) -> Vec<String> {
    ["sh", "-c", &format!("{command} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec()
}

/// A torrent of many small files.
fn many_files(scene: &Scene, name: &str, count: u64) -> Result<Known> {
    let files = (0..count).map(|number| (format!("{}/{number}", number % 7), 30_000 + number));
    let shape = Shape::folder(name, files.collect(), 32 << 10);
    Known::make(&shape, &scene.new_folder("source")?)
}

fn answers_promptly(control: SocketAddr) -> Result<()> {
    let mut rpc = Rpc::new(control, Dialect::JsonRpc);
    for method in ["session_get", "session_stats", "torrent_get"] {
        let start = Instant::now();
        rpc.call(method, json!({"fields": ["id", "status"]}))?;
        ensure!(start.elapsed() < PROMPT, "{method} took {:?}", start.elapsed());
    }
    Ok(())
}

fn with_few_descriptors_everybody_gets_some(scene: &Scene) -> Result<()> {
    const DESCRIPTORS: usize = 256;
    let starter = shell(&format!("ulimit -n {DESCRIPTORS}"));
    let mut daemon = Ringseed::start_with(Options { starter, ..Options::new(scene)? })?;
    let told = wait_until("it says that descriptors are short", ENOUGH, || {
        Ok(daemon.process().log().contains("leaves room for"))
    });
    told.map_err(|error| error.context(daemon.process().log()))?;
    let (seeded, fetched) = (many_files(scene, "seeded", 400)?, many_files(scene, "fetched", 150)?);
    daemon.add(&seeded.torrent.with_trackers(&[])?, seeded.torrent.source())?;
    wait_complete(&mut daemon, &seeded.torrent, ENOUGH)?;
    let seed = Seed::start(&fetched.torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let conditions = Conditions { rate: Some(600_000), ..Conditions::default() };
    let relay = Relay::start(seed.address(), conditions)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(fetched.torrent.info_hash(), &[relay.address()]);
    daemon.download(&fetched.torrent.with_trackers(&[&tracker.url()])?)?;
    wait_until("the download has begun", ENOUGH, || Ok(relay.returned() > 100_000))?;

    let (to, control) = (daemon.peer_address(), daemon.control_address());
    thread::scope(|scope| {
        // It reads all files in no order, so that they are opened and closed all the time.
        let time = Duration::from_secs(8);
        let content = &seeded.content;
        let visitor = scope.spawn(move || visit(to, content, &mut Rng::new(), time));
        wait_until("the visitor is served", ENOUGH, || {
            Ok(daemon.number(seeded.torrent.info_hash(), "uploaded_ever")? > 0)
        })?;
        let idle: Vec<TcpStream> = (0..2 * DESCRIPTORS)
            .filter_map(|_| TcpStream::connect_timeout(&to, PROMPT).ok())
            .collect();
        for _ in 0..5 {
            answers_promptly(control)?;
            thread::sleep(Duration::from_millis(300));
        }
        wait_complete(&mut daemon, &fetched.torrent, ENOUGH)?;
        drop(idle);
        let served = visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        scene.say(format_args!("{} MiB were served meanwhile", served >> 20));
        ensure!(served > 400 * 30_000 / 4, "only {served} bytes were served");
        Ok::<_, anyhow::Error>(())
    })?;
    fetched.torrent.compare_exactly(daemon.downloads())?;
    wait_until("a newcomer is served", ENOUGH, || {
        Ok(visit(to, &seeded.content, &mut Rng::new(), Duration::from_millis(500))? > 0)
    })?;
    for known in [&seeded, &fetched] {
        let state = daemon.state(known.torrent.info_hash())?;
        ensure!(state.seeding && state.error.is_none(), "{state:?}");
    }
    let log = daemon.process().log();
    let told = log.lines().filter(|line| line.contains("cannot accept")).count();
    ensure!(told < 10, "the log is told {told} times that nobody can be accepted");
    Ok(())
}

fn callers_that_hold_connections_do_not_take_the_descriptors_of_others(
    scene: &Scene,
) -> Result<()> {
    const DESCRIPTORS: usize = 256;
    let starter = shell(&format!("ulimit -n {DESCRIPTORS}"));
    let mut daemon = Ringseed::start_with(Options { starter, ..Options::new(scene)? })?;
    let seeded = many_files(scene, "seeded", 300)?;
    daemon.add(&seeded.torrent.with_trackers(&[])?, seeded.torrent.source())?;
    wait_complete(&mut daemon, &seeded.torrent, ENOUGH)?;
    let (to, control) = (daemon.peer_address(), daemon.control_address());
    let held: Vec<TcpStream> = (0..2 * DESCRIPTORS)
        .filter_map(|_| TcpStream::connect_timeout(&control, PROMPT).ok())
        .collect();
    let served = visit(to, &seeded.content, &mut Rng::new(), Duration::from_secs(2))?;
    scene.say(format_args!("{served} bytes were served meanwhile"));
    ensure!(served > 1_000_000, "only {served} bytes were served");
    // Who says nothing is sent away in time, whether or not anybody lets go.
    wait_until("calls are answered again", ENOUGH, || Ok(answers_promptly(control).is_ok()))?;
    drop(held);
    answers_promptly(control)?;
    let state = daemon.state(seeded.torrent.info_hash())?;
    ensure!(state.seeding && state.error.is_none(), "{state:?}");
    Ok(())
}

fn with_little_locked_memory_it_serves_all_the_same(scene: &Scene) -> Result<()> {
    // Enough for the rings, and for next to nothing that zero copy would pin. Whoever has the
    // capability is not bound by the limit.
    let mut starter = shell("ulimit -l 512");
    if rustix::process::geteuid().is_root() {
        let drop = ["setpriv", "--bounding-set=-ipc_lock"].map(str::to_owned);
        starter = drop.into_iter().chain(starter).collect();
    }
    let mut daemon = Ringseed::start_with(Options { starter, ..Options::new(scene)? })?;
    let shape = Shape::file("seeded", 24_000_001, 256 << 10);
    let seeded = Known::make(&shape, &scene.new_folder("source")?)?;
    daemon.add(&seeded.torrent.with_trackers(&[])?, seeded.torrent.source())?;
    wait_complete(&mut daemon, &seeded.torrent, ENOUGH)?;
    let (to, time) = (daemon.peer_address(), Duration::from_secs(2));
    let served = visit(to, &seeded.content, &mut Rng::new(), time)?;
    scene.say(format_args!("{} MiB were served", served >> 20));
    ensure!(served > 1_000_000, "only {served} bytes were served");

    let shape = Shape::file("fetched", 12_000_001, 256 << 10);
    let fetched = Known::make(&shape, &scene.new_folder("source")?)?;
    let seed = Seed::start(&fetched.torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(fetched.torrent.info_hash(), &[seed.address()]);
    daemon.download(&fetched.torrent.with_trackers(&[&tracker.url()])?)?;
    wait_complete(&mut daemon, &fetched.torrent, ENOUGH)?;
    fetched.torrent.compare_exactly(daemon.downloads())
}

fn five_thousand_peers_fit_a_small_memory(scene: &Scene) -> Result<()> {
    const PEERS: usize = 5000;
    const MEMORY: u64 = 128 << 20;
    /// What the daemon may have of its own within that: the rest is the kernel's, for its sockets.
    const OWN: u64 = 64 << 20;
    let most = raise_descriptors()?;
    if most < 3 * PEERS as u64 {
        return Err(Missing(format!("{} descriptors", 3 * PEERS)).into());
    }
    let limit = MemoryLimit::new(MEMORY);
    let each = ["--peer-limit-global", "--peer-limit-per-torrent"];
    let many = each.iter().flat_map(|flag| [(*flag).to_owned(), "6000".to_owned()]);
    // Whoever wants something is served: no place has to become free first.
    let all = ["--upload-slots-per-torrent", "0"].map(str::to_owned);
    let flags = many.chain(all).collect();
    let options = Options { starter: limit.starter(), flags, ..Options::new(scene)? };
    let mut daemon = Ringseed::start_with(options)?;
    let shape = Shape::file("besieged", 40_000_001, 256 << 10);
    let seeded = Known::make(&shape, &scene.new_folder("source")?)?;
    let hash = seeded.torrent.info_hash();
    daemon.add(&seeded.torrent.with_trackers(&[])?, seeded.torrent.source())?;
    wait_complete(&mut daemon, &seeded.torrent, ENOUGH)?;
    let before = daemon.process().resident_memory()?;
    let to = daemon.peer_address();
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let peer = Connection::open(to, hash).with_context(|| format!("peer {number}"));
        peers.push(peer.inspect_err(|_| eprintln!("{}", daemon.process().log_tail()))?);
    }
    // All want something, a tenth never reads what it gets.
    let requests: Vec<Message> = (0..4)
        .map(|number| RawBlock { index: number, begin: 0, length: 16 << 10 })
        .map(Message::Request)
        .collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(&[Message::Interested])?;
        if number % 10 == 0 {
            peer.send(&requests)?;
        }
    }
    let mut served = 0;
    wait_until("one more is served", ENOUGH, || {
        daemon.process().check()?;
        served += visit(to, &seeded.content, &mut Rng::new(), Duration::from_secs(3))?;
        Ok(served > 1_000_000)
    })?;
    answers_promptly(daemon.control_address())?;
    let mut remote = Remote::new(daemon.control_address(), Dialect::JsonRpc);
    // A shard that is late with its answer lists nobody.
    let listed = wait_for("peers are listed", ENOUGH, || {
        let listed = remote.field(hash, "peers")?.context("no peers")?;
        Ok(listed.as_array().map(Vec::len).filter(|&listed| listed > 0))
    })?;
    ensure!(listed >= PEERS, "only {listed} peers are connected");
    let memory = daemon.process().resident_memory()?;
    scene.say(format_args!(
        "{listed} peers: {} MiB of its own, {} MiB before; with the kernel's {:?} MiB at most",
        memory >> 20,
        before >> 20,
        limit.peak().map(|peak| peak >> 20)
    ));
    ensure!(memory < OWN, "it has {memory} bytes");
    drop(peers);
    wait_until("the peers have gone", ENOUGH, || {
        let left = remote.field(hash, "peers_connected")?;
        Ok(left.and_then(|left| left.as_u64()).is_some_and(|left| left < 10))
    })?;
    let served = visit(to, &seeded.content, &mut Rng::new(), Duration::from_secs(2))?;
    ensure!(served > 1_000_000, "afterwards only {served} bytes were served");
    let state = daemon.state(hash)?;
    ensure!(state.seeding && state.error.is_none(), "{state:?}");
    drop(daemon);
    Ok(())
}

/// Lets this process have as many descriptors as it may; says how many.
fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
