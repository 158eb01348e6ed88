//! Saving an index into a folder, and opening it again: mapped, or into memory.
//!
//! ```text
//! <folder>/vectors-0   the rows               (nearfield-vectors)
//! <folder>/codes-0     their codes            (nearfield-quant), if there are any
//! <folder>/graph-0     the graph              (nearfield-hnsw)
//! <folder>/index       settings and ids: the last file written, the first one read
//! ```
//!
//! It refuses to change a saved folder: saving again writes a new one beside it and takes its place.

use std::path::Path;
use std::sync::Arc;

use nearfield_codec::{Container, ContainerError, ContainerWriter, Decoder, Encoder, FileTag, Region};
use nearfield_hnsw::{Graph, GraphView};
use nearfield_platform::{Dir, RealDir, RealOptions};
use nearfield_quant::Codes;
use nearfield_segment::{
    Built, Calibration, GrowingIndex, Quantization, SealedIndex, Source, build, codes_file, graph_file,
    open_index, vectors_file, write_file, write_index,
};
use nearfield_types::{Metric, Slot};
use nearfield_vectors::{Element, GrowingRows, SealedRows, Shape, VectorStore, write_rows};

use super::ids::Ids;
use super::{Held, Index, IndexOptions, Mapped, unreadable};
use crate::format::{INDEX_MAGIC, INDEX_VERSION, SECTION_INDEX_IDS, SECTION_INDEX_SETTINGS};
use crate::{Error, ErrorKind, Result};

const TAG: FileTag = FileTag::new(INDEX_MAGIC, INDEX_VERSION, INDEX_VERSION);
const INDEX_FILE: &str = "index";
/// What is being written, and what is being replaced, beside the folder they are for.
const SAVING: &str = ".saving";
const REPLACED: &str = ".replaced";

