//! Tasks, states and work on whole collections; and commands that read beside one that writes.

use nearfield::{Database, Options};
use serde_json::json;

use crate::support::Place;

fn filled() -> Place {
    let place = Place::new();
    place.write_points(300, 8);
    place.json("import db c --vectors v.npy --payload p.jsonl --ids key");
    place
}

#[test]
fn flush_optimize_and_rebuild_are_tasks() {
    let place = filled();
    assert_eq!(place.json("tasks db")["total"], 0);
    let flushed = place.json("flush db c");
    assert_eq!(flushed["collections"][0]["task"]["state"], "completed");
    assert_eq!(place.json("stats db c")["growing_rows"], 0);
    place.text("delete db c k1 k2");
    let optimized = place.json("compact db");
    assert_eq!(optimized["collections"][0]["points"], 298);
    assert_eq!(place.json("stats db c")["deleted"], 0);
    assert!(place.text("rebuild db c").contains("Rebuilt the indexes of c"));
    let listed = place.json("tasks db list --collection c");
    let kinds: Vec<_> = listed["tasks"].as_array().unwrap().iter().map(|task| task["kind"].clone()).collect();
    assert_eq!(kinds, [json!("rebuild"), json!("optimize"), json!("flush")]);
    assert_eq!(place.json("tasks db list --kind flush --state completed")["total"], 1);
    assert_eq!(place.json("tasks db list --unfinished")["total"], 0);
    assert_eq!(place.json("tasks db show 1")["kind"], "flush");
    assert_eq!(place.json("tasks db wait 1")["state"], "completed");
    assert_eq!(place.json("tasks db cancel 1")["state"], "completed");
    assert!(place.text("tasks db").contains("rebuild"));
    assert!(place.text("tasks db show 2").contains("optimize"));
    assert_eq!(place.error("tasks db show 9")["kind"], "NotFound");
    assert_eq!(place.error("tasks db wait 9")["kind"], "NotFound");
    assert_eq!(place.error("optimize db nothing")["kind"], "NotFound");
    assert_eq!(place.run("tasks db list --kind nonsense").status.code(), Some(2));
}

#[test]
fn states_of_collections() {
    let place = filled();
    place.text("collections db create other --dim 3");
    let state = |name: &str| {
        let all = place.json("collections db status");
        let one = all["collections"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
        one.unwrap()["state"].clone()
    };
    assert_eq!((state("c"), state("other")), (json!("ready"), json!("ready")));
    assert_eq!(place.json("collections db close c")["state"], "closed");
    assert_eq!((state("c"), state("other")), (json!("closed"), json!("ready")));
    let refused = place.error("count db c");
    assert_eq!(refused["kind"], "Closed");
    assert!(refused["advice"].as_str().unwrap().contains("open"), "{refused}");
    assert!(place.text("collections db").contains("is closed"));
    assert!(place.text("stats db").contains("is closed"));
    assert_eq!(place.json("collections db open c")["points"], 300);
    assert_eq!(place.json("count db c")["points"], 300);
    assert_eq!(place.error("collections db close nothing")["kind"], "NotFound");
}

#[test]
fn commands_that_read_run_beside_a_writer() {
    let place = filled();
    let db = Database::open(place.path("db"), Options::default()).unwrap();
    let c = db.collection("c").unwrap();
    c.delete(&["k0".into()]).unwrap();
    let running: Vec<_> = (0..6).map(|_| place.spawn("search db c --like k7 --limit 2 --json")).collect();
    assert_eq!(place.json("count db c")["points"], 299);
    assert_eq!(place.json("get db c k5")["points"][0]["id"], "k5");
    assert_eq!(place.json("facet db c text --limit 3")["hits"].as_array().unwrap().len(), 3);
    assert_eq!(place.json("stats db c")["points"], 299);
    assert_eq!(place.json("stats db")["collections"][0]["points"], 299);
    assert_eq!(place.json("collections db")["collections"][0]["points"], 299);
    assert_eq!(place.json("index db c list")["indexes"], json!([]));
    assert_eq!(place.json("tasks db")["total"], 0);
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Writing is still one process's.
    assert_eq!(place.error("flush db c")["kind"], "Busy");
    c.delete(&["k1".into()]).unwrap();
    assert_eq!(place.json("count db c")["points"], 298);
}
