//! The files of a sealed segment, one crafted at a time beside sound ones: point map, delta, vectors, payload.

use std::sync::Arc;

use nearfield_ann::{Budget, Scratch};
use nearfield_codec::{Container, FileTag, Region, Summary};
use nearfield_payload::decode;
use nearfield_platform::{Dir, MemoryDir};
use nearfield_segment::{
    Ask, Delta, Depth, IDS_FILE, PAYLOAD_FILE, Schema, Sealed, SealedFiles, Segment, format, vectors_file,
};
use nearfield_types::{Seq, Slot};
use nearfield_vectors::{Element, Shape, write_rows};

use super::input;
use crate::{checksums, fixtures};

/// Rows of a crafted point map, at most: files of that many rows are written to stand beside it.
const ROWS_MAX: u32 = 1_000;
const DELTA: &str = "delta";

/// Input: control byte, point map.
///
/// What must hold: a point map that is accepted knows the id of every slot, finds each id again, and lists all of them in order.
pub fn segment_ids(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    let rows =
        header_of(&file, format::IDS_MAGIC, 0).filter(|rows| *rows <= ROWS_MAX).unwrap_or(fixtures::ROWS);
    let mut files = Files::sound();
    if rows != fixtures::ROWS {
        files = Files::blank(rows);
    }
    Files { ids: file, ..files }.ask(rows);
}

/// Input: control byte, delta.
///
/// What must hold: a delta that is read writes the same again; dead rows are not found, and the others are.
pub fn segment_delta(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    let tag = FileTag::new(format::DELTA_MAGIC, format::DELTA_VERSION, format::DELTA_VERSION);
    if let Ok(container) = Container::open(Region::from(file.clone()), tag)
        && let Ok(delta) = Delta::read(&container, fixtures::ROWS)
    {
        let (written, _) = delta.write(Vec::new()).expect("writing to memory does not fail");
        let container = Container::open(Region::from(written), tag).expect("it was just written");
        assert_eq!(Delta::read(&container, fixtures::ROWS).ok().as_ref(), Some(&delta));
    }
    Files { delta: Some(file), ..Files::sound() }.ask(fixtures::ROWS);
}

/// Input: control byte (bit 1: the second vector, which not all rows have), rows file.
///
/// What must hold: whatever floats the rows and norms are, every distance that comes out is finite, and results are ordered.
pub fn segment_vectors(bytes: &[u8]) {
    let (control, file) = input::file(bytes, checksums::container);
    let mut files = Files::sound();
    files.vectors[usize::from(control >> 1 & 1)] = file;
    files.ask(fixtures::ROWS);
}

/// Input: control byte, payload file.
///
/// What must hold: a row is either read and decoded to something within the limits, or refused.
pub fn segment_payload(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    Files { payload: file, ..Files::sound() }.ask(fixtures::ROWS);
}

/// The bytes of the files of one segment.
struct Files {
    ids: Vec<u8>,
    payload: Vec<u8>,
    vectors: [Vec<u8>; 2],
    delta: Option<Vec<u8>>,
}

impl Files {
    /// Those of the fixture.
    fn sound() -> Files {
        let parts = fixtures::database();
        let (ids, payload, vectors) = (parts.ids.clone(), parts.payload.clone(), parts.vectors.clone());
        Files { ids, payload, vectors, delta: None }
    }

    /// Files of `rows` rows without payload and vectors.
    fn blank(rows: u32) -> Files {
        let payload = nearfield_payload::write(Vec::new(), (0..rows).map(|_| [0u8; 0]));
        let vectors = shapes().map(|shape| write_rows(Vec::new(), shape, (0..rows).map(|_| None)));
        let vectors = vectors.map(|written| written.expect("writing to memory does not fail").0);
        let (payload, _) = payload.expect("writing to memory does not fail");
        Files { ids: Vec::new(), payload, vectors, delta: None }
    }

