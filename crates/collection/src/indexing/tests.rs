//! Who links when, and how much may be left unlinked.

use nearfield_platform::MemoryDir;
use nearfield_types::{Metric, PointId};

use super::*;
use crate::collection::CollectionOptions;
use crate::config::CollectionConfig;
use crate::point::{Debt, Point, Query};

fn collection(bulk: bool, inline_maintenance: bool) -> Arc<Collection> {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let options = CollectionOptions { bulk, inline_maintenance, ..CollectionOptions::system() };
    let config = CollectionConfig::new(4, Metric::Euclid);
    dir.make_dir("c").unwrap();
    Collection::create(&dir, "c", [7; 16], &config, &options).unwrap();
    Collection::open(&dir, "c", [7; 16], options).unwrap().0
}

/// Writes the thousand rows of batch `number`; returns the backlog after it.
fn backlogs_from(collection: &Collection, number: u64) -> u32 {
    let vector = |id: u64| (1..5).map(|at| (id * at * 7_919 % 1_000) as f32).collect();
    let batch = |first: u64| (first..first + 1_000).map(|id| Point::new(id, vector(id))).collect();
    collection.upsert(batch(1_000 * number)).unwrap();
    collection.backlog()
}

/// Writes rows in batches of a thousand; returns the backlog after each.
fn backlogs(collection: &Collection, batches: u64) -> Vec<u32> {
    (0..batches).map(|number| backlogs_from(collection, number)).collect()
}

#[test]
fn writers_link_where_nobody_else_does() {
    // Nobody calls `maintain_links` here: the background is as slow as it can be.
    let paced = backlogs(&collection(false, false), 24);
    assert_eq!(paced[..20], (1..=20).map(|batch| batch * 1_000).collect::<Vec<u32>>());
    assert!(paced[20..].iter().all(|&backlog| (19_000..=20_000).contains(&backlog)), "{paced:?}");
    let bulk = backlogs(&collection(true, false), 24);
    assert_eq!(bulk.last(), Some(&24_000));
    let inline = backlogs(&collection(false, true), 4);
    assert_eq!(inline, [0; 4]);
}

#[test]
fn the_debt_of_a_bulk_load_has_a_cap() {
    // Sixteen bytes a row: ten thousand rows.
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let options = CollectionOptions {
        bulk: true,
        debt_bytes_max: 160_000,
        head_rows_max: 4_000,
        ..CollectionOptions::system()
    };
    dir.make_dir("c").unwrap();
    Collection::create(&dir, "c", [7; 16], &CollectionConfig::new(4, Metric::Euclid), &options).unwrap();
    let (c, _) = Collection::open(&dir, "c", [7; 16], options).unwrap();
    let mut most = 0;
    for number in 0..24u64 {
        backlogs_from(&c, number);
        c.maintain_segments().unwrap();
        let debt = c.debt();
        assert_eq!(debt.bytes, debt.rows * 16);
        assert_eq!(c.stats().unwrap().debt, debt);
        most = most.max(debt.rows);
    }
    // It may be passed by what is sealed at once.
    assert!((10_000..=14_000).contains(&most), "{most}");
    assert!(c.status().reasons()[0].contains("are not indexed yet and are scanned"), "{:?}", c.status());
    c.wait_indexed().unwrap();
    assert_eq!(c.debt(), Debt::default());
    assert_eq!(c.vector_stats()[0].indexed_rows, 24_000);
}

/// Of the ten nearest to some places, how many a search finds.
fn recall(c: &Collection) -> f64 {
    let view = c.view();
    let mut found = 0;
    for at in 0..40u64 {
        let query: Vec<f32> = (1..5).map(|factor| (at * factor * 131 % 1_000) as f32 + 0.5).collect();
        let ids = |query: &Query<'_>| -> Vec<PointId> {
            view.search(query).unwrap().into_iter().map(|hit| hit.id).collect()
        };
        let truth = ids(&Query::new(&query, 10).exact());
        found += ids(&Query::new(&query, 10)).iter().filter(|id| truth.contains(id)).count();
    }
    found as f64 / 400.0
}

#[test]
fn what_is_sealed_is_searched_as_before_until_its_index_is_built() {
    for dead in [0u64, 5] {
        let c = collection(false, false);
        backlogs(&c, 3);
        let ids: Vec<PointId> = (0..3_000).filter(|id| id % 50 < dead).map(PointId::from).collect();
        c.delete(&ids).unwrap();
        while c.maintain_links().unwrap() {}
        let before = recall(&c);
        c.flush().unwrap();
        let stats = c.stats().unwrap();
        assert_eq!((stats.unindexed_segments, stats.debt.rows, stats.segments), (1, 0, 1));
        assert!(stats.index_memory_bytes > 0);
        let after = recall(&c);
        assert!(before > 0.97 && after > before - 0.02, "{dead}: {before} before, {after} after");
        let held = c.view();
        c.maintain_indexes().unwrap();
        assert!(recall(&c) > 0.97);
        assert_eq!((c.stats().unwrap().unindexed_segments, c.view().graph_stats("").len()), (0, 1));
        assert_eq!(held.count(), 3_000 - ids.len() as u64);
    }
    // Rows that were never linked are scanned, and owed.
    let c = collection(true, false);
    backlogs(&c, 3);
    c.flush().unwrap();
    assert_eq!(c.stats().unwrap().debt.rows, 3_000);
    // So are the last ones of those that were not linked to the end.
    let c = collection(true, false);
    backlogs(&c, 3);
    for _ in 0..11 {
        c.maintain_links().unwrap();
    }
    c.flush().unwrap();
    assert_eq!(c.stats().unwrap().debt.rows, 3_000 - 11 * u64::from(LINK_PORTION));
    assert!(recall(&c) > 0.97);
}
