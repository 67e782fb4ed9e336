//! The program beside zstd, xz and gzip: the same arguments on the same files end the same way.
//!
//! Each case is a line of [`TABLE`], or of [`OWN_TABLE`] where only this program has the call; the words in it are
//! explained there. Programs that are not
//! here are skipped. Of the exit code of another program only counts whether it is 0, and where its
//! version here differs from the table, that is printed: it is no fault of this program's.

use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// Columns: files before, standard input, arguments, exit code, files after (`=`: as before),
/// standard output. `.Z` is the program's suffix.
///
/// A file is `NAME:KIND`. Kinds of content: `text`, its `archive`, `archive2` (of the text twice),
/// `archive0` (of nothing), `cut` (an archive without its last byte), `junk` (one with bytes after
/// it), `old` (what must not be lost), `empty`; `folder`; `link` (to `a`), `link.Z` (to `a.Z`).
/// Standard output may be `text2` or `words`. Names that are commands of llmzip (`c d l t x`) are
/// not used: as a first argument they mean the command, which is a difference from the others.
///
/// A line `PROGRAM: reason` below a case exempts that program from it.
const TABLE: &str = "
a:text                        |          | a                | 0 | a:text a.Z:archive                    |
a:text                        |          | -k a             | 0 | a:text a.Z:archive                    |
a:text                        |          | a -k             | 0 | a:text a.Z:archive                    |
a:text                        |          | -q a             | 0 | a:text a.Z:archive                    |
a:text                        |          | -9 a             | 0 | a:text a.Z:archive                    |
a:text                        |          | --keep --quiet a | 0 | a:text a.Z:archive                    |
a:empty                       |          | a                | 0 | a:empty a.Z:archive0                  |
a:text b:text                 |          | a b              | 0 | a:text b:text a.Z:archive b.Z:archive |
-a:text                       |          | -- -a            | 0 | -a:text -a.Z:archive                  |
-a:text                       |          | ./-a             | 0 | -a:text -a.Z:archive                  |
                              | text     |                  | 0 | =                                     | archive
                              | text     | -                | 0 | =                                     | archive
                              | text     | -c               | 0 | =                                     | archive
                              | empty    |                  | 0 | =                                     | archive0
a:text                        |          | -c a             | 0 | =                                     | archive
a:text                        |          | -kc a            | 0 | =                                     | archive
a:text                        |          | --stdout a       | 0 | =                                     | archive
a:text b:text                 |          | -c a b           | 0 | =                                     | archive2
a:text                        | text     | -c a -           | 0 | =                                     | archive2
a:text a.Z:old                |          | -c a             | 0 | =                                     | archive
a:text a.Z:old                |          | a                | 1 | =                                     |
a:text a.Z:old                |          | -q a             | 1 | =                                     |
a:text a.Z:old                |          | -f a             | 0 | a:text a.Z:archive                    |
a:text a.Z:old                |          | --force a        | 0 | a:text a.Z:archive                    |
a:text b:text a.Z:old         |          | a b              | 1 | a:text b:text a.Z:old b.Z:archive     |
a:text                        |          | a a              | 1 | a:text a.Z:archive                    |
                              |          | a                | 1 | =                                     |
a:text                        |          | no a             | 1 | a:text a.Z:archive                    |
a:text                        |          | a no             | 1 | a:text a.Z:archive                    |
a:text                        |          | -c no a          | 1 | =                                     | archive
a.Z:archive                   |          | a.Z              | 1 | =                                     |
    gzip: may say that it is unchanged and succeed
    zstd: packs it once more
dir:folder                    |          | -t dir           | 1 | =                                     |
dir:folder                    |          | -d dir           | 1 | =                                     |
dir:folder a.Z:archive        |          | -d dir a.Z       | 1 | dir:folder a.Z:archive a:text         |
a:text ln:link                |          | ln               | 1 | =                                     |
    xz: takes links with -k, without which it removes its input
a:text ln:link                |          | -f ln            | 0 | a:text ln:link ln.Z:archive           |
a:text ln:link                |          | -c ln            | 0 | =                                     | archive
    zstd: wants -f for links, with -c too
ln:link                       |          | ln               | 1 | =                                     |
a:text                        |          | -S .y a          | 0 | a:text a.y:archive                    |
    zstd: has no -S
