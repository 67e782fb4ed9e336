//! `--block-bits` and `--block`.

use crate::shell::Shell;
use std::fs;

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
