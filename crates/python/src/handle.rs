//! What one Python object holds: an open directory, or only a view of what it was.
//!
//! Leaving `with` gives the directory up and keeps a view, so that the handle can still read; the next write opens the directory again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::filter::Filter;
use nearfield::{Metric, View};
use parking_lot::RwLock;
use pyo3::prelude::*;

use crate::failure::Failure;
use crate::fork::Birth;
use crate::glance::{Seen, look};
use crate::store::{Opening, Store, Wanted, metric_name};

/// A handle to a database.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) opening: Opening,
    pub(crate) read_only: bool,
    birth: Birth,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
    pub(crate) quantized: AtomicBool,
    hold: RwLock<Hold>,
}

#[derive(Debug)]
enum Hold {
    /// The directory, open for writing.
    Open(Arc<Store>),
    /// What it was when it was given up, or when it was opened for reading.
    Rest { view: View, deleted: u64 },
    /// Nothing.
    Closed,
}

impl Handle {
    /// Opens the directory for writing, or makes it.
    pub(crate) fn writer(opening: Opening, wanted: &Wanted) -> Result<Handle, Failure> {
        let store = opening.open(wanted)?;
        Ok(Handle {
            opening,
            read_only: false,
            birth: Birth::now(),
            dim: store.dim,
            metric: store.metric,
            quantized: AtomicBool::new(store.quantized()),
            hold: RwLock::new(Hold::Open(store)),
        })
    }

    /// Looks at the directory as it is now, without a lock.
    pub(crate) fn reader(opening: Opening, wanted: &Wanted) -> Result<Handle, Failure> {
        let Seen { view, state, dim, metric } = look(&opening)?;
        wanted.check(dim, metric)?;
        Ok(Handle {
            opening,
            read_only: true,
            birth: Birth::now(),
            dim,
            metric,
            quantized: AtomicBool::new(state.quantized || wanted.quantize),
            hold: RwLock::new(Hold::Rest { view, deleted: state.deleted }),
        })
    }

    /// What can be read now.
    pub(crate) fn view(&self) -> Result<View, Failure> {
        self.birth.check()?;
        match &*self.hold.read() {
            Hold::Open(store) if store.is_shut() => Err(closed()),
            Hold::Open(store) => Ok(store.view()),
            Hold::Rest { view, .. } => Ok(view.clone()),
            Hold::Closed => Err(closed()),
        }
    }

    /// What can be read now by a filter, which has the indexes made that would answer it.
    pub(crate) fn view_for(&self, filter: Option<&Filter>) -> Result<View, Failure> {
        if let (Some(filter), Hold::Open(store)) = (filter, &*self.hold.read())
            && self.birth.is_here()
            && !store.is_shut()
        {
            store.index_for(filter);
        }
        self.view()
    }

    /// Slots that were given up and not yet reclaimed.
    pub(crate) fn deleted(&self) -> Result<u64, Failure> {
        self.birth.check()?;
        match &*self.hold.read() {
            Hold::Open(store) => Ok(store.deleted()),
            Hold::Rest { deleted, .. } => Ok(*deleted),
            Hold::Closed => Err(closed()),
        }
    }

    /// The directory, open for writing; opened again if it was given up.
    pub(crate) fn store(&self) -> Result<Arc<Store>, Failure> {
        self.birth.check()?;
        match &*self.hold.read() {
            Hold::Open(store) if store.is_shut() => return Err(closed()),
            Hold::Open(store) => return Ok(Arc::clone(store)),
            Hold::Rest { .. } | Hold::Closed => {}
        }
        let mut hold = self.hold.write();
        match &*hold {
            Hold::Open(store) => Ok(Arc::clone(store)),
            Hold::Closed => Err(closed()),
            Hold::Rest { .. } if self.read_only => Err(Failure::value("database is read-only")),
            Hold::Rest { .. } => {
                let wanted = Wanted { metric: Some(self.metric), ..Wanted::default() };
                let store = self.opening.open(&wanted)?;
                if store.dim != self.dim {
                    return Err(Failure::dimension(self.dim, store.dim));
                }
                *hold = Hold::Open(Arc::clone(&store));
                Ok(store)
            }
        }
    }

    /// The directory if this handle holds it.
    pub(crate) fn held(&self) -> Result<Option<Arc<Store>>, Failure> {
        self.birth.check()?;
        match &*self.hold.read() {
            Hold::Open(store) if store.is_shut() => Err(closed()),
            Hold::Open(store) => Ok(Some(Arc::clone(store))),
            Hold::Rest { .. } => Ok(None),
            Hold::Closed => Err(closed()),
        }
    }

    /// Saves, and gives the directory up. What is in memory has nowhere to go and stays.
    pub(crate) fn rest(&self) -> Result<(), Failure> {
        self.birth.check()?;
        // Whoever has closed it, or deleted it, has nothing left to give up.
        let store = match &*self.hold.read() {
            Hold::Open(store) if !store.is_shut() => Arc::clone(store),
            _ => return Ok(()),
        };
        store.refuse_handler()?;
        if self.opening.path.is_none() {
            return Ok(());
        }
        let saved = store.save();
        let rest = Hold::Rest { view: store.view(), deleted: store.deleted() };
        drop(store);
        // The last to hold the store closes it: outside the lock, so that readers need not wait for it.
        let given_up = std::mem::replace(&mut *self.hold.write(), rest);
        drop(given_up);
        saved
    }

    /// Saves and lets go of everything. A second time does nothing.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        self.birth.check()?;
        if let Hold::Open(store) = &*self.hold.read() {
            store.refuse_handler()?;
        }
        let given_up = std::mem::replace(&mut *self.hold.write(), Hold::Closed);
        match given_up {
            Hold::Open(store) if self.opening.path.is_some() && !store.is_shut() => store.save(),
            _ => Ok(()),
        }
    }

    pub(crate) fn quantized(&self) -> bool {
        self.quantized.load(Ordering::Relaxed)
    }

    /// One line about it.
    pub(crate) fn describe(&self) -> String {
        let (dim, metric, place) = (self.dim, metric_name(self.metric), self.opening.place());
        let records =
            self.view().map_or_else(|_| "closed".to_owned(), |view| format!("{} records", view.count()));
        let mode = if self.read_only { ", read-only" } else { "" };
        format!("nearfield.Database({place:?}: {records}, dim {dim}, {metric}{mode})")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let hold = std::mem::replace(self.hold.get_mut(), Hold::Closed);
        match hold {
            // Its threads and its lock are the parent's: leave all as it is.
            hold if !self.birth.is_here() => std::mem::forget(hold),
            // The last handle closes the directory, which takes a while: other Python threads may run.
            Hold::Open(store) => {
                let mut store = Some(store);
                let _ = Python::try_attach(|py| py.detach(|| drop(store.take())));
            }
            other => drop(other),
        }
    }
}

fn closed() -> Failure {
    Failure::value("database is closed")
}
