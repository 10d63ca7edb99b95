//! The store on real files and real rings, with both drivers.
#![allow(clippy::unwrap_used)]

mod any_torrent;
#[path = "../common/mod.rs"]
mod common;
mod durable;
mod faults;
mod serving;

use common::{Sample, Shard};
use ringseed_storage::StoreLimits;
use std::fs;

fn limits() -> StoreLimits {
    StoreLimits { open_files: 3, mappings: 2, under_way: 4, ..StoreLimits::default() }
}

fn all_blocks_are_served(shard: &mut Shard, key: ringseed_storage::StoreKey, sample: &Sample) {
    let geometry = sample.layout.geometry();
    for piece in geometry.pieces() {
        for block in geometry.blocks(piece) {
            let (bytes, _) = shard.serve(key, block).expect("a good block");
            assert!(bytes == sample.content(block), "{block:?} has other bytes");
        }
    }
}

fn files_are_as_in(sample: &Sample, root: &std::path::Path) {
    for (index, file) in sample.layout.files() {
        let path = root.join(file.path().as_path());
        if file.is_pad() {
            assert!(!path.exists(), "pad files are never made");
            continue;
        }
        let found = fs::read(&path).unwrap();
        let range = file.offset() as usize..file.end() as usize;
        assert!(found == sample.bytes[range], "{index:?} has other bytes");
    }
}
