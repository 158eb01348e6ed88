//! The tree itself: flat in memory, nested to look at.
//!
//! The nodes of a clause stand in one vector, children before their parent, each node with the count of nodes under it. So a filter of a million
//! levels is cloned, compared, printed and dropped like any vector, and wrapping it once more appends one node.

use nearfield_types::PointId;

use super::operand::Test;
use crate::path::Path;

/// Which points are meant: all of `must`, one of `should` (where there is one), none of `must_not`, and enough of `min_should`.
///
/// The empty filter means every point.
///
/// ```
/// use nearfield_payload::filter::{Condition, Filter, Range, Test};
/// use nearfield_payload::Path;
///
/// let cheap = Condition::field(Path::key("price"), Test::Range(Range::below(10i64)));
/// let ours = Condition::field(Path::parse("shop.name")?, Test::value("ours"));
/// let filter = Filter::new().should([cheap, ours]).must_not([Condition::is_empty(Path::key("stock"))]);
/// assert_eq!(filter.to_string(), "(price < 10 or shop.name = \"ours\") and not is_empty(stock)");
/// # Ok::<(), nearfield_payload::PathError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    must: Clause,
    should: Clause,
    must_not: Clause,
    min_should: Clause,
    min_count: Option<u64>,
}

/// One condition of a clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    nodes: Vec<Node>,
}

/// What one point is asked without looking further.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// A test of the values at a path.
    Field {
        /// Where the values are.
        path: Path,
        /// What they are asked.
        test: Test,
    },
    /// The field is missing, null or an empty list; all its values are, where the path leads to several.
    IsEmpty(Path),
    /// The field is null, or a list with a null in it; one of its values is, where the path leads to several.
    IsNull(Path),
    /// The field is there, whatever its value.
    Exists(Path),
    /// The point is one of these.
    HasId(Vec<PointId>),
    /// The point has a vector of this name.
    HasVector(Box<str>),
    /// The point's share of all points; see [`slice_of`](super::slice_of).
    Slice {
        /// How many shares there are, at least one.
        total: u32,
        /// Which one, below `total`.
        index: u32,
    },
}

/// Conditions in order, flat.
#[derive(Clone, Debug, Default, PartialEq)]
struct Clause {
    nodes: Vec<Node>,
    count: usize,
}

/// A node and how many nodes before it are under it.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    below: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Leaf(Leaf),
    Filter(Counts),
    Nested(Path, Counts),
}

/// How many conditions each clause of a filter has; they stand before it, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    must: usize,
    should: usize,
    must_not: usize,
    min_should: usize,
    min_count: Option<u64>,
}

impl Filter {
    /// The filter that means every point.
    pub fn new() -> Filter {
        Filter::default()
    }

    /// All of `conditions`.
    pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Filter {
        Filter::new().must(conditions)
    }

    /// One of `conditions`; with none at all, every point.
    pub fn any(conditions: impl IntoIterator<Item = Condition>) -> Filter {
        Filter::new().should(conditions)
    }

    /// None of `conditions`.
    pub fn none(conditions: impl IntoIterator<Item = Condition>) -> Filter {
        Filter::new().must_not(conditions)
    }

    /// Adds to the conditions that must all hold.
    #[must_use]
    pub fn must(mut self, conditions: impl IntoIterator<Item = Condition>) -> Filter {
        self.must.extend(conditions);
        self
    }

    /// Adds to the conditions of which one must hold.
    #[must_use]
    pub fn should(mut self, conditions: impl IntoIterator<Item = Condition>) -> Filter {
        self.should.extend(conditions);
        self
    }

    /// Adds to the conditions of which none may hold.
    #[must_use]
    pub fn must_not(mut self, conditions: impl IntoIterator<Item = Condition>) -> Filter {
        self.must_not.extend(conditions);
        self
    }

    /// Adds to the conditions of which `min_count` must hold.
    #[must_use]
    pub fn min_should(mut self, min_count: u64, conditions: impl IntoIterator<Item = Condition>) -> Filter {
        self.min_should.extend(conditions);
        self.min_count = Some(min_count);
        self
    }

