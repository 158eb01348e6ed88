//! Loss models with known answers, and random workloads against an independent idea of what a disk may hold.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::conformance;

const SEEDS: u64 = 200;

fn write(dir: &FaultyDir, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = dir.create(path).unwrap();
    file.write_at(0, &[bytes]).unwrap();
    file
}

/// Every path of a directory, folders with `None`.
fn tree(dir: &dyn Dir) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in dir.list(&folder).unwrap() {
            let path = joined(&folder, &entry.name);
            let bytes = (!entry.is_dir).then(|| dir.open(&path).unwrap().to_vec());
            found.insert(path.clone(), bytes);
            folders.extend(entry.is_dir.then_some(path));
        }
    }
    found
}

fn names(dir: &dyn Dir) -> Vec<String> {
    tree(dir).into_keys().collect()
}

/// All different images a model gives.
fn images(dir: &FaultyDir, model: LossModel) -> BTreeSet<BTreeMap<String, Option<Vec<u8>>>> {
    (0..SEEDS).map(|seed| tree(&*dir.crash_image(model, seed))).collect()
}

#[test]
fn conforms() {
    conformance::dir(&|| FaultyDir::new());
}

#[test]
fn unsynced_bytes_are_lost_under_all_and_kept_under_none() {
    let dir = FaultyDir::new();
    let file = write(&dir, "a", b"synced");
    file.sync().unwrap();
    dir.sync_dir("").unwrap();
    file.write_at(0, &[b"S"]).unwrap();
    file.write_at(6, &[b" or not"]).unwrap();
    assert_eq!(&dir.crash_image(LossModel::All, 0).open("a").unwrap()[..], b"synced");
    assert_eq!(&dir.crash_image(LossModel::None, 0).open("a").unwrap()[..], b"Synced or not");
    file.sync().unwrap();
    for model in LossModel::ALL {
        assert_eq!(images(&dir, model).len(), 1, "all is synced");
        assert_eq!(&dir.crash_image(model, 0).open("a").unwrap()[..], b"Synced or not");
    }
}

#[test]
fn a_name_may_be_lost_though_its_bytes_were_synced() {
    let dir = FaultyDir::new();
    write(&dir, "a", b"bytes").sync().unwrap();
    assert_eq!(names(&*dir.crash_image(LossModel::All, 0)), [""; 0]);
    let found: BTreeSet<_> = images(&dir, LossModel::Random).into_iter().collect();
    let with = BTreeMap::from([("a".to_owned(), Some(b"bytes".to_vec()))]);
    assert_eq!(found, BTreeSet::from([BTreeMap::new(), with.clone()]));
    dir.sync_dir("").unwrap();
    assert_eq!(tree(&*dir.crash_image(LossModel::All, 0)), with);
}

#[test]
fn a_folder_is_lost_with_all_it_holds() {
    let dir = FaultyDir::new();
    dir.make_dir("a/b").unwrap();
    write(&dir, "a/b/file", b"bytes").sync().unwrap();
    dir.sync_dir("a/b").unwrap();
    dir.sync_dir("a").unwrap();
    assert_eq!(names(&*dir.crash_image(LossModel::All, 0)), [""; 0], "nobody synced the root");
    dir.sync_dir("").unwrap();
    assert_eq!(names(&*dir.crash_image(LossModel::All, 0)), ["a", "a/b", "a/b/file"]);
}

#[test]
fn a_rename_happens_whole_or_not_and_needs_both_folders() {
    let dir = FaultyDir::new();
    for folder in ["from", "to"] {
        dir.make_dir(folder).unwrap();
    }
    write(&dir, "from/x", b"bytes").sync().unwrap();
    dir.sync_dir("from").unwrap();
    dir.sync_dir("").unwrap();
    dir.rename("from/x", "to/y").unwrap();
    let either = || -> BTreeSet<Vec<String>> {
        images(&dir, LossModel::Random).iter().map(|image| image.keys().cloned().collect()).collect()
    };
    let (old, new) = (vec!["from", "from/x", "to"], vec!["from", "to", "to/y"]);
    let both = [&new, &old].map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(either(), BTreeSet::from(both.clone()));
    dir.sync_dir("to").unwrap();
    assert_eq!(either(), BTreeSet::from(both));
    dir.sync_dir("from").unwrap();
    assert_eq!(names(&*dir.crash_image(LossModel::All, 0)), new);
}

