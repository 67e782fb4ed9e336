//! The program as users and their scripts meet it.

use crate::handmade;
use crate::random::Random;
use crate::shell::{Shell, end};
use crate::skip::skip;
use filetime::FileTime;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

const NONE: [&str; 0] = [];

/// Content that shrinks.
fn text() -> Vec<u8> {
    vec![b'a'; 600]
}

/// Arguments that cut [`text`] in several chunks.
const CHUNKS: [&str; 2] = ["--chunk-size", "250"];

/// A folder with the file `a`, its archive `a.llmz`, and a long form archive `long.llmz`.
fn with_archives() -> Shell {
    let shell = Shell::new();
    shell.write("a", &text());
    shell.run(&["a"]).expect(0);
    shell.run(&["-o", "long.llmz", CHUNKS[0], CHUNKS[1], "a"]).expect(0);
    shell
}

#[test]
fn a_file_goes_to_its_archive_and_back() {
    let shell = Shell::new();
    shell.write("a", &text());
    shell.run(&["a"]).expect(0).saying("bits per byte").saying("a -> a.llmz: 600 ->");
    assert_eq!(shell.names(), ["a", "a.llmz"]);
    assert!(shell.read("a.llmz").len() < 200);
    fs::remove_file(shell.path("a")).unwrap();
    shell.run(&["-d", "a.llmz"]).expect(0);
    assert_eq!(shell.read("a"), text());
    assert_eq!(shell.names(), ["a", "a.llmz"]);
}

#[test]
fn commands_and_letters_do_the_same() {
    let shell = with_archives();
    let archive = shell.read("a.llmz");
    for arguments in [&["compress", "-c", "a"][..], &["c", "-c", "a"], &["-c", "a"], &["-kc9", "a"]]
    {
        assert_eq!(shell.run(arguments).expect(0).stdout, archive);
    }
    for verb in ["decompress", "d", "x", "-d", "--decompress", "--uncompress"] {
        assert_eq!(shell.run(&[verb, "-c", "a.llmz"]).expect(0).stdout, text());
    }
    for verb in ["list", "l", "-l", "--list"] {
        assert!(shell.run(&[verb, "a.llmz"]).expect(0).stdout.ends_with(b"  a.llmz\n"));
    }
    for verb in ["test", "t", "-t", "--test"] {
        assert!(shell.run(&[verb, "a.llmz"]).expect(0).saying("good").stdout.is_empty());
    }
}

#[test]
fn a_file_named_like_a_command_is_reached() {
    let shell = Shell::new();
    shell.write("list", &text());
    shell.run(&["./list"]).expect(0);
    shell.run(&["-f", "list"]).expect(0);
    assert_eq!(shell.names(), ["list", "list.llmz"]);
}

#[test]
fn pipes_and_files_give_the_same_bytes_at_any_number_of_threads() {
    let shell = with_archives();
    for arguments in [&NONE[..], &CHUNKS] {
        let archive = shell.pipe(arguments, &text()).expect(0).stdout;
        let name = if arguments.is_empty() { "a.llmz" } else { "long.llmz" };
        assert_eq!(archive, shell.read(name));
        assert_eq!(shell.redirect(arguments, "a").expect(0).stdout, archive);
        for threads in ["-T1", "-T2", "-T3", "-T0", "--threads=8", "-v", "-q"] {
            let arguments = [&[threads], arguments].concat();
            assert_eq!(shell.pipe(&arguments, &text()).expect(0).stdout, archive, "{threads}");
        }
        assert_eq!(shell.pipe(&["-d"], &archive).expect(0).stdout, text());
        assert_eq!(shell.pipe(&["-d", "-"], &archive).expect(0).stdout, text());
        assert_eq!(shell.pipe(&["-d", "-T2"], &archive).expect(0).stdout, text());
        shell.pipe(&["-t"], &archive).expect(0);
        assert!(!shell.pipe(&["-l"], &archive).expect(0).stdout.is_empty());
    }
}

#[test]
fn pipes_are_silent() {
    let shell = Shell::new();
    let packed = shell.pipe(&NONE, &text()).expect(0);
    assert_eq!(packed.stderr, "");
    assert_eq!(shell.pipe(&["-d"], &packed.stdout).expect(0).stderr, "");
    assert!(shell.pipe(&["-v"], &text()).expect(0).stderr.contains("ratio"));
}

