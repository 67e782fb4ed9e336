//! `llmzip models evaluate`: a table and JSON, by both engines.

use crate::family;
use crate::shell::{Ended, Shell};
use serde_json::Value;

fn text() -> Vec<u8> {
    (0..60).flat_map(|i| format!("the line {} of the list\n", i * 7 % 100).into_bytes()).collect()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[test]
fn models_are_evaluated_on_texts() {
    let shell = Shell::new();
    let gru = family::folder("gru");
    shell.write("a", &text());
    shell.write("empty", b"");
    let gru = gru.path().to_str().unwrap();
    let verb = ["models", "evaluate", "default", gru, "--text", "a", "empty"];
    let table = String::from_utf8(shell.run(&verb).expect(0).stdout).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    let head = ["bits/byte", "accuracy", "bytes", "tokens", "memory", "score", "model", "file"];
    assert_eq!(rows[0], head);
    assert_eq!(rows.len(), 5, "{table}");
    let json = json(&shell.run(&[&verb[..], &["--json"]].concat()).expect(0));
    let found = json["evaluations"].as_array().unwrap();
    assert_eq!((found.len(), &json["schema"]), (4, &1.into()));
    for (row, found) in rows[1..].iter().zip(found) {
        let label = found["model"].as_str().unwrap();
        assert_eq!(&row[6..], [label, found["file"].as_str().unwrap()]);
        assert_eq!(row[1], "-");
        assert_eq!(found["engine"], "exact");
        assert_eq!(found["digest"].as_str().unwrap().len(), 64);
        let Some(figure) = found["bits_per_byte"].as_f64() else {
            assert_eq!((row[0], row[2], row[3], &found["file"]), ("-", "0", "0", &"empty".into()));
            assert_eq!((row[5], found["score"].is_null()), ("-", true));
            continue;
        };
        assert_eq!(row[0], format!("{figure:.5}"));
        assert!((found["bits"].as_f64().unwrap() / figure - text().len() as f64).abs() < 1e-6);
    }
    // What the model alone makes of the text in one lane; the archive has some bytes more.
    let archive = shell.pipe(&["--no-mix", "--lanes=1"], &text()).expect(0).stdout;
    let bits = found[0]["bits"].as_f64().unwrap();
    let more = 8.0 * archive.len() as f64 - bits;
    assert!((8.0 * 10.0..8.0 * 24.0).contains(&more), "{bits} bits, {} bytes", archive.len());
}

#[test]
fn failures_stop_no_other_model_or_text() {
    let shell = Shell::new();
    shell.write("a", &text()[..100]);
    let verb = ["models", "evaluate", "./no", "default", "--json", "--text", "no", "a"];
    let json = json(&shell.run(&verb).expect(2));
    assert_eq!(json["evaluations"].as_array().unwrap().len(), 1);
    assert_eq!(json["errors"].as_array().unwrap().len(), 2);
    shell.run(&["models", "evaluate", "default"]).expect(2).saying("--text");
    let verb = ["models", "evaluate", "default", "--text", "a", "--device=cpu"];
    shell.run(&verb).expect(2).saying("--engine candle");
    let cuda = ["models", "evaluate", "default", "--text", "a", "--engine=candle", "--device=cuda"];
    if !cfg!(feature = "candle-cuda") {
        shell.run(&cuda).expect(2).saying("--features candle-cuda");
    }
}

#[test]
fn candle_is_an_engine() {
    let shell = Shell::new();
    shell.write("a", &text());
    let folder = family::folder("llama-gqa-tied");
    let verb = ["models", "evaluate", folder.path().to_str().unwrap(), "--json", "--text", "a"];
    let candle = [&verb[..], &["--engine=candle", "--device=cpu"]].concat();
    if !cfg!(feature = "candle") {
        shell.run(&candle).expect(2).saying("--features candle");
        return;
    }
    let [exact, candle] = [&verb[..], &candle].map(|verb| {
        let json = json(&shell.run(verb).expect(0));
        (json["evaluations"][0]["engine"].clone(), json["evaluations"][0]["bits"].as_f64().unwrap())
    });
    assert_eq!((exact.0, candle.0), ("exact".into(), "candle".into()));
    assert!((candle.1 / exact.1 - 1.0).abs() < 1e-4, "{} and {}", exact.1, candle.1);
}

/// Questions whose answers the text before them gives away, and one with another answer than everybody's.
#[test]
fn questions_are_answered_and_models_compared() {
    let shell = Shell::new();
    let gru = family::folder("gru");
    let gru = gru.path().to_str().unwrap();
    shell.write("sea_ships_test.csv", b"How many?,one,two,three,four,B\nWhich?,\"a, b\",c,d,e,B\n");
    let line =
        r#"{"question": "How many?", "choices": ["one", "two", "three", "four"], "answer": 1}"#;
    shell.write("dev.jsonl", [line, "\n"].concat().repeat(5).as_bytes());
    let verb = ["models", "evaluate", "default", gru, "--choices", "sea_ships_test.csv"];
    let with_examples = [&verb[..], &["--shots=5", "--examples=dev.jsonl", "--json"]].concat();
    let found = json(&shell.run(&with_examples).expect(0));
    let found = found["evaluations"].as_array().unwrap();
    // Five times B before makes it B.
    assert_eq!((&found[0]["n_questions"], &found[0]["n_correct"]), (&2.into(), &2.into()));
    assert_eq!((found[0]["score"].as_f64(), found[0]["drop"].as_f64()), (Some(1.0), Some(0.0)));
    let of = |name: &str| found[1][name].as_f64().unwrap();
    assert_eq!(of("drop"), 1.0 - of("accuracy"));
    assert!((of("score") - of("ratio") / (1.0 + of("drop"))).abs() < 1e-12);
    let memory = |i: usize| found[i]["weights_memory"].as_f64().unwrap();
    assert!((of("ratio") - memory(0) / memory(1)).abs() < 1e-12);

    let table = String::from_utf8(shell.run(&verb).expect(0).stdout).unwrap();
    assert!(table.lines().nth(1).unwrap().contains("%"), "{table}");
    shell.run(&[&verb[..], &["--shots=1"]].concat()).expect(2).saying("--examples");
    shell.write("bad.csv", b"How many?,one,two,three,four,B\nno question\n");
    let bad = ["models", "evaluate", "default", "--choices", "bad.csv", "sea_ships_test.csv"];
    shell.run(&bad).expect(1).saying("bad.csv: line 2");
    let few = ["--shots=2", "--examples=sea_ships_test.csv", "--choices=sea_ships_test.csv"];
    shell.run(&[&["models", "evaluate", "default"], &few[..]].concat()).expect(0);
    shell.write("one.csv", b"How many?,one,two,three,four,B\n");
    let few = ["--shots=2", "--examples=one.csv", "--choices=sea_ships_test.csv"];
    shell
        .run(&[&["models", "evaluate", "default"], &few[..]].concat())
        .expect(1)
        .saying("2 are wanted");
}
