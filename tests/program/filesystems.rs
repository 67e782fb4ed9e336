//! File systems that have less than ext4, and folders that move or are not one's own: the output is
//! kept, and nobody gains access.

use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llmzip");

/// A user who may do nothing.
const NOBODY: u32 = 65534;

/// Runs the program under strace with `faults` in its system calls; `None` without strace.
fn with_faults(shell: &Shell, faults: &[&str], arguments: &[&str]) -> Option<Ended> {
    let strace = Command::new("strace").args(["-fqq", "-o", "/dev/null", "true"]).output();
    if !strace.is_ok_and(|output| output.status.success()) {
        skip("no strace that works");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-fqq", "-o", "/dev/null"]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    Some(run_in(command.arg(PROGRAM).args(arguments), &shell.path("")))
}

fn run_in(command: &mut Command, folder: &Path) -> Ended {
    command.current_dir(folder).env("HOME", folder.join("home"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

/// The program as nobody, in `folder`; `None` where that cannot be.
fn as_nobody(folder: &Path, arguments: &[&str]) -> Option<Ended> {
    let command = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM]);
        command
    };
    let works = command().arg("--version").output();
    if !works.is_ok_and(|output| output.status.success()) {
        skip("no right to run the program as another user");
        return None;
    }
    Some(run_in(command().args(arguments), folder))
}

fn mode_of(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_may_move_meanwhile() {
    for output in [None, Some("out")] {
        let shell = Shell::new();
        fs::create_dir(shell.path("before")).unwrap();
        shell.write("before/a", b"text");
        let arguments = match output {
            Some(output) => vec!["-1", "-o", output],
            None => vec!["-1", "-o", "../before/out"],
        };
        let mut command = shell.command(&arguments);
        command.current_dir(shell.path("before")).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        while fs::read_dir(shell.path("before")).unwrap().count() < 2 {
            std::thread::yield_now(); // until the unfinished file is there
        }
        fs::rename(shell.path("before"), shell.path("after")).unwrap();
        child.stdin.take().unwrap().write_all(b"text").unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let mut names: Vec<_> =
            fs::read_dir(shell.path("after")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "out"]);
    }
}

#[test]
fn folders_above_need_not_be_searchable() {
    let shell = Shell::new();
    fs::create_dir_all(shell.path("closed/own")).unwrap();
    shell.write("closed/own/a", b"text");
    let own = shell.path("closed/own");
    for path in [&own, &own.join("a")] {
        if chown(path, Some(NOBODY), Some(NOBODY)).is_err() {
            return skip("no right to give files away");
        }
    }
    let Some(ended) = as_nobody(&own, &["-1", "--rm", "a"]) else { return };
    ended.expect(0);
    assert_eq!(mode_of(&own.join("a.llmz")), 0o644);
    assert!(!own.join("a").exists());
}

#[test]
fn a_folder_may_be_deeper_than_a_path_may_be_long() {
    let shell = Shell::new();
    let mut folder = File::open(shell.path("")).unwrap();
    let name = "n".repeat(200);
    for _ in 0..25 {
        let flags = rustix::fs::OFlags::DIRECTORY;
        let mode = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&folder, &name, mode).unwrap();
        folder = rustix::fs::openat(&folder, &name, flags, mode).unwrap().into();
    }
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let here = Path::new(&here);
    fs::write(here.join("a"), b"text").unwrap();
    let mut command = Command::new(PROGRAM);
    run_in(command.args(["-1", "--rm", "a"]), here).expect(0);
    let mut command = Command::new(PROGRAM);
    run_in(command.args(["-d", "a.llmz"]), here).expect(0);
    assert_eq!(fs::read(here.join("a")).unwrap(), b"text");
    fs::write(here.join("d.tar.llmz"), archive_of(&shell, "d/a")).unwrap();
    let mut command = Command::new(PROGRAM);
    run_in(command.args(["-d", "--untar", "d.tar.llmz"]), here).expect(0);
    assert_eq!(fs::read(here.join("d/a")).unwrap(), b"text");
}

