//! A full check of the structure of a graph: for tests, for `fsck`, and for a background look at a mapped file.
//!
//! It refuses to know distances: whether neighbours are well chosen is measured by recall, not checked here.

use nearfield_types::Slot;

use crate::graph::Graph;
use crate::links::{Links, NO_SLOT};
use crate::view::GraphView;

/// What is wrong with a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A row names a slot beyond the length.
    Beyond {
        /// Whose row.
        slot: Slot,
        /// The level of the row.
        level: u32,
        /// What it names.
        neighbour: u32,
    },
    /// A row names its own slot.
    Own {
        /// Whose row.
        slot: Slot,
        /// The level of the row.
        level: u32,
    },
    /// A row names a slot twice.
    Twice {
        /// Whose row.
        slot: Slot,
        /// The level of the row.
        level: u32,
        /// What it names twice.
        neighbour: Slot,
    },
    /// A row has an empty place before a full one.
    Gap {
        /// Whose row.
        slot: Slot,
        /// The level of the row.
        level: u32,
    },
    /// A chain of equal vectors leads to a slot that is linked itself, or was in a chain before.
    Chain {
        /// The slot the chain leads to.
        slot: Slot,
    },
    /// A linked slot cannot be reached from the entry on level 0.
    Unreachable {
        /// The slot.
        slot: Slot,
    },
    /// The number of slots that are linked is not what the graph says.
    Count {
        /// What it says.
        said: u32,
        /// What was reached.
        reached: u32,
    },
}

/// A graph that can be verified.
pub trait Verify {
    /// Every violation, at most `max`. O(n m). Nobody links meanwhile.
    fn verify(&self, max: usize) -> Vec<Violation>;
}

impl Verify for Graph {
    fn verify(&self, max: usize) -> Vec<Violation> {
        check(self, self.linked(), max)
    }
}

impl Verify for GraphView {
    fn verify(&self, max: usize) -> Vec<Violation> {
        check(&self.links(), self.linked(), max)
    }
}

fn check<L: Links>(links: &L, linked: u32, max: usize) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut row = Vec::new();
    'rows: for slot in 0..links.len() {
        for level in 0..=links.top() {
            row.clear();
            links.neighbours(slot, level, |neighbour| row.push(neighbour));
            check_row(&mut row, Slot(slot), level, links.len(), &mut violations);
            if violations.len() >= max {
                break 'rows;
            }
        }
    }
    let reached = reach(links, links.entry(links.top()), &mut violations);
    for slot in 0..links.len() {
        let mut has_links = false;
        links.neighbours(slot, 0, |neighbour| has_links |= neighbour != NO_SLOT);
        if has_links && !reached[slot as usize] {
            violations.push(Violation::Unreachable { slot: Slot(slot) });
        }
    }
    let count = reached.iter().filter(|&&reached| reached).count() as u32;
    if count != linked {
        violations.push(Violation::Count { said: linked, reached: count });
    }
    violations.truncate(max);
    violations
}

fn check_row(row: &mut Vec<u32>, slot: Slot, level: u32, len: u32, violations: &mut Vec<Violation>) {
    let count = row.iter().take_while(|&&neighbour| neighbour != NO_SLOT).count();
    if row[count..].iter().any(|&neighbour| neighbour != NO_SLOT) {
        violations.push(Violation::Gap { slot, level });
    }
    row.retain(|&neighbour| neighbour != NO_SLOT);
    row.sort_unstable();
    for &neighbour in &*row {
        if neighbour >= len {
            violations.push(Violation::Beyond { slot, level, neighbour });
        }
        if neighbour == slot.0 {
            violations.push(Violation::Own { slot, level });
        }
    }
    for pair in row.windows(2).filter(|pair| pair[0] == pair[1]) {
        violations.push(Violation::Twice { slot, level, neighbour: Slot(pair[0]) });
    }
}

/// The slots that can be found from `entry`: over level-0 rows, and along chains.
fn reach<L: Links>(links: &L, entry: Option<u32>, violations: &mut Vec<Violation>) -> Vec<bool> {
    let mut reached = vec![false; links.len() as usize];
    let mut open: Vec<u32> = entry.into_iter().collect();
    while let Some(slot) = open.pop() {
        match reached.get_mut(slot as usize) {
            Some(reached) if !*reached => *reached = true,
            _ => continue,
        }
        links.neighbours(slot, 0, |neighbour| open.push(neighbour));
    }
    for head in 0..links.len() {
        let is_reached_head = reached[head as usize] && is_head(links, head);
        let mut next = if is_reached_head { links.next_duplicate(head) } else { None };
        while let Some(slot) = next {
            match reached.get_mut(slot as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => {
                    violations.push(Violation::Chain { slot: Slot(slot) });
                    break;
                }
            }
            next = links.next_duplicate(slot);
        }
    }
    reached
}

/// True if `slot` is linked itself.
fn is_head<L: Links>(links: &L, slot: u32) -> bool {
    let mut has_links = links.entry(links.top()) == Some(slot) || links.entry(0) == Some(slot);
    links.neighbours(slot, 0, |neighbour| has_links |= neighbour != NO_SLOT);
    has_links
}
