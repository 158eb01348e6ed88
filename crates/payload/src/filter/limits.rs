//! Every limit on a filter, and the check of them.

use nearfield_types::PointId;

use super::geo::{GeoPoint, GeoPolygon};
use super::operand::{Key, Number, Range, Scalar, Test};
use super::tree::{ConditionRef, Filter, FilterRef, Leaf};
use crate::path::Path;

/// Deepest nesting; the filter itself is depth 1.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most conditions in all, filters among them.
pub const FILTER_CONDITIONS_MAX: usize = 65_536;
/// Most operands in all: ids, values to be equal to, points of polygons.
pub const FILTER_OPERANDS_MAX: usize = 131_072;
/// Most bytes in all: keys, texts, string ids.
pub const FILTER_BYTES_MAX: usize = 16 << 20;
/// Most bytes of a text that is split into words.
pub const FILTER_TEXT_BYTES_MAX: usize = 1 << 20;
/// Fewest points of a closed ring.
pub const RING_POINTS_MIN: usize = 4;

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// Nested too deeply.
    #[error("filter is nested more than {FILTER_DEPTH_MAX} levels deep")]
    Depth,
    /// Too many conditions.
    #[error("filter has more than {FILTER_CONDITIONS_MAX} conditions")]
    Conditions,
    /// Too many operands.
    #[error("filter has more than {FILTER_OPERANDS_MAX} ids, values and points to compare with")]
    Operands,
    /// Too large.
    #[error("filter has more than {FILTER_BYTES_MAX} bytes of keys and texts")]
    Bytes,
    /// A text to split is too long.
    #[error("text for `{path}` has {bytes} bytes: at most {FILTER_TEXT_BYTES_MAX} are allowed")]
    Text {
        /// The field.
        path: Path,
        /// Length of the text.
        bytes: usize,
    },
    /// A bound or a radius is NaN.
    #[error("a bound for `{path}` is not a number")]
    NotANumber {
        /// The field.
        path: Path,
    },
    /// A place that is not on Earth.
    #[error("a point for `{path}` has lon {lon} and lat {lat}: they lie in -180..180 and -90..90")]
    Place {
        /// The field.
        path: Path,
        /// Its longitude.
        lon: f64,
        /// Its latitude.
        lat: f64,
    },
    /// A ring with too few points.
    #[error(
        "a ring of the polygon for `{path}` has {points} points: at least {RING_POINTS_MIN} are needed, the last being the first"
    )]
    Ring {
        /// The field.
        path: Path,
        /// How many it has.
        points: usize,
    },
    /// A ring that is not closed.
    #[error("a ring of the polygon for `{path}` is open: its last point must be its first")]
    Open {
        /// The field.
        path: Path,
    },
    /// A slice of nothing, or beyond the last.
    #[error("slice {index} of {total}: `total` must be at least 1, and `index` less than `total`")]
    Slice {
        /// How many slices there are.
        total: u32,
        /// Which one is asked for.
        index: u32,
    },
}

/// What has been counted so far.
#[derive(Default)]
struct Used {
    conditions: usize,
    operands: usize,
    bytes: usize,
}

impl Filter {
    /// Checks shape, sizes and operands.
    ///
    /// # Errors
    ///
    /// The first limit that is passed; see [`limits`](super::limits).
    pub fn check(&self) -> Result<(), FilterError> {
        check(self.view())
    }
}

/// Walks with a stack of its own and ends at the first limit.
pub(super) fn check(filter: FilterRef<'_>) -> Result<(), FilterError> {
    let mut used = Used::default();
    let mut open = vec![(filter, 1)];
    while let Some((filter, depth)) = open.pop() {
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterError::Depth);
        }
        for clause in filter.clauses() {
            used.conditions += clause.len();
            if used.conditions > FILTER_CONDITIONS_MAX {
                return Err(FilterError::Conditions);
            }
            for condition in clause.rev() {
                match condition {
                    ConditionRef::Leaf(leaf) => used.leaf(leaf)?,
                    ConditionRef::Filter(filter) => open.push((filter, depth + 1)),
                    ConditionRef::Nested(path, filter) => {
                        used.bytes(path.bytes())?;
                        open.push((filter, depth + 1));
                    }
                }
            }
        }
    }
    Ok(())
}

