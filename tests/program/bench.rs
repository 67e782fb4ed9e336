//! `llmzip bench`: what it says of llmzip is what the other commands do, and what it says of other
//! programs is checked.

use crate::shell;
use crate::shell::{Ended, Shell};
use crate::skip::skip;
use crate::tiny;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Prose of the project itself.
fn text(len: usize) -> Vec<u8> {
    include_bytes!("../../docs/numerics.md")[..len].to_vec()
}

/// The document that a call with `--json` printed.
fn document(ended: &Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Puts the program `name` into the folder `bin`: a shell script.
fn put_program(shell: &Shell, name: &str, script: &str) {
    fs::create_dir_all(shell.path("bin")).unwrap();
    let path = shell.path("bin").join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Runs bench where no programs are but those in `bin`.
fn bench_in_bin(shell: &Shell, arguments: &[&str]) -> Ended {
    let mut command = shell.command(&[&["bench", "-1"], arguments].concat());
    command.env("PATH", shell.path("bin"));
    shell::end(command)
}

#[test]
fn its_figures_are_those_of_compress() {
    let shell = Shell::new();
    shell.write("a", &text(5000));
    let options = ["--chunk-size", "2000", "--no-mix", "--lanes", "2", "-T2"];
    let call = [&["bench", "--json", "--runs", "2"], &options[..], &["a"]].concat();
    let document = document(&shell.run(&call).expect(0));
    shell.run(&[&options[..], &["a"]].concat()).expect(0);
    let len = shell.read("a.llmz").len() as f64;

    assert_eq!((&document["schema"], &document["errors"]), (&1.into(), &Value::Array(vec![])));
    let file = &document["files"][0];
    assert_eq!((&file["name"], &file["plain_len"]), (&"a".into(), &5000.into()));
    assert!(file["cpu"].is_string() && file["isa"].is_string());
    let result = &file["results"][0];
    assert_eq!(file["results"].as_array().unwrap().len(), 1);
    assert_eq!(result["archive_len"].as_f64(), Some(len));
    // serde_json reads a number to within a unit of its last place.
    let is = |name: &str, expected: f64| (result[name].as_f64().unwrap() - expected).abs() < 1e-12;
    assert!(is("bits_per_byte", 8.0 * len / 5000.0) && is("ratio", 5000.0 / len), "{result}");
    assert_eq!(result["command"], "llmzip -6 --chunk-size 2000 --lanes 2 --no-mix");
    assert_eq!((&result["verified"], &result["problem"]), (&true.into(), &Value::Null));
    let own = &result["own"];
    assert_eq!((&own["level"], &own["chunk_size"]), (&6.into(), &2000.into()));
    assert_eq!((&own["lanes"], &own["threads"]), (&2.into(), &2.into()));
    assert_eq!(own["model"].as_str().map(str::len), Some(64));
    for direction in ["compress", "decompress"] {
        let cost = &result[direction];
        assert!(cost["wall_s"].as_f64().unwrap() > 0.0 && cost["cpu_s"].as_f64().unwrap() > 0.0);
        assert!(cost["peak_rss"].as_u64().is_none_or(|peak| peak > 1 << 20));
        let shares = &own["profile"][direction];
        let percent = shares["percent"].as_object().unwrap();
        let parts: Vec<&str> = percent.keys().map(String::as_str).collect();
        let all = "attention coder counts head io mixing model other state tokenizer";
        assert_eq!(parts.join(" "), all);
        let sum: f64 = percent.values().map(|share| share.as_f64().unwrap()).sum();
        assert!(shares["samples"].as_u64().unwrap() > 0 && (sum - 100.0).abs() < 1e-6, "{sum}");
        assert!(percent["model"].as_f64().unwrap() > percent["io"].as_f64().unwrap());
    }
}

#[test]
fn the_table_and_the_rows_say_the_same() {
    let shell = Shell::new();
    shell.write("a, b", &text(3000));
    let call = ["bench", "-2", "--no-profile", "--csv", "t.csv", "--commit", "abc", "a, b"];
    let table = String::from_utf8(shell.run(&call).expect(0).stdout).unwrap();
    shell.run(&["-2", "a, b"]).expect(0);
    let len = shell.read("a, b.llmz").len();
    let grouped = format!("{},{:03}", len / 1000, len % 1000);
    let row = table.lines().find(|line| line.starts_with("llmzip -2")).unwrap();
    assert!(row.contains(&grouped), "{grouped}: {row}");
    assert!(!table.contains("percent"));

    shell.run(&call).expect(0);
    let rows = String::from_utf8(shell.read("t.csv")).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 3, "one header, and a row for each call");
    assert!(rows[0].starts_with("date,commit,cpu,") && rows[0].ends_with(",roundtrip_ok"));
    for row in &rows[1..] {
        let file = ",\"a, b\",2,4194304,1,";
        assert!(row.contains(",abc,") && row.contains(file) && row.ends_with(",true"), "{row}");
        assert!(row.contains(&format!(",3000,{len},{:.4},", 8.0 * len as f64 / 3000.0)), "{row}");
    }

    shell.write("other.csv", b"name,value\n");
    let call = ["bench", "-1", "--csv", "other.csv", "a, b"];
    shell.run(&call).expect(1).saying("other.csv: is no table");
    assert_eq!(shell.read("other.csv"), b"name,value\n");
}

#[test]
fn a_program_that_damages_data_is_found_and_one_that_is_missing_skipped() {
    let shell = Shell::new();
    shell.write("a", &text(3000));
    // Restores all but the last byte; says so; is none.
    put_program(
        &shell,
        "gzip",
        "if [ $1 = -d ]; then exec /usr/bin/head -c 2999; fi; exec /bin/cat",
    );
    put_program(&shell, "xz", "echo 'out of order' >&2; exit 7");
    put_program(&shell, "bzip2", "exec /bin/cat");
    let against = ["--json", "--csv", "t.csv", "--against", "gzip,xz,zstd,bzip2", "a"];
    let ended = bench_in_bin(&shell, &against).expect(1);
    let document = document(&ended);
    let file = &document["files"][0];
    assert_eq!(file["missing"], Value::from(vec!["zstd"]));
    let results = file["results"].as_array().unwrap();
    let problem = |i: usize| results[i]["problem"].as_str().unwrap_or_default().to_owned();
    assert_eq!(results.len(), 4);
    assert!(problem(0).contains("differs at byte 2999"), "{}", problem(0));
    assert!(problem(1).contains("7") && problem(1).contains("out of order"), "{}", problem(1));
    for (i, is_good) in [false, false, true, true].into_iter().enumerate() {
        assert_eq!(results[i]["verified"], is_good);
        assert_eq!(results[i]["archive_len"].is_null(), !is_good);
    }
    assert_eq!(
        (&results[2]["archive_len"], &results[3]["program"]),
        (&3000.into(), &"llmzip".into())
    );
    assert_eq!(document["errors"].as_array().unwrap().len(), 2);
    let rows = String::from_utf8(shell.read("t.csv")).unwrap();
    let ends: Vec<bool> = rows.lines().skip(1).map(|row| row.ends_with(",true")).collect();
    assert_eq!(ends, [false, false, true, true]);

    let table = bench_in_bin(&shell, &["--against", "gzip,zstd", "a"]).expect(1);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("FAILED") && table.contains("skipped: there is no zstd"), "{table}");
}

