//! A snapshot as one portable file: a second copy, to be taken elsewhere.
//!
//! The file is a plain tar (ustar): first `MANIFEST`, then `objects/<digest>` for each object that the manifest names, in its order, each
//! once; two blocks of zeros; nothing else. The same snapshot gives the same bytes.
//!
//! **It refuses**, while reading, every byte that is not expected where it stands. The manifest says which entries follow, in which order
//! and how long they are, so names in the archive are only compared, never used: nothing can lead out of the store, be a link or a device,
//! come twice, or be longer than declared. Objects are compared with their digests before they have names, and nothing is published
//! before all of them, and the checksum of the whole, held.

use std::io::{self, Read, Write};

use nearfield_collection::{Error, ErrorKind, Result, store_error};
use nearfield_snapshot::{Hold, Manifest, Object, SnapshotStore, Source};
use nearfield_types::limits::SNAPSHOT_MANIFEST_BYTES_MAX;
use nearfield_types::{Progress, check_name};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::database::Database;
use crate::restore::{Replace, Restored};
use crate::shared::Shared;
use crate::snapshots::body::Body;
use crate::snapshots::info::{Known, SnapshotInfo, SnapshotName};

const MANIFEST_NAME: &str = "MANIFEST";
/// Bytes of a tar block; headers take one, files are padded to it.
const BLOCK_BYTES: usize = 512;
/// Room that is left for others when an archive is taken in.
const RESERVE_BYTES: u64 = 16 << 20;
/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// An archive that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub sha256: String,
}

/// An archive that was taken in.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The snapshot that it became.
    pub snapshot: SnapshotInfo,
    /// What was read.
    pub archive: Archived,
}

impl Database {
    /// Writes a snapshot as one file: see `docs/snapshots.md`. Every object is compared with its digest first. A step of `progress` is a
    /// byte.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::Corrupt`] if an object is damaged, [`ErrorKind::Cancelled`], and what `out` returns. What was
    /// written until then is no archive.
    pub fn archive_snapshot(
        &self,
        name: &SnapshotName,
        out: &mut dyn Write,
        progress: &Progress,
    ) -> Result<Archived> {
        let hold = self.shared.store.hold();
        let known = self.shared.known(name, Some(&hold))?;
        self.shared.write_archive(&known, out, progress)
    }

    /// Writes the whole database, as it is now, as one file: an archive of a snapshot that is not kept, called `name`.
    ///
    /// # Errors
    ///
    /// As [`Database::create_full_snapshot`] and [`Database::archive_snapshot`].
    pub fn dump(&self, name: &str, out: &mut dyn Write, progress: &Progress) -> Result<Archived> {
        let hold = self.shared.store.hold();
        let known = self.capture_all(&hold, SnapshotName::full(name), "")?;
        let dumped = self.shared.write_archive(&known, out, progress);
        self.shared.forget(hold, dumped)
    }

    /// Takes an archive in as a snapshot: under the name that it carries, or as `rename`. If `sha256` is given, it must be the archive's.
    ///
    /// ```
    /// use nearfield::{CollectionConfig, Database, Metric, Point, Progress, SnapshotName};
    ///
    /// let db = Database::in_memory()?;
    /// let books = db.create_collection("books", CollectionConfig::new(1, Metric::Dot))?;
    /// books.upsert(vec![Point::new(1, vec![1.0])])?;
    /// books.create_snapshot("monday", "")?;
    /// let (mut file, monday) = (Vec::new(), SnapshotName::of("books", "monday"));
    /// let archived = db.archive_snapshot(&monday, &mut file, &Progress::default())?;
    ///
    /// let elsewhere = Database::in_memory()?;
    /// elsewhere.upload_snapshot(&mut &file[..], None, Some(&archived.sha256), &Progress::default())?;
    /// assert_eq!(elsewhere.restore_snapshot(&monday, "books")?.count()?, 1);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if there is a snapshot of that name, [`ErrorKind::Corrupt`] if the bytes are not an archive or damaged, naming
    /// the offset; [`ErrorKind::Full`] if it does not fit on the disk, before it is filled; [`ErrorKind::Cancelled`]. Nothing was changed
    /// then.
    pub fn upload_snapshot(
        &self,
        from: &mut dyn Read,
        rename: Option<&str>,
        sha256: Option<&str>,
        progress: &Progress,
    ) -> Result<Uploaded> {
        let hold = self.shared.store.hold();
        let taken = self.shared.take_in(&hold, from, rename, sha256, progress, &|known| {
            self.shared.check_new(&known.name, &known.body.description)
        });
        let uploaded = taken.and_then(|(known, archive)| {
            // What comes from outside must open before anybody can ask for it.
            self.look_at(&known, None, |db| check_counts(db, &known))?;
            self.shared.publish_known(&hold, &known)?;
            Ok(Uploaded { snapshot: known.info(), archive })
        });
        self.shared.forget(hold, uploaded)
    }

