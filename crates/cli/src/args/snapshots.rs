//! What can be typed of snapshots, archives, exports and copies.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Target;

#[derive(Debug, Args)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
#[command(after_help = "\
A snapshot shares its files with the live collection: it costs almost nothing, and is no second copy. `archive` writes one, to be taken \
elsewhere.

Example: nearfield snapshot ./data create monday --collection words")]
pub(crate) struct Snapshot {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) action: Option<SnapshotAction>,
}

/// Which snapshot.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name of the snapshot
    pub(crate) name: String,
    /// The collection it is of; looked up by its own name if left out
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: Option<String>,
}

/// Where a restored collection goes.
#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// Name of the restored collection [default: the one it had]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Only this collection, of a snapshot of the whole database
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Delete a collection that has the name, once the restored one is complete
    #[arg(long)]
    pub(crate) replace: bool,
}

/// What to do with snapshots; without an action they are listed.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotAction {
    /// Take one collection down as it is now, or all with their aliases
    Create {
        /// Name of the snapshot: letters, digits, . _ -
        name: String,
        /// The collection, or an alias; all collections if left out
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
        /// Words kept with it
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// List snapshots
    List {
        /// Only those of this collection
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
    },
    /// Show what a snapshot is made of
    Describe(Which),
    /// Restore a snapshot, without touching anything before it is complete
    Restore {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        to: Destination,
    },
    /// Drop a snapshot; collections and other snapshots keep what they share with it
    Drop(Which),
    /// Keep the data of a snapshot for a time, even if it is dropped
    Pin {
        #[command(flatten)]
        which: Which,
        /// Seconds, 1 to 604800 (7 days)
        #[arg(long, value_name = "SECONDS")]
        ttl: u64,
    },
    /// End a pin
    Unpin {
        /// Id of the pin
        id: u64,
    },
    /// List pins
    Pins,
    /// Prove that a snapshot can be restored: check digests, restore it to a scratch place, compare every point
    Verify(Which),
    /// Write a snapshot as one file, with its SHA-256 beside it
    Archive {
        #[command(flatten)]
        which: Which,
        /// The file to be made
        file: PathBuf,
    },
    /// Take an archive in as a snapshot
    Upload {
        /// The archive; its checksum is compared with FILE.sha256 if there is one
        file: PathBuf,
        /// Another name for the snapshot
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
    },
    /// Restore an archive at once, into a new database too
    Recover {
        /// The archive; its checksum is compared with FILE.sha256 if there is one
        file: PathBuf,
        #[command(flatten)]
        to: Destination,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Formats: `jsonl` is one text file; `npy` is a folder with one .npy file a vector and a text file with ids and payloads; `json` is the one \
object of the embedded Python API, for collections with one vector. `nearfield import --from` reads all three. The first two keep \
everything, to the last bit: kinds of ids, which vectors a point has, settings and payload indexes.

Example: nearfield export ./data words words.jsonl")]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    /// The file or folder to be made; it appears under its name when it is complete
    pub(crate) out: PathBuf,
    /// How it is written
    #[arg(long, value_enum, default_value = "jsonl")]
    pub(crate) format: ExportFormat,
    /// Only points that pass this: a JSON object in the form of the Qdrant API
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: Option<String>,
    /// The collection as it was in this snapshot
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
    /// Indent the object of format `json`
    #[arg(long)]
    pub(crate) pretty: bool,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Vectors as .npy, the rest as lines
    Npy,
    /// One object, as the embedded Python API writes it
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The points that pass are exported, the file is read back and compared, and only then are the points deleted.

Example: nearfield archive ./data words old.jsonl --filter '{\"must\": {\"key\": \"year\", \"range\": {\"lt\": 2020}}}'")]
pub(crate) struct Archive {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    /// The file to be made, in format jsonl
    pub(crate) out: PathBuf,
    /// The points that are moved out: a JSON object in the form of the Qdrant API
    #[arg(long, value_name = "{...}")]
    pub(crate) filter: String,
    /// Keep the points: export and verify alone
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CloneCollection {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias to be copied
    pub(crate) source: String,
    /// Name of the copy, which goes its own way from then on
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
`nearfield snapshot DB recover FILE` brings it back.

Example: nearfield dump ./data backup.tar")]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The file to be made, with its SHA-256 beside it
    pub(crate) file: PathBuf,
}