#[test]
fn a_name_is_taken_where_it_cannot_be_exclusive_at_once() {
    let shell = Shell::new();
    shell.write("a", b"text");
    for error in ["EINVAL", "EIO", "ENOSYS"] {
        let faults = [&format!("renameat2:error={error}")[..], "linkat,link:error=EPERM"];
        let Some(ended) = with_faults(&shell, &faults, &["-1", "a"]) else { return };
        ended.expect(0);
        assert_eq!(shell.names(), ["a", "a.llmz"], "{error}");
        assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, b"text");
        fs::remove_file(shell.path("a.llmz")).unwrap();
    }
    let faults = ["renameat2,renameat,rename:error=EIO", "linkat,link:error=EPERM"];
    let Some(ended) = with_faults(&shell, &faults, &["-1", "a"]) else { return };
    ended.expect(1);
    assert_eq!(shell.names(), ["a"], "nothing is left of a name that was taken");
}

#[test]
fn a_mode_or_time_that_cannot_be_set_costs_no_output() {
    let shell = Shell::new();
    shell.write("a", b"text");
    let faults = ["fchmod:error=EPERM", "utimensat:error=EPERM"];
    for faults in [&faults[..1], &faults[1..], &faults[..]] {
        let Some(ended) = with_faults(&shell, faults, &["-1", "-f", "a"]) else { return };
        ended.expect(0).saying("warning");
        let mode = mode_of(&shell.path("a.llmz"));
        assert_eq!(mode, if faults[0].contains("fchmod") { 0o600 } else { 0o644 });
    }
}

#[test]
fn a_folder_that_cannot_be_synced_costs_no_output() {
    let shell = Shell::new();
    shell.write("a", b"text");
    let fault = ["fsync:error=EINVAL:when=2"];
    let Some(ended) = with_faults(&shell, &fault, &["-1", "a"]) else { return };
    ended.expect(0).saying("cannot be synced");
    assert_eq!(shell.names(), ["a", "a.llmz"]);
    let Some(ended) = with_faults(&shell, &fault, &["-1", "--rm", "-f", "a"]) else { return };
    ended.expect(1).saying("is not removed");
    assert_eq!(shell.names(), ["a", "a.llmz"]);

    fs::create_dir(shell.path("dark")).unwrap();
    shell.write("dark/a", b"text");
    for path in ["dark", "dark/a"] {
        if chown(shell.path(path), Some(NOBODY), Some(NOBODY)).is_err() {
            return skip("no right to give files away");
        }
    }
    set_mode(&shell.path("dark"), 0o300);
    let Some(ended) = as_nobody(&shell.path("dark"), &["-1", "a"]) else { return };
    ended.expect(0).saying("cannot be synced");
    assert!(shell.path("dark/a.llmz").exists());
}

/// What costs a file's output nothing costs that of a directory nothing.
#[test]
fn directories_are_unpacked_with_what_the_file_system_has() {
    let shell = Shell::new();
    fs::create_dir_all(shell.path("d/sub")).unwrap();
    shell.write("d/sub/a", b"text");
    symlink("sub/a", shell.path("d/link")).unwrap();
    set_mode(&shell.path("d/sub"), 0o555);
    shell.run(&["-1", "d"]).expect(0);
    for (fault, warning) in [
        (&["syncfs,fsync:error=EINVAL"][..], "cannot be synced"),
        (&["syncfs:error=ENOSYS"], "cannot be synced"),
        (&["fsync:error=EACCES"], "cannot be synced"),
        (&["fchmod,chmod,fchmodat:error=EPERM"], "modes or times cannot be set"),
        (&["utimensat:error=EPERM"], "modes or times cannot be set"),
        (&["renameat2:error=EINVAL"], ""),
        (&["renameat2:error=EIO", "linkat,link:error=EPERM"], ""),
        (&["renameat2:error=EPERM"], ""),
    ] {
        let call = ["-d", "--untar", "-C", "out", "d.tar.llmz"];
        let Some(ended) = with_faults(&shell, fault, &call) else { return };
        let ended = ended.expect(0).saying(warning);
        assert_eq!(ended.stderr.contains("warning"), !warning.is_empty(), "{fault:?}");
        assert_eq!(shell.read("out/d/link"), b"text", "{fault:?}");
        assert_eq!(fs::read_dir(shell.path("out")).unwrap().count(), 1, "{fault:?}");
        let mode = if fault[0].contains("chmod") { 0o700 } else { 0o555 };
        assert_eq!(mode_of(&shell.path("out/d/sub")), mode, "{fault:?}");
        set_mode(&shell.path("out/d/sub"), 0o755);
        fs::remove_dir_all(shell.path("out")).unwrap();
    }
    let faults = ["renameat2,renameat,rename:error=EIO"];
    let call = ["-d", "--untar", "-C", "out", "d.tar.llmz"];
    with_faults(&shell, &faults, &call).unwrap().expect(1);
    assert_eq!(fs::read_dir(shell.path("out")).unwrap().count(), 0, "no empty directory is left");
}

