//! Models drawn from a seed, as users meet them.

use crate::shell::Shell;
use llmzip::ErrorKind;
use llmzip::ops::Isa;
use llmzip::train::SeededModel;

/// A text that a small network learns something of.
fn text() -> Vec<u8> {
    b"the cat and the hat in the box, again and again.\n".repeat(40)
}

#[test]
fn nothing_but_the_program_is_needed() {
    let shell = Shell::new();
    shell.write("a", &text());
    for model in ["seed:gru:64:42", "seed:lstm:64x2:0", "seed:llama:64x1:1"] {
        let coding = ["-qc", "--no-mix", "--lanes=3", "-m", model, "a"];
        let archive = shell.run(&coding).expect(0).stdout;
        assert!(archive.len() < text().len() * 9 / 10, "{model}: {} bytes", archive.len());
        for threads in ["-T1", "-T4"] {
            let again = shell.run(&[&coding[..], &[threads]].concat()).expect(0).stdout;
            assert!(again == archive, "{model}, {threads}");
            let plain = shell.pipe(&["-dc", threads], &archive).expect(0).stdout;
            assert!(plain == text(), "{model}, {threads}");
        }
        shell.pipe(&["-dc", "-m", model], &archive).expect(0);
        shell
            .pipe(&["-dc", "-m", "seed:gru:128:1"], &archive)
            .expect(3)
            .saying("-m names seed:gru:128:1");
        shell.write("a.llmz", &archive);
        let listed = shell.run(&["-lv", "a.llmz"]).expect(0).stdout;
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains(model) && listed.contains("learn   all"), "{listed}");
    }
}

#[test]
fn the_seed_the_kind_and_the_rate_matter() {
    let shell = Shell::new();
    shell.write("a", &text());
    let coded = |options: &[&str]| {
        shell.run(&[&["-qc", "--no-mix", "a", "-m"], options].concat()).expect(0).stdout
    };
    let archives = [
        coded(&["seed:gru:64:42"]),
        coded(&["seed:gru:64:43"]),
        coded(&["seed:gru:64:42", "--learn=head"]),
        coded(&["seed:gru:64:42", "--learn=all", "--learn-rate=0.01"]),
    ];
    for (i, archive) in archives.iter().enumerate() {
        assert!(archives[..i].iter().all(|other| other != archive), "{i}");
        assert!(shell.pipe(&["-dc"], archive).expect(0).stdout == text());
    }
}

#[test]
fn impossible_names_are_refused() {
    let shell = Shell::new();
    shell.write("a", &text());
    for (name, said) in [
        ("seed:", "seed:KIND:WIDTH:SEED"),
        ("seed:rnn:64:1", "gru, lstm or llama"),
        ("seed:gru:65:1", "multiple of 64"),
        ("seed:gru:8192:1", "up to 4096"),
        ("seed:gru:64x17:1", "1 to 16 layers"),
        ("seed:gru:64x1:1", "written seed:gru:64:1"),
        ("seed:gru:064:1", "written seed:gru:64:1"),
        ("seed:gru:64:-1", "seed:KIND:WIDTH:SEED"),
        ("seed:gru:64:18446744073709551616", "seed:KIND:WIDTH:SEED"),
    ] {
        let ended = shell.run(&["-c", "-m", name, "a"]).expect(2);
        assert!(ended.stderr.contains(said), "{name}: {}", ended.stderr);
    }
    let ended = shell.run(&["models", "export", "-o", "x", "seed:gru:64:1"]).expect(2);
    assert!(ended.stderr.contains("has no files"), "{}", ended.stderr);
}

/// The name decides what is drawn, the digest holds it to its name.
#[test]
fn archives_name_them_by_digest_and_label() {
    let model: SeededModel = "seed:gru:64:42".parse().unwrap();
    let digest = model.identity().digest;
    assert_eq!(SeededModel::of_archive(&digest, "seed:gru:64:42"), Some(model));
    for label in ["seed:gru:64:43", "seed:gru:64:042", "gru", ""] {
        assert_eq!(SeededModel::of_archive(&digest, label), None, "{label}");
    }
    // 2.2 GB of weights, and several times that while they are drawn.
    let large: SeededModel = "seed:lstm:4096x16:1".parse().unwrap();
    let error = large.draw(Isa::detect(), 10 << 30).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::MemoryExceeded);
    // A forged label in place of the right one: there is no such model.
    let shell = Shell::new();
    let coding = ["-qc", "--no-mix", "-m", "seed:gru:64:42"];
    let archive = shell.pipe(&coding, &text()).expect(0).stdout;
    let at = archive.windows(14).position(|bytes| bytes == b"seed:gru:64:42").unwrap();
    let mut forged = archive.clone();
    forged[at + 13] = b'3';
    let ended = shell.pipe(&["-dc"], &forged);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stdout.is_empty());
}