#[test]
fn joined_archives_are_the_joined_files() {
    let shell = with_archives();
    let joined = [shell.read("a.llmz"), shell.read("long.llmz")].concat();
    let twice = [text(), text()].concat();
    assert_eq!(shell.pipe(&["-d"], &joined).expect(0).stdout, twice);
    assert_eq!(shell.run(&["-dc", "a.llmz", "long.llmz"]).expect(0).stdout, twice);
    let packed = shell.run(&["-c", "a", "a"]).expect(0).stdout;
    assert_eq!(shell.pipe(&["-d"], &packed).expect(0).stdout, twice);
}

#[test]
fn tar_packs_and_unpacks_through_the_program() {
    if Command::new("tar").arg("--version").output().is_err() {
        return skip("no tar");
    }
    let shell = Shell::new();
    shell.write("a", &text());
    let program = env!("CARGO_BIN_EXE_llmzip");
    let tar = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        command.current_dir(shell.path("")).args(arguments);
        end(command).expect(0)
    };
    tar(&["-b1", "-I", program, "-cf", "plain.tar.llmz", "a"]);
    tar(&["-b1", "-I", &format!("{program} -9"), "-cf", "nine.tar.llmz", "a"]);
    for archive in ["plain.tar.llmz", "nine.tar.llmz"] {
        assert_eq!(shell.read(archive)[..4], handmade::MAGIC);
        for program in [program, &format!("{program} -9")] {
            fs::remove_file(shell.path("a")).unwrap();
            tar(&["-I", program, "-xf", archive]);
            assert_eq!(shell.read("a"), text());
        }
    }
}

#[test]
fn output_goes_where_it_is_told() {
    let shell = with_archives();
    shell.run(&["-o", "b", "a"]).expect(0);
    assert_eq!(shell.read("b"), shell.read("a.llmz"));
    shell.run(&["-d", "-o", "c", "b"]).expect(0);
    assert_eq!(shell.read("c"), text());
    assert_eq!(shell.run(&["-d", "-o", "-", "b"]).expect(0).stdout, text());
    shell.run(&["-o", "d", "a", "b"]).expect(2);
    shell.run(&["-c", "-o", "d", "a"]).expect(2);
    shell.pipe(&["-o", "e"], &text()).expect(0);
    assert_eq!(shell.read("e"), shell.read("b"));
    shell.run(&["-o", "no/such/folder", "a"]).expect(1);
}

#[test]
fn suffixes_are_kept_strictly() {
    let shell = with_archives();
    shell.run(&["-S", ".x", "a"]).expect(0);
    assert_eq!(shell.read("a.x"), shell.read("a.llmz"));
    shell.run(&["-d", "a.x"]).expect(1).saying("-o").saying("-c");
    shell.run(&["-df", "-S", "x", "a.x"]).expect(0);
    shell.run(&["a.llmz"]).expect(1).saying("suffix");
    shell.run(&["-S", "", "a"]).expect(2);
    shell.run(&["-S", "/x", "a"]).expect(2);
}

#[test]
fn nothing_is_overwritten_unless_forced() {
    let shell = with_archives();
    shell.write("a.llmz", b"precious");
    shell.run(&["a"]).expect(1).saying("-f");
    shell.pipe(&["a"], b"y\n").expect(1);
    shell.run(&["-o", "a.llmz", "a"]).expect(1);
    assert_eq!(shell.read("a.llmz"), b"precious");
    shell.run(&["-f", "a"]).expect(0);
    shell.run(&["-d", "a.llmz"]).expect(1);
    shell.run(&["-df", "a.llmz"]).expect(0);
    assert_eq!(shell.read("a"), text());
    shell.run(&["-f", "--rm", "-o", "a", "a"]).expect(1).saying("the same");
    assert_eq!(shell.read("a"), text());
}

/// The input is no archive: where work began, the exit code is 4.
#[test]
fn names_that_no_file_can_get_are_refused_before_the_work() {
    let shell = Shell::new();
    shell.write("x.llmz", b"bad");
    shell.write("y.llmz", b"bad");
    fs::create_dir(shell.path("x")).unwrap();
    fs::create_dir(shell.path("y.recovered")).unwrap();
    symlink("x", shell.path("link")).unwrap();
    let before = shell.names();
    let long = "n".repeat(256);
    for (arguments, words) in [
        (&["x.llmz"][..], "x: is a directory"),
        (&["-f", "x.llmz"], "x: is a directory"),
        (&["-o", "x", "y.llmz"], "x: is a directory"),
        (&["-f", "-o", "x", "y.llmz"], "x: is a directory"),
        (&["-f", "-o", "x/", "y.llmz"], "x/: is a directory"),
        (&["-f", "-o", ".", "y.llmz"], ".: is a directory"),
        (&["-f", "-o", "link", "y.llmz"], "is a directory"),
        (&["-o", "new/", "y.llmz"], "names a directory"),
        (&["-f", "-o", "new/.", "y.llmz"], "names a directory"),
        (&["-o", "x.llmz/", "y.llmz"], "Not a directory"),
        (&["-o", &long, "y.llmz"], "too long"),
        (&["-f", "--keep-going", "y.llmz"], "y.recovered: is a directory"),
    ] {
        let ended = shell.run(&[&["-d"], arguments].concat());
        assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.stderr);
        ended.saying(words);
        assert_eq!(shell.names(), before, "{arguments:?}");
    }
    let name = "n".repeat(252);
    shell.write(&name, &text());
    shell.run(&[&name]).expect(1).saying("cannot be the output file's name").saying("too long");
}

