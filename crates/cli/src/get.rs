//! `nearfield get`: points by their ids.
//!
//! **It refuses** to pretend: an id that is missing is named, and the exit status says so too.

use nearfield::{Record, With};
use serde_json::{Value as Json, json};

use crate::args::Get;
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::json::{from_f32, from_id, from_object};
use crate::output::{Screen, clean};

/// Components of a vector shown to people.
const COMPONENTS_SHOWN: usize = 8;
/// Missing ids named in the error.
const MISSING_SHOWN: usize = 5;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Get) -> Outcome<()> {
    let collection = database::read(&command.target, &command.collection)?;
    let with = With { payload: true, vectors: command.with_vectors };
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for text in &command.ids {
        let records = collection.get(&database::readings(text), with)?;
        let before = found.len();
        found.extend(records.into_iter().flatten());
        if found.len() == before {
            missing.push(text.as_str());
        }
    }
    for record in &found {
        show(screen, record)?;
    }
    if missing.is_empty() || !found.is_empty() {
        screen.answer(
            &json!({"points": found.iter().map(record_json).collect::<Json>(), "missing": missing}),
        )?;
    }
    if missing.is_empty() { Ok(()) } else { Err(not_found(&missing, &command.collection)) }
}

fn not_found(missing: &[&str], collection: &str) -> Failure {
    let mut names: Vec<String> = missing.iter().take(MISSING_SHOWN).map(|id| format!("{id:?}")).collect();
    if missing.len() > MISSING_SHOWN {
        names.push(format!("and {} more", missing.len() - MISSING_SHOWN));
    }
    let what = if missing.len() == 1 { "there is no point" } else { "there are no points" };
    Failure::not_found(format!("{what} {} in {collection}", names.join(", ")))
}

fn show(screen: &Screen, record: &Record) -> Outcome<()> {
    screen.say(&screen.bold(&clean(&record.id.to_string())))?;
    let payload = record.payload.as_ref();
    let width = payload
        .map_or(0, |payload| payload.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0))
        .min(24);
    for (key, value) in payload.iter().flat_map(|payload| payload.iter()) {
        let text = match value {
            nearfield::Value::String(text) => clean(text),
            value => clean(&crate::json::from_value(value).to_string()),
        };
        screen.say(&format!("  {} {text}", screen.dim(&format!("{:<width$}", clean(key)))))?;
    }
    for (name, vector) in record.vectors.iter().flatten() {
        let shown: Vec<String> = vector.iter().take(COMPONENTS_SHOWN).map(f32::to_string).collect();
        let rest = if vector.len() > COMPONENTS_SHOWN { ", …" } else { "" };
        let name = if name.is_empty() { "vector" } else { name };
        let text = format!("[{}{rest}] {} numbers", shown.join(", "), vector.len());
        screen.say(&format!("  {} {text}", screen.dim(&format!("{name:<width$}"))))?;
    }
    Ok(())
}

/// A point for scripts. The vector without a name is called "".
fn record_json(record: &Record) -> Json {
    let mut json = json!({"id": from_id(&record.id), "payload": record.payload.as_ref().map(from_object)});
    if let Some(vectors) = &record.vectors {
        let numbers = |vector: &Vec<f32>| vector.iter().copied().map(from_f32).collect::<Json>();
        json["vectors"] = vectors.iter().map(|(name, vector)| (name.clone(), numbers(vector))).collect();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ids_are_named_up_to_a_few() {
        assert_eq!(not_found(&["7"], "c").to_string(), r#"there is no point "7" in c"#);
        let many: Vec<&str> = vec!["x"; 7];
        let expected = r#"there are no points "x", "x", "x", "x", "x", and 2 more in c"#;
        assert_eq!(not_found(&many, "c").to_string(), expected);
    }
}
