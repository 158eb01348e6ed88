//! What a collection is made of: fixed when it is created, save how its vectors are indexed.

use nearfield_hnsw::{EF_CONSTRUCTION_MAX, M_MAX};
use nearfield_payload::index::IndexKind;
use nearfield_payload::{Path, Step};
use nearfield_segment::{IndexOptions, Quantization};
use nearfield_types::limits::{DIMENSION_MAX, VECTOR_NAMES_MAX};
use nearfield_types::{Metric, check_name};

use crate::error::{Error, ErrorKind, Result};

/// How one vector is indexed.
///
/// ```
/// use nearfield_collection::{CollectionConfig, IndexConfig};
/// use nearfield_types::Metric;
///
/// let careful = IndexConfig { m: 24, ..IndexConfig::default() };
/// assert!(CollectionConfig::new(768, Metric::Cosine).index(careful).check().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexConfig {
    /// Links of a node of the graph, twice as many on its lowest level: 16 suits most data, 24 to 32 suits many dimensions and high
    /// recall.
    pub m: u32,
    /// Candidates kept open while a node is linked: more takes longer and finds better links.
    pub ef_construct: u32,
    /// What walks score by.
    pub quantization: Quantization,
}

/// m 16, ef_construct 100, codes chosen by metric and dimension.
impl Default for IndexConfig {
    fn default() -> Self {
        IndexConfig { m: 16, ef_construct: 100, quantization: Quantization::Auto }
    }
}

impl IndexConfig {
    /// Checks the values against their limits; `shown` names the vector.
    fn check(&self, shown: &str) -> Result<()> {
        let within = |field: &str, value: u32, least: u32, most: u32| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Error::invalid(format!("{field}{shown} is {value}: it must be {least} to {most}"))),
        };
        within("m", self.m, 2, M_MAX)?;
        within("ef_construct", self.ef_construct, 1, EF_CONSTRUCTION_MAX)?;
        match self.quantization {
            Quantization::Scalar { quantile } if !(quantile > 0.0 && quantile <= 1.0) => Err(Error::invalid(
                format!("quantile{shown} is {quantile}: it must be above 0 and at most 1"),
            )),
            _ => Ok(()),
        }
    }

    /// The same for the segment.
    pub(crate) fn options(&self) -> IndexOptions {
        IndexOptions::graph_of(self.m, self.ef_construct, self.quantization)
    }
}

/// One named vector of every point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorConfig {
    /// How many numbers it has.
    pub dim: u32,
    /// How two of them are compared.
    pub metric: Metric,
    /// How it is indexed.
    pub index: IndexConfig,
}

/// The vectors of a collection, by name. The empty name is the one that is meant when none is given.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionConfig {
    vectors: Vec<(String, Asked)>,
    partition: Option<PartitionConfig>,
}

/// The field by which the points of a collection are put together on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionConfig {
    /// Where its value is in a payload.
    pub path: String,
    /// What the values are: text as a whole, or integers.
    pub kind: IndexKind,
}

impl PartitionConfig {
    /// The path, where it is one that can be used.
    pub(crate) fn parsed(&self) -> Option<Path> {
        Path::parse(&self.path).ok()
    }

    fn check(&self) -> Result<()> {
        let path = Path::parse(&self.path)
            .map_err(|e| Error::caused(ErrorKind::Invalid, format!("partition_by {:?}", self.path), e))?;
        if path.steps().contains(&Step::Each) {
            return Err(Error::invalid(format!(
                "partition_by is \"{path}\": a point has one value there, so the path may not hold []"
            )));
        }
        match self.kind {
            IndexKind::Keyword | IndexKind::Integer => Ok(()),
            other => Err(Error::invalid(format!(
                "partition_by is a field of kind {}: it must be keyword or integer",
                other.name()
            ))),
        }
    }
}

/// As asked for; the limits are checked when the collection is created.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    dim: usize,
    metric: Metric,
    index: IndexConfig,
}

impl Asked {
    fn new(dim: usize, metric: Metric) -> Self {
        Asked { dim, metric, index: IndexConfig::default() }
    }
}

impl CollectionConfig {
    /// One vector of `dim` numbers a point, without a name.
    pub fn new(dim: usize, metric: Metric) -> Self {
        CollectionConfig::named("", dim, metric)
    }

    /// One vector of `dim` numbers a point, called `name`.
    pub fn named(name: impl Into<String>, dim: usize, metric: Metric) -> Self {
        CollectionConfig { vectors: vec![(name.into(), Asked::new(dim, metric))], partition: None }
    }

    /// And another vector, which a point may have or not.
    #[must_use]
    pub fn vector(mut self, name: impl Into<String>, dim: usize, metric: Metric) -> Self {
        self.vectors.push((name.into(), Asked::new(dim, metric)));
        self
    }