a:text                        |          | -o y a           | 0 | a:text y:archive                      |
    xz: has no -o
    gzip: has no -o
a:text y:old                  |          | -o y a           | 1 | =                                     |
a.Z:archive                   |          | -d a.Z           | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | -dk a.Z          | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | -dq a.Z          | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | a.Z -d           | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | --decompress a.Z | 0 | a.Z:archive a:text                    |
a.Z:archive0                  |          | -d a.Z           | 0 | a.Z:archive0 a:empty                  |
a.Z:archive2                  |          | -dc a.Z          | 0 | =                                     | text2
a.Z:archive b.Z:archive       |          | -d a.Z b.Z       | 0 | a.Z:archive b.Z:archive a:text b:text |
a.Z:archive b.Z:archive       |          | -dc a.Z b.Z      | 0 | =                                     | text2
-a.Z:archive                  |          | -d -- -a.Z       | 0 | -a.Z:archive -a:text                  |
                              | archive  | -d               | 0 | =                                     | text
                              | archive  | -d -             | 0 | =                                     | text
                              | archive2 | -dc              | 0 | =                                     | text2
                              | archive0 | -d               | 0 | =                                     |
a.Z:archive                   |          | -dc a.Z          | 0 | =                                     | text
a.Z:archive a:old             |          | -dc a.Z          | 0 | =                                     | text
a.Z:archive a:old             |          | -d a.Z           | 1 | =                                     |
a.Z:archive a:old             |          | -df a.Z          | 0 | a.Z:archive a:text                    |
a.Z:archive b.Z:archive a:old |          | -d a.Z b.Z       | 1 | a.Z:archive b.Z:archive a:old b:text  |
                              |          | -d a.Z           | 1 | =                                     |
b.Z:archive                   |          | -d no.Z b.Z      | 1 | b.Z:archive b:text                    |
a.y:archive                   |          | -d a.y           | 1 | =                                     |
a.y:archive                   |          | -dc a.y          | 0 | =                                     | text
a:text                        |          | -d a             | 1 | =                                     |
a.Z:text                      |          | -d a.Z           | 4 | =                                     |
a.Z:text                      |          | -dc a.Z          | 4 | =                                     |
a.Z:text                      |          | -dcf a.Z         | 0 | =                                     | text
                              | text     | -dcf             | 0 | =                                     | text
a.Z:archive                   |          | -dcf a.Z         | 0 | =                                     | text
a.Z:archive b:text            |          | -dcf a.Z b       | 0 | =                                     | text2
                              | text     | -d               | 4 | =                                     |
                              | empty    | -d               | 4 | =                                     |
a.Z:cut                       |          | -d a.Z           | 4 | =                                     |
a.Z:cut a:old                 |          | -d a.Z           | 1 | =                                     |
a.Z:cut a:old                 |          | -df a.Z          | 4 | =                                     |
    zstd: removes the old file before it has a new one
    xz: removes the old file before it has a new one
    gzip: removes the old file before it has a new one
a.Z:cut b.Z:archive           |          | -d a.Z b.Z       | 4 | a.Z:cut b.Z:archive b:text            |
    gzip: may end at the first damaged file
a.Z:junk                      |          | -dc a.Z          | 1 | =                                     | text
dir.Z:folder                  |          | -d dir.Z         | 1 | =                                     |
a.Z:archive ln.Z:link.Z       |          | -d ln.Z          | 1 | =                                     |
    xz: takes links with -k, without which it removes its input
a.Z:archive ln.Z:link.Z       |          | -dc ln.Z         | 0 | =                                     | text
    zstd: wants -f for links, with -c too
a.Z:archive                   |          | -t a.Z           | 0 | =                                     |
a.Z:archive                   |          | --test a.Z       | 0 | =                                     |
a.Z:archive                   |          | -tq a.Z          | 0 | =                                     |
a.Z:archive a:old             |          | -t a.Z           | 0 | =                                     |
a.Z:archive b.Z:archive2      |          | -t a.Z b.Z       | 0 | =                                     |
                              | archive  | -t               | 0 | =                                     |
                              | archive  | -t -             | 0 | =                                     |
                              | cut      | -t               | 4 | =                                     |
                              |          | -t a.Z           | 1 | =                                     |
