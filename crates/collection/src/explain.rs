//! Why a search costs what it costs: how each segment was searched, what was expected and what was true.
//!
//! It refuses to guess: it runs the search, and counts the rows that pass.

use nearfield_payload::Path;
use nearfield_segment::Work;

use crate::error::Result;
use crate::point::{Hit, Query};
use crate::version::Member;
use crate::view::{View, search_error};

/// A search that was run to be looked at.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it found.
    pub hits: Vec<Hit>,
    /// How each segment was searched, in the order in which they were.
    pub segments: Vec<SegmentExplanation>,
}

/// How one segment was searched.
#[derive(Clone, Debug)]
pub struct SegmentExplanation {
    /// The number of its folder; `None` while its rows are in memory.
    pub number: Option<u64>,
    /// Its rows, dead ones included.
    pub rows: u32,
    /// The plan, the estimates and the work.
    pub work: Work,
    /// How many rows pass: the truth beside the estimates. All that can be seen where there is no filter.
    pub passing: u64,
}

impl Explanation {
    /// Fields of the filter that left rows in doubt because no index could answer for them, each once: with one the filter would be faster.
    pub fn unindexed(&self) -> Vec<Path> {
        let mut fields: Vec<Path> = Vec::new();
        let doubtful = self.segments.iter().filter(|segment| segment.work.in_doubt > 0);
        for path in doubtful.flat_map(|segment| &segment.work.unindexed) {
            if !fields.contains(path) {
                fields.push(path.clone());
            }
        }
        fields
    }
}

impl View {
    /// Runs a search and says how each segment was searched: the plan, what was expected beside what is true, the work, and which
    /// index would help. O(search + points in doubt).
    ///
    /// # Errors
    ///
    /// As [`View::search`].
    pub fn explain(&self, query: &Query<'_>) -> Result<Explanation> {
        let mut searched: Vec<(&Member, Work)> = Vec::new();
        let hits = self.search_watched(query, &mut |member, work| searched.push((member, work)))?;
        let names = self.vector_names();
        let filtering = query.filter.map(|filter| self.filtering(filter, &names)).transpose()?;
        let explain = |(member, work): (&Member, Work)| {
            let segment = &member.segment;
            let passing = match &filtering {
                None => segment.count(self.seen),
                Some(filtering) => {
                    let passing = segment.passing(filtering, self.seen);
                    passing.map_err(|e| self.located(segment, search_error(e)))?.len() as u64
                }
            };
            Ok(SegmentExplanation { number: member.number, rows: segment.rows(), work, passing })
        };
        let segments = searched.into_iter().map(explain).collect::<Result<_>>()?;
        Ok(Explanation { hits, segments })
    }
}