    /// Says how the vector named last is indexed.
    #[must_use]
    pub fn index(mut self, index: IndexConfig) -> Self {
        if let Some((_, asked)) = self.vectors.last_mut() {
            asked.index = index;
        }
        self
    }

    /// Stores points with one text at `path` together, so that a search among them alone (`must: path = text`) costs about what it would in a
    /// collection of their own. For the field that says whose a point is. Fixed for good; the field gets an index, which stays. Points without
    /// one value there lie together too.
    ///
    /// ```
    /// use nearfield_collection::CollectionConfig;
    /// use nearfield_types::Metric;
    ///
    /// let shared = CollectionConfig::new(768, Metric::Cosine).partition_by("tenant");
    /// assert_eq!(shared.partition().map(|partition| partition.path.as_str()), Some("tenant"));
    /// ```
    #[must_use]
    pub fn partition_by(self, path: impl Into<String>) -> Self {
        self.partition_by_kind(path, IndexKind::Keyword)
    }

    /// As [`CollectionConfig::partition_by`], of a field that holds values of this kind: keyword or integer.
    #[must_use]
    pub fn partition_by_kind(mut self, path: impl Into<String>, kind: IndexKind) -> Self {
        self.partition = Some(PartitionConfig { path: path.into(), kind });
        self
    }

    /// The field by which points are put together, if there is one.
    pub fn partition(&self) -> Option<&PartitionConfig> {
        self.partition.as_ref()
    }

    /// Names and settings, in the order given.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = (&str, VectorConfig)> {
        self.vectors.iter().map(|(name, asked)| {
            let dim = u32::try_from(asked.dim).unwrap_or(u32::MAX);
            (name.as_str(), VectorConfig { dim, metric: asked.metric, index: asked.index })
        })
    }

    /// The place and settings of the vector `name`.
    pub fn find(&self, name: &str) -> Option<(usize, VectorConfig)> {
        self.vectors()
            .enumerate()
            .find(|(_, (known, _))| *known == name)
            .map(|(at, (_, config))| (at, config))
    }

    /// Says how the vector at `place` is indexed.
    pub(crate) fn set_index(&mut self, place: usize, index: IndexConfig) {
        if let Some((_, asked)) = self.vectors.get_mut(place) {
            asked.index = index;
        }
    }

    /// Checks names, their number, dimensions and index settings against the limits.
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
            let shown = if name.is_empty() { String::new() } else { format!(" of vector {name:?}") };
            if asked.dim == 0 || asked.dim > DIMENSION_MAX {
                let context = format!("dim{shown} is {}: it must be 1 to {DIMENSION_MAX}", asked.dim);
                return Err(Error::invalid(context));
            }
            asked.index.check(&shown)?;
        }
        self.partition.as_ref().map_or(Ok(()), PartitionConfig::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_by_one_text_or_integer() {
        let text = |path: &str, kind| {
            let config = CollectionConfig::new(1, Metric::Dot).partition_by_kind(path, kind);
            config.check().map_err(|e| e.to_string())
        };
        assert_eq!(text("owner.id", IndexKind::Integer), Ok(()));
        assert_eq!(text("a[0].\"b c\"", IndexKind::Keyword), Ok(()));
        let each = "partition_by is \"a[].b\": a point has one value there, so the path may not hold []";
        assert_eq!(text("a[].b", IndexKind::Keyword), Err(each.into()));
        let kind = "partition_by is a field of kind geo: it must be keyword or integer";
        assert_eq!(text("a", IndexKind::Geo), Err(kind.into()));
        assert!(text("a..b", IndexKind::Keyword).is_err_and(|e| e.starts_with("partition_by \"a..b\"")));
    }

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
        let usual = IndexConfig::default();
        let scalar = |quantile| IndexConfig { quantization: Quantization::Scalar { quantile }, ..usual };
        for (index, expected) in [
            (usual, None),
            (IndexConfig { m: 1, ..usual }, Some("m of vector \"b\" is 1: it must be 2 to 128")),
            (IndexConfig { m: 129, ..usual }, Some("m of vector \"b\" is 129: it must be 2 to 128")),
            (
                IndexConfig { ef_construct: 0, ..usual },
                Some("ef_construct of vector \"b\" is 0: it must be 1 to 4096"),
            ),
            (scalar(1.0), None),
            (scalar(0.0), Some("quantile of vector \"b\" is 0: it must be above 0 and at most 1")),
            (scalar(f32::NAN), Some("quantile of vector \"b\" is NaN: it must be above 0 and at most 1")),
        ] {
            let config =
                CollectionConfig::named("a", 3, Metric::Dot).vector("b", 3, Metric::Dot).index(index);
            assert_eq!(text(config).err().as_deref(), expected);
        }
    }
}
