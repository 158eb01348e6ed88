//! Imports that are repeated, stopped, killed and continued.
#![expect(clippy::disallowed_methods, reason = "a process is killed after some time")]

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Place, lines};

const ROWS: usize = 5_000;
const IMPORT: &str = "import db c --vectors v.npy --payload p.jsonl --ids key --batch 500";
const CHECKPOINT: &str = "db/import-c.checkpoint";

fn points(place: &Place) -> u64 {
    place.json("stats db c")["points"].as_u64().expect("stats has points")
}

#[test]
fn importing_again_doubles_nothing() {
    let place = Place::new();
    place.write_points(700, 4);
    for durability in ["process", "sync"] {
        let report = place.json(&format!("{IMPORT} --durability {durability}"));
        assert_eq!((&report["points"], &report["durability"]), (&json!(700), &json!(durability)));
    }
    assert_eq!(points(&place), 700);
    assert!(!place.exists(CHECKPOINT), "a finished import leaves no checkpoint");
}

#[test]
fn repeated_ids_are_said() {
    let place = Place::new();
    place.write_points(4, 4);
    place.write("p.jsonl", lines([0, 1, 0, 0].into_iter()));
    let text = place.text(IMPORT);
    assert!(text.contains("2 rows repeat the id"), "{text}");
    assert_eq!(points(&place), 2);
}

#[test]
fn an_import_stopped_by_a_bad_line_goes_on_behind_what_is_stored() {
    let place = Place::new();
    place.write_points(ROWS, 4);
    let good = place.read("p.jsonl");
    let bad = good.replace("\"key\": \"k3210\"", "\"key\": \"k3210}");
    place.write("p.jsonl", &bad);
    let error = place.error(IMPORT);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("p.jsonl, line 3211, column"), "{message}");
    assert!(error["advice"].as_str().unwrap().starts_with("3,000 rows were stored"), "{error}");
    assert_eq!(points(&place), 3_000);
    assert!(place.read(CHECKPOINT).contains("\"next_row\": 3000"));

    let other = place.error(&format!("{IMPORT} --resume").replace("--ids key", "--ids n"));
    assert!(other["message"].as_str().unwrap().contains("ids was \"key\" then"), "{other}");
    place.forge("p.jsonl", format!("{good}\n"));
    let changed = place.error(&format!("{IMPORT} --resume"));
    assert!(changed["message"].as_str().unwrap().contains("is not the file it was"), "{changed}");
    // The line is repaired without changing the length, and the time is set back.
    place.forge("p.jsonl", &good);
    let report = place.json(&format!("{IMPORT} --resume"));
    assert_eq!(
        (&report["first_row"], &report["imported"], &report["points"]),
        (&json!(3_000), &json!(2_000), &json!(5_000))
    );
    assert!(!place.exists(CHECKPOINT));
    assert_eq!(place.json("get db c k3210")["points"][0]["payload"]["n"], 3_210);
}

#[test]
fn a_killed_import_goes_on_and_ends_complete() {
    let place = Place::new();
    let rows = 60_000;
    place.write_points(rows, 4);
    // 6,000 synced batches take longer than the first checkpoint, on a real disk.
    let mut child =
        place.spawn(&format!("{} --durability sync", IMPORT.replace("--batch 500", "--batch 10")));
    let began = Instant::now();
    while !place.exists(CHECKPOINT)
        && child.try_wait().unwrap().is_none()
        && began.elapsed() < Duration::from_secs(20)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    let killed = !child.wait().unwrap().success();
    let before = points(&place);
    let report = place.json(&format!("{IMPORT} --resume"));
    let first = report["first_row"].as_u64().unwrap();
    assert!(first <= before, "{first} rows were called durable, {before} are there");
    // Where syncing costs nothing, the import may have been faster than its first checkpoint.
    assert!(!killed || (0 < first && before < rows as u64), "{first} of {before}");
    assert_eq!(report["points"], rows as u64);
    assert_eq!(place.json("get db c k0 k59999")["missing"], json!([]));
}

#[test]
fn resuming_is_refused_where_it_would_lose_points() {
    let place = Place::new();
    place.write_points(ROWS, 4);
    place.write("p.jsonl", place.read("p.jsonl").replace("\"k4000\"", "4.5"));
    place.error(IMPORT);
    place.text("collections db delete c");
    place.text("collections db create c --dim 4");
    let error = place.error(&format!("{IMPORT} --resume"));
    assert!(
        error["message"].as_str().unwrap().contains("the point of row 3999 is not in the collection"),
        "{error}"
    );
    place.write(CHECKPOINT, "{");
    let error = place.error(&format!("{IMPORT} --resume"));
    assert!(error["message"].as_str().unwrap().contains("damaged"), "{error}");
}

#[test]
fn a_checkpoint_may_lie_elsewhere_and_none_means_the_first_row() {
    let place = Place::new();
    place.write_points(600, 4);
    let report = place.json(&format!("{IMPORT} --resume --checkpoint state"));
    assert_eq!(report["first_row"], 0);
    place.write("p.jsonl", place.read("p.jsonl").replace("\"k550\"", "4.5"));
    place.error(&format!("{IMPORT} --checkpoint state"));
    assert!(place.exists("state") && !place.exists(CHECKPOINT));
}
