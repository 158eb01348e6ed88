//! `nearfield index`: the indexes of payload fields of a collection; making and dropping them.
//!
//! **It refuses** an option that the kind of index does not have.

use nearfield::{Collection, FieldConfig, FieldIndexInfo, FieldIndexState, FieldKind, Language, TextConfig};
use serde_json::{Value as Json, json};

use crate::args::{Index, IndexAction, IndexOptions};
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::output::{Screen, bytes, clean, counted, duration, shorten};
use crate::timing::Stopwatch;

/// Columns of a path that is shown.
const PATH_WIDTH: usize = 60;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Index) -> Outcome<()> {
    if matches!(&command.action, None | Some(IndexAction::List)) {
        return list(screen, &database::read(&command.target, &command.collection)?);
    }
    let database = database::open(&command.target)?;
    let collection = database::collection(&database, &command.collection)?;
    match &command.action {
        None | Some(IndexAction::List) => {}
        Some(IndexAction::Create { field, kind, options }) => {
            create(screen, &collection, field, &configuration((*kind).into(), options)?)?;
        }
        Some(IndexAction::Drop { field }) => {
            if !collection.drop_field_index(field)? {
                let message = format!("there is no index of {field:?} in {}", collection.name());
                return Err(Failure::not_found(message).advise(there_is(&collection)?));
            }
            screen
                .say(&format!("Dropped the index of {}: filters answer the same without it", clean(field)))?;
            screen.answer(&json!({"collection": collection.name(), "field": field, "dropped": true}))?;
        }
    }
    drop(collection);
    Ok(database.close()?)
}

/// Makes an index and builds it, so that the next command finds it whole.
fn create(screen: &Screen, collection: &Collection, field: &str, config: &FieldConfig) -> Outcome<()> {
    let watch = Stopwatch::start();
    let is_new = collection.create_field_index(field, config)?;
    collection.wait_indexed()?;
    let (kind, points) = (config.kind().name(), collection.count()?);
    let what = if is_new { "Made" } else { "There was" };
    screen.say(&format!(
        "{what} the {kind} index of {}: {} in {}",
        clean(field),
        counted(points, "point", "points"),
        duration(watch.elapsed())
    ))?;
    screen.answer(&json!({
        "collection": collection.name(),
        "field": field,
        "kind": kind,
        "created": is_new,
        "points": points,
        "seconds": watch.elapsed().as_secs_f64(),
    }))
}

fn list(screen: &Screen, collection: &Collection) -> Outcome<()> {
    let indexes = collection.field_indexes()?;
    if indexes.is_empty() {
        let name = collection.name();
        screen.say(&format!(
            "There are no indexes of payload fields yet: `nearfield index DB {name} create FIELD KIND` makes one."
        ))?;
    } else {
        let row = |info: &FieldIndexInfo| {
            let FieldIndexInfo { field, memory, .. } = info;
            vec![
                shorten(&field.path.to_string(), PATH_WIDTH),
                field.config.kind().name().to_owned(),
                options_of(&field.config).join(", "),
                state_of(info),
                bytes(memory.mapped),
                bytes(memory.heap),
            ]
        };
        let heading = ["field", "kind", "options", "state", "mapped", "memory"];
        screen.table(&heading, &[4, 5], indexes.iter().map(row).collect())?;
    }
    let indexes: Json = indexes.iter().map(info_json).collect();
    screen.answer(&json!({"collection": collection.name(), "indexes": indexes}))
}

fn info_json(info: &FieldIndexInfo) -> Json {
    let FieldIndexInfo { field, memory, .. } = info;
    json!({
        "field": field.path.to_string(),
        "kind": field.config.kind().name(),
        "options": options_of(&field.config),
        "ready": info.is_ready(),
        "bytes_mapped": memory.mapped,
        "bytes_heap": memory.heap,
    })
}

fn state_of(info: &FieldIndexInfo) -> String {
    match info.state {
        FieldIndexState::Ready => "ready".to_owned(),
        FieldIndexState::Building { done, rows } => format!("{} %", done * 100 / rows.max(1)),
    }
}

/// What there is to drop.
fn there_is(collection: &Collection) -> Outcome<String> {
    let paths: Vec<String> =
        collection.field_indexes()?.iter().map(|info| info.field.path.to_string()).collect();
    Ok(match paths.is_empty() {
        true => "there are no indexes of payload fields".to_owned(),
        false => format!("indexes here: {}", shorten(&paths.join(", "), 1_000)),
    })
}

