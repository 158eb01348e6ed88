//! Each command on a small collection, as text and as JSON.

use std::io::Write;
use std::process::Stdio;

use nearfield::{Database, Options};
use serde_json::json;

use crate::support::{Place, error_of, floats, npy, vector};

/// 300 points of 8 dimensions in the collection `c` of `db`, ids from the field `key`.
fn filled() -> Place {
    let place = Place::new();
    place.write_points(300, 8);
    let report = place.json("import db c --vectors v.npy --payload p.jsonl --ids key --batch 128");
    assert_eq!(report["created"], true);
    assert_eq!(
        (&report["rows"], &report["imported"], &report["points"]),
        (&300.into(), &300.into(), &300.into())
    );
    place
}

#[test]
fn search_by_vector_by_file_and_by_example() {
    let place = filled();
    let by_file = place.json("search db c --vector-file v.npy --row 7 --limit 3 --with-payload");
    let hits = by_file["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3);
    assert_eq!(hits[0]["id"], "k7");
    assert_eq!(hits[0]["payload"], json!({"key": "k7", "text": "row number 7", "n": 7}));
    assert!((hits[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-6);

    let typed = serde_json::to_string(&vector(7, 8)).unwrap();
    let by_vector = place.json(&format!("search db c --limit 3 --vector {}", typed.replace(' ', "")));
    let ids = |hits: &serde_json::Value| {
        hits.as_array().unwrap().iter().map(|hit| hit["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&by_vector["hits"]), ids(&by_file["hits"]));
    assert!(by_vector["hits"][0].get("payload").is_none());

    let like = place.json("search db c --like k7 --limit 2");
    assert_eq!(ids(&like["hits"]), ids(&by_file["hits"])[1..]);

    let mut child = place.command("search db c --limit 3 --json --vector -");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let by_input: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(by_input["hits"], by_vector["hits"]);

    let text = place.text("search db c --like k7 --limit 2");
    assert!(text.contains("row number") && text.contains("score"), "{text}");
}

#[test]
fn get_shows_what_was_put_in_and_names_what_is_missing() {
    let place = filled();
    let found = place.json("get db c k3 k299 --with-vectors");
    assert_eq!(found["points"][0]["id"], "k3");
    assert_eq!(found["points"][1]["payload"]["n"], 299);
    let stored: Vec<f32> = serde_json::from_value(found["points"][0]["vectors"][""].clone()).unwrap();
    assert_eq!(stored, vector(3, 8));

    let output = place.run("get db c k3 nobody --json");
    assert_eq!(output.status.code(), Some(1));
    let partly: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((partly["points"].as_array().unwrap().len(), &partly["missing"]), (1, &json!(["nobody"])));
    let error = place.error("get db c nobody");
    assert_eq!(error["kind"], "NotFound");
    assert!(error["message"].as_str().unwrap().contains("\"nobody\""), "{error}");
    assert!(place.text("get db c k3 --with-vectors").contains("row number 3"));
}

#[test]
fn ids_are_row_numbers_unless_said_otherwise() {
    let place = Place::new();
    place.write_points(5, 2);
    place.json("import db c --vectors v.npy");
    let found = place.json("get db c 4");
    assert_eq!((&found["points"][0]["id"], &found["points"][0]["payload"]), (&json!(4), &json!({})));
}

#[test]
fn collections_and_aliases_come_and_go() {
    let place = filled();
    place.text("collections db create named --metric dot --vector title:3 --vector body:4:euclid");
    place.text("collections db alias words c");
    let list = place.json("collections db");
    assert_eq!(
        list["collections"],
        json!([
            {"name": "c", "points": 300, "vectors": [{"name": "", "dim": 8, "metric": "cosine"}], "aliases": ["words"]},
            {"name": "named", "points": 0, "aliases": [], "vectors": [
                {"name": "title", "dim": 3, "metric": "dot"},
                {"name": "body", "dim": 4, "metric": "euclid"},
            ]},
        ])
    );
    assert_eq!(place.json("search db words --like k1 --limit 1")["collection"], "c");
    let error = place.error("collections db delete words");
    assert!(error["message"].as_str().unwrap().contains("alias of \"c\""), "{error}");
    assert_eq!(place.error("collections db create c --dim 3")["kind"], "Exists");
    assert_eq!(place.error("collections db alias x nothing")["kind"], "NotFound");
    place.text("collections db unalias words");
    assert_eq!(place.error("collections db unalias words")["kind"], "NotFound");
    assert_eq!(place.json("collections db delete c")["points"], 300);
    let left = place.json("collections db");
    assert_eq!(left["collections"].as_array().unwrap().len(), 1);
    assert!(place.text("collections db").contains("title 3 dot, body 4 euclid"));
}

#[test]
fn several_vectors_a_point() {
    let place = Place::new();
    place.write("t.npy", npy("<f4", "(2, 2)", &floats(&[1.0, 0.0, 0.0, 1.0])));
    place.write("b.npy", npy("<f4", "(2, 3)", &floats(&[0.0, 1.0, 0.0, 1.0, 0.0, 0.0])));
    place.json("import db c --vectors title=t.npy --vectors body=b.npy --metric euclid");
    let hits = place.json("search db c --using body --vector [0.9,0,0]")["hits"].clone();
    assert_eq!(hits[0]["id"], 1);
    assert!((hits[0]["score"].as_f64().unwrap() - 0.1).abs() < 1e-6, "{hits}");
    let error = place.error("search db c --vector [1,0]");
    assert!(error["message"].as_str().unwrap().contains("--using"), "{error}");
    assert_eq!(error["advice"], r#"vectors here: "title", "body""#);
    assert_eq!(place.error("search db c --using tail --vector [1,0]")["kind"], "NotFound");
}

#[test]
fn a_collection_may_belong_to_tenants() {
    let place = Place::new();
    assert!(
        place
            .text("collections db create c --dim 2 --partition-by owner:integer")
            .contains("2 cosine, by owner")
    );
    let index = place.json("index db c")["indexes"][0].clone();
    assert_eq!((&index["field"], &index["kind"]), (&json!("owner"), &json!("integer")));
    assert_eq!(place.json("stats db c")["partition_graphs"], 0);
    assert_eq!(place.error("index db c drop owner")["kind"], "Invalid");
    let error = place.error("collections db create d --dim 2 --partition-by owner:colour");
    assert_eq!(error["advice"], "kinds are keyword and integer");
    assert_eq!(place.error("collections db create d --dim 2 --partition-by a[]")["kind"], "Invalid");
}

#[test]
fn a_search_explains_itself() {
    let place = filled();
    let asked = format!("search db c --like k7 --explain {BELOW_100}");
    let shown = place.text(&asked);
    assert!(shown.contains("no index answers for n:") && shown.contains("expected to pass"), "{shown}");
    let unindexed = place.json(&asked)["explanation"].clone();
    assert_eq!(
        (&unindexed["unindexed"], &unindexed["segments"][0]["in_doubt"]),
        (&json!(["n"]), &json!(300))
    );
    place.json("index db c create n integer");
    let indexed = place.json(&asked)["explanation"].clone();
    let segment = &indexed["segments"][0];
    assert_eq!(indexed["unindexed"], json!([]));
    assert_eq!(segment["estimate"], json!({"low": 100, "likely": 100, "high": 100}));
    assert_eq!((&segment["passing"], &segment["plan"]), (&json!(100), &json!("scan")));
}

#[test]
fn an_import_is_indexed_and_searched_as_hard_as_asked() {
    let place = Place::new();
    place.write_points(1_500, 8);
    let report = place.json("import db c --vectors v.npy --payload p.jsonl --ids key");
    assert!(report["seconds_indexed"].as_f64().unwrap() > 0.0);
    let stats = place.json("stats db c");
    assert_eq!((&stats["unindexed_segments"], &stats["unlinked_rows"]), (&json!(0), &json!(0)));
    assert!(stats["disk"]["index"].as_u64().unwrap() > 0);
    assert!(place.text("stats db c").contains("on disk: indexes"));
    let exact = place.json("search db c --like k7 --exact")["hits"].clone();
    for how in ["--ef 500", "--recall 0.999"] {
        assert_eq!(place.json(&format!("search db c --like k7 {how}"))["hits"], exact, "{how}");
    }
    assert_eq!(place.error("search db c --like k7 --ef 0")["message"], "ef is 0: it must be 1 to 1048576");
    let error = place.error("search db c --like k7 --recall 1");
    assert_eq!(error["message"], "recall is 1: it must be 0.5 to 0.999");
}

#[test]
fn stats_of_one_and_of_all() {
    let place = filled();
    let one = place.json("stats db c");
    assert_eq!((&one["points"], &one["deleted"]), (&json!(300), &json!(0)));
    assert!(one["disk"]["total"].as_u64().unwrap() >= 300 * 8 * 4);
    assert!(one["synced_seq"].as_u64().unwrap() > 0);
    let all = place.json("stats db");
    assert_eq!(all["collections"][0]["points"], 300);
    assert!(place.text("stats db c").contains("sealed segments"));
    assert!(place.text("stats db").contains("unsealed"));
}

#[test]
fn one_process_writes_at_a_time_and_the_other_is_named() {
    let place = filled();
    let held = Database::open(place.path("db"), Options::default()).unwrap();
    for words in [
        "delete db c k1",
        "import db c --vectors v.npy",
        "collections db create d --dim 3",
        "tasks db wait 1",
    ] {
        let error = place.error(words);
        assert_eq!(error["kind"], "Busy", "{words}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&std::process::id().to_string()), "{words}: {message}");
    }
    held.close().unwrap();
    assert_eq!(place.json("stats db c")["points"], 300);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let place = filled();
    let error = place.error("search db words --like k1");
    assert_eq!((&error["kind"], &error["advice"]), (&json!("NotFound"), &json!(r#"collections here: "c""#)));
    for words in ["stats nothing", "get nothing c 1", "collections nothing", "stats ."] {
        let error = place.error(words);
        assert_eq!(error["kind"], "NotFound", "{words}");
        assert!(error["message"].as_str().unwrap().contains("there is no database at"), "{words}: {error}");
    }
    assert!(!place.exists("nothing") && !place.exists("LOCK"), "looking made nothing");
    assert!(place.error("search db c --like nobody")["message"].as_str().unwrap().contains("\"nobody\""));
}

const BELOW_100: &str = r#"--filter {"must":{"key":"n","range":{"lt":100}}}"#;

#[test]
fn points_are_counted_and_deleted_by_filter() {
    let place = filled();
    assert_eq!(place.json("count db c"), json!({"collection": "c", "points": 300}));
    assert_eq!(place.json(&format!("count db c {BELOW_100}"))["points"], 100);
    let estimate = place.json(&format!("count db c {BELOW_100} --estimate"))["estimate"].clone();
    assert_eq!((&estimate["low"], &estimate["high"]), (&json!(0), &json!(300)));
    place.json("index db c create n integer");
    let estimate = place.json(&format!("count db c {BELOW_100} --estimate"))["estimate"].clone();
    assert_eq!(estimate, json!({"low": 100, "likely": 100, "high": 100}));
    assert!(
        place
            .text(&format!("count db c {BELOW_100} --estimate"))
            .contains("about 100 points, from 100 to 100")
    );

    let deleted = place.json(&format!("delete db c {BELOW_100}"));
    assert_eq!(deleted, json!({"collection": "c", "deleted": 100, "points": 200}));
    assert_eq!(place.json("delete db c k200 k201")["points"], 198);
    let error = place.error("delete db c k202 k200");
    assert!(error["message"].as_str().unwrap().contains("\"k200\" in c: nothing was deleted"), "{error}");
    assert!(place.text("count db c").contains("198 points"));
    assert_eq!(place.json("delete db c --filter {}")["points"], 0);
    assert_eq!(place.error("count db c --filter [1]")["kind"], "Invalid");
}

#[test]
fn values_are_counted() {
    let place = Place::new();
    place.write_points(6, 2);
    let line = |at: usize| {
        format!("{{\"pos\": [\"{}\", \"x\\u001b\"], \"n\": {}}}\n", ["noun", "verb"][at % 2], at % 3)
    };
    place.write("p.jsonl", (0..6).map(line).collect::<String>());
    place.json("import db c --vectors v.npy --payload p.jsonl");
    for _ in 0..2 {
        let hits = place.json("facet db c pos")["hits"].clone();
        let expected = [("x\u{1b}", 6), ("noun", 3), ("verb", 3)];
        let expected = expected.map(|(value, count)| json!({"value": value, "count": count}));
        assert_eq!(hits, expected.into_iter().collect::<serde_json::Value>());
        let hits =
            place.json(r#"facet db c n --limit 1 --filter {"must":{"key":"n","match":{"any":[1,2]}}}"#);
        assert_eq!(hits["hits"], json!([{"value": 1, "count": 2}]));
        place.json("index db c create pos keyword");
        place.json("index db c create n integer");
    }
    let text = place.text("facet db c pos --approximate");
    assert!(text.contains("noun") && !text.contains('\u{1b}'), "{text}");
    assert!(place.text("facet db c nothing").contains("No point has"));
    assert!(place.error("facet db c a..b")["message"].as_str().unwrap().contains("byte 2"));
    assert_eq!(
        place.error("facet db c pos --limit 10001")["message"],
        "limit is 10001: it must be 1 to 10000"
    );
}

#[test]
fn indexes_of_fields_come_and_go() {
    let place = filled();
    assert!(place.text("index db c").contains("no indexes of payload fields yet"));
    let made = place.json("index db c create n integer --no-lookup");
    assert_eq!(
        (&made["created"], &made["kind"], &made["points"]),
        (&json!(true), &json!("integer"), &json!(300))
    );
    assert_eq!(place.json("index db c create n integer --no-lookup")["created"], false);
    assert_eq!(place.error("index db c create n keyword")["kind"], "Exists");
    place.text("index db c create text text --stopwords english --phrases");
    let list = place.json("index db c list")["indexes"].clone();
    assert_eq!(
        (&list[0]["field"], &list[0]["options"], &list[0]["ready"]),
        (&json!("n"), &json!(["no-lookup"]), &json!(true))
    );
    assert_eq!(list[1]["options"], json!(["phrases", "stopwords english"]));
    assert!(place.text("index db c").contains("no-lookup"));
    assert_eq!(place.json("stats db c")["field_indexes"], 2);
    assert_eq!(place.json("index db c drop n")["dropped"], true);
    let error = place.error("index db c drop n");
    assert_eq!((&error["kind"], &error["advice"]), (&json!("NotFound"), &json!("indexes here: text")));
    let error = place.error("index db c create n keyword --stemmer german");
    assert_eq!(error["message"], "--stemmer is no option of a keyword index");
}

#[test]
fn usage_errors_have_status_two_and_help_has_zero() {
    let place = Place::new();
    for words in [
        "",
        "frobnicate",
        "search db c",
        "search db c --like 1 --vector [1]",
        "import db c",
        "import db c --vectors v.npy --batch 0",
        "count db c --estimate",
        "delete db c",
        "delete db c k1 --filter {}",
        "index db c create n number",
    ] {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words}");
    }
    for words in
        ["--help", "--version", "import --help", "collections --help", "index --help", "delete --help"]
    {
        assert!(!place.text(words).is_empty());
    }
    assert_eq!(place.root().read_dir().unwrap().count(), 0);
}

#[test]
fn people_get_one_line_of_error_and_one_of_advice() {
    let place = Place::new();
    let output = place.run("stats nothing");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("error: there is no database") && lines[1].starts_with(" hint: "), "{text}");
    assert_eq!(lines.len(), 2);
    assert_eq!(error_of(&place.run("stats nothing --json"), "stats")["message"], lines[0]["error: ".len()..]);
}
