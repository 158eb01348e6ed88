//! Files as immutable bytes: mapped if sealed, else copied. The one place of the crate that needs `unsafe`.

#![expect(unsafe_code, reason = "mapping a file is a promise about who writes it, which no type can hold")]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut, MmapOptions};
use nearfield_codec::{AlignedBytes, Region};
use rustix::io::{Errno, pread};

/// Up to this many bytes a copy lies on the heap; a longer one takes pages of its own, which the system makes when touched.
const HEAP_BYTES_MAX: usize = 64 * 1024;

/// Maps the first `len` bytes of a sealed file, read-only. The descriptor may be closed afterwards.
///
/// A later truncation by others ends the process with SIGBUS when the lost part is touched; nothing of ours truncates.
pub(crate) fn mapped(sealed: &OwnedFd, len: usize) -> io::Result<Region> {
    // SAFETY: the bytes behind a map must not change while they are borrowed. The caller maps only files that are sealed:
    // complete, mode 0444, and written by nobody, because `RealFile` refuses writing after sealing, no other code of the
    // engine opens a file for writing once it exists, and the lock keeps other engines out. The map is private and never
    // writable. What remains is a person or another program that forces its way in, which the contract of the directory rules out.
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(sealed) }?;
    Ok(Region::from_owner(Arc::new(map)))
}

/// Copies the first `len` bytes of a file.
///
/// # Errors
///
/// `UnexpectedEof` if it is shorter by now.
pub(crate) fn copied(file: &OwnedFd, len: usize) -> io::Result<Region> {
    if len <= HEAP_BYTES_MAX {
        let mut bytes = AlignedBytes::zeroed(len);
        read_exact_at(file, &mut bytes)?;
        return Ok(Region::from(bytes));
    }
    let mut bytes = MmapMut::map_anon(len)?;
    read_exact_at(file, &mut bytes)?;
    Ok(Region::from_owner(Arc::new(bytes.make_read_only()?)))
}

fn read_exact_at(file: &OwnedFd, bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match pread(file, &mut bytes[done..], done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
