//! What people bring from gzip, xz, zstd and tar: letters, names, directories, and typing errors.

use crate::shell::{Shell, end};
use crate::skip::skip;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

/// Content that shrinks, and tells its places apart.
fn text() -> Vec<u8> {
    (0..600).flat_map(|i| format!("line {i}\n").into_bytes()).collect()
}

/// A shell with the file `a` and its archive `a.llmz`, in chunks of 1,000 bytes.
fn with_archive() -> Shell {
    let shell = Shell::new();
    shell.write("a", &text());
    shell.run(&["-1", "--chunk-size", "1000", "a"]).expect(0);
    shell
}

#[test]
fn letters_of_other_programs_mean_the_same() {
    let shell = with_archive();
    let packed = |arguments: &[&str]| shell.pipe(arguments, &text()).expect(0).stdout;
    assert_eq!(packed(&["-z", "-1"]), packed(&["-1"]));
    assert_eq!(packed(&["--compress", "--fast"]), packed(&["-1"]));
    assert_eq!(packed(&["--fast=3"]), packed(&["-1"]));
    assert_eq!(packed(&["--fast=3", "--best"]), packed(&["-9"]));
    assert_eq!(packed(&["-1", "--best"]), packed(&["-9"]));
    for wrong in ["--fast=0", "--fast=", "--fast=x", "--fast=-1"] {
        shell.pipe(&[wrong], b"a").expect(2).saying("expected a number");
    }
    shell.run(&["-dt", "a.llmz"]).expect(0).saying("good");
    shell.run(&["-td", "a.llmz"]).expect(0).saying("good");
    assert!(!shell.run(&["-dl", "a.llmz"]).expect(0).stdout.is_empty());
    for wrong in [["-z", "-d"], ["-z", "-t"], ["-t", "-l"]] {
        shell.run(&[&wrong[..], &["a.llmz"]].concat()).expect(2);
    }
    for high in ["-10", "-19"] {
        shell.run(&[high, "a"]).expect(2).saying("the highest level is -9");
    }
    assert_eq!(shell.names(), ["a", "a.llmz"]);
}

#[test]
fn forced_to_standard_output_files_that_are_no_archives_pass() {
    let shell = with_archive();
    let both = [text(), b"plain".to_vec()].concat();
    shell.write("plain", b"plain");
    shell.write("short", b"p");
    assert_eq!(shell.run(&["-dcf", "a.llmz", "plain"]).expect(0).stdout, both);
    assert_eq!(shell.run(&["-dcf", "short"]).expect(0).stdout, b"p");
    assert_eq!(shell.pipe(&["-dcf"], b"plain").expect(0).stdout, b"plain");
    assert_eq!(shell.pipe(&["-dcf"], b"").expect(0).stdout, b"");
    shell.run(&["-dcf", "--max-output", "5", "plain"]).expect(0);
    shell.run(&["-dcf", "--max-output", "4", "plain"]).expect(5);
    assert_eq!(shell.pipe(&["-dcf"], &shell.read("a.llmz")).expect(0).stdout, text());
    shell.run(&["-dc", "plain"]).expect(4);
}

#[test]
fn names_of_the_program_choose_what_it_does() {
    let shell = with_archive();
    let called = |name: &str, arguments: &[&str]| {
        let link = shell.path(name);
        symlink(env!("CARGO_BIN_EXE_llmzip"), &link).unwrap();
        let mut command = Command::new(&link);
        command.current_dir(shell.path("")).args(arguments);
        let ended = end(command);
        fs::remove_file(link).unwrap();
        ended
    };
    assert_eq!(called("llmzcat", &["a.llmz"]).expect(0).stdout, text());
    called("unllmzip", &["-f", "a.llmz"]).expect(0);
    assert_eq!(shell.read("a"), text());
}

