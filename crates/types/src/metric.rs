//! How far apart two vectors are.

use std::fmt;
use std::str::FromStr;

/// A distance inside the engine: **lower is closer**, whatever the metric. See [`Metric::distance_of`].
pub type Score = f32;

/// The measure by which a named vector is compared.
///
/// | metric | engine distance (lower is closer) | similarity shown to people |
/// |---|---|---|
/// | cosine | `1 - cos(a, b)`, 0 to 2; 1 where one is the zero vector | `cos(a, b)`, higher is closer |
/// | dot | `-<a, b>` | `<a, b>`, higher is closer |
/// | Euclid | `sum (a_i - b_i)^2` | its square root, lower is closer |
/// | Manhattan | `sum abs(a_i - b_i)` | the same, lower is closer |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The angle between two vectors.
    Cosine,
    /// The inner product.
    Dot,
    /// Squared Euclidean distance.
    Euclid,
    /// Sum of absolute differences.
    Manhattan,
}

impl Metric {
    /// All metrics, in the order of their codes.
    pub const ALL: [Metric; 4] = [Metric::Cosine, Metric::Dot, Metric::Euclid, Metric::Manhattan];

    /// The stable number of this metric in files.
    pub fn code(self) -> u8 {
        match self {
            Metric::Cosine => 0,
            Metric::Dot => 1,
            Metric::Euclid => 2,
            Metric::Manhattan => 3,
        }
    }

    /// The metric with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Metric> {
        Metric::ALL.get(usize::from(code)).copied()
    }

    /// The lower-case name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::Dot => "dot",
            Metric::Euclid => "euclid",
            Metric::Manhattan => "manhattan",
        }
    }

    /// The engine distance, given what the kernel of this metric computes.
    ///
    /// `raw` is the dot product for cosine and dot, the squared Euclidean or the Manhattan distance otherwise. For cosine
    /// `scale` is the product of both inverse norms (0 for a zero vector, which gives distance 1); the rest ignore it.
    #[inline]
    pub fn distance_of(self, raw: f32, scale: f32) -> Score {
        match self {
            Metric::Cosine => 1.0 - raw * scale,
            Metric::Dot => -raw,
            Metric::Euclid | Metric::Manhattan => raw,
        }
    }

    /// The number people expect of this metric, from an engine distance (see the table above).
    pub fn similarity(self, distance: Score) -> f32 {
        match self {
            Metric::Cosine => 1.0 - distance,
            Metric::Dot => -distance,
            Metric::Euclid => distance.max(0.0).sqrt(),
            Metric::Manhattan => distance,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric {given:?}: it must be cosine, dot, euclid or manhattan")]
pub struct UnknownMetric {
    /// What was given, cut to 64 characters.
    pub given: String,
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        Metric::ALL
            .into_iter()
            .find(|metric| metric.name() == text)
            .ok_or_else(|| UnknownMetric { given: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_round_trip() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_code(metric.code()), Some(metric));
            assert_eq!(metric.name().parse(), Ok(metric));
        }
        assert_eq!(Metric::from_code(4), None);
        assert!("Cosine".parse::<Metric>().is_err());
    }

    #[test]
    fn zero_vector_is_at_cosine_distance_one() {
        assert_eq!(Metric::Cosine.distance_of(0.0, 0.0), 1.0);
    }
}