#[test]
fn inputs_are_removed_only_on_request_and_after_success() {
    let shell = with_archives();
    shell.run(&["--rm", "--no-verify", "-f", "a"]).expect(2);
    shell.run(&["--rm", "-c", "a"]).expect(2);
    shell.run(&["--rm", "a"]).expect(1); // a.llmz exists
    assert_eq!(shell.read("a"), text());
    shell.run(&["--rm", "-k", "-f", "a"]).expect(0);
    assert_eq!(shell.read("a"), text());
    shell.run(&["--rm", "-f", "a"]).expect(0);
    assert_eq!(shell.names(), ["a.llmz", "long.llmz"]);
    shell.run(&["-d", "--rm", "a.llmz"]).expect(0);
    assert_eq!(shell.names(), ["a", "long.llmz"]);
    shell.write("b.llmz", &[shell.read("long.llmz"), b"junk".to_vec()].concat());
    shell.run(&["-df", "--rm", "b.llmz"]).expect(1);
    assert!(shell.names().contains(&"b.llmz".into()));
}

#[test]
fn what_is_removed_is_the_name_of_a_regular_file() {
    let shell = with_archives();
    symlink("a", shell.path("link")).unwrap();
    shell.run(&["--rm", "-f", "link"]).expect(0);
    assert_eq!(shell.names(), ["a", "a.llmz", "link.llmz", "long.llmz"]);
    let mut mkfifo = Command::new("mkfifo");
    mkfifo.arg(shell.path("pipe"));
    end(mkfifo).expect(0);
    // Without a writer: it is not opened.
    shell.run(&["--rm", "-o", "b", "pipe"]).expect(1).saying("not a regular file");
    assert_eq!(shell.names(), ["a", "a.llmz", "link.llmz", "long.llmz", "pipe"]);
}

/// Makes the pipe `name` and reads it to its end.
fn reader_of(shell: &Shell, name: &str) -> JoinHandle<Vec<u8>> {
    let path = shell.path(name);
    let mut mkfifo = Command::new("mkfifo");
    mkfifo.arg(&path);
    end(mkfifo).expect(0);
    std::thread::spawn(move || fs::read(path).unwrap())
}

fn is_pipe(shell: &Shell, name: &str) -> bool {
    shell.path(name).symlink_metadata().unwrap().file_type().is_fifo()
}

#[test]
fn pipes_and_devices_that_are_named_are_written_into() {
    let shell = with_archives();
    for (arguments, result) in [
        (&["-o", "pipe", "a"][..], shell.read("a.llmz")),
        (&["-f", "-o", "pipe", "a"], shell.read("a.llmz")),
        (&["-d", "-o", "pipe", "long.llmz"], text()),
        (&["-d", "-f", "--keep-going", "-o", "link", "long.llmz"], text()),
        (&["-d", "--keep-going", "-o", "pipe", "long.llmz"], text()),
    ] {
        let reader = reader_of(&shell, "pipe");
        symlink("pipe", shell.path("link")).unwrap();
        let ended = shell.run(arguments);
        assert!(is_pipe(&shell, "pipe"), "{arguments:?}"); // or its reader waits for ever
        assert!(shell.path("link").is_symlink(), "{arguments:?}");
        ended.expect(0);
        assert!(reader.join().unwrap() == result, "{arguments:?}");
        fs::remove_file(shell.path("pipe")).unwrap();
        fs::remove_file(shell.path("link")).unwrap();
    }
    symlink("/dev/null", shell.path("null")).unwrap();
    for arguments in [&["-o", "null", "a"][..], &["-f", "-o", "null", "a"]] {
        shell.run(arguments).expect(0);
        assert!(shell.path("null").is_symlink());
    }
    symlink("/dev/full", shell.path("full")).unwrap();
    shell.run(&["-f", "-o", "full", "a"]).expect(1).saying("No space left");
    assert_eq!(shell.names(), ["a", "a.llmz", "full", "long.llmz", "null"]);
}