#[test]
fn a_synced_name_keeps_what_it_rests_on() {
    let dir = FaultyDir::new();
    for folder in ["a", "b"] {
        dir.make_dir(folder).unwrap();
    }
    write(&dir, "a/x", b"bytes").sync().unwrap();
    dir.sync_dir("").unwrap();
    dir.rename("a/x", "b/y").unwrap();
    dir.rename("b/y", "b/z").unwrap();
    dir.sync_dir("b").unwrap();
    assert_eq!(
        names(&*dir.crash_image(LossModel::All, 0)),
        ["a", "b", "b/z"],
        "the creation and the first rename come along"
    );
    assert_eq!(images(&dir, LossModel::Random).len(), 1, "nothing is left to be lost");
}

#[test]
fn removal_and_links_are_names_too() {
    let dir = FaultyDir::new();
    dir.make_dir("a").unwrap();
    let file = write(&dir, "a/x", b"bytes");
    file.sync().unwrap();
    file.seal().unwrap();
    dir.link("a/x", "y").unwrap();
    for folder in ["", "a"] {
        dir.sync_dir(folder).unwrap();
    }
    dir.remove("a").unwrap();
    assert_eq!(names(&*dir.crash_image(LossModel::None, 0)), ["y"]);
    assert_eq!(names(&*dir.crash_image(LossModel::All, 0)), ["a", "a/x", "y"]);
    let found: BTreeSet<Vec<String>> =
        images(&dir, LossModel::Random).iter().map(|image| image.keys().cloned().collect()).collect();
    assert_eq!(found.len(), 3, "both, the folder alone, none: {found:?}");
    dir.sync_dir("").unwrap();
    let image = dir.crash_image(LossModel::All, 0);
    assert_eq!((names(&*image), &image.open("y").unwrap()[..]), (vec!["y".to_owned()], &b"bytes"[..]));
    image.link("y", "z").expect("what stands after a crash is finished");
}

#[test]
fn sectors_are_reordered_but_never_mixed() {
    let dir = FaultyDir::new();
    let file = write(&dir, "a", &[0; 8192]);
    file.sync().unwrap();
    dir.sync_dir("").unwrap();
    file.write_at(100, &[&[1; 100]]).unwrap();
    file.write_at(200, &[&[2; 100]]).unwrap();
    file.write_at(4096, &[&[3; 10]]).unwrap();
    let found: BTreeSet<(u8, u8, u8)> = images(&dir, LossModel::Random)
        .into_iter()
        .map(|image| {
            let bytes = image["a"].as_ref().unwrap();
            assert!(
                bytes[100..200].iter().all(|&byte| byte == bytes[100]),
                "within a sector a write is whole"
            );
            (bytes[100], bytes[200], bytes[4096])
        })
        .collect();
    let want = [(0, 0, 0), (0, 0, 3), (1, 0, 0), (1, 0, 3), (1, 2, 0), (1, 2, 3)];
    assert_eq!(found, BTreeSet::from(want), "never the second write of a sector without the first");
    let prefixes: BTreeSet<(u8, u8, u8)> = images(&dir, LossModel::Prefix)
        .into_iter()
        .map(|image| image["a"].as_ref().map(|bytes| (bytes[100], bytes[200], bytes[4096])).unwrap())
        .collect();
    assert_eq!(prefixes, BTreeSet::from([(0, 0, 0), (1, 0, 0), (1, 2, 0), (1, 2, 3)]));
}

