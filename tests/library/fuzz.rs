//! The fuzz targets (fuzz/README.md) without a fuzzer: their seeds, and every case that was found and
//! is kept, must hold.

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use crate::handmade::golden::accepted;
use crate::handmade::mend::mend;
use llmzip::ErrorKind;
use llmzip::archive::{self, BuiltinModels, Options};
use llmzip::ops::Isa;
use std::path::Path;
use targets::TARGETS;

#[test]
fn seeds_hold() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}: no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            println!("{}: seed {number}", target.name); // is shown where it fails
            (target.run)(seed);
        }
    }
}

#[test]
fn found_cases_hold() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found");
    let list = std::fs::read_to_string(found.join("README.md")).unwrap();
    let mut n_cases = 0;
    for folder in std::fs::read_dir(&found).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.is_dir() {
            continue; // README.md
        }
        let target = targets::target(folder.file_name().unwrap().to_str().unwrap());
        for case in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            println!("{}", case.display());
            (target.run)(&std::fs::read(&case).unwrap());
            let name = case.strip_prefix(&found).unwrap().display();
            assert!(list.contains(&format!("| {name} |")), "{name} is not in the list");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, list.matches("\n| ").count() - 2, "the list has others");
}

/// A flipped bit may make an archive bad, but after mending no checksum tells.
#[test]
fn mended_checksums_fit() {
    let models = BuiltinModels::new(Isa::detect());
    let mut n_mended = 0;
    for ((name, _, archive), _) in accepted() {
        let mut same = archive.clone();
        mend(&mut same);
        assert!(same == archive, "{name}: good checksums were changed");
        // Every third, which are all bits of a byte in turn.
        for bit in (0..8 * archive.len()).step_by(3) {
            let mut mended = archive.clone();
            mended[bit / 8] ^= 1 << (bit % 8);
            mend(&mut mended);
            let options = Options::default();
            let sink = std::io::sink();
            match archive::decompress(&mended[..], sink, &models, &options, &|_| ()) {
                Ok(_) => n_mended += 1,
                // Truncated, say, or a coded chunk now, which is no code.
                Err(e) if e.kind() != ErrorKind::Corrupt || e.to_string().contains("decoded") => (),
                Err(e) if e.to_string().contains("the content's CRC") => (),
                Err(e) => assert!(!e.to_string().contains("CRC"), "{name}, bit {bit}: {e}"),
            }
        }
    }
    assert!(n_mended > 100, "{n_mended}");
}
