//! What a field is compared with: scalars, numbers, ranges, and the tests made of them.
//!
//! **It refuses** to look at payloads: [`Matcher`](super::Matcher) and the field indexes give the tests their meaning, the same for all.

use std::cmp::Ordering;

use super::datetime::Datetime;
use super::geo::{GeoBox, GeoPolygon, GeoRadius};

/// A value to be equal to.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text, compared byte by byte.
    String(Box<str>),
}

/// A number that keeps its kind. Numbers of different kinds are compared by value, exactly.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integer.
    I64(i64),
    /// An integer of 2^63 or more.
    U64(u64),
    /// A float.
    F64(f64),
}

/// Bounds on a value; no bound at all holds every value of the kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<T> {
    /// Greater than this.
    pub gt: Option<T>,
    /// This or greater.
    pub gte: Option<T>,
    /// Less than this.
    pub lt: Option<T>,
    /// This or less.
    pub lte: Option<T>,
}

/// What the values of a field are asked. A list passes if one of its values does, at one level; what says otherwise is marked.
///
/// A missing field passes none of them but `Count`, which counts it as zero.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equal to it, and of its kind: an integer equals no float, `true` equals no number.
    Value(Key),
    /// Equal to one of them, of its kind.
    Any(Vec<Key>),
    /// A value that is neither null nor one of them.
    Except(Vec<Key>),
    /// Text that holds every token of this one.
    Text(Box<str>),
    /// Text that holds a token of this one.
    TextAny(Box<str>),
    /// Text that holds the tokens of this one side by side, in order.
    Phrase(Box<str>),
    /// Text that begins so, byte by byte.
    Prefix(Box<str>),
    /// Text that holds these bytes.
    Substring(Box<str>),
    /// A number in the range.
    Range(Range<Number>),
    /// Text that is a date or a time in the range.
    Datetimes(Range<Datetime>),
    /// A place inside the box.
    GeoBox(GeoBox),
    /// A place inside the circle.
    GeoRadius(GeoRadius),
    /// A place inside the polygon.
    GeoPolygon(GeoPolygon),
    /// How many values there are: a list its length, null and a missing field none, anything else one.
    Count(Range<u64>),
    /// Equal to one of them, numbers of different kinds by value, null to null.
    Equals(Vec<Scalar>),
    /// A number in the range that stands by itself: a list does not pass.
    Bare(Range<Number>),
}

/// A value of a kind that keyword, integer and bool indexes hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// Text.
    String(Box<str>),
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Range { gt: None, gte: None, lt: None, lte: None }
    }
}

impl<T: PartialOrd> Range<T> {
    /// This or greater.
    pub fn at_least(bound: impl Into<T>) -> Range<T> {
        Range { gte: Some(bound.into()), ..Range::default() }
    }

    /// Greater than this.
    pub fn above(bound: impl Into<T>) -> Range<T> {
        Range { gt: Some(bound.into()), ..Range::default() }
    }

    /// This or less.
    pub fn at_most(bound: impl Into<T>) -> Range<T> {
        Range { lte: Some(bound.into()), ..Range::default() }
    }

    /// Less than this.
    pub fn below(bound: impl Into<T>) -> Range<T> {
        Range { lt: Some(bound.into()), ..Range::default() }
    }

    /// From the first to the second, both included.
    pub fn between(low: impl Into<T>, high: impl Into<T>) -> Range<T> {
        Range { gte: Some(low.into()), lte: Some(high.into()), ..Range::default() }
    }

    /// True for a value inside every bound. What cannot be compared is outside.
    pub fn contains(&self, value: &T) -> bool {
        self.gt.as_ref().is_none_or(|bound| value > bound)
            && self.gte.as_ref().is_none_or(|bound| value >= bound)
            && self.lt.as_ref().is_none_or(|bound| value < bound)
            && self.lte.as_ref().is_none_or(|bound| value <= bound)
    }

    /// The bounds there are.
    pub fn bounds(&self) -> impl Iterator<Item = &T> {
        [&self.gt, &self.gte, &self.lt, &self.lte].into_iter().flatten()
    }
}

