//! The settings of a graph, checked once so that no later code meets a bad one.
//!
//! It refuses to know a search: how hard to look is said with each question ([`nearfield_ann::Effort`]).

/// Most links of a node on an upper level; level 0 has twice as many.
pub const M_MAX: u32 = 128;
/// Most candidates kept open while a node is linked.
pub const EF_CONSTRUCTION_MAX: u32 = 4_096;
/// Most candidates a search keeps open.
pub const EF_MAX: u32 = 1 << 20;

/// How a graph is built.
///
/// | field | usual | meaning |
/// |---|---|---|
/// | `m` | 16 | links of a node on an upper level; level 0 has `2 * m` |
/// | `ef_construction` | 100 to 200 | candidates kept open while a node is linked |
/// | `alpha` | 1.2 | slack of the occlusion rule: more than 1 keeps some longer links |
/// | `seed` | 0 | draws the level of every slot |
/// | `geometry` | distance | whether scores are distances or negative inner products |
///
/// ```
/// use nearfield_hnsw::Params;
/// assert_eq!(Params::new(16, 200)?.links_max(), 32);
/// assert!(Params::new(1, 200).is_err());
/// # Ok::<(), nearfield_hnsw::ParamsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    m: u32,
    ef_construction: u32,
    alpha: f32,
    seed: u64,
    geometry: Geometry,
}

/// What scores are, which the choice of neighbours must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// Distances: the score of a vector with itself is the least there is, about 0.
    #[default]
    Distance,
    /// Negative inner products. Neighbours are found by these and chosen by the squared distances that follow from them: chosen by
    /// products, a few long vectors would hide all others.
    Product,
}

/// Why settings are refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// `m` is outside its limits.
    #[error("m is {m}: it must be 2 to {M_MAX}")]
    M {
        /// What was given.
        m: u32,
    },
    /// `ef_construction` is outside its limits.
    #[error("ef_construction is {ef_construction}: it must be 1 to {EF_CONSTRUCTION_MAX}")]
    EfConstruction {
        /// What was given.
        ef_construction: u32,
    },
    /// `alpha` is outside its limits.
    #[error("alpha is {alpha}: it must be 1 to 2")]
    Alpha {
        /// What was given.
        alpha: f32,
    },
}

impl Params {
    /// Slack of the occlusion rule unless another is asked for.
    pub const ALPHA: f32 = 1.2;

    /// The usual slack, seed 0.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] for a value outside its limits.
    pub fn new(m: u32, ef_construction: u32) -> Result<Params, ParamsError> {
        if !(2..=M_MAX).contains(&m) {
            return Err(ParamsError::M { m });
        }
        if !(1..=EF_CONSTRUCTION_MAX).contains(&ef_construction) {
            return Err(ParamsError::EfConstruction { ef_construction });
        }
        Ok(Params { m, ef_construction, alpha: Self::ALPHA, seed: 0, geometry: Geometry::Distance })
    }

    /// With another slack.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Alpha`] outside 1 to 2.
    pub fn with_alpha(mut self, alpha: f32) -> Result<Params, ParamsError> {
        if !(1.0..=2.0).contains(&alpha) {
            return Err(ParamsError::Alpha { alpha });
        }
        self.alpha = alpha;
        Ok(self)
    }

    /// With another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Params {
        self.seed = seed;
        self
    }

    /// With scores of another kind.
    #[must_use]
    pub fn with_geometry(mut self, geometry: Geometry) -> Params {
        self.geometry = geometry;
        self
    }

    /// What scores are.
    pub fn geometry(self) -> Geometry {
        self.geometry
    }

    /// Links of a node on an upper level.
    pub fn m(self) -> u32 {
        self.m
    }

    /// Links of a node on level 0.
    pub fn links_max(self) -> u32 {
        2 * self.m
    }

    /// Candidates kept open while a node is linked.
    pub fn ef_construction(self) -> u32 {
        self.ef_construction
    }

    /// Slack of the occlusion rule.
    pub fn alpha(self) -> f32 {
        self.alpha
    }

    /// Draws the levels.
    pub fn seed(self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_and_named() {
        for m in [0, 1, 129] {
            assert_eq!(Params::new(m, 10), Err(ParamsError::M { m }));
        }
        for ef_construction in [0, 4_097] {
            assert_eq!(
                Params::new(16, ef_construction),
                Err(ParamsError::EfConstruction { ef_construction })
            );
        }
        let params = Params::new(2, 1).unwrap();
        for alpha in [0.99, 2.01, f32::NAN] {
            assert!(params.with_alpha(alpha).is_err());
        }
        let text = Params::new(1, 1).unwrap_err().to_string();
        assert_eq!(text, "m is 1: it must be 2 to 128");
    }
}
