//! What only a real directory can show: modes, links, foreign files, other processes.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::conformance;

struct Place {
    dir: RealDir,
    path: tempfile::TempDir,
}

fn place() -> Place {
    let path = tempfile::tempdir().unwrap();
    Place { dir: RealDir::open(path.path(), false).unwrap(), path }
}

fn put(dir: &RealDir, path: &str, bytes: &[u8]) {
    let file = dir.create(path).unwrap();
    file.write_at(0, &[bytes]).unwrap();
    file.seal().unwrap();
}

#[test]
fn conforms() {
    let base = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    for map_above_bytes in [RealOptions::default().map_above_bytes, 0, u64::MAX] {
        conformance::dir(&|| {
            made.set(made.get() + 1);
            let options = RealOptions { create: true, map_above_bytes, ..RealOptions::default() };
            Arc::new(RealDir::open_with(&base.path().join(made.get().to_string()), options).unwrap())
        });
    }
}

#[test]
fn the_root_is_made_only_when_asked() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("a/b/c");
    let error = RealDir::open(&path, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("a/b/c"), "{error}");
    let made = RealDir::open(&path, true).unwrap();
    let through_dots = base.path().join("a/../a/b/c");
    assert_eq!(made.identity().unwrap(), RealDir::open(&through_dots, true).unwrap().identity().unwrap());
    std::fs::write(base.path().join("file"), b"").unwrap();
    assert_eq!(RealDir::open(&base.path().join("file"), true).unwrap_err().kind(), ErrorKind::NotADirectory);
}

#[test]
fn sealed_files_are_read_only_and_only_they_are_mapped() {
    let Place { dir, path } = place();
    put(&dir, "sealed", &[7; 100_000]);
    assert_eq!(std::fs::metadata(path.path().join("sealed")).unwrap().permissions().mode() & 0o777, 0o444);
    let maps_of = |name: &str| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let name = path.path().join(name);
        maps.lines().filter(|line| line.ends_with(name.to_str().unwrap())).count()
    };
    let mapped = dir.open("sealed").unwrap();
    assert_eq!((maps_of("sealed"), mapped[99_999]), (1, 7));
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = descriptors.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    assert_eq!(targets.filter(|target| target.ends_with("sealed")).count(), 0, "the descriptor is closed");
    drop(mapped);
    assert_eq!(maps_of("sealed"), 0);

    dir.create("open").unwrap().write_at(0, &[&[7; 100_000]]).unwrap();
    let copied = dir.open("open").unwrap();
    assert_eq!((maps_of("open"), copied.len()), (0, 100_000));
    put(&dir, "small", &[7; 1000]);
    let small = dir.open("small").unwrap();
    assert_eq!((maps_of("small"), small.len()), (0, 1000));
}

#[test]
fn symbolic_links_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let Place { dir, path } = place();
    symlink(outside.path(), path.path().join("folder")).unwrap();
    symlink(outside.path().join("secret"), path.path().join("file")).unwrap();
    symlink(outside.path().join("new"), path.path().join("dangling")).unwrap();
    for tried in ["folder/secret", "file", "dangling"] {
        assert!(dir.open(tried).is_err(), "{tried}");
        assert!(dir.create(tried).is_err(), "{tried}");
        assert!(dir.lock(tried, LockKind::Exclusive).is_err(), "{tried}");
    }
    assert!(
        dir.list("folder").is_err() && dir.make_dir("folder/x").is_err() && dir.sync_dir("folder").is_err()
    );
    assert_eq!(dir.list("").unwrap(), [], "links are not listed");
    // Removing removes the link, not what it leads to; also inside a tree.
    dir.make_dir("tree").unwrap();
    symlink(outside.path(), path.path().join("tree/link")).unwrap();
    dir.remove("tree").unwrap();
    dir.remove("folder").unwrap();
    dir.replace("file", b"ours").unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn foreign_things_are_left_alone_but_go_with_their_folder() {
    let Place { dir, path } = place();
    dir.make_dir("a").unwrap();
    std::fs::create_dir(path.path().join("a/lost+found")).unwrap();
    std::fs::write(path.path().join("a/with space"), b"").unwrap();
    rustix::fs::mknodat(CWD, path.path().join("a/pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .unwrap();
    assert_eq!(dir.list("a").unwrap(), []);
    assert_eq!(dir.open("a/pipe").unwrap_err().kind(), ErrorKind::InvalidInput);
    dir.remove("a").unwrap();
    assert_eq!(dir.list("").unwrap(), []);
}

#[test]
fn errors_name_what_failed() {
    let Place { dir, .. } = place();
    let text = dir.open("segments/7/rows").unwrap_err().to_string();
    assert_eq!(text, "cannot open segments/7/rows: No such file or directory (os error 2)");
}

#[test]
fn the_working_directory_does_not_matter() {
    let base = tempfile::tempdir().unwrap();
    let dir = RealDir::open(&base.path().join("before"), true).unwrap();
    put(&dir, "file", b"1");
    std::fs::rename(base.path().join("before"), base.path().join("after")).unwrap();
    assert_eq!(&dir.open("file").unwrap()[..], b"1");
}

/// The test binary, started again by the tests below: takes the lock named by the environment and prints what came of it.
#[test]
fn child_takes_the_lock() {
    let Some(path) = std::env::var_os("NEARFIELD_TEST_LOCK_DIR") else { return };
    match RealDir::open(Path::new(&path), false).unwrap().lock("LOCK", LockKind::Exclusive) {
        // Nothing is cleaned up on this way out.
        Ok(lock) => {
            println!("child: got it");
            std::mem::forget(lock);
        }
        Err(error) => println!("child: {error}"),
    }
}

fn child(path: &Path) -> String {
    let own = std::env::current_exe().unwrap();
    let child = Command::new(own)
        .args(["--exact", "real::tests::child_takes_the_lock", "--nocapture"])
        .env("NEARFIELD_TEST_LOCK_DIR", path)
        .output()
        .unwrap();
    String::from_utf8(child.stdout).unwrap()
}

#[test]
fn another_process_is_told_who_holds_the_lock() {
    let Place { dir, path } = place();
    let lock = dir.lock("LOCK", LockKind::Exclusive).unwrap();
    let told = child(path.path());
    assert!(told.contains(&format!("child: held by process {}", std::process::id())), "{told}");
    drop(lock);
    assert!(child(path.path()).contains("child: got it"));
    drop(dir.lock("LOCK", LockKind::Exclusive).expect("the end of the process released it"));
}

#[test]
fn network_file_systems_are_known() {
    let base = tempfile::tempdir().unwrap();
    let root = openat(CWD, base.path(), FOLDER, Mode::empty()).unwrap();
    assert!(check_file_system(&root).is_ok());
    assert!(UNSUPPORTED_FS.iter().all(|(magic, _)| *magic <= u64::from(u32::MAX)));
}
