//! Merging: a new graph takes over the links of an old one instead of searching for them again.
//!
//! It refuses to choose what to merge: the caller says which graph is the largest and where its slots go.

use nearfield_ann::Stopped;
use nearfield_types::Slot;

use crate::graph::{Graph, Scorers};
use crate::link::Linker;
use crate::links::{Links, NO_SLOT};
use crate::view::GraphView;

/// Candidates for a row that lost neighbours.
const HEAL_CANDIDATES_MAX: usize = 160;

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The slots that stand in the new graph now.
    pub slots: Vec<Slot>,
    /// Rows of these that had lost neighbours and were chosen anew.
    pub healed: u32,
}

impl Graph {
    /// Takes over the links of `source` into this graph, which is empty. `moved(s)` is the new slot of the old slot `s`, or `None`
    /// if it is dead; no new slot is given twice. Links that led to dead slots are replaced: what those led to are the candidates.
    /// Slots of other sources are linked afterwards, by [`Graph::link`]; the scorers are for the new slots.
    ///
    /// # Errors
    ///
    /// What a scorer returned; then this graph is worth nothing.
    ///
    /// # Complexity
    ///
    /// O(n m) copies; a row chosen anew costs a few hundred scores, a slot above level 0 one search of the upper levels.
    pub fn adopt(
        &self,
        source: &GraphView,
        moved: &dyn Fn(Slot) -> Option<Slot>,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<Adopted, Stopped> {
        let links = source.links();
        let names = self.take_names(&links, moved);
        let mut adopted = Adopted::default();
        let mut wounded = Vec::new();
        for old in 0..links.len() {
            let Some(new) = names.node(old) else { continue };
            adopted.slots.push(Slot(new));
            linker.row.clear();
            let mut lost = false;
            links.neighbours(old, 0, |neighbour| match names.node(neighbour) {
                Some(neighbour) if neighbour != new => linker.row.push(neighbour),
                _ => lost |= neighbour != NO_SLOT,
            });
            self.rows.write(new, 0, &linker.row);
            if lost {
                wounded.push((old, new));
            }
            self.count_linked();
        }
        for &(head, slot) in &names.chained {
            self.chain(head, slot);
            self.count_linked();
            adopted.slots.push(Slot(slot));
        }
        for slot in &adopted.slots {
            self.measure(slot.0, scorers)?;
        }
        self.link_uppers(&names, scorers, linker)?;
        for (old, new) in wounded {
            self.heal(&links, &names, old, new, scorers, linker)?;
            adopted.healed += 1;
        }
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

    /// Links the adopted nodes that stand above level 0 on their upper levels.
    fn link_uppers(
        &self,
        names: &Names,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        let mut nodes: Vec<u32> = names.nodes.iter().copied().filter(|&slot| slot != NO_SLOT).collect();
        nodes.sort_unstable();
        let Some(&first) = nodes.first() else { return Ok(()) };
        self.found(first, self.rows.level(first));
        for slot in nodes {
            let level = self.rows.level(slot);
            if level == 0 || slot == first {
                continue;
            }
            let highest = level.min(self.top());
            if highest > 0 {
                self.gather_above(slot, level, scorers, linker)?;
                for level in 1..=highest {
                    let chosen = linker.take_chosen(level);
                    self.connect(slot, level, &chosen, scorers, linker)?;
                }
            }
            self.raise(slot, level);
        }
        Ok(())
    }

    /// Chooses the row of `new` anew: among what is left of it and what the dead neighbours of `old` led to.
    fn heal<L: Links>(
        &self,
        links: &L,
        names: &Names,
        old: u32,
        new: u32,
        scorers: &mut Scorers<'_>,
        linker: &mut Linker,
    ) -> Result<(), Stopped> {
        linker.slots.clear();
        links.neighbours(old, 0, |neighbour| match names.node(neighbour) {
            Some(living) => linker.slots.push(Slot(living)),
            None => links.neighbours(neighbour, 0, |next| linker.slots.extend(names.node(next).map(Slot))),
        });
        linker.slots.retain(|slot| slot.0 != new);
        linker.slots.sort_unstable();
        linker.slots.dedup();
        if linker.slots.len() < self.params().m() as usize {
            // Too few are left around it: look for the neighbourhood in what stands already.
            self.gather(new, scorers, linker)?;
            let near = linker.candidates.iter().map(|near| Slot(near.slot));
            linker.slots.extend(near);
            linker.slots.sort_unstable();
            linker.slots.dedup();
        }
        self.judge(new, scorers, linker)?;
        let Linker { selection, candidates, .. } = linker;
        candidates.truncate(HEAL_CANDIDATES_MAX);
        selection.choose(candidates, self.rows.width(0), self.params(), scorers.judge)?;
        let chosen = std::mem::take(&mut linker.selection.chosen);
        self.connect(new, 0, &chosen, scorers, linker)?;
        linker.selection.chosen = chosen;
        Ok(())
    }
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
}
