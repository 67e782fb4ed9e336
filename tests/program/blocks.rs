//! `--block-bits` and `--block`.

use crate::shell::Shell;
use crate::skip::skip;
use std::fs;
use std::ops::Range;
use std::process::Command;

fn text() -> Vec<u8> {
    let line = |i: u32| format!("<{}>host app[{}]: took {} ms\n", i % 9, i * 7 % 90, i * i % 1013);
    (0..400).flat_map(|i| line(i).into_bytes()).collect()
}

#[test]
fn a_block_is_written_alone() {
    let shell = Shell::new();
    shell.write("log", &text());
    shell.run(&["-1", "--block-bits=4096", "log"]).expect(0);
    let archive = fs::read(shell.path("log.llmz")).unwrap();
    assert!(shell.run(&["-dc", "log.llmz"]).expect(0).stdout == text());
    let listed = shell.run(&["-lv", "log.llmz"]).expect(0);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("blocks  of 512 bytes"), "{listed}");
    let json = shell.run(&["-l", "--json", "log.llmz"]).expect(0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let stream = &json["files"][0]["streams"][0];
    assert_eq!(stream["block_len"], 512);
    let n = stream["chunks"].as_array().unwrap().len();
    let blocks: Vec<String> = (0..n).map(|block| format!("--block={block}")).collect();
    let one = |block: &String| shell.run(&["-dc", block, "log.llmz"]).expect(0).stdout;
    assert!(blocks.iter().flat_map(one).collect::<Vec<u8>>() == text());
    let piped = shell.pipe(&["-d", "--block=1"], &archive).expect(0);
    assert!(piped.stdout == one(&blocks[1]));
    let range = shell.run(&["-dc", "--range=700..3000", "log.llmz"]).expect(0);
    assert!(range.stdout == text()[700..3000]);

    let past = format!("--block={n}");
    shell.run(&["-dc", &past, "log.llmz"]).expect(2).saying(&format!("there are {n}"));
    shell.run(&["-1c", "log", "-o", "chunks.llmz"]).expect(2);
    shell.run(&["-1", "log", "-o", "chunks.llmz"]).expect(0);
    shell.run(&["-dc", "--block=0", "chunks.llmz"]).expect(2).saying("not one of blocks");
    shell.run(&["-d", "--block=0", "log.llmz"]).expect(2).saying("--block writes a part");
    shell.run(&["-t", "--block=0", "log.llmz"]).expect(2).saying("--block");
    shell.run(&["-dc", "--block=0", "--range=1..2", "log.llmz"]).expect(2);
    for bits in ["0", "512", "4095", "5000", "8392704", "4K"] {
        let option = format!("--block-bits={bits}");
        shell.run(&[&option, "log", "-o", "x"]).expect(2).saying("multiple of 4096");
    }
    shell.run(&["--block-bits=4096", "--lanes=2", "log", "-o", "x"]).expect(2);
}

#[test]
fn a_lost_sector_costs_its_block() {
    let shell = Shell::new();
    shell.write("log", &text());
    shell.run(&["-2", "--block-bits=4096", "log"]).expect(0);
    let mut archive = fs::read(shell.path("log.llmz")).unwrap();
    let first = shell.run(&["-dc", "--block=0", "log.llmz"]).stdout.len();
    let second = shell.run(&["-dc", "--block=1", "log.llmz"]).stdout.len();
    archive[1024..1536].fill(0xAA);
    shell.write("log.llmz", &archive);
    let kept = shell.run(&["-dc", "--keep-going", "log.llmz"]).expect(4);
    let kept = kept.saying(&format!("chunk 1: bytes {first} to {}", first + second - 1));
    assert!(kept.stdout == [&text()[..first], &text()[first + second..]].concat());
    shell.run(&["-dc", "--block=0", "log.llmz"]).expect(0);
    shell.run(&["-dc", "--block=1", "log.llmz"]).expect(4).saying("block 1");
    shell.run(&["-t", "log.llmz"]).expect(4).saying("chunk 1");
}

/// What `strace` printed of reads from `name`: the places that they were of.
fn reads(trace: &str, name: &str) -> Vec<Range<u64>> {
    let (mut at, mut reads) = (0, Vec::new());
    for line in trace.lines().filter(|line| line.contains(&format!("{name}>"))) {
        let result = line.rsplit_once(" = ").unwrap_or_else(|| panic!("{line}")).1;
        let Some(result) = result.split(' ').next().and_then(|n| n.parse::<u64>().ok()) else {
            continue;
        };
        if line.contains("lseek(") {
            at = result;
        } else if line.contains("pread64(") {
            panic!("{line}");
        } else {
            reads.push(at..at + result);
            at += result;
        }
    }
    reads
}

#[test]
fn a_block_is_read_without_touching_the_others() {
    let strace = |arguments: &[&str]| Command::new("strace").args(arguments).output();
    if !strace(&["-fqq", "-o", "/dev/null", "true"]).is_ok_and(|output| output.status.success()) {
        return skip("no strace that works");
    }
    let shell = Shell::new();
    shell.write("log", &text());
    shell.run(&["-1", "--block-bits=4096", "log"]).expect(0);
    let (archive, trace) = (shell.path("log.llmz"), shell.path("trace"));
    let len = fs::metadata(&archive).unwrap().len();
    let output = Command::new("strace")
        .args(["-ffqqy", "-e", "trace=read,readv,pread64,lseek,mmap", "-o"])
        .args([trace.as_os_str(), env!("CARGO_BIN_EXE_llmzip").as_ref()])
        .args(["-dc", "--block=3"])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout == shell.run(&["-dc", "--block=3", "log.llmz"]).expect(0).stdout);
    // A file for each thread: no call is cut in two by another's.
    let traces = shell.names().into_iter().filter(|name| name.starts_with("trace."));
    let trace: String = traces.map(|name| String::from_utf8(shell.read(name)).unwrap()).collect();
    let reads = reads(&trace, "log.llmz");
    let n_of = |place: Range<u64>| -> u64 {
        let within = |read: &&Range<u64>| place.start <= read.start && read.end <= place.end;
        reads.iter().filter(within).map(|read| read.end - read.start).sum()
    };
    let block = 512 + 3 * 512..512 + 4 * 512;
    // The header, the block, and what tells at the end that there is one archive: index and footer are shorter than a block.
    let parts = [n_of(0..512), n_of(block), n_of(len / 512 * 512..len)];
    assert_eq!(parts[..2], [512, 512], "{reads:?}");
    assert!((1..=64).contains(&parts[2]), "{reads:?}");
    assert_eq!(
        reads.iter().map(|read| read.end - read.start).sum::<u64>(),
        parts.iter().sum::<u64>(),
        "{reads:?}"
    );
}
