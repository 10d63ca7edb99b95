//! One seed's connection: takes requests in, writes blocks out of the mapping.
//!
//! Cancels are not honoured: requests are served as fast as the socket takes them, so there is
//! hardly ever one left to cancel, and the fast extension wants an answer to each.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
};

use memmap2::Mmap;
use mio::net::TcpStream;

use crate::{
    torrent::{BLOCK, Torrent},
    wire,
};

/// Blocks in one write.
const BLOCKS: usize = 32;
/// Longest message that a client may send to a seed: a bitfield or an extension handshake.
const LONGEST: usize = 4 << 20;

/// Which blocks have been sent, over all connections.
pub struct Served {
    blocks: Vec<bool>,
    blocks_per_piece: u32,
    missing: usize,
    pub requests: u64,
    pub bytes: u64,
    pub bytes_twice: u64,
}

impl Served {
    pub fn new(torrent: &Torrent) -> Served {
        let blocks_per_piece = torrent.piece_length.div_ceil(BLOCK);
        let last = torrent.length_of(torrent.piece_count() - 1).div_ceil(BLOCK);
        let blocks =
            (torrent.piece_count() - 1) as usize * blocks_per_piece as usize + last as usize;
        Served {
            blocks: vec![false; blocks],
            blocks_per_piece,
            missing: blocks,
            requests: 0,
            bytes: 0,
            bytes_twice: 0,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    fn count(&mut self, block: &Block) {
        let index = block.piece as usize * self.blocks_per_piece as usize;
        let sent = &mut self.blocks[index + (block.begin / BLOCK) as usize];
        if *sent {
            self.bytes_twice += u64::from(block.length);
        } else {
            *sent = true;
            self.missing -= 1;
            self.bytes += u64::from(block.length);
        }
    }
}

/// A request that waits.
struct Block {
    piece: u32,
    begin: u32,
    length: u32,
    header: [u8; wire::PIECE_HEADER],
}

pub struct Connection<'a> {
    stream: TcpStream,
    torrent: &'a Torrent,
    map: &'a Mmap,
    greeted: bool,
    input: Vec<u8>,
    out: Vec<u8>,
    queue: VecDeque<Block>,
    /// Bytes of the first block in the queue, header included, that have been written.
    written: usize,
}

impl<'a> Connection<'a> {
    /// A seed that greets the client at its first [`Self::serve`].
    pub fn new(
        stream: TcpStream,
        torrent: &'a Torrent,
        map: &'a Mmap,
        number: usize,
    ) -> Connection<'a> {
        Connection {
            stream,
            torrent,
            map,
            greeted: false,
            input: Vec::with_capacity(1 << 14),
            out: wire::handshake(&torrent.info_hash, number),
            queue: VecDeque::new(),
            written: 0,
        }
    }

    /// Reads what is there and writes what the socket takes.
    pub fn serve(&mut self, served: &mut Served) -> io::Result<()> {
        let mut room = [0; 1 << 14];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) => {
                    self.input.extend_from_slice(&room[..got]);
                    self.parse(served)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush(served)
    }

    fn parse(&mut self, served: &mut Served) -> io::Result<()> {
        let mut at = 0;
        if !self.greeted {
            if self.input.len() < wire::HANDSHAKE {
                return Ok(());
            }
            if wire::info_hash(&self.input) != self.torrent.info_hash {
                return Err(ErrorKind::InvalidData.into());
            }
            self.greet(wire::has_fast(&self.input));
            at = wire::HANDSHAKE;
        }
        while self.input.len() >= at + 4 {
            let length = wire::number(&self.input, at) as usize;
            if length > LONGEST {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some(message) = self.input.get(at + 4..at + 4 + length) else { break };
            if length == 13 && message[0] == wire::REQUEST_ID {
                let [piece, begin, length] = [1, 5, 9].map(|field| wire::number(message, field));
                if !self.torrent.contains(piece, begin, length) || !begin.is_multiple_of(BLOCK) {
                    return Err(ErrorKind::InvalidData.into());
                }
                served.requests += 1;
                let header = wire::piece_header(piece, begin, length);
                self.queue.push_back(Block { piece, begin, length, header });
            }
            at += 4 + length;
        }
        self.input.drain(..at);
        Ok(())
    }

    /// After the client's handshake: has all, and the client may ask.
    fn greet(&mut self, fast: bool) {
        self.greeted = true;
        if fast {
            wire::bare(&mut self.out, wire::HAVE_ALL);
        } else {
            wire::full_bitfield(&mut self.out, self.torrent.piece_count());
        }
        wire::bare(&mut self.out, wire::UNCHOKE);
    }

    fn flush(&mut self, served: &mut Served) -> io::Result<()> {
        while !self.out.is_empty() || !self.queue.is_empty() {
            let written = match self.write() {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.out.is_empty() {
                self.written += written;
            } else {
                self.out.drain(..written);
            }
            while let Some(block) = self.queue.front() {
                let length = wire::PIECE_HEADER + block.length as usize;
                if self.written < length {
                    break;
                }
                self.written -= length;
                served.count(block);
                self.queue.pop_front();
            }
        }
        Ok(())
    }

    /// Offers the socket small messages first, then as many blocks as fit one call.
    fn write(&mut self) -> io::Result<usize> {
        if !self.out.is_empty() {
            return self.stream.write(&self.out);
        }
        let mut slices = [IoSlice::new(&[]); 2 * BLOCKS];
        let mut count = 0;
        let mut skip = self.written;
        for block in self.queue.iter().take(BLOCKS) {
            let start = self.torrent.offset(block.piece, block.begin) as usize;
            for part in [&block.header[..], &self.map[start..start + block.length as usize]] {
                let used = skip.min(part.len());
                skip -= used;
                slices[count] = IoSlice::new(&part[used..]);
                count += 1;
            }
        }
        self.stream.write_vectored(&slices[..count])
    }
}
