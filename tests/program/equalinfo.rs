//! `llmzip equalinfo`.

use crate::shell::Shell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn text() -> Vec<u8> {
    (0..300).flat_map(|i| format!("<14>host app[{}]: started\n", i * 7 % 90).into_bytes()).collect()
}

const MODEL: [&str; 2] = ["-m", "seed:gru:64:42"];

#[test]
fn tokens_come_back_by_model_and_by_dictionary() {
    let shell = Shell::new();
    shell.write("log", &text());
    let run = |arguments: &[&str]| shell.run(&[&["equalinfo"], arguments].concat());
    let by_model = |arguments: &[&str]| run(&[arguments, &MODEL].concat());
    for (name, how) in [("32", &["--bits=32"][..]), ("whole", &["--whole", "--token-bits=8"])] {
        let tokens = format!("{name}.npy");
        let said = by_model(&[&["encode", "log", "-o", &tokens], how].concat()).expect(0);
        assert!(String::from_utf8_lossy(&said.stdout).contains("bytes each, ratio"));
        assert!(fs::read(shell.path(&tokens)).unwrap().starts_with(b"\x93NUMPY"));
        by_model(&["decode", &tokens, "-T1"]).expect(0);
        assert!(fs::read(shell.path(name)).unwrap() == text());
        by_model(&["decode", &tokens]).expect(1).saying("exists");
    }
    by_model(&["dictionary", "--bits=12", "-o", "log.windows"]).expect(0);
    run(&["encode", "--dictionary", "log.windows", "log", "-o", "d.npy"]).expect(0);
    by_model(&["encode", "--bits=12", "--token-bits=12", "log", "-o", "m.npy"]).expect(0);
    for suffix in ["npy", "npy.json"] {
        let read = |name: &str| fs::read(shell.path(format!("{name}.{suffix}"))).unwrap();
        assert!(read("d") == read("m"), "{suffix}");
    }
    run(&["decode", "--dictionary", "log.windows", "m.npy"]).expect(0);
    assert!(fs::read(shell.path("m")).unwrap() == text());
}

#[test]
fn bad_input_is_named_and_leaves_nothing() {
    let shell = Shell::new();
    shell.write("log", &text());
    let run = |arguments: &[&str]| shell.run(&[&["equalinfo"], arguments].concat());
    let by_model = |arguments: &[&str]| run(&[arguments, &MODEL].concat());
    run(&["encode", "--bits=32", "log"]).expect(2).saying("-m names the model");
    by_model(&["encode", "log"]).expect(2);
    by_model(&["encode", "--bits=20", "--token-bits=16", "log"])
        .expect(2)
        .saying("not whole tokens");
    by_model(&["encode", "--bits=32", "no"]).expect(1).saying("no: cannot open");
    run(&["encode", "--bits=32", "-m", "default", "log"]).saying("recurrent model");
    assert!(!shell.path("log.npy").exists() && !shell.path("log.npy.json").exists());

    by_model(&["encode", "--bits=32", "log"]).expect(0);
    run(&["decode", "log.npy", "-m", "seed:gru:64:43", "-o", "x"])
        .expect(3)
        .saying("were made with the model");
    let about = fs::read(shell.path("log.npy.json")).unwrap();
    shell.write("log.npy.json", &about[..30]);
    by_model(&["decode", "log.npy", "-o", "x"]).expect(4).saying("log.npy.json");
    shell.write("log.npy.json", &about);
    let mut tokens = fs::read(shell.path("log.npy")).unwrap();
    let last = tokens.len() - 9;
    tokens[last] ^= 1;
    shell.write("log.npy", &tokens);
    by_model(&["decode", "log.npy", "-o", "x"]).expect(4);
    shell.write("log.npy", b"tokens");
    by_model(&["decode", "log.npy", "-o", "x"]).expect(4).saying("numpy");
    assert!(!shell.path("x").exists());
}

#[test]
fn a_second_model_learns_on_tokens() {
    let shell = Shell::new();
    shell.write("log", &text());
    shell
        .run(&["equalinfo", "encode", "--bits=16", "--token-bits=8", "log", MODEL[0], MODEL[1]])
        .expect(0);
    let train = |more: &[&str]| {
        let train = ["train", "--tokens", "log.npy", "--size=tiny", "--steps=3"];
        shell.run(&[&train, more].concat())
    };
    let said = train(&["-o", "m2"]).expect(0).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("bits per token of 8.0000: learnability"), "{said}");
    let names = ["config.json", "model.safetensors", "curve.csv"];
    assert!(names.iter().all(|name| shell.path("m2").join(name).exists()));
    assert!(!shell.path("m2/tokenizer.json").exists());
    let measured = train(&["-o", "again", "--held-out", "log.npy", "-T1"]).expect(0).stdout;
    assert!(String::from_utf8(measured).unwrap().contains("learnability"));
    train(&["-o", "m2"]).expect(2).saying("not empty");

    train(&["-o", "x", "log"]).expect(2);
    train(&["-o", "x", "--vocab=300"]).expect(2);
    shell.write("other.npy", &shell.read("log.npy"));
    train(&["-o", "x", "--held-out", "other.npy"]).expect(1).saying("cannot read other.npy.json");
    let n = shell.read("log.npy").len() - 128;
    shell.write(
        "other.npy.json",
        format!("{{\"plain_len\": 9, \"n_tokens\": {n}, \"vocab_size\": 300}}").as_bytes(),
    );
    train(&["-o", "x", "--held-out", "other.npy"]).expect(2).saying("vocabulary of 300");
    shell.write("other.npy.json", b"{\"plain_len\": 9, \"n_tokens\": 1, \"token_bits\": 8}");
    train(&["-o", "x", "--held-out", "other.npy"]).expect(4).saying("it is about 1 tokens");
    assert!(!shell.path("x").exists());
}

