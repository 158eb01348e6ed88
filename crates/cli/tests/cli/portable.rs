//! Exports, and imports of them.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make files of their own and wait for processes")]

use std::fs;

use serde_json::Value as Json;

use crate::support::{Place, floats};

/// A database with a collection of two named vectors, one of which some points lack, an index and a partition.
fn place() -> Place {
    let place = Place::new();
    place.text(
        "collections db create words --vector title:3:cosine --vector body:2:euclid --partition-by who",
    );
    place.text("index db words create n integer --no-lookup");
    let line = |id: String, rest: &str| format!("{{\"id\":{id},{rest}}}\n");
    let mut text = String::from(
        r#"{"nearfield_export":1,"points":4,"vectors":[{"name":"title","dim":3,"metric":"cosine"},{"name":"body","dim":2,"metric":"euclid"}],"partition":{"path":"who","kind":"keyword"}}"#,
    );
    text.push('\n');
    text += &line(
        "7".into(),
        r#""vectors":{"title":[0.1,-0.0,3.4028235e38],"body":[1e-45,2]},"payload":{"n":1,"f":0.30000000000000004,"who":"a","deep":[{"x":null}]}"#,
    );
    text += &line("\"7\"".into(), r#""vectors":{"title":[1,2,3]},"payload":{"n":-5,"who":"b"}"#);
    text += &line(
        r#"{"uuid":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#.into(),
        r#""vectors":{"title":[1,2,4],"body":[16777217,5]}"#,
    );
    text += &line(
        "18446744073709551615".into(),
        r#""vectors":{"body":[9,9]},"payload":{"s":"\u0000ä\ud83d\ude00"}"#,
    );
    text += "{\"end\":{\"points\":4,\"crc64\":\"?\"}}\n";
    place.write("seed.jsonl", text.replace('?', &crc_of(&text)));
    place.text("import db words --from seed.jsonl");
    place
}

/// The checksum of all lines but the last.
fn crc_of(text: &str) -> String {
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    format!("{:016x}", nearfield_codec::crc64(&text.as_bytes()[..end]))
}

#[test]
fn exports_come_back_to_the_last_bit() {
    let place = place();
    place.json("export db words one.jsonl");
    let one = place.read("one.jsonl");
    assert!(one.contains("[0.1,-0.0,3.4028235e38]"), "{one}");
    for (format, out) in [("jsonl", "again.jsonl"), ("npy", "folder")] {
        place.json(&format!("export db words {out} --format {format}"));
        place.json(&format!("import {format} words --from {out}"));
        place.json(&format!("export {format} words {format}.jsonl"));
        // All but the operation's number in the first line.
        let lines = |text: &str| -> (Json, Vec<String>) {
            let mut lines = text.lines();
            let mut head: Json = serde_json::from_str(lines.next().unwrap()).unwrap();
            head["seq"] = Json::Null;
            let mut rest: Vec<String> = lines.map(str::to_owned).collect();
            rest.pop();
            (head, rest)
        };
        assert_eq!(lines(&place.read(&format!("{format}.jsonl"))), lines(&one), "{format}");
    }
    assert!(
        place.error("export db words folder --format npy")["message"]
            .as_str()
            .unwrap()
            .contains("there already")
    );
    assert!(
        place.error("export db words x.json --format json")["message"]
            .as_str()
            .unwrap()
            .contains("several vectors")
    );
    let filtered =
        "export db words some.jsonl --filter {\"must\":{\"key\":\"who\",\"match\":{\"value\":\"a\"}}}";
    assert_eq!(place.json(filtered)["points"], 1);
}

#[test]
fn the_embedded_form_is_read_and_written() {
    let place = Place::new();
    let text = r#"{"version": 1, "dim": 2, "metric": "euclidean", "vectors": [
        {"id": "a", "vector": [0.1, 2], "metadata": {"k": [1, {"x": "]}"}]}},
        {"id": "7", "vector": [3, 4]}]}"#;
    place.write("in.json", text);
    assert_eq!(place.json("import db words --from in.json")["points"], 2);
    for pretty in ["", " --pretty"] {
        place.json(&format!("export db words out.json --format json{pretty}"));
        let out: Json = serde_json::from_str(&place.read("out.json")).unwrap();
        assert_eq!((&out["metric"], &out["dim"]), (&Json::from("euclidean"), &Json::from(2)));
        assert_eq!(out["vectors"][0]["id"], "7");
        assert!(out["vectors"][0].get("metadata").is_none());
        assert_eq!(out["vectors"][1]["metadata"]["k"][1]["x"], "]}");
        place.json("import db2 words --from out.json");
    }
    assert!(place.error("import db words --from missing.json")["kind"] == "NotFound");
}

