//! Where the files lie in a torrent's bytes.
//!
//! The files follow one another in the torrent's byte space without gaps; pad files (BEP 47) are
//! files like others there, but never exist on disk: their bytes are zero. A [`FileIndex`] exists
//! only for a file that its layout has.

use crate::{BlockRange, Geometry, PieceIndex, limits, path::TorrentPath};
use std::ops::{Index, Range};

/// The number of a file that exists in its torrent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileIndex(u32);

impl FileIndex {
    /// The number as control protocols show it.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as an index into per-file tables.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {}", self.0)
    }
}

/// What a file is besides its bytes (BEP 47).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `p`: zeros that align the next file, never on disk.
    pub pad: bool,
    /// `x`
    pub executable: bool,
    /// `h`
    pub hidden: bool,
    /// `l`: a symbolic link; it has no bytes.
    pub symlink: bool,
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub(crate) path: TorrentPath,
    pub(crate) length: u64,
    pub(crate) offset: u64,
    pub(crate) attributes: Attributes,
    pub(crate) symlink_target: Option<Box<TorrentPath>>,
    pub(crate) root: Option<Box<[u8; 32]>>,
}

impl File {
    /// The path below the download folder: the torrent's name first if it has several files.
    pub fn path(&self) -> &TorrentPath {
        &self.path
    }

    /// Bytes in it; may be zero.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes from the start of the torrent to its first byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes from the start of the torrent to the byte after its last.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// Whether it only aligns the next file and never exists on disk (BEP 47).
    pub fn is_pad(&self) -> bool {
        self.attributes.pad
    }

    /// Its attributes (BEP 47).
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The file or folder of this torrent that it points to, if it is a symbolic link whose target
    /// exists in the torrent.
    pub fn symlink_target(&self) -> Option<&TorrentPath> {
        self.symlink_target.as_deref()
    }

    /// The root of its version-2 hash tree (BEP 52); `None` in a version-1 torrent and for an empty
    /// file.
    pub fn root(&self) -> Option<&[u8; 32]> {
        self.root.as_deref()
    }
}

/// A run of bytes of one file, not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileIndex,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes in the run; at least 1.
    pub length: u64,
    /// Whether these are the zeros of a pad file, which is not on disk.
    pub pad: bool,
}

/// The files of a torrent over its pieces: what the data path needs of a .torrent besides hashes.
///
/// It takes 56 bytes and the path for each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    name: Box<str>,
    geometry: Geometry,
    files: Box<[File]>,
}

impl Layout {
    /// Lays the files one after another. `None` if there is no byte, or too many for the pieces.
    pub(crate) fn new(name: String, piece_length: u32, mut files: Vec<File>) -> Option<Layout> {
        let mut offset = 0u64;
        for file in &mut files {
            file.offset = offset;
            offset = offset.checked_add(file.length)?;
        }
        let geometry = Geometry::new(offset, piece_length)?;
        if geometry.piece_count() > limits::PIECES || u32::try_from(files.len()).is_err() {
            return None;
        }
        Some(Layout { name: name.into(), geometry, files: files.into() })
    }

    /// The same files under other paths, one for each in their order.
    pub(crate) fn replace_paths(
        &self,
        name: &str,
        paths: impl Iterator<Item = TorrentPath>,
    ) -> Layout {
        let mut files = self.files.clone();
        for (file, path) in files.iter_mut().zip(paths) {
            file.path = path;
        }
        Layout { name: name.into(), geometry: self.geometry, files }
    }

    /// The torrent's name, one safe path component: the only file's name, or the folder's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pieces.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Whether the files lie in a folder with the torrent's name.
    pub fn has_folder(&self) -> bool {
        self.files.first().is_some_and(|file| file.path.components().nth(1).is_some())
    }

    /// Number of files, pad files counted; at least 1.
    pub fn file_count(&self) -> u32 {
        self.files.len() as u32
    }

    /// The file with this number, if there is one.
    pub fn file(&self, index: u32) -> Option<FileIndex> {
        (index < self.file_count()).then_some(FileIndex(index))
    }

    /// All files in the order of their bytes.
    pub fn files(&self) -> impl DoubleEndedIterator<Item = (FileIndex, &File)> + ExactSizeIterator {
        self.files.iter().enumerate().map(|(index, file)| (FileIndex(index as u32), file))
    }

    /// Bytes in all files that are not pad files.
    pub fn data_length(&self) -> u64 {
        self.files.iter().filter(|file| !file.is_pad()).map(|file| file.length).sum()
    }

