//! Ten million events: how large a recording is, and how long a report of it takes. `TCPSTATE_EVENTS` asks for another number.

#[path = "../tests/recording/generate.rs"]
mod generate;

use std::{
    env, fs,
    process::{Command, Stdio},
    time::Instant,
};

/// Sockets in each census, of which there is one for 65,536 events.
const SOCKETS: u32 = 5000;

fn main() {
    let events = env::var("TCPSTATE_EVENTS").ok().and_then(|number| number.parse().ok()).unwrap_or(10_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bench.tcps");
    let began = Instant::now();
    let (transitions, _) = generate::write(&path, events, SOCKETS);
    let bytes = fs::metadata(&path).expect("just written").len();
    println!(
        "{transitions} transitions: {bytes} bytes, {:.1} a transition, written in {:.1?}",
        bytes as f64 / transitions as f64,
        began.elapsed()
    );
    for arguments in [
        &["--show", "leaks"][..],
        &["--show", "summary"],
        &["--show", "states"],
        &["--show", "trace"],
        &["--show", "trace", "-o", "json"],
    ] {
        let began = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
            .arg("report")
            .arg(&path)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("tcpstate runs");
        assert!(status.success(), "{status}");
        println!("report {}: {:.1?}", arguments.join(" "), began.elapsed());
    }
}