impl Index {
    /// Writes the index into the folder `path`, which is made, or replaced if it is a saved index. Dead rows are left out. When this
    /// returns, everything is on the disk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] without room, [`ErrorKind::Exists`] if `path` is something else, [`ErrorKind::Unsupported`] for a mapped
    /// index. What was saved there before is still there then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let Held::Memory { rows, index, writer, .. } = &self.held else {
            let text = "the index is a view of files: copy the folder, or open it with load to save it";
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        let _writer = writer.lock();
        let place = Place::of(path)?;
        let index = index.load();
        index.catch_up(u32::MAX, super::cores()).map_err(unreadable)?;
        let living = self.ids.living(rows.len());
        let saving = format!("{}{SAVING}", place.name);
        place.begin(&saving)?;
        let written = if living.len() == rows.len() as usize {
            let none = Calibration::default();
            let (codes, calibration) = (index.codes(), index.calibration().unwrap_or(&none));
            let calibration = Calibration { has_codes: codes.is_some(), ..calibration.clone() };
            self.write(&*place.dir, &saving, rows, &living, codes, index.graph(), &calibration)
        } else {
            let (rows, built) = self.without_dead(rows, index.graph(), &living)?;
            let all: Vec<Slot> = (0..rows.len()).map(Slot).collect();
            self.write_with_ids(
                &*place.dir,
                &saving,
                &rows,
                &all,
                &living,
                built.codes(),
                &built.graph,
                &built.calibration,
            )
        };
        written.map_err(|e| Error::io(format!("saving {}", path.display()), e))?;
        place.finish(&saving).map_err(|e| Error::io(format!("saving {}", path.display()), e))
    }

    /// The living rows on their own, and the index of them made from what there is.
    fn without_dead(
        &self,
        rows: &GrowingRows,
        graph: &Graph,
        living: &[Slot],
    ) -> Result<(Arc<GrowingRows>, Built)> {
        let (mut writer, kept) = GrowingRows::create(self.shape);
        let mut moved = vec![None; rows.len() as usize];
        for &slot in living {
            let new =
                writer.push(rows.row(slot)).map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
            moved[slot.index()] = Some(new);
        }
        let view = GraphView::of(graph);
        let source = Source { graph: &view, moved: &|slot| moved.get(slot.index()).copied().flatten() };
        let options = self.options.segment()?;
        let built = build(&*kept, Some(&source), &options, 0, super::cores(), &|_, _, _| Ok(()))
            .map_err(unreadable)?;
        Ok((kept, built))
    }

    #[expect(clippy::too_many_arguments, reason = "the files and what goes into each")]
    fn write(
        &self,
        dir: &dyn Dir,
        folder: &str,
        rows: &GrowingRows,
        slots: &[Slot],
        codes: Option<&dyn Codes>,
        graph: &Graph,
        calibration: &Calibration,
    ) -> std::io::Result<()> {
        self.write_with_ids(dir, folder, rows, slots, slots, codes, graph, calibration)
    }

    #[expect(clippy::too_many_arguments, reason = "the files and what goes into each")]
    fn write_with_ids(
        &self,
        dir: &dyn Dir,
        folder: &str,
        rows: &GrowingRows,
        slots: &[Slot],
        named: &[Slot],
        codes: Option<&dyn Codes>,
        graph: &Graph,
        calibration: &Calibration,
    ) -> std::io::Result<()> {
        write_file(dir, &format!("{folder}/{}", vectors_file(0)), |sink| {
            let written = write_rows(sink, self.shape, slots.iter().map(|&slot| rows.row(slot)));
            written.map(|(sink, written)| (sink, written.summary)).map_err(std::io::Error::other)
        })?;
        write_index(dir, folder, 0, codes, graph, calibration)?;
        write_file(dir, &format!("{folder}/{INDEX_FILE}"), |sink| {
            let mut file = ContainerWriter::new(sink, TAG)?;
            file.section(SECTION_INDEX_SETTINGS)?;
            file.write(encode(self.shape, &self.options, slots.len() as u32).as_slice())?;
            file.section(SECTION_INDEX_IDS)?;
            let mut bytes = Encoder::with_capacity(named.len() * 8);
            for &slot in named {
                bytes.u64(self.ids.id(slot));
            }
            file.write(bytes.as_slice())?;
            file.finish()
        })?;
        dir.sync_dir(folder)
    }

    /// Opens a saved index where it lies: files are mapped and read as searches need them, and nothing can be changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Corrupt`] if a file is damaged.
    pub fn view(path: &Path) -> Result<Index> {
        let (place, settings, ids) = open(path)?;
        let rows = place.rows(&settings)?;
        let index = place.index(&settings)?;
        let (shape, options) = (settings.shape, settings.options);
        Ok(Index {
            shape,
            options,
            held: Held::Mapped(Box::new(Mapped { rows, index })),
            ids: Ids::mapped(ids),
        })
    }

    /// Reads a saved index into memory, where it can be changed. The folder is not needed afterwards.
    ///
    /// # Errors
    ///
    /// As [`Index::view`].
    pub fn load(path: &Path) -> Result<Index> {
        let (place, settings, ids) = open(path)?;
        let (sealed, index) = (place.rows(&settings)?, place.index(&settings)?);
        let corrupt =
            |e: &dyn std::fmt::Display| Error::new(ErrorKind::Corrupt, format!("{}: {e}", path.display()));
        let (mut writer, rows) = GrowingRows::create(settings.shape);
        for first in (0..settings.count).step_by(64) {
            let slots: Vec<Slot> = (first..settings.count.min(first + 64)).map(Slot).collect();
            let mut pushed = Ok(Slot(0));
            let read = sealed.read_many(&slots, &mut |_, row| {
                if pushed.is_ok() {
                    pushed = writer.push(row);
                }
            });
            read.map_err(|e| corrupt(&e))?;
            pushed.map_err(|e| corrupt(&e))?;
        }
        let index = GrowingIndex::from_sealed(Arc::clone(&rows), &index).map_err(unreadable)?;
        let numbers: Vec<u64> = bytemuck::cast_slice(&ids).to_vec();
        let ids = Ids::new();
        ids.append(0, numbers.len(), Some(&numbers));
        let (shape, options) = (settings.shape, settings.options);
        // What was too small to be measured had no whole build.
        let measured = index.calibration().is_some_and(|calibration| !calibration.points.is_empty());
        let built = if measured { settings.count } else { 0 };
        Ok(Index::in_memory(shape, options, writer, rows, index, ids, built))
    }
}