    /// True for the filter that means every point because it says nothing.
    pub fn is_empty(&self) -> bool {
        self.min_count.is_none() && self.must.count + self.should.count + self.must_not.count == 0
    }

    /// Looks at the filter. O(1).
    pub fn view(&self) -> FilterRef<'_> {
        FilterRef {
            must: self.must.view(),
            should: self.should.view(),
            must_not: self.must_not.view(),
            min_should: self.min_should.view(),
            min_count: self.min_count,
        }
    }

    /// The filter as one run of nodes, its own node still missing.
    fn into_nodes(self) -> (Vec<Node>, Counts) {
        let counts = Counts {
            must: self.must.count,
            should: self.should.count,
            must_not: self.must_not.count,
            min_should: self.min_should.count,
            min_count: self.min_count,
        };
        let mut nodes = self.must.nodes;
        for clause in [self.should, self.must_not, self.min_should] {
            match nodes.is_empty() {
                true => nodes = clause.nodes,
                false => nodes.extend(clause.nodes),
            }
        }
        (nodes, counts)
    }
}

impl Condition {
    /// A test of the values at `path`.
    pub fn field(path: Path, test: Test) -> Condition {
        Leaf::Field { path, test }.into()
    }

    /// The field is missing, null or an empty list.
    pub fn is_empty(path: Path) -> Condition {
        Leaf::IsEmpty(path).into()
    }

    /// The field is null, or a list with a null in it.
    pub fn is_null(path: Path) -> Condition {
        Leaf::IsNull(path).into()
    }

    /// The field is there, whatever its value.
    pub fn exists(path: Path) -> Condition {
        Leaf::Exists(path).into()
    }

    /// The point is one of `ids`.
    pub fn has_id<I: Into<PointId>>(ids: impl IntoIterator<Item = I>) -> Condition {
        Leaf::HasId(ids.into_iter().map(Into::into).collect()).into()
    }

    /// The point has a vector called `name`.
    pub fn has_vector(name: &str) -> Condition {
        Leaf::HasVector(name.into()).into()
    }

    /// One object of the list at `path` matches `filter` by itself: paths inside begin at that object, and it has no id and no vectors.
    pub fn nested(path: Path, filter: Filter) -> Condition {
        let (nodes, counts) = filter.into_nodes();
        Condition::parent(nodes, Kind::Nested(path, counts))
    }

    /// Looks at the condition. O(1).
    pub fn view(&self) -> ConditionRef<'_> {
        view_last(&self.nodes)
    }

    fn parent(mut nodes: Vec<Node>, kind: Kind) -> Condition {
        nodes.push(Node { below: nodes.len(), kind });
        Condition { nodes }
    }
}

impl From<Leaf> for Condition {
    fn from(leaf: Leaf) -> Condition {
        Condition::parent(Vec::new(), Kind::Leaf(leaf))
    }
}

impl From<Filter> for Condition {
    fn from(filter: Filter) -> Condition {
        let (nodes, counts) = filter.into_nodes();
        Condition::parent(nodes, Kind::Filter(counts))
    }
}

impl From<Condition> for Filter {
    fn from(condition: Condition) -> Filter {
        Filter::all([condition])
    }
}

impl std::ops::Not for Condition {
    type Output = Condition;

    fn not(self) -> Condition {
        Filter::none([self]).into()
    }
}

impl Clause {
    fn extend(&mut self, conditions: impl IntoIterator<Item = Condition>) {
        for condition in conditions {
            self.count += 1;
            match self.nodes.is_empty() {
                true => self.nodes = condition.nodes,
                false => self.nodes.extend(condition.nodes),
            }
        }
    }

    fn view(&self) -> ClauseRef<'_> {
        ClauseRef { nodes: &self.nodes, count: self.count }
    }
}

