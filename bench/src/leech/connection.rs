//! One leecher: asks, and takes in what comes with as little work as checking it allows.

use std::{
    collections::VecDeque,
    io::{self, Error, ErrorKind, Read, Write},
    mem::MaybeUninit,
    time::Instant,
};

use memmap2::Mmap;
use mio::net::TcpStream;
use socket2::SockRef;

use super::Totals;
use crate::{
    torrent::{BLOCK, Torrent},
    wire,
};

/// Bytes at either end of a block that are compared in any case.
const ENDS: usize = 64;
/// Bytes of messages that are read at a time: the end of a block, the next header and data.
const STEP: usize = ENDS + wire::PIECE_HEADER + ENDS;
/// Longest message that a client may send.
const LONGEST: usize = 4 << 20;

/// Room for data that is compared, and for what the kernel wants to be given when it discards.
pub struct Scratch {
    whole: Vec<u8>,
    discarded: Vec<MaybeUninit<u8>>,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch { whole: vec![0; 1 << 16], discarded: vec![MaybeUninit::uninit(); 1 << 16] }
    }
}

/// Which piece comes after this one.
pub enum Order {
    Ascending,
    Random(fastrand::Rng),
    /// Ascending through the first so many pieces, again and again.
    First(u32),
    /// So many pieces on, around the end.
    Stride(u32),
}

/// A request that is out.
struct Asked {
    piece: u32,
    begin: u32,
    length: u32,
    at: Instant,
}

/// What the next byte from the client belongs to.
enum Expect {
    Handshake,
    Message,
    /// A message that does not matter, with this much left.
    Nothing(usize),
    /// Data from this offset of the torrent on, of which so much has come.
    Block {
        offset: u64,
        length: usize,
        done: usize,
        whole: bool,
    },
}

pub struct Connection<'a> {
    stream: TcpStream,
    torrent: &'a Torrent,
    map: &'a Mmap,
    expect: Expect,
    /// Bytes read and not yet used.
    carry: [u8; 256],
    carried: usize,
    out: Vec<u8>,
    asked: VecDeque<Asked>,
    again: Vec<(u32, u32, u32)>,
    order: Order,
    next: (u32, u32),
    blocks: u32,
    choked: bool,
    fast: bool,
}

