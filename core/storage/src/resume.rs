//! What is remembered of a torrent's files between two runs, and whether it still holds.

use crate::disk::{self, Meta};
use metainfo::{Bitfield, FileIndex, Layout};
use std::{io, path::Path};

/// How a file looked when its pieces were last known to be good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStamp {
    /// Bytes.
    pub length: u64,
    /// Time of the last change of content, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl FileStamp {
    /// There was no such file, or nobody has looked.
    pub const ABSENT: FileStamp = FileStamp { length: 0, modified_ns: i64::MIN };

    /// The file has pieces that are good, but the disk may show more than it keeps: all of it is to be
    /// checked, however it looks.
    pub const UNKNOWN: FileStamp = FileStamp { length: u64::MAX, modified_ns: 0 };

    /// The same of a file of which no piece is known to be on the disk: it need not even be there.
    pub const DUBIOUS: FileStamp = FileStamp { length: u64::MAX, modified_ns: i64::MIN };

    pub(crate) fn of(meta: &Meta) -> FileStamp {
        FileStamp { length: meta.len(), modified_ns: meta.modified_ns() }
    }

    /// The file as it is now; [`FileStamp::ABSENT`] if there is none. Blocks.
    pub fn read(path: &Path) -> io::Result<FileStamp> {
        match disk::metadata(path) {
            Ok(meta) if meta.is_file() => Ok(FileStamp::of(&meta)),
            Ok(_) => Ok(FileStamp::ABSENT),
            Err(error) if is_absence(&error) => Ok(FileStamp::ABSENT),
            Err(error) => Err(error),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Which pieces the files have durably, and how the files looked when that was so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResumeData {
    /// The pieces that are on the disk.
    pub have: Bitfield,
    /// One for each file in the order of the layout, then one for the part file.
    pub stamps: Vec<FileStamp>,
    /// Whether nothing was written after this was taken: then every file must look as it did, not
    /// only the complete ones.
    pub is_final: bool,
    /// A sync has failed since all pieces were had: the page cache may show bytes of pieces that are
    /// not in `have` though they are not on the disk, so neither a check nor a comparison before
    /// writing must believe it.
    pub suspects_cache: bool,
}

/// Why bytes are not the resume data of this torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ResumeError {
    #[error("resume data of an unknown version")]
    Version,
    #[error("resume data is damaged")]
    Damaged,
    #[error("resume data of a torrent with other pieces or files")]
    OtherTorrent,
}

const VERSION: &[u8; 4] = b"RSR1";
const FINAL: u8 = 1;
const SUSPECTS_CACHE: u8 = 2;
const HEADER: usize = 4 + 1 + 4 + 4;
const STAMP: usize = 16;
const CHECKSUM: usize = 8;

impl ResumeData {
    /// Of a torrent whose files have nothing that is known to be durable.
    pub fn nothing(layout: &Layout) -> ResumeData {
        ResumeData {
            have: Bitfield::none(layout.geometry().piece_count()),
            stamps: vec![FileStamp::ABSENT; layout.file_count() as usize + 1],
            is_final: false,
            suspects_cache: false,
        }
    }

    /// Of a torrent whose check found that the disk does not keep what is in the files, when they looked
    /// like `stamps`: whatever they look like next, every piece of those that were whole is to be
    /// checked, and the page cache is not believed. Files of which `before` has pieces must be there
    /// still; others may go with the power.
    pub fn unknown(
        layout: &Layout,
        stamps: &[FileStamp],
        before: Option<&ResumeData>,
    ) -> ResumeData {
        let geometry = layout.geometry();
        let mut unknown =
            ResumeData { is_final: true, suspects_cache: true, ..Self::nothing(layout) };
        let mut have = Bitfield::all(geometry.piece_count());
        for (index, file) in layout.files().filter(|(_, file)| !file.is_pad()) {
            let now = stamps.get(index.as_usize()).copied().unwrap_or(FileStamp::ABSENT);
            if now != FileStamp::ABSENT && now.length >= file.length() {
                let is_known = before.is_some_and(|before| before.knows_of(layout, index));
                unknown.stamps[index.as_usize()] =
                    if is_known { FileStamp::UNKNOWN } else { FileStamp::DUBIOUS };
            } else {
                let pieces = layout.pieces_of(index).filter_map(|piece| geometry.piece(piece));
                pieces.for_each(|piece| _ = have.clear(piece));
            }
        }
        ResumeData { have, ..unknown }
    }

    /// Whether pieces of the file were on the disk for sure.
    fn knows_of(&self, layout: &Layout, file: FileIndex) -> bool {
        let geometry = layout.geometry();
        let mut pieces = layout.pieces_of(file).filter_map(|piece| geometry.piece(piece));
        let is_dubious = self.stamps.get(file.as_usize()) == Some(&FileStamp::DUBIOUS);
        !is_dubious && pieces.any(|piece| self.have.has(piece))
    }

    /// For the session database: version, flags, counts, bitfield, stamps and a checksum; numbers
    /// little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bits = self.have.as_bytes();
        let mut bytes =
            Vec::with_capacity(HEADER + bits.len() + self.stamps.len() * STAMP + CHECKSUM);
        bytes.extend_from_slice(VERSION);
        let flag = |is_set: bool, bit| if is_set { bit } else { 0 };
        bytes.push(flag(self.is_final, FINAL) | flag(self.suspects_cache, SUSPECTS_CACHE));
        bytes.extend_from_slice(&self.have.piece_count().to_le_bytes());
        bytes.extend_from_slice(&(self.stamps.len() as u32).to_le_bytes());
        bytes.extend_from_slice(bits);
        for stamp in &self.stamps {
            bytes.extend_from_slice(&stamp.length.to_le_bytes());
            bytes.extend_from_slice(&stamp.modified_ns.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`ResumeData::to_bytes`] wrote for a torrent of this layout.
    pub fn from_bytes(bytes: &[u8], layout: &Layout) -> Result<ResumeData, ResumeError> {
        if bytes.get(..4) != Some(VERSION) {
            return Err(ResumeError::Version);
        }
        let body = bytes.len().checked_sub(CHECKSUM).ok_or(ResumeError::Damaged)?;
        let (body, sum) = bytes.split_at(body);
        if sum != checksum(body).to_le_bytes() {
            return Err(ResumeError::Damaged);
        }
        let mut fields = Fields(&body[4..]);
        let [flags] = fields.take()?;
        let pieces = u32::from_le_bytes(fields.take()?);
        let stamps = u32::from_le_bytes(fields.take()?);
        if pieces != layout.geometry().piece_count() || stamps != layout.file_count() + 1 {
            return Err(ResumeError::OtherTorrent);
        }
        let bits = fields.slice(pieces.div_ceil(8) as usize)?;
        let have = Bitfield::from_bytes(bits, pieces).map_err(|_| ResumeError::Damaged)?;
        let stamps = (0..stamps)
            .map(|_| {
                Ok(FileStamp {
                    length: u64::from_le_bytes(fields.take()?),
                    modified_ns: i64::from_le_bytes(fields.take()?),
                })
            })
            .collect::<Result<_, ResumeError>>()?;
        if !fields.0.is_empty() {
            return Err(ResumeError::Damaged);
        }
        let (is_final, suspects_cache) = (flags & FINAL != 0, flags & SUSPECTS_CACHE != 0);
        Ok(ResumeData { have, stamps, is_final, suspects_cache })
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], ResumeError> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(ResumeError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ResumeError> {
        self.slice(N)?.try_into().map_err(|_| ResumeError::Damaged)
    }
}

/// FNV-1a: against torn and flipped bytes, not against anybody.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What [`check_stamps`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampReport {
    /// Files that are not as they were.
    pub changed: Vec<FileIndex>,
    /// The pieces whose files are all as they were: to be taken as had.
    pub trusted: Bitfield,
    /// The pieces that were had but lie in changed files: to be rechecked.
    pub doubtful: Bitfield,
    /// The stamps as they are now.
    pub stamps: Vec<FileStamp>,
}

/// Compares the files with how they looked. Blocks: for the control thread.
pub fn check_stamps(
    root: &Path,
    part_file: &Path,
    layout: &Layout,
    resume: &ResumeData,
) -> io::Result<StampReport> {
    compare_stamps(root, part_file, layout, resume, FileStamp::read)
}

/// As [`check_stamps`], with files that `look` looks at.
///
/// A file whose pieces are all had, and any file if the resume data is final, must be as long and as
/// old as it was. Of a file that was being written when the process ended it is only known that what
/// was had must still lie within its length: its later age is our own doing.
pub fn compare_stamps(
    root: &Path,
    part_file: &Path,
    layout: &Layout,
    resume: &ResumeData,
    look: impl Fn(&Path) -> io::Result<FileStamp>,
) -> io::Result<StampReport> {
    let geometry = layout.geometry();
    let piece_count = geometry.piece_count();
    let mut report = StampReport {
        changed: Vec::new(),
        trusted: resume.have.clone(),
        doubtful: Bitfield::none(piece_count),
        stamps: Vec::with_capacity(layout.file_count() as usize + 1),
    };
    let parts_before = resume.stamps.last().copied().unwrap_or(FileStamp::ABSENT);
    let parts_now = look(part_file)?;
    let has_parts = parts_now != FileStamp::ABSENT
        && parts_now.length >= parts_before.length
        && (!resume.is_final || parts_now == parts_before);
    for (index, file) in layout.files() {
        if file.is_pad() {
            report.stamps.push(FileStamp::ABSENT);
            continue;
        }
        let now = look(&root.join(file.path().as_path()))?;
        report.stamps.push(now);
        let before = resume.stamps.get(index.as_usize()).copied().unwrap_or(FileStamp::ABSENT);
        let had = layout.pieces_of(index).filter_map(|piece| geometry.piece(piece));
        let had: Vec<_> = had.filter(|&piece| resume.have.has(piece)).collect();
        let Some(&last) = had.last() else { continue };
        let is_complete = had.len() == layout.pieces_of(index).len();
        let end = geometry.offset_of(last) + u64::from(geometry.length_of(last));
        let needed = end.min(file.end()) - file.offset();
        let holds = if before == FileStamp::ABSENT {
            now == FileStamp::ABSENT && has_parts
        } else if is_complete || resume.is_final {
            now == before && now.length >= needed
        } else {
            now != FileStamp::ABSENT && now.length >= needed
        };
        if !holds {
            report.changed.push(index);
            for piece in had {
                report.trusted.clear(piece);
                report.doubtful.set(piece);
            }
        }
    }
    report.stamps.push(parts_now);
    Ok(report)
}
