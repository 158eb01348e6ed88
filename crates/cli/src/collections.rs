//! `nearfield collections`: what there is in a database; making and deleting collections and aliases.
//!
//! **It refuses** to delete through an alias.

use nearfield::{Collection, CollectionConfig, CollectionState, Database, Durability, FieldKind, Metric};
use serde_json::{Value as Json, json};

use crate::args::{CollectionAction, Collections};
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::output::{Screen, clean, counted, thousands};

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Collections) -> Outcome<()> {
    let database = match &command.action {
        None => return list(screen, &database::read_all(&command.target)?),
        Some(CollectionAction::Status) => return status(screen, &database::read_all(&command.target)?),
        Some(CollectionAction::Create { .. }) => {
            database::open_or_create(&command.target.path, command.target.trust, Durability::Process)?
        }
        _ => database::open(&command.target)?,
    };
    match &command.action {
        None | Some(CollectionAction::Status) => {}
        Some(CollectionAction::Open { name }) => {
            let points = database.open_collection(name)?.count()?;
            screen.say(&format!("Opened {} with {}", clean(name), counted(points, "point", "points")))?;
            screen.answer(&json!({"collection": name, "state": "ready", "points": points}))?;
        }
        Some(CollectionAction::Close { name }) => {
            database.close_collection(name)?;
            let name = clean(name);
            screen.say(&format!("Closed {name}: `nearfield collections DB open {name}` opens it again"))?;
            screen.answer(&json!({"collection": name, "state": "closed"}))?;
        }
        Some(CollectionAction::Create { name, dim, metric, vector, partition_by }) => {
            let config = configuration(*dim, (*metric).into(), vector)?;
            create(screen, &database, name, partitioned(config, partition_by.as_deref())?)?;
        }
        Some(CollectionAction::Delete { name }) => delete(screen, &database, name)?,
        Some(CollectionAction::Alias { alias, collection }) => {
            // Looked up first, so that the error lists what there is.
            let target = database::collection(&database, collection)?.name().to_owned();
            database.set_alias(alias, &target)?;
            screen.say(&format!("{alias} now stands for {target}"))?;
            screen.answer(&json!({"alias": alias, "collection": target}))?;
        }
        Some(CollectionAction::Unalias { alias }) => {
            if !database.delete_alias(alias)? {
                return Err(Failure::not_found(format!("there is no alias {alias:?}")));
            }
            screen.say(&format!("{alias} stands for nothing any more"))?;
            screen.answer(&json!({"alias": alias, "deleted": true}))?;
        }
    }
    Ok(database.close()?)
}