/// As `tar -r` adds them, and as GNU tar takes them.
#[test]
fn the_last_of_entries_of_one_name_wins() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let shell = Shell::new();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, mode, content) in [
        ("d", Directory, 0o755, ""),
        ("d/a", Regular, 0o600, "old, and longer"),
        ("d/b", Link, 0o600, "d/a"),
        ("d/link", Symlink, 0o777, "nowhere"),
        ("d/e", Regular, 0o644, "old"),
        ("d", Directory, 0o711, ""),
        ("d/a", Regular, 0o640, "new"),
        ("d/a", Link, 0o640, "./d/a"), // a file that was named twice
        ("d/link", Symlink, 0o777, "a"),
        ("d/e", Link, 0o640, "d/a"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(if kind == Regular { content.len() as u64 } else { 0 });
        match kind {
            Link | Symlink => tar.append_link(&mut header, name, content).unwrap(),
            _ => tar.append_data(&mut header, name, content.as_bytes()).unwrap(),
        }
    }
    shell.write("d.tar", &tar.into_inner().unwrap());
    shell.run(&["-1", "d.tar"]).expect(0);
    shell.run(&["-d", "--untar", "-C", "out", "d.tar.llmz"]).expect(0);
    for (name, content) in
        [("a", &b"new"[..]), ("b", b"old, and longer"), ("link", b"new"), ("e", b"new")]
    {
        assert_eq!(shell.read(format!("out/d/{name}")), content, "{name}");
    }
    assert_eq!(mode_of(&shell.path("out/d/a")), 0o640);
    assert_eq!(mode_of(&shell.path("out/d")), 0o711);
}

/// A tar archive of one file, compressed.
fn archive_of(shell: &Shell, path: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(4);
    tar.append_data(&mut header, path, &b"text"[..]).unwrap();
    shell.pipe(&["-1"], &tar.into_inner().unwrap()).expect(0).stdout
}

