//! Kinds of files by their names, as far as remotes show an icon for them.

/// The kind for a file name's ending.
pub(crate) fn of_name(name: &str) -> &'static str {
    let Some((_, ending)) = name.rsplit_once('.') else { return UNKNOWN };
    let ending = ending.to_ascii_lowercase();
    match ending.as_str() {
        "mkv" => "video/x-matroska",
        "mp4" | "m4v" => "video/mp4",
        "avi" => "video/x-msvideo",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mpg" | "mpeg" | "m2ts" | "ts" => "video/mpeg",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "ogg" | "opus" => "audio/ogg",
        "m4a" | "aac" => "audio/aac",
        "wav" => "audio/x-wav",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "epub" => "application/epub+zip",
        "zip" => "application/zip",
        "rar" => "application/vnd.rar",
        "7z" => "application/x-7z-compressed",
        "gz" | "tgz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "iso" | "img" => "application/x-iso9660-image",
        "deb" => "application/vnd.debian.binary-package",
        "txt" | "nfo" | "log" => "text/plain",
        "md" => "text/markdown",
        "htm" | "html" => "text/html",
        "srt" | "sub" | "ass" => "application/x-subrip",
        _ => UNKNOWN,
    }
}

const UNKNOWN: &str = "application/octet-stream";

/// The kind of most bytes among files given with their lengths.
pub(crate) fn of_most<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> &'static str {
    let mut bytes = std::collections::BTreeMap::new();
    for (name, length) in files {
        *bytes.entry(of_name(name)).or_insert(0u64) += length;
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(UNKNOWN, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_bytes_decide() {
        let files = [("a/x.nfo", 10), ("a/x.MKV", 500), ("a/y.txt", 300)];
        assert_eq!(of_most(files.into_iter()), "video/x-matroska");
        assert_eq!(of_most([("noending", 1)].into_iter()), UNKNOWN);
    }
}
