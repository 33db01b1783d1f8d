//! Directories of servers, and their certificates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{directory, need};

/// A directory that is removed when this process ends, even by SIGKILL.
pub(crate) struct Directory {
    pub path: PathBuf,
    shell: Child,
}

impl Directory {
    pub fn new(broker: &str) -> Self {
        let path = directory(broker);
        // The server may still write when the removal begins.
        let script = r#"cat >/dev/null; for _ in 1 2 3; do rm -rf "$0" && exit; sleep 1; done"#;
        let shell = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be run");
        Directory { path, shell }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.shell.stdin = None;
        let _ = self.shell.wait();
    }
}

/// Creates a certificate for `localhost`, and a file with the certificate and its key.
pub(crate) fn certify(directory: &Path, is_authority: bool) {
    need("openssl");
    let constraints = match is_authority {
        true => "basicConstraints=critical,CA:TRUE",
        false => "basicConstraints=critical,CA:FALSE",
    };
    let output = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost".split(' '))
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", constraints])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(directory)
        .output()
        .expect("openssl can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect("it was just made");
    let both = read("key.pem") + &read("certificate.pem");
    fs::write(directory.join("keystore.pem"), both).expect("the directory can be written to");
}