a.Z:cut                       |          | -t a.Z           | 4 | =                                     |
a.Z:text                      |          | -t a.Z           | 4 | =                                     |
a.Z:junk                      |          | -t a.Z           | 1 | =                                     |
a.Z:cut b.Z:archive           |          | -t a.Z b.Z       | 4 | =                                     |
dir:folder                    |          | -t dir           | 1 | =                                     |
a.Z:archive                   |          | -l a.Z           | 0 | =                                     | words
                              |          | -l a.Z           | 1 | =                                     |
    zstd: has begun its table on standard output by then
a.Z:text                      |          | -l a.Z           | 4 | =                                     |
    zstd: has begun its table on standard output by then
a:text                        |          | -z a             | 0 | a:text a.Z:archive                    |
    gzip: has no -z
a:text                        |          | --fast a         | 0 | a:text a.Z:archive                    |
a:text                        |          | --best a         | 0 | a:text a.Z:archive                    |
    zstd: has no --best
a:text                        |          | -6 -v a          | 0 | a:text a.Z:archive                    |
a:text                        |          | -k -- a          | 0 | a:text a.Z:archive                    |
a.Z:archive                   |          | -dt a.Z          | 0 | =                                     |
a.Z:archive                   |          | -cd a.Z          | 0 | =                                     | text
a.Z:archive                   | archive  | -dc a.Z -        | 0 | =                                     | text2
a.Z:archive                   |          | -d a.Z a.Z       | 1 | a.Z:archive a:text                    |
a.Z:archive a:old             |          | -d -f -k a.Z     | 0 | a.Z:archive a:text                    |
a.Z:archive b.Z:archive       |          | -l a.Z b.Z       | 0 | =                                     | words
a.Z:archive                   |          | -lv a.Z          | 0 | =                                     | words
a.Z:archive                   |          | -t a.Z no.Z      | 1 | =                                     |
                              |          | --version        | 0 | =                                     | words
                              |          | --help           | 0 | =                                     | words
a:text                        |          | --no-such a      | 2 | =                                     |
";

/// Calls that the other programs lack, or understand otherwise: columns as above.
const OWN_TABLE: &str = "
a.Z:archive                   |          | -td a.Z                 | 0 | =                                     |
a.Z:archive                   |          | -dl a.Z                 | 0 | =                                     | words
a:text                        |          | -zd a                   | 2 | =                                     |
a:text                        |          | -zt a                   | 2 | =                                     |
a.Z:archive                   |          | -tl a.Z                 | 2 | =                                     |
a:text                        |          | -10 a                   | 2 | =                                     |
a:text                        |          | -19 a                   | 2 | =                                     |
a:text                        |          | --level 0 a             | 2 | =                                     |
a:text                        |          | --level 10 a            | 2 | =                                     |
a:text                        |          | --level 1 a             | 0 | a:text a.Z:archive                    |
a:text                        |          | comprss a               | 2 | =                                     |
a:text                        |          | -9 compress a           | 2 | =                                     |
a.Z:archive                   |          | extract a.Z             | 2 | =                                     |
a.Z:archive                   |          | info a.Z                | 2 | =                                     |
a:text                        |          | compress a              | 0 | a:text a.Z:archive                    |
a:text                        |          | c a                     | 0 | a:text a.Z:archive                    |
a.Z:archive                   |          | x a.Z                   | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | d a.Z                   | 0 | a.Z:archive a:text                    |
a.Z:archive                   |          | t a.Z                   | 0 | =                                     |
a.Z:archive                   |          | l a.Z                   | 0 | =                                     | words
a.Z:archive                   |          | -dc --range 0..600 a.Z  | 0 | =                                     | text
a.Z:archive2                  |          | -dc --range 600.. a.Z   | 0 | =                                     | text
                              | archive2 | -d --range ..600        | 0 | =                                     | text