#[test]
fn the_last_write_is_torn_between_sectors() {
    let dir = FaultyDir::new();
    let file = dir.create("a").unwrap();
    dir.sync_dir("").unwrap();
    file.write_at(100, &[&[1; 10_000]]).unwrap();
    let lengths = |model| -> BTreeSet<usize> {
        images(&dir, model).into_iter().map(|image| image["a"].as_ref().unwrap().len()).collect()
    };
    let prefix = lengths(LossModel::Prefix);
    assert!(prefix.contains(&0) && prefix.contains(&10_100) && prefix.len() > 15, "{prefix:?}");
    assert!(prefix.iter().all(|len| len % 512 == 0 || *len == 10_100), "{prefix:?}");
    for image in images(&dir, LossModel::Prefix) {
        let bytes = image["a"].as_ref().unwrap();
        assert!(bytes.iter().skip(100).all(|&byte| byte == 1), "a prefix has no holes");
    }
    let holes = images(&dir, LossModel::Random).into_iter().any(|image| {
        let bytes = image["a"].as_ref().unwrap();
        bytes.len() == 10_100 && bytes[1000] == 0 && bytes[9000] == 1
    });
    assert!(holes, "a random image has the length without the bytes");
}

#[test]
fn a_replacement_is_old_or_new_at_every_call() {
    let dir = FaultyDir::new();
    dir.replace("a", b"old").unwrap();
    let before = dir.ops();
    dir.replace("a", &[7; 3000]).unwrap();
    let calls: Vec<Call> = (before..dir.ops()).map(|op| dir.op(op).unwrap().0).collect();
    assert_eq!(calls, [Call::Create, Call::Write, Call::Sync, Call::Overwrite, Call::SyncDir]);
    let mut seen = BTreeSet::new();
    for ops in before..=dir.ops() {
        for model in LossModel::ALL {
            for seed in 0..SEEDS {
                let bytes = dir.crash_image_at(ops, model, seed).open("a").unwrap().to_vec();
                assert!(bytes == b"old" || bytes == [7; 3000]);
                assert!(ops < dir.ops() || bytes != b"old", "a finished replacement is durable");
                seen.insert((ops, bytes.len()));
            }
        }
    }
    assert!(seen.contains(&(before + 4, 3)) && seen.contains(&(before + 4, 3000)), "both follow the rename");
    assert!(!seen.contains(&(before + 3, 3000)));
}

#[test]
fn a_failed_sync_is_never_made_good_by_a_later_one() {
    let dir = FaultyDir::new();
    let file = write(&dir, "a", &[0; 8192]);
    file.sync().unwrap();
    dir.sync_dir("").unwrap();
    file.write_at(0, &[&[1; 8192]]).unwrap();
    dir.fail_sync_after(0);
    let error = file.sync().unwrap_err();
    assert!(error.to_string().contains("sync a"), "{error}");
    file.sync().unwrap();
    assert!(dir.open("a").unwrap().iter().all(|&byte| byte == 1), "it can still be read");
    assert!(dir.crash_image(LossModel::All, 0).open("a").unwrap().iter().all(|&byte| byte == 0));
    // A page written again goes out whole; the other stays forgotten.
    file.write_at(5000, &[&[2; 1]]).unwrap();
    file.sync().unwrap();
    let bytes = dir.crash_image(LossModel::All, 0).open("a").unwrap();
    assert!(bytes[..4096].iter().all(|&byte| byte == 0) && bytes[4096..5000].iter().all(|&byte| byte == 1));
    assert_eq!(bytes[5000], 2);
    assert_eq!(dir.crash_image(LossModel::None, 0).open("a").unwrap()[0], 1);
}

#[test]
fn a_reservation_is_a_length_until_it_is_synced() {
    let dir = FaultyDir::new();
    let file = dir.create("a").unwrap();
    dir.sync_dir("").unwrap();
    file.reserve(1000).unwrap();
    assert_eq!(dir.crash_image(LossModel::All, 0).open("a").unwrap().len(), 0);
    assert_eq!(&dir.crash_image(LossModel::None, 0).open("a").unwrap()[..], [0; 1000]);
    dir.fail_sync_after(0);
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(dir.crash_image(LossModel::All, 0).open("a").unwrap().len(), 0);
}

