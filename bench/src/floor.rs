//! The floor: a server loop with nothing in it but what seeding cannot do without.
//!
//! Multishot receive into a provided-buffer ring, requests decoded in place, and one message of up
//! to 32 blocks a ready connection and turn, sent by the kernel straight out of the mapped file. No
//! choking, no limits, no timeouts, no statistics: what a real client needs beyond this loop's
//! processor time is the price of being a client.
#![allow(unsafe_code)]

use std::{collections::VecDeque, net::SocketAddr, os::fd::AsRawFd, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use memmap2::Mmap;
use socket2::{Domain, Socket, Type};

use crate::{data, torrent::Torrent, wire};

mod buffers;
use buffers::Buffers;

/// Blocks in one message.
const BLOCKS: usize = 32;
/// Messages of one connection that may wait for their peer to take the data off their pages.
const MESSAGES: usize = 4;
/// Connections at once; each takes a slot in the ring's file table.
const CONNECTIONS: u32 = 4096;
/// Requests of one connection that may wait; who asks for more is dropped.
const QUEUE: usize = 4096;

#[derive(Args)]
pub struct Floor {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// The .torrent
    #[arg(long)]
    torrent: PathBuf,
    /// Its data
    #[arg(long)]
    data: PathBuf,
    /// Send from the mapped pages without copying them
    #[arg(long, value_enum, default_value = "on")]
    zero_copy: Switch,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Serves until killed.
pub fn run(options: &Floor) -> Result<()> {
    let torrent = Torrent::read(&options.torrent)?;
    let map = data::map(&options.data, &torrent)?;
    let listener = Socket::new(Domain::for_address(options.listen), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.bind(&options.listen.into())?;
    listener.listen(4096)?;
    Server::new(torrent, map, options.zero_copy == Switch::On)?.serve(&listener)
}

/// What a completion is about; the low byte of its user data. The connection is above it, the
/// number of the message above that.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Accept,
    Receive,
    Greet,
    Send,
    Close,
}

impl Kind {
    fn tag(self, connection: u32, message: usize) -> u64 {
        self as u64 | u64::from(connection) << 8 | (message as u64) << 40
    }

    fn of(user_data: u64) -> Kind {
        [Kind::Accept, Kind::Receive, Kind::Greet, Kind::Send, Kind::Close]
            [user_data as u8 as usize]
    }
}

/// A request that waits: where its data is, and the header that goes before it.
struct Block {
    offset: usize,
    length: usize,
    header: [u8; wire::PIECE_HEADER],
}

/// A message in the kernel's hands. It must not move or change until it has been taken back.
struct Message {
    headers: [[u8; wire::PIECE_HEADER]; BLOCKS],
    slices: [libc::iovec; 2 * BLOCKS],
    header: libc::msghdr,
    length: usize,
    busy: bool,
}

struct Connection {
    greeting: Vec<u8>,
    greeted: bool,
    /// The start of a message whose rest has not come yet.
    partial: Vec<u8>,
    queue: VecDeque<Block>,
    messages: Vec<Message>,
    sending: bool,
    ready: bool,
    closing: bool,
    /// Completions that are still to come.
    pending: u32,
}

struct Server {
    ring: IoUring,
    buffers: Buffers,
    torrent: Torrent,
    map: Mmap,
    zero_copy: bool,
    connections: Vec<Option<Box<Connection>>>,
    ready: Vec<u32>,
}

impl Server {
    fn new(torrent: Torrent, map: Mmap, zero_copy: bool) -> Result<Server> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(16_384)
            .build(4096)
            .context("io_uring is refused here")?;
        ring.submitter().register_files_sparse(CONNECTIONS)?;
        let buffers = Buffers::register(&ring)?;
        let connections = (0..CONNECTIONS).map(|_| None).collect();
        Ok(Server { ring, buffers, torrent, map, zero_copy, connections, ready: Vec::new() })
    }

    fn serve(mut self, listener: &Socket) -> Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .allocate_file_index(true)
            .build()
            .user_data(Kind::Accept.tag(0, 0));
        self.push(accept.clone())?;
        let mut completions: Vec<(u64, i32, u32)> = Vec::with_capacity(16_384);
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {
                    return Err(error.into());
                }
                _ => {}
            }
            let done = self.ring.completion();
            completions
                .extend(done.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
            for (user_data, result, flags) in completions.drain(..) {
                let connection = (user_data >> 8) as u32;
                match Kind::of(user_data) {
                    Kind::Accept => {
                        ensure!(cqueue::more(flags), "accepting ended: {result}");
                        if result >= 0 {
                            self.accepted(result as u32)?;
                        }
                    }
                    Kind::Receive => self.received(connection, result, flags)?,
                    Kind::Greet => self.returned(connection, result < 0)?,
                    Kind::Send => {
                        self.sent(connection, (user_data >> 40) as usize, result, flags)?
                    }
                    Kind::Close => {}
                }
            }
            self.buffers.publish();
            self.send_to_ready()?;
        }
    }

    fn push(&mut self, entry: squeue::Entry) -> Result<()> {
        loop {
            // SAFETY: what entries point at is the map, a message or a greeting, and all of them
            // stay where they are until the completion has come.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    fn accepted(&mut self, index: u32) -> Result<()> {
        let connection = Connection {
            greeting: Vec::new(),
            greeted: false,
            partial: Vec::new(),
            queue: VecDeque::with_capacity(128),
            messages: (0..MESSAGES).map(|_| Message::new()).collect(),
            sending: false,
            ready: false,
            closing: false,
            pending: 0,
        };
        self.connections[index as usize] = Some(Box::new(connection));
        self.receive(index)
    }

    fn receive(&mut self, index: u32) -> Result<()> {
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.pending += 1;
            let receive = opcode::RecvMulti::new(types::Fixed(index), buffers::GROUP).build();
            self.push(receive.user_data(Kind::Receive.tag(index, 0)))?;
        }
        Ok(())
    }

    fn received(&mut self, index: u32, result: i32, flags: u32) -> Result<()> {
        let buffer = cqueue::buffer_select(flags);
        let Some(connection) = &mut self.connections[index as usize] else { return Ok(()) };
        let mut greeting = None;
        if let Some(buffer) = buffer {
            let bytes = self.buffers.get(buffer, result.max(0) as usize);
            let understood = connection.take_in(bytes, &self.torrent);
            self.buffers.give_back(buffer);
            if understood.is_none() {
                connection.closing = true;
            }
            if connection.greeted && connection.greeting.is_empty() {
                connection.greeting = greet(&self.torrent);
                connection.pending += 1;
                let (at, length) = (connection.greeting.as_ptr(), connection.greeting.len());
                let send = opcode::Send::new(types::Fixed(index), at, length as u32);
                greeting = Some(send.flags(libc::MSG_WAITALL).build());
            }
            if !connection.ready && !connection.queue.is_empty() {
                connection.ready = true;
                self.ready.push(index);
            }
        }
        if let Some(send) = greeting {
            self.push(send.user_data(Kind::Greet.tag(index, 0)))?;
        }
        if cqueue::more(flags) {
            return Ok(());
        }
        let again = result > 0 || result == -libc::ENOBUFS;
        self.returned(index, !again)?;
        if again { self.receive(index) } else { Ok(()) }
    }

    /// An operation is over. Closes the connection once none is left, if it has failed.
    fn returned(&mut self, index: u32, failed: bool) -> Result<()> {
        let Some(connection) = &mut self.connections[index as usize] else { return Ok(()) };
        connection.pending -= 1;
        connection.closing |= failed;
        if connection.closing && connection.pending == 0 {
            self.connections[index as usize] = None;
            let close = opcode::Close::new(types::Fixed(index)).build();
            self.push(close.user_data(Kind::Close.tag(index, 0)))?;
        }
        Ok(())
    }

    fn sent(&mut self, index: u32, number: usize, result: i32, flags: u32) -> Result<()> {
        let Some(connection) = &mut self.connections[index as usize] else { return Ok(()) };
        let message = &mut connection.messages[number];
        let mut failed = false;
        if !cqueue::notif(flags) {
            failed = result != message.length as i32;
            connection.sending = false;
        }
        // Without zero copy, or on an error, no notification follows.
        let over = !cqueue::more(flags);
        message.busy = !over;
        if !connection.ready && !connection.queue.is_empty() {
            connection.ready = true;
            self.ready.push(index);
        }
        if over {
            self.returned(index, failed)?;
        } else {
            connection.closing |= failed;
        }
        Ok(())
    }

    fn send_to_ready(&mut self) -> Result<()> {
        let base = self.map.as_ptr();
        let mut ready = std::mem::take(&mut self.ready);
        for index in ready.drain(..) {
            let Some(connection) = &mut self.connections[index as usize] else { continue };
            connection.ready = false;
            if connection.sending || connection.closing {
                continue;
            }
            let free = connection.messages.iter().position(|message| !message.busy);
            let Some(number) = free else { continue };
            let message = &mut connection.messages[number];
            message.fill(&mut connection.queue, base);
            connection.sending = true;
            connection.pending += 1;
            let (socket, header) = (types::Fixed(index), &raw const message.header);
            let flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
            let send = if self.zero_copy {
                opcode::SendMsgZc::new(socket, header).flags(flags).build()
            } else {
                opcode::SendMsg::new(socket, header).flags(flags).build()
            };
            self.push(send.user_data(Kind::Send.tag(index, number)))?;
        }
        self.ready = ready;
        Ok(())
    }
}

