//! Where the programs are.

use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What is not there: a client, or a right. Tests that need it are skipped, visibly; under `CI=true` they fail.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is missing", self.0)
    }
}

impl std::error::Error for Missing {}

/// The program of this name that `scripts/setup-peers` fetched.
pub fn peer_program(name: &str) -> Result<PathBuf> {
    fetched("bin", name)
}

/// The folder of this name that it fetched: a web interface.
pub fn peer_folder(name: &str) -> Result<PathBuf> {
    fetched("share", name)
}

fn fetched(kind: &str, name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("RINGSEED_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?)
            .join(".cache/ringseed/peers"),
    };
    let found = folder.join(kind).join(name);
    if !found.exists() {
        bail!(Missing(format!("{name} (run scripts/setup-peers)")));
    }
    Ok(found)
}

/// The daemon's program: what `RINGSEED_BIN` names, else the workspace's own, built once.
pub fn ringseed() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BUILT.get_or_init(|| match std::env::var_os("RINGSEED_BIN") {
        Some(program) => Ok(PathBuf::from(program)),
        None => build().map_err(|error| format!("{error:#}")),
    });
    found.clone().map_err(anyhow::Error::msg)
}

/// Builds it with the profile of the running test, and takes its place from what Cargo says.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-q", "-p", "ringseed", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output =
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the daemon does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|line| line["target"]["name"] == "ringseed" && line["executable"].is_string())
        .and_then(|line| line["executable"].as_str().map(PathBuf::from))
        .context("Cargo built no program `ringseed`")
}
