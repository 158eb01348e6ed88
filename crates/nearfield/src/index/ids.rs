//! Which slot holds which id, and which slots are dead.
//!
//! It refuses to know vectors. The map from id to slot is made when it is first asked for: a mapped index that only searches
//! never needs it.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_ann::{Admit, Estimate};
use nearfield_codec::Region;
use nearfield_column::{Column, ColumnWriter};
use nearfield_types::Slot;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

/// What stands where there is no id.
pub(super) const NO_ID: u64 = u64::MAX;

pub(super) struct Ids {
    by_slot: BySlot,
    by_id: OnceLock<RwLock<Map>>,
    dead: RwLock<Dead>,
    /// Slots in `dead`; what lets searches without deaths do without its lock.
    dead_count: AtomicU64,
}

enum BySlot {
    Memory {
        column: std::sync::Arc<Column<u64>>,
        writer: Mutex<ColumnWriter<u64>>,
    },
    /// Little-endian numbers in a file.
    Mapped(Region),
}

#[derive(Default)]
struct Map {
    slots: HashMap<u64, u32>,
    /// What the next vector without an id gets.
    next: u64,
}

/// One bit per dead slot.
#[derive(Default)]
pub(super) struct Dead {
    words: Vec<u64>,
}

impl Dead {
    fn has(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// True if it was not dead before.
    fn kill(&mut self, slot: u32) -> bool {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let was = self.words[word] & bit != 0;
        self.words[word] |= bit;
        !was
    }
}

impl Ids {
    /// None yet.
    pub(super) fn new() -> Ids {
        let (writer, column) = Column::create(1);
        Ids::over(BySlot::Memory { column, writer: Mutex::new(writer) })
    }

    /// Those of a file, all living.
    pub(super) fn mapped(region: Region) -> Ids {
        Ids::over(BySlot::Mapped(region))
    }

    fn over(by_slot: BySlot) -> Ids {
        let (dead, dead_count) = (RwLock::default(), AtomicU64::new(0));
        Ids { by_slot, by_id: OnceLock::new(), dead, dead_count }
    }

    /// Whether there are numbers left for so many vectors without ids.
    pub(super) fn can_number(&self, count: usize) -> bool {
        count as u64 <= NO_ID - self.map().read().next
    }

    /// Gives the slots from `first` on their ids; what had these before is dead. Without ids there are numbers left: see
    /// [`Ids::can_number`].
    pub(super) fn append(&self, first: u32, count: usize, ids: Option<&[u64]>) {
        let BySlot::Memory { writer, .. } = &self.by_slot else { return };
        let mut map = self.map().write();
        let mut writer = writer.lock();
        for at in 0..count {
            let id = ids.map_or(map.next, |ids| ids[at]);
            map.next = map.next.max(id.saturating_add(1));
            let slot = first + at as u32;
            if let Some(before) = map.slots.insert(id, slot) {
                self.kill(before);
            }
            // There are as many ids as rows, which are within the limit of both columns.
            writer.push(&[id]);
        }
    }

    /// Forgets ids and returns how many there were.
    pub(super) fn remove(&self, ids: &[u64]) -> usize {
        let mut map = self.map().write();
        let removed = ids.iter().filter_map(|id| map.slots.remove(id));
        removed.map(|slot| self.kill(slot)).count()
    }

    fn kill(&self, slot: u32) {
        if self.dead.write().kill(slot) {
            self.dead_count.fetch_add(1, Ordering::Release);
        }
    }

    /// The id of a slot.
    pub(super) fn id(&self, slot: Slot) -> u64 {
        match &self.by_slot {
            BySlot::Memory { column, .. } => column.view().row(slot.0).map_or(NO_ID, |id| id[0]),
            BySlot::Mapped(region) => numbers(region).get(slot.index()).copied().unwrap_or(NO_ID),
        }
    }

    /// The slot of an id.
    pub(super) fn slot(&self, id: u64) -> Option<Slot> {
        self.map().read().slots.get(&id).map(|&slot| Slot(slot))
    }

    fn map(&self) -> &RwLock<Map> {
        self.by_id.get_or_init(|| {
            let mut map = Map::default();
            let dead = self.dead.read();
            for slot in (0..self.slots()).filter(|&slot| !dead.has(slot)) {
                let id = self.id(Slot(slot));
                map.slots.insert(id, slot);
                map.next = map.next.max(id.saturating_add(1));
            }
            RwLock::new(map)
        })
    }

    /// Slots there are, dead ones included.
    pub(super) fn slots(&self) -> u32 {
        match &self.by_slot {
            BySlot::Memory { column, .. } => column.len(),
            BySlot::Mapped(region) => numbers(region).len() as u32,
        }
    }

    /// Living ids.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.slots()) - self.dead()
    }

    /// Dead slots.
    pub(super) fn dead(&self) -> u64 {
        self.dead_count.load(Ordering::Acquire)
    }

    /// The living slots of the first `slots`, in order.
    pub(super) fn living(&self, slots: u32) -> Vec<Slot> {
        let dead = self.dead.read();
        (0..slots.min(self.slots())).filter(|&slot| !dead.has(slot)).map(Slot).collect()
    }

    /// Admits what lives, for the length of one search.
    pub(super) fn alive(&self) -> Alive<'_> {
        let slots = u64::from(self.slots());
        match self.dead() {
            0 => Alive { dead: None, slots },
            _ => Alive { dead: Some(self.dead.read()), slots },
        }
    }

    pub(super) fn memory(&self) -> u64 {
        let by_slot = match &self.by_slot {
            BySlot::Memory { column, .. } => column.memory(),
            BySlot::Mapped(_) => 0,
        };
        let by_id = self.by_id.get().map_or(0, |map| map.read().slots.capacity() as u64 * 17);
        by_slot + by_id + self.dead.read().words.len() as u64 * 8
    }
}

/// The numbers of a mapped section, which begins at a multiple of 64 and is a multiple of 8 long: its opening checked both.
fn numbers(region: &Region) -> &[u64] {
    bytemuck::cast_slice(region)
}

/// Admits slots that are not dead.
pub(super) struct Alive<'a> {
    dead: Option<RwLockReadGuard<'a, Dead>>,
    slots: u64,
}

impl Admit for Alive<'_> {
    fn retain(&self, slots: &mut Vec<Slot>) {
        if let Some(dead) = &self.dead {
            slots.retain(|slot| !dead.has(slot.0));
        }
    }

    fn estimate(&self) -> Estimate {
        match &self.dead {
            // Also of slots that are added while the search runs.
            None => Estimate::exactly(u64::MAX),
            Some(dead) => {
                let count: u64 = dead.words.iter().map(|word| u64::from(word.count_ones())).sum();
                // Not exactly so many: an index may hold fewer slots than there are, and must not take that for all of its own.
                Estimate { low: 0, likely: self.slots.saturating_sub(count), high: self.slots }
            }
        }
    }
}
