//! Working memory of searches, owned by the caller and used again.
//!
//! It refuses to know what an index keeps in it.

use std::any::Any;
use std::fmt;

/// Working memory that outlives one search, so that the next one allocates nothing.
///
/// Each kind of index keeps one value of its own type here ([`state`](Scratch::state)): buffers, a visited set, the pool of a
/// walk. One scratch serves any sequence of indexes; their states lie side by side.
///
/// # Resuming
///
/// [`VectorIndex::search`](crate::VectorIndex::search) always starts anew and never reads what an earlier search left. An
/// index that can continue a walk (range search, paging) leaves its frontier in its state and offers a method of its own that
/// takes the same scratch; the state must name the index and the query it belongs to, and refuse any other.
///
/// # Complexity
///
/// As much memory as the largest search needed; [`Scratch::clear`] gives it back.
///
/// # Concurrency
///
/// One search at a time. It is `Send`: pools of scratches may hand it from thread to thread.
#[derive(Default)]
pub struct Scratch {
    states: Vec<Box<dyn Any + Send>>,
}

impl Scratch {
    /// An empty one; it allocates nothing.
    pub fn new() -> Self {
        Scratch::default()
    }

    /// The state of type `T`, made by its default when it is first asked for. O(kinds of index met).
    ///
    /// ```
    /// let mut scratch = nearfield_ann::Scratch::new();
    /// scratch.state::<Vec<u32>>().push(7);
    /// assert!(scratch.state::<String>().is_empty());
    /// assert_eq!(scratch.state::<Vec<u32>>(), &[7]);
    /// ```
    pub fn state<T: Any + Send + Default>(&mut self) -> &mut T {
        let at = match self.states.iter().position(|state| state.is::<T>()) {
            Some(at) => at,
            None => {
                self.states.push(Box::<T>::default());
                self.states.len() - 1
            }
        };
        self.states[at].downcast_mut().expect("the position was found by this very type")
    }

    /// Gives all memory back.
    pub fn clear(&mut self) {
        self.states.clear();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({} states)", self.states.len())
    }
}