#[test]
fn the_name_of_standard_output_is_standard_output() {
    let shell = with_archives();
    symlink("/proc/self/fd/1", shell.path("out")).unwrap();
    for arguments in [&["-o", "out", "a"][..], &["-f", "-o", "out", "a"]] {
        assert!(shell.run(arguments).expect(0).stdout == shell.read("a.llmz"));
        let mut command = shell.command(arguments);
        let mut file = File::create(shell.path("file")).unwrap();
        file.write_all(b"before").unwrap();
        command.stdout(file);
        end(command).expect(0);
        assert!(shell.read("file") == [b"before", &shell.read("a.llmz")[..]].concat());
        assert!(shell.path("out").is_symlink());
    }
    assert_eq!(shell.names(), ["a", "a.llmz", "file", "long.llmz", "out"]);
}

#[test]
fn an_input_whose_result_cannot_be_read_back_is_not_removed() {
    let shell = with_archives();
    symlink("/dev/null", shell.path("null")).unwrap();
    shell.run(&["--rm", "-f", "-o", "null", "a"]).expect(1).saying("cannot be read back");
    symlink("/proc/self/fd/1", shell.path("out")).unwrap();
    shell.run(&["--rm", "-f", "-o", "out", "a"]).expect(1).saying("cannot be read back");
    assert_eq!(shell.names(), ["a", "a.llmz", "long.llmz", "null", "out"]);
    assert!(shell.path("null").is_symlink() && shell.path("out").is_symlink());
}

#[test]
fn a_pipe_beside_the_input_is_neither_replaced_nor_waited_for() {
    let shell = with_archives();
    fs::remove_file(shell.path("a.llmz")).unwrap();
    let mut mkfifo = Command::new("mkfifo");
    mkfifo.arg(shell.path("a.llmz"));
    end(mkfifo).expect(0);
    shell.run(&["a"]).expect(1).saying("not a regular file");
    shell.run(&["-f", "a"]).expect(1).saying("not a regular file");
    assert!(is_pipe(&shell, "a.llmz"));
}

#[test]
fn a_disk_is_overwritten_only_by_force() {
    let shell = with_archives();
    let mut mknod = Command::new("mknod");
    mknod.args(["disk", "b", "0", "0"]).current_dir(shell.path("")); // a driver that there never is
    if !mknod.output().is_ok_and(|output| output.status.success()) {
        return skip("no right to make a device");
    }
    shell.run(&["-o", "disk", "a"]).expect(1).saying("-f overwrites it");
    shell.run(&["-f", "-o", "disk", "a"]).expect(1).saying("cannot open");
    assert!(shell.path("disk").metadata().unwrap().file_type().is_block_device());
}

#[test]
fn the_file_that_a_named_link_leads_to_is_replaced_and_the_link_stays() {
    let shell = with_archives();
    fs::create_dir(shell.path("folder")).unwrap();
    shell.write("folder/b", b"precious");
    symlink("folder/b", shell.path("link")).unwrap();
    shell.run(&["-o", "link", "a"]).expect(1).saying("-f overwrites it");
    assert_eq!(shell.read("folder/b"), b"precious");
    shell.run(&["-f", "-o", "link", "a"]).expect(0);
    assert_eq!(fs::read_link(shell.path("link")).unwrap().as_os_str(), "folder/b");
    assert_eq!(shell.read("folder/b"), shell.read("a.llmz"));
    assert_eq!(fs::read_dir(shell.path("folder")).unwrap().count(), 1);
    symlink("nothing", shell.path("dangling")).unwrap();
    for arguments in [&["-o", "dangling", "a"][..], &["-f", "-o", "dangling", "a"]] {
        shell.run(arguments).expect(1).saying("cannot follow the symbolic link");
        assert!(shell.path("dangling").is_symlink());
    }
    assert!(!shell.path("nothing").exists());
}

#[test]
fn a_link_beside_the_input_is_replaced_itself() {
    let shell = with_archives();
    shell.write("b", b"precious");
    fs::remove_file(shell.path("a.llmz")).unwrap();
    symlink("b", shell.path("a.llmz")).unwrap();
    shell.run(&["a"]).expect(1).saying("-f overwrites it");
    shell.run(&["-f", "a"]).expect(0);
    assert!(!shell.path("a.llmz").is_symlink());
    assert_eq!(shell.read("b"), b"precious");
}

