//! The frame of every sealed file: header, sections, tables, footer.

use nearfield_codec::{BLOCK_BYTES, Container, Region};
use nearfield_platform::{Blob, MappedBlob};

use super::input;
use crate::checksums::{self, MEND};
use crate::fixtures;

/// Input: control byte, file.
///
/// What must hold: sections lie inside the body. A blob over the file hands out exactly the blocks whose checksums hold, which
/// are all of them once they were mended.
pub fn container(bytes: &[u8]) {
    let (control, file) = input::file(bytes, checksums::container);
    let region = Region::from(file);
    let opened = Container::open(region.clone(), fixtures::CONTAINER_TAG);
    let blob = MappedBlob::open(region, fixtures::CONTAINER_TAG);
    let Ok(file) = opened else {
        assert!(blob.is_err());
        return;
    };
    let blob = blob.expect("a container that opens is a blob");
    for section in fixtures::CONTAINER_SECTIONS {
        let Ok(range) = file.section(section) else { continue };
        assert!(range.start <= range.end && range.end <= file.body_len());
        let blocks = range.start / BLOCK_BYTES as u64..range.end.div_ceil(BLOCK_BYTES as u64);
        let sound = range.is_empty() || blocks.clone().all(|block| file.verify_block(block).is_ok());
        let mut seen = None;
        let read = blob.read_many(std::slice::from_ref(&range), &mut |_, bytes| seen = Some(bytes.to_vec()));
        assert_eq!((read.is_ok(), seen.is_some()), (sound, sound), "section {section} at {range:?}");
        assert!(seen.is_none_or(|seen| seen == file.region()[range.start as usize..range.end as usize]));
    }
    assert_eq!(blob.verify_all().is_ok(), file.verify_all().is_ok());
    assert!(control & MEND == 0 || file.verify_all().is_ok(), "mended, and not whole");
    assert!(file.verify_block(file.blocks()).is_err());
    assert_eq!((blob.tables_crc(), blob.file_len()), (file.tables_crc(), file.region().len() as u64));
}
