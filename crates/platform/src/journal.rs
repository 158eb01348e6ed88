//! What happened to a directory, call by call, in terms that outlive names: numbers of files and folders.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::call::Call;

/// The root folder's number.
pub(crate) const ROOT: u32 = 0;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder(u32),
    File(u32),
}

/// From now on `name` in `folder` stands for `node`, or for nothing.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) folder: u32,
    pub(crate) name: Arc<str>,
    pub(crate) node: Option<Node>,
}

/// One call that changed or secured something.
#[derive(Debug)]
pub(crate) enum Op {
    /// These edits, all or none.
    Names(Vec<Edit>),
    Write {
        file: u32,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Reserve {
        file: u32,
        len: usize,
    },
    Sync {
        file: u32,
    },
    /// A sync that failed, after which the system calls the file's pages clean though they are not on disk.
    FailedSync {
        file: u32,
    },
    SyncDir {
        folder: u32,
    },
}

/// An [`Op`] and what it looked like to the caller.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) call: Call,
    pub(crate) path: String,
    pub(crate) op: Op,
}

/// All names of a directory: per folder number, what its names stand for. Every folder but the root has one name at most.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    folders: Vec<BTreeMap<Arc<str>, Node>>,
}

impl Names {
    /// An empty root.
    pub(crate) fn new() -> Self {
        Names { folders: vec![BTreeMap::new()] }
    }

    pub(crate) fn apply(&mut self, edits: &[Edit]) {
        for Edit { folder, name, node } in edits {
            if let Some(Node::Folder(number)) = node {
                self.make(*number);
            }
            self.make(*folder);
            let names = &mut self.folders[*folder as usize];
            match node {
                Some(node) => names.insert(Arc::clone(name), *node),
                None => names.remove(name),
            };
        }
    }

    fn make(&mut self, folder: u32) {
        let count = self.folders.len().max(folder as usize + 1);
        self.folders.resize(count, BTreeMap::new());
    }

    /// The names in a folder.
    pub(crate) fn folder(&self, folder: u32) -> &BTreeMap<Arc<str>, Node> {
        &self.folders[folder as usize]
    }

    /// The same, to take apart.
    pub(crate) fn folder_mut(&mut self, folder: u32) -> &mut BTreeMap<Arc<str>, Node> {
        &mut self.folders[folder as usize]
    }

    /// How many folders were ever made: the next number.
    pub(crate) fn folders(&self) -> u32 {
        self.folders.len() as u32
    }

    /// What a path stands for.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(
            Node::Folder(ROOT),
            |node, part| match node {
                Node::Folder(folder) => self.folder(folder).get(part).copied(),
                Node::File(_) => None,
            },
        )
    }
}
