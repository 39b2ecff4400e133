//! The harness is told to end: nothing of it stays.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_stays_of_a_run_that_is_ended() {
    for signal in ["TERM", "INT", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let (server, data, pid) = (folder.path().join("server"), folder.path().join("data"), folder.path().join("pid"));
        // A server that never says where it listens.
        let script = format!("#!/bin/sh\necho $$ > {pid}.new && mv {pid}.new {pid}\nexec sleep 600\n", pid = pid.display());
        std::fs::write(&server, script).unwrap();
        std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut harness = Command::new(env!("CARGO_BIN_EXE_starling-bench"))
            .args(["run", "--scenario", "A", "--server-bin"])
            .arg(&server)
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = wait_for("the server is not started", || std::fs::read_to_string(&pid).ok());
        let told = Command::new("kill").arg(format!("-{signal}")).arg(harness.id().to_string()).status().unwrap();
        assert!(told.success());
        let status = wait_for("the harness does not end", || harness.try_wait().unwrap());
        assert_eq!(status.code(), Some(130), "{signal}");
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{signal}: the server is there");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "{signal}: its folder is there");
    }
}