#[test]
fn mode_and_time_are_taken_over_without_special_bits() {
    let shell = Shell::new();
    shell.write("a", &text());
    let time = FileTime::from_unix_time(1_234_567_890, 123_456_789);
    filetime::set_file_mtime(shell.path("a"), time).unwrap();
    fs::set_permissions(shell.path("a"), Permissions::from_mode(0o4751)).unwrap();
    shell.run(&["--rm", "-f", "a"]).expect(0);
    let assert_taken_over = |name: &str| {
        let metadata = fs::metadata(shell.path(name)).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o751);
        assert_eq!(FileTime::from_last_modification_time(&metadata), time);
    };
    assert_taken_over("a.llmz");
    shell.run(&["-d", "a.llmz"]).expect(0);
    assert_taken_over("a");
}

#[test]
fn nobody_gains_or_loses_access() {
    let shell = Shell::new();
    shell.write("a", &text());
    if chown(shell.path("a"), Some(1234), Some(2345)).is_err() {
        return skip("not root: files cannot be given to others");
    }
    let set_mode = |mode| {
        fs::set_permissions(shell.path("a"), Permissions::from_mode(mode)).unwrap();
    };
    let result = || {
        let metadata = shell.path("a.llmz").metadata().unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    set_mode(0o640);
    shell.run(&["a"]).expect(0);
    assert_eq!(result(), (1234, 2345, 0o640));

    fs::copy(env!("CARGO_BIN_EXE_llmzip"), shell.path("llmzip")).unwrap();
    chown(shell.path(""), Some(1000), Some(100)).unwrap();
    chown(shell.path("a"), Some(1000), Some(500)).unwrap();
    let run = |groups: &str| {
        let mut command = Command::new("setpriv");
        command.current_dir(shell.path("")).args(["--reuid=1000", "--regid=100", groups]);
        command.args(["./llmzip", "-f", "a"]).output()
    };
    if !run("--groups=500").is_ok_and(|output| output.status.success()) {
        return skip("no setpriv of util-linux");
    }
    assert_eq!(result(), (1000, 500, 0o640));
    for (mode, expected) in [(0o640, 0o600), (0o674, 0o644), (0o607, 0o600), (0o751, 0o711)] {
        set_mode(mode);
        assert!(run("--clear-groups").unwrap().status.success());
        assert_eq!(result(), (1000, 100, expected), "{mode:o}");
    }
}

#[test]
fn links_folders_and_devices_are_refused() {
    let shell = with_archives();
    symlink("a", shell.path("link")).unwrap();
    shell.run(&["link"]).expect(1).saying("symbolic link");
    shell.run(&["-f", "link"]).expect(0);
    assert_eq!(shell.run(&["-c", "link"]).expect(0).stdout, shell.read("a.llmz"));
    fs::create_dir(shell.path("folder")).unwrap();
    shell.run(&["-t", "folder"]).expect(1).saying("-r takes the files in it");
    shell.run(&["-d", "folder"]).expect(1);
    shell.run(&["-t", "folder"]).expect(1);
    shell.run(&["/dev/null"]).expect(1).saying("not a regular file");
    assert_eq!(shell.run(&["-c", "/dev/null"]).expect(0).stdout, shell.pipe(&NONE, b"").stdout);
}

#[test]
fn names_that_are_not_utf_8_work_and_cannot_steer_the_terminal() {
    let shell = Shell::new();
    let name = OsStr::from_bytes(b"\xff\x1b[2J");
    shell.write(name, &text());
    let ended = shell.run(&[OsStr::new("--rm"), name]).expect(0);
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
    let archive = OsStr::from_bytes(b"\xff\x1b[2J.llmz");
    shell.run(&[OsStr::new("-d"), archive]).expect(0);
    assert_eq!(shell.read(name), text());
    let listed = shell.run(&[OsStr::new("-l"), archive]).expect(0);
    assert!(!listed.stdout.contains(&0x1b));
}

#[test]
fn good_inputs_are_done_next_to_missing_ones() {
    let shell = with_archives();
    fs::remove_file(shell.path("a.llmz")).unwrap();
    shell.run(&["missing", "a"]).expect(1).saying("missing").saying("1 of 2 inputs failed");
    assert!(shell.names().contains(&"a.llmz".into()));
    shell.write("bad.llmz", b"bad");
    shell.run(&["-t", "bad.llmz", "missing", "a.llmz"]).expect(4).saying("a.llmz: good");
}

#[test]
fn every_failure_has_its_exit_code() {
    let shell = with_archives();
    let archive = shell.read("long.llmz");
    let no_model = [
        &handmade::digest_header([7; 32], 4, b"some")[..],
        &handmade::chunk_header(1 << 6, &[9, 1], b"x"),
        b"x",
    ];
    let mut newer = archive.clone();
    newer[4] += 0x10;
    let mut damaged = archive.clone();
    damaged[20] ^= 1;
    for (code, arguments, input, words) in [
        (0, &["-d"][..], &archive[..], ""),
        (1, &["-d"], &[&archive[..], b"junk"].concat(), "are not an archive"),
        (2, &["--no-such-option"], &archive, "--no-such-option"),
        (2, &["--lanes", "65"], &archive, "65"),
        (2, &["--chunk-size", "65M"], &archive, "--chunk-size"),
        (2, &["-dz"], &archive, "cannot be used with"),
        (3, &["-d"], &no_model.concat(), &"07".repeat(32)),
        (4, &["-d"], b"", "empty"),
        (4, &["-d"], b"hello, world", "not an archive"),
        (4, &["-d"], &archive[..30], "truncated at offset 30"),
        (4, &["-t"], &damaged, "damaged"),
        (5, &["-d", "--max-output", "599"], &archive, "--max-output"),
        (6, &["-d"], &newer, "version 2, known is 1"),
        (6, &["-l"], &newer, "version 2, known is 1"),
    ] {
        shell.pipe(arguments, input).expect(code).saying(words);
    }
    let help = String::from_utf8(shell.run(&["--help"]).expect(0).stdout).unwrap();
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "128+N"] {
        assert!(help.contains(code), "{code} is not in --help");
    }
}

