//! A question to a graph: from the entry down to level 0, one walk there, and what it found.
//!
//! It refuses to rescore: results carry the scores of the scorer that walked.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_ann::{Admit, Budget, Effort, Scorer, Scratch, Search, Stats, Stopped, TopK};
use nearfield_types::{Score, Slot};

use crate::graph::Graph;
use crate::links::Links;
use crate::params::EF_MAX;
use crate::pool::{score_of, slot_of};
use crate::view::Open;
use crate::walk::{Plan, Walk};

/// Candidates kept on the way down: a better start than the nearest would have to save more distances than it costs, and does not.
const DESCENT_BREADTH: usize = 1;
/// The least `ef` where none is asked for.
const EF_AUTO_MIN: usize = 64;
/// The frontier of a filtered walk is at most so many times as broad as its results: where that is not enough, scoring every
/// admitted slot is cheaper than walking.
const FRONTIER_FACTOR: usize = 64;

/// Names a graph or a walk for as long as the process lives.
pub(crate) fn fresh_name() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What searches of graphs keep in a [`Scratch`].
#[derive(Default)]
pub(crate) struct State {
    walk: Walk,
    /// The walk that may go on: the graph it belongs to, its ticket, the published length it saw.
    last: Option<(u64, Ticket, u32)>,
}

/// Names one finished walk, so that it can go on where it ended: see [`Graph::resume`](crate::Graph::resume).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// Walks down from the top to `target + 1` and leaves the best candidates in the frontier; nothing in an empty graph.
pub(crate) fn approach<L: Links>(
    walk: &mut Walk,
    links: &L,
    scorer: &mut dyn Scorer,
    target: u32,
    budget: &Budget<'_>,
) -> Result<(), Stopped> {
    let mut level = start(walk, links, scorer, budget)?;
    while level > target {
        walk.run(links, scorer, &above(level, budget))?;
        walk.descend(DESCENT_BREADTH);
        level -= 1;
    }
    Ok(())
}

/// Searches `links`, whose name is `name`.
pub(crate) fn search<L: Links>(
    links: &L,
    name: u64,
    search: Search<'_>,
    scratch: &mut Scratch,
    out: &mut TopK<'_>,
) -> Result<Stats, Stopped> {
    let (scorer, question) = Question::of(search, out.k());
    let mut course = Course::begin(name, question, scratch);
    while course.advance::<L, false>(links, scorer)? {}
    Ok(course.finish(links, out))
}

/// A [`Search`] without its scorer, which is lent step by step.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Which slots may be returned.
    pub admit: &'a dyn Admit,
    /// How hard to look.
    pub effort: Effort,
    /// How much work is allowed.
    pub budget: &'a Budget<'a>,
    /// Slots known to be near, where the walk may start.
    pub seeds: &'a [Slot],
    /// The largest score that may be a result: see [`Search::cap`].
    pub cap: Score,
    /// How many results are wanted.
    pub k: usize,
}

/// A search of a graph that is walked step by step: the way to let one search wait for memory while another goes on.
///
/// Every step begins with data that the step before asked the memory system for, so a thread that advances several of these in turn
/// has something to do while one of them waits. How much that gains depends on the machine: measure. Results are those of
/// [`VectorIndex::search`](nearfield_ann::VectorIndex::search), bit for bit.
pub struct Steps<'a> {
    graph: AnyGraph<'a>,
    course: Course<'a>,
}

/// The graph of a search by steps.
pub(crate) enum AnyGraph<'a> {
    Memory(&'a Graph),
    Mapped(Open<'a>),
}

impl<'a> Steps<'a> {
    pub(crate) fn begin(
        graph: AnyGraph<'a>,
        name: u64,
        question: Question<'a>,
        scratch: &'a mut Scratch,
    ) -> Steps<'a> {
        Steps { graph, course: Course::begin(name, question, scratch) }
    }

    /// One step; false once the walk is over. The scorer is the same at every step.
    ///
    /// # Errors
    ///
    /// As [`VectorIndex::search`](nearfield_ann::VectorIndex::search); the search is over then, without an answer.
    #[inline]
    pub fn advance(&mut self, scorer: &mut dyn Scorer) -> Result<bool, Stopped> {
        match &self.graph {
            AnyGraph::Memory(graph) => self.course.advance::<_, true>(*graph, scorer),
            AnyGraph::Mapped(view) => self.course.advance::<_, true>(view, scorer),
        }
    }

    /// Offers what was found to `out`, which keeps as many as the question wanted. Call it once the walk is over.
    pub fn finish(self, out: &mut TopK<'_>) -> Stats {
        match self.graph {
            AnyGraph::Memory(graph) => self.course.finish(graph, out),
            AnyGraph::Mapped(view) => self.course.finish(&view, out),
        }
    }
}

