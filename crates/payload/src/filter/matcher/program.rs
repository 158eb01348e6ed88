//! The program of a filter, its making and its running.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::probe::{Probe, Subject, collect_objects};
use crate::filter::tree::{ClauseRef, ConditionRef, FilterRef, Leaf};
use crate::path::Path;
use crate::row::{ObjectRef, RowError};
use crate::text::Analyzer;

/// Where the program ends: the point matches.
const PASS: u32 = u32::MAX;
/// Where the program ends: it does not.
const FAIL: u32 = u32::MAX - 1;
/// The scope of the payload itself; the others are nested filters.
const ROOT: u32 = 0;

/// One step. Targets are places in the program.
#[derive(Debug)]
enum Op {
    /// Goes where the answer leads.
    Ask { probe: u32, scope: u32, yes: u32, no: u32 },
    /// Begins to count.
    Reset { counter: u32 },
    /// Counts one more, and goes to `enough` when there are `need`.
    Count { counter: u32, need: u64, enough: u32 },
    /// Gathers the objects of a nested filter.
    Enter { nested: u32 },
    /// Takes the next of them, or goes to `none`.
    Next { nested: u32, none: u32 },
    /// Goes elsewhere; only while compiling, or as a program's only step.
    Jump { to: u32 },
}

/// A nested filter: where its objects are.
#[derive(Debug)]
struct Nested {
    path: Path,
    parent: u32,
}

#[derive(Debug, Default)]
pub(super) struct Program {
    ops: Vec<Op>,
    probes: Vec<Probe>,
    nested: Vec<Nested>,
    counters: u32,
    entry: u32,
}

/// What is still to be compiled, the next one last. Targets are labels here, given places when all is known.
enum Task<'a> {
    Condition { condition: ConditionRef<'a>, scope: u32, yes: u32, no: u32 },
    Filter { filter: FilterRef<'a>, scope: u32, yes: u32, no: u32 },
    Op(Op),
    Bind(u32),
}

type Texts<'t> = &'t dyn Fn(&Path) -> Option<Arc<Analyzer>>;

struct Compiler<'a, 't> {
    program: Program,
    /// Places by label; [`PASS`] and [`FAIL`] are their own places.
    labels: Vec<u32>,
    /// Full paths of the scopes, for the texts.
    prefixes: Vec<Option<Path>>,
    texts: Texts<'t>,
    open: Vec<Task<'a>>,
}

impl Program {
    /// The filter is within its limits, so that every number here fits.
    pub(super) fn compile(filter: FilterRef<'_>, texts: Texts<'_>) -> Program {
        let mut compiler = Compiler {
            program: Program::default(),
            labels: Vec::new(),
            prefixes: vec![None],
            texts,
            open: vec![Task::Filter { filter, scope: ROOT, yes: PASS, no: FAIL }],
        };
        while let Some(task) = compiler.open.pop() {
            compiler.step(task);
        }
        compiler.resolve()
    }

    pub(super) fn constant(&self) -> Option<bool> {
        match self.entry {
            PASS => Some(true),
            FAIL => Some(false),
            _ => None,
        }
    }

    pub(super) fn paths(&self) -> Vec<&Path> {
        let scopes = self.ops.iter().filter_map(|op| match op {
            Op::Ask { probe, scope: ROOT, .. } => self.probes[*probe as usize].path(),
            Op::Enter { nested } => {
                let nested = &self.nested[*nested as usize];
                (nested.parent == ROOT).then_some(&nested.path)
            }
            _ => None,
        });
        let mut seen = BTreeSet::new();
        scopes.filter(|path| seen.insert(*path)).collect()
    }

    pub(super) fn run(&self, subject: &Subject<'_>) -> Result<bool, RowError> {
        let mut state = State {
            objects: vec![Vec::new(); self.nested.len()],
            current: vec![None; self.nested.len()],
            counters: vec![0; self.counters as usize],
        };
        let mut at = self.entry;
        while let Some(op) = self.ops.get(at as usize) {
            at = match op {
                Op::Ask { probe, scope, yes, no } => {
                    let object = state.object(*scope, subject.object);
                    match self.probes[*probe as usize].holds(object, subject)? {
                        true => *yes,
                        false => *no,
                    }
                }
                Op::Reset { counter } => {
                    state.counters[*counter as usize] = 0;
                    at + 1
                }
                Op::Count { counter, need, enough } => {
                    let count = &mut state.counters[*counter as usize];
                    *count += 1;
                    if *count >= *need { *enough } else { at + 1 }
                }
                Op::Enter { nested } => {
                    let Nested { path, parent } = &self.nested[*nested as usize];
                    let object = state.object(*parent, subject.object);
                    collect_objects(object, path, &mut state.objects[*nested as usize])?;
                    at + 1
                }
                Op::Next { nested, none } => {
                    let next = state.objects[*nested as usize].pop();
                    state.current[*nested as usize] = next;
                    if next.is_some() { at + 1 } else { *none }
                }
                Op::Jump { to } => *to,
            };
        }
        Ok(at == PASS)
    }
}

/// What one run remembers. Empty vectors own no memory.
struct State<'a> {
    objects: Vec<Vec<ObjectRef<'a>>>,
    current: Vec<Option<ObjectRef<'a>>>,
    counters: Vec<u64>,
}