impl<'a> Connection<'a> {
    /// A leecher that will greet the client and ask for `piece` first.
    pub fn new(
        stream: TcpStream,
        torrent: &'a Torrent,
        map: &'a Mmap,
        number: usize,
        piece: u32,
        mut order: Order,
    ) -> Connection<'a> {
        let first = match &mut order {
            Order::Ascending | Order::First(_) | Order::Stride(_) => piece,
            Order::Random(random) => random.u32(..torrent.piece_count()),
        };
        Connection {
            stream,
            torrent,
            map,
            expect: Expect::Handshake,
            carry: [0; 256],
            carried: 0,
            out: wire::handshake(&torrent.info_hash, number),
            asked: VecDeque::new(),
            again: Vec::new(),
            order,
            next: (first, 0),
            blocks: number as u32,
            choked: true,
            fast: false,
        }
    }

    pub fn is_choked(&self) -> bool {
        self.choked
    }

    /// Whether something that was asked for has not come.
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether the client's handshake has come.
    pub fn is_greeted(&self) -> bool {
        !matches!(self.expect, Expect::Handshake)
    }

    pub fn keep_alive(&mut self) {
        self.out.extend_from_slice(&[0; 4]);
        // What fails here fails again at the next read, which reports it.
        let _ = self.flush();
    }

    /// Asks for blocks until `most` requests are out.
    pub fn ask(&mut self, most: usize, now: Instant) {
        while !self.choked && self.asked.len() < most {
            let (piece, begin, length) = self.again.pop().unwrap_or_else(|| self.next_block());
            wire::request(&mut self.out, piece, begin, length);
            self.asked.push_back(Asked { piece, begin, length, at: now });
        }
    }

    fn next_block(&mut self) -> (u32, u32, u32) {
        let (piece, begin) = self.next;
        let left = self.torrent.length_of(piece) - begin;
        let length = left.min(BLOCK);
        self.next = if length < left {
            (piece, begin + length)
        } else {
            let count = self.torrent.piece_count();
            let following = match &mut self.order {
                Order::Ascending => (piece + 1) % count,
                Order::First(pieces) => (piece + 1) % count.min(*pieces),
                Order::Stride(step) => (piece + *step) % count,
                Order::Random(random) => random.u32(..count),
            };
            (following, 0)
        };
        (piece, begin, length)
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes in all that is there. An error of kind `InvalidData` is a lie of the client's.
    pub fn read(
        &mut self,
        scratch: &mut Scratch,
        totals: &mut Totals,
        check_every: u32,
        now: Instant,
    ) -> io::Result<()> {
        loop {
            self.use_carried(totals, check_every, now)?;
            let (wanted, got) = match self.receive(scratch) {
                Ok(result) => result,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if got == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if got < wanted {
                // A stream that gave less than was asked for is empty (epoll(7)).
                return self.use_carried(totals, check_every, now);
            }
        }
    }

    /// Reads what the current state wants, into where it wants it. Gives the bytes wanted and got.
    fn receive(&mut self, scratch: &mut Scratch) -> io::Result<(usize, usize)> {
        match &mut self.expect {
            Expect::Block { offset, length, done, whole: true } => {
                let wanted = (*length - *done).min(scratch.whole.len());
                let got = self.stream.read(&mut scratch.whole[..wanted])?;
                compare(self.map, *offset + *done as u64, &scratch.whole[..got])?;
                *done += got;
                Ok((wanted, got))
            }
            Expect::Block { length, done, whole: false, .. }
                if *done >= ENDS.min(*length) && *done + ENDS < *length =>
            {
                let wanted = (*length - ENDS - *done).min(scratch.discarded.len());
                let got = discard(&self.stream, &mut scratch.discarded[..wanted])?;
                *done += got;
                Ok((wanted, got))
            }
            Expect::Nothing(left) if *left > STEP => {
                let wanted = (*left).min(scratch.discarded.len());
                let got = discard(&self.stream, &mut scratch.discarded[..wanted])?;
                *left -= got;
                Ok((wanted, got))
            }
            _ => {
                let room = &mut self.carry[self.carried..];
                let wanted = room.len().min(STEP);
                let got = self.stream.read(&mut room[..wanted])?;
                self.carried += got;
                Ok((wanted, got))
            }
        }
    }

    /// Uses up what was read, but for the start of a message.
    fn use_carried(
        &mut self,
        totals: &mut Totals,
        check_every: u32,
        now: Instant,
    ) -> io::Result<()> {
        let carry = self.carry;
        let mut bytes = &carry[..self.carried];
        loop {
            match &mut self.expect {
                Expect::Handshake => {
                    let Some((handshake, rest)) = bytes.split_at_checked(wire::HANDSHAKE) else {
                        break;
                    };
                    if wire::info_hash(handshake) != self.torrent.info_hash {
                        return Err(lie("another info-hash"));
                    }
                    bytes = rest;
                    self.greet(wire::has_fast(handshake));
                }
                Expect::Nothing(left) => {
                    let used = bytes.len().min(*left);
                    bytes = &bytes[used..];
                    *left -= used;
                    if *left > 0 {
                        break;
                    }
                    self.expect = Expect::Message;
                }
                Expect::Block { offset, length, done, whole } => {
                    let used = bytes.len().min(*length - *done);
                    compare(self.map, *offset + *done as u64, &bytes[..used])?;
                    bytes = &bytes[used..];
                    *done += used;
                    if *done < *length {
                        break;
                    }
                    totals.bytes += *length as u64;
                    totals.whole += if *whole { *length as u64 } else { 0 };
                    self.expect = Expect::Message;
                }
                Expect::Message => match self.message(bytes, totals, check_every, now)? {
                    Some(used) => bytes = &bytes[used..],
                    None => break,
                },
            }
        }
        let left = bytes.len();
        self.carry.copy_within(self.carried - left..self.carried, 0);
        self.carried = left;
        Ok(())
    }

    /// After the client's handshake: has nothing, wants all.
    fn greet(&mut self, fast: bool) {
        self.fast = fast;
        if fast {
            wire::bare(&mut self.out, wire::HAVE_NONE);
        }
        wire::bare(&mut self.out, wire::INTERESTED);
        self.expect = Expect::Message;
    }

    /// Understands the start of a message; `None` if more of it is needed. Gives the bytes used.
    fn message(
        &mut self,
        bytes: &[u8],
        totals: &mut Totals,
        check_every: u32,
        now: Instant,
    ) -> io::Result<Option<usize>> {
        if bytes.len() < 4 {
            return Ok(None);
        }
        let length = wire::number(bytes, 0) as usize;
        if length > LONGEST {
            return Err(lie("a message of absurd length"));
        }
        if length == 0 {
            return Ok(Some(4));
        }
        let Some(&id) = bytes.get(4) else { return Ok(None) };
        match id {
            wire::PIECE => {
                if bytes.len() < wire::PIECE_HEADER {
                    return Ok(None);
                }
                let (piece, begin) = (wire::number(bytes, 5), wire::number(bytes, 9));
                self.block(piece, begin, length.saturating_sub(9), totals, check_every, now)?;
                Ok(Some(wire::PIECE_HEADER))
            }
            wire::REJECT => {
                if bytes.len() < wire::REQUEST {
                    return Ok(None);
                }
                let (piece, begin) = (wire::number(bytes, 5), wire::number(bytes, 9));
                if let Some(asked) = self.take_asked(piece, begin) {
                    totals.rejected += 1;
                    self.again.push((asked.piece, asked.begin, asked.length));
                }
                Ok(Some(wire::REQUEST))
            }
            wire::CHOKE => {
                self.choked = true;
                // With the fast extension each request is still answered, by data or a rejection.
                if !self.fast {
                    let dropped = self.asked.drain(..);
                    self.again
                        .extend(dropped.map(|asked| (asked.piece, asked.begin, asked.length)));
                }
                Ok(Some(5))
            }
            wire::UNCHOKE => {
                self.choked = false;
                Ok(Some(5))
            }
            _ => {
                self.expect = Expect::Nothing(length - 1);
                Ok(Some(5))
            }
        }
    }

    fn block(
        &mut self,
        piece: u32,
        begin: u32,
        length: usize,
        totals: &mut Totals,
        check_every: u32,
        now: Instant,
    ) -> io::Result<()> {
        match self.take_asked(piece, begin) {
            Some(asked) if asked.length as usize == length => {
                totals.latency.record(now - asked.at);
                self.blocks = self.blocks.wrapping_add(1);
                self.expect = Expect::Block {
                    offset: self.torrent.offset(piece, begin),
                    length,
                    done: 0,
                    whole: self.blocks.is_multiple_of(check_every),
                };
                Ok(())
            }
            Some(_) => Err(lie("a block of another length than asked for")),
            // Without the fast extension, what was under way when the client choked.
            None if !self.fast => {
                self.expect = Expect::Nothing(length);
                Ok(())
            }
            None => Err(lie("a block that was not asked for")),
        }
    }

    fn take_asked(&mut self, piece: u32, begin: u32) -> Option<Asked> {
        let at =
            self.asked.iter().position(|asked| (asked.piece, asked.begin) == (piece, begin))?;
        self.asked.remove(at)
    }
}

fn lie(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the client sent {what}"))
}

/// A torrent that is longer than the data repeats it, by whole pieces.
fn compare(map: &Mmap, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let expected = &map[offset as usize % map.len()..][..bytes.len()];
    if bytes == expected { Ok(()) } else { Err(lie(&format!("wrong data at byte {offset}"))) }
}

/// Lets the kernel drop data instead of copying it.
fn discard(stream: &TcpStream, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    SockRef::from(stream).recv_with_flags(room, libc::MSG_TRUNC)
}