#[test]
fn a_crash_during_recovery_can_be_looked_at_too() {
    let dir = FaultyDir::new();
    write(&dir, "a", b"first").sync().unwrap();
    let file = write(&dir, "b", b"first");
    file.sync().unwrap();
    file.seal().unwrap();
    dir.make_dir("folder").unwrap();
    dir.link("b", "folder/c").unwrap();
    for folder in ["", "folder"] {
        dir.sync_dir(folder).unwrap();
    }
    let again = FaultyDir::over(dir.crash_image(LossModel::All, 0));
    assert_eq!((tree(&*again), again.ops()), (tree(&*dir), 0));
    again.rename("a", "folder/a").unwrap();
    write(&again, "folder/d", b"second").sync().unwrap();
    assert_eq!(tree(&*again.crash_image(LossModel::All, 0)), tree(&*dir));
    again.sync_dir("folder").unwrap();
    again.sync_dir("").unwrap();
    assert_eq!(tree(&*again.crash_image(LossModel::All, 0)), tree(&*again));
    assert_eq!(names(&*again), ["b", "folder", "folder/a", "folder/c", "folder/d"]);
}

#[test]
fn labels_follow_renames() {
    let dir = FaultyDir::new();
    dir.make_dir("staging/x").unwrap();
    let file = write(&dir, "staging/x/f", b"1");
    dir.rename("staging/x", "done").unwrap();
    file.sync().unwrap();
    drop(dir.lock("LOCK", LockKind::Exclusive).unwrap());
    dir.remove("done").unwrap();
    let labels: Vec<(Call, String)> = (0..dir.ops()).map(|op| dir.op(op).unwrap()).collect();
    let want = [
        (Call::MakeDir, "staging"),
        (Call::MakeDir, "staging/x"),
        (Call::Create, "staging/x/f"),
        (Call::Write, "staging/x/f"),
        (Call::Rename, "done"),
        (Call::Sync, "done/f"),
        (Call::Lock, "LOCK"),
        (Call::Remove, "done/f"),
        (Call::Remove, "done"),
    ];
    assert_eq!(labels, want.map(|(call, path)| (call, path.to_owned())));
    assert_eq!(dir.op(want.len()), None);
}

#[test]
fn a_full_directory_records_what_it_took() {
    let dir = FaultyDir::over(MemoryDir::with_capacity(10));
    let file = write(&dir, "a", b"12345");
    assert_eq!(file.write_at(3, &[b"abc", b"defghi"]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(20, &[b"x"]).unwrap_err().kind(), ErrorKind::StorageFull);
    file.seal().unwrap();
    assert_eq!(file.write_at(0, &[b"x"]).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(&dir.open("a").unwrap()[..], b"123abcdefg");
    assert_eq!(tree(&*dir.crash_image(LossModel::None, 0)), tree(&*dir));
}

/// A call of a random workload; files are chosen among those open.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Write { file: usize, offset: usize, len: usize },
    Reserve { file: usize, len: usize },
    Sync(usize),
    Rename(u8, u8),
    Remove(u8),
    SyncDir(u8),
}

/// Names in two folders.
fn path(number: u8) -> String {
    format!("{}/{}", ["a", "b"][usize::from(number) % 2], number % 8)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Create),
        6 => (any::<usize>(), 0..6000usize, 1..5000usize).prop_map(|(file, offset, len)| Step::Write { file, offset, len }),
        1 => (any::<usize>(), 0..12_000usize).prop_map(|(file, len)| Step::Reserve { file, len }),
        2 => any::<usize>().prop_map(Step::Sync),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => any::<u8>().prop_map(Step::Remove),
        2 => any::<u8>().prop_map(Step::SyncDir),
    ]
}

/// A file, and all it has held since it was last synced. Its first byte tells it from others and is never changed.
struct Watched {
    file: Arc<dyn File>,
    states: Vec<Vec<u8>>,
}

struct Workload {
    dir: Arc<FaultyDir>,
    files: Vec<Watched>,
}

impl Workload {
    fn new() -> Self {
        let dir = FaultyDir::new();
        dir.make_dir("a").unwrap();
        dir.make_dir("b").unwrap();
        dir.sync_dir("").unwrap();
        Workload { dir, files: Vec::new() }
    }

    fn pick(&mut self, file: usize) -> Option<&mut Watched> {
        let count = self.files.len().max(1);
        self.files.get_mut(file % count)
    }