a.Z:archive                   |          | -dc --range 0..0 a.Z    | 0 | =                                     |
a.Z:archive                   |          | -dc --range 5 a.Z       | 2 | =                                     |
a.Z:archive                   |          | -d --range 0..1 a.Z     | 2 | =                                     |
a:text                        |          | --range 0..1 a          | 2 | =                                     |
a.Z:archive                   |          | -d --untar a.Z          | 1 | =                                     |
a.Z:archive                   |          | -dc --untar a.Z         | 2 | =                                     |
a.Z:archive                   |          | -d --keep-going a.Z     | 0 | a.Z:archive a:text                    |
a.Z:cut                       |          | -t --keep-going a.Z     | 4 | =                                     |
a:text                        |          | --keep-going a          | 2 | =                                     |
a.Z:archive                   |          | -l --json a.Z           | 0 | =                                     | words
a.Z:archive                   |          | -t --json a.Z           | 0 | =                                     | words
a:text                        |          | --json a                | 2 | =                                     |
a.Z:archive                   |          | -d --max-output 599 a.Z | 5 | =                                     |
a.Z:archive                   |          | -d --max-output 600 a.Z | 0 | a.Z:archive a:text                    |
a:text                        |          | --max-output 600 a      | 2 | =                                     |
a:text b:text                 |          | -1 -D b a               | 0 | a:text b:text a.Z:archive             |
a:text                        |          | -1 -D no a              | 1 | =                                     |
a:text                        |          | -1 --prefix x -D a a    | 2 | =                                     |
a:text                        |          | -1 --no-mix a           | 2 | =                                     |
a:text                        |          | --lanes 0 a             | 2 | =                                     |
a:text                        |          | --lanes 2 a             | 0 | a:text a.Z:archive                    |
a:text                        |          | --chunk-size 0 a        | 2 | =                                     |
a:text                        |          | --chunk-size 100 a      | 0 | a:text a.Z:archive                    |
a:text                        |          | --table-size 3 a        | 2 | =                                     |
a:text                        |          | --steer-random 2 a      | 0 | a:text a.Z:archive                    |
a:text                        |          | --steer-random 2:7 a    | 0 | a:text a.Z:archive                    |
a:text                        |          | -1 --steer-random 2 a   | 0 | a:text a.Z:archive                    |
a:text                        |          | --learn a               | 0 | a:text a.Z:archive                    |
a:text                        |          | --learn=all --learn-rate 0.001 --learn-tokens 64 a | 0 | a:text a.Z:archive |
a:text                        |          | --learn=adapter a       | 0 | a:text a.Z:archive                    |
a:text                        |          | -1 --learn a            | 0 | a:text a.Z:archive                    |
a:text                        |          | --learn=some a          | 2 | =                                     |
a:text                        |          | --learn-rate 0.1 a      | 2 | =                                     |
a:text                        |          | --learn --learn-rate 2 a | 2 | =                                    |
a:text                        |          | --learn --learn-tokens 100 a | 2 | =                                |
a:text                        |          | --steer-random 0 a      | 2 | =                                     |
a:text                        |          | --steer no --steer-random 2 a | 2 | =                               |
a:text                        |          | --steer no a            | 3 | =                                     |
a:text                        |          | --steer ./no a          | 2 | =                                     |
a:text                        |          | --steer a a             | 1 | =                                     |
a.Z:archive                   |          | -d --steer no a.Z       | 0 | a.Z:archive a:text                    |
a:text                        |          | --rm a                  | 0 | a.Z:archive                           |
a:text                        |          | --rm -c a               | 2 | =                                     |
a:text                        |          | --rm --no-verify a      | 2 | =                                     |
a:text                        |          | --rm --no-sync a        | 2 | =                                     |
dir:folder                    |          | --rm dir                | 1 | =                                     |
a:text b:text                 |          | -o x a b                | 2 | =                                     |
a:text                        |          | -o x -c a               | 2 | =                                     |
a:text                        |          | -C new a                | 0 | a:text new:folder                     |
a:text                        |          | -C new -c a             | 2 | =                                     |
a:text                        | text     | -C a -                  | 1 | =                                     |
a:text                        |          | --files-from no         | 1 | =                                     |
                              | empty    | --files-from -          | 0 | =                                     |
dir:folder                    |          | dir                     | 0 | dir:folder dir.tar.Z:archive2         |
dir:folder                    |          | -c dir                  | 0 | =                                     | archive2
dir:folder                    |          | -r dir                  | 0 | =                                     |
dir:folder                    |          | -dr dir                 | 0 | =                                     |
a:text                        |          | -T x a                  | 2 | =                                     |
a:text                        |          | --memlimit x a          | 2 | =                                     |
a:text                        |          | --progress x a          | 2 | =                                     |
a:text                        |          | -m no-model a           | 3 | =                                     |
a:text                        |          | -m ./no-model a         | 2 | =                                     |
a:text                        |          | --offline -m org/no a   | 3 | =                                     |
a:text                        |          | -1 -m ./no-model a      | 2 | =                                     |
                              |          | models list             | 0 | =                                     | words