#[test]
fn a_folder_may_move_or_be_replaced_while_it_is_unpacked_into() {
    let shell = Shell::new();
    for name in ["before", "elsewhere"] {
        fs::create_dir(shell.path(name)).unwrap();
    }
    let archive = archive_of(&shell, "d/a");
    let mut command = shell.command(&["-d", "--untar", "-C", "before"]);
    shell.write("x.llmz", &archive);
    let mkfifo = Command::new("mkfifo").arg(shell.path("pipe")).status();
    assert!(mkfifo.unwrap().success());
    let mut child = command.arg("pipe").spawn().unwrap();
    let mut pipe = File::options().write(true).open(shell.path("pipe")).unwrap();
    pipe.write_all(&archive[..5]).unwrap();
    while fs::read_dir(shell.path("before")).unwrap().count() == 0 {
        std::thread::yield_now(); // until it unpacks
    }
    fs::rename(shell.path("before"), shell.path("after")).unwrap();
    symlink("elsewhere", shell.path("before")).unwrap();
    pipe.write_all(&archive[5..]).unwrap();
    drop(pipe);
    assert!(child.wait().unwrap().success());
    assert_eq!(shell.read("after/d/a"), b"text");
    assert_eq!(fs::read_dir(shell.path("after")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(shell.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn no_link_leads_out_of_what_is_unpacked() {
    let shell = Shell::new();
    for name in ["to", "outside"] {
        fs::create_dir(shell.path(name)).unwrap();
    }
    for (name, kind) in [("x/file", tar::EntryType::Regular), ("x/d/", tar::EntryType::Directory)] {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, target) in [("x", tar::EntryType::Symlink, "../outside"), (name, kind, "")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o777);
            header.set_size(0);
            match target {
                "" => tar.append_data(&mut header, path, &b""[..]).unwrap(),
                _ => tar.append_link(&mut header, path, target).unwrap(),
            }
        }
        shell.write("x.llmz", &shell.pipe(&["-1"], &tar.into_inner().unwrap()).expect(0).stdout);
        let ended = shell.run(&["-d", "--untar", "-C", "to", "x.llmz"]).expect(1);
        ended.saying("symbolic link stands in its path");
        for folder in ["to", "outside"] {
            assert_eq!(fs::read_dir(shell.path(folder)).unwrap().count(), 0, "{name}: {folder}");
        }
    }
}

/// All of it is removed where the archive turns out to be bad, with few open folders.
#[test]
fn a_deep_directory_is_unpacked_or_removed() {
    let shell = Shell::new();
    let path = format!("{}a", "d/".repeat(400));
    let good = archive_of(&shell, &path);
    shell.write("good.llmz", &good);
    let tar = shell.pipe(&["-d"], &good).expect(0).stdout;
    shell.write("bad.llmz", &shell.pipe(&["-1"], &[&tar[..], b"more"].concat()).expect(0).stdout);
    for (name, code, n_left) in [("bad", 1, 0), ("good", 0, 1)] {
        let line = "ulimit -n 40; exec \"$0\" -d --untar -C to \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", line, PROGRAM, &format!("{name}.llmz")]);
        run_in(&mut command, &shell.path("")).expect(code);
        assert_eq!(fs::read_dir(shell.path("to")).unwrap().count(), n_left, "{name}");
    }
    assert_eq!(shell.read(format!("to/{path}")), b"text");
}

#[test]
fn what_cannot_be_replaced_is_written_into() {
    let shell = Shell::new();
    shell.write("a", b"text");
    shell.write("out", &[b'x'; 1000]);
    let before = shell.path("out").metadata().unwrap().ino();
    let faults = ["renameat2,renameat,rename:error=EBUSY"];
    let Some(ended) = with_faults(&shell, &faults, &["-1", "-f", "-o", "out", "a"]) else { return };
    ended.expect(0);
    assert_eq!(shell.names(), ["a", "out"]);
    assert_eq!(shell.path("out").metadata().unwrap().ino(), before);
    assert_eq!(shell.run(&["-dc", "out"]).expect(0).stdout, b"text");
}

#[test]
fn anothers_file_in_a_sticky_folder() {
    let shell = Shell::new();
    set_mode(&shell.path(""), 0o755);
    fs::create_dir(shell.path("tmp")).unwrap();
    set_mode(&shell.path("tmp"), 0o1777);
    for (name, mode) in [("a", 0o644), ("read", 0o644), ("write", 0o666)] {
        shell.write(format!("tmp/{name}"), b"text");
        set_mode(&shell.path(format!("tmp/{name}")), mode);
    }
    let run = |name: &str| as_nobody(&shell.path("tmp"), &["-1", "-f", "-o", name, "a"]);
    let Some(ended) = run("read") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("files of two users need root");
    }
    ended.expect(1).saying("sticky");
    assert_eq!(shell.read("tmp/read"), b"text");
    run("write").unwrap().expect(0);
    assert_eq!(shell.run(&["-dc", "tmp/write"]).expect(0).stdout, b"text");
    assert_eq!(fs::read_dir(shell.path("tmp")).unwrap().count(), 3, "nothing is left");
}

#[test]
fn access_lists_are_copied() {
    let shell = Shell::new();
    shell.write("a", b"text");
    set_mode(&shell.path("a"), 0o600);
    let list = |name: &str| {
        let command =
            Command::new("getfacl").args(["-cp", name]).current_dir(shell.path("")).output();
        String::from_utf8(command.unwrap().stdout).unwrap()
    };
    let mut setfacl = Command::new("setfacl");
    setfacl.args(["-m", "u:1:r", "a"]).current_dir(shell.path(""));
    if !setfacl.output().is_ok_and(|output| output.status.success()) {
        return skip("no setfacl, or no access lists here");
    }
    shell.run(&["-1", "a"]).expect(0);
    assert_eq!(list("a.llmz"), list("a"));
    let Some(ended) = with_faults(&shell, &["fsetxattr:error=EOPNOTSUPP"], &["-1", "-f", "a"])
    else {
        return;
    };
    ended.expect(0);
    assert_eq!(mode_of(&shell.path("a.llmz")), 0o600, "the group had no access");

    let mut default = Command::new("setfacl");
    default.args(["-d", "-m", "u:2:rw", "."]).current_dir(shell.path(""));
    assert!(default.status().unwrap().success());
    shell.run(&["-1", "-f", "a"]).expect(0);
    assert_eq!(list("a.llmz"), list("a"), "and none is taken from the folder");
}

