//! What can be typed: commands, options and their limits, as a tree that clap turns into a parser and its help.
//!
//! **It refuses** to do anything: a command is a value here.

mod fields;
mod maintenance;
mod snapshots;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nearfield::limits::BATCH_POINTS_MAX;
use nearfield::{Durability, Metric};

pub(crate) use fields::{Index, IndexAction, IndexOptions};
pub(crate) use maintenance::{Maintain, TaskAction, Tasks};
pub(crate) use snapshots::{
    Archive, CloneCollection, Destination, Dump, Export, ExportFormat, Snapshot, SnapshotAction, Which,
};

/// Nearfield, a vector database.
#[derive(Debug, Parser)]
#[command(name = "nearfield", version, about = "Nearfield, a vector database")]
#[command(max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Start with `nearfield demo`. Exit status: 0 done, 1 failed, 2 not understood.")]
pub(crate) struct Cli {
    /// Print one JSON object instead of text; errors too, on standard error
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import 2,000 texts that come with the program, search them and check the answers
    Demo(Demo),
    /// Import vectors from .npy and payloads from .jsonl files
    Import(Import),
    /// Find the points nearest to a vector or to another point
    Search(Search),
    /// Show points by their ids
    Get(Get),
    /// Count points, or those that pass a filter
    Count(Count),
    /// Show which values points have in a field, and how many have each
    Facet(Facet),
    /// Delete points by their ids, or those that pass a filter
    Delete(Delete),
    /// List, create and drop indexes of payload fields
    Index(Index),
    /// List, create and delete collections and their aliases
    Collections(Collections),
    /// Show how many points there are, what room they take, and what is still to be done for them
    Stats(Stats),
    /// Seal what is in memory into files
    Flush(Maintain),
    /// Merge segments, drop deleted points, give back disk
    #[command(visible_alias = "compact")]
    Optimize(Maintain),
    /// Build the indexes anew, with the settings as they are, while the old ones serve
    Rebuild(Maintain),
    /// List tasks, wait for them, take them back
    Tasks(Tasks),
    /// Make, list, restore, pin, verify and carry snapshots
    Snapshot(Snapshot),
    /// Write a collection, or the points that pass a filter, to files that anybody can read
    Export(Export),
    /// Export the points that pass a filter, verify the file, then delete them
    Archive(Archive),
    /// Copy a collection: by links, without writing points again
    Clone(CloneCollection),
    /// Write the whole database to one file
    Dump(Dump),
}

/// The database that a command works on.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Directory of the database; `import` and `collections create` make it if missing
    #[arg(value_name = "DB")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

/// What is accepted of the place where the database lies.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Trust {
    /// Accept network and FUSE file systems, where nothing is known of locks and syncs
    #[arg(long, display_order = 90)]
    pub(crate) allow_unsupported_fs: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Directory of the demo's database
    #[arg(long, value_name = "DIR", default_value = "nearfield-demo")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Points are written by id: running an import again changes nothing, so an import that was stopped can always be \
repeated, or continued with --resume. Every batch is stored whole or not at all.

Example: nearfield import ./data words --vectors base.npy --payload payload.jsonl --ids id")]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias; a collection is made if missing, with the dimension of the vectors
    pub(crate) collection: String,
    /// Vectors: a .npy file of float32 or float16, an .fvecs or a .bvecs file, one row a point; NAME=FILE, once a name, for several vectors
    /// a point
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    pub(crate) vectors: Vec<String>,
    /// What `nearfield export` wrote, or `export_json` of the embedded Python API: ids, vectors and payloads are all in it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["vectors", "payload", "metric", "ids"])]
    pub(crate) from: Option<PathBuf>,
    /// Payloads: a text file with one JSON object a line, in the order of the vectors
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// How vectors are compared, for a collection that is made [default: cosine]
    #[arg(long)]
    pub(crate) metric: Option<MetricName>,
    /// Where ids come from: `row` for the row number from 0, else the payload field that holds an integer or a string
    #[arg(long, value_name = "FIELD", default_value = "row")]
    pub(crate) ids: String,
    /// Points written at once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=BATCH_POINTS_MAX as i64))]
    pub(crate) batch: u32,
    /// What a stored batch survives: `process` a killed process (power loss after 200 ms), `sync` power loss at once
    #[arg(long, default_value = "process")]
    pub(crate) durability: DurabilityName,
    /// Continue where an import of the same files was stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// File that remembers how far the import is [default: import-COLLECTION.checkpoint in the database's directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nearfield search ./nearfield-demo wordnet --like 58 --with-payload
  nearfield search ./nearfield-demo wordnet --like 58 --filter '{\"must\": {\"key\": \"pos\", \"match\": {\"value\": \"noun\"}}}'")]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) what: SearchFor,
    /// Row of the --vector-file, from 0
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["vector", "like"])]
    pub(crate) row: u64,
    /// How many points to find
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) limit: u64,
    /// Name of the vector to compare, where points have several
    #[arg(long, value_name = "NAME")]
    pub(crate) using: Option<String>,
    /// Only points that pass this: a JSON object in the form of the Qdrant API
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: Option<String>,
    /// Candidates kept open while looking: more takes longer and finds more of the nearest
    #[arg(long, value_name = "N", conflicts_with_all = ["recall", "exact"])]
    pub(crate) ef: Option<u32>,
    /// Look as hard as is needed to find this share of the nearest points, 0.5 to 0.999 [default: 0.99]
    #[arg(long, value_name = "SHARE", conflicts_with = "exact")]
    pub(crate) recall: Option<f32>,
    /// Look at every point
    #[arg(long)]
    pub(crate) exact: bool,
    /// Show the whole payload of each point
    #[arg(long)]
    pub(crate) with_payload: bool,
    /// Show how each segment was searched: the plan, what was expected beside what is true, the work, and which index would help
    #[arg(long)]
    pub(crate) explain: bool,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SearchFor {
    /// Search for this vector: a JSON array, or `-` to read it from standard input
    #[arg(long, value_name = "[X, ...]", allow_hyphen_values = true)]
    pub(crate) vector: Option<String>,
    /// Search for a row of this .npy file
    #[arg(long, value_name = "FILE")]
    pub(crate) vector_file: Option<PathBuf>,
    /// Search for the vector of this point; the point itself is left out
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) like: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An id of digits means the number and, if there is none, the string; the hyphenated form of a UUID likewise. Exit status 1 \
if any id is missing.")]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    /// Ids of points
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Show the vectors too
    #[arg(long)]
    pub(crate) with_vectors: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Count {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    /// Only points that pass this: a JSON object in the form of the Qdrant API
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: Option<String>,
    /// Ask the indexes of payload fields alone: the bounds hold, the number between them is a guess
    #[arg(long, requires = "filter")]
    pub(crate) estimate: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Texts, integers and booleans are counted; of a list its items, each once a point. An index of the field makes it fast.

Example: nearfield facet ./nearfield-demo wordnet pos")]
pub(crate) struct Facet {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    /// Path of the field: key, a.b, a[].b, a[0]
    pub(crate) field: String,
    /// Only points that pass this: a JSON object in the form of the Qdrant API
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: Option<String>,
    /// How many values to show, those in most points first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) limit: u64,
    /// Give up rare values where there are too many to hold, instead of failing: counts may be too low then
    #[arg(long)]
    pub(crate) approximate: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ids are deleted all or none. What passes a filter is deleted in batches: if it is interrupted, run it again.

Example: nearfield delete ./data words --filter '{\"must\": {\"key\": \"pos\", \"match\": {\"value\": \"noun\"}}}'")]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) what: Doomed,
}

/// Ids or a filter.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Doomed {
    /// Ids of points
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All points that pass this: a JSON object in the form of the Qdrant API; {} is every point
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
pub(crate) struct Collections {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) action: Option<CollectionAction>,
}

