//! Settings from all their sources: flags before the environment before ringseed.toml before
//! defaults. What a client changes goes back into ringseed.toml, whose comments stay.

use crate::limits;
use anyhow::{Context, bail};
use engine::settings::Settings;
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};
use toml_edit::{DocumentMut, Item, Value};

const FILE: &str = "ringseed.toml";

/// The folder of the daemon when none is named.
pub fn default_dir() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    match (given.filter(|dir| dir.is_absolute()), std::env::home_dir()) {
        (Some(dir), _) => Ok(dir.join("ringseed")),
        (None, Some(home)) => Ok(home.join(".config/ringseed")),
        (None, None) => bail!("there is no home directory: name a folder with --config-dir"),
    }
}

/// The settings for a daemon with this folder, and the text of its ringseed.toml.
pub fn load(dir: &Path, flags: &[(&'static str, Value)]) -> anyhow::Result<Settings> {
    let path = dir.join(FILE);
    let document = read(&path)?;
    merge(document, &from_environment(), flags)
        .with_context(|| format!("a setting is wrong, in {} or in a flag", path.display()))
}

/// Settings from defaults, environment and flags only.
pub fn without_file(flags: &[(&'static str, Value)]) -> anyhow::Result<Settings> {
    merge(DocumentMut::new(), &from_environment(), flags)
}

/// Settings that have a variable of the environment: one of our own, and the one that packages of
/// web interfaces set for Transmission.
fn from_environment() -> Vec<(&'static str, String)> {
    let variables = [("driver", "RINGSEED_DRIVER"), ("web_home", "TRANSMISSION_WEB_HOME")];
    let value = |(setting, name)| Some((setting, std::env::var(name).ok()?));
    variables.into_iter().filter_map(value).filter(|(_, value)| !value.is_empty()).collect()
}

fn merge(
    mut document: DocumentMut,
    environment: &[(&'static str, String)],
    flags: &[(&'static str, Value)],
) -> anyhow::Result<Settings> {
    for (name, value) in environment {
        document[name] = toml_edit::value(value);
    }
    for (name, value) in flags {
        document[name] = Item::Value(value.clone());
    }
    let mut settings: Settings = toml_edit::de::from_document(document)
        .map_err(|error| anyhow::anyhow!(one_line(error.message())))?;
    settings.download_dir = absolute("download_dir", &settings.download_dir)?;
    settings.incomplete_dir = absolute("incomplete_dir", &settings.incomplete_dir)?;
    for (name, path) in [
        ("web_home", &mut settings.web_home),
        ("rpc_tls_cert", &mut settings.rpc_tls_cert),
        ("rpc_tls_key", &mut settings.rpc_tls_key),
    ] {
        if !path.as_os_str().is_empty() {
            *path = absolute(name, path)?;
        }
    }
    settings.check().map_err(anyhow::Error::msg)?;
    Ok(settings)
}

/// An absolute path, with `~/` for the home directory.
fn absolute(name: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let path = match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path.to_path_buf(),
    };
    std::path::absolute(&path).with_context(|| format!("{name} {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<DocumentMut> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DocumentMut::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut text = String::new();
    file.take(limits::CONFIG_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|error: toml_edit::TomlError| {
        anyhow::anyhow!("{}: {}", path.display(), one_line(&error.to_string()))
    })
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Keeps the changes of settings in ringseed.toml.
pub struct Keeper {
    path: PathBuf,
    /// The settings as last known: only what differs from them is written.
    known: Mutex<Settings>,
}

impl Keeper {
    /// For the folder whose settings these are now, flags included.
    pub fn new(dir: &Path, settings: Settings) -> Keeper {
        Keeper { path: dir.join(FILE), known: Mutex::new(settings) }
    }

    /// Writes what has changed since the last time.
    pub fn save(&self, settings: &Settings) -> anyhow::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (old, new) =
            (toml_edit::ser::to_document(&*known)?, toml_edit::ser::to_document(settings)?);
        let mut document = read(&self.path)?;
        for (name, value) in new.iter().filter(|(name, value)| is_other(old.get(name), value)) {
            document[name] = value.clone();
        }
        replace(&self.path, document.to_string().as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        known.clone_from(settings);
        Ok(())
    }
}

fn is_other(old: Option<&Item>, new: &Item) -> bool {
    old.is_none_or(|old| old.to_string() != new.to_string())
}

/// Puts a file in place so that a crash leaves the old or the new one, whole.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        text: &str,
        driver: Option<&str>,
        flags: &[(&'static str, Value)],
    ) -> anyhow::Result<Settings> {
        let environment: Vec<_> =
            driver.iter().map(|value| ("driver", (*value).to_owned())).collect();
        merge(text.parse().unwrap(), &environment, flags)
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let file = "driver = \"uring\"\npeer_port = 7\ncores = 3\n";
        let settings = with(file, Some("mio"), &[("cores", 2.into())]).unwrap();
        assert_eq!((settings.driver.as_str(), settings.peer_port, settings.cores), ("mio", 7, 2));
        let flags = [("driver", Value::from("auto"))];
        assert_eq!(with(file, Some("mio"), &flags).unwrap().driver, "auto");
        assert_eq!(with("", None, &[]).unwrap().reqq, Settings::default().reqq);
    }

    #[test]
    fn mistakes_in_the_file_are_told_by_name() {
        assert!(with("peer_prot = 7", None, &[]).unwrap_err().to_string().contains("peer_prot"));
        assert!(with("reqq = 0", None, &[]).unwrap_err().to_string().contains("reqq"));
        assert!(with("peer_port = \"x\"", None, &[]).is_err());
    }

    #[test]
    fn the_download_folder_becomes_absolute() {
        let settings = with("download_dir = \"a\"", None, &[]).unwrap();
        assert!(settings.download_dir.is_absolute() && settings.download_dir.ends_with("a"));
        if let Some(home) = std::env::home_dir() {
            let settings = with("download_dir = \"~/a\"", None, &[]).unwrap();
            assert_eq!(settings.download_dir, home.join("a"));
        }
    }

    #[test]
    fn a_change_is_written_beside_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "# mine\ncores = 3 # not more\n").unwrap();
        // A flag that overrides the file is not written into it.
        let settings = load(dir.path(), &[("peer_port", 7.into())]).unwrap();
        let keeper = Keeper::new(dir.path(), settings.clone());
        let changed = Settings { reqq: 99, ..settings };
        keeper.save(&changed).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# mine\ncores = 3 # not more\nreqq = 99\n");
        assert_eq!(load(dir.path(), &[]).unwrap().reqq, 99);
    }
}
