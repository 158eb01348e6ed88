//! Everything that a database is asked, and how answers are compared.

use nearfield::{CollectionConfig, Database, ErrorKind, Hit, PointId, Query, Record, Result, With};

/// What to ask of every collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    /// Names of collections and aliases.
    pub(super) names: Vec<String>,
    /// Ids, of points that are there and that are not.
    pub(super) ids: Vec<PointId>,
    /// Queries: collection, name of the vector, the vector.
    pub(super) searches: Vec<(String, String, Vec<f32>)>,
}

/// Points of one page, and answers of one search.
const PAGE: usize = 64;
const NEAREST: usize = 10;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Names(Vec<String>),
    Aliases(Vec<(String, String)>),
    Config(String, CollectionConfig),
    Count(u64),
    Records(Vec<Option<Record>>),
    Page(Vec<Record>),
    Hits(Vec<Hit>),
}

/// A question and what came of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: String,
    pub(super) answer: Result<Answer>,
}

/// All that a database said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) asked: Vec<Asked>,
    /// It found damage that cost nothing, and tells.
    pub(super) repaired: bool,
}

/// Asks `db` everything. One that did not open answers nothing else.
pub(super) fn ask(db: Result<Database>, questions: &Questions) -> Said {
    let db = match db {
        Ok(db) => db,
        Err(error) => {
            let asked = vec![Asked { question: "opening".to_owned(), answer: Err(error) }];
            return Said { asked, repaired: false };
        }
    };
    let asked = ask_open(&db, questions);
    Said { asked, repaired: !db.repaired().is_empty() }
}

fn ask_open(db: &Database, questions: &Questions) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut add = |question: String, answer| asked.push(Asked { question, answer });
    add("collections".to_owned(), Ok(Answer::Names(db.collections())));
    add("aliases".to_owned(), Ok(Answer::Aliases(db.aliases())));
    for name in &questions.names {
        let found = db.collection(name);
        let collection = match found {
            Ok(collection) => collection,
            Err(error) => {
                add(format!("opening {name}"), Err(error));
                continue;
            }
        };
        let config =
            Answer::Config(collection.name().to_owned(), CollectionConfig::clone(&collection.config()));
        add(format!("opening {name}"), Ok(config));
        add(format!("counting {name}"), collection.count().map(Answer::Count));
        // An alias leads to a collection that is asked anyway.
        if collection.name() != name {
            continue;
        }
        add(format!("getting all of {name}"), collection.get(&questions.ids, With::ALL).map(Answer::Records));
        let mut after: Option<PointId> = None;
        for page in 0.. {
            let records = collection.scroll(after.as_ref(), PAGE, With::ALL);
            let next =
                records.as_ref().ok().and_then(|records| records.last()).map(|record| record.id.clone());
            add(format!("page {page} of {name}"), records.map(Answer::Page));
            after = match next {
                None => break,
                next => next,
            };
        }
        for (n, (_, vector, query)) in
            questions.searches.iter().enumerate().filter(|(_, (of, ..))| of == name)
        {
            let query = Query::new(query, NEAREST).using(vector).with(With::ALL);
            add(format!("search {n} of {name}"), collection.search(&query).map(Answer::Hits));
        }
    }
    asked
}

/// How answers differ from those expected: not at all, by errors that say that something is damaged, or in a way that is wrong.
pub(super) fn differences(expected: &[Asked], found: &[Asked]) -> Option<std::result::Result<(), String>> {
    let mut detected = false;
    for asked in found {
        match &asked.answer {
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                detected = true
            }
            Err(error) => {
                return Some(Err(format!(
                    "{} failed, and not for damage: {:?}, {error}",
                    asked.question,
                    error.kind()
                )));
            }
            Ok(answer) => {
                let known = expected.iter().find(|known| known.question == asked.question);
                if known.and_then(|known| known.answer.as_ref().ok()) != Some(answer) {
                    return Some(Err(format!("the answer to {} is another", asked.question)));
                }
            }
        }
    }
    if !detected && found.len() != expected.len() {
        return Some(Err(format!("{} answers, expected {}", found.len(), expected.len())));
    }
    detected.then_some(Ok(()))
}

#[cfg(test)]
mod tests {
    use nearfield::Error;

    use super::*;

    fn asked(question: &str, answer: Result<Answer>) -> Asked {
        Asked { question: question.to_owned(), answer }
    }

    #[test]
    fn wrong_answers_are_told_from_honest_refusals() {
        let whole = || vec![asked("a", Ok(Answer::Count(1))), asked("b", Ok(Answer::Count(2)))];
        let with = |b: Result<Answer>| vec![asked("a", Ok(Answer::Count(1))), asked("b", b)];
        assert_eq!(differences(&whole(), &whole()), None);
        assert_eq!(differences(&whole(), &with(Err(Error::new(ErrorKind::Corrupt, "x")))), Some(Ok(())));
        assert!(differences(&whole(), &with(Ok(Answer::Count(3)))).is_some_and(|wrong| wrong.is_err()));
        assert!(
            differences(&whole(), &with(Err(Error::new(ErrorKind::NotFound, "x"))))
                .is_some_and(|wrong| wrong.is_err())
        );
        assert!(
            differences(&whole(), &whole()[..1]).is_some_and(|wrong| wrong.is_err()),
            "an answer is missing"
        );
        let refused = [asked("opening", Err(Error::new(ErrorKind::Corrupt, "x")))];
        assert_eq!(differences(&whole(), &refused), Some(Ok(())));
    }
}
