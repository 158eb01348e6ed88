//! Merging: a new graph takes over the rows of old ones instead of searching for them again.
//!
//! The rows of the first graph are copied; those that lost neighbours are chosen anew, among what is left and what the dead led to.
//! Every further graph is joined to what stands: each of its slots looks for its place there, narrowly, for it begins where its old
//! neighbours found theirs and has its old row besides; then the slots on both sides choose among what the others found.
//!
//! It refuses to choose what to merge, to start threads, and to link what no graph holds: that is [`Graph::link`] afterwards.
//!
//! # Steps
//!
//! | stage | for each | reads | writes |
//! |---|---|---|---|
//! | `Measure` | slot, where scores are products | nothing | its squared length |
//! | `Choose` | row that is to be chosen | rows that stand, old rows | its list |
//! | `Settle` | slot with a list or in one | its row, the lists | its row |
//! | `Raise` | slot above level 0 | upper rows | upper rows, under their stripes |
//!
//! Only `Raise` depends on the order in which threads come, and `Choose` of a joined graph, where it begins its search.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nearfield_ann::{Budget, Stopped};
use nearfield_types::{Score, Slot};

use crate::graph::{Graph, Scorers};
use crate::link::{Linker, TWINS_MAX};
use crate::links::{Links, NO_SLOT};
use crate::params::Geometry;
use crate::pool::slot_of;
use crate::refine::Refinement;
use crate::search::approach;
use crate::view::GraphView;
use crate::walk::Plan;

/// A slot that joins begins at the places of so many old neighbours.
const SEEDS_MAX: usize = 4;
/// Candidates for each place of a row: the nearest ones. Most of the others would be occluded, and each costs a few scores to find that out.
const CANDIDATES_A_PLACE: usize = 2;
/// What stands is searched for a slot that joins with this share of the breadth that linking has: the old row knows the rest.
const JOIN_BREADTH_DIVISOR: u32 = 4;
const JOIN_BREADTH_MIN: u32 = 16;

/// What a step of merging does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Lengths are measured.
    Measure,
    /// Neighbours are chosen: most of the work, once for each row that is not taken over as it is.
    Choose,
    /// Rows are written.
    Settle,
    /// Upper levels are linked.
    Raise,
}

/// One step for one number.
pub type Step<'a> = dyn Fn(u32, &mut Scorers<'_>, &mut Linker) -> Result<(), Stopped> + Sync + 'a;

/// Calls the step once for every number below the one given, on any number of threads, and returns when all are done.
pub type Each<'a> = dyn Fn(Stage, u32, &Step<'_>) -> Result<(), Stopped> + 'a;

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The slots that stand in the new graph now.
    pub slots: Vec<Slot>,
    /// Rows of these that were chosen anew: they had lost neighbours, or were joined.
    pub chosen: u32,
}

impl Graph {
    /// Takes over the nodes of `source`, which was built with the same parameters. `moved(s)` is the new slot of the old slot `s`, or
    /// `None` if it is dead; no new slot is given twice, here or to another graph. The largest graph comes first: its rows are copied, those
    /// of later ones are joined to them. Slots of no graph are linked last, by [`Graph::link`]. The scorers are for the new slots.
    ///
    /// # Errors
    ///
    /// What a scorer or `each` returned; then this graph is worth nothing.
    ///
    /// # Complexity
    ///
    /// O(n m) copies. A row chosen anew costs a few hundred scores, one that joins half a search of breadth `ef_construction` besides; a slot
    /// above level 0 costs one search of the upper levels, unless all slots keep their numbers. Memory of level 0 once more while rows are
    /// chosen.
    pub fn adopt(
        &self,
        source: &GraphView,
        moved: &dyn Fn(Slot) -> Option<Slot>,
        each: &Each<'_>,
    ) -> Result<Adopted, Stopped> {
        self.adopt_with(source, moved, true, each)
    }

    /// As [`Graph::adopt`] into an empty graph, but rows that lost neighbours stay as short as that leaves them: done at once, for a graph that
    /// serves until a better one is built.
    ///
    /// # Errors
    ///
    /// As [`Graph::adopt`].
    pub fn adopt_unhealed(
        &self,
        source: &GraphView,
        moved: &dyn Fn(Slot) -> Option<Slot>,
        each: &Each<'_>,
    ) -> Result<Adopted, Stopped> {
        self.adopt_with(source, moved, false, each)
    }