#[test]
fn zeros_are_holes() {
    let shell = Shell::new();
    let zeros = vec![0; 600_000];
    let plain = [b"head", &zeros[..], b"middle", &zeros, b"end"].concat();
    for (name, plain) in [("a", &plain), ("b", &zeros)] {
        shell.write(name, plain);
        shell.run(&["-1", "--rm", name]).expect(0);
        let archive = format!("{name}.llmz");
        let n_blocks = |arguments: &[&str]| {
            shell.run(&[arguments, &["-df", &archive]].concat()).expect(0);
            assert!(shell.read(name) == *plain, "{name}");
            shell.path(name).metadata().unwrap().blocks()
        };
        let full = n_blocks(&["--no-sparse"]);
        assert!(full * 512 >= plain.len() as u64, "{name}: {full}");
        let sparse = n_blocks(&[]);
        assert!(sparse * 512 < 50_000, "{name}: {sparse} blocks, {full} without holes");
        let removing = n_blocks(&["--rm"]);
        assert_eq!(removing, sparse, "what was written is read back");
    }
}

/// Where the caller's file ends; elsewhere other bytes may be.
#[test]
fn zeros_on_standard_output_are_holes() {
    let shell = Shell::new();
    let plain = [&vec![0; 600_000][..], b"middle", &vec![0; 600_000]].concat();
    let archive = shell.pipe(&["-1"], &plain).expect(0).stdout;
    shell.write("a.llmz", &archive);
    for (line, before, holes) in
        [("> out", &b""[..], true), (">> out", b"before", false), ("1<> out", b"before", false)]
    {
        shell.write("out", before);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("\"$0\" -dc a.llmz {line}"));
        command.arg(env!("CARGO_BIN_EXE_llmzip")).current_dir(shell.path(""));
        end(command).expect(0);
        let expected = if line == ">> out" { [before, &plain].concat() } else { plain.clone() };
        assert!(shell.read("out") == expected, "{line}");
        let blocks = shell.path("out").metadata().unwrap().blocks();
        assert_eq!(blocks * 512 < 50_000, holes, "{line}: {blocks}");
    }
}

#[test]
fn a_time_that_moves_alone_is_no_change() {
    let shell = Shell::new();
    shell.write("a", "text of the lighthouse\n".repeat(3000).as_bytes());
    for (arguments, input) in [(&["-3", "a"][..], "a"), (&["-d", "-o", "b", "a.llmz"], "a.llmz")] {
        let child = shell.command(arguments).spawn().unwrap();
        while !shell.names().iter().any(|name| name.ends_with(".tmp")) {
            std::thread::yield_now();
        }
        let file = File::options().write(true).open(shell.path(input)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
    assert!(shell.read("a") == shell.read("b"));
}

#[test]
fn what_is_more_than_its_name_is_not_removed() {
    let shell = Shell::new();
    let text = b"some text";
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("sticky", 0o1644)] {
        shell.write(name, text);
        set_mode(&shell.path(name), mode);
    }
    shell.write("linked", text);
    fs::hard_link(shell.path("linked"), shell.path("link")).unwrap();
    for name in ["setuid", "setgid", "sticky", "linked"] {
        shell.run(&["-1", "--rm", name]).expect(1).saying("-f removes it");
        assert!(
            shell.path(name).exists() && !shell.path(format!("{name}.llmz")).exists(),
            "{name}"
        );
        shell.run(&["-1", "--rm", "-f", name]).expect(0);
        assert!(!shell.path(name).exists(), "{name}");
    }
    assert_eq!(shell.read("link"), text);
}