impl fmt::Debug for Steps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Steps({:?})", self.course.stage)
    }
}

/// A search that is walked step by step, so that a caller with several of them can let one wait for memory while it goes on with
/// another.
pub(crate) struct Course<'a> {
    name: u64,
    question: Question<'a>,
    state: &'a mut State,
    stage: Stage,
    plan: Option<Plan<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing was done.
    Begin,
    /// Neighbours on this level are to be met.
    Expand(u32),
    /// Slots met from here on are to be scored.
    Absorb(u32, usize),
    /// The walk is over.
    End,
}

impl<'a> Course<'a> {
    /// A search that begins with the first step.
    pub(crate) fn begin(name: u64, question: Question<'a>, scratch: &'a mut Scratch) -> Course<'a> {
        let state = scratch.state::<State>();
        state.last = None;
        Course { name, question, state, stage: Stage::Begin, plan: None }
    }

    /// One step: from one wait for memory to the next. False once the walk is over. `AHEAD` asks for what the next step scores; a
    /// caller that has nothing else to do in between leaves that to the scorer, which overlaps it with its sums.
    #[inline]
    pub(crate) fn advance<L: Links, const AHEAD: bool>(
        &mut self,
        links: &L,
        scorer: &mut dyn Scorer,
    ) -> Result<bool, Stopped> {
        if let Stage::Begin = self.stage {
            self.stage = self.enter(links, scorer)?;
        }
        let Some(ground) = &self.plan else { return Ok(false) };
        let walk = &mut self.state.walk;
        loop {
            match self.stage {
                Stage::Begin | Stage::End => return Ok(false),
                Stage::Expand(level) => {
                    let above = above(level, ground.budget);
                    let plan = if level == 0 { ground } else { &above };
                    match walk.expand(links, plan) {
                        Some(batch) => {
                            if AHEAD {
                                scorer.prefetch(walk.met_since(batch));
                            }
                            self.stage = Stage::Absorb(level, batch);
                            return Ok(true);
                        }
                        None if level == 0 => self.stage = Stage::End,
                        None => {
                            let below = self::above(level - 1, ground.budget);
                            walk.descend(DESCENT_BREADTH);
                            let plan = if level == 1 { ground } else { &below };
                            walk.enter(links, [].into_iter(), scorer, plan)?;
                            self.stage = Stage::Expand(level - 1);
                        }
                    }
                }
                Stage::Absorb(level, batch) => {
                    let above = above(level, ground.budget);
                    walk.absorb(links, batch, scorer, if level == 0 { ground } else { &above })?;
                    self.stage = Stage::Expand(level);
                    return Ok(true);
                }
            }
        }
    }

    /// Scores where the walk begins: the seeds, or the first entry that the scorer knows.
    fn enter<L: Links>(&mut self, links: &L, scorer: &mut dyn Scorer) -> Result<Stage, Stopped> {
        self.question.budget.check()?;
        let len = links.len();
        let walk = &mut self.state.walk;
        walk.begin(len);
        let Some(plan) = self.question.plan(len) else { return Ok(Stage::End) };
        let seeds = self.question.seeds.iter().map(|slot| slot.0).filter(|&slot| slot < len);
        walk.enter(links, seeds, scorer, &plan)?;
        let mut level = 0;
        if walk.frontier.keys().is_empty() {
            level = start(walk, links, scorer, plan.budget)?;
        }
        if level == 0 {
            walk.enter(links, [].into_iter(), scorer, &plan)?;
        }
        self.plan = Some(plan);
        Ok(Stage::Expand(level))
    }

    /// Offers what was found to `out`.
    pub(crate) fn finish<L: Links>(self, links: &L, out: &mut TopK<'_>) -> Stats {
        if let Some(plan) = &self.plan {
            offer(&self.state.walk, links, plan, out);
            self.state.last = Some((self.name, Ticket(fresh_name()), links.len()));
        }
        self.state.walk.stats
    }
}

/// What a walk on an upper level is told.
fn above<'a>(level: u32, budget: &'a Budget<'a>) -> Plan<'a> {
    let breadth = DESCENT_BREADTH;
    Plan { level, ef: breadth, frontier: breadth, margin: None, admit: None, budget, cap: Score::MAX }
}

