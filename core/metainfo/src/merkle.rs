//! The hash trees of version 2 (BEP 52): SHA-256 over 16 KiB blocks, one tree for each file.
//!
//! The leaves are the hashes of a file's blocks (the last may be short). A file of at most one piece
//! has a tree just wide enough for its blocks. A longer one has a tree of whole pieces: the roots of
//! its pieces are its *piece layer*, and what is missing on the right to a power of two counts as
//! zero leaves.

use crate::BLOCK_LENGTH;
use sha2::{Digest, Sha256};

/// A node of a tree.
pub type Hash = [u8; 32];

/// The hash of a block: at most 16 KiB of one file.
pub fn block_hash(block: &[u8]) -> Hash {
    debug_assert!(block.len() <= BLOCK_LENGTH as usize);
    Sha256::digest(block).into()
}

/// The root over `nodes`, filled up with `filler` on the right to a power of two.
///
/// No nodes at all have the root `filler`.
pub fn root(nodes: &[Hash], filler: Hash) -> Hash {
    let mut nodes = nodes.to_vec();
    let mut filler = filler;
    while nodes.len() > 1 {
        for at in 0..nodes.len().div_ceil(2) {
            let right = nodes.get(2 * at + 1).copied().unwrap_or(filler);
            nodes[at] = parent(&nodes[2 * at], &right);
        }
        nodes.truncate(nodes.len().div_ceil(2));
        filler = parent(&filler, &filler);
    }
    nodes.first().copied().unwrap_or(filler)
}

/// The root over `2^level` zero leaves: what stands for a piece that a file does not have.
pub fn zero_root(level: u32) -> Hash {
    (0..level).fold([0; 32], |hash, _| parent(&hash, &hash))
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// Levels from the blocks up to the pieces.
fn piece_level(piece_length: u32) -> u32 {
    (piece_length / BLOCK_LENGTH).max(1).ilog2()
}

/// The root over a file's piece layer.
pub fn layer_root(layer: &[Hash], piece_length: u32) -> Hash {
    root(layer, zero_root(piece_level(piece_length)))
}

/// The node of one piece of a file that is longer than a piece, from the hashes of its blocks.
pub fn piece_root(blocks: &[Hash], piece_length: u32) -> Hash {
    let mut level = 0;
    let mut nodes = root(blocks, [0; 32]);
    let mut width = blocks.len().next_power_of_two();
    let blocks_per_piece = (piece_length / BLOCK_LENGTH).max(1) as usize;
    while width < blocks_per_piece {
        level = level.max(width.ilog2());
        nodes = parent(&nodes, &zero_root(level));
        width *= 2;
        level += 1;
    }
    nodes
}

/// What version 2 says of one file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash {
    /// The root of the tree.
    pub root: Hash,
    /// The nodes of the pieces; empty for a file of at most one piece.
    pub layer: Vec<Hash>,
}

impl FileHash {
    /// From the hashes of all blocks of a file. `None` for an empty file, which has no tree.
    ///
    /// The piece length must be a power of two of at least 16 KiB.
    pub fn from_blocks(blocks: &[Hash], piece_length: u32) -> Option<FileHash> {
        let blocks_per_piece = (piece_length / BLOCK_LENGTH).max(1) as usize;
        match blocks.len() {
            0 => None,
            count if count <= blocks_per_piece => {
                Some(FileHash { root: root(blocks, [0; 32]), layer: Vec::new() })
            }
            _ => {
                let pieces = blocks.chunks(blocks_per_piece);
                Some(FileHash::from_pieces(
                    pieces.map(|piece| piece_root(piece, piece_length)).collect(),
                    piece_length,
                ))
            }
        }
    }

    /// From the nodes of all pieces ([`piece_root`]) of a file that is longer than one piece, hashed
    /// in any order by any number of threads.
    pub fn from_pieces(layer: Vec<Hash>, piece_length: u32) -> FileHash {
        FileHash { root: layer_root(&layer, piece_length), layer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, spelled out: all leaves of a tree of the full width.
    fn full_tree(blocks: &[Hash], width: usize) -> Hash {
        let mut nodes = blocks.to_vec();
        nodes.resize(width, [0; 32]);
        while nodes.len() > 1 {
            nodes = nodes.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        }
        nodes[0]
    }

    #[test]
    fn one_block_is_its_own_root() {
        let hash = block_hash(b"a block");
        let file = FileHash::from_blocks(&[hash], 16384).unwrap();
        assert_eq!(file, FileHash { root: hash, layer: Vec::new() });
        assert_eq!(FileHash::from_blocks(&[], 16384), None);
    }

    proptest! {
        #[test]
        fn short_cuts_agree_with_the_full_tree(count in 1usize..70, level in 0u32..5) {
            let blocks: Vec<Hash> = (0..count).map(|n| block_hash(&n.to_le_bytes())).collect();
            let per_piece = 1usize << level;
            let piece_length = BLOCK_LENGTH << level;
            let file = FileHash::from_blocks(&blocks, piece_length).unwrap();
            let width = count.next_power_of_two();
            prop_assert_eq!(file.root, full_tree(&blocks, width));
            if count > per_piece {
                prop_assert_eq!(file.layer.len(), count.div_ceil(per_piece));
                for (node, piece) in file.layer.iter().zip(blocks.chunks(per_piece)) {
                    prop_assert_eq!(*node, full_tree(piece, per_piece));
                }
            } else {
                prop_assert!(file.layer.is_empty());
            }
        }
    }
}
