//! What peers say, one message at a time.

use super::{EXTENSION_IDS, PeerError, Swarm, raw, wanted};
use crate::{
    PeerKey, Source, Way,
    limits::{MAX_ALLOWED_FAST, MAX_EARLY_LAPSES, MAX_EXCESS_REQUESTS, MAX_REQUEST_LENGTH},
    pieces::Pieces,
};
use metainfo::{Bitfield, BlockRange, PieceIndex};
use std::time::Duration;
use wire::{
    Message, RawBlock,
    extension::{self, ExtensionHandshake},
};

impl Swarm {
    /// A message has arrived. An error means that the peer broke the protocol and must be
    /// disconnected.
    ///
    /// Extended messages other than the handshake and those of [`EXTENSION_IDS`] are the caller's.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn on_message(
        &mut self,
        now: Duration,
        key: PeerKey,
        message: Message<'_>,
    ) -> Result<(), PeerError> {
        self.peers[key.index()].last_received = now;
        match message {
            Message::Request(block) => return self.on_request(now, key, block),
            Message::Cancel(block) => self.on_cancel(key, block),
            Message::Have { piece } => self.on_have(key, self.piece(piece)?),
            Message::Bitfield(bytes) => {
                let field = Bitfield::from_bytes(bytes, self.geometry.piece_count())?;
                self.on_pieces(key, Pieces::from_field(field));
            }
            Message::HaveAll => {
                self.require_fast(key)?;
                self.on_pieces(key, Pieces::All);
            }
            Message::HaveNone => {
                self.require_fast(key)?;
                self.on_pieces(key, Pieces::None);
            }
            Message::Choke => self.on_choke(key),
            Message::Unchoke => self.on_unchoke(key),
            Message::Interested => self.on_interested(now, key),
            Message::NotInterested => self.on_not_interested(now, key),
            Message::RejectRequest(block) => {
                self.require_fast(key)?;
                self.on_reject(now, key, block);
            }
            Message::AllowedFast { piece } => {
                self.require_fast(key)?;
                self.on_allowed_fast(key, self.piece(piece)?);
            }
            Message::SuggestPiece { piece } => {
                self.require_fast(key)?;
                self.on_suggestion(key, self.piece(piece)?);
            }
            Message::Extended { id, payload } => return self.on_extended(now, key, id, payload),
            Message::KeepAlive | Message::Port(_) => {}
        }
        Ok(())
    }

    fn piece(&self, index: u32) -> Result<PieceIndex, PeerError> {
        self.geometry.piece(index).ok_or(PeerError::NoSuchPiece(index))
    }

    fn require_fast(&self, key: PeerKey) -> Result<(), PeerError> {
        if self.peers[key.index()].fast { Ok(()) } else { Err(PeerError::NotFast) }
    }

    fn on_request(
        &mut self,
        now: Duration,
        key: PeerKey,
        asked: RawBlock,
    ) -> Result<(), PeerError> {
        let block = self
            .geometry
            .range(asked.index, asked.begin, asked.length)
            .filter(|block| block.length() <= MAX_REQUEST_LENGTH)
            .ok_or(PeerError::NoSuchRange)?;
        let peer = &mut self.peers[key.index()];
        let is_full = peer.uploads.len() >= self.settings.max_upload_queue as usize;
        let served = self.uploading && self.picker.have().has(block.piece());
        if served && !is_full && peer.may_request(block) {
            if peer.choked {
                peer.granted_bytes -= u64::from(block.length());
            }
            peer.uploads.push_back(block);
            peer.wake(key, &mut self.ready);
            return Ok(());
        }
        self.refuse(now, key, block, is_full)
    }

    fn refuse(
        &mut self,
        now: Duration,
        key: PeerKey,
        block: BlockRange,
        is_full: bool,
    ) -> Result<(), PeerError> {
        let peer = &mut self.peers[key.index()];
        // What was on its way when we choked does not count against the peer.
        let just_choked = peer.choked && now.saturating_sub(peer.choke_changed).as_secs() < 10;
        if is_full || !just_choked {
            peer.excess_requests += 1;
        }
        if peer.excess_requests > MAX_EXCESS_REQUESTS || peer.is_deaf() {
            return Err(PeerError::Flood);
        }
        if peer.fast {
            peer.say(key, &mut self.ready, Message::RejectRequest(raw(block)));
        }
        Ok(())
    }

    fn on_cancel(&mut self, key: PeerKey, cancelled: RawBlock) {
        let peer = &mut self.peers[key.index()];
        let at = peer.uploads.iter().rposition(|&block| raw(block) == cancelled);
        if at.and_then(|at| peer.uploads.remove(at)).is_some() && peer.fast {
            peer.say(key, &mut self.ready, Message::RejectRequest(cancelled));
        }
    }

    fn on_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let peer = &mut self.peers[key.index()];
        peer.declared = true;
        if !peer.pieces.set(piece, self.geometry.piece_count()) {
            return;
        }
        peer.wanted += u32::from(self.picker.is_wanted(piece));
        if !peer.pieces.is_all() {
            self.picker.raise(piece);
        } else {
            self.picker.became_seed(piece);
        }
        self.pieces_grew(key);
    }

    /// The peer tells its pieces. BEP 3 allows that once, at the start, but aria2 says a whole bitfield
    /// again for every twenty pieces that it has got: what is new in it counts, and costs what it would
    /// cost told piece by piece.
    fn on_pieces(&mut self, key: PeerKey, told: Pieces) {
        let peer = &mut self.peers[key.index()];
        if std::mem::replace(&mut peer.declared, true) {
            let geometry = self.geometry;
            let new = told.beyond(&peer.pieces, geometry.piece_count());
            for piece in new.into_iter().filter_map(|index| geometry.piece(index)) {
                self.on_have(key, piece);
            }
            return;
        }
        self.picker.add_pieces(&told);
        peer.wanted = self.picker.count_wanted(&told);
        peer.pieces = told;
        self.grant_fast_set(key);
        self.pieces_grew(key);
    }

    /// There may be something new to ask this peer for, or nothing left to give it.
    fn pieces_grew(&mut self, key: PeerKey) {
        self.update_interest(key);
        self.end_starving(key);
        self.close_if_redundant(key);
    }

    /// A peer that found nothing to ask for may find something now.
    fn end_starving(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        if std::mem::take(&mut peer.starved) {
            self.starved.retain(|&starved| starved != key);
            peer.wake(key, &mut self.ready);
        }
    }

    fn on_lost(&mut self, now: Duration, key: PeerKey, piece: PieceIndex) -> Result<(), PeerError> {
        let peer = &mut self.peers[key.index()];
        let was_all = peer.pieces.is_all();
        if was_all {
            let seconds = now.saturating_sub(peer.connected_at).as_secs() as u32;
            peer.lapses += 1;
            if peer.lapses > MAX_EARLY_LAPSES + seconds {
                return Err(PeerError::GainsAndLoses);
            }
        }
        if !peer.pieces.clear(piece, self.geometry.piece_count()) {
            return Ok(());
        }
        if was_all {
            self.picker.was_seed(piece);
            peer.wanted = self.picker.count_wanted(&peer.pieces);
        } else {
            self.picker.lower(piece);
            peer.wanted -= u32::from(self.picker.is_wanted(piece));
        }
        self.picker.disown_piece(piece, key);
        // With the fast extension each request is rejected on its own; without, nothing follows.
        if !peer.fast {
            let picker = &mut self.picker;
            peer.pipeline.remove_where(|request| {
                let is_void = request.block.piece() == piece;
                if is_void && request.live {
                    picker.release(request.block);
                }
                is_void
            });
        }
        self.wake_starved();
        self.update_interest(key);
        Ok(())
    }

    fn on_choke(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        peer.chokes_us = true;
        // With the fast extension each request is rejected on its own (BEP 6).
        if !peer.fast {
            let (picker, meter) = (&mut self.picker, &mut self.meters[Way::Down as usize]);
            peer.pipeline.remove_where(|request| {
                if request.live {
                    picker.release(request.block);
                }
                meter.give_back(u64::from(request.block.length()));
                true
            });
        }
        self.picker.disown(key);
        self.wake_starved();
    }

    fn on_unchoke(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        peer.chokes_us = false;
        if wanted(&self.picker, peer) > 0 {
            peer.wake(key, &mut self.ready);
        }
        // Until now it had only the pieces that may be asked for while choked.
        self.end_starving(key);
    }

    fn on_interested(&mut self, now: Duration, key: PeerKey) {
        self.peers[key.index()].is_interested = true;
        if self.uploading && self.unchoked < self.settings.slots() {
            self.unchoke(now, key, false);
        }
    }

    fn on_not_interested(&mut self, now: Duration, key: PeerKey) {
        let peer = &mut self.peers[key.index()];
        peer.is_interested = false;
        if !peer.choked {
            self.choke(now, key);
            self.fill_slots(now);
        }
    }

    fn on_reject(&mut self, now: Duration, key: PeerKey, rejected: RawBlock) {
        let Some(block) = self.geometry.range(rejected.index, rejected.begin, rejected.length)
        else {
            return;
        };
        let peer = &mut self.peers[key.index()];
        // Nothing to take back: it crossed with our cancel.
        let Some(request) = peer.pipeline.take(block) else { return };
        self.meters[Way::Down as usize].give_back(u64::from(block.length()));
        if peer.chokes_us {
            peer.allowed.retain(|&piece| piece != block.piece());
        } else {
            peer.pipeline.rejected(now);
        }
        if request.live {
            self.picker.let_down(block, key, now);
            self.wake_starved();
        }
    }

    fn on_allowed_fast(&mut self, key: PeerKey, piece: PieceIndex) {
        let peer = &mut self.peers[key.index()];
        if peer.allowed.len() < MAX_ALLOWED_FAST && !peer.allowed.contains(&piece) {
            peer.allowed.push(piece);
            peer.wake(key, &mut self.ready);
            self.end_starving(key);
        }
    }

    fn on_suggestion(&mut self, key: PeerKey, piece: PieceIndex) {
        if self.picker.is_wanted(piece) {
            self.peers[key.index()].suggest(piece);
        }
    }

    fn on_extended(
        &mut self,
        now: Duration,
        key: PeerKey,
        id: u8,
        payload: &[u8],
    ) -> Result<(), PeerError> {
        if id == extension::HANDSHAKE_ID {
            self.on_extension_handshake(now, key, ExtensionHandshake::decode(payload)?);
        } else if Some(id) == EXTENSION_IDS.lt_donthave {
            let piece = self.piece(extension::decode_dont_have(payload)?)?;
            self.on_lost(now, key, piece)?;
        } else if Some(id) == EXTENSION_IDS.upload_only {
            self.peers[key.index()].upload_only = extension::decode_upload_only(payload)?;
            self.close_if_redundant(key);
        }
        Ok(())
    }

    fn on_extension_handshake(&mut self, now: Duration, key: PeerKey, told: ExtensionHandshake) {
        let peer = &mut self.peers[key.index()];
        peer.ids.update(&told.m);
        if let Some(reqq) = told.reqq {
            peer.pipeline.set_reqq(reqq);
        }
        if let Some(name) = told.v {
            peer.client = Some(name.into());
        }
        if let Some(upload_only) = told.upload_only {
            peer.upload_only = upload_only;
        }
        if let Some(port) = told.p.filter(|_| peer.incoming) {
            peer.listen_port = Some(port);
            let mut addr = peer.addr;
            addr.set_port(port);
            self.candidates.add(now, addr, Source::Incoming);
            self.candidates.connected(addr);
        }
        self.close_if_redundant(key);
    }
}
