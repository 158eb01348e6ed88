//! `nearfield demo`, the first thing anybody runs.

use std::io::{BufRead, BufReader};

use crate::support::Place;

#[test]
fn the_demo_imports_once_and_then_reopens() {
    let place = Place::new();
    let first = place.json("demo");
    assert_eq!(first["reopened"], false);
    assert_eq!(first["points"], 2_000);
    assert!(first["recall"].as_f64().unwrap() >= 0.98, "{first}");
    assert!(first["bytes_on_disk"].as_u64().unwrap() > 2_000 * 384 * 4);
    assert!(first["latency_us"]["p50"].as_f64().unwrap() <= first["latency_us"]["p99"].as_f64().unwrap());
    assert_eq!(first["shown"][0]["nearest"].as_array().unwrap().len(), 3);

    let second = place.json("demo");
    assert_eq!(second["reopened"], true);
    for field in ["points", "recall", "shown"] {
        assert_eq!(second[field], first[field], "{field}");
    }

    let text = place.text("demo");
    for part in [
        "Reopened",
        "./nearfield-demo",
        "Greek mythology",
        "Eurydice",
        "recall@10",
        "indexes",
        "latency p99",
        "on disk",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn a_demo_that_was_stopped_is_completed() {
    let place = Place::new();
    place.json("demo --data d");
    place.text("collections d delete wordnet");
    place.text("collections d create wordnet --dim 384");
    let again = place.json("demo --data d");
    assert_eq!(again["reopened"], false);
    assert!(again["recall"].as_f64().unwrap() >= 0.98, "{again}");
}

#[test]
fn a_collection_that_is_not_the_demos_is_left_alone() {
    let place = Place::new();
    place.text("collections d create wordnet --dim 3");
    let error = place.error("demo --data d");
    assert!(error["message"].as_str().unwrap().contains("not the demo's"), "{error}");
    assert!(error["advice"].as_str().unwrap().contains("--data"), "{error}");
}

#[test]
fn points_beside_the_demos_are_noticed() {
    let place = Place::new();
    place.write_points(1, 384);
    place.text("collections d create wordnet --dim 384");
    place.write("p.jsonl", "{\"id\": 1}\n");
    place.text("import d wordnet --vectors v.npy --payload p.jsonl --ids id");
    let error = place.error("demo --data d");
    assert!(error["message"].as_str().unwrap().contains("other points"), "{error}");
    assert!(error["advice"].as_str().unwrap().contains("collections ./d delete wordnet"), "{error}");
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let place = Place::new();
    let mut child = place.spawn("demo");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("./nearfield-demo"), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}
