//! The archived form of a row: one flat list of nodes and one run of text.
//!
//! An object is a tree, and the obvious archive of a tree is nested. This one is flat, for three reasons. Nothing recurses:
//! neither rkyv, nor bytecheck, nor we, whatever the bytes say. Every bit pattern is a valid node, so bytecheck compares a
//! few offsets and is done: opening a row costs the same for 10 bytes and for 10 MB, without `unsafe`. And one key is found
//! by looking at the keys beside it alone.
//!
//! Nodes stand in breadth-first order: the values of the top object, then the children of the first container among the
//! nodes, those of the second, and so on. So the children of one container are neighbours, and in a sound row
//! each container's `first` equals the number of nodes that came before its children: a single pass proves that the nodes
//! form a tree. Text stands in the same order, key before string: one pass proves that no two values share bytes.

use rkyv::rancor::Failure;
use rkyv::{Archive, Serialize};

use super::RowError;
use crate::format::{ROW_VERSION, kind};

/// One value with its key. `zero` makes the bytes that would be padding explicit, so that a list of nodes is copied whole.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
#[repr(C)]
pub(crate) struct Node {
    pub(crate) kind: u8,
    pub(crate) zero: u8,
    pub(crate) key_len: u16,
    pub(crate) key_at: u32,
    /// The bits of a number; `start | length << 32` of text; `first | count << 32` of children.
    pub(crate) data: u64,
}

/// A row as it is archived. `version` is the last field, so it is the last four bytes of every row of every version.
#[derive(Debug, Default, Archive, Serialize)]
pub(crate) struct Row {
    pub(crate) nodes: Vec<Node>,
    pub(crate) text: Vec<u8>,
    pub(crate) top: u32,
    pub(crate) version: u32,
}

/// Two halves of a node's data.
pub(crate) fn pack(low: usize, high: usize) -> u64 {
    low as u64 | (high as u64) << 32
}

/// A start and a length, or a first child and a count.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) at: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) fn end(self) -> usize {
        self.at.saturating_add(self.len)
    }
}

impl ArchivedNode {
    pub(crate) fn key(&self) -> Span {
        Span { at: self.key_at.to_native() as usize, len: usize::from(self.key_len.to_native()) }
    }

    pub(crate) fn bits(&self) -> u64 {
        self.data.to_native()
    }

    pub(crate) fn span(&self) -> Span {
        let bits = self.bits();
        Span { at: bits as u32 as usize, len: (bits >> 32) as usize }
    }

    pub(crate) fn is_container(&self) -> bool {
        matches!(self.kind, kind::ARRAY | kind::OBJECT)
    }
}

/// The parts of a row, inside its bytes and otherwise unchecked.
#[derive(Clone, Copy)]
pub(crate) struct Tape<'a> {
    pub(crate) nodes: &'a [ArchivedNode],
    pub(crate) text: &'a [u8],
    pub(crate) top: usize,
}

impl<'a> Tape<'a> {
    /// The parts of `bytes`, which are aligned to [`crate::format::ROW_ALIGN_MIN`]. O(1).
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Tape<'a>, RowError> {
        let Some((_, version)) = bytes.split_last_chunk::<4>() else {
            return match bytes.len() {
                0 => Ok(Tape { nodes: &[], text: &[], top: 0 }),
                len => Err(RowError::Short { len }),
            };
        };
        let version = u32::from_le_bytes(*version);
        if version != ROW_VERSION {
            return Err(RowError::Version { found: version });
        }
        let row = rkyv::api::low::access::<ArchivedRow, Failure>(bytes).map_err(|_| RowError::Archive)?;
        let top = row.top.to_native() as usize;
        if top == 0 || top > row.nodes.len() {
            return Err(RowError::Top { count: top, nodes: row.nodes.len() });
        }
        Ok(Tape { nodes: row.nodes.as_slice(), text: row.text.as_slice(), top })
    }

    /// The text at `span`, for `node`.
    pub(crate) fn bytes(&self, node: usize, span: Span) -> Result<&'a [u8], RowError> {
        self.text.get(span.at..span.end()).ok_or(RowError::Text { node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{NODE_BYTES, NODE_LAYOUT, ROOT_BYTES, ROOT_LAYOUT, ROW_ALIGN, ROW_ALIGN_MIN};
    use std::mem::offset_of;

    /// The layout that `format` promises is the one that rkyv makes.
    #[test]
    fn archived_layout_is_the_documented_one() {
        let node = [
            offset_of!(ArchivedNode, kind),
            offset_of!(ArchivedNode, zero),
            offset_of!(ArchivedNode, key_len),
            offset_of!(ArchivedNode, key_at),
            offset_of!(ArchivedNode, data),
        ];
        assert_eq!(node[..], NODE_LAYOUT.iter().map(|field| field.1).collect::<Vec<_>>());
        assert_eq!((size_of::<ArchivedNode>(), align_of::<ArchivedNode>()), (NODE_BYTES, ROW_ALIGN_MIN));
        let root =
            [offset_of!(ArchivedRow, nodes), offset_of!(ArchivedRow, text), offset_of!(ArchivedRow, top)];
        assert_eq!(root, [ROOT_LAYOUT[0].1, ROOT_LAYOUT[2].1, ROOT_LAYOUT[4].1]);
        assert_eq!(offset_of!(ArchivedRow, version), ROOT_LAYOUT[5].1);
        assert_eq!((size_of::<ArchivedRow>(), align_of::<ArchivedRow>()), (ROOT_BYTES, 4));
        assert!(ROW_ALIGN.is_multiple_of(ROW_ALIGN_MIN));
    }
}