impl Connection {
    /// Queues the blocks that are asked for; `None` if the peer makes no sense.
    fn take_in(&mut self, bytes: &[u8], torrent: &Torrent) -> Option<()> {
        if self.partial.is_empty() {
            let used = self.parse(bytes, torrent)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.parse(&all, torrent)?;
            all.drain(..used);
            self.partial = all;
        }
        Some(())
    }

    /// How many bytes were whole messages.
    fn parse(&mut self, bytes: &[u8], torrent: &Torrent) -> Option<usize> {
        let mut at = 0;
        if !self.greeted {
            if bytes.len() < wire::HANDSHAKE {
                return Some(0);
            }
            (wire::info_hash(bytes) == torrent.info_hash).then_some(())?;
            self.greeted = true;
            at = wire::HANDSHAKE;
        }
        while bytes.len() >= at + 4 {
            let length = wire::number(bytes, at) as usize;
            (length <= 1 << 20).then_some(())?;
            if bytes.len() < at + 4 + length {
                break;
            }
            if length == 13 && bytes[at + 4] == wire::REQUEST_ID {
                let [piece, begin, length] =
                    [5, 9, 13].map(|field| wire::number(bytes, at + field));
                (torrent.contains(piece, begin, length) && self.queue.len() < QUEUE)
                    .then_some(())?;
                self.queue.push_back(Block {
                    offset: torrent.offset(piece, begin) as usize,
                    length: length as usize,
                    header: wire::piece_header(piece, begin, length),
                });
            }
            at += 4 + length;
        }
        Some(at)
    }
}

