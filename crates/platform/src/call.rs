//! The kinds of calls a directory gets, for counting faults and labelling crashes.

/// One kind of call to a [`Dir`](crate::Dir), a [`File`](crate::File) or a [`Blob`](crate::Blob).
///
/// `Dir::replace` is none: it is made of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named for the method it stands for")]
pub enum Call {
    Create,
    Open,
    Blob,
    Overwrite,
    MakeDir,
    Rename,
    Link,
    Remove,
    List,
    SyncDir,
    Lock,
    FreeSpace,
    Identity,
    Write,
    Reserve,
    Sync,
    Seal,
    /// `Blob::read_many` and `Blob::verify_all`.
    Read,
}

impl Call {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = Call::Read as usize + 1;

    /// True if the call takes room on the disk that it may not get.
    pub(crate) fn needs_space(self) -> bool {
        matches!(self, Call::Create | Call::MakeDir | Call::Link | Call::Write | Call::Reserve)
    }

    /// What errors say was tried.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Call::Create => "create",
            Call::Open | Call::Blob => "open",
            Call::Overwrite | Call::Rename => "rename to",
            Call::MakeDir => "make the folder",
            Call::Link => "link to",
            Call::Remove => "remove",
            Call::List => "list",
            Call::SyncDir => "sync the folder",
            Call::Lock => "lock",
            Call::FreeSpace => "measure",
            Call::Identity => "identify",
            Call::Write => "write",
            Call::Reserve => "reserve room in",
            Call::Sync => "sync",
            Call::Seal => "seal",
            Call::Read => "read",
        }
    }
}
