//! The hashes of a new torrent: threads take groups of pieces and read a slice of each in turn, as
//! in a recheck.

use super::{CreateProgress, CreateTorrentError};
use crate::StorageError;
use hash::{Hasher, Job, Sha1State};
use metainfo::{
    BLOCK_LENGTH, FileIndex, Layout, PieceIndex,
    create::{Hashes, Plan, Version},
    merkle::{self, FileHash},
};
use ring::BufPool;
use std::{
    fs,
    io::ErrorKind,
    ops::{ControlFlow, Range},
    os::unix::fs::FileExt,
    path::Path,
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

/// Bytes read of each piece in turn: whole blocks.
const SLICE: usize = 4 * BLOCK_LENGTH as usize;

type Progress<'a> = &'a (dyn Fn(CreateProgress) -> ControlFlow<()> + Sync);

struct Work<'a> {
    plan: &'a Plan,
    paths: &'a [&'a Path],
    next: AtomicU32,
    bytes_done: AtomicU64,
    stop: AtomicBool,
    progress: Progress<'a>,
    done: Mutex<Done>,
}

struct Done {
    pieces: Vec<[u8; 20]>,
    /// The nodes of the pieces of files that are longer than a piece.
    nodes: Vec<merkle::Hash>,
    files: Vec<Option<FileHash>>,
    error: Option<CreateTorrentError>,
}

/// A piece being hashed.
struct Lane {
    piece: PieceIndex,
    left: Range<u64>,
    state: Sha1State,
    /// The file that version 2 sees in this piece, and its blocks so far.
    file: Option<FileIndex>,
    blocks: Vec<merkle::Hash>,
}

/// Hashes all bytes of the plan's files; `paths` are those of the caller's list.
pub(super) fn hash(
    plan: &Plan,
    paths: &[&Path],
    threads: usize,
    progress: Progress<'_>,
) -> Result<Hashes, CreateTorrentError> {
    let layout = plan.layout();
    let piece_count = layout.geometry().piece_count() as usize;
    let work = Work {
        plan,
        paths,
        next: AtomicU32::new(0),
        bytes_done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        progress,
        done: Mutex::new(Done {
            pieces: vec![[0; 20]; piece_count],
            nodes: vec![[0; 32]; piece_count],
            files: vec![None; layout.file_count() as usize],
            error: None,
        }),
    };
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, |count| count.get()),
        threads => threads,
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| Thread::new(&work).run());
        }
    });
    let mut done = work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = done.error {
        return Err(error);
    }
    if plan.version() == Version::V1 {
        return Ok(Hashes { pieces: done.pieces, files: Vec::new() });
    }
    join_layers(layout, &done.nodes, &mut done.files);
    let pieces = if plan.version() == Version::V2 { Vec::new() } else { done.pieces };
    Ok(Hashes { pieces, files: done.files })
}

/// The trees of files that are longer than a piece, from the nodes of their pieces.
fn join_layers(layout: &Layout, nodes: &[merkle::Hash], files: &mut [Option<FileHash>]) {
    let piece_length = layout.geometry().piece_length();
    for (index, file) in layout.files() {
        if !file.is_pad() && file.length() > u64::from(piece_length) {
            let pieces = layout.pieces_of(index);
            let layer = nodes[pieces.start as usize..pieces.end as usize].to_vec();
            files[index.as_usize()] = Some(FileHash::from_pieces(layer, piece_length));
        }
    }
}

struct Thread<'a> {
    work: &'a Work<'a>,
    hasher: Hasher,
    has_v1: bool,
    has_v2: bool,
    open: Vec<(FileIndex, Rc<fs::File>)>,
}

