//! Tests that this machine cannot run: named, with the reason, after the last line of the test run.
//!
//! libtest swallows what a passing test prints, by `print!` and its kin. A handler that the C library
//! calls when the process ends writes to standard error, which nobody swallows.
#![allow(unsafe_code, reason = "the C library's atexit is declared here")]

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::Location;
use std::sync::Mutex;

/// Reasons, each with the tests that were skipped for it.
static SKIPPED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

// SAFETY: this is the declaration of the C standard, and any function may be handed to it.
unsafe extern "C" {
    safe fn atexit(handler: extern "C" fn()) -> i32;
}

/// Notes that the calling test, or a part of it, is skipped for `reason`.
#[track_caller]
pub fn skip(reason: impl Into<String>) {
    let mut skipped = SKIPPED.lock().unwrap();
    if skipped.is_empty() {
        atexit(report);
    }
    let tests = skipped.entry(reason.into()).or_default();
    let test = test_name();
    if !tests.contains(&test) {
        tests.push(test);
    }
}

/// The test that calls; its place in the source where tests share the main thread.
#[track_caller]
fn test_name() -> String {
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => Location::caller().to_string(),
    }
}

extern "C" fn report() {
    let Ok(skipped) = SKIPPED.lock() else { return };
    let n_tests: usize = skipped.values().map(Vec::len).sum();
    let mut report = format!("skipped: {n_tests} tests, in whole or in part\n");
    for (reason, tests) in skipped.iter() {
        report += &format!("    {reason}: {}\n", tests.join(", "));
    }
    // Nobody may hear it.
    drop(std::io::stderr().write_all(format!("{report}\n").as_bytes()));
}