/// The folder that a saved index is in, and its name there.
struct Place {
    dir: Arc<RealDir>,
    name: String,
    shown: String,
}

impl Place {
    fn of(path: &Path) -> Result<Place> {
        let shown = path.display().to_string();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::invalid(format!("path {shown:?} does not end in a name of valid Unicode")));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let options = RealOptions { allow_unsupported_fs: true, ..RealOptions::default() };
        let dir = RealDir::open_with(parent, RealOptions { create: false, ..options });
        let dir = dir.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::caused(ErrorKind::NotFound, format!("there is no folder {}", parent.display()), e)
            }
            _ => Error::io(format!("opening {}", parent.display()), e),
        })?;
        Ok(Place { dir: Arc::new(dir), name: name.to_owned(), shown })
    }

    /// Makes the folder that is written into. Refuses to replace or remove anything but a saved index, whole or in parts.
    fn begin(&self, saving: &str) -> Result<()> {
        for name in [&self.name, saving, &format!("{}{REPLACED}", self.name)] {
            self.refuse_others(name)?;
        }
        let failed = |e| Error::io(format!("saving {}", self.shown), e);
        match self.dir.open(&format!("{}/{INDEX_FILE}", self.name)) {
            Ok(region) if Container::open(region.clone(), TAG).is_ok() => {}
            _ if self.is_there().map_err(failed)? => {
                let text = format!("{} is there and is no saved index: choose another path", self.shown);
                return Err(Error::new(ErrorKind::Exists, text));
            }
            _ => {}
        }
        self.remove(saving).map_err(failed)?;
        self.dir.make_dir(saving).map_err(failed)
    }

    /// An error if the folder `name` holds what no save has written: it would be gone.
    fn refuse_others(&self, name: &str) -> Result<()> {
        let own = [vectors_file(0), codes_file(0), graph_file(0), INDEX_FILE.to_owned()];
        // What is no folder is refused below, or in nobody's way.
        let entries = self.dir.list(name).unwrap_or_default();
        match entries.iter().find(|entry| entry.is_dir || !own.contains(&entry.name)) {
            None => Ok(()),
            Some(other) => {
                let text = format!(
                    "{:?} in the folder {name:?} is no part of a saved index, and saving would remove it: choose another path",
                    other.name
                );
                Err(Error::new(ErrorKind::Exists, text))
            }
        }
    }

    fn is_there(&self) -> std::io::Result<bool> {
        Ok(self.dir.list("")?.iter().any(|entry| entry.name == self.name))
    }

    /// What to do where a save ended between its two renames; nothing where none did.
    fn left_behind(&self) -> String {
        let replaced = format!("{}{REPLACED}", self.name);
        match self.dir.open(&format!("{replaced}/{INDEX_FILE}")) {
            Ok(_) => format!(
                ": a save was cut short, and what it was to replace is {replaced:?} beside it: rename that back"
            ),
            Err(_) => String::new(),
        }
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        match self.dir.remove(name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Puts what was written in its place. Between the two renames the old index is beside, under its name and `.replaced`.
    fn finish(&self, saving: &str) -> std::io::Result<()> {
        let replaced = format!("{}{REPLACED}", self.name);
        if self.is_there()? {
            self.remove(&replaced)?;
            self.dir.rename(&self.name, &replaced)?;
        }
        self.dir.rename(saving, &self.name)?;
        self.dir.sync_dir("")?;
        self.remove(&replaced)
    }

    fn rows(&self, settings: &Settings) -> Result<SealedRows> {
        let path = format!("{}/{}", self.name, vectors_file(0));
        let corrupt = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Corrupt, format!("{path}: {e}"));
        let blob = self.dir.blob(&path, nearfield_vectors::format::TAG).map_err(|e| corrupt(&e))?;
        SealedRows::open(blob, settings.shape, settings.count).map_err(|e| corrupt(&e))
    }

    fn index(&self, settings: &Settings) -> Result<SealedIndex> {
        let opened = open_index(&*self.dir, &self.name, 0, settings.shape, settings.count, None);
        opened.map_err(|(path, e)| Error::caused(ErrorKind::Corrupt, path, e))
    }
}

