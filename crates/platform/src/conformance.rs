//! What every [`Dir`] must do, as one suite: `conformance::dir(&|| ...)` from a test.
//!
//! It shows what can be seen without a power cut; what survives one is shown by `FaultyDir`. A case panics with the line that
//! failed, as tests do.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use nearfield_codec::{BLOCK_BYTES, ContainerError, ContainerWriter, FileTag};

use crate::dir::{BlobError, Dir, Entry, File, LockError, LockKind};

const FINE: &str = "the directory is healthy and the call is within the contract";

/// Runs the whole suite, each case in a new, empty directory that `make` gives.
///
/// # Panics
///
/// Where the directory breaks the contract.
pub fn dir(make: &dyn Fn() -> Arc<dyn Dir>) {
    let cases: [fn(&dyn Dir); 17] = [
        paths_are_checked,
        folders,
        create_is_exclusive,
        bytes_come_back,
        writing_out_of_order,
        opening_while_writing,
        sealing,
        reserving,
        renaming,
        renaming_while_writing,
        overwriting,
        linking,
        removing,
        replacing,
        locking,
        blobs,
        space_and_sync,
    ];
    for case in cases {
        case(&*make());
    }
    races(&make());
    let (one, other) = (make(), make());
    assert_eq!(one.identity().expect(FINE), one.identity().expect(FINE));
    assert_ne!(one.identity().expect(FINE), other.identity().expect(FINE));
}