#[test]
fn archives_are_searched() {
    let shell = with_archive();
    shell.write("plain", b"line 7\nno\n");
    let bin = shell.path("bin");
    fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_llmzip"), bin.join("llmzip")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let search = |arguments: &[&str]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/llmzgrep");
        let mut command = Command::new("sh");
        command.arg(script).args(arguments).env("PATH", &path).current_dir(shell.path(""));
        end(command)
    };
    assert_eq!(search(&["line 7$", "a.llmz"]).expect(0).stdout, b"line 7\n");
    let found = search(&["-eline 7$", "a.llmz", "plain"]);
    assert_eq!(found.expect(0).stdout, b"a.llmz:line 7\nplain:line 7\n");
    assert_eq!(search(&["-m", "1", "-e", "line 7", "a.llmz"]).expect(0).stdout, b"line 7\n");
    assert_eq!(search(&["-ie", "LINE 7$", "a.llmz"]).expect(0).stdout, b"line 7\n");
    shell.write("empty", b"");
    search(&["x", "--", "empty", "plain"]).expect(1);
    search(&["-r", "x", "bin"]).expect(2).saying("use find");
    assert_eq!(search(&["-c", "it's", "a.llmz"]).expect(1).stdout, b"0\n");
    search(&["x", "missing"]).expect(2);
}

#[test]
fn names_come_from_a_list() {
    let shell = Shell::new();
    for name in ["a", "b", "c d"] {
        shell.write(name, &text());
    }
    shell.write("lines", b"a\nc d\n");
    shell.run(&["-1", "--files-from", "lines", "b"]).expect(0);
    assert_eq!(shell.names(), ["a", "a.llmz", "b", "b.llmz", "c d", "c d.llmz", "lines"]);
    shell.pipe(&["-df", "--files0-from", "-"], b"a.llmz\0c d.llmz\0").expect(0);
    shell.run(&["-1", "--files-from", "missing"]).expect(1).saying("cannot read the names");
    assert!(shell.pipe(&["-1", "--files-from", "-"], b"").expect(0).stdout.is_empty());
}

#[test]
fn results_go_to_another_directory() {
    let shell = with_archive();
    shell.run(&["-1", "-C", "new/deep", "a"]).expect(0);
    assert!(shell.path("new/deep/a.llmz").is_file());
    shell.run(&["-d", "-C", "back", "--no-sync", "new/deep/a.llmz"]).expect(0);
    assert_eq!(shell.read("back/a"), text());
    shell.run(&["-d", "-C", "back", "new/deep/a.llmz"]).expect(1).saying("exists already");
    shell.pipe(&["-C", "back"], b"x").expect(1).saying("has no name");
    for wrong in
        [&["-c", "-C", "x", "a"][..], &["-o", "y", "-C", "x", "a"], &["-t", "-C", "x", "a"]]
    {
        shell.run(wrong).expect(2);
    }
    assert_eq!(shell.names(), ["a", "a.llmz", "back", "new"]);
}

#[test]
fn a_prefix_is_read_from_a_file() {
    let shell = Shell::new();
    let prefix = b"the keeper wrote every evening: wind, sea, ships; ";
    shell.write("prefix", prefix);
    shell.write("a", &prefix.repeat(2));
    let with = shell.run(&["-1", "-D", "prefix", "-c", "a"]).expect(0).stdout;
    let typed = shell.run(&["-1", "--prefix", std::str::from_utf8(prefix).unwrap(), "-c", "a"]);
    assert_eq!(with, typed.expect(0).stdout);
    assert_eq!(shell.pipe(&["-d"], &with).expect(0).stdout, prefix.repeat(2));
    shell.write("long", &[b'x'; 70_000]);
    shell.run(&["-1", "-D", "long", "a"]).expect(2).saying("65536");
    shell.run(&["-1", "-D", "missing", "a"]).expect(1).saying("cannot read the prefix");
}

#[test]
fn tar_has_a_short_suffix() {
    let shell = with_archive();
    fs::rename(shell.path("a.llmz"), shell.path("a.tllmz")).unwrap();
    shell.run(&["-d", "a.tllmz"]).expect(0);
    assert_eq!(shell.read("a.tar"), text());
}

#[test]
fn options_that_a_mode_ignores_are_refused() {
    let shell = with_archive();
    for (arguments, words) in [
        (&["--max-output", "1", "a"][..], "decompression"),
        (&["--keep-going", "a"], "decompression"),
        (&["--range", "0..1", "a"], "decompression"),
        (&["-t", "--untar", "a.llmz"], "decompression"),
        (&["-1", "--no-mix", "a"], "level 1 without it"),
        (&["--prefix", "x", "-D", "a", "a"], "cannot be used with"),
        (&["--lanes", "x", "a"], "expected a number from 1 to 64"),
        (&["-T", "two", "a"], "expected a number, 0 or more"),
        (&["--level", "10", "a"], "expected a number from 1 to 9"),
    ] {
        shell.run(arguments).expect(2).saying(words);
    }
    for option in [["--lanes", "2"], ["--context", "64"]] {
        let arguments = [&["-1", "-f"][..], &option, &["a"]].concat();
        shell.run(&arguments).expect(0).saying("is ignored");
    }
}