    /// The runs of files that make up `length` bytes from `offset` of the torrent, in order.
    ///
    /// What lies behind the end of the torrent is left out; empty files have no bytes and do not
    /// appear. Finding the first file takes time logarithmic in the number of files.
    pub fn spans(&self, offset: u64, length: u64) -> Spans<'_> {
        let next = self.files.partition_point(|file| file.end() <= offset);
        let end = offset.saturating_add(length).min(self.geometry.total_length());
        Spans { layout: self, next, offset, end }
    }

    /// The runs of files that make up a piece.
    pub fn piece_spans(&self, piece: PieceIndex) -> Spans<'_> {
        self.spans(self.geometry.offset_of(piece), u64::from(self.geometry.length_of(piece)))
    }

    /// The runs of files that make up a range of a piece.
    pub fn range_spans(&self, range: BlockRange) -> Spans<'_> {
        self.spans(self.geometry.offset_of_range(range), u64::from(range.length()))
    }

    /// The numbers of the pieces that hold bytes of the file; none for an empty one.
    pub fn pieces_of(&self, file: FileIndex) -> Range<u32> {
        let file = &self[file];
        let piece_at = |offset| self.geometry.piece_at(offset).map(PieceIndex::get);
        match (file.length > 0).then(|| (piece_at(file.offset), piece_at(file.end() - 1))) {
            Some((Some(first), Some(last))) => first..last + 1,
            _ => 0..0,
        }
    }
}

impl Index<FileIndex> for Layout {
    type Output = File;

    fn index(&self, index: FileIndex) -> &File {
        &self.files[index.as_usize()]
    }
}

/// The runs that [`Layout::spans`] gives.
#[derive(Debug, Clone)]
pub struct Spans<'a> {
    layout: &'a Layout,
    next: usize,
    offset: u64,
    end: u64,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.offset < self.end {
            let file = self.layout.files.get(self.next)?;
            let index = FileIndex(self.next as u32);
            self.next += 1;
            let length = file.end().min(self.end) - self.offset;
            if length > 0 {
                let offset = self.offset - file.offset;
                self.offset += length;
                return Some(Span { file: index, offset, length, pad: file.is_pad() });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(lengths: &[u64], piece_length: u32) -> Option<Layout> {
        let file = |(index, &length): (usize, &u64)| File {
            path: TorrentPath::from_clean(format!("n/{index}")),
            length,
            offset: 0,
            attributes: Attributes { pad: index % 4 == 3, ..Attributes::default() },
            symlink_target: None,
            root: None,
        };
        Layout::new("n".to_owned(), piece_length, lengths.iter().enumerate().map(file).collect())
    }

    #[test]
    fn a_file_is_small() {
        assert_eq!(size_of::<File>(), 56);
    }

    #[test]
    fn lengths_that_overflow_have_no_layout() {
        assert!(layout(&[u64::MAX, 1], 1 << 20).is_none());
        assert!(layout(&[], 1 << 20).is_none());
        assert!(layout(&[0, 0], 1 << 20).is_none());
        assert!(layout(&[1 << 40], 1).is_none());
    }

    #[test]
    fn empty_files_have_no_pieces_and_no_spans() {
        let layout = layout(&[0, 10, 0, 0, 5, 0], 4).unwrap();
        let spans: Vec<u32> = layout.spans(0, 100).map(|span| span.file.get()).collect();
        assert_eq!(spans, [1, 4]);
        assert_eq!(layout.pieces_of(layout.file(2).unwrap()), 0..0);
        assert_eq!(layout.pieces_of(layout.file(4).unwrap()), 2..4);
        assert_eq!(layout.spans(15, 1).next(), None);
        assert_eq!(layout.file(6), None);
    }

    proptest! {
        #[test]
        fn spans_tile_the_range(
            lengths in prop::collection::vec(0u64..50, 1..20), offset in 0u64..500, length in 0u64..500,
        ) {
            let Some(layout) = layout(&lengths, 16) else { return Ok(()) };
            let total: u64 = lengths.iter().sum();
            let mut at = offset;
            for span in layout.spans(offset, length) {
                let file = &layout[span.file];
                prop_assert!(span.length > 0);
                prop_assert_eq!(file.offset() + span.offset, at);
                prop_assert!(span.offset + span.length <= file.length());
                prop_assert_eq!(span.pad, file.is_pad());
                at += span.length;
            }
            prop_assert_eq!(at, (offset + length).min(total).max(offset));
        }

        #[test]
        fn a_piece_lies_in_just_the_files_that_have_it(
            lengths in prop::collection::vec(0u64..50, 1..20), piece_length in 1u32..40,
        ) {
            let Some(layout) = layout(&lengths, piece_length) else { return Ok(()) };
            for piece in layout.geometry().pieces() {
                let spans: Vec<FileIndex> = layout.piece_spans(piece).map(|span| span.file).collect();
                for (index, _) in layout.files() {
                    let has = layout.pieces_of(index).contains(&piece.get());
                    prop_assert_eq!(has, spans.contains(&index));
                }
            }
        }
    }
}