#[track_caller]
fn refused<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("expected {kind:?}, got success"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

/// A finished file.
#[track_caller]
fn put(dir: &dyn Dir, path: &str, bytes: &[u8]) {
    let file = dir.create(path).expect(FINE);
    file.write_at(0, &[bytes]).expect(FINE);
    file.sync().expect(FINE);
    file.seal().expect(FINE);
}

#[track_caller]
fn holds(dir: &dyn Dir, path: &str, bytes: &[u8]) {
    assert!(dir.open(path).expect(FINE)[..] == *bytes, "{path} holds other bytes");
}

#[track_caller]
fn names(dir: &dyn Dir, path: &str) -> Vec<String> {
    dir.list(path).expect(FINE).into_iter().map(|entry| entry.name).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn paths_are_checked(dir: &dyn Dir) {
    dir.make_dir("a").expect(FINE);
    let long = "x".repeat(256);
    for path in ["/a", "a/", "..", "../a", "a/../a", "./a", "a//a", "a\\b", "a\0b", "a b", "\u{e4}", &long] {
        refused(dir.create(path), ErrorKind::InvalidInput);
        refused(dir.open(path), ErrorKind::InvalidInput);
        refused(dir.replace(path, b""), ErrorKind::InvalidInput);
        refused(dir.make_dir(path), ErrorKind::InvalidInput);
        refused(dir.rename("a", path), ErrorKind::InvalidInput);
        refused(dir.rename(path, "b"), ErrorKind::InvalidInput);
        refused(dir.link(path, "b"), ErrorKind::InvalidInput);
        refused(dir.remove(path), ErrorKind::InvalidInput);
        refused(dir.list(path), ErrorKind::InvalidInput);
        refused(dir.sync_dir(path), ErrorKind::InvalidInput);
        let locked = dir.lock(path, LockKind::Exclusive).expect_err("a bad path");
        assert!(matches!(locked, LockError::Io(error) if error.kind() == ErrorKind::InvalidInput));
    }
    refused(dir.create(""), ErrorKind::InvalidInput);
    refused(dir.remove(""), ErrorKind::InvalidInput);
    assert_eq!(names(dir, ""), ["a"]);
}

fn folders(dir: &dyn Dir) {
    dir.make_dir("").expect(FINE);
    dir.make_dir("a/b/c").expect(FINE);
    dir.make_dir("a/b").expect(FINE);
    put(dir, "a/file", b"123");
    put(dir, "a/b/file", b"");
    let entry = |name: &str, is_dir, len| Entry { name: name.to_owned(), is_dir, len };
    assert_eq!(dir.list("").expect(FINE), [entry("a", true, 0)]);
    assert_eq!(dir.list("a").expect(FINE), [entry("b", true, 0), entry("file", false, 3)]);
    assert_eq!(dir.list("a/b/c").expect(FINE), []);
    refused(dir.list("x"), ErrorKind::NotFound);
    refused(dir.list("a/file"), ErrorKind::NotADirectory);
    refused(dir.make_dir("a/file"), ErrorKind::NotADirectory);
    refused(dir.create("a/file/x"), ErrorKind::NotADirectory);
    refused(dir.create("x/y"), ErrorKind::NotFound);
    refused(dir.sync_dir("x"), ErrorKind::NotFound);
}

fn create_is_exclusive(dir: &dyn Dir) {
    put(dir, "file", b"old");
    dir.make_dir("folder").expect(FINE);
    refused(dir.create("file"), ErrorKind::AlreadyExists);
    refused(dir.create("folder"), ErrorKind::AlreadyExists);
    holds(dir, "file", b"old");
}

fn bytes_come_back(dir: &dyn Dir) {
    for len in [0, 1, 4096, 64 * 1024, 64 * 1024 + 1, 300_000] {
        let path = format!("file-{len}");
        put(dir, &path, &pattern(len));
        let region = dir.open(&path).expect(FINE);
        assert!(region[..] == pattern(len));
        assert!(len == 0 || (region.as_ptr() as usize).is_multiple_of(64));
    }
    refused(dir.open("missing"), ErrorKind::NotFound);
    dir.make_dir("folder").expect(FINE);
    refused(dir.open("folder"), ErrorKind::IsADirectory);
}

fn writing_out_of_order(dir: &dyn Dir) {
    let file = dir.create("file").expect(FINE);
    file.write_at(5, &[b"five"]).expect(FINE);
    file.write_at(0, &[b"a", b"", b"bc"]).expect(FINE);
    file.write_at(6, &[]).expect(FINE);
    file.write_at(100, &[b""]).expect(FINE);
    holds(dir, "file", b"abc\0\0five");
    // More parts than one system call takes.
    let bytes = pattern(3000);
    let parts: Vec<&[u8]> = bytes.chunks(1).collect();
    file.write_at(1, &parts).expect(FINE);
    assert!(dir.open("file").expect(FINE)[1..] == bytes[..]);
}

fn opening_while_writing(dir: &dyn Dir) {
    let file = dir.create("file").expect(FINE);
    holds(dir, "file", b"");
    file.write_at(0, &[&pattern(100_000)]).expect(FINE);
    let before = dir.open("file").expect(FINE);
    file.write_at(0, &[&[255; 200_000]]).expect(FINE);
    assert!(before[..] == pattern(100_000), "a later write changed what a reader holds");
    holds(dir, "file", &[255; 200_000]);
}

fn sealing(dir: &dyn Dir) {
    let file = dir.create("file").expect(FINE);
    file.write_at(0, &[b"done"]).expect(FINE);
    file.sync().expect(FINE);
    file.seal().expect(FINE);
    refused(file.write_at(0, &[b"more"]), ErrorKind::PermissionDenied);
    refused(file.reserve(1000), ErrorKind::PermissionDenied);
    file.sync().expect(FINE);
    file.seal().expect(FINE);
    holds(dir, "file", b"done");
    dir.remove("file").expect(FINE);
}

fn reserving(dir: &dyn Dir) {
    let file = dir.create("file").expect(FINE);
    file.reserve(0).expect(FINE);
    file.write_at(0, &[b"abc"]).expect(FINE);
    file.reserve(100_000).expect(FINE);
    file.reserve(10).expect(FINE);
    let mut bytes = vec![0; 100_000];
    bytes[..3].copy_from_slice(b"abc");
    holds(dir, "file", &bytes);
    file.write_at(99_999, &[b"xy"]).expect(FINE);
    assert_eq!(dir.list("").expect(FINE)[0].len, 100_001);
}

fn renaming(dir: &dyn Dir) {
    dir.make_dir("staging/x").expect(FINE);
    dir.make_dir("segments").expect(FINE);
    put(dir, "staging/x/file", b"1");
    put(dir, "other", b"2");
    refused(dir.rename("missing", "b"), ErrorKind::NotFound);
    refused(dir.rename("other", "missing/b"), ErrorKind::NotFound);
    refused(dir.rename("other", "staging/x/file"), ErrorKind::AlreadyExists);
    refused(dir.rename("other", "segments"), ErrorKind::AlreadyExists);
    refused(dir.rename("staging/x", "segments"), ErrorKind::AlreadyExists);
    refused(dir.rename("other", "other"), ErrorKind::AlreadyExists);
    refused(dir.rename("staging", "staging/x/y"), ErrorKind::InvalidInput);
    holds(dir, "other", b"2");
    dir.rename("staging/x", "segments/7").expect(FINE);
    dir.sync_dir("segments").expect(FINE);
    dir.sync_dir("staging").expect(FINE);
    holds(dir, "segments/7/file", b"1");
    assert_eq!(names(dir, "staging"), [""; 0]);
    dir.rename("other", "segments/8").expect(FINE);
    assert_eq!(names(dir, ""), ["segments", "staging"]);
}

fn renaming_while_writing(dir: &dyn Dir) {
    let file = dir.create("next.tmp").expect(FINE);
    file.write_at(0, &[b"one"]).expect(FINE);
    dir.rename("next.tmp", "next.log").expect(FINE);
    file.write_at(3, &[b"two"]).expect(FINE);
    file.sync().expect(FINE);
    holds(dir, "next.log", b"onetwo");
}

fn overwriting(dir: &dyn Dir) {
    put(dir, "a", b"a");
    put(dir, "b", b"b");
    dir.make_dir("folder").expect(FINE);
    let before = dir.open("b").expect(FINE);
    dir.overwrite("a", "b").expect(FINE);
    assert_eq!(&before[..], b"b");
    holds(dir, "b", b"a");
    dir.overwrite("b", "c").expect(FINE);
    refused(dir.overwrite("c", "folder"), ErrorKind::IsADirectory);
    refused(dir.overwrite("missing", "c"), ErrorKind::NotFound);
    assert_eq!(names(dir, ""), ["c", "folder"]);
}

fn linking(dir: &dyn Dir) {
    put(dir, "a", b"shared");
    dir.make_dir("folder").expect(FINE);
    match dir.link("a", "folder/b") {
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        linked => linked.expect(FINE),
    }
    refused(dir.link("a", "folder/b"), ErrorKind::AlreadyExists);
    refused(dir.link("a", "folder"), ErrorKind::AlreadyExists);
    refused(dir.link("missing", "c"), ErrorKind::NotFound);
    refused(dir.link("folder", "c"), ErrorKind::PermissionDenied);
    dir.remove("a").expect(FINE);
    holds(dir, "folder/b", b"shared");
}

fn removing(dir: &dyn Dir) {
    dir.make_dir("a/b/c/d").expect(FINE);
    put(dir, "a/b/c/file", b"1");
    put(dir, "a/file", b"2");
    let region = dir.open("a/file").expect(FINE);
    dir.remove("a/file").expect(FINE);
    refused(dir.remove("a/file"), ErrorKind::NotFound);
    dir.remove("a").expect(FINE);
    refused(dir.list("a"), ErrorKind::NotFound);
    assert_eq!(&region[..], b"2", "a removed file is gone for its reader too");
    let file = dir.create("open").expect(FINE);
    dir.remove("open").expect(FINE);
    file.write_at(0, &[b"nobody will see it"]).expect(FINE);
    file.sync().expect(FINE);
    assert_eq!(names(dir, ""), [""; 0]);
}

fn replacing(dir: &dyn Dir) {
    dir.make_dir("folder").expect(FINE);
    for bytes in [&b"first"[..], b"", b"third"] {
        dir.replace("CURRENT", bytes).expect(FINE);
        holds(dir, "CURRENT", bytes);
    }
    dir.replace("folder/CURRENT", b"x").expect(FINE);
    refused(dir.replace("folder", b"x"), ErrorKind::IsADirectory);
    refused(dir.replace("missing/CURRENT", b"x"), ErrorKind::NotFound);
    // A leftover of a killed process is in nobody's way.
    put(dir, "folder/replace-0.tmp", b"left");
    dir.replace("folder/CURRENT", b"y").expect(FINE);
    holds(dir, "folder/CURRENT", b"y");
    assert_eq!(names(dir, ""), ["CURRENT", "folder"]);
    assert_eq!(names(dir, "folder"), ["CURRENT", "replace-0.tmp"]);
}

fn locking(dir: &dyn Dir) {
    let holder_of = |kind| match dir.lock("LOCK", kind) {
        Err(LockError::Held { holder }) => holder,
        other => panic!("expected a held lock, got {other:?}"),
    };
    let lock = dir.lock("LOCK", LockKind::Exclusive).expect("nobody holds it");
    for kind in [LockKind::Exclusive, LockKind::Shared] {
        let holder = holder_of(kind).expect("the holder wrote its name");
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.since_ms > 1_600_000_000_000);
    }
    drop(dir.lock("OTHER", LockKind::Exclusive).expect("another file is another lock"));
    drop(lock);
    let shared = [(); 3].map(|()| dir.lock("LOCK", LockKind::Shared).expect("shared locks agree"));
    assert_eq!(holder_of(LockKind::Exclusive), None);
    drop(shared);
    drop(dir.lock("LOCK", LockKind::Exclusive).expect("all were released"));
    // A lock on a removed file is a lock on nothing.
    let old = dir.lock("LOCK", LockKind::Exclusive).expect("released");
    dir.remove("LOCK").expect(FINE);
    drop(dir.lock("LOCK", LockKind::Exclusive).expect("a new file"));
    drop(old);
    assert_eq!(names(dir, ""), ["LOCK", "OTHER"]);
}

fn blobs(dir: &dyn Dir) {
    let tag = FileTag::new(*b"NFcf", 1, 1);
    let mut writer = ContainerWriter::new(Vec::new(), tag).expect("memory takes all");
    writer.section(3).and_then(|()| writer.write(&pattern(3 * BLOCK_BYTES))).expect("memory takes all");
    let (mut bytes, summary) = writer.finish().expect("memory takes all");
    put(dir, "good", &bytes);
    bytes[2 * BLOCK_BYTES + 9] ^= 1;
    put(dir, "bad", &bytes);

    let good = dir.blob("good", tag).expect("an undamaged container");
    assert_eq!((good.file_len(), good.tables_crc()), (summary.length, summary.tables_crc));
    let section = good.section(3).expect("it was written");
    let mut read = Vec::new();
    good.read_many(&[section], &mut |_, part| read.extend_from_slice(part)).expect("an undamaged body");
    assert!(read == pattern(3 * BLOCK_BYTES));
    good.verify_all().expect("an undamaged body");

    let bad = dir.blob("bad", tag).expect("the frame is undamaged");
    let at = 2 * BLOCK_BYTES as u64;
    let (sound, damaged) = ([0..10, 0..at], [10..20, at..at + 1]);
    for _ in 0..2 {
        bad.read_many(&sound, &mut |_, _| ()).expect("these blocks are undamaged");
        let error = bad.read_many(&damaged, &mut |_, _| ()).expect_err("this block is damaged");
        assert!(matches!(error, BlobError::Damaged(ContainerError::Block { block: 2, .. })), "{error}");
    }
    let other = dir.blob("good", FileTag::new(*b"NFzz", 1, 1)).expect_err("another tag");
    assert!(matches!(other, BlobError::Damaged(ContainerError::Tag(_))), "{other}");
    assert!(
        matches!(dir.blob("missing", tag), Err(BlobError::Io(error)) if error.kind() == ErrorKind::NotFound)
    );
}

fn space_and_sync(dir: &dyn Dir) {
    assert!(dir.free_space().expect(FINE) > 0);
    dir.sync_dir("").expect(FINE);
    let file = dir.create("file").expect(FINE);
    file.sync().expect(FINE);
}

/// Of several threads that create one name, one wins; writers of different ranges do not disturb each other.
fn races(dir: &Arc<dyn Dir>) {
    let won = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4).map(|_| scope.spawn(|| dir.create("one").is_ok())).collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    let file: Arc<dyn File> = dir.create("many").expect(FINE);
    std::thread::scope(|scope| {
        for part in 0..4u8 {
            let file = &file;
            scope.spawn(move || {
                for at in 0..100 {
                    file.write_at(u64::from(part) * 100 + at, &[&[part]]).expect(FINE);
                    file.sync().expect(FINE);
                }
            });
        }
    });
    let want: Vec<u8> = (0..400).map(|at| (at / 100) as u8).collect();
    holds(&**dir, "many", &want);
}