impl<'a> Thread<'a> {
    fn new(work: &'a Work<'a>) -> Thread<'a> {
        let hasher = Hasher::detect();
        let version = work.plan.version();
        Thread {
            work,
            hasher,
            has_v1: version != Version::V2,
            has_v2: version != Version::V1,
            open: Vec::new(),
        }
    }

    fn run(mut self) {
        let lanes = self.hasher.backend().lanes();
        let mut buffer = BufPool::new(0).get(lanes * SLICE);
        let lanes = lanes as u32;
        while !self.work.stop.load(Relaxed) {
            let first = self.work.next.fetch_add(lanes, Relaxed);
            let geometry = self.work.plan.layout().geometry();
            let group: Vec<PieceIndex> =
                (first..first.saturating_add(lanes)).map_while(|i| geometry.piece(i)).collect();
            if group.is_empty() {
                return;
            }
            match self.group(&group, &mut buffer) {
                Ok(lanes) => self.hand_in(lanes),
                Err(error) => {
                    self.work.stop.store(true, Relaxed);
                    self.done(|done| {
                        done.error.get_or_insert(error);
                    });
                }
            }
        }
    }

    fn group(
        &mut self,
        pieces: &[PieceIndex],
        buffer: &mut [u8],
    ) -> Result<Vec<Lane>, CreateTorrentError> {
        let layout = self.work.plan.layout();
        let mut lanes: Vec<Lane> = pieces.iter().map(|&piece| Lane::new(layout, piece)).collect();
        while lanes.iter().any(|lane| !lane.left.is_empty()) {
            self.round(&mut lanes, buffer)?;
            let progress = CreateProgress {
                bytes_done: self.work.bytes_done.load(Relaxed),
                bytes_total: layout.geometry().total_length(),
            };
            if self.work.stop.load(Relaxed) || (self.work.progress)(progress).is_break() {
                return Err(CreateTorrentError::Cancelled);
            }
        }
        Ok(lanes)
    }

    /// One slice of each piece.
    fn round(&mut self, lanes: &mut [Lane], buffer: &mut [u8]) -> Result<(), CreateTorrentError> {
        let layout = self.work.plan.layout();
        let mut jobs = Vec::new();
        let mut blocks: Vec<&[u8]> = Vec::new();
        let mut owners = Vec::new();
        for (number, (lane, slice)) in lanes.iter_mut().zip(buffer.chunks_mut(SLICE)).enumerate() {
            let (start, length) = lane.next_slice();
            if length == 0 {
                continue;
            }
            let slice = &mut slice[..length];
            let mut at = 0;
            let mut real = 0;
            for span in layout.spans(start, length as u64) {
                let part = &mut slice[at..at + span.length as usize];
                at += part.len();
                if span.pad {
                    part.fill(0);
                } else {
                    real = at;
                    self.read(span.file, span.offset, part)?;
                }
            }
            self.work.bytes_done.fetch_add(length as u64, Relaxed);
            let slice = &*slice;
            if self.has_v2 {
                blocks.extend(slice[..real].chunks(BLOCK_LENGTH as usize));
                owners.resize(blocks.len(), number);
            }
            jobs.push(Job { state: &mut lane.state, data: slice });
        }
        if self.has_v1 {
            self.hasher.update(&mut jobs);
        }
        drop(jobs);
        let mut hashes = vec![[0; 32]; blocks.len()];
        self.hasher.sha256_many(&blocks, &mut hashes);
        for (owner, hash) in owners.into_iter().zip(hashes) {
            lanes[owner].blocks.push(hash);
        }
        Ok(())
    }

    fn read(
        &mut self,
        file: FileIndex,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), CreateTorrentError> {
        let source = self.work.plan.source(file).and_then(|index| self.work.paths.get(index));
        let Some(path) = source else { return Ok(()) };
        let fail = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => CreateTorrentError::Changed(path.to_path_buf()),
            _ => StorageError::new(path.to_path_buf(), error).into(),
        };
        let known = self.open.iter().rev().find(|(open, _)| *open == file);
        let opened = match known {
            Some((_, opened)) => Rc::clone(opened),
            None => {
                let opened = Rc::new(fs::File::open(path).map_err(fail)?);
                if self.open.len() >= 2 * self.hasher.backend().lanes() {
                    self.open.remove(0);
                }
                self.open.push((file, Rc::clone(&opened)));
                opened
            }
        };
        opened.read_exact_at(into, offset).map_err(fail)
    }

    fn hand_in(&self, lanes: Vec<Lane>) {
        let layout = self.work.plan.layout();
        let piece_length = layout.geometry().piece_length();
        self.done(|done| {
            for lane in lanes {
                let piece = lane.piece.as_usize();
                match lane.file.filter(|_| self.has_v2) {
                    Some(file) if layout[file].length() <= u64::from(piece_length) => {
                        done.files[file.as_usize()] =
                            FileHash::from_blocks(&lane.blocks, piece_length);
                    }
                    Some(_) => done.nodes[piece] = merkle::piece_root(&lane.blocks, piece_length),
                    None => {}
                }
                done.pieces[piece] = lane.state.finish();
            }
        });
    }

    fn done(&self, change: impl FnOnce(&mut Done)) {
        change(&mut self.work.done.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Lane {
    fn new(layout: &Layout, piece: PieceIndex) -> Lane {
        let start = layout.geometry().offset_of(piece);
        let end = start + u64::from(layout.geometry().length_of(piece));
        // With version 2, a piece has bytes of one file at most, and then padding.
        let file = layout.piece_spans(piece).find(|span| !span.pad).map(|span| span.file);
        Lane { piece, left: start..end, state: Sha1State::new(), file, blocks: Vec::new() }
    }

    fn next_slice(&mut self) -> (u64, usize) {
        let start = self.left.start;
        let length = (self.left.end - start).min(SLICE as u64);
        self.left.start += length;
        (start, length as usize)
    }
}
