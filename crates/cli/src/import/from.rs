//! `nearfield import --from`: what an export says of itself decides how it is read.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nearfield::{Collection, CollectionConfig, Database, ErrorKind};

use super::checkpoint::Job;
use super::embedded::{self, EmbeddedSource};
use super::records::{Head, LINE_BYTES_MAX, RecordSource};
use super::rows::Rows;
use super::source::{Place, Points, Seekable, VectorFile};
use crate::args::Import;
use crate::export::POINTS_FILE;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Identity};
use crate::jsonl::Lines;

/// An export, open and understood.
pub(crate) struct Export {
    path: PathBuf,
    file: Box<dyn Seekable>,
    kind: Kind,
    files: Vec<(String, PathBuf, Identity)>,
    arrays: Vec<VectorFile>,
}

enum Kind {
    /// Lines of points; the first line, and where the second begins.
    Lines { head: Box<Head>, line: String, first: u64 },
    /// The one object of the embedded Python API.
    Embedded { config: CollectionConfig, count: u64, first: u64 },
}

impl Export {
    /// Opens a file, or the folder of an export.
    pub(crate) fn open(path: &Path) -> Outcome<Export> {
        let folder = path.is_dir().then(|| path.to_owned());
        let path = folder.as_ref().map_or_else(|| path.to_owned(), |folder| folder.join(POINTS_FILE));
        let input = files::open(&path)?;
        let Some(identity) = input.identity else {
            return Err(Failure::invalid(format!(
                "{} is no plain file: write it to one first",
                path.display()
            )));
        };
        let mut file: Box<dyn Seekable> = Box::new(input.file);
        let failed = |error: &std::io::Error| Failure::io("read", &path, error);
        let mut lines = Lines::new(BufReader::new(Read::by_ref(&mut file)), 0, 0, LINE_BYTES_MAX);
        let first = lines.next_line().ok().flatten().filter(|line| Head::is_head(line)).map(str::to_owned);
        let offset = lines.offset();
        file.rewind().map_err(|error| failed(&error))?;
        let label = path.display().to_string();
        let kind = match first {
            Some(line) => {
                let head = Head::parse(&line)
                    .map_err(|what| Failure::invalid(format!("{label}, line 1: {what}")))?;
                Kind::Lines { head: Box::new(head), line, first: offset }
            }
            None => {
                let (config, count, first) = embedded::survey(&label, &mut file).map_err(|failure| {
                    failure.advise("--from reads what `nearfield export` and `export_json` wrote; for other files use --vectors and --payload")
                })?;
                Kind::Embedded { config, count, first }
            }
        };
        let mut files = vec![("points".to_owned(), path.clone(), identity)];
        let arrays = match &kind {
            Kind::Lines { head, .. } => arrays(head, folder.as_deref(), &label, &mut files)?,
            Kind::Embedded { .. } => Vec::new(),
        };
        Ok(Export { path, file, kind, files, arrays })
    }

    fn config(&self) -> &CollectionConfig {
        match &self.kind {
            Kind::Lines { head, .. } => &head.config,
            Kind::Embedded { config, .. } => config,
        }
    }

    /// The collection of the command, made as the export says if missing. True if it was made.
    pub(crate) fn find_or_create(&self, database: &Database, name: &str) -> Outcome<(Collection, bool)> {
        match database.collection(name) {
            Ok(collection) => {
                self.check(&collection)?;
                Ok((collection, false))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let collection = database.create_collection(name, self.config().clone())?;
                let Kind::Lines { head, .. } = &self.kind else { return Ok((collection, true)) };
                let partition = head.config.partition().map(|partition| partition.path.as_str());
                for (path, config) in head.indexes.iter().filter(|(path, _)| Some(path.as_str()) != partition)
                {
                    collection.create_field_index(path, config)?;
                }
                Ok((collection, true))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compares the vectors with those of a collection that is there already.
    fn check(&self, collection: &Collection) -> Outcome<()> {
        let config = collection.config();
        let own: Vec<_> = config.vectors().map(|(name, vector)| (name, vector.dim)).collect();
        let theirs: Vec<_> = self.config().vectors().map(|(name, vector)| (name, vector.dim)).collect();
        // The embedded API has one vector, however the collection calls it.
        let fits = match self.kind {
            Kind::Lines { .. } => own == theirs,
            Kind::Embedded { .. } => own.len() == 1 && own[0].1 == theirs[0].1,
        };
        if fits {
            return Ok(());
        }
        let message = format!(
            "{} has vectors {theirs:?} (name, dimensions), collection {:?} has {own:?}",
            self.path.display(),
            collection.name()
        );
        Err(Failure::invalid(message)
            .advise("import into another collection, or check that it is the right file"))
    }

    /// What a checkpoint has to remember.
    pub(crate) fn job(&self, collection: &Collection) -> Job {
        Job { collection: collection.name().to_owned(), ids: "from".to_owned(), files: self.files.clone() }
    }

    /// The points from `start` on.
    pub(crate) fn source(
        mut self,
        command: &Import,
        collection: &Collection,
        mut start: Place,
    ) -> Outcome<Box<dyn Points>> {
        let label = self.path.display().to_string();
        let (Kind::Lines { first, .. } | Kind::Embedded { first, .. }) = &self.kind;
        if start.row == 0 {
            start.payload_offset = *first;
        }
        let moved = self.file.seek(SeekFrom::Start(start.payload_offset));
        moved.map_err(|error| Failure::io("read", &self.path, &error))?;
        let (file, batch) = (self.file, command.batch as usize);
        match self.kind {
            Kind::Lines { head, line, .. } => {
                let about = (head.points, line.as_str());
                Ok(Box::new(RecordSource::new(label, file, self.arrays, batch, start, about)?))
            }
            Kind::Embedded { count, .. } => {
                let name = collection.config().vectors().next().map(|(name, _)| name.to_owned());
                let name = name.unwrap_or_default();
                Ok(Box::new(EmbeddedSource::new(label, file, name, batch, start, count)))
            }
        }
    }
}

/// Opens the files of vectors that lie beside the lines.
fn arrays(
    head: &Head,
    folder: Option<&Path>,
    label: &str,
    files: &mut Vec<(String, PathBuf, Identity)>,
) -> Outcome<Vec<VectorFile>> {
    let mut arrays = Vec::new();
    for ((name, vector), file) in head.config.vectors().zip(&head.files) {
        let Some(file) = file else { continue };
        let Some(folder) = folder else {
            return Err(Failure::invalid(format!("{label} says that vectors lie in {file:?} beside it"))
                .advise("give the folder that holds both to --from"));
        };
        // A name in a file is no path: it stays in the folder.
        if Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(Failure::invalid(format!("{label}, line 1: {file:?} is no name of a file")));
        }
        let path = folder.join(file);
        let input = files::open(&path)?;
        let Some(identity) = input.identity else {
            return Err(Failure::invalid(format!("{} is no plain file", path.display())));
        };
        let rows = Rows::open(&path, Box::new(input.file) as Box<dyn Seekable>)?;
        if rows.dimension() != vector.dim as usize {
            let found = rows.dimension();
            return Err(Failure::invalid(format!(
                "{} has vectors of {found} dimensions, {label} says {}",
                path.display(),
                vector.dim
            )));
        }
        files.push((format!("vectors {name}").trim_end().to_owned(), path.clone(), identity));
        arrays.push(VectorFile { name: name.to_owned(), label: path.display().to_string(), rows });
    }
    Ok(arrays)
}
