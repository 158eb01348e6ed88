//! What all vectors of one store have in common.
//!
//! It refuses to exist with a dimension outside the limits, so no later code meets one.

use nearfield_types::Metric;
use nearfield_types::limits::DIMENSION_MAX;

/// How one coordinate is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating point.
    #[default]
    F32,
}

impl Element {
    /// The stable number of this element in files.
    pub fn code(self) -> u8 {
        match self {
            Element::F32 => 0,
        }
    }

    /// The element with this number, if this program knows it.
    pub fn from_code(code: u8) -> Option<Element> {
        (code == Element::F32.code()).then_some(Element::F32)
    }

    /// Bytes of one coordinate.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
        }
    }
}

/// Dimension, metric and element of the vectors of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    dim: u32,
    metric: Metric,
    element: Element,
}

/// Why a shape, a vector or a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No vector may have so many dimensions.
    #[error("dimension {dim} is outside 1 to {DIMENSION_MAX}")]
    Limit {
        /// The dimension asked for.
        dim: u64,
    },
    /// It has another dimension than the store.
    #[error("vector has {found} dimensions, expected {expected}")]
    Dimension {
        /// The dimension of the store.
        expected: u32,
        /// The dimension that came.
        found: usize,
    },
    /// One of its values is NaN or infinite.
    #[error("vector value at index {at} is NaN or infinite")]
    NotFinite {
        /// Its index.
        at: usize,
    },
}

impl Shape {
    /// Vectors of `dim` coordinates compared by `metric`.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Limit`] outside 1 to [`DIMENSION_MAX`].
    pub fn new(dim: u32, metric: Metric, element: Element) -> Result<Shape, ShapeError> {
        if dim == 0 || dim as usize > DIMENSION_MAX {
            return Err(ShapeError::Limit { dim: dim.into() });
        }
        Ok(Shape { dim, metric, element })
    }

    /// Coordinates of one vector, at least 1.
    pub fn dim(self) -> u32 {
        self.dim
    }

    /// How they are compared.
    pub fn metric(self) -> Metric {
        self.metric
    }

    /// How a coordinate is stored.
    pub fn element(self) -> Element {
        self.element
    }

    /// Bytes of one row.
    pub fn row_bytes(self) -> usize {
        self.dim as usize * self.element.bytes()
    }

    /// Checks the dimension of a vector that is to be stored. O(1): values are checked where they enter the database.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Dimension`].
    pub fn check_dim(self, vector: &[f32]) -> Result<(), ShapeError> {
        if vector.len() == self.dim as usize {
            return Ok(());
        }
        Err(ShapeError::Dimension { expected: self.dim, found: vector.len() })
    }

    /// Checks dimension and values. O(dim).
    ///
    /// # Errors
    ///
    /// [`ShapeError::Dimension`], [`ShapeError::NotFinite`].
    pub fn check(self, vector: &[f32]) -> Result<(), ShapeError> {
        self.check_dim(vector)?;
        match vector.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(ShapeError::NotFinite { at }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_limited() {
        for dim in [0, 65_537, u32::MAX] {
            let refused = Shape::new(dim, Metric::Dot, Element::F32);
            assert_eq!(refused, Err(ShapeError::Limit { dim: dim.into() }));
        }
        for dim in [1, 65_536] {
            assert_eq!(Shape::new(dim, Metric::Dot, Element::F32).unwrap().row_bytes(), 4 * dim as usize);
        }
    }

    #[test]
    fn vectors_are_checked() {
        let shape = Shape::new(2, Metric::Dot, Element::F32).unwrap();
        assert_eq!(shape.check(&[1.0, -0.0]), Ok(()));
        assert_eq!(shape.check(&[1.0]), Err(ShapeError::Dimension { expected: 2, found: 1 }));
        assert_eq!(shape.check(&[1.0, f32::NAN]), Err(ShapeError::NotFinite { at: 1 }));
        assert_eq!(shape.check(&[f32::NEG_INFINITY, 0.0]), Err(ShapeError::NotFinite { at: 0 }));
    }

    #[test]
    fn element_codes_round_trip() {
        assert_eq!(Element::from_code(Element::F32.code()), Some(Element::F32));
        assert_eq!(Element::from_code(1), None);
    }
}