/// What to do with collections; without an action they are listed.
#[derive(Debug, Subcommand)]
pub(crate) enum CollectionAction {
    /// Make an empty collection (and the database, if missing)
    Create {
        /// Its name: letters, digits, . _ -
        name: String,
        /// Dimension of its vector
        #[arg(long, value_name = "N", required_unless_present = "vector")]
        dim: Option<u64>,
        /// How vectors are compared
        #[arg(long, default_value = "cosine")]
        metric: MetricName,
        /// A named vector, once for each
        #[arg(long, value_name = "NAME:DIM[:METRIC]")]
        vector: Vec<String>,
        /// Payload field that says whose a point is: points with one text there (FIELD:integer: one integer) are stored together
        #[arg(long, value_name = "FIELD[:KIND]")]
        partition_by: Option<String>,
    },
    /// Show in which state each collection is
    Status,
    /// Open a collection that was closed
    Open {
        /// Its name or an alias
        name: String,
    },
    /// Close a collection: it refuses all work until it is opened again
    Close {
        /// Its name or an alias
        name: String,
    },
    /// Delete a collection with all its points
    Delete {
        /// Its name, not an alias
        name: String,
    },
    /// Let another name stand for a collection, or move it to another collection
    Alias {
        /// The other name
        alias: String,
        /// The collection it stands for
        collection: String,
    },
    /// Remove an alias; the collection stays
    Unalias {
        /// The other name
        alias: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias; all collections if left out
    pub(crate) collection: Option<String>,
}

/// The metrics by the names of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricName {
    /// The angle; the usual choice for embeddings
    Cosine,
    /// The inner product
    Dot,
    /// Straight-line distance
    Euclid,
    /// Sum of absolute differences
    Manhattan,
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Self {
        match name {
            MetricName::Cosine => Metric::Cosine,
            MetricName::Dot => Metric::Dot,
            MetricName::Euclid => Metric::Euclid,
            MetricName::Manhattan => Metric::Manhattan,
        }
    }
}

/// The durabilities by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityName {
    /// A killed process
    Process,
    /// Power loss
    Sync,
}

impl DurabilityName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DurabilityName::Process => "process",
            DurabilityName::Sync => "sync",
        }
    }
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Process => Durability::Process,
            DurabilityName::Sync => Durability::Sync,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_are_those_of_the_library() {
        for metric in Metric::ALL {
            let name = MetricName::from_str(metric.name(), false).unwrap();
            assert_eq!(Metric::from(name), metric);
        }
    }

    #[test]
    fn a_search_is_for_exactly_one_thing() {
        let parse = |line: &str| Cli::try_parse_from(format!("nearfield search db c {line}").split(' '));
        for good in ["--vector [-1]", "--vector -", "--vector-file q.npy --row 3", "--like -x"] {
            parse(good).unwrap();
        }
        for good in ["--like 1 --ef 9", "--like 1 --recall 0.99", "--like 1 --exact"] {
            parse(good).unwrap();
        }
        for bad in [
            "--like 1 --ef 9 --exact",
            "--like 1 --recall 0.9 --ef 9",
            "--like 1 --ef -1",
            "--limit 3",
            "--vector [1] --like 2",
            "--like 2 --row 1",
            "--like 2 --limit -1",
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
