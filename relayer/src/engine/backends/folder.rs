//! Folders of compiled code, which nobody else may write to: what lies there is run.

use std::{fs, io, path::Path};

/// Makes a folder, if there is none, that nobody else can write to.
///
/// # Errors
/// The system's, or `PermissionDenied` for a folder of somebody else's, or that others can write to.
pub(in crate::engine) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(folder)?;
        let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return refused("it is somebody else's, and what lies there is run");
        }
        if metadata.mode() & 0o022 != 0 {
            return refused("others can write to it, and what lies there is run: take their permission (chmod go-w)");
        }
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("a/judge");
        make_private(&made).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&made, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(make_private(&made).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
