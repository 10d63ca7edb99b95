//! The .torrent file around an `info` dictionary (BEP 3, 12, 19, 52).

use crate::Metainfo;
use crate::bencode::Writer;
use crate::create::Options;
use std::collections::BTreeMap;

impl Metainfo {
    /// The bytes of a .torrent that says the same: the same `info`, so the same info-hash.
    pub fn to_torrent(&self) -> Vec<u8> {
        let layers = self.piece_layers.iter().map(|(root, layer)| (root, &**layer)).collect();
        let options = Options {
            private: self.private,
            trackers: self.trackers.clone(),
            web_seeds: self.web_seeds.clone(),
            comment: self.description.comment.clone(),
            created_by: self.description.created_by.clone(),
            creation_date: self.description.creation_date,
            source: self.description.source.clone(),
        };
        write_torrent(&self.info, &layers, &options, self.description.encoding.as_deref())
    }
}

/// The whole file around an `info` dictionary that is encoded already.
pub(crate) fn write_torrent(
    info: &[u8],
    layers: &BTreeMap<&[u8; 32], &[[u8; 32]]>,
    options: &Options,
    encoding: Option<&str>,
) -> Vec<u8> {
    let mut trackers = options.trackers.iter().flatten();
    let (first, several) = (trackers.next(), trackers.next().is_some());
    let mut writer = Writer::new();
    writer.dict(|w| {
        if let Some(tracker) = first {
            w.key("announce").bytes(tracker);
        }
        if several {
            w.key("announce-list").list(|w| {
                for tier in options.trackers.iter().filter(|tier| !tier.is_empty()) {
                    w.list(|w| write_all(w, tier));
                }
            });
        }
        if let Some(comment) = &options.comment {
            w.key("comment").bytes(comment);
        }
        if let Some(program) = &options.created_by {
            w.key("created by").bytes(program);
        }
        if let Some(date) = options.creation_date {
            w.key("creation date").int(i64::try_from(date).unwrap_or(i64::MAX));
        }
        if let Some(encoding) = encoding {
            w.key("encoding").bytes(encoding);
        }
        w.key("info").raw(info);
        if !layers.is_empty() {
            w.key("piece layers").dict(|w| {
                for (root, layer) in layers {
                    w.key(root).bytes(layer.as_flattened());
                }
            });
        }
        if !options.web_seeds.is_empty() {
            w.key("url-list").list(|w| write_all(w, &options.web_seeds));
        }
    });
    writer.finish()
}

fn write_all(writer: &mut Writer, texts: &[String]) {
    for text in texts {
        writer.bytes(text);
    }
}