impl Range<Number> {
    /// The least and the greatest `i64` inside; `None` where there is none. Exact for bounds of every kind.
    pub fn integers(&self) -> Option<(i64, i64)> {
        let contains = |value: i64| self.contains(&Number::I64(value));
        let (mut low, mut high) = (i64::MIN, i64::MAX);
        for bound in [self.gt, self.gte].into_iter().flatten() {
            low = low.max(bound.ceil()?);
        }
        for bound in [self.lt, self.lte].into_iter().flatten() {
            high = high.min(bound.floor()?);
        }
        // A strict bound may still hold an end; its neighbour is inside then, or nothing is.
        if !contains(low) && low < high {
            low += 1;
        }
        if !contains(high) && low < high {
            high -= 1;
        }
        (low <= high && contains(low) && contains(high)).then_some((low, high))
    }
}

impl Number {
    /// The nearest float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::I64(value) => value as f64,
            Number::U64(value) => value as f64,
            Number::F64(value) => value,
        }
    }

    /// True for NaN.
    pub fn is_nan(self) -> bool {
        matches!(self, Number::F64(value) if value.is_nan())
    }

    /// The least `i64` that is not less; `None` for NaN and above all of them.
    fn ceil(self) -> Option<i64> {
        match self {
            Number::I64(value) => Some(value),
            Number::U64(value) => i64::try_from(value).ok(),
            // 2^63 is a float, 2^63 - 1 is not; `as` saturates below.
            Number::F64(value) => (value.ceil() < I64_END).then_some(value.ceil() as i64),
        }
    }

    /// The greatest `i64` that is not greater; `None` for NaN and below all of them.
    fn floor(self) -> Option<i64> {
        match self {
            Number::I64(value) => Some(value),
            Number::U64(value) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
            Number::F64(value) => (value.floor() >= -I64_END).then_some(value.floor() as i64),
        }
    }
}

/// 2^63.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// By value, exactly: 2^53 + 1 is greater than the float 2^53. NaN is not comparable.
impl PartialOrd for Number {
    #[inline]
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        match (*self, *other) {
            (Number::I64(a), Number::I64(b)) => Some(a.cmp(&b)),
            (Number::F64(a), Number::F64(b)) => a.partial_cmp(&b),
            (Number::F64(a), b) => integer_to_float(b.as_i128(), a).map(Ordering::reverse),
            (a, Number::F64(b)) => integer_to_float(a.as_i128(), b),
            (a, b) => Some(a.as_i128().cmp(&b.as_i128())),
        }
    }
}

impl Number {
    /// The integer; zero for floats, which do not come here.
    fn as_i128(self) -> i128 {
        match self {
            Number::I64(value) => value.into(),
            Number::U64(value) => value.into(),
            Number::F64(_) => 0,
        }
    }
}

/// An integer against a float.
#[inline]
fn integer_to_float(integer: i128, float: f64) -> Option<Ordering> {
    const EXACT: i128 = 1 << 53;
    if (-EXACT..=EXACT).contains(&integer) || !float.is_finite() {
        return (integer as f64).partial_cmp(&float);
    }
    // `as` saturates far outside of every integer here; the part behind the point decides between equals.
    let whole = float.trunc();
    Some(integer.cmp(&(whole as i128)).then_with(|| 0.0_f64.total_cmp(&(float - whole + 0.0))))
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Number::I64(value.into())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::I64(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Number::U64(value), Number::I64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::F64(value)
    }
}

