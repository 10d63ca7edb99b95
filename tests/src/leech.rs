//! A peer of bare sockets that downloads, and checks every byte that it is given.

use crate::peer::Connection;
use crate::{Shape, Torrent};
use anyhow::{Result, bail};
use metainfo::{Geometry, InfoHash};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use wire::{Item, Message, RawBlock};

/// What a torrent's bytes are, in memory.
pub struct Content {
    info_hash: InfoHash,
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Content {
    /// Reads all data of a torrent.
    pub fn of(torrent: &Torrent) -> Result<Content> {
        let geometry = torrent.layout().geometry();
        let bytes = torrent.read(0, u32::try_from(geometry.total_length())?)?;
        Ok(Content { info_hash: torrent.info_hash(), geometry, bytes })
    }
}

/// A torrent with its bytes.
pub struct Known {
    /// The torrent, and where its data lies.
    pub torrent: Torrent,
    /// Its bytes.
    pub content: Content,
}

impl Known {
    /// Makes the data in a folder, and the torrent of it.
    pub fn make(shape: &Shape, source: &Path) -> Result<Known> {
        let torrent = Torrent::make(shape, source)?;
        Ok(Known { content: Content::of(&torrent)?, torrent })
    }
}

/// Blocks that are asked for and have not come: enough to keep a daemon on this machine busy.
const UNDER_WAY: usize = 32;

/// A daemon that serves nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to a daemon, fetches what it says that it has, pieces in no order, and leaves in the
/// middle of it when the time is over. Gives the bytes that came, however the connection ended; an
/// error if one of them was wrong, or nobody had asked for it.
pub fn visit(
    to: SocketAddr,
    content: &Content,
    random: &mut fastrand::Rng,
    time: Duration,
) -> Result<u64> {
    let Ok(mut connection) = Connection::open(to, content.info_hash) else { return Ok(0) };
    let mut intake = Intake::new(content);
    let end = Instant::now() + time;
    let mut is_open = connection.send(&[Message::Interested]).is_ok();
    while is_open && Instant::now() < end {
        let requests = intake.requests(random);
        is_open = connection.send_bytes(&requests).is_ok()
            && connection.read(PATIENCE, |item| intake.take(item)).is_ok();
        if let Some(fault) = &intake.fault {
            bail!("{}: {fault}", content.info_hash);
        }
    }
    Ok(intake.came)
}

/// One connection's side of a download.
struct Intake<'a> {
    content: &'a Content,
    /// Which pieces the daemon has said that it has.
    has: Vec<u32>,
    choked: bool,
    /// What was asked for and has not come.
    asked: Vec<RawBlock>,
    /// What was asked for before a choke: on its way then, or never to come.
    late: Vec<RawBlock>,
    /// Blocks to ask for next: what is left of a piece.
    next: Vec<RawBlock>,
    /// Where the block that is coming in goes on.
    at: usize,
    came: u64,
    fault: Option<String>,
}

impl<'a> Intake<'a> {
    fn new(content: &'a Content) -> Intake<'a> {
        Intake {
            content,
            has: Vec::new(),
            choked: true,
            asked: Vec::new(),
            late: Vec::new(),
            next: Vec::new(),
            at: 0,
            came: 0,
            fault: None,
        }
    }

    fn requests(&mut self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !self.choked && self.asked.len() < UNDER_WAY && !self.has.is_empty() {
            let Some(block) = self.next.pop() else {
                self.next = self.blocks_of(self.has[random.usize(..self.has.len())]);
                continue;
            };
            Message::Request(block).encode_into(&mut bytes);
            self.asked.push(block);
        }
        bytes
    }

    /// The blocks of a piece, the last one first.
    fn blocks_of(&self, index: u32) -> Vec<RawBlock> {
        let geometry = &self.content.geometry;
        let blocks = geometry.piece(index).into_iter().flat_map(|piece| geometry.blocks(piece));
        let raw = |block: metainfo::BlockRange| RawBlock {
            index,
            begin: block.begin(),
            length: block.length(),
        };
        let mut blocks: Vec<RawBlock> = blocks.map(raw).collect();
        blocks.reverse();
        blocks
    }

    /// Something when it is time to look what to ask for.
    fn take(&mut self, item: Item<'_>) -> Option<()> {
        match item {
            Item::Message(Message::Bitfield(bits)) => {
                let has = |piece: &u32| bits[*piece as usize / 8] & (0x80 >> (piece % 8)) != 0;
                let bits = bits.len() as u32 * 8;
                self.has = (0..self.content.geometry.piece_count().min(bits)).filter(has).collect();
            }
            Item::Message(Message::Have { piece }) => self.has.push(piece),
            Item::Message(Message::Unchoke) => self.choked = false,
            Item::Message(Message::Choke) => {
                self.choked = true;
                self.late.append(&mut self.asked);
            }
            Item::BlockStart(block) => self.begin(block),
            Item::BlockData(bytes) => self.compare(bytes),
            Item::BlockEnd => return Some(()),
            _ => return None,
        }
        (!self.choked || self.fault.is_some()).then_some(())
    }

    fn begin(&mut self, block: RawBlock) {
        let was_asked = take_out(&mut self.asked, block) || take_out(&mut self.late, block);
        match self.content.geometry.range(block.index, block.begin, block.length) {
            Some(range) if was_asked => {
                self.at = self.content.geometry.offset_of_range(range) as usize;
            }
            _ => self.fault = Some(format!("{block:?} was not asked for")),
        }
    }

    fn compare(&mut self, bytes: &[u8]) {
        let expected = self.content.bytes.get(self.at..self.at + bytes.len());
        if self.fault.is_none() && expected != Some(bytes) {
            self.fault = Some(format!("wrong bytes within those from {} on", self.at));
        }
        self.at += bytes.len();
        self.came += bytes.len() as u64;
    }
}

fn take_out(blocks: &mut Vec<RawBlock>, block: RawBlock) -> bool {
    let found = blocks.iter().position(|asked| *asked == block);
    found.map(|at| blocks.swap_remove(at)).is_some()
}