#[test]
fn a_mistyped_command_does_nothing() {
    let shell = with_archive();
    for (arguments, words) in [
        (&["comprss", "a"][..], "the command may be:  llmzip compress"),
        (&["-9", "compress", "a"], "the command comes first:  llmzip compress"),
        (&["-q", "x", "a.llmz"], "the command comes first:  llmzip x"),
        (&["extract", "a.llmz"], "llmzip decompress"),
        (&["info", "a.llmz"], "llmzip list"),
        (&["--compres", "a"], "'--compress'"),
    ] {
        shell.run(arguments).expect(2).saying(words);
    }
    assert_eq!(shell.names(), ["a", "a.llmz"]);
    // A file of that name is meant.
    shell.write("comprss", b"x");
    shell.run(&["-1", "comprss"]).expect(0);
}

#[test]
fn advice_fits_the_call() {
    let shell = with_archive();
    let archive = shell.read("a.llmz");
    shell.write("junk.llmz", &[&archive[..], b"junk"].concat());
    shell.run(&["-d", "junk.llmz"]).expect(1).saying("-df writes it to a file");
    let kept = shell.run(&["-df", "junk.llmz"]).expect(1).saying("is in junk");
    assert!(!kept.stderr.contains("-f"), "{}", kept.stderr);
    let missing = shell.run(&["-d", "-m", "log-model", "a.llmz"]);
    assert!(!missing.stderr.contains("models pull"), "{}", missing.stderr);
    let missing = shell.run(&["-m", "log-model", "a"]).expect(3).saying("nor a model of that name");
    missing.saying("folder 'log-model'");
    shell.write("model.tar", b"x");
    shell.run(&["-m", "model.tar", "a"]).expect(2).saying("models import model.tar");
}

#[test]
fn files_of_other_programs_are_named() {
    let shell = Shell::new();
    for (suffix, name, head) in [
        ("gz", "gzip", &b"\x1f\x8b\x08\0\0\0"[..]),
        ("xz", "xz", b"\xfd7zXZ\0"),
        ("zst", "Zstandard", b"\x28\xb5\x2f\xfd\0"),
        ("zip", "zip", b"PK\x03\x04"),
        ("bz2", "bzip2", b"BZh91AY"),
        ("7z", "7-Zip", b"7z\xbc\xaf\x27\x1c"),
        ("lz4", "LZ4", b"\x04\x22\x4d\x18"),
        ("lz", "lzip", b"LZIP\x01"),
        ("Z", "compress", b"\x1f\x9d\x90"),
        ("rar", "RAR", b"Rar!\x1a\x07"),
    ] {
        let (file, is) = (format!("a.{suffix}"), format!("but {name}: use "));
        shell.write(&file, head);
        shell.write("other.llmz", head);
        shell.run(&["-t", "other.llmz"]).expect(4).saying(&is);
        shell.run(&["-d", &file]).expect(4).saying(&is);
        shell.run(&["-d", "-C", ".", &file]).expect(4).saying(&is);
        shell.pipe(&["-dc"], head).expect(4).saying(&is);
    }
    shell.write("a.txt", b"text");
    shell.run(&["-d", "a.txt"]).expect(1).saying("does not end in .llmz");
}

#[test]
fn a_range_of_the_content_is_read_alone() {
    let shell = with_archive();
    let (text, archive) = (text(), shell.read("a.llmz"));
    for (begin, end) in
        [(0, 10), (999, 1001), (1500, 3700), (0, text.len()), (text.len(), text.len())]
    {
        let range = format!("{begin}..{end}");
        let got = shell.run(&["-dc", "--range", &range, "a.llmz"]).expect(0).stdout;
        assert_eq!(got, text[begin..end], "{range}");
    }
    let joined = [&archive[..], &archive[..]].concat();
    let at = text.len();
    let range = format!("{}..{}", at - 3, at + 4);
    let got = shell.pipe(&["-d", "--range", &range], &joined).expect(0).stdout;
    assert_eq!(got, [&text[at - 3..], &text[..4]].concat());
    let tail = format!("{}..", at - 5);
    assert_eq!(shell.run(&["-dc", "--range", &tail, "a.llmz"]).expect(0).stdout, text[at - 5..]);
    // Damage elsewhere does not matter.
    let mut damaged = archive.clone();
    damaged[20] ^= 1;
    shell.write("bad.llmz", &damaged);
    shell.run(&["-dc", "--range", "0..10", "bad.llmz"]).expect(4);
    assert_eq!(
        shell.run(&["-dc", "--range", "3000..3010", "bad.llmz"]).expect(0).stdout,
        text[3000..3010]
    );
    shell.run(&["-d", "--range", "0..1", "a.llmz"]).expect(2).saying("add -c");
    shell.run(&["-dc", "--range", "5..1", "a.llmz"]).expect(2);
    shell.run(&["-dc", "--range", "0..9", "--max-output", "8", "a.llmz"]).expect(5);
    shell.run(&["-d", "--range", "0..9", "-o", "part", "a.llmz"]).expect(0);
    assert_eq!(shell.read("part"), text[..9]);
}