impl From<Number> for Scalar {
    fn from(value: Number) -> Self {
        Scalar::Number(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Scalar::Number(value.into())
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Scalar::Number(value.into())
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Scalar::Number(value.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Scalar::Bool(value)
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Scalar::String(value.into())
    }
}

impl From<bool> for Key {
    fn from(value: bool) -> Self {
        Key::Bool(value)
    }
}

impl From<i32> for Key {
    fn from(value: i32) -> Self {
        Key::I64(value.into())
    }
}

impl From<i64> for Key {
    fn from(value: i64) -> Self {
        Key::I64(value)
    }
}

impl From<&str> for Key {
    fn from(value: &str) -> Self {
        Key::String(value.into())
    }
}

impl From<String> for Key {
    fn from(value: String) -> Self {
        Key::String(value.into())
    }
}

impl Test {
    /// Equal to `value`, kind and all.
    pub fn value(value: impl Into<Key>) -> Test {
        Test::Value(value.into())
    }

    /// Equal to one of `values`, kind and all.
    pub fn any<K: Into<Key>>(values: impl IntoIterator<Item = K>) -> Test {
        Test::Any(values.into_iter().map(Into::into).collect())
    }

    /// A value that is neither null nor one of `values`.
    pub fn except<K: Into<Key>>(values: impl IntoIterator<Item = K>) -> Test {
        Test::Except(values.into_iter().map(Into::into).collect())
    }

    /// Equal to `value`, numbers by value.
    pub fn equals(value: impl Into<Scalar>) -> Test {
        Test::Equals(vec![value.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = Number> {
        let near = |around: i64| (-3i64..=3).prop_map(move |by| around.saturating_add(by));
        let integers = prop_oneof![near(0), near(1 << 53), near(i64::MAX), near(i64::MIN), any::<i64>()];
        let floats = prop_oneof![
            integers.clone().prop_map(|value| value as f64),
            integers.clone().prop_map(|value| value as f64 + 0.5),
            any::<f64>(),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-0.0),
        ];
        prop_oneof![
            integers.clone().prop_map(Number::I64),
            integers.prop_map(|value| Number::from(value.cast_unsigned())),
            floats.prop_map(Number::F64),
        ]
    }

    /// Exact: whole part and eighths as integers, for numbers that such integers hold.
    fn scaled(number: Number) -> Option<i128> {
        match number {
            Number::I64(value) => Some(i128::from(value) * 8),
            Number::U64(value) => Some(i128::from(value) * 8),
            Number::F64(value) if value.abs() < 1e30 && (value * 8.0).fract() == 0.0 => {
                Some((value * 8.0) as i128)
            }
            Number::F64(_) => None,
        }
    }

    proptest! {
        #[test]
        fn numbers_compare_by_value(a in number(), b in number()) {
            prop_assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
            if let (Some(exact_a), Some(exact_b)) = (scaled(a), scaled(b)) {
                prop_assert_eq!(a.partial_cmp(&b), Some(exact_a.cmp(&exact_b)));
            }
            prop_assert_eq!(a.partial_cmp(&b).is_none(), a.is_nan() || b.is_nan());
        }

        #[test]
        fn integers_are_the_ends_of_a_range(
            bounds in proptest::array::uniform4(proptest::option::of(number())),
            probe in number(),
        ) {
            let [gt, gte, lt, lte] = bounds;
            let range = Range { gt, gte, lt, lte };
            let inside = |value: i64| range.contains(&Number::I64(value));
            match range.integers() {
                Some((low, high)) => {
                    prop_assert!(inside(low) && inside(high));
                    prop_assert!(low == i64::MIN || !inside(low - 1));
                    prop_assert!(high == i64::MAX || !inside(high + 1));
                }
                None => {
                    for near in range.bounds().chain([&probe]) {
                        for value in [near.ceil(), near.floor()].into_iter().flatten() {
                            for value in [value.saturating_sub(1), value, value.saturating_add(1)] {
                                prop_assert!(!inside(value));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nan_bounds_hold_nothing() {
        let range = Range::at_least(f64::NAN);
        assert_eq!(range.integers(), None);
        assert!(!range.contains(&Number::F64(1.0)) && !range.contains(&Number::F64(f64::NAN)));
        assert_eq!(Range::<Number>::default().integers(), Some((i64::MIN, i64::MAX)));
        assert_eq!(Range::<Number>::between(3i64, 2i64).integers(), None);
    }
}