    /// Opens the segment and asks it everything.
    fn ask(self, rows: u32) {
        let dir = MemoryDir::new();
        let put = |name: &str, bytes: &[u8]| {
            let file = dir.create(name).expect("memory has room");
            file.write_at(0, &[bytes]).expect("memory has room");
        };
        dir.make_dir("s").expect("memory has room");
        put(&format!("s/{IDS_FILE}"), &self.ids);
        put(&format!("s/{PAYLOAD_FILE}"), &self.payload);
        self.vectors
            .iter()
            .enumerate()
            .for_each(|(at, bytes)| put(&format!("s/{}", vectors_file(at)), bytes));
        let [first, second] = &self.vectors;
        let vectors = vec![summary(first), summary(second)];
        let files = SealedFiles { ids: summary(&self.ids), payload: summary(&self.payload), vectors };
        let delta = self.delta.as_ref().map(|bytes| {
            put(DELTA, bytes);
            (DELTA, summary(bytes))
        });
        let delta = delta.as_ref().map(|(path, summary)| (*path, summary));
        let schema = Schema::new(shapes().to_vec());
        if let Ok(sealed) = Sealed::open(&*dir, "s", &schema, rows, &files, delta) {
            let verified = sealed.verify().is_ok();
            ask(&Segment::Sealed(Arc::new(sealed)), verified);
        }
    }
}

fn shapes() -> [Shape; 2] {
    fixtures::SHAPES.map(|(dim, metric)| {
        Shape::new(dim as u32, metric, Element::F32).expect("small dimensions are allowed")
    })
}

/// What a manifest would say of this file, as far as opening compares it.
fn summary(bytes: &[u8]) -> Summary {
    let footer = bytes.len().saturating_sub(nearfield_codec::FOOTER_BYTES);
    let tables_crc = checksums::u32_at(bytes, footer + 16);
    Summary { length: bytes.len() as u64, crc64: 0, blake3: [0; 32], tables_crc }
}

/// The number at `at` in the header section of a container.
fn header_of(bytes: &[u8], magic: [u8; 4], at: usize) -> Option<u32> {
    let container = Container::open(Region::from(bytes.to_vec()), FileTag::new(magic, 1, 1)).ok()?;
    let range = container.section(format::SECTION_HEADER).ok()?;
    let header = &container.region()[range.start as usize..range.end as usize];
    header.len().checked_sub(at + 4).map(|_| checksums::u32_at(header, at))
}

fn ask(segment: &Segment, verified: bool) {
    let rows = segment.rows();
    let page = segment.page(None, rows as usize, Seq::MAX);
    assert_eq!(page.len() as u64, segment.count(Seq::MAX));
    assert!(page.windows(2).all(|pair| pair[0].0 < pair[1].0), "ids are not in order");
    for (at, (id, slot)) in page.iter().enumerate() {
        assert_eq!((&segment.id(*slot), segment.find(id, Seq::MAX)), (id, Some(*slot)));
        let rest = segment.page(Some(id), 2, Seq::MAX);
        assert!(rest.iter().eq(page[at + 1..].iter().take(2)));
        segment.born(*slot);
        if let Ok(row) = segment.payload(*slot, Seq::MAX)
            && let Ok(payload) = decode(&row)
        {
            assert_eq!(payload.check().map(|_| ()), Ok(()));
        }
        for (vector, shape) in shapes().iter().enumerate() {
            let read = segment.vector(*slot, vector);
            assert!(read.is_ok() || !verified, "a vector of a verified file cannot be read");
            assert!(read.ok().flatten().is_none_or(|values| values.len() == shape.dim() as usize));
        }
    }
    for (vector, query) in [&[1.0, -2.0, 0.5][..], &[3.0, 4.0]].into_iter().enumerate() {
        let ask =
            Ask { vector, query, limit: 5, filter: None, depth: Depth::Auto, seen: Seq::MAX, bound: None };
        let searched = segment.search(&ask, &Budget::unlimited(), &mut Scratch::new());
        assert!(searched.is_ok() || !verified, "a verified file cannot be searched");
        let Ok((found, _)) = searched else { continue };
        assert!(found.iter().all(|one| one.distance.is_finite() && one.slot < Slot(rows)));
        assert!(found.windows(2).all(|pair| pair[0].distance <= pair[1].distance), "{found:?}");
        assert!(
            found.iter().all(|one| page.iter().any(|(_, slot)| *slot == one.slot)),
            "a dead row was found"
        );
    }
}
