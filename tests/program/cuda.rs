//! `--device`, with a stand-in for the CUDA driver's library behind which launches run kernels compiled as C++: the
//! program is the real one, from its arguments to the driver's interface.

use crate::cuda::build;
use crate::family;
use crate::shell::{Ended, Shell, end};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder of the stand-in, which is built once; `None` where it cannot be.
#[track_caller]
fn stand_in() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("llmzip-cuda-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        build("driver.cpp", &["-O2", "-fPIC", "-shared"], &folder, "libcuda.so.1")?;
        Some(folder)
    });
    folder.as_deref()
}

/// A run of the program with the stand-in, which fails as `failure` says.
fn run(shell: &Shell, library: &Path, failure: &str, arguments: &[&str]) -> Ended {
    let mut command = shell.command(arguments);
    command.env("LD_LIBRARY_PATH", library).env("STAND_IN", failure);
    end(command.env("STAND_IN_LOG", shell.path("log")))
}

/// Bytes of which a random model makes few tokens, so that its code is shorter than they are.
fn text() -> Vec<u8> {
    [&b" the the and the thein the the".repeat(5)[..], b"\xff\x00"].concat()
}

/// Names of the kernels that were launched; the list begins anew.
fn launched(shell: &Shell) -> Vec<String> {
    let log = fs::read_to_string(shell.path("log")).unwrap_or_default();
    drop(fs::remove_file(shell.path("log")));
    let mut names: Vec<String> =
        log.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

/// Archives of every family, in floats and in integers, are those of the processor, and each decodes the other's.
#[test]
fn archives_do_not_depend_on_the_device() {
    let Some(library) = stand_in() else { return };
    let shell = Shell::new();
    shell.write("a", &text());
    let mut kernels = Vec::new();
    let families = [
        "gpt-neox-parallel-f16",
        "gpt2",
        "llama-gqa-tied",
        "mistral-window",
        "qwen2-tied",
        "qwen3-tied",
    ];
    for (i, name) in families.into_iter().enumerate() {
        let folder = family::folder(name);
        let folder = folder.path().to_str().unwrap();
        let (bits, quantized) = (if i % 2 == 0 { "8" } else { "16" }, format!("{name}-quantized"));
        let quantize =
            ["models", "quantize", "--int8", "--activation-bits", bits, "-o", &quantized];
        shell.run(&[&quantize[..], &[folder]].concat()).expect(0);
        for model in [folder, &quantized] {
            let options = ["-qc", "--lanes=3", "--prefix=in the end", "--no-mix", "-m", model, "a"];
            let cpu = shell.run(&options).expect(0).stdout;
            let cuda = run(&shell, library, "", &[&options[..], &["--device=cuda"]].concat());
            assert!(cuda.expect(0).stdout == cpu, "{model}");
            shell.write("a.llmz", &cpu);
            let options = ["-dc", "-m", model, "--device=cuda:1", "a.llmz"];
            kernels.extend(launched(&shell));
            assert!(run(&shell, library, "", &options).expect(0).stdout == text(), "{model}");
            let decoding = launched(&shell);
            assert!(decoding.contains(&"counts".to_owned()), "{model}: {decoding:?}");
            kernels.extend(decoding);
        }
    }
    for kernel in
        ["attention", "rotate", "add_positions", "layer_norm", "matmul_w8a16_narrow", "embed_f16"]
    {
        assert!(
            kernels.iter().any(|name| name == kernel),
            "{kernel} was not launched: {kernels:?}"
        );
    }
}

/// The default model, and a lane that starts afresh: the same bytes.
#[test]
fn the_default_model_and_long_lanes_are_the_same_on_a_device() {
    let Some(library) = stand_in() else { return };
    let shell = Shell::new();
    shell.write("a", &text()[..60]);
    let cpu = shell.run(&["-qc", "--no-mix", "a"]).expect(0).stdout;
    let cuda = run(&shell, library, "", &["-vc", "--no-mix", "--device=auto", "a"]).expect(0);
    assert!(cuda.stdout == cpu);
    cuda.saying("the model runs on Stand-in 0");
    assert!(launched(&shell).iter().any(|name| name.starts_with("matmul_w8a8")));
    let folder = family::folder("llama-gqa-tied");
    let folder = folder.path().to_str().unwrap();
    shell.write("b", &text());
    let options = ["-qc", "--no-mix", "--lanes=2", "--context=12", "-m", folder, "b"];
    let cpu = shell.run(&options).expect(0).stdout;
    let cuda = run(&shell, library, "", &[&options[..], &["--device=cuda"]].concat()).expect(0);
    assert!(cuda.stdout == cpu);
}

/// A device that cannot be used is an error, or with auto the processor.
#[test]
fn devices_that_cannot_be_used_are_said_to_be_so() {
    let Some(library) = stand_in() else { return };
    let shell = Shell::new();
    shell.write("a", &text());
    let folder = family::folder("llama-gqa-tied");
    let folder = folder.path().to_str().unwrap();
    let options = ["-vc", "--no-mix", "-m", folder, "a"];
    let cpu = shell.run(&options).expect(0).stdout;
    let nowhere = shell.path("nowhere");
    for (library, failure, message) in [
        (&*nowhere, "", "there is no CUDA driver on this machine"),
        (library, "no-device", "no CUDA-capable device is detected"),
        (library, "old-driver", "the CUDA driver is of version 11.4, expected 12.0 at least"),
        (library, "old-device", "Stand-in 0, has compute capability 6.0, expected 7.5 at least"),
        (library, "out-of-memory:5000", "out of memory"),
    ] {
        let on = |device: &'static str| {
            run(&shell, library, failure, &[&options[..], &["--device", device]].concat())
        };
        on("cuda").expect(1).saying(message).saying("--device cpu needs no GPU");
        let auto = on("auto").expect(0);
        assert!(auto.stdout == cpu, "{failure}");
        auto.saying("the model runs on the processor").saying(message);
    }
    let third = run(&shell, library, "", &[&options[..], &["--device=cuda:2"]].concat());
    third.expect(1).saying("there is no CUDA device 2: this machine has 2, counted from 0");
}

