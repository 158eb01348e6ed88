//! `nearfield count`: how many points there are, or how many pass a filter.
//!
//! **It refuses** to pass off an estimate as a count: one is asked for by name and shown with its bounds.

use serde_json::json;

use crate::args::Count;
use crate::database;
use crate::failure::Outcome;
use crate::filter;
use crate::output::{Screen, counted, thousands};

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Count) -> Outcome<()> {
    let filter = filter::typed(command.filter.as_deref())?;
    let collection = database::read(&command.target, &command.collection)?;
    let name = collection.name().to_owned();
    match &filter {
        Some(filter) if command.estimate => {
            let found = collection.count_estimate(filter)?;
            let (low, likely, high) = (found.low, found.likely, found.high);
            let line = format!(
                "about {}, from {} to {}",
                counted(likely, "point", "points"),
                thousands(low),
                thousands(high)
            );
            screen.say(&line)?;
            screen.answer(
                &json!({"collection": name, "estimate": {"low": low, "likely": likely, "high": high}}),
            )?;
        }
        _ => {
            let count = match &filter {
                Some(filter) => collection.count_passing(filter)?,
                None => collection.count()?,
            };
            screen.say(&counted(count, "point", "points"))?;
            screen.answer(&json!({"collection": name, "points": count}))?;
        }
    }
    Ok(())
}