/// A directory with files, a link, a hard link, an empty directory, and modes.
fn with_directory() -> Shell {
    let shell = Shell::new();
    fs::create_dir_all(shell.path("d/sub/empty")).unwrap();
    shell.write("d/a", &text());
    shell.write("d/sub/b", b"b");
    fs::hard_link(shell.path("d/a"), shell.path("d/sub/hard")).unwrap();
    symlink("../a", shell.path("d/sub/link")).unwrap();
    fs::set_permissions(shell.path("d/sub/b"), fs::Permissions::from_mode(0o751)).unwrap();
    let time = filetime::FileTime::from_unix_time(1_000_000_000, 0);
    filetime::set_file_mtime(shell.path("d/sub/b"), time).unwrap();
    shell
}

#[test]
fn a_directory_becomes_an_archive_and_comes_back() {
    let shell = with_directory();
    shell.run(&["compress", "-1", "d"]).expect(0).saying("d -> d.tar.llmz");
    shell.run(&["-d", "--untar", "d.tar.llmz"]).expect(1).saying("exists already");
    shell.run(&["-d", "--untar", "-C", "new", "d.tar.llmz"]).expect(0).saying("new/d");
    assert_eq!(shell.read("new/d/a"), text());
    let b = shell.path("new/d/sub/b").metadata().unwrap();
    assert_eq!((b.mode() & 0o777, b.mtime()), (0o751, 1_000_000_000));
    assert_eq!(fs::read_link(shell.path("new/d/sub/link")).unwrap().to_str(), Some("../a"));
    let inode = |name| shell.path(name).metadata().unwrap().ino();
    assert_eq!(inode("new/d/a"), inode("new/d/sub/hard"));
    assert!(shell.path("new/d/sub/empty").is_dir());
    // The same bytes from any call, and for tar.
    let again = shell.run(&["-1", "-c", "d/"]).expect(0).stdout;
    assert_eq!(again, shell.read("d.tar.llmz"));
    let tar = shell.pipe(&["-d"], &again).expect(0).stdout;
    let names: Vec<_> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["d", "d/a", "d/sub", "d/sub/b", "d/sub/empty", "d/sub/hard", "d/sub/link"]);
    fs::remove_dir_all(shell.path("d")).unwrap();
    shell.run(&["-d", "--untar", "--rm", "d.tar.llmz"]).expect(2);
    shell.run(&["-d", "--untar", "d.tar.llmz"]).expect(0);
    assert_eq!(shell.names(), ["d", "d.tar.llmz", "new"]);
}

/// Zeros at the end, which only the length tells of, are in it; so is a file that must not be written to.
#[test]
fn zeros_in_an_unpacked_directory_are_holes() {
    let shell = Shell::new();
    fs::create_dir(shell.path("d")).unwrap();
    let plain = [b"head", &vec![0; 600_000][..], b"end", &[0; 600_000]].concat();
    shell.write("d/a", &plain);
    fs::set_permissions(shell.path("d/a"), fs::Permissions::from_mode(0o440)).unwrap();
    shell.run(&["-1", "d"]).expect(0);
    for (name, arguments, holes) in [("new", &[][..], true), ("full", &["--no-sparse"], false)] {
        let call = [&["-d", "--untar", "-C", name, "d.tar.llmz"], arguments].concat();
        shell.run(&call).expect(0);
        let file = format!("{name}/d/a");
        assert!(shell.read(&file) == plain, "{name}");
        let metadata = shell.path(&file).metadata().unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o440);
        assert_eq!(metadata.mtime(), shell.path("d/a").metadata().unwrap().mtime());
        assert_eq!(metadata.blocks() * 512 < 50_000, holes, "{name}: {}", metadata.blocks());
    }
}

