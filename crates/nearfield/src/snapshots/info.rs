//! What people are told of a snapshot.

use nearfield_collection::{Blueprint, CollectionConfig, Error, ErrorKind, FieldConfig, Result};
use nearfield_payload::Path;
use nearfield_snapshot::{Entry, Manifest, Published};
use nearfield_types::{Seq, Uuid, check_name};

use super::body::{Body, Part};

/// Names a snapshot: of one collection, or of the whole database.
///
/// Names of snapshots are unique in a collection, and so are those of the whole database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotName {
    /// The collection it is of, by the name it had then; `None` for all collections with their aliases.
    pub collection: Option<String>,
    /// Its own name.
    pub name: String,
}

impl SnapshotName {
    /// A snapshot of one collection.
    pub fn of(collection: impl Into<String>, name: impl Into<String>) -> SnapshotName {
        SnapshotName { collection: Some(collection.into()), name: name.into() }
    }

    /// A snapshot of the whole database.
    pub fn full(name: impl Into<String>) -> SnapshotName {
        SnapshotName { collection: None, name: name.into() }
    }

    /// What a snapshot calls itself.
    pub(crate) fn in_body(body: &Body) -> SnapshotName {
        let collection = body.parts.first().filter(|_| !body.is_full).map(|part| part.name.clone());
        SnapshotName { collection, name: body.name.clone() }
    }

    /// Refuses names outside the limits.
    pub(crate) fn check(&self) -> Result<()> {
        let checked = self.collection.as_deref().map_or(Ok(()), |name| check_name("collection", name));
        checked.and_then(|()| check_name("snapshot", &self.name)).map_err(|e| Error::invalid(e.to_string()))
    }

    /// The name in the store. Names of people hold no slash.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.collection.as_deref().unwrap_or_default(), self.name)
    }

    /// The name that a key of the store spells.
    pub(crate) fn parse(key: &str) -> Option<SnapshotName> {
        let (collection, name) = key.split_once('/')?;
        let collection = (!collection.is_empty()).then(|| collection.to_owned());
        let found = SnapshotName { collection, name: name.to_owned() };
        found.check().is_ok().then_some(found)
    }
}

impl std::fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.collection {
            Some(collection) => write!(f, "snapshot {:?} of collection {collection:?}", self.name),
            None => write!(f, "snapshot {:?} of the database", self.name),
        }
    }
}

/// A snapshot, described.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// How it is called.
    pub name: SnapshotName,
    /// Names it for good, wherever it is copied to.
    pub id: Uuid,
    /// What its maker said of it.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The collections in it; one, unless it is of the whole database.
    pub collections: Vec<SnapshotCollection>,
    /// Aliases and the collections they stood for; of the whole database only.
    pub aliases: Vec<(String, String)>,
    /// Bytes of its files. They may be the very bytes of the live collection, and of other snapshots.
    pub bytes: u64,
    /// Its files.
    pub files: Vec<SnapshotFile>,
}

/// A collection in a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotCollection {
    /// Its name then.
    pub name: String,
    /// Its identity then.
    pub id: Uuid,
    /// Every operation at or before this is in the snapshot, and none after.
    pub seq: Seq,
    /// How many points it has.
    pub points: u64,
    /// What its points are made of.
    pub config: CollectionConfig,
    /// The payload indexes in its files, and how they are made. Those made by operations still in the log come back too.
    pub fields: Vec<(Path, FieldConfig)>,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The collection's identity and the path in it.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it, in hexadecimal.
    pub digest: String,
}

/// A snapshot, understood.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: SnapshotName,
    pub(crate) body: Body,
    pub(crate) manifest: Manifest,
    /// For each part, how it is built.
    pub(crate) blueprints: Vec<Blueprint>,
}

impl Known {
    pub(crate) fn new(name: SnapshotName, published: Published) -> Result<Known> {
        Known::of(name, published.manifest)
    }

    /// What a manifest says, fitted together with its files.
    pub(crate) fn of(name: SnapshotName, manifest: Manifest) -> Result<Known> {
        let body = Body::decode(&manifest.body).map_err(|e| {
            Error::caused(ErrorKind::Corrupt, format!("{name} is whole but not understood"), e)
        })?;
        if SnapshotName::in_body(&body) != name {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{name} is {} by its own words", SnapshotName::in_body(&body)),
            ));
        }
        let mut blueprints = Vec::with_capacity(body.parts.len());
        let mut used = 0;
        for part in &body.parts {
            let files = files_of(part, &manifest.files);
            used += files.len();
            let blueprint = Blueprint::new(&part.manifest, &files).map_err(|e| e.within(&name))?;
            if blueprint.manifest().collection != part.uuid {
                let context =
                    format!("{name}: the manifest of {:?} belongs to another collection", part.name);
                return Err(Error::new(ErrorKind::Corrupt, context));
            }
            blueprints.push(blueprint);
        }
        if used != manifest.files.len() {
            let context = format!("{name} has {} files of no collection", manifest.files.len() - used);
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        Ok(Known { name, body, manifest, blueprints })
    }

    /// The place of the collection called `name` in it; without a name, of the only one.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<usize> {
        let parts = &self.body.parts;
        match name {
            None if parts.len() == 1 => Ok(0),
            None => Err(Error::invalid(format!("{} has {} collections: name one", self.name, parts.len()))),
            Some(name) => parts.iter().position(|part| part.name == name).ok_or_else(|| {
                let shown: String = name.chars().take(80).collect();
                Error::new(ErrorKind::NotFound, format!("{} has no collection {shown:?}", self.name))
            }),
        }
    }

    pub(crate) fn info(&self) -> SnapshotInfo {
        let parts = self.body.parts.iter().zip(&self.blueprints);
        let collections = parts.map(|(part, blueprint)| {
            let fields = blueprint.manifest().fields.list.iter();
            SnapshotCollection {
                name: part.name.clone(),
                id: Uuid::from_bytes(part.uuid),
                seq: Seq(part.seq),
                points: part.points,
                config: blueprint.manifest().config.clone(),
                fields: fields.map(|field| (field.path.clone(), field.config.clone())).collect(),
            }
        });
        let file = |entry: &Entry| SnapshotFile {
            path: entry.path.clone(),
            bytes: entry.object.length,
            digest: entry.object.digest.to_string(),
        };
        SnapshotInfo {
            name: self.name.clone(),
            id: Uuid::from_bytes(self.body.id),
            description: self.body.description.clone(),
            created_ms: self.manifest.created_ms,
            collections: collections.collect(),
            aliases: self.body.aliases.clone(),
            bytes: self.manifest.bytes(),
            files: self.manifest.files.iter().map(file).collect(),
        }
    }
}

/// The files of one collection, by their paths in its shard.
fn files_of(part: &Part, files: &[Entry]) -> Vec<Entry> {
    let prefix = format!("{}/", Uuid::from_bytes(part.uuid));
    let own = files.iter().filter_map(|entry| Some((entry.path.strip_prefix(&prefix)?, entry)));
    own.map(|(path, entry)| Entry { path: path.to_owned(), ..entry.clone() }).collect()
}