#[test]
fn damaged_exports_are_refused() {
    let place = place();
    place.json("export db words one.jsonl");
    let good = place.read("one.jsonl");
    let cut = good.lines().take(3).collect::<Vec<_>>().join("\n");
    for (name, text, part) in [
        ("cut.jsonl", cut + "\n", "cut off"),
        ("changed.jsonl", good.replacen("\"n\":1", "\"n\":2", 1), "checksum"),
        (
            "version.jsonl",
            good.replacen("\"nearfield_export\":1", "\"nearfield_export\":2", 1),
            "this program reads 1",
        ),
        ("text.jsonl", "hello\n".to_owned(), "no list of vectors"),
    ] {
        place.write(name, text);
        let error = place.error(&format!("import new words --from {name}"));
        let text = format!("{} {}", error["message"], error["advice"]);
        assert!(text.contains(part), "{name}: {text}");
    }
    assert_eq!(place.run("import db words --from one.jsonl --metric dot").status.code(), Some(2));
}

#[test]
fn an_archive_moves_points_out() {
    let place = Place::new();
    place.write_points(500, 4);
    place.text("import db words --vectors v.npy --payload p.jsonl --ids key");
    let words = "archive db words old.jsonl --filter {\"must\":{\"key\":\"n\",\"range\":{\"lt\":100}}}";
    assert_eq!(place.json(&format!("{words} --keep"))["deleted"], 0);
    // Its points may be nowhere else.
    let before = place.read("old.jsonl");
    for again in [words.to_owned(), format!("{words} --keep")] {
        assert!(place.error(&again)["message"].as_str().unwrap().contains("is there already"));
    }
    assert_eq!(
        (place.read("old.jsonl"), place.json("count db words")["points"].as_u64()),
        (before, Some(500))
    );
    let done = place.json(&words.replace("old.jsonl", "out.jsonl"));
    assert_eq!((done["points"].as_u64(), done["deleted"].as_u64()), (Some(100), Some(100)));
    assert_eq!(place.json("count db words")["points"], 400);
    place.json("import db words --from old.jsonl");
    assert_eq!(place.json("count db words")["points"], 500);
}

#[test]
fn vectors_in_other_files() {
    let place = Place::new();
    let row = |values: &[f32]| [&(values.len() as i32).to_le_bytes()[..], &floats(values)].concat();
    place.write("v.fvecs", [row(&[1.0, 2.0]), row(&[3.0, 4.0])].concat());
    assert_eq!(place.json("import db f --vectors v.fvecs --metric euclid")["points"], 2);
    place.write("v.bvecs", [2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 3, 255]);
    place.json("import db b --vectors v.bvecs --metric euclid");
    let got = place.json("get db b 1 --with-vectors");
    assert_eq!(got["points"][0]["vectors"][""], Json::from(vec![3.0, 255.0]));
}

#[test]
fn an_import_killed_half_way_goes_on_and_ends_equal() {
    let place = Place::new();
    place.write_points(6_000, 16);
    place.text("import db words --vectors v.npy --payload p.jsonl --ids key");
    for (format, out) in [("jsonl", "out.jsonl"), ("npy", "folder"), ("json", "out.json")] {
        place.json(&format!("export db words {out} --format {format}"));
        let words = format!("import {format} words --from {out} --batch 20 --durability sync --resume");
        let checkpoint = format!("{format}/import-words.checkpoint");
        let mut kills = 0;
        for _ in 0..3 {
            let mut child = place.spawn(&words);
            for _ in 0..2_000 {
                std::thread::sleep(std::time::Duration::from_millis(2));
                if child.try_wait().unwrap().is_some() || place.exists(&checkpoint) {
                    break;
                }
            }
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                kills += 1;
            }
            child.wait().unwrap();
        }
        let done = place.json(&words);
        assert!(kills == 0 || done["points"] == 6_000, "{done}");
        place.json(&format!("export {format} words back-{format}.jsonl"));
        let own: Vec<String> = place.read("out.jsonl").lines().skip(1).map(str::to_owned).collect();
        let back: Vec<String> =
            place.read(&format!("back-{format}.jsonl")).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(back.len(), own.len());
        assert!(back[..6_000] == own[..6_000], "{format}");
        assert!(!place.exists(&checkpoint));
        fs::remove_dir_all(place.path(format)).unwrap();
    }
}