impl<'a> State<'a> {
    fn object(&self, scope: u32, root: ObjectRef<'a>) -> ObjectRef<'a> {
        match scope {
            ROOT => root,
            nested => self.current[nested as usize - 1].unwrap_or(root),
        }
    }
}

impl<'a> Compiler<'a, '_> {
    fn step(&mut self, task: Task<'a>) {
        match task {
            Task::Op(op) => self.program.ops.push(op),
            Task::Bind(label) => self.labels[label as usize] = self.program.ops.len() as u32,
            Task::Filter { filter, scope, yes, no } => self.filter(filter, scope, yes, no),
            Task::Condition { condition: ConditionRef::Leaf(leaf), scope, yes, no } => {
                self.leaf(leaf, scope, yes, no);
            }
            Task::Condition { condition: ConditionRef::Filter(filter), scope, yes, no } => {
                self.filter(filter, scope, yes, no);
            }
            Task::Condition { condition: ConditionRef::Nested(path, filter), scope, yes, no } => {
                self.nested(path, filter, scope, yes, no);
            }
        }
    }

    fn label(&mut self) -> u32 {
        self.labels.push(FAIL);
        self.labels.len() as u32 - 1
    }

    /// Tasks in the order in which they are to be done.
    fn open(&mut self, tasks: Vec<Task<'a>>) {
        self.open.extend(tasks.into_iter().rev());
    }

    fn filter(&mut self, filter: FilterRef<'a>, scope: u32, yes: u32, no: u32) {
        let mut tasks = Vec::new();
        for condition in filter.must.to_vec() {
            let next = self.label();
            tasks.extend([Task::Condition { condition, scope, yes: next, no }, Task::Bind(next)]);
        }
        if !filter.should.is_empty() {
            self.should(&mut tasks, filter.should, scope, no);
        }
        for condition in filter.must_not.to_vec() {
            let next = self.label();
            tasks.extend([Task::Condition { condition, scope, yes: no, no: next }, Task::Bind(next)]);
        }
        if let Some(need) = filter.min_count.filter(|&need| need > 0) {
            self.at_least(&mut tasks, need, filter.min_should, scope, no);
        }
        tasks.push(Task::Op(Op::Jump { to: yes }));
        self.open(tasks);
    }

    /// Goes on behind when one of them holds.
    fn should(&mut self, tasks: &mut Vec<Task<'a>>, clause: ClauseRef<'a>, scope: u32, no: u32) {
        let found = self.label();
        for condition in clause.to_vec() {
            let next = self.label();
            tasks.extend([Task::Condition { condition, scope, yes: found, no: next }, Task::Bind(next)]);
        }
        tasks.extend([Task::Op(Op::Jump { to: no }), Task::Bind(found)]);
    }