    fn run(&mut self, at: usize, step: &Step) {
        match *step {
            Step::Create(number) => {
                if let Ok(file) = self.dir.create(&path(number)) {
                    let number = self.files.len() as u8 + 1;
                    file.write_at(0, &[&[number]]).unwrap();
                    file.sync().unwrap();
                    self.files.push(Watched { file, states: vec![vec![number]] });
                }
            }
            Step::Write { file, offset, len } => {
                let Some(watched) = self.pick(file) else { return };
                let bytes = vec![at as u8; len];
                watched.file.write_at(1 + offset as u64, &[&bytes]).unwrap();
                watched.grow(1 + offset + len, |state| {
                    state[1 + offset..1 + offset + len].copy_from_slice(&bytes)
                });
            }
            Step::Reserve { file, len } => {
                let Some(watched) = self.pick(file) else { return };
                watched.file.reserve(len as u64).unwrap();
                watched.grow(len, |_| ());
            }
            Step::Sync(file) => {
                let Some(watched) = self.pick(file) else { return };
                watched.file.sync().unwrap();
                watched.states.drain(..watched.states.len() - 1);
            }
            Step::Rename(from, to) => drop(self.dir.rename(&path(from), &path(to))),
            Step::Remove(number) => drop(self.dir.remove(&path(number))),
            Step::SyncDir(folder) => self.dir.sync_dir(["a", "b"][usize::from(folder) % 2]).unwrap(),
        }
    }

    /// Every sector of every file is one that the file has held since its sync; no file has two names.
    fn check(&self, image: &MemoryDir) {
        let mut seen = BTreeSet::new();
        for (path, bytes) in tree(image).into_iter().filter_map(|(path, bytes)| Some((path, bytes?))) {
            assert!(seen.insert(bytes[0]), "{path} is there twice");
            let states = &self.files[usize::from(bytes[0]) - 1].states;
            let (shortest, longest) = (states[0].len(), states[states.len() - 1].len());
            assert!((shortest..=longest).contains(&bytes.len()), "{path} has {} bytes", bytes.len());
            for at in (0..bytes.len()).step_by(512) {
                let end = bytes.len().min(at + 512);
                let held =
                    |state: &Vec<u8>| (at..end).all(|at| state.get(at).copied().unwrap_or(0) == bytes[at]);
                assert!(states.iter().any(held), "{path} holds at {at} what it never held");
            }
        }
    }
}

impl Watched {
    fn grow(&mut self, len: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.states[self.states.len() - 1].clone();
        state.resize(len.max(state.len()), 0);
        change(&mut state);
        self.states.push(state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn images_hold_only_what_was_written(steps in proptest::collection::vec(step(), 1..60), seed: u64) {
        let mut workload = Workload::new();
        for (at, step) in steps.iter().enumerate() {
            workload.run(at + 1, step);
            for model in LossModel::ALL {
                workload.check(&workload.dir.crash_image(model, seed ^ at as u64));
            }
        }
        let live = tree(&*workload.dir);
        prop_assert_eq!(&tree(&*workload.dir.crash_image(LossModel::None, seed)), &live);
        prop_assert_eq!(&tree(&*workload.dir.crash_image(LossModel::Process, seed)), &live);
        // Going back gives what going forward gave.
        let (mut replay, ops) = (workload.dir.replay(), workload.dir.ops());
        let forward: Vec<_> = (0..=ops).map(|at| tree(&*replay.image(at, LossModel::Random, seed))).collect();
        let back: Vec<_> = (0..=ops).rev().map(|at| tree(&*replay.image(at, LossModel::Random, seed))).collect();
        prop_assert!(forward.iter().eq(back.iter().rev()));
        // What was all synced is all there.
        workload.files.iter().for_each(|watched| watched.file.sync().unwrap());
        workload.dir.sync_dir("a").unwrap();
        workload.dir.sync_dir("b").unwrap();
        for model in LossModel::ALL {
            prop_assert_eq!(&tree(&*workload.dir.crash_image(model, seed)), &live);
        }
    }
}