    fn adopt_with(
        &self,
        source: &GraphView,
        moved: &dyn Fn(Slot) -> Option<Slot>,
        heals: bool,
        each: &Each<'_>,
    ) -> Result<Adopted, Stopped> {
        let links = source.links();
        let joins = !self.is_empty();
        let names = self.take_names(&links, moved);
        let mut adopted = Adopted { slots: names.slots(), chosen: 0 };
        if adopted.slots.is_empty() {
            return Ok(adopted);
        }
        if self.params().geometry() == Geometry::Product {
            each(Stage::Measure, adopted.slots.len() as u32, &|at, scorers, _| {
                self.measure(adopted.slots[at as usize].0, scorers)
            })?;
        }
        let entry_lives = links.entry(links.top()).is_some_and(|entry| names.node(entry) == Some(entry));
        let keeps_levels = !joins && entry_lives && names.keep_numbers() && source.params() == self.params();
        let open = match joins {
            true => spread(&links, &names),
            false => {
                let lost = self.copy_rows(&links, &names);
                self.take_top(&links, &names, keeps_levels);
                if heals { lost } else { Vec::new() }
            }
        };
        adopted.chosen = open.len() as u32;
        let twins = self.choose_rows(&links, &names, &open, joins, each)?;
        if !keeps_levels {
            let uppers = names.living().filter(|&slot| self.rows.level(slot) > 0 && twins.of(slot).is_none());
            let uppers: Vec<u32> = uppers.collect();
            each(Stage::Raise, uppers.len() as u32, &|at, scorers, linker| {
                self.raise_node(uppers[at as usize], scorers, linker)
            })?;
        }
        self.chain_all(&names, &twins);
        adopted.slots.iter().for_each(|_| self.count_linked());
        Ok(adopted)
    }

    /// Finds the new name of every node. A dead node whose chain has a living slot is that slot from now on.
    fn take_names<L: Links>(&self, links: &L, moved: &dyn Fn(Slot) -> Option<Slot>) -> Names {
        let mut names = Names { nodes: vec![NO_SLOT; links.len() as usize], chained: Vec::new() };
        for old in 0..links.len() {
            let mut is_node = links.entry(links.top()) == Some(old);
            links.neighbours(old, 0, |neighbour| is_node |= neighbour != NO_SLOT);
            if !is_node {
                continue;
            }
            let chain = std::iter::successors(Some(old), |&slot| links.next_duplicate(slot));
            let mut living = chain.take(links.len() as usize).filter_map(|slot| moved(Slot(slot)));
            let Some(head) = living.next() else { continue };
            names.nodes[old as usize] = head.0;
            self.publish(head.0);
            for slot in living {
                self.publish(slot.0);
                names.chained.push((head.0, slot.0));
            }
        }
        names
    }

    /// Copies the rows of level 0; returns the old slots of those that lost neighbours.
    fn copy_rows<L: Links>(&self, links: &L, names: &Names) -> Vec<u32> {
        let (mut row, mut lost) = (Vec::new(), Vec::new());
        for old in 0..links.len() {
            let Some(new) = names.node(old) else { continue };
            row.clear();
            let mut loses = false;
            links.neighbours(old, 0, |neighbour| match names.node(neighbour) {
                Some(neighbour) if neighbour != new => row.push(neighbour),
                _ => loses |= neighbour != NO_SLOT,
            });
            self.rows.write(new, 0, &row);
            if loses {
                lost.push(old);
            }
        }
        lost
    }

    /// Gives the graph its entry: the old one with all upper rows where no slot changed its number, and so its level; else the highest node,
    /// so that whatever is raised afterwards meets it on every level.
    fn take_top<L: Links>(&self, links: &L, names: &Names, keeps_levels: bool) {
        if !keeps_levels {
            let tallest = names.living().max_by_key(|&slot| (self.rows.level(slot), std::cmp::Reverse(slot)));
            if let Some(tallest) = tallest {
                self.found(tallest, self.rows.level(tallest));
            }
            return;
        }
        let mut row = Vec::new();
        for slot in names.living() {
            for level in 1..=self.rows.level(slot) {
                row.clear();
                links.neighbours(slot, level, |neighbour| row.extend(names.node(neighbour)));
                self.rows.write(slot, level, &row);
            }
        }
        if let Some(entry) = links.entry(links.top()) {
            self.found(entry, links.top());
        }
    }

