//! Aiming at stored rows: what building an index over the vectors themselves needs.
//!
//! It refuses to be fast: codes are for that. It serves small dimensions and metrics that codes do not know.

use nearfield_ann::{BuildScorer, Scorer, Stopped};
use nearfield_types::{Score, Slot};

use crate::VectorStore;

/// Scores the rows of a store against one of them after another.
pub struct RowBuildScorer<'a> {
    store: &'a dyn VectorStore,
    aimed: Aimed<'a>,
}

enum Aimed<'a> {
    /// At a slot without a vector, or at none yet.
    Nothing,
    Row(Box<dyn Scorer + 'a>),
    /// The row could not be read; the next call says so.
    Failed(Stopped),
}

impl<'a> RowBuildScorer<'a> {
    /// Aimed at nothing yet.
    pub fn new(store: &'a dyn VectorStore) -> Self {
        RowBuildScorer { store, aimed: Aimed::Nothing }
    }
}

impl Scorer for RowBuildScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        match &mut self.aimed {
            Aimed::Nothing => {
                assert_eq!(slots.len(), out.len(), "slots and out differ in length");
                out.fill(Score::INFINITY);
                Ok(())
            }
            Aimed::Row(scorer) => scorer.score(slots, out),
            Aimed::Failed(stopped) => Err(*stopped),
        }
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        match &mut self.aimed {
            Aimed::Nothing => {
                out.fill(Score::INFINITY);
                Ok(())
            }
            Aimed::Row(scorer) => scorer.score_run(first, out),
            Aimed::Failed(stopped) => Err(*stopped),
        }
    }
}

impl BuildScorer for RowBuildScorer<'_> {
    fn aim(&mut self, slot: Slot) {
        let mut aimed = Aimed::Nothing;
        let read = self.store.read_many(&[slot], &mut |_, row| {
            if let Some(row) = row {
                // A stored row is a legal query: both were checked alike. One that is not is as good as absent.
                aimed = self.store.scorer(row).map_or(Aimed::Nothing, Aimed::Row);
            }
        });
        self.aimed = match read {
            Ok(()) => aimed,
            Err(nearfield_platform::BlobError::Damaged(_)) => Aimed::Failed(Stopped::Damaged),
            Err(_) => Aimed::Failed(Stopped::Unreadable),
        };
    }
}

#[cfg(test)]
mod tests {
    use nearfield_ann::conformance::{Points, check_build_scorer};
    use nearfield_types::Metric;

    use super::*;
    use crate::{Element, GrowingRows, Shape};

    #[test]
    fn aiming_is_asking() {
        let points = Points::clustered(40, 5, 3);
        for metric in Metric::ALL {
            let shape = Shape::new(5, metric, Element::F32).unwrap();
            let (mut writer, rows) = GrowingRows::create(shape);
            for slot in 0..40 {
                writer.push((slot != 7).then(|| points.row(Slot(slot)).unwrap())).unwrap();
            }
            let fresh = |slot: Slot| rows.row(slot).map(|row| rows.scorer(row).unwrap());
            check_build_scorer(&mut RowBuildScorer::new(&*rows), 41, &fresh).unwrap();
        }
    }

    #[test]
    fn nothing_is_near_before_the_first_aim() {
        let (mut writer, rows) = GrowingRows::create(Shape::new(1, Metric::Dot, Element::F32).unwrap());
        writer.push(Some(&[1.0])).unwrap();
        let mut out = [0.0];
        RowBuildScorer::new(&*rows).score(&[Slot(0)], &mut out).unwrap();
        assert_eq!(out, [f32::INFINITY]);
    }
}
