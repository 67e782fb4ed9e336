//! GGUF files as models, as users meet them.

use crate::gguf::GgufFile;
use crate::shell::Shell;
use crate::tiny;

/// Content that shrinks by that model.
fn text() -> Vec<u8> {
    b"the same words and the same words again, ".repeat(20)
}

/// A folder with the content `a` and the model `some.gguf`.
fn with_model() -> Shell {
    let shell = Shell::new();
    shell.write("a", &text());
    let folder = tiny::write(&shell.path("tiny"), &tiny::files());
    shell.write("some.gguf", &GgufFile::of_folder(&folder).to_bytes());
    shell
}

#[test]
fn a_file_is_a_model_and_can_be_imported() {
    let shell = with_model();
    shell.run(&["--no-mix", "-m", "some.gguf", "a"]).expect(0);
    assert_eq!(shell.run(&["-dc", "-m", "./some.gguf", "a.llmz"]).expect(0).stdout, text());
    shell.run(&["-dc", "a.llmz"]).expect(3).saying("some.gguf");
    shell.run(&["models", "import", "some.gguf"]).expect(0);
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    // By the file, then by the label of what was imported.
    for _ in 0..2 {
        let listed = shell.run(&["models", "info", "--json", "some.gguf"]).expect(0).stdout;
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        assert_eq!(listed["models"][0]["form"], "gguf");
        shell.run(&["models", "verify", "some.gguf"]).expect(0);
        shell.run(&["-c", "--no-mix", "-m", "some.gguf", "a"]).expect(0);
        let _ = std::fs::remove_file(shell.path("some.gguf"));
    }
    shell.run(&["models", "export", "some.gguf", "-o", "carried"]).expect(0);
    shell.write("some.gguf", b"a file of that name");
    shell.run(&["models", "rm", "some.gguf"]).expect(0);
    shell.run(&["-dc", "a.llmz"]).expect(3);
    shell.run(&["models", "import", "carried"]).expect(0);
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn what_is_no_such_file_is_said() {
    let shell = with_model();
    shell.run(&["-c", "-m", "org/none.gguf", "a"]).expect(2).saying("no such file: org/none.gguf");
    shell.write("bad.gguf", b"GGML, but not the right one");
    let ended = shell.run(&["-c", "-m", "bad.gguf", "a"]);
    assert_ne!(ended.code, Some(0));
    ended.saying("bad.gguf").saying("does not begin with GGUF");
    shell.run(&["models", "import", "bad.gguf"]).saying("does not begin with GGUF");
    let ended = shell.run(&["models", "quantize", "--int8", "some.gguf", "-o", "int8"]);
    assert_ne!(ended.code, Some(0));
    ended.saying("GGUF");
}