/// The options that are not the usual ones, as they are typed.
fn options_of(config: &FieldConfig) -> Vec<String> {
    let mut options = Vec::new();
    let mut say = |is: bool, option: String| options.extend(is.then_some(option));
    match config {
        FieldConfig::Keyword { prefix } => say(*prefix, "prefix".to_owned()),
        FieldConfig::Integer { lookup, range } => {
            say(!range, "no-range".to_owned());
            say(!lookup, "no-lookup".to_owned());
        }
        FieldConfig::Text(text) => {
            let usual = TextConfig::default();
            let tokenizer = format!("{:?}", text.tokenizer).to_lowercase();
            say(text.tokenizer != usual.tokenizer, format!("tokenizer {tokenizer}"));
            say(!text.lowercase, "case-sensitive".to_owned());
            say(text.ascii_folding, "ascii-folding".to_owned());
            say(text.phrase_matching, "phrases".to_owned());
            text.min_token_len.into_iter().for_each(|len| say(true, format!("min-token-len {len}")));
            text.max_token_len.into_iter().for_each(|len| say(true, format!("max-token-len {len}")));
            text.stopwords.iter().for_each(|language| say(true, format!("stopwords {}", language.name())));
            let words = text.stopwords_custom.len() as u64;
            say(words > 0, counted(words, "stop word of its own", "stop words of its own"));
            text.stemmer.into_iter().for_each(|language| say(true, format!("stemmer {}", language.name())));
        }
        _ => {}
    }
    options
}

/// What was typed, or the option that does not fit.
fn configuration(kind: FieldKind, options: &IndexOptions) -> Outcome<FieldConfig> {
    let typed = options.typed();
    let allowed: &[&str] = match kind {
        FieldKind::Keyword => &["prefix"],
        FieldKind::Integer => &["no-range", "no-lookup"],
        FieldKind::Text => IndexOptions::TEXT,
        _ => &[],
    };
    if let Some(other) = typed.iter().find(|option| !allowed.contains(option)) {
        let message = format!("--{other} is no option of a {} index", kind.name());
        let list: Vec<String> = allowed.iter().map(|option| format!("--{option}")).collect();
        let advice = match list.is_empty() {
            true => "it has none".to_owned(),
            false => format!("its options are {}", list.join(", ")),
        };
        return Err(Failure::invalid(message).advise(advice));
    }
    Ok(match kind {
        FieldKind::Keyword => FieldConfig::Keyword { prefix: options.prefix },
        FieldKind::Integer => FieldConfig::Integer { lookup: !options.no_lookup, range: !options.no_range },
        FieldKind::Text => FieldConfig::Text(text(options)?),
        kind => kind.config(),
    })
}

fn text(options: &IndexOptions) -> Outcome<TextConfig> {
    let usual = TextConfig::default();
    Ok(TextConfig {
        tokenizer: options.tokenizer.map_or(usual.tokenizer, Into::into),
        lowercase: !options.case_sensitive,
        ascii_folding: options.ascii_folding,
        phrase_matching: options.phrases,
        min_token_len: options.min_token_len,
        max_token_len: options.max_token_len,
        stopwords: options
            .stopwords
            .iter()
            .map(|name| language("stopwords", name))
            .collect::<Outcome<_>>()?,
        stemmer: options.stemmer.as_deref().map(|name| language("stemmer", name)).transpose()?,
        ..usual
    })
}

fn language(option: &str, name: &str) -> Outcome<Language> {
    Language::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Language::ALL.iter().map(|language| language.name()).collect();
        Failure::invalid(format!("--{option} is {name:?}: that is no language that Nearfield knows"))
            .advise(format!("languages are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were_typed() {
        let options =
            IndexOptions { phrases: true, stemmer: Some("german".into()), ..IndexOptions::default() };
        let config = configuration(FieldKind::Text, &options).unwrap();
        assert_eq!(options_of(&config), ["phrases", "stemmer german"]);
        let options = IndexOptions { no_range: true, ..IndexOptions::default() };
        assert_eq!(options_of(&configuration(FieldKind::Integer, &options).unwrap()), ["no-range"]);
        let failure = configuration(FieldKind::Keyword, &options).unwrap_err();
        assert_eq!(failure.to_string(), "--no-range is no option of a keyword index");
        assert_eq!(failure.advice(), Some("its options are --prefix"));
        assert_eq!(configuration(FieldKind::Geo, &options).unwrap_err().advice(), Some("it has none"));
        for kind in FieldKind::ALL {
            assert_eq!(configuration(kind, &IndexOptions::default()).unwrap(), kind.config());
        }
        let options = IndexOptions { stemmer: Some("klingon".into()), ..IndexOptions::default() };
        let failure = configuration(FieldKind::Text, &options).unwrap_err();
        assert!(failure.to_string().contains("klingon") && failure.advice().unwrap().contains("german"));
    }
}
