//! A last pass over a finished graph: every row is chosen anew among the neighbours of neighbours, in both directions.
//!
//! Linking sees only what was there before; this pass sees everything, and fills the rows that linking leaves partly empty. The
//! way is that of Vamana's second pass, cut to two hops: forward lists for all nodes, their reversal, then one choice among both.
//!
//! It refuses to change upper levels, which are a sixteenth of the nodes and only lead the way.
//!
//! # Protocol
//!
//! [`Refinement::forward`] for every slot, then [`Refinement::turn`], then [`Turned::settle`] for every slot. Slots of one step may
//! be spread over threads in any way; the result does not depend on it, for each step reads only what the step before wrote.
//!
//! A pass over some slots alone (those linked last, say) calls [`Refinement::forward`] for these, and [`Turned::settle`] for
//! [`Turned::targets`].

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nearfield_ann::Stopped;
use nearfield_types::Slot;

use crate::graph::{Graph, Scorers};
use crate::link::Linker;
use crate::links::{Links, NO_SLOT};

/// Candidates of one choice, beside the neighbours that there are.
const CANDIDATES_MAX: usize = 160;

/// The first step.
pub struct Refinement<'g> {
    graph: &'g Graph,
    lists: Lists,
}

/// The second step.
pub struct Turned<'g> {
    graph: &'g Graph,
    lists: Lists,
    /// Where the slots that point to a slot begin in `sources`.
    begins: Vec<u32>,
    sources: Vec<u32>,
}

/// One list of at most `width` slots for every slot, `slot + 1` each.
struct Lists {
    width: usize,
    places: Box<[AtomicU32]>,
}

impl Lists {
    fn of(&self, slot: u32) -> impl Iterator<Item = u32> {
        let begin = slot as usize * self.width;
        let places = self.places.get(begin..begin + self.width).unwrap_or_default();
        places.iter().map_while(|place| place.load(Relaxed).checked_sub(1))
    }

    fn set(&self, slot: u32, list: &[u32]) {
        let begin = slot as usize * self.width;
        let places = self.places.get(begin..begin + self.width).unwrap_or_default();
        let mut list = list.iter();
        for place in places {
            place.store(list.next().map_or(0, |slot| slot + 1), Relaxed);
        }
    }
}

impl Graph {
    /// Begins the last pass. Nobody links until it has ended; searches go on. Takes as much memory as level 0 until then.
    pub fn refine(&self) -> Refinement<'_> {
        let (width, slots) = (self.rows.width(0), self.len() as usize);
        let places = bytemuck::zeroed_slice_box(width * slots);
        Refinement { graph: self, lists: Lists { width, places } }
    }
}

impl<'g> Refinement<'g> {
    /// Chooses anew for `slot` among its neighbours and theirs.
    ///
    /// # Errors
    ///
    /// What a scorer returned; then the pass is given up by dropping it, and the graph is as before.
    pub fn forward(&self, slot: Slot, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<(), Stopped> {
        let around = linker.walk.around(self.graph, slot.0, &[]);
        linker.slots.clear();
        linker.slots.extend_from_slice(around);
        self.put(slot.0, CANDIDATES_MAX, scorers, linker)
    }

    /// Chooses for `slot` among the `most` nearest of `linker.slots`.
    pub(crate) fn put(
        &self,
        slot: u32,
        most: usize,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        choose(self.graph, slot, self.lists.width, most, scorers, linker)?;
        self.lists.set(slot, &linker.selection.chosen);
        Ok(())
    }

    /// Lets `stands_for(t)` take the place of every `t` that lists name. O(n m), one thread.
    pub(crate) fn rename(&self, stands_for: impl Fn(u32) -> u32) {
        let mut list = Vec::new();
        for slot in 0..self.graph.len() {
            if self.lists.of(slot).all(|target| stands_for(target) == target) {
                continue;
            }
            list.clear();
            for target in self.lists.of(slot).map(&stands_for) {
                if target != slot && !list.contains(&target) {
                    list.push(target);
                }
            }
            self.lists.set(slot, &list);
        }
    }

    /// Reverses the lists. O(n m), one thread.
    pub fn turn(self) -> Turned<'g> {
        let slots = self.graph.len();
        let mut begins = vec![0u32; slots as usize + 1];
        for slot in 0..slots {
            self.lists.of(slot).for_each(|target| begins[target as usize + 1] += 1);
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut next = begins.clone();
        let mut sources = vec![0; begins.last().copied().unwrap_or(0) as usize];
        for slot in 0..slots {
            for target in self.lists.of(slot) {
                let at = &mut next[target as usize];
                sources[*at as usize] = slot;
                *at += 1;
            }
        }
        Turned { graph: self.graph, lists: self.lists, begins, sources }
    }
}

impl Turned<'_> {
    /// The slots whose rows the pass may change: those that [`Refinement::forward`] was called for, and those that their lists name.
    /// O(n).
    pub fn targets(&self) -> Vec<Slot> {
        let is_target = |slot: &u32| {
            let at = *slot as usize;
            self.begins[at] < self.begins[at + 1] || self.lists.of(*slot).next().is_some()
        };
        (0..self.graph.len()).filter(is_target).map(Slot).collect()
    }

