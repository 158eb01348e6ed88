//! Snapshots, clones, dumps and archives from the command line.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests look at files of their own")]

use serde_json::Value as Json;

use crate::support::Place;

/// A database `db` with a collection `words` of 500 points, sealed.
fn place() -> Place {
    let place = Place::new();
    place.write_points(500, 4);
    place.text("import db words --vectors v.npy --payload p.jsonl --ids key");
    place
}

fn count(place: &Place, collection: &str) -> u64 {
    place.json(&format!("count db {collection}"))["points"].as_u64().unwrap()
}

#[test]
fn a_snapshot_is_made_shown_proved_restored_and_dropped() {
    let place = place();
    let made = place.json("snapshot db create monday --collection words --description first");
    assert_eq!((made["points"].as_u64(), made["collection"].as_str()), (Some(500), Some("words")));
    assert_eq!(place.error("snapshot db create monday --collection words")["kind"], "Exists");
    place.json("delete db words k1 k2");
    let listed = place.json("snapshot db");
    assert_eq!(listed["snapshots"].as_array().map(Vec::len), Some(1));
    assert_eq!(place.json("snapshot db describe monday")["id"], made["id"]);
    let proved = place.json("snapshot db verify monday");
    assert_eq!((proved["points"].as_u64(), proved["second_copy"].as_bool()), (Some(500), Some(false)));
    assert!(place.text("snapshot db verify monday").contains("not a second copy"));
    let error = place.error("snapshot db restore monday");
    assert_eq!(error["kind"], "Exists");
    assert!(error["advice"].as_str().unwrap().contains("--replace"));
    let restored = place.json("snapshot db restore monday --as again");
    assert_eq!(restored["collections"], Json::from(vec!["again"]));
    assert_eq!((count(&place, "words"), count(&place, "again")), (498, 500));
    place.json("snapshot db restore monday --replace");
    assert_eq!(count(&place, "words"), 500);
    assert_eq!(place.error("snapshot db drop tuesday")["kind"], "NotFound");
    let pin = place.json("snapshot db pin monday --ttl 60")["pin"].as_u64().unwrap();
    assert_eq!(place.error("snapshot db pin monday --ttl 0")["kind"], "Invalid");
    assert_eq!(place.json("snapshot db drop monday")["dropped"], true);
    assert_eq!(place.json("snapshot db pins")["pins"][0]["pin"].as_u64(), Some(pin));
    place.json(&format!("snapshot db unpin {pin}"));
    assert_eq!(place.error(&format!("snapshot db unpin {pin}"))["kind"], "NotFound");
    assert_eq!(std::fs::read_dir(place.path("db/snapshots/objects")).unwrap().count(), 0);
}

#[test]
fn a_damaged_snapshot_hides_no_other_and_can_be_dropped() {
    let place = place();
    place.json("snapshot db create monday --collection words");
    let refs =
        || std::fs::read_dir(place.path("db/snapshots/refs")).unwrap().map(|entry| entry.unwrap().path());
    let damaged = refs().next().unwrap();
    place.json("snapshot db create tuesday --collection words");
    std::fs::write(&damaged, "no name").unwrap();
    let listed = place.json("snapshot db list");
    assert_eq!(
        (listed["snapshots"].as_array().unwrap().len(), listed["damaged"].as_array().unwrap().len()),
        (1, 1)
    );
    assert!(listed["damaged"][0].as_str().unwrap().contains("snapshots/refs/"), "{listed}");
    assert!(place.text("snapshot db list").contains("damaged"));
    place.json("snapshot db verify tuesday");
    assert_eq!(place.error("snapshot db verify monday --collection words")["kind"], "Corrupt");
    assert_eq!(place.error("snapshot db drop wednesday --collection words")["kind"], "NotFound");
    assert_eq!(place.json("snapshot db drop monday --collection words")["dropped"], true);
    assert_eq!(place.json("snapshot db list")["damaged"].as_array().unwrap().len(), 0);
}

#[test]
fn archives_and_dumps_travel() {
    let place = place();
    place.json("collections db alias now words");
    place.json("snapshot db create all");
    place.json("snapshot db create one --collection now");
    let made = place.json("snapshot db archive one one.tar");
    assert!(place.read("one.tar.sha256").starts_with(made["sha256"].as_str().unwrap()));
    assert!(!place.exists("one.tar.new"));
    assert_eq!(place.json("snapshot other recover one.tar --as copy")["collections"][0], "copy");
    assert_eq!(place.json("count other copy")["points"], 500);
    assert_eq!(place.json("snapshot other upload one.tar --rename two")["name"], "two");
    assert_eq!(place.json("snapshot other restore two --as third")["bytes_copied"], 0);
    let dumped = place.json("dump db all.tar");
    assert_ne!(dumped["sha256"], made["sha256"]);
    place.json("snapshot whole recover all.tar");
    assert_eq!(place.json("count whole now")["points"], 500);
    place.write("one.tar.sha256", "\n");
    let refused = place.error("snapshot other recover one.tar --as fourth");
    assert!(refused["message"].as_str().unwrap().contains("one.tar.sha256 is empty"), "{refused}");
    // A checksum beside it that is another's.
    place.write("one.tar.sha256", format!("{}  one.tar\n", "0".repeat(64)));
    let error = place.error("snapshot other recover one.tar --as fourth");
    assert!(error["message"].as_str().unwrap().contains("SHA-256"), "{error}");
    // The outside tar reads it.
    let listing =
        std::process::Command::new("tar").args(["-tf", "all.tar"]).current_dir(place.root()).output();
    if let Ok(listing) = listing {
        assert!(String::from_utf8_lossy(&listing.stdout).starts_with("MANIFEST\nobjects/"));
    }
}

#[test]
fn a_clone_goes_its_own_way() {
    let place = place();
    assert_eq!(place.json("clone db words copy")["bytes_copied"], 0);
    place.json("delete db copy k1");
    assert_eq!((count(&place, "words"), count(&place, "copy")), (500, 499));
    assert_eq!(place.error("clone db words copy")["kind"], "Exists");
    assert_eq!(place.json("snapshot db")["snapshots"], Json::Array(Vec::new()));
}
