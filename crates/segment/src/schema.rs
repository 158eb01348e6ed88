//! The vectors every point of a segment may have.

use nearfield_vectors::Shape;

/// The shapes of the named vectors, in the order of the collection's configuration. Names stay above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    shapes: Vec<Shape>,
}

impl Schema {
    /// These vectors, in this order.
    pub fn new(shapes: Vec<Shape>) -> Self {
        Schema { shapes }
    }

    /// The shapes in order.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}
