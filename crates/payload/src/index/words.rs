//! Text word by word: tokens are keys, and each entry has its frequency and, where phrases are looked for, its positions.
//!
//! It refuses to split by rules of its own ([`Analyzer`] is the one that scans use too) and to score; it keeps what scoring needs.

use std::ops::ControlFlow;

use roaring::RoaringBitmap;

use super::build::{Terms, each_entry};
use super::file::Words;
use super::table::Table;
use super::view::View;
use super::{Estimate, bits};
use crate::filter::Test;
use crate::text::{Analyzer, TextConfig, TextError, Tokenizer};

/// Collects tokens row by row.
#[derive(Debug)]
pub(crate) struct WordsBuilder {
    analyzer: Analyzer,
    terms: Terms,
    frequencies: Vec<u32>,
    lengths: Vec<u32>,
    /// The tokens of the current row with their positions.
    row: Vec<(u32, u32)>,
    next_position: u32,
    positions: Option<Positions>,
}

/// Where tokens stand, entry after entry.
#[derive(Debug)]
struct Positions {
    starts: Vec<u32>,
    all: Vec<u32>,
}

/// True where positions are kept. A tokenizer of prefixes has more tokens than words: its phrases are tested on rows.
fn has_positions(config: &TextConfig) -> bool {
    config.phrase_matching && config.tokenizer != Tokenizer::Prefix
}

impl WordsBuilder {
    pub(crate) fn new(config: &TextConfig) -> Result<WordsBuilder, TextError> {
        Ok(WordsBuilder {
            analyzer: Analyzer::new(config)?,
            terms: Terms::default(),
            frequencies: Vec::new(),
            lengths: Vec::new(),
            row: Vec::new(),
            next_position: 0,
            positions: has_positions(config).then(|| Positions { starts: vec![0], all: Vec::new() }),
        })
    }

    /// Takes one text of the current row. Between texts a place stays free, so that no phrase reaches over it.
    pub(crate) fn text(&mut self, text: &str) {
        let WordsBuilder { analyzer, terms, row, next_position, .. } = self;
        let _ = analyzer.document(text, |token| {
            row.push((terms.number(token), *next_position));
            *next_position += 1;
            ControlFlow::Continue(())
        });
        *next_position += 1;
    }

    /// Ends the current row.
    pub(crate) fn end_row(&mut self, slot: u32) {
        self.lengths.push(self.row.len() as u32);
        self.row.sort_unstable();
        for same in self.row.chunk_by(|a, b| a.0 == b.0) {
            self.terms.push(same[0].0, slot);
            self.frequencies.push(same.len() as u32);
            if let Some(positions) = &mut self.positions {
                positions.all.extend(same.iter().map(|(_, position)| *position));
                positions.starts.push(positions.all.len() as u32);
            }
        }
        self.row.clear();
        self.next_position = 0;
    }

    /// Entries, or positions where they are more.
    pub(crate) fn len(&self) -> usize {
        self.positions.as_ref().map_or(self.terms.len(), |positions| positions.all.len())
    }

    /// Adds the rows of a file.
    pub(crate) fn absorb(&mut self, view: &View<'_>, base: u32) {
        self.lengths.extend_from_slice(view.lengths);
        for key in 0..view.keys.len() {
            let id = self.terms.number(view.keys.text(key));
            each_entry(view, key..key + 1, |_, entry, slot| {
                self.terms.push(id, base + slot);
                self.frequencies.push(view.frequency(entry));
                if let Some(positions) = &mut self.positions {
                    positions.all.extend_from_slice(view.positions_of(entry));
                    positions.starts.push(positions.all.len() as u32);
                }
            });
        }
    }

    /// The arrays of the file.
    pub(crate) fn finish(self, rows: u32) -> (Table, Words) {
        let (keys, starts, order) = self.terms.sorted();
        let by_order =
            |values: &[u32]| order.iter().map(|&place| values[place as usize]).collect::<Vec<u32>>();
        let slots = by_order(self.terms.slots());
        let mut words = Words {
            frequencies: by_order(&self.frequencies),
            documents: self.lengths.iter().filter(|&&length| length > 0).count() as u32,
            tokens: self.lengths.iter().map(|&length| u64::from(length)).sum(),
            lengths: self.lengths,
            ..Words::default()
        };
        if let Some(positions) = self.positions {
            words.position_starts.push(0);
            for &place in &order {
                let range =
                    positions.starts[place as usize] as usize..positions.starts[place as usize + 1] as usize;
                words.positions.extend_from_slice(&positions.all[range]);
                words.position_starts.push(words.positions.len() as u32);
            }
        }
        let many = slots.len() as u64 > u64::from(words.documents);
        let table = Table { many, ..Table::new(rows, keys, starts, slots) };
        (table, words)
    }
}

/// Several words that one text must hold.
#[derive(Debug)]
pub(crate) struct Query {
    /// The key of each word; a phrase in its order, else ascending. Empty where some word is nowhere.
    keys: Vec<u32>,
    /// They must stand side by side.
    phrase: bool,
    /// All hits must be tested: the index cannot say where words stand.
    doubtful: bool,
}

/// What a test of words asks of an index.
pub(crate) enum Wanted {
    /// Rows with one of these keys.
    Any(Vec<u32>),
    /// Rows with all of them.
    All(Query),
}

