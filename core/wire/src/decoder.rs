//! Reads messages out of a stream that arrives in pieces of any size.
//!
//! What lies whole in the receive buffer is lent from there. Of a message that straddles buffers,
//! up to 17 bytes are held in place; only bitfields and extended messages need the heap, and only
//! as much as has come, never more than the limit, and only until the item is used. The data of
//! blocks is never held.

use crate::{
    limits,
    message::{Message, RawBlock, id},
};

/// How long the messages may be whose length the protocol leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of a bitfield: the torrent's pieces divided by 8, rounded up, once they are known.
    pub max_bitfield: u32,
    /// Bytes of an extended message after its id.
    pub max_extended: u32,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits { max_bitfield: limits::BITFIELD_BYTES, max_extended: limits::EXTENDED_BYTES }
    }
}

/// What a peer sent. `BlockStart` is followed by `BlockData` with `length` bytes in all, then by
/// `BlockEnd`, and nothing in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A `piece` message begins; its numbers are unchecked, but `length` is at most
    /// [`limits::BLOCK_LENGTH`].
    BlockStart(RawBlock),
    /// The next bytes of the block, straight from the receive buffer; never empty.
    BlockData(&'a [u8]),
    /// All bytes of the block have been given.
    BlockEnd,
}

/// Why a stream cannot be read on. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length that this kind of message cannot have.
    #[error("a `{message}` message of {length} bytes, which it cannot have")]
    WrongLength {
        /// The kind of message.
        message: &'static str,
        /// Bytes, the id included.
        length: u32,
    },
    /// Longer than allowed.
    #[error("a `{message}` message of {length} bytes, more than the {limit} allowed")]
    TooLong {
        /// The kind of message.
        message: &'static str,
        /// Bytes, the id included.
        length: u32,
        /// The most that is allowed, the id included.
        limit: u32,
    },
}

/// Reads one direction of a connection after the handshake.
#[derive(Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    state: State,
    /// The start of a message of which more is to come: never a whole fixed-size message.
    head: [u8; HEAD],
    head_len: u8,
    carry: Vec<u8>,
}

/// The longest message of fixed size.
const HEAD: usize = 17;

/// Bytes of a `piece` message before its data.
const BLOCK_HEAD: usize = 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the first bytes of a message; `head` holds those that came.
    Head,
    /// Within the body of a bitfield or extended message; `carry` holds what came.
    Body { kind: Body, length: u32 },
    /// `carry` has been lent out and is to be freed.
    Lent,
    /// Within the data of a block.
    Block { left: u32 },
    /// Within a message of unknown kind.
    Skip { left: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Bitfield,
    Extended(u8),
}

/// How a message is read, known from its length and id.
enum Plan {
    Fixed,
    Bitfield,
    Extended,
    Block,
    Skip,
}

impl Decoder {
    /// At the start of a message.
    pub fn new(limits: DecodeLimits) -> Decoder {
        Decoder { limits, state: State::Head, head: [0; HEAD], head_len: 0, carry: Vec::new() }
    }

    /// Changes the limits for the messages that begin from now on.
    pub fn set_limits(&mut self, limits: DecodeLimits) {
        self.limits = limits;
    }