    /// Restores an archive without keeping it as a snapshot: the collection `of` it as `target` (the names that it carries, if not given),
    /// or all of a snapshot of the whole database.
    ///
    /// # Errors
    ///
    /// As [`Database::upload_snapshot`] and [`Database::restore_snapshot_with`].
    pub fn recover_archive(
        &self,
        from: &mut dyn Read,
        sha256: Option<&str>,
        of: Option<&str>,
        target: Option<&str>,
        replace: Replace,
        progress: &Progress,
    ) -> Result<Restored> {
        target
            .map_or(Ok(()), |name| check_name("collection", name))
            .map_err(|e| Error::invalid(e.to_string()))?;
        let hold = self.shared.store.hold();
        let taken = self.shared.take_in(&hold, from, None, sha256, progress, &|known| {
            let (targets, aliases) = meant(known, of, target)?;
            self.shared.check_targets(&targets, aliases, replace)
        });
        let restored = taken.and_then(|(known, _)| {
            let (targets, aliases) = meant(&known, of, target)?;
            // Digests were compared while the objects were taken in.
            self.shared.restore_checked(&known, &targets, aliases, replace, progress)
        });
        self.shared.forget(hold, restored)
    }
}

/// Collections of a snapshot under the names they are to have, and the aliases that come with them.
type Meant<'a> = (Vec<(usize, String)>, &'a [(String, String)]);

/// What of an archive is to be restored. Aliases stand for names, so they come only where everything keeps its name.
fn meant<'a>(known: &'a Known, of: Option<&str>, target: Option<&str>) -> Result<Meant<'a>> {
    let named = |at: usize| (at, known.body.parts[at].name.clone());
    if known.body.is_full && of.is_none() && target.is_none() {
        return Ok(((0..known.body.parts.len()).map(named).collect(), &known.body.aliases));
    }
    let part = known.find(of)?;
    Ok((vec![target.map_or_else(|| named(part), |name| (part, name.to_owned()))], &[]))
}

/// Every collection opens and has the points that the snapshot says.
fn check_counts(db: &Database, known: &Known) -> Result<()> {
    for part in &known.body.parts {
        let found = db.collection(&part.name)?.count()?;
        if found != part.points {
            let context = format!("collection {:?} has {found} points, expected {}", part.name, part.points);
            return Err(Error::new(ErrorKind::Corrupt, context).within(&known.name));
        }
    }
    Ok(())
}

impl Shared {
    fn write_archive(&self, known: &Known, out: &mut dyn Write, progress: &Progress) -> Result<Archived> {
        let name = &known.name;
        let failed = |e: io::Error| Error::io(format!("writing an archive of {name}"), e);
        let manifest = known.manifest.encode().map_err(|e| store_error(e.into()))?;
        progress.expect(known.manifest.bytes());
        let mut tar = Builder::new(Summed::new(out));
        let seconds = known.manifest.created_ms / 1_000;
        append(&mut tar, MANIFEST_NAME, seconds, &manifest).map_err(failed)?;
        for object in known.manifest.objects() {
            if progress.is_cancelled() {
                return Err(cancelled());
            }
            let path = object_name(&object);
            let bytes = self.store.get(&object).map_err(|e| store_error(e).within(name))?;
            object.check(&path, &bytes).map_err(|e| store_error(e).within(name))?;
            append(&mut tar, &path, seconds, &bytes).map_err(failed)?;
            progress.add(object.length);
        }
        let mut out = tar.into_inner().map_err(failed)?;
        out.flush().map_err(failed)?;
        Ok(out.archived())
    }