#[test]
fn unpacking_with_trailing_data_does_not_advise_what_it_ignores() {
    let shell = with_directory();
    shell.run(&["-1", "d"]).expect(0);
    shell.write("joined.tar.llmz", &[&shell.read("d.tar.llmz")[..], b"trailing"].concat());
    let ended = shell.run(&["-d", "-f", "--untar", "-C", "new", "joined.tar.llmz"]).expect(1);
    assert!(ended.stderr.contains("without --untar"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("-df writes it"), "{}", ended.stderr);
}

#[test]
fn a_prefix_that_is_too_long_is_called_no_length_that_it_has_not() {
    let shell = with_archive();
    shell.write("long", &[b'x'; 80_000]);
    shell.run(&["-1", "-c", "-D", "long", "a"]).expect(2).saying("long has more than 65536 bytes");
}

/// The option that lifts the limit that was met, and no other; of nothing it is not said that its end is missing.
#[test]
fn advice_names_the_option_that_helps() {
    let shell = with_archive();
    let said = |ended: &crate::shell::Ended| ended.stderr.clone();
    let content = shell.run(&["-dc", "--max-output", "9", "a.llmz"]).expect(5);
    let memory = shell.run(&["-c", "-6", "--memlimit", "100k", "a"]).expect(5);
    assert!(said(&content).contains("--max-output") && !said(&content).contains("--memlimit"));
    assert!(said(&memory).contains("--memlimit") && !said(&memory).contains("--max-output"));
    let empty = shell.pipe(&["-d"], b"").expect(4);
    assert!(said(&empty).contains("empty input") && !said(&empty).contains("the end of"));
}

#[test]
fn modes_of_directories_times_and_targets_of_links_are_kept() {
    let shell = Shell::new();
    fs::create_dir_all(shell.path("d/sticky")).unwrap();
    symlink("a//b/./c/", shell.path("d/link")).unwrap();
    fs::set_permissions(shell.path("d/sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    let time = filetime::FileTime::from_unix_time(1_000_000_000, 0);
    filetime::set_file_mtime(shell.path("d/sticky"), time).unwrap();
    filetime::set_file_mtime(shell.path("d"), filetime::FileTime::from_unix_time(-5, 0)).unwrap();
    fs::set_permissions(shell.path("d"), fs::Permissions::from_mode(0o555)).unwrap();
    assert!(Command::new("mkfifo").arg(shell.path("pipe")).status().unwrap().success());
    symlink("d", shell.path("to-d")).unwrap();
    shell.run(&["-1", "d"]).expect(0);
    shell.run(&["-d", "--untar", "-C", "new", "d.tar.llmz"]).expect(0);
    let of = |name| shell.path(name).metadata().unwrap();
    assert_eq!(
        (of("new/d/sticky").mode() & 0o7777, of("new/d/sticky").mtime()),
        (0o1777, 1_000_000_000)
    );
    assert_eq!((of("new/d").mode() & 0o7777, of("new/d").mtime()), (0o555, 0));
    let target = fs::read_link(shell.path("new/d/link")).unwrap();
    assert_eq!(target.as_os_str(), "a//b/./c/");
    shell.run(&["-1", "to-d"]).expect(1).saying("symbolic link");
    shell.run(&["-1", "--rm", "-o", "x", "pipe"]).expect(1).saying("--rm removes");
    for name in ["d", "new/d"] {
        fs::set_permissions(shell.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn inputs_of_one_name_do_not_replace_each_other_s_results() {
    let shell = Shell::new();
    for name in ["a", "b"] {
        fs::create_dir(shell.path(name)).unwrap();
        shell.write(format!("{name}/x"), &text());
    }
    let ended = shell.run(&["-1", "-f", "--rm", "-C", "to", "a/x", "b/x"]).expect(1);
    ended.saying("the result of another input");
    assert!(!shell.path("a/x").exists() && shell.path("b/x").exists());
}

#[test]
fn directories_that_cannot_be_packed_leave_nothing() {
    let shell = with_directory();
    shell.run(&["-1", "--rm", "d"]).expect(1).saying("--rm does not remove");
    shell.run(&["-1", "-o", "d/sub/x.llmz", "d"]).expect(1).saying("inside the directory");
    shell.run(&["-1", "."]).expect(1).saying("outside");
    shell.run(&["-d", "d"]).expect(1).saying("directory");
    assert_eq!(shell.names(), ["d"]);
    if rustix::process::geteuid().is_root() {
        skip("a directory that root cannot read");
        return;
    }
    fs::set_permissions(shell.path("d/a"), fs::Permissions::from_mode(0o0)).unwrap();
    shell.run(&["-1", "d"]).expect(1).saying("d/a");
    assert_eq!(shell.names(), ["d"]);
}

#[test]
fn a_damaged_or_hostile_directory_is_not_unpacked() {
    let shell = with_directory();
    shell.run(&["-1", "--chunk-size", "1000", "d"]).expect(0);
    let mut damaged = shell.read("d.tar.llmz");
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    shell.write("bad.tar.llmz", &damaged);
    fs::create_dir(shell.path("to")).unwrap();
    shell.run(&["-d", "--untar", "-C", "to", "bad.tar.llmz"]).expect(4);
    // A name that leads out of the directory.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_old();
    header.as_old_mut().name[..7].copy_from_slice(b"../evil");
    header.set_size(1);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    tar.append(&header, &b"x"[..]).unwrap();
    let hostile = shell.pipe(&["-1"], &tar.into_inner().unwrap()).expect(0).stdout;
    shell.write("evil.tar.llmz", &hostile);
    let unpack = |name: &str| shell.run(&["-d", "--untar", "-C", "to", name]).expect(1);
    unpack("evil.tar.llmz").saying("would be outside");
    let good = shell.pipe(&["-d"], &shell.read("d.tar.llmz")).expect(0).stdout;
    for (name, content, words) in [
        ("text", b"no tar".to_vec(), "not a tar archive"),
        ("zeros", vec![0; 10_000], "is empty"),
        ("two", good.repeat(2), "more after the end"),
    ] {
        let packed = shell.pipe(&["-1"], &content).expect(0).stdout;
        shell.write(format!("{name}.llmz"), &packed);
        unpack(&format!("{name}.llmz")).saying(words);
    }
    assert_eq!(fs::read_dir(shell.path("to")).unwrap().count(), 0);
    assert!(!shell.path("evil").exists());
}

/// Entries that meet a link, and the directory itself, whose mode is the user's.
#[test]
fn unpacking_changes_no_directory_outside() {
    let shell = Shell::new();
    for name in ["to", "outside"] {
        fs::create_dir(shell.path(name)).unwrap();
        fs::set_permissions(shell.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(0);
        match target {
            "" => tar.append_data(&mut header, name, &b""[..]).unwrap(),
            _ => tar.append_link(&mut header, name, target).unwrap(),
        }
        tar.get_ref().clone()
    };
    let own = add("./", tar::EntryType::Directory, "");
    add("x", tar::EntryType::Symlink, shell.path("outside").to_str().unwrap());
    let hostile = add("x", tar::EntryType::Directory, "");
    for (name, content, words) in
        [("own", own, "is empty"), ("hostile", hostile, "cannot unpack x")]
    {
        let ended = [&content[..], &[0; 1024]].concat();
        shell.write(format!("{name}.llmz"), &shell.pipe(&["-1"], &ended).expect(0).stdout);
        let archive = format!("{name}.llmz");
        shell.run(&["-d", "--untar", "-C", "to", &archive]).expect(1).saying(words);
    }
    for name in ["to", "outside"] {
        assert_eq!(shell.path(name).metadata().unwrap().mode() & 0o777, 0o755, "{name}");
    }
    assert_eq!(fs::read_dir(shell.path("to")).unwrap().count(), 0);
}

#[test]
fn each_file_in_a_directory_is_an_archive_of_its_own() {
    let shell = with_directory();
    shell.run(&["-1", "-r", "d"]).expect(0);
    for name in ["d/a.llmz", "d/sub/b.llmz", "d/sub/hard.llmz"] {
        assert!(shell.path(name).is_file(), "{name}");
    }
    assert!(!shell.path("d/sub/link.llmz").exists());
    shell.run(&["-1", "-r", "d"]).expect(1).saying("exists already"); // archives are passed over
    assert!(!shell.path("d/a.llmz.llmz").exists());
    shell.run(&["-t", "-r", "d"]).expect(0).saying("sub/hard.llmz");
    fs::remove_file(shell.path("d/sub/b")).unwrap();
    shell.run(&["-df", "-r", "d"]).expect(0);
    assert_eq!(shell.read("d/sub/b"), b"b");
}

#[test]
fn list_has_a_line_for_each_file_and_a_total() {
    let shell = with_archive();
    shell.run(&["-1", "-o", "b.llmz", "a"]).expect(0);
    let lines = |arguments: &[&str]| {
        let listed = String::from_utf8(shell.run(arguments).expect(0).stdout).unwrap();
        listed.lines().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["-l", "a.llmz"]).len(), 2);
    let both = lines(&["-l", "a.llmz", "b.llmz"]);
    assert_eq!(both.len(), 4);
    assert!(both[1].ends_with("a.llmz") && both[3].ends_with("2 files"), "{both:?}");
    assert_eq!(lines(&["-lq", "a.llmz", "b.llmz"]).len(), 2);
    assert!(lines(&["-lv", "a.llmz"]).iter().any(|line| line.contains("none needed")));
}

#[test]
fn progress_fits_a_line_and_counts_inputs() {
    let shell = Shell::new();
    if Command::new("script").arg("--version").output().is_err() {
        skip("script is not here");
        return;
    }
    let long = "n".repeat(90);
    shell.write(&long, &text().repeat(20));
    shell.write("b", &text());
    let call = format!("stty cols 80; {} -1 {long} b < /dev/null", env!("CARGO_BIN_EXE_llmzip"));
    let mut command = Command::new("script");
    command.args(["-qec", &call, "/dev/null"]).current_dir(shell.path(""));
    let seen = String::from_utf8(end(command).stdout).unwrap();
    let drawn: Vec<&str> = seen.split(['\r', '\n']).filter(|line| line.contains(" of ")).collect();
    assert!(drawn.iter().any(|line| line.contains("…nnn")), "{seen:?}");
    assert!(drawn.iter().all(|line| line.chars().count() < 80 + 20), "{seen:?}");
    let plain = shell.run(&["-1", "-f", "--progress", "plain", &long, "b"]).expect(0);
    plain.saying("1 of 2: n").saying("2 of 2: b: 100 %, 5,290 bytes");
}

/// With -r the inputs are known only once directories are read.
#[test]
fn several_inputs_never_have_one_result() {
    let shell = Shell::new();
    std::fs::create_dir(shell.path("d")).unwrap();
    for name in ["d/a", "d/b"] {
        shell.write(name, name.as_bytes());
    }
    shell.run(&["-1", "-rf", "--rm", "-o", "x", "d"]).expect(2).saying("-o takes a single input");
    assert_eq!(shell.read("d/a"), b"d/a");
    assert_eq!(shell.read("d/b"), b"d/b");
    assert!(!shell.path("x").exists());
    // Both would be u.tar, under two spellings of the folder.
    let archive = shell.run(&["-1", "-c", "d/a"]).expect(0).stdout;
    shell.write("u.tar.llmz", &archive);
    shell.write("u.tllmz", &archive);
    let ended = shell.run(&["-df", "--rm", "./u.tar.llmz", "u.tllmz"]).expect(1);
    ended.saying("is the result of another input already");
    assert!(shell.path("u.tllmz").exists());
}

/// What `git archive` and labels put first is passed over; a sparse file that only tar puts together is refused.
#[test]
fn extensions_of_tar_archives_are_passed_over_or_refused() {
    let shell = Shell::new();
    let tar_of = |kind: tar::EntryType, record: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(record.len() as u64);
        tar.append_data(&mut header, "pax_header", record).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(3);
        tar.append_data(&mut header, "d/file", &b"abc"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let unpack = |name: &str, tar: &[u8]| {
        let archive = format!("{name}.tar.llmz");
        shell.write(&archive, &shell.pipe(&["-1"], tar).expect(0).stdout);
        shell.run(&["-d", "--untar", "-C", name, &archive])
    };
    let global = tar_of(tar::EntryType::XGlobalHeader, b"19 comment=abcdefg\n");
    unpack("global", &global).expect(0);
    assert_eq!(shell.read("global/d/file"), b"abc");
    let sparse = tar_of(tar::EntryType::XHeader, b"22 GNU.sparse.major=1\n");
    unpack("sparse", &sparse).expect(1).saying("d/file").saying("sparse").saying("tar -I llmzip");
    assert!(!shell.path("sparse/d").exists());
}