a:text                        |          | models evaluate default --text a | 0 | =                            | words
a:text                        |          | models evaluate default --text a no | 1 | =                         | words
                              |          | completions bash        | 0 | =                                     | words
                              |          | completions no          | 2 | =                                     |
                              |          | man                     | 0 | =                                     | words
                              |          | man no                  | 2 | =                                     |
";

/// A program that packs, what it needs to keep its input, and the suffix that it gives.
struct Program {
    path: &'static str,
    keep: &'static [&'static str],
    suffix: &'static str,
}

const LLMZIP: Program = Program { path: env!("CARGO_BIN_EXE_llmzip"), keep: &[], suffix: ".llmz" };
const ZSTD: Program = Program { path: "zstd", keep: &[], suffix: ".zst" };
const XZ: Program = Program { path: "xz", keep: &["-k"], suffix: ".xz" };
const GZIP: Program = Program { path: "gzip", keep: &["-k"], suffix: ".gz" };

/// Options that other programs take from the environment.
const FOREIGN: [&str; 5] = ["ZSTD_CLEVEL", "ZSTD_NBTHREADS", "XZ_DEFAULTS", "XZ_OPT", "GZIP"];

/// A line of the table.
struct Case {
    before: String,
    stdin: String,
    arguments: Vec<String>,
    code: i32,
    after: String,
    stdout: String,
}

fn text() -> Vec<u8> {
    vec![b'a'; 600]
}

/// The lines of a table, with those that exempt programs below them.
fn table(of: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut cases: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in of.lines().filter(|line| !line.is_empty()) {
        match line.contains('|') {
            true => cases.push((line, Vec::new())),
            false => cases.last_mut().unwrap().1.push(line.trim()),
        }
    }
    cases
}

fn words(column: &str) -> Vec<String> {
    column.split_whitespace().map(String::from).collect()
}

/// Words in another order are the same files.
fn files(column: &str) -> String {
    let mut names = words(column);
    names.sort();
    names.join(" ")
}

impl Case {
    fn of(line: &str, program: &Program) -> Self {
        let line = line.replace(".Z", program.suffix);
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [before, stdin, arguments, code, after, stdout] = columns[..] else {
            panic!("six columns: {line}")
        };
        Self {
            before: files(before),
            stdin: stdin.into(),
            arguments: words(arguments),
            code: code.parse().unwrap(),
            after: files(if after == "=" { before } else { after }),
            stdout: stdout.into(),
        }
    }
}

impl Program {
    fn is_here(&self) -> bool {
        Command::new(self.path).arg("--version").output().is_ok_and(|said| said.status.success())
    }

    fn is_own(&self) -> bool {
        self.path == LLMZIP.path
    }

    fn command(&self, shell: &Shell, arguments: &[String]) -> Command {
        if self.is_own() {
            return shell.command(arguments);
        }
        let mut command = Command::new(self.path);
        command.current_dir(shell.path("")).args(self.keep).args(arguments);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// What the program makes of `input` in a pipe.
    fn pipe(&self, argument: &str, input: &[u8]) -> Option<Vec<u8>> {
        let mut command = Command::new(self.path);
        command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input); // one that fails need not read it
        let output = child.wait_with_output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// The kinds of content; archives are this program's.
    fn samples(&self) -> Samples {
        let archive = |plain: &[u8]| self.pipe("-c", plain).unwrap();
        let good = archive(&text());
        vec![
            ("text", text()),
            ("text2", text().repeat(2)),
            ("old", b"old".to_vec()),
            ("empty", vec![]),
            ("archive0", archive(b"")),
            ("archive2", good.repeat(2)),
            ("cut", good[..good.len() - 1].to_vec()),
            ("junk", [&good[..], b"junk"].concat()),
            ("archive", good),
        ]
    }
}

/// Contents by kind.
type Samples = Vec<(&'static str, Vec<u8>)>;

/// A program and its samples.
struct Trial<'a> {
    program: &'a Program,
    samples: Samples,
}

impl Trial<'_> {
    fn content(&self, kind: &str) -> &[u8] {
        let sample = self.samples.iter().find(|(name, _)| *name == kind);
        &sample.unwrap_or_else(|| panic!("no kind of file: {kind}")).1
    }