    /// Bytes held on the heap; 0 except within a bitfield or extended message that came in parts.
    pub fn heap_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Takes what it can from the front of `input`, advancing it, and yields one item; `None` when
    /// all is consumed and more bytes are needed.
    ///
    /// Call it until it yields `None`: only then is all that was held for the last item freed.
    #[inline]
    pub fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Item<'s>>, DecodeError> {
        if self.state == State::Head
            && self.head_len == 0
            && let Some(item) = self.whole(input)?
        {
            return Ok(Some(item));
        }
        self.resume(input)
    }

    /// A message, or the head of a block, that lies whole at the front of `input`.
    #[inline]
    fn whole<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Item<'i>>, DecodeError> {
        // Most of what a busy seed hears, back to back.
        if let Some((bytes, rest)) = input.split_first_chunk::<17>()
            && bytes[..5] == [0, 0, 0, 13, id::REQUEST]
        {
            *input = rest;
            return Ok(Some(Item::Message(Message::Request(raw_block(bytes)))));
        }
        let Some((prefix, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix);
        if length == 0 {
            *input = rest;
            return Ok(Some(Item::Message(Message::KeepAlive)));
        }
        let Some(&id) = rest.first() else { return Ok(None) };
        let plan = plan(length, id, &self.limits)?;
        if let Plan::Block = plan {
            let Some((head, rest)) = input.split_first_chunk::<BLOCK_HEAD>() else {
                return Ok(None);
            };
            *input = rest;
            return Ok(Some(self.start_block(head, length)));
        }
        let Some((body, after)) = rest.split_at_checked(length as usize) else { return Ok(None) };
        let item = match plan {
            Plan::Fixed => fixed(&input[..4 + length as usize]),
            Plan::Bitfield => Message::Bitfield(&body[1..]),
            Plan::Extended => Message::Extended { id: body[1], payload: &body[2..] },
            Plan::Block | Plan::Skip => return Ok(None),
        };
        *input = after;
        Ok(Some(Item::Message(item)))
    }

    /// Goes on with what an earlier buffer began.
    fn resume<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Item<'s>>, DecodeError> {
        loop {
            match self.state {
                State::Lent => {
                    self.carry = Vec::new();
                    self.state = State::Head;
                    if let Some(item) = self.whole(input)? {
                        return Ok(Some(item));
                    }
                }
                State::Block { left: 0 } => {
                    self.state = State::Head;
                    return Ok(Some(Item::BlockEnd));
                }
                State::Block { left } => {
                    let data = take(input, left as usize);
                    if data.is_empty() {
                        return Ok(None);
                    }
                    self.state = State::Block { left: left - data.len() as u32 };
                    return Ok(Some(Item::BlockData(data)));
                }
                State::Skip { left } => {
                    let left = left - take(input, left as usize).len() as u32;
                    if left > 0 {
                        self.state = State::Skip { left };
                        return Ok(None);
                    }
                    self.state = State::Head;
                    if let Some(item) = self.whole(input)? {
                        return Ok(Some(item));
                    }
                }
                State::Body { kind, length } => {
                    let length = length as usize;
                    let part = take(input, length - self.carry.len());
                    grow(&mut self.carry, part, length);
                    if self.carry.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Lent;
                    return Ok(Some(Item::Message(match kind {
                        Body::Bitfield => Message::Bitfield(&self.carry),
                        Body::Extended(id) => Message::Extended { id, payload: &self.carry },
                    })));
                }
                State::Head => {
                    let wanted = self.head_wanted()?;
                    let part = take(input, wanted - usize::from(self.head_len));
                    let end = usize::from(self.head_len) + part.len();
                    self.head[usize::from(self.head_len)..end].copy_from_slice(part);
                    self.head_len = end as u8;
                    if end < wanted {
                        return Ok(None);
                    }
                    // The bytes that came may show that more are wanted.
                    if self.head_wanted()? == end
                        && let Some(item) = self.finish_head(end)?
                    {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    /// Bytes of the message that must be there before the rest can be dealt with, as far as those
    /// that came can tell.
    fn head_wanted(&self) -> Result<usize, DecodeError> {
        let length = self.head_length();
        Ok(match self.head_len {
            0..4 => 4,
            4 if length == 0 => 4,
            4 => 5,
            _ => match plan(length, self.head[4], &self.limits)? {
                Plan::Fixed => 4 + length as usize,
                Plan::Bitfield | Plan::Skip => 5,
                Plan::Extended => 6,
                Plan::Block => BLOCK_HEAD,
            },
        })
    }

    fn head_length(&self) -> u32 {
        u32::from_be_bytes([self.head[0], self.head[1], self.head[2], self.head[3]])
    }

    /// Deals with a complete head: an item, or a state that takes the rest.
    fn finish_head(&mut self, end: usize) -> Result<Option<Item<'static>>, DecodeError> {
        let length = self.head_length();
        if length == 0 {
            self.head_len = 0;
            return Ok(Some(Item::Message(Message::KeepAlive)));
        }
        let plan = plan(length, self.head[4], &self.limits)?;
        self.head_len = 0;
        self.state = match plan {
            Plan::Fixed => return Ok(Some(Item::Message(fixed(&self.head[..end])))),
            Plan::Block => {
                let mut head = [0; BLOCK_HEAD];
                head.copy_from_slice(&self.head[..BLOCK_HEAD]);
                return Ok(Some(self.start_block(&head, length)));
            }
            Plan::Bitfield => State::Body { kind: Body::Bitfield, length: length - 1 },
            Plan::Extended => {
                State::Body { kind: Body::Extended(self.head[5]), length: length - 2 }
            }
            Plan::Skip => State::Skip { left: length - 1 },
        };
        Ok(None)
    }

    fn start_block(&mut self, head: &[u8; BLOCK_HEAD], length: u32) -> Item<'static> {
        let length = length - 9;
        self.state = State::Block { left: length };
        Item::BlockStart(RawBlock { index: number(head, 5), begin: number(head, 9), length })
    }
}

/// What a length (the id included, at least 1) and an id announce, if they go together.
#[inline]
fn plan(length: u32, id: u8, limits: &DecodeLimits) -> Result<Plan, DecodeError> {
    let (message, only) = match id {
        id::CHOKE => ("choke", 1),
        id::UNCHOKE => ("unchoke", 1),
        id::INTERESTED => ("interested", 1),
        id::NOT_INTERESTED => ("not interested", 1),
        id::HAVE_ALL => ("have all", 1),
        id::HAVE_NONE => ("have none", 1),
        id::PORT => ("port", 3),
        id::HAVE => ("have", 5),
        id::SUGGEST_PIECE => ("suggest piece", 5),
        id::ALLOWED_FAST => ("allowed fast", 5),
        id::REQUEST => ("request", 13),
        id::CANCEL => ("cancel", 13),
        id::REJECT_REQUEST => ("reject request", 13),
        id::BITFIELD => {
            let limit = limits.max_bitfield.saturating_add(1);
            return bounded("bitfield", length, 1, limit).map(|()| Plan::Bitfield);
        }
        id::PIECE => {
            let limit = limits::BLOCK_LENGTH + 9;
            return bounded("piece", length, 9, limit).map(|()| Plan::Block);
        }
        id::EXTENDED => {
            let limit = limits.max_extended.saturating_add(2);
            return bounded("extended", length, 2, limit).map(|()| Plan::Extended);
        }
        _ => {
            let limit = limits::UNKNOWN_LENGTH;
            return bounded("unknown", length, 1, limit).map(|()| Plan::Skip);
        }
    };
    if length != only {
        return Err(DecodeError::WrongLength { message, length });
    }
    Ok(Plan::Fixed)
}

fn bounded(message: &'static str, length: u32, least: u32, limit: u32) -> Result<(), DecodeError> {
    if length < least {
        return Err(DecodeError::WrongLength { message, length });
    }
    if length > limit {
        return Err(DecodeError::TooLong { message, length, limit });
    }
    Ok(())
}

/// The message of fixed size that [`plan`] found at the front of `bytes`.
#[inline]
fn fixed(bytes: &[u8]) -> Message<'static> {
    match bytes[4] {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::PORT => Message::Port(u16::from_be_bytes([bytes[5], bytes[6]])),
        id::HAVE => Message::Have { piece: number(bytes, 5) },
        id::SUGGEST_PIECE => Message::SuggestPiece { piece: number(bytes, 5) },
        id::ALLOWED_FAST => Message::AllowedFast { piece: number(bytes, 5) },
        id::REQUEST => Message::Request(raw_block(bytes)),
        id::CANCEL => Message::Cancel(raw_block(bytes)),
        id::REJECT_REQUEST => Message::RejectRequest(raw_block(bytes)),
        other => unreachable!("message {other} has no fixed size"),
    }
}

#[inline]
fn raw_block(bytes: &[u8]) -> RawBlock {
    RawBlock { index: number(bytes, 5), begin: number(bytes, 9), length: number(bytes, 13) }
}

#[inline]
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The front of `input`, at most `most` bytes, taken off it.
fn take<'i>(input: &mut &'i [u8], most: usize) -> &'i [u8] {
    let (front, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    front
}

/// Appends, at most doubling what is held: a peer gets no memory for a length that it only claims.
fn grow(carry: &mut Vec<u8>, part: &[u8], length: usize) {
    let wanted = carry.len() + part.len();
    if wanted > carry.capacity() {
        let capacity = wanted.max(carry.capacity() * 2).min(length);
        carry.reserve_exact(capacity - carry.len());
    }
    carry.extend_from_slice(part);
}

#[cfg(test)]
mod tests;