/// A filter inside a tree, borrowed.
#[derive(Clone, Copy)]
pub struct FilterRef<'a> {
    /// All of them hold.
    pub must: ClauseRef<'a>,
    /// One of them holds, where there is one.
    pub should: ClauseRef<'a>,
    /// None of them holds.
    pub must_not: ClauseRef<'a>,
    /// So many of them hold as `min_count` says; without it there are none.
    pub min_should: ClauseRef<'a>,
    /// How many of `min_should` hold at least.
    pub min_count: Option<u64>,
}

/// The conditions of one clause, borrowed.
#[derive(Clone, Copy)]
pub struct ClauseRef<'a> {
    /// Ends with the last condition of the clause; what it holds beyond `count` conditions belongs to others.
    nodes: &'a [Node],
    count: usize,
}

/// One condition, borrowed.
#[derive(Clone, Copy)]
pub enum ConditionRef<'a> {
    /// A question to the point itself.
    Leaf(&'a Leaf),
    /// A filter.
    Filter(FilterRef<'a>),
    /// One object of the list at this path matches the filter by itself.
    Nested(&'a Path, FilterRef<'a>),
}

impl<'a> FilterRef<'a> {
    /// True where no clause says anything.
    pub fn is_empty(&self) -> bool {
        self.min_count.is_none() && self.must.len() + self.should.len() + self.must_not.len() == 0
    }

    /// A filter of its own. O(nodes).
    pub fn to_filter(&self) -> Filter {
        Filter {
            must: self.must.to_clause(),
            should: self.should.to_clause(),
            must_not: self.must_not.to_clause(),
            min_should: self.min_should.to_clause(),
            min_count: self.min_count,
        }
    }

    /// The clauses in the order must, should, must_not, min_should.
    pub fn clauses(&self) -> [ClauseRef<'a>; 4] {
        [self.must, self.should, self.must_not, self.min_should]
    }
}

impl<'a> ClauseRef<'a> {
    /// How many conditions there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without conditions.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The conditions **from the last to the first**: the tree is read that way without looking for beginnings.
    pub fn rev(&self) -> impl Iterator<Item = ConditionRef<'a>> + use<'a> {
        let mut rest = self.nodes;
        (0..self.count).map(move |_| {
            let condition = view_last(rest);
            rest = before_last(rest);
            condition
        })
    }

    /// The conditions in order. O(conditions).
    pub fn to_vec(&self) -> Vec<ConditionRef<'a>> {
        let mut conditions: Vec<_> = self.rev().collect();
        conditions.reverse();
        conditions
    }

    /// These conditions alone, without what stands before them.
    fn to_clause(self) -> Clause {
        let rest = (0..self.count).fold(self.nodes, |rest, _| before_last(rest));
        Clause { nodes: self.nodes[rest.len()..].to_vec(), count: self.count }
    }
}

/// The nodes without the last condition.
fn before_last(nodes: &[Node]) -> &[Node] {
    let below = nodes.last().map_or(0, |node| node.below);
    &nodes[..nodes.len().saturating_sub(below + 1)]
}

fn view_last(nodes: &[Node]) -> ConditionRef<'_> {
    let (last, before) = nodes.split_last().expect("a condition has a node");
    let below = &before[before.len() - last.below..];
    match &last.kind {
        Kind::Leaf(leaf) => ConditionRef::Leaf(leaf),
        Kind::Filter(counts) => ConditionRef::Filter(view_filter(below, counts)),
        Kind::Nested(path, counts) => ConditionRef::Nested(path, view_filter(below, counts)),
    }
}

/// The clauses end one where the next begins, so ends are found from the back. O(conditions of the last three clauses).
fn view_filter<'a>(nodes: &'a [Node], counts: &Counts) -> FilterRef<'a> {
    let mut rest = nodes;
    let mut take = |count: usize| {
        let clause = ClauseRef { nodes: rest, count };
        rest = (0..count).fold(rest, |rest, _| before_last(rest));
        clause
    };
    let min_should = take(counts.min_should);
    let must_not = take(counts.must_not);
    let should = take(counts.should);
    let must = ClauseRef { nodes: rest, count: counts.must };
    FilterRef { must, should, must_not, min_should, min_count: counts.min_count }
}