    /// The kind of `content`: of a sample that it is, or that it decodes to.
    fn kind(&self, content: &[u8]) -> String {
        if let Some((kind, _)) = self.samples.iter().find(|(_, sample)| sample == content) {
            return (*kind).into();
        }
        match self.program.pipe("-dc", content).map(|plain| plain.len() / text().len()) {
            None => "words".into(),
            Some(1) => "archive".into(),
            Some(n) => format!("archive{n}"),
        }
    }

    fn make(&self, shell: &Shell, name: &str, kind: &str) {
        match kind.strip_prefix("link") {
            Some(suffix) => symlink(format!("a{suffix}"), shell.path(name)).unwrap(),
            None if kind == "folder" => fs::create_dir(shell.path(name)).unwrap(),
            None => shell.write(name, self.content(kind)),
        }
    }

    /// The files in the folder, as the table writes them.
    fn files(&self, shell: &Shell) -> String {
        let kind = |name: &str| {
            let path = shell.path(name);
            if let Ok(target) = path.read_link() {
                return target.to_string_lossy().replacen('a', "link", 1);
            }
            if path.is_dir() { "folder".into() } else { self.kind(&shell.read(name)) }
        };
        let names = shell.names();
        let described: Vec<_> = names.iter().map(|name| format!("{name}:{}", kind(name))).collect();
        files(&described.join(" "))
    }

    fn run(&self, shell: &Shell, case: &Case) -> Ended {
        let mut command = self.program.command(shell, &case.arguments);
        if !case.stdin.is_empty() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(self.content(&case.stdin)).unwrap();
            file.rewind().unwrap();
            command.stdin(file);
        }
        end(command)
    }

    /// What is otherwise than the case says.
    fn faults(&self, case: &Case) -> Vec<String> {
        let shell = Shell::new();
        for file in case.before.split_whitespace() {
            let (name, kind) = file.split_once(':').unwrap();
            self.make(&shell, name, kind);
        }
        let ended = self.run(&shell, case);
        let code = ended.code.expect("not ended by a signal");
        let is_code =
            if self.program.is_own() { code == case.code } else { (code == 0) == (case.code == 0) };
        let stdout = match &ended.stdout[..] {
            [] => String::new(),
            bytes => self.kind(bytes),
        };
        let is_quiet = case.arguments.iter().any(|word| word.ends_with('q') || word == "--quiet");
        let said = is_quiet && code == 0 && !ended.stderr.is_empty();
        let left = self.files(&shell);
        [
            (!is_code).then(|| format!("exit code {code}: {}", ended.stderr)),
            (left != case.after).then(|| format!("files {left}")),
            (stdout != case.stdout).then(|| format!("standard output is {stdout}")),
            said.then(|| format!("says {}", ended.stderr)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[track_caller]
fn check(program: &Program) {
    if !program.is_here() {
        return skip(format!("no {}", program.path));
    }
    let trial = Trial { program, samples: program.samples() };
    let (mut faults, mut n_exempt) = (Vec::new(), 0);
    let mut cases = table(TABLE);
    if program.is_own() {
        cases.extend(table(OWN_TABLE));
    }
    let n_cases = cases.len();
    for (line, exempt) in cases {
        let found = trial.faults(&Case::of(line, program));
        let reason = exempt.iter().find(|reason| reason.split(':').next() == Some(program.path));
        n_exempt += usize::from(reason.is_some());
        match reason {
            None => faults.extend(found.iter().map(|fault| format!("{line}\n    {fault}"))),
            Some(reason) if found.is_empty() => println!("not so here: {line}\n    {reason}"),
            Some(_) => {}
        }
    }
    println!("{n_cases} cases, {n_exempt} of them otherwise: {}", program.path);
    if program.is_own() {
        assert!(faults.is_empty(), "{} does otherwise:\n{}", program.path, faults.join("\n"));
    } else if !faults.is_empty() {
        println!("this version of {} does otherwise:\n{}", program.path, faults.join("\n"));
    }
}

#[test]
fn this_program_does_what_the_table_says() {
    check(&LLMZIP);
}

#[test]
fn zstd_does_what_the_table_says() {
    check(&ZSTD);
}

#[test]
fn xz_does_what_the_table_says() {
    check(&XZ);
}

#[test]
fn gzip_does_what_the_table_says() {
    check(&GZIP);
}