    /// Chooses the row of `slot` among its list and the slots whose lists name it, and writes it. What has no list, because
    /// [`Refinement::forward`] was not called for it, has its row instead.
    ///
    /// # Errors
    ///
    /// What a scorer returned; then rows written so far are new and the others old, and the graph is whole.
    pub fn settle(&self, slot: Slot, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<(), Stopped> {
        let sources = self.begins[slot.index()] as usize..self.begins[slot.index() + 1] as usize;
        let sources = &self.sources[sources];
        linker.slots.clear();
        linker.slots.extend(self.lists.of(slot.0).map(Slot));
        if linker.slots.is_empty() && sources.is_empty() {
            return Ok(());
        }
        if linker.slots.is_empty() {
            self.graph.rows.read(slot.0, 0, &mut linker.row);
            linker.slots.extend(linker.row.iter().map(|&neighbour| Slot(neighbour)));
        }
        linker.slots.extend(sources.iter().map(|&source| Slot(source)));
        linker.slots.sort_unstable();
        linker.slots.dedup();
        choose(self.graph, slot.0, self.lists.width, CANDIDATES_MAX, scorers, linker)?;
        let _guard = self.graph.stripe(slot.0);
        self.graph.rows.write(slot.0, 0, &linker.selection.chosen);
        Ok(())
    }
}

/// Chooses at most `count` of `linker.slots` as neighbours of `slot`: of the `most` nearest of them, and of those that are its neighbours now
/// however far they are. Linking found these while few slots were there, and in dense data nothing else leads out of a cluster.
fn choose(
    graph: &Graph,
    slot: u32,
    count: usize,
    most: usize,
    scorers: &mut Scorers<'_>,
    linker: &mut Linker,
) -> Result<(), Stopped> {
    graph.judge(slot, scorers, linker)?;
    let Linker { selection, candidates, row, .. } = linker;
    graph.rows.read(slot, 0, row);
    let mut rank = 0;
    candidates.retain(|candidate| {
        rank += 1;
        rank <= most || row.contains(&candidate.slot)
    });
    selection.choose(candidates, count, graph.params(), scorers.judge)
}

impl Graph {
    /// Makes every linked slot reachable from the entry over level 0 and returns how many were not. Nobody links meanwhile.
    ///
    /// A slot that nothing leads to is put into the row of its nearest reachable slot; where that is full, in the place of the
    /// last neighbour, which then stands in the row of the newly reached one: so what could be reached still can be.
    ///
    /// # Errors
    ///
    /// What a scorer returned; then some were made reachable.
    ///
    /// # Complexity
    ///
    /// O(n m), and one search for every slot found unreachable.
    pub fn reconnect(&self, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<u32, Stopped> {
        let mut reached = vec![false; self.len() as usize];
        self.spread(Links::entry(self, self.top()), &mut reached, linker);
        let mut found = 0;
        for slot in 0..self.len() {
            if reached[slot as usize] {
                continue;
            }
            self.rows.read(slot, 0, &mut linker.row);
            if linker.row.is_empty() {
                continue;
            }
            found += 1;
            self.attach(slot, &reached, scorers, linker)?;
            self.spread(Some(slot), &mut reached, linker);
        }
        Ok(found)
    }

    /// Marks what can be reached from `from`.
    fn spread(&self, from: Option<u32>, reached: &mut [bool], linker: &mut Linker) {
        let open = &mut linker.row;
        open.clear();
        open.extend(from);
        while let Some(slot) = open.pop() {
            if !std::mem::replace(&mut reached[slot as usize], true) {
                self.rows.visit(slot, 0, |neighbour| {
                    if neighbour != NO_SLOT && !reached[neighbour as usize] {
                        open.push(neighbour);
                    }
                });
            }
        }
    }

    /// Puts `slot` into the row of a reached slot near it.
    fn attach(
        &self,
        slot: u32,
        reached: &[bool],
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        self.gather(slot, scorers, linker)?;
        let width = self.rows.width(0);
        let near = linker.candidates.iter().map(|near| near.slot).filter(|&near| reached[near as usize]);
        let near: Vec<u32> = near.collect();
        let entry = Links::entry(self, self.top());
        let Some(&nearest) = near.first().or(entry.as_ref()) else { return Ok(()) };
        let mut row = Vec::new();
        let roomy = near.iter().copied().find(|&near| {
            self.rows.read(near, 0, &mut row);
            row.len() < width
        });
        let target = roomy.unwrap_or(nearest);
        self.rows.read(target, 0, &mut row);
        if row.len() == width {
            let moved = row.pop();
            self.rows.read(slot, 0, &mut linker.row);
            linker.row.retain(|&neighbour| Some(neighbour) != moved);
            linker.row.truncate(width - 1);
            linker.row.extend(moved);
            self.rows.write(slot, 0, &linker.row);
        }
        row.push(slot);
        self.rows.write(target, 0, &row);
        Ok(())
    }
}
