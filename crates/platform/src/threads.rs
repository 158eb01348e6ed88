//! Threads: a pool for jobs and a ticker for what must be done every so often.
//!
//! A panic in a job ends the job, not the thread or the process, and is never lost: it is reported to the owner's hook, and to
//! whoever waits for the job.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::{Condvar, Mutex};

/// A job that panicked, with what it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job of {thread} panicked: {message}")]
pub struct Panicked {
    /// The pool or ticker.
    pub thread: String,
    /// What it panicked with, if that was text.
    pub message: String,
}

/// Told of every panic, in the thread where it happened; must not panic itself.
pub type PanicHook = Arc<dyn Fn(&Panicked) + Send + Sync>;

/// Does `job` for `thread`, which is how the report calls it; a panic becomes an error and is reported.
///
/// ```
/// use std::sync::Arc;
///
/// let quiet: nearfield_platform::PanicHook = Arc::new(|_| {});
/// let job = || -> u32 { panic!("no such luck") };
/// assert_eq!(nearfield_platform::guarded("worker", &quiet, job).unwrap_err().message, "no such luck");
/// ```
///
/// # Errors
///
/// [`Panicked`].
pub fn guarded<T>(thread: &str, hook: &PanicHook, job: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What the job leaves half done is its owner's concern, whom the hook tells; nothing of ours is shared with it.
    catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
        let panicked = Panicked { thread: thread.to_owned(), message: message(&*payload) };
        hook(&panicked);
        panicked
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "something that is not text".to_owned(),
    }
}

/// How a thread stands against others when there are fewer processors than work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// As every thread of the process.
    #[default]
    Normal,
    /// It gives way to the others where the system knows such a thing; so do the threads that it starts. For work that takes long and
    /// that nobody waits for.
    Background,
}

impl Urgency {
    /// Lets the calling thread have it, for good: a thread that gave way cannot take it back.
    fn take_on(self) {
        if self == Urgency::Background {
            give_way();
        }
    }
}

/// The system's measure of giving way, of at most 19: another thread gets about nine times the time of one that gives way by 10.
#[cfg(target_os = "linux")]
const BACKGROUND_NICE: i32 = 10;

#[cfg(target_os = "linux")]
fn give_way() {
    let has_given = rustix::process::getpriority_process(None).is_ok_and(|nice| nice >= BACKGROUND_NICE);
    if !has_given {
        // Where it is refused the work is done all the same.
        let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
    }
}

/// Elsewhere the call is for the whole process, with the threads that people wait for.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// Runs `work` on `threads` threads at once, each with its number, and returns when all are done. The caller's thread is number 0,
/// so `threads` of 0 or 1 starts none; where the system gives no further thread, those there are do the work.
///
/// # Panics
///
/// If `work` panicked on one of them.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let next = AtomicU32::new(0);
/// nearfield_platform::on_threads(3, &|_| while next.fetch_add(1, Ordering::Relaxed) < 100 {});
/// assert!(next.into_inner() >= 100);
/// ```
pub fn on_threads(threads: usize, work: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| {
        for number in 1..threads {
            let name = format!("work-{number}");
            let _ = std::thread::Builder::new().name(name).spawn_scoped(scope, move || work(number));
        }
        work(0);
    });
}

type Task = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that do jobs in the order in which they come. Dropped, it does what is queued and joins.
///
/// A job must not wait for another job of the same pool: all threads could be waiting.
///
/// ```
/// use nearfield_platform::Workers;
/// use std::sync::Arc;
///
/// let workers = Workers::new("builder", 2, Arc::new(|panicked| eprintln!("{panicked}")))?;
/// let job = workers.spawn(|| 6 * 7);
/// assert_eq!(job.wait(), Ok(42));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Workers {
    name: Arc<str>,
    hook: PanicHook,
    /// Gone only while the pool is being dropped.
    queue: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `threads` threads (at least one) named after `name`.
    ///
    /// # Errors
    ///
    /// If the system gives no thread; those started before are joined.
    pub fn new(name: &str, threads: usize, hook: PanicHook) -> io::Result<Workers> {
        Workers::with_urgency(name, threads, Urgency::Normal, hook)
    }

    /// As [`Workers::new`], with threads that stand like this against others.
    ///
    /// # Errors
    ///
    /// As [`Workers::new`].
    pub fn with_urgency(
        name: &str,
        threads: usize,
        urgency: Urgency,
        hook: PanicHook,
    ) -> io::Result<Workers> {
        let (queue, tasks) = unbounded();
        let mut workers = Workers { name: name.into(), hook, queue: Some(queue), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let tasks: Receiver<Task> = tasks.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            let work = move || {
                urgency.take_on();
                tasks.into_iter().for_each(|task| task());
            };
            workers.threads.push(thread.spawn(work)?);
        }
        Ok(workers)
    }

    /// Queues a job. Its result may be waited for, or left alone; a panic reaches the hook either way.
    pub fn spawn<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (sender, result) = bounded(1);
        let (name, hook) = (Arc::clone(&self.name), Arc::clone(&self.hook));
        let task = move || {
            // Nobody may be waiting.
            let _ = sender.send(guarded(&name, &hook, job));
        };
        if let Some(queue) = &self.queue {
            // The threads hold the other end as long as the pool lives.
            let _ = queue.send(Box::new(task));
        }
        Job { name: Arc::clone(&self.name), result }
    }

    /// Jobs that no thread has taken yet.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, Sender::len)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        join(self.threads.drain(..));
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} x {})", self.name, self.threads.len())
    }
}

