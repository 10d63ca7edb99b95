//! Where io_uring is refused, the daemon runs all the same, and says why and what to do.

use anyhow::{Result, ensure};
use ringseed_tests::{
    Dialect, Driver, Process, Rpc, Scene, free_port, perform, ringseed_program, wait_for,
};
use serde_json::json;
use std::{net::SocketAddr, process::Command, time::Duration};

const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// What io_uring_setup(2) answers, and what the operator must be told to do about it.
const REFUSALS: [(i32, &str); 3] = [
    (1, "seccomp profile"),         // EPERM
    (38, "built without io_uring"), // ENOSYS
    (12, "ulimit -l"),              // ENOMEM
];

#[test]
fn a_refused_io_uring_falls_back_to_mio_with_one_line() {
    perform("a_refused_io_uring_falls_back_to_mio_with_one_line", Driver::Mio, falls_back);
}

#[test]
fn a_refused_io_uring_that_was_demanded_is_an_error() {
    perform("a_refused_io_uring_that_was_demanded_is_an_error", Driver::Mio, demanded);
}

fn daemon(scene: &Scene, errno: i32, driver: &str, control: SocketAddr) -> Result<Command> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/refuse_io_uring.py"));
    command.arg(errno.to_string()).arg(ringseed_program()?).arg("daemon");
    command.arg("--config-dir").arg(scene.new_folder("config")?);
    command.arg("--download-dir").arg(scene.new_folder("downloads")?);
    command.args(["--rpc-bind", &control.to_string(), "--peer-port", "0", "--cores", "2"]);
    command.args(["--peer-bind", "127.0.0.1", "--driver", driver]).env_remove("RINGSEED_DRIVER");
    Ok(command)
}

fn falls_back(scene: &Scene) -> Result<()> {
    for (errno, remedy) in REFUSALS {
        let control = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = daemon(scene, errno, "auto", control)?;
        let mut process = Process::start("ringseed", &mut command, &scene.new_folder("log")?)?;
        let mut rpc = Rpc::new(control, Dialect::JsonRpc);
        wait_for("Ringseed's RPC answers", STARTS_WITHIN, || {
            process.check()?;
            Ok(rpc.call("session_get", json!({})).ok())
        })?;
        // A thread of its own writes the log, and the driver is told after the first answer.
        let told = wait_for("it tells of the refusal and of its driver", STARTS_WITHIN, || {
            let log = process.log();
            let is_there = log.contains("is refused") && log.contains("driver mio");
            Ok(is_there.then_some(log))
        });
        let log = told.map_err(|error| error.context(process.log()))?;
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("is refused")).collect();
        ensure!(lines.len() == 1, "not one line about the refusal:\n{log}");
        ensure!(lines[0].contains("io_uring") && lines[0].contains(remedy), "{}", lines[0]);
        ensure!(log.contains("driver mio"), "{log}");
    }
    Ok(())
}

fn demanded(scene: &Scene) -> Result<()> {
    let control = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let output = daemon(scene, 1, "uring", control)?.output()?;
    ensure!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("io_uring is refused") && said.contains("seccomp"), "{said}");
    Ok(())
}