#[test]
fn a_model_learns_on_the_words_of_a_dictionary() {
    let shell = Shell::new();
    shell.write("log", &text());
    let dictionary = ["equalinfo", "dictionary", "--bits=12", "-o", "m1.windows"];
    shell.run(&[&dictionary, &MODEL[..]].concat()).expect(0);
    for arch in ["llama", "gru"] {
        let train = ["train", "log", "--vocab", "m1.windows", "--size=tiny", "--steps=2"];
        shell.run(&[&train[..], &["--arch", arch, "-o", arch]].concat()).expect(0);
        let card = String::from_utf8(shell.read(format!("{arch}/README.md"))).unwrap();
        assert!(card.contains("--vocab m1.windows"), "{card}");
        shell.run(&["-m", arch, "log", "-o", "log.llmz"]).expect(0);
        assert!(shell.run(&["-dc", "-m", arch, "log.llmz"]).expect(0).stdout == text());
        let said = shell.run(&["models", "evaluate", arch, "--text", "log"]).expect(0).stdout;
        assert!(String::from_utf8(said).unwrap().contains("log"));
        fs::remove_file(shell.path("log.llmz")).unwrap();
    }
    shell.run(&["models", "info", "llama"]).expect(0);
    // Resumed with the dictionary it was begun with, or with none other.
    let resume = |vocab: &str| {
        let train =
            ["train", "log", "--size=tiny", "--steps=3", "--arch=llama", "-o", "llama", "--resume"];
        shell.run(&[&train[..], &["--vocab", vocab]].concat())
    };
    shell
        .run(&[
            "equalinfo",
            "dictionary",
            "--bits=16",
            "-o",
            "other.windows",
            "-m",
            "seed:gru:64:1",
        ])
        .expect(0);
    resume("other.windows").expect(2).saying("another vocabulary than other.windows");
    resume("m1.windows").expect(0);

    let refused =
        |vocab: &str| shell.run(&["train", "log", "--vocab", vocab, "--steps=1", "-o", "x"]);
    refused("no.windows").expect(1).saying("cannot read no.windows");
    shell.write("bad.windows", &shell.read("m1.windows")[..9000]);
    refused("bad.windows").expect(4).saying("not a dictionary of windows");
    refused("255").expect(2).saying("from 256 to 65536");
    refused("-5").expect(2);
    assert!(!shell.path("x").exists());
}

/// What is read is never replaced, links are followed, and text can go to standard output.
#[test]
fn outputs_are_where_they_are_asked_for() {
    let shell = Shell::new();
    let text = b"the cat and the hat\n".repeat(9);
    shell.write("t", &text);
    fs::set_permissions(shell.path("t"), Permissions::from_mode(0o600)).unwrap();
    let model = ["-m", "seed:gru:64:1"];
    let encode = [&["equalinfo", "encode", "--bits=32"], &model[..]].concat();
    let decode = [&["equalinfo", "decode"], &model[..]].concat();
    for name in ["t", "./t"] {
        shell
            .run(&[&encode[..], &["-f", "-o", name, "t"]].concat())
            .expect(2)
            .saying("another name");
        assert!(shell.read("t") == text);
    }
    shell.run(&[&encode[..], &["-o", "-", "t"]].concat()).expect(2).saying("no stream");
    shell.run(&[&encode[..], &["t"]].concat()).expect(0);
    for name in ["t.npy", "t.npy.json"] {
        let mode = shell.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        shell.run(&[&decode[..], &["-f", "-o", name, "t.npy"]].concat()).expect(2);
    }
    let piped = shell.run(&[&decode[..], &["-o", "-", "t.npy"]].concat()).expect(0);
    assert!(piped.stdout == text);
    let piped = shell.run(&[&decode[..], &["-o", "/dev/stdout", "t.npy"]].concat()).expect(0);
    assert!(piped.stdout == text);
    shell.write("real", b"");
    std::os::unix::fs::symlink("real", shell.path("link")).unwrap();
    shell.run(&[&decode[..], &["-f", "-o", "link", "t.npy"]].concat()).expect(0);
    assert!(shell.read("real") == text && shell.path("link").is_symlink());
    let about = String::from_utf8(shell.read("t.npy.json")).unwrap();
    shell.write("t.npy.json", about.replace("\"window_bits\":32", "\"window_bits\":3").as_bytes());
    shell.run(&[&decode[..], &["-f", "t.npy"]].concat()).expect(4);
}
