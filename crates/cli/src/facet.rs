//! `nearfield facet`: the values of a field that most points have.
//!
//! **It refuses** to count values that are neither texts, integers nor booleans.

use nearfield::FacetHit;
use nearfield::filter::Key;
use serde_json::{Value as Json, json};

use crate::args::Facet;
use crate::database;
use crate::failure::Outcome;
use crate::filter;
use crate::output::{Screen, clean, shorten, thousands};
use crate::search::check_limit;

/// Columns of a text that is shown.
const TEXT_WIDTH: usize = 80;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Facet) -> Outcome<()> {
    let limit = check_limit(command.limit)?;
    let filter = filter::typed(command.filter.as_deref())?;
    let collection = database::read(&command.target, &command.collection)?;
    let hits = collection.facet(&command.field, filter.as_ref(), limit, !command.approximate)?;
    let name = collection.name().to_owned();
    if hits.is_empty() {
        screen.say(&format!("No point has a text, an integer or a boolean in {}.", clean(&command.field)))?;
    } else {
        let row = |hit: &FacetHit| vec![thousands(hit.count), shorten(&text_of(&hit.value), TEXT_WIDTH)];
        screen.table(&["points", "value"], &[0], hits.iter().map(row).collect())?;
    }
    let hit = |hit: &FacetHit| json!({"value": json_of(&hit.value), "count": hit.count});
    let hits: Json = hits.iter().map(hit).collect();
    screen.answer(&json!({"collection": name, "field": command.field, "hits": hits}))
}

fn text_of(value: &Key) -> String {
    match value {
        Key::Bool(value) => value.to_string(),
        Key::I64(value) => value.to_string(),
        Key::String(text) => text.to_string(),
    }
}

/// The value for scripts.
pub(crate) fn json_of(value: &Key) -> Json {
    match value {
        Key::Bool(value) => (*value).into(),
        Key::I64(value) => (*value).into(),
        Key::String(text) => text.as_ref().into(),
    }
}