/// Makes a test of words ready. `None` for a configuration that is refused, which no file has.
pub(crate) fn query(config: &TextConfig, view: &View<'_>, test: &Test) -> Option<Wanted> {
    let analyzer = Analyzer::new(config).ok()?;
    let find = |word: &str| view.keys.find_term(word.as_bytes());
    let found = |words: Vec<Box<str>>| {
        words.iter().map(|word| find(word)).collect::<Option<Vec<u32>>>().unwrap_or_default()
    };
    match test {
        Test::TextAny(text) => {
            Some(Wanted::Any(analyzer.query(text).iter().filter_map(|word| find(word)).collect()))
        }
        Test::Text(text) => {
            let mut keys = found(analyzer.query(text));
            keys.sort_unstable();
            keys.dedup();
            Some(match keys.len() {
                0 | 1 => Wanted::Any(keys),
                _ => Wanted::All(Query { keys, phrase: false, doubtful: false }),
            })
        }
        Test::Phrase(text) => {
            let words = analyzer.phrase(text);
            let prefixes = config.tokenizer == Tokenizer::Prefix;
            // Of a document that holds a word, its prefixes know the beginning that a query would look for.
            let keys = found(if prefixes { analyzer.query(text) } else { words });
            Some(match keys.len() {
                0 => Wanted::Any(keys),
                1 if !prefixes => Wanted::Any(keys),
                _ => Wanted::All(Query { keys, phrase: true, doubtful: !view.has_positions }),
            })
        }
        _ => None,
    }
}

impl Query {
    /// The keys without repetition, that with the fewest rows first.
    fn by_rows(&self, view: &View<'_>) -> Vec<u32> {
        let mut keys = self.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        keys.sort_by_key(|&key| view.slots_of(key).len());
        keys
    }

    /// A row whose words may stand in different texts of a list.
    fn is_doubtful(&self, view: &View<'_>, row: u32) -> bool {
        self.doubtful || (!self.phrase && (view.sets.listed.contains(row) || view.sets.several.contains(row)))
    }
}

/// Adds the rows with all words.
pub(crate) fn select(view: &View<'_>, query: &Query, out: &mut RoaringBitmap, recheck: &mut RoaringBitmap) {
    let keys = query.by_rows(view);
    let Some((first, others)) = keys.split_first() else { return };
    let mut rows: Vec<u32> = view.slots_of(*first).iter().copied().filter(|&row| row < view.rows).collect();
    for &key in others {
        let mut rest = view.slots_of(key);
        rows.retain(|&row| {
            rest = &rest[gallop(rest, row)..];
            rest.first() == Some(&row)
        });
    }
    if query.phrase && !query.doubtful {
        rows.retain(|&row| has_phrase(view, query, row));
    }
    let doubtful = rows.iter().copied().filter(|&row| query.is_doubtful(view, row)).collect();
    bits::add_list(recheck, doubtful, view.base);
    bits::add_list(out, rows, view.base);
}

/// How many of `slots` are before `row`; fast where these are few.
fn gallop(slots: &[u32], row: u32) -> usize {
    let mut step = 1;
    while slots.get(step - 1).is_some_and(|&slot| slot < row) {
        step *= 2;
    }
    let from = step / 2;
    let to = step.min(slots.len());
    from + slots.get(from..to).unwrap_or_default().partition_point(|&slot| slot < row)
}

/// The entry of a row under a key.
fn entry_of(view: &View<'_>, key: u32, row: u32) -> Option<usize> {
    let range = view.entries(&(key..key.saturating_add(1)));
    let at = view.slots.get(range.clone())?.binary_search(&row).ok()?;
    Some(range.start + at)
}

/// True for a row in which the words stand side by side.
fn has_phrase(view: &View<'_>, query: &Query, row: u32) -> bool {
    let places = |&key: &u32| entry_of(view, key, row).map(|entry| view.positions_of(entry));
    let Some(places) = query.keys.iter().map(places).collect::<Option<Vec<&[u32]>>>() else { return false };
    // Begin with the rarest word of the row.
    let Some(rarest) = (0..places.len()).min_by_key(|&at| places[at].len()) else { return false };
    places[rarest].iter().any(|&position| {
        let Some(start) = position.checked_sub(rarest as u32) else { return false };
        let stands = |(at, places): (usize, &&[u32])| {
            let expected = start.checked_add(at as u32);
            expected.is_some_and(|expected| places.binary_search(&expected).is_ok())
        };
        places.iter().enumerate().all(stands)
    })
}

/// What is known of one row; `None` where it must be tested.
pub(crate) fn test(view: &View<'_>, query: &Query, row: u32) -> Option<bool> {
    if query.keys.iter().any(|&key| entry_of(view, key, row).is_none()) {
        return Some(false);
    }
    if query.phrase && !query.doubtful && !has_phrase(view, query, row) {
        return Some(false);
    }
    (!query.is_doubtful(view, row)).then_some(true)
}

/// From the frequencies of the words in documents, as if they were independent.
pub(crate) fn estimate(view: &View<'_>, query: &Query) -> Estimate {
    let documents = u64::from(view.documents);
    let counts: Vec<u64> = query.by_rows(view).iter().map(|&key| view.slots_of(key).len() as u64).collect();
    let high = counts.iter().copied().min().unwrap_or(0);
    let share: f64 = counts.iter().map(|&count| count as f64 / documents.max(1) as f64).product();
    let mut low = 0;
    if !query.phrase {
        let missing: u64 = counts.iter().map(|&count| documents.saturating_sub(count)).sum();
        let doubtful = view.sets.listed.len() + view.sets.several.len();
        low = documents.saturating_sub(missing + doubtful).min(high);
    }
    Estimate { low, likely: ((share * documents as f64) as u64).clamp(low, high), high }
}
