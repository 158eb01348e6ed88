//! The folder that a run writes into, removed at its end.

use std::path::{Path, PathBuf};

use crate::Result;

/// A folder of this process alone.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// A fresh folder below `parent`; by default beside the build, which is a disk and no memory file system as a rule.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Place> {
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None => beside_the_build(),
        };
        let folder = parent.join(format!("nearfield-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Place(folder))
    }

    /// The path of something inside.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Removes a file or folder inside, so that a later part starts with the disk as the first did.
    pub(crate) fn remove(&self, name: &str) -> Result {
        let path = self.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path)?
        } else {
            std::fs::remove_file(path)?
        };
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} is left behind: {error}", self.0.display());
        }
    }
}

/// `<target>/bench-data`: this program stands in `<target>/release`.
fn beside_the_build() -> PathBuf {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    target.map_or_else(std::env::temp_dir, Path::to_owned).join("bench-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::new(Some(parent.path())).unwrap();
        std::fs::write(place.join("a"), b"x").unwrap();
        std::fs::create_dir(place.join("b")).unwrap();
        place.remove("b").unwrap();
        assert!(place.join("a").exists() && !place.join("b").exists());
        drop(place);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
