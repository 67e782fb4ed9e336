//! Attributes that an output takes over from its input.

use crate::cli::input::OpenInput;
use filetime::FileTime;
use rustix::fs::Mode;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

/// Permission bits that are copied: no set-user-id, no set-group-id, no sticky bit.
const MODE_BITS: u32 = 0o777;

/// Sets mode, modification time, group, owner and access list of `input`; without one, the mode of any
/// new file. Only a privileged process may set any owner and group; failures to set them are ignored.
/// On an error nobody gains access.
pub fn take_over(file: &File, input: Option<&OpenInput>) -> io::Result<()> {
    let Some(OpenInput { file: source, metadata: Some(input), .. }) = input else {
        return file.set_permissions(Permissions::from_mode(mode_of_new_files()));
    };
    let has_group =
        file.metadata()?.gid() == input.gid() || fchown(file, None, Some(input.gid())).is_ok();
    let mode = match copy_access_list(source.file(), file, has_group) {
        AccessList::None if has_group => input.mode() & MODE_BITS,
        AccessList::None => mode_in_other_group(input.mode()),
        AccessList::Copied => input.mode() & MODE_BITS,
        AccessList::Lost => input.mode() & 0o700,
    };
    let has_mode = file.set_permissions(Permissions::from_mode(mode));
    let time = FileTime::from_last_modification_time(input);
    let has_time = filetime::set_file_handle_times(file, None, Some(time));
    let _ = fchown(file, Some(input.uid()), None); // last: the rest may be for the owner alone to set
    has_mode.and(has_time)
}

/// POSIX access list of an output: with one, the mode's bits for the group are only the most that
/// anybody on the list may do.
enum AccessList {
    None,
    Copied,
    /// The input has one, and the output has not.
    Lost,
}

#[cfg(target_os = "linux")]
fn copy_access_list(from: &File, to: &File, has_group: bool) -> AccessList {
    use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
    const NAME: &str = "system.posix_acl_access";
    const MOST: usize = 1 << 16; // what Linux allows an attribute
    let mut list = Vec::with_capacity(MOST);
    match fgetxattr(from, NAME, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) if has_group && fsetxattr(to, NAME, &list, XattrFlags::empty()).is_ok() => {
            AccessList::Copied
        }
        Ok(_) => AccessList::Lost,
        Err(_) => {
            let _ = fremovexattr(to, NAME); // one that the folder gave it
            AccessList::None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn copy_access_list(_: &File, _: &File, _: bool) -> AccessList {
    AccessList::None
}

/// Returns the part of `mode` that is safe for a file in another group: its members were `other`
/// before, and those of the old group are `other` now, so both get the permissions that both had.
fn mode_in_other_group(mode: u32) -> u32 {
    let both = mode >> 3 & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Returns read and write permission for all, minus the umask.
#[allow(clippy::useless_conversion, reason = "modes have 16 bits on macOS")]
fn mode_of_new_files() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    0o666 & !u32::from(mask.bits())
}
