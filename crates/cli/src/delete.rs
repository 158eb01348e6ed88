//! `nearfield delete`: points by their ids, or all that pass a filter.
//!
//! **It refuses** to take an id and a filter at once, and to delete anything without one of them.

use serde_json::json;

use crate::args::Delete;
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::filter;
use crate::output::{Screen, counted};

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Delete) -> Outcome<()> {
    let filter = filter::typed(command.what.filter.as_deref())?;
    let database = database::open(&command.target)?;
    let collection = database::collection(&database, &command.collection)?;
    let name = collection.name().to_owned();
    let deleted = match &filter {
        Some(filter) => collection.delete_passing(filter)?,
        None => {
            let mut ids = Vec::new();
            for text in &command.what.ids {
                let readings = database::readings(text);
                // Of what the text can mean, the first that there is: as `get` shows it.
                let found = collection.get(&readings, nearfield::With::NOTHING)?;
                let Some(record) = found.into_iter().flatten().next() else {
                    let message = format!("there is no point {text:?} in {name}: nothing was deleted");
                    return Err(Failure::not_found(message));
                };
                ids.push(record.id);
            }
            collection.delete(&ids)?
        }
    };
    let left = collection.count()?;
    drop(collection);
    database.close()?;
    screen.say(&format!(
        "Deleted {} of {name}, {} left",
        counted(deleted, "point", "points"),
        counted(left, "is", "are")
    ))?;
    screen.answer(&json!({"collection": name, "deleted": deleted, "points": left}))
}