    /// Chooses the rows of `open`, which are old slots, and lets those that they name know. Returns which slots of a joined graph hold the
    /// vector of one that stands: these are not linked.
    fn choose_rows<L: Links>(
        &self,
        links: &L,
        names: &Names,
        open: &[u32],
        joins: bool,
        each: &Each<'_>,
    ) -> Result<Twins, Stopped> {
        let (slots, room) = if joins { (links.len() as usize, self.len() as usize) } else { (0, 0) };
        let adoption = Adoption {
            graph: self,
            links,
            names,
            pass: self.refine(),
            joins,
            homes: bytemuck::zeroed_slice_box(slots),
            twins: Twins { count: AtomicU32::new(0), places: bytemuck::zeroed_slice_box(room) },
        };
        if open.is_empty() {
            return Ok(adoption.twins);
        }
        each(Stage::Choose, open.len() as u32, &|at, scorers, linker| {
            adoption.choose(open[at as usize], scorers, linker)
        })?;
        let Adoption { pass, twins, .. } = adoption;
        if twins.count.load(Relaxed) > 0 {
            pass.rename(|slot| twins.of(slot).unwrap_or(slot));
        }
        let turned = pass.turn();
        let targets = turned.targets();
        each(Stage::Settle, targets.len() as u32, &|at, scorers, linker| {
            turned.settle(targets[at as usize], scorers, linker)
        })?;
        Ok(twins)
    }

    /// Links a node that stands above level 0 on its upper levels.
    fn raise_node(&self, slot: u32, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<(), Stopped> {
        let top = self.top();
        if Links::entry(self, top) == Some(slot) {
            return Ok(());
        }
        let level = self.rows.level(slot);
        let highest = level.min(top);
        if highest > 0 {
            self.gather_above(slot, level, scorers, linker)?;
            for level in 1..=highest {
                let chosen = linker.take_chosen(level);
                self.connect(slot, level, &chosen, scorers, linker)?;
            }
        }
        self.raise(slot, level);
        Ok(())
    }

    fn chain_all(&self, names: &Names, twins: &Twins) {
        let stands = |slot: u32| twins.of(slot).unwrap_or(slot);
        if twins.count.load(Relaxed) > 0 {
            for slot in names.living().filter(|&slot| twins.of(slot).is_some()) {
                self.chain(stands(slot), slot);
            }
        }
        for &(head, slot) in &names.chained {
            self.chain(stands(head), slot);
        }
    }
}

/// The choice of rows for one source.
struct Adoption<'a, L> {
    graph: &'a Graph,
    links: &'a L,
    names: &'a Names,
    pass: Refinement<'a>,
    joins: bool,
    /// By old slot, `slot + 1`: the nearest of what stands, once it was looked for.
    homes: Box<[AtomicU32]>,
    twins: Twins,
}

/// By new slot, `slot + 1`: the one that stands with the same vector.
struct Twins {
    count: AtomicU32,
    places: Box<[AtomicU32]>,
}

impl Twins {
    fn of(&self, slot: u32) -> Option<u32> {
        self.places.get(slot as usize)?.load(Relaxed).checked_sub(1)
    }

    fn note(&self, slot: u32, twin: u32) {
        if let Some(place) = self.places.get(slot as usize) {
            place.store(twin + 1, Relaxed);
            self.count.fetch_add(1, Relaxed);
        }
    }
}