impl Used {
    fn bytes(&mut self, bytes: usize) -> Result<(), FilterError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > FILTER_BYTES_MAX { Err(FilterError::Bytes) } else { Ok(()) }
    }

    fn operands(&mut self, count: usize) -> Result<(), FilterError> {
        self.operands = self.operands.saturating_add(count);
        if self.operands > FILTER_OPERANDS_MAX { Err(FilterError::Operands) } else { Ok(()) }
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<(), FilterError> {
        match leaf {
            Leaf::Field { path, test } => {
                self.bytes(path.bytes())?;
                self.test(path, test)
            }
            Leaf::IsEmpty(path) | Leaf::IsNull(path) | Leaf::Exists(path) => self.bytes(path.bytes()),
            Leaf::HasId(ids) => {
                self.operands(ids.len())?;
                let bytes = |id: &PointId| if let PointId::String(text) = id { text.len() } else { 0 };
                self.bytes(ids.iter().map(bytes).sum())
            }
            Leaf::HasVector(name) => self.bytes(name.len()),
            Leaf::Slice { total, index } if index >= total => {
                Err(FilterError::Slice { total: *total, index: *index })
            }
            Leaf::Slice { .. } => Ok(()),
        }
    }

    fn test(&mut self, path: &Path, test: &Test) -> Result<(), FilterError> {
        let key_bytes = |key: &Key| if let Key::String(text) = key { text.len() } else { 0 };
        match test {
            Test::Value(key) => self.bytes(key_bytes(key)),
            Test::Any(keys) | Test::Except(keys) => {
                self.operands(keys.len())?;
                self.bytes(keys.iter().map(key_bytes).sum())
            }
            Test::Equals(scalars) => {
                self.operands(scalars.len())?;
                let bytes = |scalar: &Scalar| if let Scalar::String(text) = scalar { text.len() } else { 0 };
                self.bytes(scalars.iter().map(bytes).sum())?;
                let nan = |scalar: &Scalar| matches!(scalar, Scalar::Number(number) if number.is_nan());
                refuse_nan(path, scalars.iter().any(nan))
            }
            Test::Text(text) | Test::TextAny(text) | Test::Phrase(text) => {
                if text.len() > FILTER_TEXT_BYTES_MAX {
                    return Err(FilterError::Text { path: path.clone(), bytes: text.len() });
                }
                self.bytes(text.len())
            }
            Test::Prefix(text) | Test::Substring(text) => self.bytes(text.len()),
            Test::Range(range) | Test::Bare(range) => {
                refuse_nan(path, range.bounds().any(|bound: &Number| bound.is_nan()))
            }
            Test::Datetimes(Range { .. }) | Test::Count(_) => Ok(()),
            Test::GeoBox(area) => check_points(path, &[area.top_left, area.bottom_right]),
            Test::GeoRadius(area) => {
                refuse_nan(path, area.radius_m.is_nan())?;
                check_points(path, &[area.center])
            }
            Test::GeoPolygon(area) => self.polygon(path, area),
        }
    }

    fn polygon(&mut self, path: &Path, area: &GeoPolygon) -> Result<(), FilterError> {
        for ring in std::iter::once(&area.exterior).chain(&area.interiors) {
            self.operands(ring.len())?;
            if ring.len() < RING_POINTS_MIN {
                return Err(FilterError::Ring { path: path.clone(), points: ring.len() });
            }
            check_points(path, ring)?;
            if ring.first() != ring.last() {
                return Err(FilterError::Open { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn refuse_nan(path: &Path, nan: bool) -> Result<(), FilterError> {
    if nan { Err(FilterError::NotANumber { path: path.clone() }) } else { Ok(()) }
}

fn check_points(path: &Path, points: &[GeoPoint]) -> Result<(), FilterError> {
    match points.iter().find(|point| !point.is_valid()) {
        Some(point) => Err(FilterError::Place { path: path.clone(), lon: point.lon, lat: point.lat }),
        None => Ok(()),
    }
}
