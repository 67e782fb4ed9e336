//! The CUDA kernels on a machine without a GPU: compiled as C++ (`host.h`), run by themselves (`runner.cpp`)
//! or behind a stand-in for the driver's library (`driver.cpp`).

use crate::skip::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of a build that is checked for undefined behaviour and stray memory accesses.
pub const SANITIZED: &[&str] =
    &["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Builds `source`, a file beside this one, into `folder`; `None`, noted as skipped, where there is no
/// C++ compiler that takes the flags.
#[track_caller]
pub fn build(source: &str, flags: &[&str], folder: &Path, name: &str) -> Option<PathBuf> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
    let path = folder.join(name);
    let mut command = Command::new(&compiler);
    command.args(["-std=c++17", "-ffp-contract=off", "-Wno-unknown-pragmas"]).args(flags);
    if cfg!(target_arch = "x86_64") {
        command.arg("-march=native"); // std::fma in one instruction
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda").join(source);
    let Ok(output) = command.arg(source).arg("-o").arg(&path).output() else {
        skip("no C++ compiler");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("cannot find -lasan") || errors.contains("cannot find libasan") {
        skip("the C++ compiler has no sanitizers");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(path)
}