impl Message {
    fn new() -> Message {
        Message {
            headers: [[0; wire::PIECE_HEADER]; BLOCKS],
            slices: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2 * BLOCKS],
            // SAFETY: all zeros is a message header without name, data and control.
            header: unsafe { std::mem::zeroed() },
            length: 0,
            busy: false,
        }
    }

    /// Takes as many blocks as fit. The blocks lie inside the mapping at `base`.
    fn fill(&mut self, queue: &mut VecDeque<Block>, base: *const u8) {
        let count = queue.len().min(BLOCKS);
        self.length = 0;
        for (number, block) in queue.drain(..count).enumerate() {
            self.headers[number] = block.header;
            let header = self.headers[number].as_mut_ptr().cast();
            self.slices[2 * number] = libc::iovec { iov_base: header, iov_len: block.header.len() };
            let data = base.wrapping_add(block.offset).cast_mut().cast();
            self.slices[2 * number + 1] = libc::iovec { iov_base: data, iov_len: block.length };
            self.length += block.header.len() + block.length;
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = 2 * count;
        self.busy = true;
    }
}

/// What a seed says to a new peer: its handshake, that it has all, and that the peer may ask.
fn greet(torrent: &Torrent) -> Vec<u8> {
    let mut out = wire::handshake(&torrent.info_hash, 0);
    wire::bare(&mut out, wire::HAVE_ALL);
    wire::bare(&mut out, wire::UNCHOKE);
    out
}