/// What the first section of the index file says.
struct Settings {
    shape: Shape,
    options: IndexOptions,
    count: u32,
}

fn open(path: &Path) -> Result<(Place, Settings, Region)> {
    let place = Place::of(path)?;
    let file = format!("{}/{INDEX_FILE}", place.name);
    let region = place.dir.open(&file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            let replaced = place.left_behind();
            Error::caused(
                ErrorKind::NotFound,
                format!("there is no saved index at {}{replaced}", place.shown),
                e,
            )
        }
        _ => Error::io(format!("opening {}", place.shown), e),
    })?;
    let corrupt = |e: ContainerError| Error::caused(ErrorKind::Corrupt, file.clone(), e);
    let container = Container::open(region, TAG).map_err(corrupt)?;
    container.verify_all().map_err(corrupt)?;
    let section = |id| {
        let range = container.section(id).map_err(corrupt)?;
        let bytes = container.region().slice(range.start as usize..range.end as usize);
        bytes.ok_or_else(|| corrupt(ContainerError::Section { id }))
    };
    let settings = decode(&section(SECTION_INDEX_SETTINGS)?)
        .map_err(|e| Error::new(ErrorKind::Corrupt, format!("{file}: {e}")))?;
    let ids = section(SECTION_INDEX_IDS)?;
    if ids.len() as u64 != 8 * u64::from(settings.count) {
        let text = format!("{file}: {} bytes of ids for {} vectors", ids.len(), settings.count);
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    Ok((place, settings, ids))
}

const AUTO: u8 = 0;
const ROTATED: u8 = 1;
const SCALAR: u8 = 2;
const NONE: u8 = 3;

fn encode(shape: Shape, options: &IndexOptions, count: u32) -> Encoder {
    let (quantization, quantile) = match options.quantization {
        Quantization::Auto => (AUTO, 0.0),
        Quantization::Rotated => (ROTATED, 0.0),
        Quantization::Scalar { quantile } => (SCALAR, quantile),
        Quantization::None => (NONE, 0.0),
    };
    let mut bytes = Encoder::new();
    bytes.u32(shape.dim()).u32(count).u8(shape.metric().code()).u8(quantization).u16(0).f32(quantile);
    bytes.u32(options.m).u32(options.ef_construction).u64(options.seed);
    bytes
}

fn decode(bytes: &[u8]) -> std::result::Result<Settings, String> {
    let said = |e: &dyn std::fmt::Display| format!("settings: {e}");
    let mut from = Decoder::new(bytes);
    let mut read = || {
        let (dim, count) = (from.u32()?, from.u32()?);
        let (metric, quantization, zero) = (from.u8()?, from.u8()?, from.u16()?);
        let (quantile, m, ef_construction, seed) = (from.f32()?, from.u32()?, from.u32()?, from.u64()?);
        Ok::<_, nearfield_codec::DecodeError>((
            dim,
            count,
            metric,
            quantization,
            zero,
            quantile,
            m,
            ef_construction,
            seed,
        ))
    };
    let (dim, count, metric, quantization, zero, quantile, m, ef_construction, seed) =
        read().map_err(|e| said(&e))?;
    from.finish().map_err(|e| said(&e))?;
    let metric = Metric::from_code(metric).ok_or_else(|| format!("settings: metric {metric} is unknown"))?;
    let quantization = match (quantization, zero) {
        (AUTO, 0) => Quantization::Auto,
        (ROTATED, 0) => Quantization::Rotated,
        (SCALAR, 0) => Quantization::Scalar { quantile },
        (NONE, 0) => Quantization::None,
        (other, _) => return Err(format!("settings: quantization {other} is unknown")),
    };
    let options = IndexOptions { metric, m, ef_construction, quantization, seed };
    options.segment().map_err(|e| said(&e))?;
    let shape = Shape::new(dim, metric, Element::F32).map_err(|e| said(&e))?;
    Ok(Settings { shape, options, count })
}