/// Joins what is not the current thread: the last owner may be a job itself, and no thread outlives its work anyway.
fn join(threads: impl Iterator<Item = JoinHandle<()>>) {
    for thread in threads.filter(|thread| thread.thread().id() != std::thread::current().id()) {
        // Jobs are guarded, so there is no panic to pass on but one of the hook, which has been printed.
        let _ = thread.join();
    }
}

/// The result of a job, some time.
#[derive(Debug)]
pub struct Job<T> {
    name: Arc<str>,
    result: Receiver<Result<T, Panicked>>,
}

impl<T> Job<T> {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if the job did.
    pub fn wait(self) -> Result<T, Panicked> {
        let lost =
            || Panicked { thread: self.name.to_string(), message: "its panic hook panicked".to_owned() };
        self.result.recv().unwrap_or_else(|_| Err(lost()))
    }

    /// The result, if it is there.
    pub fn poll(&self) -> Option<Result<T, Panicked>> {
        self.result.try_recv().ok()
    }
}

/// One thread that does the same thing every so often, and at once when woken. Dropped, it stops and joins; a tick under way is
/// finished.
///
/// After a panic it is reported and the ticker stops: what it did is in an unknown state, and repeating it could do harm.
///
/// ```
/// use nearfield_platform::Ticker;
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
///
/// let (tell, told) = mpsc::channel();
/// let hour = Duration::from_secs(3600);
/// let ticker = Ticker::spawn("syncer", hour, Arc::new(|panicked| eprintln!("{panicked}")), move || {
///     let _ = tell.send(());
/// })?;
/// ticker.wake();
/// told.recv().expect("it was woken");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Ticker {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    stopped: bool,
}

