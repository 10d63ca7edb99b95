//! `ringseed inspect`: what is in a .torrent.

use crate::{cli::InspectArgs, human, output, table::Align, table::Table};
use anyhow::{Context, bail};
use metainfo::Metainfo;
use serde::Serialize;
use std::{fmt::Write, fs::File, io::Read, path::Path};

/// What `--json` prints; null where the torrent has nothing.
#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    piece_length: u32,
    piece_count: u32,
    /// Pad files not counted.
    total_size: u64,
    private: bool,
    files: Vec<FileReport<'a>>,
    trackers: &'a [Vec<String>],
    web_seeds: &'a [String],
    comment: Option<&'a str>,
    created_by: Option<&'a str>,
    creation_date: Option<u64>,
}

#[derive(Serialize)]
struct FileReport<'a> {
    path: &'a str,
    length: u64,
    pad: bool,
}

impl Report<'_> {
    fn of(metainfo: &Metainfo) -> Report<'_> {
        let file = |(_, file): (_, &'_ metainfo::File)| (file.length(), file.is_pad());
        let paths = metainfo.layout.files().map(|(_, file)| file.path().as_str());
        let files = paths.zip(metainfo.layout.files().map(file));
        Report {
            name: metainfo.name(),
            info_hash_v1: metainfo.info_hash_v1.map(|hash| hash.to_string()),
            info_hash_v2: metainfo.info_hash_v2.map(|hash| hash.to_string()),
            piece_length: metainfo.geometry().piece_length(),
            piece_count: metainfo.geometry().piece_count(),
            total_size: metainfo.layout.data_length(),
            private: metainfo.private,
            files: files.map(|(path, (length, pad))| FileReport { path, length, pad }).collect(),
            trackers: &metainfo.trackers,
            web_seeds: &metainfo.web_seeds,
            comment: metainfo.description.comment.as_deref(),
            created_by: metainfo.description.created_by.as_deref(),
            creation_date: metainfo.description.creation_date,
        }
    }

    fn sheet(&self) -> String {
        let version = match (&self.info_hash_v1, &self.info_hash_v2) {
            (Some(_), Some(_)) => "hybrid",
            (None, Some(_)) => "2",
            _ => "1",
        };
        let lines = [
            ("Name", self.name.to_owned()),
            ("Version", version.to_owned()),
            ("Info-hash", self.info_hash_v1.clone().unwrap_or_default()),
            ("Info-hash v2", self.info_hash_v2.clone().unwrap_or_default()),
            ("Size", format!("{} ({} bytes)", human::bytes(self.total_size), self.total_size)),
            ("Pieces", format!("{} of {} bytes", self.piece_count, self.piece_length)),
            ("Private", if self.private { "yes" } else { "no" }.to_owned()),
            ("Comment", self.comment.unwrap_or_default().to_owned()),
            ("Made by", self.created_by.unwrap_or_default().to_owned()),
            ("Made", self.creation_date.map(human::date).unwrap_or_default()),
        ];
        let mut sheet = String::new();
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to memory cannot fail.
            let _ = writeln!(sheet, "{name:<12} {}", human::plain(value));
        }
        for (tier, urls) in self.trackers.iter().enumerate() {
            let _ = writeln!(sheet, "Tracker {tier:<4} {}", human::plain(&urls.join(" ")));
        }
        for url in self.web_seeds {
            let _ = writeln!(sheet, "Web seed     {}", human::plain(url));
        }
        let mut table = Table::new([("SIZE", Align::Right), ("PATH", Align::Left)]);
        for file in self.files.iter().filter(|file| !file.pad) {
            table.push([human::bytes(file.length), file.path.to_owned()]);
        }
        sheet + "\n" + &table.render()
    }
}

/// `ringseed inspect`
pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    let metainfo = parse(&args.file, &read(&args.file)?)?;
    let report = Report::of(&metainfo);
    if args.json { output::print_json(&report) } else { output::print(&report.sheet()) }
}

/// Reads a .torrent file, if it is not far too large for one.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let most = metainfo::limits::TORRENT_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > most {
        bail!("{} is too large for a .torrent file", path.display());
    }
    Ok(bytes)
}

/// Parses what was read from a .torrent file.
pub fn parse(path: &Path, bytes: &[u8]) -> anyhow::Result<Metainfo> {
    Metainfo::parse(bytes).with_context(|| format!("{}", path.display()))
}
