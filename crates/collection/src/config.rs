//! What a collection is made of, fixed when it is created.

use nearfield_types::limits::{DIMENSION_MAX, VECTOR_NAMES_MAX};
use nearfield_types::{Metric, check_name};

use crate::error::{Error, ErrorKind, Result};

/// One named vector of every point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorConfig {
    /// How many numbers it has.
    pub dim: u32,
    /// How two of them are compared.
    pub metric: Metric,
}

/// The vectors of a collection, by name. The empty name is the one that is meant when none is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionConfig {
    vectors: Vec<(String, Asked)>,
}

/// As asked for; the limits are checked when the collection is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    dim: usize,
    metric: Metric,
}

impl CollectionConfig {
    /// One vector of `dim` numbers a point, without a name.
    pub fn new(dim: usize, metric: Metric) -> Self {
        CollectionConfig::named("", dim, metric)
    }

    /// One vector of `dim` numbers a point, called `name`.
    pub fn named(name: impl Into<String>, dim: usize, metric: Metric) -> Self {
        CollectionConfig { vectors: vec![(name.into(), Asked { dim, metric })] }
    }

    /// And another vector, which a point may have or not.
    #[must_use]
    pub fn vector(mut self, name: impl Into<String>, dim: usize, metric: Metric) -> Self {
        self.vectors.push((name.into(), Asked { dim, metric }));
        self
    }

    /// Names and settings, in the order given.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = (&str, VectorConfig)> {
        self.vectors.iter().map(|(name, asked)| {
            let dim = u32::try_from(asked.dim).unwrap_or(u32::MAX);
            (name.as_str(), VectorConfig { dim, metric: asked.metric })
        })
    }

    /// The place and settings of the vector `name`.
    pub fn find(&self, name: &str) -> Option<(usize, VectorConfig)> {
        self.vectors()
            .enumerate()
            .find(|(_, (known, _))| *known == name)
            .map(|(at, (_, config))| (at, config))
    }

    /// Checks names, their number and dimensions against the limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], naming the field, the value and the limit.
    pub fn check(&self) -> Result<()> {
        if self.vectors.len() > VECTOR_NAMES_MAX {
            let context =
                format!("vectors has {} names: at most {VECTOR_NAMES_MAX} are allowed", self.vectors.len());
            return Err(Error::invalid(context));
        }
        for (at, (name, asked)) in self.vectors.iter().enumerate() {
            if !name.is_empty() {
                check_name("vector", name).map_err(|e| Error::caused(ErrorKind::Invalid, "vectors", e))?;
            }
            if self.vectors[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::invalid(format!("vectors names {name:?} twice: names must differ")));
            }
            if asked.dim == 0 || asked.dim > DIMENSION_MAX {
                let shown = if name.is_empty() { String::new() } else { format!(" of vector {name:?}") };
                let context = format!("dim{shown} is {}: it must be 1 to {DIMENSION_MAX}", asked.dim);
                return Err(Error::invalid(context));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_field_value_and_limit() {
        let text = |config: CollectionConfig| config.check().map_err(|e| e.to_string());
        assert_eq!(text(CollectionConfig::new(1, Metric::Dot)), Ok(()));
        assert_eq!(text(CollectionConfig::new(DIMENSION_MAX, Metric::Dot)), Ok(()));
        for dim in [0, DIMENSION_MAX + 1, usize::MAX] {
            let expected = format!("dim is {dim}: it must be 1 to 65536");
            assert_eq!(text(CollectionConfig::new(dim, Metric::Dot)), Err(expected));
        }
        let twice = CollectionConfig::named("a", 3, Metric::Dot).vector("a", 4, Metric::Dot);
        assert_eq!(text(twice), Err("vectors names \"a\" twice: names must differ".into()));
        assert!(text(CollectionConfig::named("../x", 3, Metric::Dot)).is_err());
    }
}
