//! The web interface: files of one folder, read by threads that may wait for the disk.

use super::{
    Answer,
    pages::{page, response, with},
};
use crate::{body::Chunks, disk, limits};
use http::{HeaderValue, Method, StatusCode, header};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::sync::Semaphore;

/// Serves files; bounds how many are being read.
#[derive(Debug)]
pub(crate) struct Web(Semaphore);

impl Default for Web {
    fn default() -> Web {
        Web(Semaphore::new(limits::FILES_AT_ONCE))
    }
}

impl Web {
    /// Answers a request for a path below `web/`.
    pub(crate) async fn answer(&self, home: Option<&Path>, method: &Method, path: &str) -> Answer {
        if method != Method::GET {
            let refusal = page(StatusCode::METHOD_NOT_ALLOWED, "Files are fetched by GET.");
            return *with(refusal, header::ALLOW, HeaderValue::from_static("GET"));
        }
        let Some(home) = home else {
            return *page(
                StatusCode::NOT_FOUND,
                "There is no web interface: the setting web_home names its folder.",
            );
        };
        let Some(file) = inside(home, path) else { return nothing() };
        let kind = HeaderValue::from_static(kind(&file));
        let silent = || *page(StatusCode::SERVICE_UNAVAILABLE, "The disk does not answer.");
        let turn = tokio::time::timeout(limits::FILE_PATIENCE, self.0.acquire());
        let Ok(Ok(_turn)) = turn.await else { return silent() };
        match disk::ask(limits::FILE_PATIENCE, move || read(&file)).await {
            Ok(bytes) => {
                let mut answer = response(StatusCode::OK, Chunks::of([bytes.into()]));
                answer.headers_mut().insert(header::CONTENT_TYPE, kind);
                answer.headers_mut().extend(expires().map(|date| (header::EXPIRES, date)));
                answer
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => silent(),
            Err(_) => nothing(),
        }
    }
}

fn nothing() -> Answer {
    *page(StatusCode::NOT_FOUND, "There is no such file.")
}

/// The file that a path names, which cannot be outside the folder.
fn inside(home: &Path, path: &str) -> Option<PathBuf> {
    let path = decode(path)?;
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let relative = path.trim_start_matches('/');
    let file = home.join(relative);
    Some(if relative.is_empty() || relative.ends_with('/') {
        file.join("index.html")
    } else {
        file
    })
}

/// Undoes percent-encoding.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (high, low) = (digit(rest.first()?)?, digit(rest.get(1)?)?);
        bytes.push((high * 16 + low) as u8);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or device would not end.
    let meta = path.metadata()?;
    if !meta.is_file() || meta.len() > limits::WEB_FILE_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    File::open(path)?.take(limits::WEB_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The kinds that a web interface consists of.
fn kind(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "css" => "text/css; charset=UTF-8",
        "gif" => "image/gif",
        "htm" | "html" => "text/html; charset=UTF-8",
        "ico" => "image/vnd.microsoft.icon",
        "jpg" | "jpeg" => "image/jpeg",
        "js" | "mjs" => "application/javascript; charset=UTF-8",
        "json" | "map" => "application/json; charset=UTF-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=UTF-8",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        "webp" => "image/webp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// A day from now.
fn expires() -> Option<HeaderValue> {
    let date = SystemTime::now() + Duration::from_secs(24 * 3600);
    HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_decoded_and_folders_are_their_index() {
        let at = |path| inside(Path::new("/web"), path).map(|file| file.display().to_string());
        assert_eq!(at("").as_deref(), Some("/web/index.html"));
        assert_eq!(at("sub/").as_deref(), Some("/web/sub/index.html"));
        assert_eq!(at("a%20b.js").as_deref(), Some("/web/a b.js"));
        assert_eq!(at("/etc/passwd").as_deref(), Some("/web/etc/passwd"));
        assert_eq!(at("//etc/passwd").as_deref(), Some("/web/etc/passwd"));
        for bad in
            ["..", "../x", "a/../../x", "%2e%2e/x", "a/%2E./x", "%", "%4", "%zz", "%00", "%ff"]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_the_folder(path in "([./a%2eE5cF]|%2f|%2e){0,24}") {
            if let Some(file) = inside(Path::new("/web"), &path) {
                prop_assert!(file.starts_with("/web"));
                prop_assert!(file.components().all(|part| part != std::path::Component::ParentDir));
            }
        }
    }
}
