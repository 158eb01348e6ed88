//! The operations for an event loop: the work is done by threads of our own, and the loop is told when it is done.
//!
//! Arguments are read before an operation begins, so that the caller may change them afterwards. A future that was cancelled meanwhile is
//! left alone; what was begun is done all the same, as a write must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_platform::Workers;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::answers::Answer;
use crate::errors::value_error;
use crate::failure::Failure;
use crate::fork::Birth;
use crate::handle::Handle;
use crate::operations::{self, Outcome};

/// Writers wait for the disk, so there may be more of us than processors.
const THREADS_MIN: usize = 4;
const THREADS_MAX: usize = 32;

/// The threads of this process. A child of a fork has none of them and gets its own.
static POOL: Mutex<Option<(Birth, Arc<Workers>)>> = Mutex::new(None);

/// True once Python shuts down.
static FINISHED: AtomicBool = AtomicBool::new(false);

/// The operations of a database, each returning a future of the loop given.
#[pyclass(frozen, module = "nearfield._nearfield", name = "_Later")]
pub(crate) struct Later {
    handle: Arc<Handle>,
}

impl Later {
    pub(crate) fn new(handle: Arc<Handle>) -> Later {
        Later { handle }
    }
}

#[pymethods]
impl Later {
    fn put<'py>(
        &self,
        on: &Bound<'py, PyAny>,
        id: &Bound<'py, PyString>,
        vector: &Bound<'py, PyAny>,
        metadata: Option<&Bound<'py, PyDict>>,
        new: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::put(&self.handle, id, vector, metadata, new)?)
    }

    fn put_many<'py>(
        &self,
        on: &Bound<'py, PyAny>,
        ids: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        metadatas: Option<&Bound<'py, PyAny>>,
        new: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::put_many(&self.handle, ids, vectors, metadatas, new)?)
    }

    #[expect(clippy::too_many_arguments, reason = "the arguments of the Python method")]
    fn search<'py>(
        &self,
        on: &Bound<'py, PyAny>,
        vector: &Bound<'py, PyAny>,
        k: i64,
        ef_search: Option<i64>,
        where_filter: Option<&Bound<'py, PyAny>>,
        max_distance: Option<f64>,
        many: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ask = operations::ask(&self.handle, k, ef_search, where_filter, max_distance)?;
        match many {
            true => later(on, operations::search_many(&self.handle, vector, ask)?),
            false => later(on, operations::search(&self.handle, vector, ask)?),
        }
    }

    fn get<'py>(&self, on: &Bound<'py, PyAny>, id: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::get(&self.handle, id)?)
    }

    fn delete<'py>(&self, on: &Bound<'py, PyAny>, id: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::delete(&self.handle, id)?)
    }

    fn delete_many<'py>(
        &self,
        on: &Bound<'py, PyAny>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::delete_many(&self.handle, ids)?)
    }

    fn update<'py>(
        &self,
        on: &Bound<'py, PyAny>,
        id: &Bound<'py, PyString>,
        vector: Option<&Bound<'py, PyAny>>,
        metadata: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        later(on, operations::update(&self.handle, id, vector, metadata)?)
    }

    /// One of "save", "compact", "leave" and "close".
    fn call<'py>(&self, on: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyAny>> {
        match what {
            "save" => later(on, operations::save(&self.handle)),
            "compact" => later(on, operations::compact(&self.handle)),
            "leave" => later(on, operations::leave(&self.handle)),
            "close" => later(on, operations::close(&self.handle)),
            _ => Err(value_error(format!("there is no operation {what:?}"))),
        }
    }
}

/// Has the work done and returns a future of the loop `on`.
fn later<'py, T: Answer>(
    on: &Bound<'py, PyAny>,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    let future = on.call_method0("create_future")?;
    let (to, told) = (on.clone().unbind(), future.clone().unbind());
    let pool = pool().map_err(|error| value_error(error.to_string()))?;
    pool.spawn(move || {
        // Whatever becomes of the work, the one who waits is told.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // Without an interpreter there is nobody to be told.
        let _ = Python::try_attach(|py| tell(py, &to, &told, outcome));
    });
    // The last to hold the pool waits for its threads, which wait for the interpreter.
    if let Some(last) = Arc::into_inner(pool) {
        on.py().detach(|| drop(last));
    }
    Ok(future)
}

/// Tells the loop what came of the work. A loop that was closed meanwhile hears nothing.
fn tell<T: Answer>(
    py: Python<'_>,
    on: &Py<PyAny>,
    future: &Py<PyAny>,
    outcome: std::thread::Result<Result<T, Failure>>,
) {
    let answer = match outcome {
        Ok(Ok(value)) => value.answer(py),
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(PyRuntimeError::new_err("the operation panicked: this is a defect of nearfield")),
    };
    let (value, error) = match answer {
        Ok(value) => (value, py.None()),
        Err(error) => (py.None(), error.into_value(py).into_any()),
    };
    let told = py.import("nearfield._async").and_then(|module| {
        let settle = module.getattr("_settle")?;
        on.bind(py).call_method1("call_soon_threadsafe", (settle, future, value, error))
    });
    drop(told);
}

/// Waits for what is under way. A thread that asked for the interpreter while it shuts down would never return.
#[pyfunction]
fn finish(py: Python<'_>) {
    py.detach(|| {
        let taken = {
            let mut pool = POOL.lock();
            FINISHED.store(true, Ordering::Release);
            pool.take()
        };
        // Outside the lock: what is under way may ask for it.
        match taken {
            Some((birth, workers)) if !birth.is_here() => std::mem::forget(workers),
            taken => drop(taken),
        }
    });
}

/// Has Python wait for what is under way before it shuts down.
pub(crate) fn watch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let atexit = module.py().import("atexit")?;
    atexit.call_method1("register", (pyo3::wrap_pyfunction!(finish, module)?,)).map(drop)
}

fn pool() -> std::io::Result<Arc<Workers>> {
    let mut pool = POOL.lock();
    if FINISHED.load(Ordering::Acquire) {
        return Err(std::io::Error::other("Python is shutting down: nothing more can be begun"));
    }
    if let Some((birth, workers)) = &*pool {
        if birth.is_here() {
            return Ok(Arc::clone(workers));
        }
        // Its threads are the parent's: dropping it would wait for them for ever.
        std::mem::forget(Arc::clone(workers));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A panic is told to the one who waits, who is the only one it concerns.
    let workers = Workers::new("nearfield-async", cores.clamp(THREADS_MIN, THREADS_MAX), Arc::new(|_| {}))?;
    let workers = Arc::new(workers);
    *pool = Some((Birth::now(), Arc::clone(&workers)));
    Ok(workers)
}
