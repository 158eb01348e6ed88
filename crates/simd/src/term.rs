//! The three terms a kernel can sum over the dimensions, as types, so that one loop per instruction set serves all of them.
//!
//! It holds no arithmetic: each level spells the term in its own instructions and picks it by [`Term::KIND`], which is a
//! constant, so the choice costs nothing at run time.

/// Which term is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermKind {
    /// `q * r`
    Product,
    /// `(q - r)^2`
    SquaredDifference,
    /// `|q - r|`
    AbsoluteDifference,
}

/// A [`TermKind`] as a type.
pub(crate) trait Term {
    /// The term this type stands for.
    const KIND: TermKind;
}

/// The term of the dot product.
pub(crate) struct Product;
/// The term of the squared Euclidean distance.
pub(crate) struct SquaredDifference;
/// The term of the Manhattan distance.
pub(crate) struct AbsoluteDifference;

impl Term for Product {
    const KIND: TermKind = TermKind::Product;
}
impl Term for SquaredDifference {
    const KIND: TermKind = TermKind::SquaredDifference;
}
impl Term for AbsoluteDifference {
    const KIND: TermKind = TermKind::AbsoluteDifference;
}