    /// Goes on behind when `need` of them hold.
    fn at_least(&mut self, tasks: &mut Vec<Task<'a>>, need: u64, clause: ClauseRef<'a>, scope: u32, no: u32) {
        if need > clause.len() as u64 {
            tasks.push(Task::Op(Op::Jump { to: no }));
            return;
        }
        let (enough, counter) = (self.label(), self.program.counters);
        self.program.counters += 1;
        tasks.push(Task::Op(Op::Reset { counter }));
        for condition in clause.to_vec() {
            let (holds, next) = (self.label(), self.label());
            tasks.extend([
                Task::Condition { condition, scope, yes: holds, no: next },
                Task::Bind(holds),
                Task::Op(Op::Count { counter, need, enough }),
                Task::Bind(next),
            ]);
        }
        tasks.extend([Task::Op(Op::Jump { to: no }), Task::Bind(enough)]);
    }

    fn nested(&mut self, path: &Path, filter: FilterRef<'a>, parent: u32, yes: u32, no: u32) {
        let nested = self.program.nested.len() as u32;
        // Too deep for any payload: there are no such objects.
        let Ok(path) = path.each() else {
            self.program.ops.push(Op::Jump { to: no });
            return;
        };
        self.prefixes.push(match &self.prefixes[parent as usize] {
            Some(prefix) => prefix.join(&path).ok(),
            None => Some(path.clone()),
        });
        self.program.nested.push(Nested { path, parent });
        let next = self.label();
        self.open(vec![
            Task::Op(Op::Enter { nested }),
            Task::Bind(next),
            Task::Op(Op::Next { nested, none: no }),
            Task::Filter { filter, scope: nested + 1, yes, no: next },
        ]);
    }

    fn leaf(&mut self, leaf: &Leaf, scope: u32, yes: u32, no: u32) {
        let of_point = matches!(leaf, Leaf::HasId(_) | Leaf::HasVector(_) | Leaf::Slice { .. });
        if of_point && scope != ROOT {
            self.program.ops.push(Op::Jump { to: no });
            return;
        }
        let (texts, prefix) = (self.texts, &self.prefixes[scope as usize]);
        let analyzer = |path: &Path| match (scope, prefix) {
            (ROOT, _) => texts(path),
            (_, Some(prefix)) => texts(&prefix.join(path).ok()?),
            (_, None) => None,
        };
        let probe = self.program.probes.len() as u32;
        self.program.probes.push(Probe::new(leaf, &analyzer));
        self.program.ops.push(Op::Ask { probe, scope, yes, no });
    }

    /// Labels become places, and what leads to a jump leads to its end.
    fn resolve(mut self) -> Program {
        let ends: Vec<u32> = {
            let place = |label: u32| self.labels.get(label as usize).copied().unwrap_or(label);
            let ops = &self.program.ops;
            let mut ends: Vec<u32> = (0..ops.len() as u32).collect();
            // From the back: a jump leads forwards, save to a `Next`, which is no jump.
            for at in (0..ops.len()).rev() {
                if let Op::Jump { to } = ops[at] {
                    let to = place(to);
                    ends[at] = ends.get(to as usize).copied().unwrap_or(to);
                }
            }
            ends
        };
        let labels = self.labels;
        let end = |label: &mut u32| {
            let place = labels.get(*label as usize).copied().unwrap_or(*label);
            *label = ends.get(place as usize).copied().unwrap_or(place);
        };
        for op in &mut self.program.ops {
            match op {
                Op::Ask { yes, no, .. } => [yes, no].into_iter().for_each(end),
                Op::Count { enough: target, .. }
                | Op::Next { none: target, .. }
                | Op::Jump { to: target } => {
                    end(target);
                }
                Op::Reset { .. } | Op::Enter { .. } => {}
            }
        }
        self.program.entry = ends.first().copied().unwrap_or(PASS);
        self.program
    }
}