/// A device that is lost while a chunk is coded ends the run, wherever that is, and leaves no file.
#[test]
fn a_lost_device_is_an_error() {
    let Some(library) = stand_in() else { return };
    let shell = Shell::new();
    shell.write("a", &text());
    let folder = family::folder("llama-gqa-tied");
    let folder = folder.path().to_str().unwrap();
    shell.run(&["-q", "--no-mix", "-m", folder, "a", "-o", "whole"]).expect(0);
    for launches in [0, 1, 20, 70] {
        let failure = format!("lost:{launches}");
        let options = ["-m", folder, "--device=cuda", "--no-mix", "a"];
        run(&shell, library, &failure, &options).expect(1).saying("unspecified launch failure");
        let options = ["-d", "-m", folder, "--device=cuda", "whole", "-o", "b"];
        run(&shell, library, &failure, &options).expect(1).saying("unspecified launch failure");
        let options = ["-d", "--keep-going", "-m", folder, "--device=cuda", "whole", "-o", "b"];
        run(&shell, library, &failure, &options).expect(1).saying("unspecified launch failure");
        assert!(!shell.path("a.llmz").exists() && !shell.path("b").exists(), "{launches}");
    }
    // More memory than the weights take, less than those with keys and values.
    let options = ["-qc", "-m", folder, "--device=cuda", "--no-mix", "a"];
    let fails = |bytes: u64| {
        let ended = run(&shell, library, &format!("out-of-memory:{bytes}"), &options);
        (ended.code == Some(1)).then(|| ended.saying("out of memory")).is_some()
    };
    assert!(fails(100_000) && fails(500_000) && !fails(1 << 32));
}

/// What runs on the processor alone does so, and is no silent wish of someone who asks for a GPU.
#[test]
fn what_runs_on_the_processor_alone_says_so() {
    let Some(library) = stand_in() else { return };
    let shell = Shell::new();
    shell.write("a", &text());
    let on = |device: &str, options: &[&str]| {
        run(&shell, library, "", &[options, &["-qc", "a", "--device", device]].concat())
    };
    for options in [&["--learn"][..], &["--steer-random=2"], &["--steer-fit=2"], &["--adapter=x"]] {
        on("cuda", options)
            .expect(2)
            .saying("runs on the processor: use --device cpu or auto with it");
    }
    let gru = ["-m", "seed:gru:64:1"];
    on("cuda", &gru).expect(2).saying("only transformers without adapters run on a CUDA device");
    let cpu = shell.run(&["-qc", "a", "-m", "seed:gru:64:1"]).expect(0).stdout;
    assert!(on("auto", &gru).expect(0).stdout == cpu);
    let folder = family::folder("llama-gqa-tied");
    let model = ["-m", folder.path().to_str().unwrap(), "--no-mix"];
    for options in [&["--learn"][..], &["--steer-random=2"]] {
        let options = [&model[..], options].concat();
        let cpu = shell.run(&[&options[..], &["-qc", "a"]].concat()).expect(0).stdout;
        assert!(on("auto", &options).expect(0).stdout == cpu);
        shell.write("a.llmz", &cpu);
        let options = [&["-dc", "--device=cuda", "a.llmz"][..], &model[..2]].concat();
        assert!(run(&shell, library, "", &options).expect(0).stdout == text());
    }
    run(&shell, library, "", &["--device=gpu", "a"]).expect(2).saying("cpu, auto, cuda and cuda:N");
}