/// The configuration that was typed: an unnamed vector, named ones, or both.
fn configuration(dim: Option<u64>, metric: Metric, named: &[String]) -> Outcome<CollectionConfig> {
    let size = |dim: u64| usize::try_from(dim).unwrap_or(usize::MAX);
    let mut config = dim.map(|dim| CollectionConfig::new(size(dim), metric));
    for text in named {
        let wrong = || {
            Failure::invalid(format!("--vector is {text:?}: NAME:DIM or NAME:DIM:METRIC was expected"))
                .advise("for example --vector title:384:cosine; metrics are cosine, dot, euclid, manhattan")
        };
        let mut parts = text.split(':');
        let (Some(name), Some(dim), metric_text, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let dim = size(dim.parse().map_err(|_| wrong())?);
        let metric = metric_text.map_or(Ok(metric), |text| text.parse().map_err(|_| wrong()))?;
        config = Some(match config {
            None => CollectionConfig::named(name, dim, metric),
            Some(config) => config.vector(name, dim, metric),
        });
    }
    config.ok_or_else(|| Failure::invalid("a collection needs a vector: give --dim or --vector"))
}

/// With the field that was typed for tenants: `FIELD`, or `FIELD:KIND`.
fn partitioned(config: CollectionConfig, typed: Option<&str>) -> Outcome<CollectionConfig> {
    let Some(typed) = typed else { return Ok(config) };
    let (field, kind) = typed.rsplit_once(':').unwrap_or((typed, FieldKind::Keyword.name()));
    match FieldKind::from_name(kind) {
        Some(kind) => Ok(config.partition_by_kind(field, kind)),
        None => {
            Err(Failure::invalid(format!("--partition-by is {typed:?}: FIELD or FIELD:KIND was expected"))
                .advise("kinds are keyword and integer"))
        }
    }
}

fn create(screen: &Screen, database: &Database, name: &str, config: CollectionConfig) -> Outcome<()> {
    let collection = database.create_collection(name, config)?;
    screen.say(&format!("Made {name}: {}", describe(&collection.config())))?;
    screen.answer(&json!({"collection": name, "vectors": vectors_json(&collection.config())}))
}

fn delete(screen: &Screen, database: &Database, name: &str) -> Outcome<()> {
    let stands_for = database.aliases().into_iter().find(|(alias, _)| alias == name);
    if let Some((_, target)) = stands_for {
        let advice =
            format!("`unalias {name}` removes the alias, `delete {target}` the collection with its points");
        return Err(Failure::invalid(format!("{name:?} is an alias of {target:?}")).advise(advice));
    }
    let points = database::collection(database, name)?.count()?;
    if !database.delete_collection(name)? {
        return Err(Failure::not_found(format!("there is no collection {name:?}")));
    }
    screen.say(&format!("Deleted {name} with {}", counted(points, "point", "points")))?;
    screen.answer(&json!({"collection": name, "deleted": true, "points": points}))
}

fn list(screen: &Screen, database: &Database) -> Outcome<()> {
    let aliases = database.aliases();
    let of = |name: &str| -> Vec<String> {
        aliases.iter().filter(|(_, target)| target == name).map(|(alias, _)| alias.clone()).collect()
    };
    let (mut rows, mut answer) = (Vec::new(), Vec::new());
    for name in database.collections() {
        let collection: Collection = match database.collection(&name) {
            Ok(collection) => collection,
            // Closed or damaged: the others are shown all the same.
            Err(error) => {
                rows.push(vec![name.clone(), String::new(), clean(&error.to_string()), of(&name).join(", ")]);
                answer.push(json!({"name": name, "error": error.to_string(), "aliases": of(&name)}));
                continue;
            }
        };
        let (points, aliases): (u64, Vec<String>) = (collection.count()?, of(&name));
        rows.push(vec![name.clone(), thousands(points), describe(&collection.config()), aliases.join(", ")]);
        answer.push(json!({
            "name": name,
            "points": points,
            "vectors": vectors_json(&collection.config()),
            "aliases": aliases,
        }));
    }
    if rows.is_empty() {
        screen.say("There are no collections yet: `nearfield import` makes one, or `nearfield collections DB create`.")?;
    } else {
        screen.table(&["collection", "points", "vectors", "aliases"], &[1], rows)?;
    }
    screen.answer(&json!({"collections": answer}))
}

/// The state of each collection; each was opened for it, as its next use would.
fn status(screen: &Screen, database: &Database) -> Outcome<()> {
    let (mut rows, mut answer) = (Vec::new(), Vec::new());
    for name in database.collections() {
        let state = database.collection_state(&name)?;
        let (reason, advice) = match &state {
            CollectionState::Error { reason, advice } => (reason.as_str(), *advice),
            CollectionState::Closed => ("", "`nearfield collections DB open NAME` opens it"),
            _ => ("", ""),
        };
        rows.push(vec![name.clone(), state.name().to_owned(), clean(reason), advice.to_owned()]);
        answer.push(json!({"name": name, "state": state.name(), "reason": reason, "advice": advice}));
    }
    if rows.is_empty() {
        screen.say("There are no collections yet.")?;
    } else {
        screen.table(&["collection", "state", "reason", "what to do"], &[], rows)?;
    }
    screen.answer(&json!({"collections": answer}))
}

/// "384 cosine", or "title 384 cosine, body 768 dot".
fn describe(config: &CollectionConfig) -> String {
    let vectors = config.vectors().map(|(name, vector)| {
        let name = if name.is_empty() { String::new() } else { format!("{} ", clean(name)) };
        format!("{name}{} {}", vector.dim, vector.metric)
    });
    let mut described = vectors.collect::<Vec<_>>().join(", ");
    if let Some(partition) = config.partition() {
        described += &format!(", by {}", clean(&partition.path));
    }
    described
}

fn vectors_json(config: &CollectionConfig) -> Json {
    let vector = |(name, vector): (&str, nearfield::VectorConfig)| json!({"name": name, "dim": vector.dim, "metric": vector.metric.name()});
    config.vectors().map(vector).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_as_typed() {
        let typed = |dim, named: &[&str]| {
            let named: Vec<String> = named.iter().map(|text| (*text).to_owned()).collect();
            configuration(dim, Metric::Dot, &named)
                .map(|config| describe(&config))
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(typed(Some(3), &[]).unwrap(), "3 dot");
        assert_eq!(typed(Some(3), &["a:4", "b:5:euclid"]).unwrap(), "3 dot, a 4 dot, b 5 euclid");
        assert_eq!(typed(None, &["a:4:cosine"]).unwrap(), "a 4 cosine");
        for bad in ["a", "a:x", "a:-1", "a:3:far", "a:3:dot:x"] {
            assert!(typed(None, &[bad]).unwrap_err().contains("NAME:DIM"), "{bad}");
        }
        assert!(typed(None, &[]).is_err());
    }
}
