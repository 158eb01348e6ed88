//! Bad input of every kind: a clear error that names place, value and limit; whole batches before it and nothing after.

use crate::support::{Place, floats, lines, npy, npy_with};

/// The error of importing `payload` beside three good vectors; no point may be there afterwards.
fn payload_error(payload: &[u8], ids: &str) -> String {
    let place = Place::new();
    place.write_points(3, 4);
    place.write("p.jsonl", payload);
    let error = place.error(&format!("import db c --vectors v.npy --payload p.jsonl --ids {ids}"));
    assert_eq!(error["kind"], "Invalid");
    assert_eq!(place.json("stats db c")["points"], 0);
    format!("{} | {}", error["message"], error["advice"])
}

/// The error of importing these vectors; not even a database may be there afterwards.
fn vectors_error(file: &[u8]) -> String {
    let place = Place::new();
    place.write("v.npy", file);
    let error = place.error("import db c --vectors v.npy");
    assert!(!place.exists("db"), "{error}");
    error["message"].as_str().expect("an error has a message").to_owned()
}

#[track_caller]
fn names(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn payloads() {
    let second = |line: &str| format!("{{\"a\": 1}}\n{line}\n{{\"a\": 1}}\n");
    let deep = second(&format!("{{\"a\": {}", "[".repeat(100_000)));
    names(
        &payload_error(deep.as_bytes(), "row"),
        &["p.jsonl, line 2, column 70", "field \\\"a\\\"", "64 levels"],
    );
    let twice = second(r#"{"a": 1, "b": 2, "a": 3}"#);
    names(&payload_error(twice.as_bytes(), "row"), &["line 2, column 20", "\\\"a\\\" stands twice"]);
    names(
        &payload_error(b"{\"a\": 1}\n{\"a\": \"\xff\"}\n", "row"),
        &["p.jsonl, line 2", "not UTF-8", "0xff"],
    );
    let long = second(&format!("{{\"a\": \"{}\"}}", "x".repeat(17 << 20)));
    names(&payload_error(long.as_bytes(), "row"), &["line 2 has more than 16777216 bytes"]);
    let id = second(&format!("{{\"a\": \"{}\"}}", "x".repeat(10 << 20)));
    names(
        &payload_error(id.as_bytes(), "a"),
        &["line 2", "id field \\\"a\\\"", "10485760 bytes", "4096 bytes"],
    );
    names(&payload_error(second(r#"{"a": NaN}"#).as_bytes(), "row"), &["line 2, column 7", "expected value"]);
    names(&payload_error(second("[1]").as_bytes(), "row"), &["line 2", "expected a JSON object"]);
    names(&payload_error(second("").as_bytes(), "row"), &["line 2", "EOF"]);
    names(&payload_error(b"{}\n{}\n", "row"), &["ends after line 2", "3 rows"]);
    names(&payload_error(second("{}").as_bytes(), "a"), &["line 2", "\\\"a\\\" is missing"]);
}

#[test]
fn a_string_of_ten_mebibytes_is_kept_whole() {
    let place = Place::new();
    place.write_points(1, 4);
    let text = "x".repeat(10 << 20);
    place.write("p.jsonl", format!("{{\"t\": \"{text}\"}}\n"));
    place.text("import db c --vectors v.npy --payload p.jsonl");
    assert_eq!(place.json("get db c 0")["points"][0]["payload"]["t"], text);
    let shown = place.text("search db c --vector [1,2,3,4]");
    assert!(shown.len() < 1_000, "{} bytes shown of a long text", shown.len());
}

#[test]
fn vectors() {
    let data = floats(&[1.0; 8]);
    names(&vectors_error(b""), &["v.npy", "ends inside its header"]);
    names(&vectors_error(b"id,vector\n1,2\n"), &["no .npy file"]);
    names(&vectors_error(&npy("<f8", "(1, 8)", &data)), &["'<f8'", "float32"]);
    names(&vectors_error(&npy(">f4", "(2, 4)", &data)), &["'>f4'"]);
    names(&vectors_error(&npy("<f4", "(3, 4)", &data)), &["(3, 4)", "needs 48 bytes", "32 are there"]);
    names(&vectors_error(&npy("<f4", "(2, 3)", &data)), &["needs 24 bytes"]);
    names(&vectors_error(&npy("<f4", "(2, 2, 2)", &data)), &["3 axes"]);
    names(&vectors_error(&npy("<f4", "(2, 0)", &[])), &["dimension is 0", "1 to 65536"]);
    names(&vectors_error(&npy("<f4", "(0, 65537)", &[])), &["dimension is 65537", "1 to 65536"]);
    names(&vectors_error(&npy("<f4", "(18446744073709551615, 65536)", &data)), &["needs"]);
    let fortran = npy_with("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 4)}", &data);
    names(&vectors_error(&fortran), &["fortran_order", "ascontiguousarray"]);
    let place = Place::new();
    names(
        place.error("import db c --vectors none.npy")["message"].as_str().unwrap(),
        &["none.npy", "No such file"],
    );
    names(place.error("import db c --vectors .")["message"].as_str().unwrap(), &["is a directory"]);
}

#[test]
fn numbers_that_are_none() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let place = Place::new();
        place.write("v.npy", npy("<f4", "(3, 2)", &floats(&[1.0, 2.0, 3.0, bad, 1.0, 1.0])));
        let error = place.error("import db c --vectors v.npy --batch 1");
        names(error["message"].as_str().unwrap(), &["v.npy, row 1, component 1 is", "finite"]);
        names(error["advice"].as_str().unwrap(), &["1 row was stored"]);
        assert_eq!(place.json("stats db c")["points"], 1);
    }
}

#[test]
fn searches() {
    let place = Place::new();
    place.write_points(3, 4);
    place.text("import db c --vectors v.npy");
    for (words, parts) in [
        ("--vector [1,2,3,4] --limit 0", &["limit is 0", "1 to 10000"][..]),
        ("--vector [1,2,3,4] --limit 18446744073709551615", &["limit is 18446744073709551615", "1 to 10000"]),
        ("--vector [1,2,3]", &["3", "4"]),
        ("--vector []", &["no components"]),
        ("--vector [1,2,3,NaN]", &["expected value"]),
        ("--vector [1,2,3,1e39]", &["component 3 is 1e39"]),
        ("--vector {}", &["array of numbers"]),
        ("--vector-file v.npy --row 3", &["--row is 3", "3 rows"]),
        ("--vector-file p.jsonl", &["no .npy file"]),
        ("--like 3", &["no point \"3\""]),
    ] {
        names(place.error(&format!("search db c {words}"))["message"].as_str().unwrap(), parts);
    }
    let deep = place.error(&format!("search db c --vector {}", "[".repeat(100_000)));
    names(deep["message"].as_str().unwrap(), &["column", "invalid type: sequence"]);
}

#[test]
fn names_and_dimensions() {
    let place = Place::new();
    place.write_points(3, 4);
    place.text("collections db create c --dim 5");
    for (words, parts) in [
        ("collections db create d --dim 0", &["dim is 0", "65536"][..]),
        ("collections db create d --dim 65537", &["dim is 65537", "65536"]),
        ("collections db create d --dim 18446744073709551615", &["dim is 18446744073709551615"]),
        ("collections db create ../d --dim 3", &["\"../d\"", "/"]),
        ("collections db create d --vector a:3 --vector a:4", &["\"a\" twice"]),
        ("collections db create d --vector a", &["NAME:DIM"]),
        ("collections db alias c c", &["collection", "c"]),
        ("import db c --vectors v.npy", &["v.npy", "4 dimensions", "has 5"]),
        ("import db d/d --vectors v.npy", &["\"d/d\""]),
        ("import db d --vectors v.npy --ids key", &["\"key\"", "no payload"]),
        ("import db d --vectors a=v.npy --vectors a=v.npy", &["\"a\" twice"]),
    ] {
        names(place.error(words)["message"].as_str().unwrap(), parts);
    }
    let wrong = place.error("import db c --vectors v.npy --metric dot");
    names(wrong["message"].as_str().unwrap(), &["dimensions"]);
    assert_eq!(place.json("collections db")["collections"].as_array().unwrap().len(), 1);
}

#[test]
fn files_that_do_not_belong_together() {
    let place = Place::new();
    place.write_points(3, 4);
    place.write("p.jsonl", lines(0..4));
    let error = place.error("import db c --vectors v.npy --payload p.jsonl");
    names(error["message"].as_str().unwrap(), &["goes on at line 4", "3 rows"]);
    place.write("w.npy", npy("<f4", "(1, 2)", &floats(&[1.0, 2.0])));
    let error = place.error("import db d --vectors a=v.npy --vectors b=w.npy");
    names(error["message"].as_str().unwrap(), &["v.npy has 3 rows, w.npy has 1"]);
}