    /// Reads an archive, its objects into the store under `hold`. `check` refuses what it is for before any object is read.
    fn take_in(
        &self,
        hold: &Hold,
        from: &mut dyn Read,
        rename: Option<&str>,
        sha256: Option<&str>,
        progress: &Progress,
        check: &dyn Fn(&Known) -> Result<()>,
    ) -> Result<(Known, Archived)> {
        let sha256 = sha256.map(parse_sha256).transpose()?;
        let mut archive = Reader { from: Summed::new(from), progress };
        let manifest = archive.manifest()?;
        let known = renamed(manifest, rename)?;
        check(&known)?;
        self.check_room(&known.manifest)?;
        progress.expect(known.manifest.bytes());
        for object in known.manifest.objects() {
            archive.object(&*self.store, hold, &object)?;
            progress.add(object.length);
        }
        archive.end()?;
        let archived = archive.from.archived();
        match sha256 {
            Some(expected) if expected != archived.sha256 => Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the archive's SHA-256 is {}, expected {expected}: transfer it again",
                    archived.sha256
                ),
            )),
            _ => Ok((known, archived)),
        }
    }

    /// Refuses an archive that would fill the disk.
    fn check_room(&self, manifest: &Manifest) -> Result<()> {
        let missing = manifest.objects().into_iter().filter(|object| self.store.get(object).is_err());
        let needed = missing.fold(RESERVE_BYTES, |sum: u64, object| sum.saturating_add(object.length));
        let free = self.dir.free_space().map_err(|e| Error::io("looking for free space", e))?;
        if needed <= free {
            return Ok(());
        }
        let context = format!("the archive needs {needed} free bytes, there are {free}: free some space");
        Err(Error::new(ErrorKind::Full, context))
    }

    /// Ends a hold, and removes what nobody keeps now.
    pub(crate) fn forget<T>(&self, hold: Hold, result: Result<T>) -> Result<T> {
        drop(hold);
        if let Ok(_open) = self.ledger() {
            // What cannot be removed now goes with a later sweep.
            let _ = self.store.sweep();
        }
        result
    }
}

/// A snapshot as its archive's manifest says, under another name if one is given.
fn renamed(mut manifest: Manifest, rename: Option<&str>) -> Result<Known> {
    let mut body = Body::decode(&manifest.body).map_err(|e| {
        Error::caused(ErrorKind::Corrupt, "the archive's manifest is whole but not understood", e)
    })?;
    if let Some(name) = rename {
        check_name("snapshot", name).map_err(|e| Error::invalid(e.to_string()))?;
        name.clone_into(&mut body.name);
        manifest.body = body.encode();
    }
    Known::of(SnapshotName::in_body(&body), manifest)
}

fn parse_sha256(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text),
        false => Err(Error::invalid("sha256 must be 64 hexadecimal digits")),
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "it was cancelled")
}

fn object_name(object: &Object) -> String {
    format!("objects/{}", object.digest)
}

fn append<W: Write>(tar: &mut Builder<W>, name: &str, seconds: u64, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    tar.append(&header, bytes)
}

/// Bytes on their way, counted and digested.
struct Summed<T> {
    inner: T,
    bytes: u64,
    sha256: Sha256,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Summed { inner, bytes: 0, sha256: Sha256::new() }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    fn archived(&self) -> Archived {
        let digest = self.sha256.clone().finalize();
        Archived { bytes: self.bytes, sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.note(&bytes[..read]);
        Ok(read)
    }
}

/// An archive being read, from front to back, each byte once.
struct Reader<'a> {
    from: Summed<&'a mut dyn Read>,
    progress: &'a Progress,
}

