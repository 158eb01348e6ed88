//! Archives: what comes back, and what is refused.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]

use std::path::Path;
use std::sync::Arc;

use nearfield::{
    Archived, CollectionConfig, Database, ErrorKind, Metric, Object, Options, Point, Progress, Replace,
    SnapshotName,
};
use nearfield_platform::{Dir, MemoryDir};

const BLOCK: usize = 512;

/// Header and padded bytes of an entry.
type Parts = (Vec<u8>, Vec<u8>);

fn options() -> Options {
    Options { background: false, ..Options::default() }
}

fn books(db: &Database, points: u64) -> nearfield::Collection {
    let books = db.create_collection("books", CollectionConfig::new(2, Metric::Euclid)).unwrap();
    let point = |id: u64| {
        let payload = Object::from_entries([("text".to_owned(), format!("number {id}").into())]);
        Point::new(id, vec![id as f32, 0.5]).payload(payload)
    };
    books.upsert((0..points).map(point).collect()).unwrap();
    books
}

/// A database with one snapshot, of files and of a log, as an archive.
fn archive() -> (Vec<u8>, Archived) {
    let db = Database::open_in(MemoryDir::new(), "test", options()).unwrap();
    let books = books(&db, 40);
    books.flush().unwrap();
    books.delete(&[1.into()]).unwrap();
    books.create_snapshot("monday", "words").unwrap();
    let mut bytes = Vec::new();
    let name = SnapshotName::of("books", "monday");
    let archived = db.archive_snapshot(&name, &mut bytes, &Progress::default()).unwrap();
    assert_eq!(archived.bytes, bytes.len() as u64);
    let mut again = Vec::new();
    db.archive_snapshot(&name, &mut again, &Progress::default()).unwrap();
    assert!(again == bytes, "the same bytes");
    (bytes, archived)
}

fn upload(db: &Database, bytes: &[u8]) -> nearfield::Result<nearfield::Uploaded> {
    db.upload_snapshot(&mut &bytes[..], None, None, &Progress::default())
}

#[test]
fn what_is_uploaded_is_what_was_archived() {
    let (bytes, archived) = archive();
    let db = Database::in_memory().unwrap();
    let progress = Progress::default();
    let uploaded = db.upload_snapshot(&mut &bytes[..], None, Some(&archived.sha256), &progress).unwrap();
    assert_eq!((&uploaded.archive, progress.fraction()), (&archived, 1.0));
    assert_eq!(uploaded.snapshot.description, "words");
    assert_eq!(upload(&db, &bytes).unwrap_err().kind(), ErrorKind::Exists);
    let name = SnapshotName::of("books", "monday");
    assert_eq!(db.restore_snapshot(&name, "books").unwrap().count().unwrap(), 39);
    let tuesday = db.upload_snapshot(&mut &bytes[..], Some("tuesday"), None, &Progress::default()).unwrap();
    assert_eq!((tuesday.snapshot.name.name.as_str(), tuesday.snapshot.id), ("tuesday", uploaded.snapshot.id));
    assert_eq!(db.all_snapshots().unwrap().len(), 2);
    let mut again = Vec::new();
    assert_eq!(db.archive_snapshot(&name, &mut again, &Progress::default()).unwrap(), archived);
}

