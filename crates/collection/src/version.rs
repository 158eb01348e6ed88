//! An immutable list of segments, and how far a reader of it may see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_segment::{Growing, Segment};
use nearfield_types::{PointId, Seq, Slot};

/// A segment in a version.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) segment: Segment,
    /// Its number in the manifest, once sealed.
    pub(crate) number: Option<u64>,
}

/// The segments of a shard at one time: sealed ones, growing ones that wait to be sealed, and last the head that takes writes.
///
/// A reader holds an `Arc` of it and one Seq taken from it. The Seq belongs to the version: once the version was replaced it
/// no longer advances, so a reader never sees Seqs whose rows live in a segment it does not hold.
#[derive(Debug)]
pub(crate) struct Version {
    visible: AtomicU64,
    members: Vec<Member>,
    head: Arc<Growing>,
}

impl Version {
    /// `members` and then `head`, seen up to `visible`.
    pub(crate) fn new(mut members: Vec<Member>, head: Arc<Growing>, visible: Seq) -> Self {
        members.push(Member { segment: Segment::Growing(Arc::clone(&head)), number: None });
        Version { visible: AtomicU64::new(visible.0), members, head }
    }

    /// Everything at or before this Seq may be seen.
    pub(crate) fn visible(&self) -> Seq {
        // Acquire pairs with the Release in `reveal`: what was applied before is seen whole.
        Seq(self.visible.load(Ordering::Acquire))
    }

    /// Lets readers see up to `through`.
    pub(crate) fn reveal(&self, through: Seq) {
        self.visible.fetch_max(through.0, Ordering::Release);
    }

    /// All segments, oldest first, the head last.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// All but the head.
    pub(crate) fn settled(&self) -> &[Member] {
        &self.members[..self.members.len() - 1]
    }

    /// Growing segments that wait to be sealed.
    pub(crate) fn frozen(&self) -> impl Iterator<Item = &Arc<Growing>> {
        self.settled().iter().filter_map(|member| match &member.segment {
            Segment::Growing(growing) => Some(growing),
            Segment::Sealed(_) => None,
        })
    }

    /// The segment that takes writes.
    pub(crate) fn head(&self) -> &Arc<Growing> {
        &self.head
    }

    /// The segment and row of `id` visible at `seen`. The newest segments are asked first: what was written last is what is
    /// most often asked for.
    pub(crate) fn find(&self, id: &PointId, seen: Seq) -> Option<(&Segment, Slot)> {
        self.members.iter().rev().find_map(|member| Some((&member.segment, member.segment.find(id, seen)?)))
    }
}
