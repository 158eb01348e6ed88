//! Every call fails when told, as told, and nothing else does.

use super::*;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::crash::LossModel;
use crate::faulty::FaultyDir;
use crate::memory::MemoryDir;
use crate::{RealDir, conformance};

fn faulty() -> (Arc<Faults>, Arc<FaultPlan>) {
    let plan = FaultPlan::new();
    (Faults::new(MemoryDir::new(), Arc::clone(&plan)), plan)
}

const ONCE: fn(Fault) -> Action = |fault| Action::Fail { fault, lasting: false };

/// A workload that stops at its first error.
fn workload(dir: &dyn Dir) -> io::Result<()> {
    dir.make_dir("a")?;
    let file = dir.create("a/file")?;
    file.reserve(4)?;
    file.write_at(0, &[b"abcdef", b"gh"])?;
    file.sync()?;
    file.seal()?;
    dir.sync_dir("a")?;
    dir.rename("a/file", "a/renamed")?;
    dir.link("a/renamed", "linked")?;
    dir.replace("CURRENT", b"1")?;
    dir.remove("a")?;
    dir.list("")?;
    dir.open("linked")?;
    drop(dir.lock("LOCK", LockKind::Exclusive).map_err(|error| io::Error::other(error.to_string()))?);
    dir.free_space()?;
    dir.identity()?;
    Ok(())
}

#[test]
fn conforms() {
    conformance::dir(&|| faulty().0);
}

#[test]
fn every_call_is_counted_and_fails_in_each_way() {
    let (dir, plan) = faulty();
    workload(&*dir).unwrap();
    let calls = plan.calls();
    assert_eq!(calls, 21, "16 calls, of which replace makes six");
    assert_eq!(
        (plan.calls_of(Call::Sync), plan.calls_of(Call::SyncDir), plan.calls_of(Call::Read)),
        (2, 2, 0)
    );
    for at in 0..calls {
        for fault in Fault::ALL {
            let (dir, plan) = faulty();
            plan.arm(at, ONCE(fault));
            let error = workload(&*dir).unwrap_err();
            assert_eq!(plan.fired(), 1, "call {at}: {error}");
            assert!(
                plan.calls() <= at + 2,
                "after an error only the temporary file of a replacement is removed"
            );
            if fault == Fault::NoSpace && !error.to_string().contains("LOCK") {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
            }
            let left = dir.list("").unwrap().into_iter().filter(|entry| entry.name.ends_with(".tmp")).count();
            assert_eq!(left, 0, "call {at}");
        }
    }
}

#[test]
fn errors_are_the_systems() {
    let raw = |fault: Fault| fault.error().raw_os_error();
    let want = [5, 28, 4, 122, 24, 5].map(Some);
    assert_eq!(Fault::ALL.map(raw), want);
    let (dir, plan) = faulty();
    plan.arm(0, ONCE(Fault::Interrupted));
    let error = dir.create("a/b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(error.to_string().contains("a/b"), "{error}");
}

#[test]
fn a_lasting_fault_lasts_and_a_kind_is_counted_alone() {
    let (dir, plan) = faulty();
    plan.arm_on(Call::Sync, 1, Action::Fail { fault: Fault::Io, lasting: true });
    let file = dir.create("a").unwrap();
    file.sync().unwrap();
    for _ in 0..3 {
        file.sync().unwrap_err();
        file.write_at(0, &[b"x"]).unwrap();
    }
    plan.disarm();
    file.sync().unwrap();
    assert_eq!(plan.fired(), 3);
}

#[test]
fn a_short_write_leaves_its_first_half() {
    let (dir, plan) = faulty();
    let file = dir.create("a").unwrap();
    plan.arm(1, ONCE(Fault::ShortWrite));
    file.write_at(2, &[b"abc", b"def"]).unwrap_err();
    assert_eq!(&dir.open("a").unwrap()[..], b"\0\0abc");
}

#[test]
fn a_full_disk_keeps_what_it_promised() {
    let (dir, plan) = faulty();
    let file = dir.create("a").unwrap();
    file.reserve(100).unwrap();
    plan.arm(0, Action::Full);
    file.write_at(10, &[b"inside"]).unwrap();
    file.reserve(50).unwrap();
    let full = [
        file.write_at(95, &[b"across"]),
        file.reserve(101),
        dir.create("b").map(drop),
        dir.make_dir("c"),
        dir.replace("a", b""),
    ];
    for result in full {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!((dir.open("a").unwrap().len(), dir.list("").unwrap().len()), (100, 1));
    dir.rename("a", "d").unwrap();
    dir.remove("d").unwrap();
    plan.disarm();
    dir.create("b").unwrap();
}

#[test]
fn sabotage_loses_what_was_promised() {
    for (sabotage, want) in [(None, 1), (Some(Sabotage::SkipDataSync), 0), (Some(Sabotage::SkipDirSync), 0)] {
        let (inner, plan) = (FaultyDir::new(), FaultPlan::new());
        let dir = Faults::new(Arc::clone(&inner) as Arc<dyn Dir>, Arc::clone(&plan));
        if let Some(sabotage) = sabotage {
            plan.sabotage(sabotage, true);
        }
        dir.replace("a", b"x").unwrap();
        let image = inner.crash_image(LossModel::All, 0);
        let kept = image.list("").unwrap().iter().filter(|entry| entry.name == "a" && entry.len == 1).count();
        assert_eq!(kept, want, "{sabotage:?}");
    }
}

#[test]
fn blobs_fail_too() {
    let tag = FileTag::new(*b"NFft", 1, 1);
    let (dir, plan) = faulty();
    let (bytes, _) = nearfield_codec::ContainerWriter::new(Vec::new(), tag).unwrap().finish().unwrap();
    dir.replace("a", &bytes).unwrap();
    let blob = dir.blob("a", tag).unwrap();
    plan.arm_on(Call::Read, 1, ONCE(Fault::Io));
    blob.verify_all().unwrap();
    assert!(matches!(blob.read_many(&[], &mut |_, _| ()), Err(BlobError::Io(_))));
    blob.verify_all().unwrap();
}

/// The test binary, started again by the test below: writes one byte, then is killed around the second write.
#[test]
fn child_is_killed() {
    let (Some(path), Ok(moment)) =
        (std::env::var_os("NEARFIELD_TEST_KILL_DIR"), std::env::var("NEARFIELD_TEST_KILL"))
    else {
        return;
    };
    let plan = FaultPlan::new();
    let dir = Faults::new(Arc::new(RealDir::open(path.as_ref(), false).unwrap()), Arc::clone(&plan));
    let moment = [Moment::Before, Moment::Midway, Moment::After][moment.parse::<usize>().unwrap()];
    plan.arm_on(Call::Write, 1, Action::Kill(moment));
    plan.on_fire(|call, path| eprintln!("killed at {call:?} {path}"));
    let file = dir.create("file").unwrap();
    file.write_at(0, &[b"12"]).unwrap();
    file.write_at(2, &[b"3456"]).unwrap();
    println!("child: still alive");
}

#[test]
fn a_kill_ends_the_process_at_the_call() {
    for (moment, want) in ["12", "1234", "123456"].into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::tests::child_is_killed", "--nocapture"])
            .env("NEARFIELD_TEST_KILL_DIR", place.path())
            .env("NEARFIELD_TEST_KILL", moment.to_string())
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(9));
        assert!(String::from_utf8_lossy(&child.stderr).contains("killed at Write file"));
        let dir = RealDir::open(place.path(), false).unwrap();
        assert_eq!(&dir.open("file").unwrap()[..], want.as_bytes());
    }
}