/// Scores the first entry that the scorer knows, normally the highest, and returns its level.
fn start<L: Links>(
    walk: &mut Walk,
    links: &L,
    scorer: &mut dyn Scorer,
    budget: &Budget<'_>,
) -> Result<u32, Stopped> {
    let mut level = links.top();
    loop {
        walk.enter(links, links.entry(level).into_iter(), scorer, &above(level, budget))?;
        if level == 0 || !walk.frontier.keys().is_empty() {
            return Ok(level);
        }
        level -= 1;
    }
}

/// The ticket of the walk that `scratch` holds, if it ended on the graph of this name.
pub(crate) fn ticket(name: u64, scratch: &mut Scratch) -> Option<Ticket> {
    let (of, ticket, _) = scratch.state::<State>().last?;
    (of == name).then_some(ticket)
}

/// Goes on with the walk of `ticket`; `None` if `scratch` does not hold it any more.
pub(crate) fn resume<L: Links>(
    links: &L,
    name: u64,
    ticket: Ticket,
    search: Search<'_>,
    scratch: &mut Scratch,
    out: &mut TopK<'_>,
) -> Option<Result<Stats, Stopped>> {
    let state = scratch.state::<State>();
    let (of, held, len) = state.last?;
    if of != name || held != ticket {
        return None;
    }
    state.last = None;
    let (scorer, question) = Question::of(search, out.k());
    let budget = question.budget;
    let Some(plan) = question.plan(len) else { return Some(Ok(Stats::default())) };
    let walk = &mut state.walk;
    walk.stats = Stats::default();
    let done = budget.check().and_then(|()| walk.widen(links, scorer, &plan));
    let done = done.and_then(|()| walk.run(links, scorer, &plan));
    if let Err(stopped) = done {
        return Some(Err(stopped));
    }
    offer(walk, links, &plan, out);
    state.last = Some((name, ticket, len));
    Some(Ok(state.walk.stats))
}

impl<'a> Question<'a> {
    /// The parts of `search`.
    fn of(search: Search<'a>, k: usize) -> (&'a mut dyn Scorer, Question<'a>) {
        let cap = search.cap();
        let Search { scorer, admit, effort, budget, seeds, .. } = search;
        (scorer, Question { admit, effort, budget, seeds, cap, k })
    }

    /// What the walk on level 0 is told; `None` where nothing can be found.
    fn plan(&self, len: u32) -> Option<Plan<'a>> {
        let estimate = self.admit.estimate().within(u64::from(len));
        if len == 0 || self.k == 0 || estimate.high == 0 {
            return None;
        }
        let ef = match self.effort {
            Effort::Auto => self.k.saturating_mul(2).max(EF_AUTO_MIN),
            Effort::Breadth(ef) => (ef as usize).max(self.k),
            Effort::Margin(margin) => (margin.breadth as usize).max(self.k),
        };
        // A margin lets a walk keep more than it is likely to need: the frontier follows what is wanted.
        let (margin, wanted) = match self.effort {
            Effort::Margin(margin) => (Some(margin), self.k.max(margin.rank as usize).max(EF_AUTO_MIN)),
            Effort::Auto | Effort::Breadth(_) => (None, ef),
        };
        let ef = ef.clamp(1, (EF_MAX as usize).min(len as usize));
        let admits_all = estimate.low >= u64::from(len);
        let admit: Option<&dyn Admit> = if admits_all { None } else { Some(self.admit) };
        // What is not admitted may be all there is for a long way, whatever its share of the whole.
        let broad = wanted.saturating_mul(FRONTIER_FACTOR).max(ef).min(len as usize);
        let frontier = if admits_all { ef } else { broad };
        Some(Plan { level: 0, ef, frontier, margin, admit, budget: self.budget, cap: self.cap })
    }
}

/// Offers what was found, and the duplicates it stands for.
fn offer<L: Links>(walk: &Walk, links: &L, plan: &Plan<'_>, out: &mut TopK<'_>) {
    // A filtered walk has offered duplicates to admission one by one.
    let stands_for_more = plan.admit.is_none() && links.duplicates() > 0;
    for &key in walk.found() {
        let (slot, score) = (slot_of(key), score_of(key));
        if score > plan.cap {
            break;
        }
        out.push(Slot(slot), score);
        if stands_for_more {
            let chain = std::iter::successors(links.next_duplicate(slot), |&slot| links.next_duplicate(slot));
            // What was chained since the walk began is not its business.
            for slot in chain.take(links.len() as usize).filter(|&slot| slot < walk.len()) {
                out.push(Slot(slot), score);
            }
        }
    }
}
