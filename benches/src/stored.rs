//! A database that holds the whole set, and the check that it does.

use std::path::Path;

use nearfield::{
    Collection, CollectionConfig, Database, Durability, Metric, Options, Point, PointId, Vectors, With,
};

use crate::Result;
use crate::dataset::DataSet;

/// The name of the one collection.
pub(crate) const NAME: &str = "bench";
/// Points of one write, as the goals say.
pub(crate) const BATCH: usize = 1_000;
/// How many points a check reads back and compares.
const SPOTS: usize = 500;

/// Makes a database at `path` with an empty collection for `set`.
pub(crate) fn create(path: &Path, set: &DataSet, durability: Durability) -> Result<(Database, Collection)> {
    let database = Database::open(path, Options::default().durability(durability))?;
    let collection =
        database.create_collection(NAME, CollectionConfig::new(set.base.width, Metric::Cosine))?;
    Ok((database, collection))
}

/// Opens what stands at `path`.
pub(crate) fn open(path: &Path, durability: Durability) -> Result<(Database, Collection)> {
    let database = Database::open(path, Options::default().durability(durability).create(false))?;
    let collection = database.collection(NAME)?;
    Ok((database, collection))
}

/// Writes the whole set, seals it and closes the database.
pub(crate) fn build_sealed(path: &Path, set: &DataSet) -> Result {
    let (database, collection) = create(path, set, Durability::Process)?;
    for batch in set.batches(BATCH)? {
        collection.upsert(batch)?;
    }
    collection.flush()?;
    drop(collection);
    database.close()?;
    Ok(())
}

/// Fails unless the collection holds `rows` points and those looked at, spread over all of them, are the ones written.
pub(crate) fn verify(collection: &Collection, set: &DataSet, rows: usize) -> Result {
    let count = collection.count()?;
    if count != rows as u64 {
        return Err(format!("{count} points came back, {rows} were written").into());
    }
    let spots: Vec<usize> = (0..SPOTS.min(rows)).map(|spot| spot * rows / SPOTS.min(rows)).collect();
    let ids: Vec<PointId> = spots.iter().map(|row| PointId::from(*row as u64)).collect();
    for (row, record) in spots.iter().zip(collection.get(&ids, With::ALL)?) {
        let written = set.point(*row)?;
        let same = record.is_some_and(|record| {
            record.payload.as_ref() == Some(&written.payload)
                && record.vectors.as_deref() == Some(&named(&written)[..])
        });
        if !same {
            return Err(format!("point {row} came back changed").into());
        }
    }
    Ok(())
}

fn named(point: &Point) -> Vec<(String, Vec<f32>)> {
    match &point.vectors {
        Vectors::One(vector) => vec![(String::new(), vector.clone())],
        Vectors::Named(vectors) => vectors.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn a_whole_set_passes_and_a_changed_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let set = small(1_200, 8);
        build_sealed(folder.path(), &set).unwrap();
        let (database, collection) = open(folder.path(), Durability::Process).unwrap();
        verify(&collection, &set, 1_200).unwrap();
        assert!(verify(&collection, &set, 1_199).is_err());
        collection.upsert(vec![Point::new(0, vec![0.5; 8])]).unwrap();
        assert!(verify(&collection, &set, 1_200).unwrap_err().to_string().contains("point 0"));
        drop(collection);
        database.close().unwrap();
    }
}