#[test]
fn real_programs_restore_what_they_pack() {
    let shell = Shell::new();
    shell.write("a", &text(6000));
    let call = ["bench", "-1", "--json", "--against", "gzip,xz,zstd,brotli,bzip2,7z,zpaq", "a"];
    let document = document(&shell.run(&call).expect(0));
    let file = &document["files"][0];
    let results = file["results"].as_array().unwrap();
    assert_eq!(results.len() + file["missing"].as_array().unwrap().len(), 8);
    for program in file["missing"].as_array().unwrap() {
        skip(format!("no {}", program.as_str().unwrap()));
    }
    for result in results {
        let len = result["archive_len"].as_u64().unwrap();
        assert!(result["verified"] == true && (1000..6000).contains(&len), "{result}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let shell = Shell::new();
    shell.write("a", &text(100));
    shell.pipe(&["bench"], b"abc").expect(2).saying("a file is needed");
    shell.run(&["bench", "--against", "rar", "a"]).expect(2).saying("possible values");
    shell.run(&["bench", "--runs", "0", "a"]).expect(2);
    shell.run(&["bench", "-1", "."]).expect(1).saying("not a regular file");
    // What fails does not stop the others.
    let ended = shell.run(&["bench", "-1", "--json", "missing", "a"]).expect(1);
    let document = document(&ended);
    assert_eq!(document["files"][0]["name"], "a");
    assert_eq!(document["errors"][0]["name"], "missing");
    assert_eq!(shell.names(), ["a"]);
}

#[test]
fn empty_files_are_measured() {
    let shell = Shell::new();
    shell.write("a", b"");
    shell.run(&["bench", "a"]).expect(0);
    let document = document(&shell.run(&["bench", "--json", "--csv", "t", "a"]).expect(0));
    assert_eq!(document["files"][0]["results"][0]["bits_per_byte"], Value::Null);
}

/// Whether `program` runs.
fn is_here(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn the_script_writes_rows_and_plots() {
    if !is_here("python3") || !is_here("bash") {
        return skip("no python3 or no bash");
    }
    let shell = Shell::new();
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    // Not the real one: its whole length and digest are checked only where the length is that.
    shell.write("enwik8", &text(6000));
    let script = |arguments: &[&str]| {
        let mut command = Command::new("bash");
        command.arg(benches.join("enwik8.sh")).args(arguments).current_dir(shell.path(""));
        command.env("LLMZIP", env!("CARGO_BIN_EXE_llmzip")).env("RUNS", shell.path("runs"));
        command.env("PLOTS", shell.path("plots"));
        shell::end(command)
    };
    tiny::write(&shell.path("tiny"), &tiny::files());
    script(&["seed", "enwik8", "4000", "--models", "default tiny"]).expect(0);
    script(&["peers", "enwik8", "3000", "--against", "gzip", "--levels", "1 2"]).expect(0);
    script(&["chunks", "enwik8", "4000", "--levels", "1", "--sizes", "1000 4000"]).expect(0);
    let tables: Vec<_> =
        fs::read_dir(shell.path("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(tables.len(), 3, "{tables:?}");
    for (table, n_rows) in [("seed", 4), ("peers", 3), ("chunks", 2)] {
        let end = format!("-{table}.csv");
        let path = tables.iter().find(|path| path.to_string_lossy().ends_with(&end)).unwrap();
        let rows = fs::read_to_string(path).unwrap();
        assert_eq!(rows.lines().count(), 1 + n_rows, "{table}: {rows}");
        assert!(rows.lines().skip(1).all(|row| row.ends_with(",true")), "{rows}");
    }
    for plot in ["size-speed.svg", "chunk-ratio.svg"] {
        let plot = fs::read_to_string(shell.path("plots").join(plot)).unwrap();
        assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
        assert!(plot.contains("llmzip -1") || plot.contains("level 1"), "{plot}");
    }
    script(&["peers", "enwik8", "9999"]).expect(1).saying("6000 bytes");
    script(&["nonsense", "enwik8"]).expect(2).saying("usage");
}