#[test]
fn recovering_keeps_no_snapshot() {
    let (bytes, archived) = archive();
    let dir = MemoryDir::new();
    let db = Database::open_in(dir.clone(), "test", options()).unwrap();
    let recover = |target: Option<&str>, replace, sha256: &str| {
        db.recover_archive(&mut &bytes[..], Some(sha256), None, target, replace, &Progress::default())
    };
    assert_eq!(recover(None, Replace::Never, &archived.sha256).unwrap().collections, ["books"]);
    assert_eq!(recover(None, Replace::Never, &archived.sha256).unwrap_err().kind(), ErrorKind::Exists);
    recover(Some("more"), Replace::Never, &archived.sha256).unwrap();
    let wrong = "0".repeat(64);
    assert_eq!(recover(Some("x"), Replace::Never, &wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(recover(Some("x"), Replace::Never, "abc").unwrap_err().kind(), ErrorKind::Invalid);
    recover(None, Replace::Existing, &archived.sha256.to_uppercase()).unwrap();
    for name in ["books", "more"] {
        assert_eq!(db.collection(name).unwrap().count().unwrap(), 39);
    }
    assert_eq!(dir.list("snapshots/objects").unwrap(), []);
    assert_eq!(dir.list("collections").unwrap().len(), 2);
    let cancelled = Progress::default();
    cancelled.cancel();
    let refused = db.upload_snapshot(&mut &bytes[..], None, None, &cancelled).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_database_travels_with_its_aliases() {
    let db = Database::in_memory().unwrap();
    drop(books(&db, 7));
    db.set_alias("now", "books").unwrap();
    db.create_full_snapshot("all", "").unwrap();
    let mut bytes = Vec::new();
    db.archive_snapshot(&SnapshotName::full("all"), &mut bytes, &Progress::default()).unwrap();
    let other = Database::in_memory().unwrap();
    other.recover_archive(&mut &bytes[..], None, None, None, Replace::Never, &Progress::default()).unwrap();
    assert_eq!(other.collection("now").unwrap().count().unwrap(), 7);
    other
        .recover_archive(&mut &bytes[..], None, None, Some("one"), Replace::Never, &Progress::default())
        .unwrap();
    assert_eq!(other.collections(), ["books", "one"]);
}

#[test]
fn aliases_come_only_where_everything_keeps_its_name() {
    let db = Database::in_memory().unwrap();
    drop(books(&db, 7));
    db.set_alias("now", "books").unwrap();
    let mut bytes = Vec::new();
    db.dump("dump", &mut bytes, &Progress::default()).unwrap();
    let dir = MemoryDir::new();
    let open = || Database::open_in(dir.clone(), "test", options()).unwrap();
    let recover = |db: &Database, of: Option<&str>, target: Option<&str>, replace| {
        db.recover_archive(&mut &bytes[..], None, of, target, replace, &Progress::default())
    };
    let other = open();
    recover(&other, None, Some("copy"), Replace::Never).unwrap();
    recover(&other, Some("books"), Some("more"), Replace::Never).unwrap();
    recover(&other, Some("books"), None, Replace::Never).unwrap();
    other.close().unwrap();
    let other = open();
    assert_eq!((other.collections().len(), other.aliases()), (3, vec![]));
    assert!(other.delete_collection("books").unwrap());
    // An alias that is in use is moved only by somebody who says so.
    other.set_alias("now", "copy").unwrap();
    let refused = recover(&other, None, None, Replace::Never).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists, "{refused}");
    assert!(refused.to_string().contains("'now'") && refused.to_string().contains("'copy'"), "{refused}");
    assert_eq!(other.aliases(), [("now".to_owned(), "copy".to_owned())]);
    recover(&other, None, None, Replace::Existing).unwrap();
    other.close().unwrap();
    assert_eq!(open().aliases(), [("now".to_owned(), "books".to_owned())]);
}

#[test]
fn a_damaged_object_in_the_store_is_replaced_by_a_good_one() {
    let (bytes, _) = archive();
    let dir = MemoryDir::new();
    let db = Database::open_in(dir.clone(), "test", options()).unwrap();
    upload(&db, &bytes).unwrap();
    let damage = |shorter: usize| {
        for entry in dir.list("snapshots/objects").unwrap() {
            let path = format!("snapshots/objects/{}", entry.name);
            let mut bytes = dir.open(&path).unwrap().to_vec();
            bytes.truncate(bytes.len() - shorter);
            *bytes.last_mut().unwrap() ^= 1;
            dir.replace(&path, &bytes).unwrap();
        }
    };
    for shorter in [0, 1] {
        damage(shorter);
        let recover = db.recover_archive(
            &mut &bytes[..],
            None,
            None,
            Some("again"),
            Replace::Existing,
            &Progress::default(),
        );
        recover.unwrap();
        assert_eq!(db.collection("again").unwrap().count().unwrap(), 39);
        damage(shorter);
        let name = format!("number-{shorter}");
        db.upload_snapshot(&mut &bytes[..], Some(&name), None, &Progress::default()).unwrap();
        db.verify_snapshot(&SnapshotName::of("books", &name), &Progress::default()).unwrap();
    }
}

#[test]
fn an_archive_that_does_not_fit_is_refused_before_it_fills_the_disk() {
    let (bytes, _) = archive();
    let dir = MemoryDir::with_capacity(1 << 20);
    let db = Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "test", options()).unwrap();
    let free = dir.free_space().unwrap();
    let error = upload(&db, &bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(dir.free_space().unwrap(), free);
}

/// Header and bytes (with padding) of each entry.
fn entries(bytes: &[u8]) -> Vec<Parts> {
    let (mut at, mut entries) = (0, Vec::new());
    while bytes[at] != 0 {
        let header = bytes[at..at + BLOCK].to_vec();
        let size = tar::Header::from_byte_slice(&header).entry_size().unwrap() as usize;
        let end = at + BLOCK + size.next_multiple_of(BLOCK);
        entries.push((header, bytes[at + BLOCK..end].to_vec()));
        at = end;
    }
    entries
}

fn join(entries: &[Parts]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        entries.iter().flat_map(|(header, body)| [&header[..], body]).flatten().copied().collect();
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// The header after a change, its checksum made right again.
fn changed(header: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut header = header.to_vec();
    change(&mut header);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn named(header: &[u8], name: &[u8]) -> Vec<u8> {
    changed(header, |header| {
        header[..100].fill(0);
        header[..name.len()].copy_from_slice(name);
    })
}

fn sized(header: &[u8], size: &[u8; 12]) -> Vec<u8> {
    changed(header, |header| header[124..136].copy_from_slice(size))
}

/// Archives that are none, each with what is wrong with it.
fn hostile(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let own = entries(good);
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    // Each of these on the manifest and on the first object.
    for at in [0, 1] {
        let (header, _) = &own[at];
        let name: Vec<u8> = header.iter().take_while(|&&byte| byte != 0).copied().collect();
        let mut with = |what: String, header: Vec<u8>| {
            let mut entries = own.clone();
            entries[at].0 = header;
            cases.push((format!("entry {at}: {what}"), join(&entries)));
        };
        let glued = |before: &str, after: &str| [before.as_bytes(), &name, after.as_bytes()].concat();
        let names = [
            glued("../", ""),
            glued("../../../../tmp/", ""),
            glued("/", ""),
            glued("//", ""),
            glued("./", ""),
            glued("x/../", ""),
            glued("", "/"),
            glued("", "/.."),
            glued("", " "),
            glued("", "\0x"),
            glued("", "\n"),
            glued("", ".."),
            glued("C:\\", ""),
            glued("..\\", ""),
            name.to_ascii_uppercase()
                .into_iter()
                .map(|byte| if byte == b'M' { b'm' } else { byte })
                .collect(),
            name[1..].to_vec(),
            name[..name.len() - 1].to_vec(),
            b"LOCK".to_vec(),
            b"catalog/MANIFEST-00000000000000000001".to_vec(),
            b"objects/PINS-a".to_vec(),
            Vec::new(),
        ];
        for name in names.into_iter().filter(|other| *other != name) {
            with(format!("called {:?}", String::from_utf8_lossy(&name)), named(header, &name));
        }
        for kind in *b"\x001234567xgLKSVMNDAZ" {
            with(format!("of type {:?}", char::from(kind)), changed(header, |header| header[156] = kind));
        }
        with("with a link".into(), changed(header, |header| header[157] = b'x'));
        with("with a prefix".into(), changed(header, |header| header[345..347].copy_from_slice(b"..")));
        with("of GNU".into(), changed(header, |header| header[257..265].copy_from_slice(b"ustar  \0")));
        with("old".into(), changed(header, |header| header[257..265].fill(0)));
        let mut sum = header.clone();
        sum[148..156].copy_from_slice(b"000000\0 ");
        with("with a wrong sum".into(), sum);
        sum_digits(header, &mut with);
        for size in [
            b"00000000000\0",
            b"00000000001\0",
            b"77777777777\0",
            b"-0000000001\0",
            b"0000000x000\0",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
            b"            ",
            b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\0\0\0\0\0\0\x10\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            with(format!("of size {size:?}"), sized(header, size));
        }
    }
    let mut with = |what: &str, change: &dyn Fn(&mut Vec<Parts>)| {
        let mut entries = own.clone();
        change(&mut entries);
        cases.push((what.to_owned(), join(&entries)));
    };
    with("no entry", &|entries| entries.clear());
    with("the manifest alone", &|entries| entries.truncate(1));
    with("no manifest", &|entries| drop(entries.remove(0)));
    with("the manifest last", &|entries| entries.rotate_left(1));
    with("the manifest twice", &|entries| entries.insert(1, entries[0].clone()));
    with("an object twice", &|entries| entries.insert(2, entries[1].clone()));
    with("an object missing", &|entries| drop(entries.remove(2)));
    with("two objects swapped", &|entries| entries.swap(1, 2));
    with("the bytes of two objects swapped", &|entries| {
        let (one, two) = (entries[1].1.clone(), entries[2].1.clone());
        (entries[1].1, entries[2].1) = (two, one);
    });
    with("one more file", &|entries| {
        entries.push((named(&entries[1].0, b"objects/x"), entries[1].1.clone()))
    });
    with("a folder first", &|entries| {
        let folder = sized(&changed(&named(&entries[0].0, b"objects/"), |h| h[156] = b'5'), b"00000000000\0");
        entries.insert(0, (folder, Vec::new()));
    });
    with("a link to elsewhere first", &|entries| {
        let link = changed(&named(&entries[0].0, b"objects"), |header| {
            header[156] = b'2';
            header[157..161].copy_from_slice(b"/tmp");
        });
        entries.insert(1, (sized(&link, b"00000000000\0"), Vec::new()));
    });
    let pax = |name: &[u8], kind: u8, text: &str, entries: &mut Vec<Parts>| {
        let mut body = text.as_bytes().to_vec();
        let size = format!("{:011o}\0", body.len());
        body.resize(body.len().next_multiple_of(BLOCK), 0);
        let header = changed(&named(&entries[0].0, name), |header| header[156] = kind);
        entries.insert(1, (sized(&header, size.as_bytes().try_into().unwrap()), body));
    };
    with("a name by PAX", &|entries| pax(b"x", b'x', "20 path=../../evil\n", entries));
    with("a size by PAX", &|entries| pax(b"x", b'x', "22 size=99999999999999\n", entries));
    with("a sparse file by PAX", &|entries| pax(b"x", b'x', "22 GNU.sparse.major=1\n", entries));
    with("a name for all by PAX", &|entries| pax(b"x", b'g', "20 path=../../evil\n", entries));
    with("a long name by GNU", &|entries| pax(b"././@LongLink", b'L', "../../evil\0", entries));
    with("a long link by GNU", &|entries| pax(b"././@LongLink", b'K', "../../evil\0", entries));
    let mut raw = |what: &str, bytes: Vec<u8>| cases.push((what.to_owned(), bytes));
    raw("nothing", Vec::new());
    raw("zeros", vec![0; 4 * BLOCK]);
    raw("text", b"this is no archive".repeat(100));
    raw("a byte at the end", [good, b"\0"].concat());
    raw("a block at the end", [good, &[0; BLOCK]].concat());
    raw("an archive at the end", [good, good].concat());
    raw("half an end", good[..good.len() - BLOCK].to_vec());
    raw("no end", good[..good.len() - 2 * BLOCK].to_vec());
    for at in (0..good.len()).step_by(BLOCK) {
        raw(&format!("cut at {at}"), good[..at].to_vec());
        raw(&format!("cut at {}", at + 7), good[..at + 7].to_vec());
    }
    // Flipped bytes: headers have fields that mean nothing (modes, owners, times), all else is covered.
    let mut at = 0;
    for (header, body) in &own {
        for inner in (0..body.len()).step_by(BLOCK - 1) {
            let mut flipped = good.to_vec();
            flipped[at + BLOCK + inner] ^= 0x20;
            raw(&format!("byte {} flipped", at + BLOCK + inner), flipped);
        }
        at += header.len() + body.len();
    }
    cases
}

/// A sum that is right but spelt with signs.
fn sum_digits(header: &[u8], with: &mut impl FnMut(String, Vec<u8>)) {
    for sum in [b"-00001\0 ", b"zzzzzz\0 ", b"\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut header = header.to_vec();
        header[148..156].copy_from_slice(sum);
        with(format!("with the sum {sum:?}"), header);
    }
}

/// All paths below a folder.
#[expect(
    clippy::disallowed_methods,
    reason = "what an archive may have written lies outside of the database"
)]
fn tree(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "what an archive may have written lies outside of the database"
)]
fn hostile_archives_are_refused_and_leave_nothing() {
    let (good, _) = archive();
    let cases = hostile(&good);
    assert!(cases.len() > 200, "{}", cases.len());
    let place = tempfile::tempdir().unwrap();
    let inner = place.path().join("deep/er/database");
    std::fs::create_dir_all(&inner).unwrap();
    let real = Database::open(&inner, options()).unwrap();
    let dir = MemoryDir::new();
    let memory = Database::open_in(dir.clone(), "test", options()).unwrap();
    // The folders of the store are made by the first upload that gets so far.
    let refused = |db: &Database, what: &str, bytes: &[u8]| {
        let error = match upload(db, bytes) {
            Ok(_) => panic!("{what}: taken"),
            Err(error) => error,
        };
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Full), "{what}: {error}");
        assert!(error.to_string().contains("archive") || error.kind() == ErrorKind::Full, "{what}: {error}");
    };
    let mut before = None;
    for (at, (what, bytes)) in cases.iter().enumerate() {
        refused(&memory, what, bytes);
        assert_eq!(dir.list("snapshots/objects").unwrap_or_default(), [], "{what}");
        // The disk is slower: each kind of case, not each cut.
        if !what.contains("cut at") && !what.contains("flipped") || at % 50 == 0 {
            refused(&real, what, bytes);
            let now = tree(place.path());
            let known = before.get_or_insert(now.clone());
            now.iter().for_each(|path| {
                assert!(
                    known.contains(path) || path.starts_with(inner.join("snapshots")),
                    "{what}: {path:?}"
                );
            });
        }
    }
    assert!(tree(&inner.join("snapshots/objects")).is_empty());
    for db in [memory, real] {
        assert_eq!((db.all_snapshots().unwrap(), db.collections()), (vec![], vec![]));
        upload(&db, &good).unwrap();
    }
}