impl Ticker {
    /// Calls `tick` every `period`, counted from the end of one to the begin of the next; `Duration::MAX` only when woken.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn spawn(
        name: &str,
        period: Duration,
        hook: PanicHook,
        mut tick: impl FnMut() + Send + 'static,
    ) -> io::Result<Ticker> {
        Ticker::run(name, Urgency::Normal, period, hook, move || {
            tick();
            period
        })
    }

    /// Calls `tick` when woken, and as long after each call as that call said, whichever is first: `Duration::MAX` waits for being woken
    /// alone, so that a ticker with nothing to do costs nothing. The first call waits for being woken.
    ///
    /// # Errors
    ///
    /// As [`Ticker::spawn`].
    pub fn on_demand(
        name: &str,
        urgency: Urgency,
        hook: PanicHook,
        tick: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Ticker> {
        Ticker::run(name, urgency, Duration::MAX, hook, tick)
    }

    fn run(
        name: &str,
        urgency: Urgency,
        first: Duration,
        hook: PanicHook,
        mut tick: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Ticker> {
        let signal = Arc::new(Signal::default());
        let (heard, own) = (Arc::clone(&signal), name.to_owned());
        let ticks = move || {
            urgency.take_on();
            let mut pause = first;
            while heard.wait(pause) {
                match guarded(&own, &hook, &mut tick) {
                    Ok(next) => pause = next,
                    Err(_) => return,
                }
            }
        };
        let thread = Some(std::thread::Builder::new().name(name.to_owned()).spawn(ticks)?);
        Ok(Ticker { signal, thread })
    }

    /// Makes it tick soon: at once, or once more right after the tick under way.
    pub fn wake(&self) {
        self.signal.set(|state| state.woken = true);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.signal.set(|state| state.stopped = true);
        join(self.thread.take().into_iter());
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticker")
    }
}

impl Signal {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_one();
    }

    /// Waits for the time or the wake; false once stopped.
    fn wait(&self, period: Duration) -> bool {
        // A moment too far away to be named never comes.
        let until = Instant::now().checked_add(period);
        let mut state = self.state.lock();
        while !state.woken && !state.stopped {
            match until {
                Some(until) if self.changed.wait_until(&mut state, until).timed_out() => break,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        state.woken = false;
        !state.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    /// A hook, and what it was told.
    fn hook() -> (PanicHook, mpsc::Receiver<Panicked>) {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        (Arc::new(move |panicked: &Panicked| tell.lock().send(panicked.clone()).unwrap()), told)
    }

    #[test]
    fn every_job_is_done_before_the_pool_is_gone() {
        let done = Arc::new(AtomicUsize::new(0));
        let workers = Workers::new("test", 3, hook().0).unwrap();
        for _ in 0..100 {
            let done = Arc::clone(&done);
            workers.spawn(move || done.fetch_add(1, Ordering::SeqCst));
        }
        drop(workers);
        assert_eq!(done.load(Ordering::SeqCst), 100);
    }

    #[test]
    fn no_more_threads_than_asked_and_never_none() {
        let workers = Workers::new("test", 0, hook().0).unwrap();
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = [(); 8].map(|()| {
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            workers.spawn(move || {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                at_once.fetch_sub(1, Ordering::SeqCst);
            })
        });
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        assert_eq!((most.load(Ordering::SeqCst), workers.queued()), (1, 0));
    }

    #[test]
    fn a_panic_is_told_twice_and_the_pool_goes_on() {
        let (hook, told) = hook();
        let workers = Workers::new("builder", 1, hook).unwrap();
        let job = workers.spawn(|| -> u32 { panic!("index {} is broken", 7) });
        let want = Panicked { thread: "builder".to_owned(), message: "index 7 is broken".to_owned() };
        assert_eq!(job.wait(), Err(want.clone()));
        assert_eq!(told.recv().unwrap(), want);
        assert_eq!(workers.spawn(|| 1).wait(), Ok(1));
    }

    #[test]
    fn a_panicking_hook_ends_the_wait() {
        let workers = Workers::new("builder", 1, Arc::new(|_| panic!("the hook too"))).unwrap();
        assert!(workers.spawn(|| panic!("the job")).wait().unwrap_err().message.contains("hook"));
    }

    #[test]
    fn a_pool_may_be_dropped_by_its_own_job() {
        let (tell, told) = mpsc::channel();
        let workers = Arc::new(Workers::new("test", 2, hook().0).unwrap());
        let (go, gone) = mpsc::channel::<()>();
        let own = Arc::clone(&workers);
        workers.spawn(move || {
            gone.recv().unwrap();
            drop(own);
            tell.send(()).unwrap();
        });
        drop(workers);
        go.send(()).unwrap();
        told.recv().unwrap();
    }

    #[test]
    fn ticks_come_with_time_and_on_demand() {
        let (tell, told) = mpsc::channel();
        let ticker =
            Ticker::spawn("test", Duration::from_millis(1), hook().0, move || tell.send(()).unwrap())
                .unwrap();
        for _ in 0..5 {
            told.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        drop(ticker);
        let (tell, told) = mpsc::channel();
        let ticker = Ticker::spawn("test", Duration::MAX, hook().0, move || tell.send(()).unwrap()).unwrap();
        assert!(told.recv_timeout(Duration::from_millis(10)).is_err());
        for _ in 0..3 {
            ticker.wake();
            told.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        drop(ticker);
        assert!(told.try_recv().is_err(), "nothing comes after the end");
    }

    #[test]
    fn a_panicking_tick_is_told_and_ends_the_ticker() {
        let (hook, told) = hook();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let ticker = Ticker::spawn("syncer", Duration::from_millis(1), hook, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("cannot go on");
        })
        .unwrap();
        assert_eq!(told.recv().unwrap().to_string(), "a job of syncer panicked: cannot go on");
        ticker.wake();
        std::thread::sleep(Duration::from_millis(10));
        drop(ticker);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn on_demand_it_ticks_when_woken_and_as_long_as_it_asks() {
        let (tell, told) = mpsc::channel();
        let mut left = 3;
        let tick = move || {
            left -= 1;
            tell.send(left).unwrap();
            if left > 0 { Duration::ZERO } else { Duration::MAX }
        };
        let ticker = Ticker::on_demand("test", Urgency::Background, hook().0, tick).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_millis(20)), Err(mpsc::RecvTimeoutError::Timeout));
        ticker.wake();
        assert_eq!([(); 3].map(|()| told.recv().unwrap()), [2, 1, 0]);
        ticker.wake();
        assert_eq!(told.recv().unwrap(), -1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_gives_way_passes_it_on_and_nobody_else_does() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let workers = Workers::with_urgency("test", 1, Urgency::Background, hook().0).unwrap();
        let inherited = move || std::thread::spawn(nice).join().unwrap();
        let (own, below) = workers.spawn(move || (nice(), inherited())).wait().unwrap();
        assert_eq!((own, below, nice()), (before.max(BACKGROUND_NICE), before.max(BACKGROUND_NICE), before));
    }
}
