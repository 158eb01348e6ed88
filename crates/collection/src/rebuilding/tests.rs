//! However merges, builds, rebuilds and closing meet: what ends leaves no index of the settings before, and nobody at work.

use nearfield_platform::{Action, Dir, Fault, FaultPlan, Faults, MemoryDir};
use nearfield_types::Metric;

use super::*;
use crate::collection::{CollectionOptions, Durability};
use crate::config::{CollectionConfig, IndexConfig};
use crate::point::Point;

const UUID: [u8; 16] = [7; 16];

fn memory() -> Arc<dyn Dir> {
    MemoryDir::new()
}

fn create(dir: &Arc<dyn Dir>) -> Arc<Collection> {
    let options =
        CollectionOptions { durability: Durability::Sync, index_threads: 1, ..CollectionOptions::system() };
    dir.make_dir("c").unwrap();
    Collection::create(dir, "c", UUID, &CollectionConfig::new(2, Metric::Euclid), &options).unwrap();
    Collection::open(dir, "c", UUID, options).unwrap().0
}

/// A sealed segment of these rows, without an index.
fn seal(c: &Collection, ids: std::ops::Range<u64>) {
    let point = |id: u64| Point::new(id, vec![(id * 7_919 % 2_003) as f32, (id * 104_729 % 1_999) as f32]);
    c.upsert(ids.map(point).collect()).unwrap();
    c.flush().unwrap();
}

fn wide() -> IndexConfig {
    IndexConfig { m: 24, ..IndexConfig::default() }
}

/// The links of the graphs on level 0.
fn links(c: &Collection) -> Vec<u32> {
    c.view().graph_stats("").iter().map(|one| (one.degrees.len() as u32 - 1) / 2).collect()
}

fn unindexed(c: &Collection) -> (u64, Arc<Sealed>) {
    let version = c.current.load_full();
    let member = version.settled().last().unwrap();
    match &member.segment {
        Segment::Sealed(sealed) if sealed.indexed(0).is_none() => {
            (member.number.unwrap(), Arc::clone(sealed))
        }
        _ => panic!("it has an index"),
    }
}

#[test]
fn a_first_index_of_earlier_settings_is_waited_for_and_built_anew() {
    let c = create(&memory());
    seal(&c, 0..1_100);
    let building = c.indexing.building.lock();
    let (number, sealed) = unindexed(&c);
    let made = c.make_index(number, &sealed, 0, None, &|_, _, _| Ok(())).unwrap();
    c.set_index("", wide()).unwrap();
    std::thread::scope(|scope| {
        let rebuild = scope.spawn(|| c.rebuild(None, &Progress::default()));
        c.exchange(&mut c.checkpoint.lock(), number, 0, made).unwrap();
        assert_eq!(links(&c), [16]);
        drop(building);
        rebuild.join().unwrap().unwrap();
    });
    assert_eq!((links(&c), c.is_rebuilding()), (vec![24], false));
}

#[test]
fn whoever_rebuilds_waits_for_a_merge_and_the_background_does_not() {
    let c = create(&memory());
    seal(&c, 0..1_100);
    assert!(!c.maintain_indexes().unwrap());
    c.set_index("", wide()).unwrap();
    let merging = c.merging.one.lock();
    c.delete(&(0..600u64).map(Into::into).collect::<Vec<_>>()).unwrap();
    assert!(c.merge_due() && c.maintain_merges().unwrap(), "later");
    c.change_settings(|manifest| {
        manifest.epochs[0].rebuilding = true;
        Ok(())
    })
    .unwrap();
    assert!(c.maintain_indexes().unwrap(), "later");
    let unwanted = Progress::default();
    std::thread::scope(|scope| {
        let given_up = scope.spawn(|| c.rebuild(None, &unwanted));
        unwanted.cancel();
        assert_eq!(given_up.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        let rebuild = scope.spawn(|| c.rebuild(None, &Progress::default()));
        drop(merging);
        rebuild.join().unwrap().unwrap();
    });
    assert_eq!((links(&c), c.is_rebuilding()), (vec![24], false));
}

#[test]
fn what_is_asked_for_while_somebody_rebuilds_is_done_when_it_returns() {
    let c = create(&memory());
    seal(&c, 0..1_100);
    c.maintain_indexes().unwrap();
    c.set_index("", wide()).unwrap();
    let other = c.indexing.rebuilding.lock();
    std::thread::scope(|scope| {
        let rebuild = scope.spawn(|| c.rebuild(Some(""), &Progress::default()));
        while !c.is_rebuilding() {
            std::thread::yield_now();
        }
        drop(other);
        rebuild.join().unwrap().unwrap();
    });
    assert_eq!((links(&c), c.is_rebuilding()), (vec![24], false));
}

#[test]
fn an_index_of_a_segment_that_is_gone_is_no_failure() {
    let c = create(&memory());
    seal(&c, 0..1_100);
    let (number, sealed) = unindexed(&c);
    c.delete(&(0..1_100u64).map(Into::into).collect::<Vec<_>>()).unwrap();
    c.optimize(&Progress::default()).unwrap();
    assert_eq!(c.stats().unwrap().segments, 0);
    let failed = c.make_index(number, &sealed, 0, None, &|_, _, _| Ok(()));
    c.unless_gone(number, failed.err().expect("its folder is gone")).unwrap();
}

#[test]
fn the_status_says_why_indexes_are_not_built() {
    let plan = FaultPlan::new();
    let dir = Faults::new(memory(), Arc::clone(&plan)) as Arc<dyn Dir>;
    let c = create(&dir);
    seal(&c, 0..1_100);
    plan.arm(plan.calls(), Action::Fail { fault: Fault::NoSpace, lasting: true });
    c.maintain_indexes().unwrap_err();
    plan.disarm();
    let says = |c: &Collection| c.status().reasons().iter().any(|why| why.contains("could not be built"));
    assert!(says(&c), "{:?}", c.status());
    c.maintain_indexes().unwrap();
    assert!(!says(&c) && links(&c) == [16]);
}

#[test]
fn closing_waits_for_whoever_merges() {
    let c = create(&memory());
    seal(&c, 0..10);
    let merging = c.merging.one.lock();
    std::thread::scope(|scope| {
        let close = scope.spawn(|| c.close());
        while !c.indexing.halted() {
            std::thread::yield_now();
        }
        c.check_open().expect("it is not closed while somebody merges");
        drop(merging);
        close.join().unwrap().unwrap();
    });
    c.check_open().unwrap_err();
    c.come_to_rest();
}

#[test]
fn the_steps_of_the_largest_segment_fit() {
    let (progress, rows) = (Progress::default(), u32::MAX);
    progress.expect(BuildMeter::steps(rows.into()));
    let meter = BuildMeter::new(&progress, rows.into());
    meter.reach(BuildPhase::Measure, rows, rows);
    assert_eq!(progress.fraction(), 1.0);
}