#[test]
fn chunks_before_damage_reach_standard_output_but_no_file() {
    let shell = with_archives();
    let archive = shell.read("long.llmz");
    shell.write("cut.llmz", &archive[..archive.len() - 1]);
    assert_eq!(shell.run(&["-dc", "cut.llmz"]).expect(4).stdout, text());
    shell.run(&["-d", "cut.llmz"]).expect(4);
    shell.run(&["-df", "cut.llmz"]).expect(4);
    assert_eq!(shell.names(), ["a", "a.llmz", "cut.llmz", "long.llmz"]);
}

#[test]
fn content_before_junk_is_kept_in_a_file_only_by_force() {
    let shell = with_archives();
    shell.write("b.llmz", &[shell.read("long.llmz"), b"junk".to_vec()].concat());
    assert_eq!(shell.run(&["-dc", "b.llmz"]).expect(1).stdout, text());
    shell.run(&["-d", "b.llmz"]).expect(1).saying("-df");
    assert!(!shell.names().contains(&"b".into()));
    shell.run(&["-df", "b.llmz"]).expect(1);
    assert_eq!(shell.read("b"), text());
}

#[test]
fn a_full_disk_is_an_error() {
    let shell = with_archives();
    for arguments in [&["-c", "a"][..], &["-dc", "a.llmz"], &["-l", "a.llmz"], &["-l", "--json"]] {
        let mut command = shell.command(arguments);
        command.stdin(File::open(shell.path("a.llmz")).unwrap());
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        end(command).expect(1);
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_silently() {
    let shell = Shell::new();
    shell.write("a", b"text that nobody reads");
    shell.run(&["a"]).expect(0);
    for arguments in [["-dc", "a.llmz"], ["-l", "a.llmz"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = shell.command(&arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.signal(), &said[..]), (Some(13), ""));
    }
}

/// Whether this process, and so the programs that it starts, ignores signal `number` (nohup, `&`).
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

#[test]
fn signals_leave_nothing_behind() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
        if is_ignored(number) {
            skip(format!("the tests were started with signal {number} ignored"));
            continue;
        }
        let shell = Shell::new();
        let mut command = shell.command(&["-o", "out", CHUNKS[0], CHUNKS[1]]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&text()).unwrap();
        while shell.names().is_empty() {
            std::thread::yield_now(); // until the unfinished file is there
        }
        assert!(!shell.names().contains(&"out".into()), "named before it is complete");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(number)); // a shell says 128 + number
        assert_eq!(shell.names(), NONE);
    }
}

