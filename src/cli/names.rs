//! File names: made safe to print, and with the suffix of archives on and off.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Suffix of a packed directory, before that of archives.
pub const TAR: &str = ".tar";

/// Suffix of archives of tar files, as in `.tgz`.
pub const SHORT_TAR: &str = ".tllmz";

/// Returns `path` with the characters escaped that control a terminal or the direction of text.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy(), false)
}

/// Escapes a message, which may quote a foreign file, in the same way but keeps line breaks.
pub fn printable(message: &str) -> String {
    escaped(message, true)
}

fn escaped(text: &str, keeps_lines: bool) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\n' if keeps_lines => out.push('\n'),
            '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                out.extend(character.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Returns `path` with `suffix` appended.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns `path` without `suffix`; `None` where it has none, or nothing else.
pub fn without_suffix(path: &Path, suffix: &str) -> Option<PathBuf> {
    let name = path.file_name()?.as_bytes().strip_suffix(suffix.as_bytes())?;
    (!name.is_empty()).then(|| path.with_file_name(OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(shown(Path::new("a\x1b[2J\n\u{202e}b ü")), "a\\u{1b}[2J\\n\\u{202e}b ü");
        assert_eq!(shown(Path::new(OsStr::from_bytes(b"\xff"))), "\u{fffd}");
    }

    #[test]
    fn suffixes_go_on_and_off() {
        let path = Path::new(OsStr::from_bytes(b"d.llmz/\xff"));
        let archive = with_suffix(path, ".llmz");
        assert_eq!(without_suffix(&archive, ".llmz").as_deref(), Some(path));
        for other in ["a", "a.llmz/b", ".llmz", "d/.llmz", "allmz", ".."] {
            assert_eq!(without_suffix(Path::new(other), ".llmz"), None, "{other}");
        }
    }
}
