//! The check that only trusted users can write a catalogue.
//!
//! A catalogue names programs that the daemon runs, so the right to write it grants all rights of the daemon. As sudo
//! does with its own files, the daemon accepts only files that belong to root or to its own user, and that no other
//! user can write.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::{Group, Uid, User};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Checks a file or a folder.
///
/// # Errors
/// Which other users could write it, and the remedy.
pub(super) fn check(found: &Metadata) -> Result<(), String> {
    let owner = Uid::from_raw(found.uid());
    let mode = found.permissions().mode();
    if !owner.is_root() && owner != Uid::effective() {
        Err(format!(
            "it belongs to user {owner}, who could make gemmad run anything; `chown root` it"
        ))
    } else if mode & OTHERS_WRITE != 0 {
        Err("everybody may write it and make gemmad run anything; `chmod o-w` it".into())
    } else if mode & GROUP_WRITES != 0 && !is_private(owner, found.gid()) {
        Err("its group may write it and make gemmad run anything; `chmod g-w` it".into())
    } else {
        Ok(())
    }
}

/// Whether the group is the owner's private group, which many systems create for each user, without other members.
fn is_private(owner: Uid, group: u32) -> bool {
    let user = User::from_uid(owner).ok().flatten();
    let group = Group::from_gid(group.into()).ok().flatten();
    let (Some(user), Some(group)) = (user, group) else {
        return false;
    };
    group.gid == user.gid
        && group.name == user.name
        && group.mem.iter().all(|member| *member == user.name)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn what_others_may_write_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home.toml");
        fs::write(&path, "").unwrap();
        let check = |mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            check(&fs::metadata(&path).unwrap())
        };
        assert_eq!(check(0o644), Ok(()));
        assert_eq!(check(0o600), Ok(()));
        assert!(check(0o646).unwrap_err().contains("everybody may write it"));
        let found = fs::metadata("/").unwrap();
        assert_eq!(super::check(&found), Ok(()));
    }
}