impl Reader<'_> {
    fn refused(&self, offset: u64, why: impl std::fmt::Display) -> Error {
        let context = format!("the archive at offset {offset}: {why}; nothing of it was kept");
        Error::new(ErrorKind::Corrupt, context)
    }

    /// The manifest: the first entry. Its length is a claim, so it is read as it comes.
    fn manifest(&mut self) -> Result<Manifest> {
        let at = self.from.bytes;
        let length = self.header(MANIFEST_NAME)?;
        if length > SNAPSHOT_MANIFEST_BYTES_MAX as u64 {
            let why = format!(
                "{MANIFEST_NAME} has {length} bytes: at most {SNAPSHOT_MANIFEST_BYTES_MAX} are allowed"
            );
            return Err(self.refused(at, why));
        }
        let mut bytes = Vec::new();
        let read = Read::take(&mut self.from, length).read_to_end(&mut bytes);
        read.map_err(|e| self.failed(e))?;
        if bytes.len() as u64 != length {
            return Err(self.refused(self.from.bytes, format!("{MANIFEST_NAME} ends early")));
        }
        self.padding(length)?;
        Manifest::decode(&bytes).map_err(|e| self.refused(at, format!("{MANIFEST_NAME}: {e}")))
    }

    /// The next entry, which must be this object.
    fn object(&mut self, store: &dyn SnapshotStore, hold: &Hold, object: &Object) -> Result<()> {
        let at = self.from.bytes;
        let name = object_name(object);
        let length = self.header(&name)?;
        if length != object.length {
            let why = format!("{name} has {length} bytes, the manifest says {}", object.length);
            return Err(self.refused(at, why));
        }
        let mut bytes = Watched { from: &mut self.from, progress: self.progress };
        let put = store.put(hold, object, Source::Stream(&mut bytes));
        if self.progress.is_cancelled() {
            return Err(cancelled());
        }
        put.map_err(|e| store_error(e).within(format_args!("the archive at offset {at}")))?;
        self.padding(length)
    }

    /// Two blocks of zeros, and no byte after them.
    fn end(&mut self) -> Result<()> {
        for _ in 0..2 {
            let at = self.from.bytes;
            if self.block()?.iter().any(|&byte| byte != 0) {
                return Err(self.refused(at, "something follows the last file that its manifest names"));
            }
        }
        let at = self.from.bytes;
        match self.from.read(&mut [0]).map_err(|e| self.failed(e))? {
            0 => Ok(()),
            _ => Err(self.refused(at, "something follows its end")),
        }
    }

    /// Reads the header of a regular file called `name`; answers its length.
    fn header(&mut self, name: &str) -> Result<u64> {
        let at = self.from.bytes;
        let block = self.block()?;
        let refused = |why: &str| self.refused(at, format!("{why}; a file {name} must stand here"));
        if block.iter().all(|&byte| byte == 0) {
            return Err(refused("it ends early"));
        }
        let header = Header::from_byte_slice(&block);
        let Some(ustar) = header.as_ustar() else {
            return Err(refused("the header of another kind of file"));
        };
        // The sum is over the header with eight spaces in the place of the sum.
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = ustar.cksum.iter().map(|&byte| u32::from(byte)).sum();
        if header.cksum().ok() != Some(sum - own + 8 * u32::from(b' ')) {
            return Err(refused("the header's checksum does not hold"));
        }
        if ustar.typeflag != *b"0" || ustar.linkname.iter().any(|&byte| byte != 0) {
            return Err(refused("an entry that is no plain file"));
        }
        let (own, rest) = ustar.name.split_at(name.len().min(ustar.name.len()));
        if own != name.as_bytes() || rest.iter().chain(&ustar.prefix).any(|&byte| byte != 0) {
            return Err(refused("an entry of another name"));
        }
        header.entry_size().map_err(|_| refused("an entry without a length"))
    }

    /// Reads what fills a file's last block.
    fn padding(&mut self, length: u64) -> Result<()> {
        let at = self.from.bytes;
        let count = (length.wrapping_neg() % BLOCK_BYTES as u64) as usize;
        let mut bytes = [0; BLOCK_BYTES];
        self.exactly(&mut bytes[..count])?;
        match bytes.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(self.refused(at, "something stands between two files")),
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK_BYTES]> {
        let mut block = [0; BLOCK_BYTES];
        self.exactly(&mut block)?;
        Ok(block)
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.from.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.refused(self.from.bytes, "it ends early"),
            _ => self.failed(e),
        })
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("reading an archive at offset {}", self.from.bytes), error)
    }
}

/// Bytes that stop coming when they are not wanted any more.
struct Watched<'a, 'b> {
    from: &'a mut Summed<&'b mut dyn Read>,
    progress: &'a Progress,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_cancelled() {
            return Err(io::Error::other("it was cancelled"));
        }
        let wanted = bytes.len().min(CHUNK_BYTES);
        self.from.read(&mut bytes[..wanted])
    }
}
