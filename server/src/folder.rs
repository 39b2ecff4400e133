//! Folders that only their owner may enter, where the system knows of owners.

use std::io;
use std::path::Path;

/// Makes a folder and those above it that are missing, for their owner only (0700). What is there stays as it is.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// As [`make`]; a folder that is there is closed to everybody but its owner.
pub(crate) fn make_closed(folder: &Path) -> io::Result<()> {
    make(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mut permissions = std::fs::metadata(folder)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            permissions.set_mode(0o700);
            // Some volumes know no owners, or give them out by themselves: that is no reason not to serve from them.
            if let Err(error) = std::fs::set_permissions(folder, permissions) {
                tracing::warn!(folder = %folder.display(), %error, "others may read the folder: it cannot be closed to them");
            }
        }
    }
    Ok(())
}