impl<L: Links> Adoption<'_, L> {
    /// Chooses the list of the old slot `old`.
    fn choose(&self, old: u32, scorers: &mut Scorers<'_>, linker: &mut Linker) -> Result<(), Stopped> {
        let Some(new) = self.names.node(old) else { return Ok(()) };
        linker.slots.clear();
        if self.joins && self.find_place(old, new, scorers, linker)? {
            return Ok(());
        }
        self.links.neighbours(old, 0, |neighbour| match self.names.node(neighbour) {
            Some(living) => linker.slots.push(Slot(living)),
            None => self.links.neighbours(neighbour, 0, |next| {
                linker.slots.extend(self.names.node(next).map(Slot));
            }),
        });
        sort_out(new, linker);
        if !self.joins && linker.slots.len() < self.graph.params().m() as usize {
            // Too few are left around it: look for the neighbourhood in what stands already.
            let left = std::mem::take(&mut linker.slots);
            self.graph.gather(new, scorers, linker)?;
            linker.slots = left;
            let near = linker.candidates.iter().map(|near| Slot(near.slot));
            linker.slots.extend(near);
            sort_out(new, linker);
        }
        let most = CANDIDATES_A_PLACE * self.graph.rows.width(0);
        self.pass.put(new, most, scorers, linker)
    }

    /// Puts what stands around `new` into `linker.slots`, which are empty; true if something with the same vector is there.
    fn find_place(
        &self,
        old: u32,
        new: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<bool, Stopped> {
        let (graph, budget) = (self.graph, Budget::unlimited());
        let ef = (graph.params().ef_construction() / JOIN_BREADTH_DIVISOR).max(JOIN_BREADTH_MIN) as usize;
        let (mut seeds, mut found) = ([0; SEEDS_MAX], 0);
        self.links.neighbours(old, 0, |neighbour| {
            let home = self.homes.get(neighbour as usize).map_or(0, |home| home.load(Relaxed));
            if home > 0 && found < SEEDS_MAX {
                seeds[found] = home - 1;
                found += 1;
            }
        });
        scorers.walk.aim(Slot(new));
        linker.walk.begin(Links::len(graph));
        linker.walk.hide(new);
        if found == 0 {
            approach(&mut linker.walk, graph, scorers.walk, 0, &budget)?;
        }
        let plan =
            Plan { level: 0, ef, frontier: ef, margin: None, admit: None, budget: &budget, cap: Score::MAX };
        linker.walk.enter(graph, seeds[..found].iter().copied(), scorers.walk, &plan)?;
        linker.walk.run(graph, scorers.walk, &plan)?;
        let keys = linker.walk.frontier.keys();
        if let (Some(&nearest), Some(home)) = (keys.first(), self.homes.get(old as usize)) {
            home.store(slot_of(nearest) + 1, Relaxed);
        }
        let mut nearest = keys.iter().take(TWINS_MAX).map(|&key| slot_of(key));
        if let Some(twin) = nearest.find(|&near| (scorers.same)(Slot(new), Slot(near))) {
            self.twins.note(new, twin);
            return Ok(true);
        }
        linker.slots.extend(keys.iter().map(|&key| Slot(slot_of(key))));
        Ok(false)
    }
}

/// Leaves each candidate once, and `own` out.
fn sort_out(own: u32, linker: &mut Linker) {
    linker.slots.retain(|slot| slot.0 != own);
    linker.slots.sort_unstable();
    linker.slots.dedup();
}

/// The old nodes that live, each soon after its neighbours: so that these found their places when it looks for its own.
fn spread<L: Links>(links: &L, names: &Names) -> Vec<u32> {
    let mut met = vec![false; links.len() as usize];
    let mut order = Vec::with_capacity(names.nodes.len());
    let entry = links.entry(links.top()).filter(|&entry| entry < links.len());
    for begin in entry.into_iter().chain(0..links.len()) {
        if std::mem::replace(&mut met[begin as usize], true) {
            continue;
        }
        let mut at = order.len();
        order.push(begin);
        while let Some(&slot) = order.get(at) {
            at += 1;
            links.neighbours(slot, 0, |next| {
                if met.get(next as usize) == Some(&false) {
                    met[next as usize] = true;
                    order.push(next);
                }
            });
        }
    }
    order.retain(|&slot| names.node(slot).is_some());
    order
}

/// The new names of the old nodes.
struct Names {
    /// By old slot; [`NO_SLOT`] for what is no node, or dead with all its chain.
    nodes: Vec<u32>,
    /// New head and new slot of every chained slot.
    chained: Vec<(u32, u32)>,
}

impl Names {
    fn node(&self, old: u32) -> Option<u32> {
        self.nodes.get(old as usize).copied().filter(|&slot| slot != NO_SLOT)
    }

    /// The new slots of nodes.
    fn living(&self) -> impl Iterator<Item = u32> + '_ {
        self.nodes.iter().copied().filter(|&slot| slot != NO_SLOT)
    }

    /// Nodes and what is chained to them.
    fn slots(&self) -> Vec<Slot> {
        self.living().chain(self.chained.iter().map(|&(_, slot)| slot)).map(Slot).collect()
    }

    /// True if every node that lives has the number that it had.
    fn keep_numbers(&self) -> bool {
        self.nodes.iter().zip(0..).all(|(&new, old)| new == old || new == NO_SLOT)
    }
}