#[test]
fn a_signal_that_the_parent_ignores_does_not_stop_it() {
    let shell = Shell::new();
    let mut command = Command::new("sh");
    command.current_dir(shell.path("")).stdin(Stdio::piped()).stderr(Stdio::null());
    command.args(["-c", "trap '' HUP; exec \"$0\" -o out", env!("CARGO_BIN_EXE_llmzip")]);
    let mut child = command.spawn().unwrap();
    while shell.names().is_empty() {
        std::thread::yield_now(); // until the unfinished file is there
    }
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    child.stdin.take().unwrap().write_all(&text()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(shell.names(), ["out"]);
}

#[test]
fn an_input_that_grows_meanwhile_is_an_error() {
    let shell = Shell::new();
    let mut random = Random::new(12);
    shell.write("a", &(0..12 << 10).map(|_| random.bits() as u8).collect::<Vec<u8>>());
    let (mut stdout, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = shell.command(&["-c", "--chunk-size=1K", "--no-verify", "a"]);
    let child = command.stdout(writer).spawn().unwrap();
    drop(command);
    // The first byte is out, so the file is open; the pipe does not hold all the rest.
    stdout.read_exact(&mut [0]).unwrap();
    File::options().append(true).open(shell.path("a")).unwrap().write_all(b"more").unwrap();
    stdout.read_to_end(&mut Vec::new()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("changed while it was read"));
}

#[test]
fn terminals_are_neither_filled_with_archives_nor_waited_for() {
    let shell = with_archives();
    let terminal = |line: &str| {
        let program = env!("CARGO_BIN_EXE_llmzip");
        let mut command = Command::new("script");
        command.current_dir(shell.path("")).stdin(Stdio::null());
        command.args(["-qec", &line.replace("llmzip", program), "/dev/null"]);
        command.output().ok()
    };
    if terminal("true").is_none_or(|output| !output.status.success()) {
        return skip("no script of util-linux");
    }
    for (line, code) in [
        ("llmzip < a", 2),
        ("llmzip -c a", 2),
        ("llmzip", 2),
        ("llmzip -d", 2),
        ("llmzip -cf a", 0),
        ("llmzip -dc a.llmz", 0),
    ] {
        assert_eq!(terminal(line).unwrap().status.code(), Some(code), "{line}");
    }
}

#[test]
fn hostile_archives_are_refused_by_every_verb() {
    let shell = Shell::new();
    for (name, archive) in handmade::hostile() {
        shell.write("hostile.llmz", &archive);
        for arguments in [["-d", "hostile.llmz"], ["-t", "hostile.llmz"], ["-l", "hostile.llmz"]] {
            let ended = shell.run(&arguments);
            assert_eq!(ended.code, Some(4), "{name}: {}", ended.stderr);
        }
        assert_eq!(shell.names(), ["hostile.llmz"], "{name}");
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn list_speaks_json() {
    let shell = with_archives();
    shell.write("joined.llmz", &[shell.read("a.llmz"), shell.read("long.llmz")].concat());
    let ended = shell.run(&["list", "--json", "joined.llmz", "missing"]).expect(1);
    let document = json(&ended.stdout);
    assert_eq!(document["schema"], 1);
    assert_eq!(document["errors"][0]["name"], "missing");
    assert_eq!(document["errors"][0]["exit_code"], 1);
    let file = &document["files"][0];
    assert_eq!(file["name"], "joined.llmz");
    assert_eq!(file["plain_len"], 1200);
    assert_eq!(file["archive_len"], shell.read("joined.llmz").len());
    let streams = file["streams"].as_array().unwrap();
    assert_eq!((&streams[0]["form"], &streams[1]["form"]), (&"single".into(), &"long".into()));
    assert_eq!(streams[0]["content_blake3"], Value::Null);
    assert_eq!(streams[1]["content_blake3"], blake3::hash(&text()).to_hex().as_str());
    assert_eq!(streams[1]["model"]["builtin"], 1);
    assert_eq!(streams[1]["chunks"].as_array().unwrap().len(), 3);
    assert_eq!(streams[1]["chunks"][2]["plain_len"], 600 - 500);
}

#[test]
fn list_names_a_model_that_is_not_here() {
    let shell = Shell::new();
    let coded = handmade::chunk_header(1 << 6, &[9, 1], b"x");
    let frame_len = coded.len() as u64 + 1;
    let index = handmade::index(1, &[(1 << 6, frame_len, 9)]);
    let header = handmade::digest_header([0xAB; 32], 4, b"some");
    let footer = handmade::footer(b"", index.len() as u32);
    let archive = [&header[..], &coded, b"x", &index, &footer].concat();
    let listed = shell.pipe(&["-lv"], &archive).expect(0);
    assert!(String::from_utf8(listed.stdout).unwrap().contains("some (abababababab)"));
    let document = json(&shell.pipe(&["-l", "--json"], &archive).expect(0).stdout);
    let model = &document["files"][0]["streams"][0]["model"]["digest"];
    assert_eq!((&model["label"], &model["blake3"]), (&"some".into(), &"ab".repeat(32).into()));
}

#[test]
fn test_speaks_json() {
    let shell = with_archives();
    shell.write("bad", b"bad");
    let ended = shell.run(&["-t", "--json", "long.llmz", "bad"]).expect(4);
    let document = json(&ended.stdout);
    assert_eq!(document["schema"], 1);
    assert_eq!(document["files"][0]["plain_len"], 600);
    assert_eq!(document["files"][0]["n_chunks"], 3);
    assert_eq!(document["errors"][0]["exit_code"], 4);
}

#[test]
fn verbose_list_has_a_line_for_each_chunk() {
    let shell = with_archives();
    let lines = |arguments: &[&str]| {
        let listed = shell.run(arguments).expect(0).stdout;
        listed.iter().filter(|byte| **byte == b'\n').count()
    };
    let (of_file, of_stream, heading) = (4, 5, 1);
    assert_eq!(lines(&["-lv", "long.llmz"]), of_file + of_stream + heading + 3);
}

#[test]
fn the_environment_gives_defaults_and_a_bad_value_is_warned_of() {
    let shell = with_archives();
    for (name, good, bad) in [("LLMZIP_THREADS", "2", "two"), ("LLMZIP_LEVEL", "9", "10")] {
        let run = |value: &str| {
            let mut command = shell.command(&["-c", "a"]);
            command.env(name, value);
            end(command).expect(0)
        };
        assert_eq!(run(good).stderr, "");
        let ended = run(bad).saying(name);
        assert_eq!(ended.stdout, shell.read("a.llmz"));
    }
}

#[test]
fn options_for_compression_are_accepted_next_to_the_others() {
    let shell = with_archives();
    for option in ["-1", "-9", "--level=3", "--lanes=4", "--no-mix", "--no-verify", "--verify"] {
        assert_eq!(shell.run(&["-dc", option, "a.llmz"]).expect(0).stdout, text(), "{option}");
        let archive = shell.run(&["-c", option, "a"]).expect(0).stdout;
        assert_eq!(shell.pipe(&["-d"], &archive).expect(0).stdout, text(), "{option}");
    }
    shell.run(&["-c", "-9", "-1", "--level", "5", "-k", "a"]).expect(0);
    shell.run(&["-c", "--level", "10", "a"]).expect(2);
}

#[test]
fn quiet_says_nothing_and_plain_progress_says_lines() {
    let shell = Shell::new();
    shell.write("a", &text());
    assert_eq!(shell.run(&["-q", "a"]).expect(0).stderr, "");
    assert_eq!(shell.run(&["-tq", "a.llmz"]).expect(0).stderr, "");
    shell.run(&["-c", "--progress=plain", "a"]).expect(0).saying("a: 100 %, ");
    shell.run(&["-dc", "--progress=plain", "a.llmz"]).expect(0).saying("100 %, 600 bytes");
    assert_eq!(shell.run(&["-c", "--progress=never", "a"]).expect(0).stderr, "");
}

#[test]
fn the_version_names_format_and_numerics() {
    let stdout = Shell::new().run(&["--version"]).expect(0).stdout;
    let expected = concat!("llmzip ", env!("CARGO_PKG_VERSION"), " (format 1, numerics 1)\n");
    assert_eq!(String::from_utf8(stdout).unwrap(), expected);
}

#[test]
fn options_are_repeated_and_those_of_other_modes_refused() {
    let shell = Shell::new();
    shell.write("a", &text());
    shell.run(&["-q", "-q", "-k", "-k", "-f", "-f", "-T", "2", "-T1", "-1", "-3", "a"]).expect(0);
    shell.run(&["compress", "-v", "-v", "--no-verify", "--no-verify", "-f", "a"]).expect(0);
    let before = shell.names();
    for wrong in [
        &["--json", "-f", "a"][..],
        &["-d", "--json", "-f", "a.llmz"],
        &["-l", "-o", "list", "a.llmz"],
        &["-t", "--rm", "a.llmz"],
    ] {
        shell.run(wrong).expect(2);
    }
    assert_eq!(shell.names(), before);
}

/// Opening it would wait for a writer.
#[test]
fn a_pipe_among_the_files_is_passed_over() {
    let shell = Shell::new();
    shell.write("a", &text());
    let made = Command::new("mkfifo").arg(shell.path("pipe")).status();
    assert!(made.unwrap().success());
    shell.run(&["pipe", "a"]).expect(1).saying("not a regular file");
    assert!(shell.names().contains(&"a.llmz".to_owned()));
}

#[test]
fn every_command_has_a_manual_page() {
    let shell = Shell::new();
    let page = |command: &[&str]| {
        String::from_utf8(shell.run(&[&["man"], command].concat()).expect(0).stdout).unwrap()
    };
    assert!(page(&[]).contains("keep\\-going"));
    assert!(page(&["bench"]).contains("against"));
    assert!(page(&["models", "pull"]).contains("offline"));
    assert!(page(&["models", "evaluate"]).contains("engine"));
    shell.run(&["man", "nonsense"]).expect(2).saying("nonsense");
}
