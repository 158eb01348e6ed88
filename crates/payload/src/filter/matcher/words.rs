//! Texts compared word by word.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::text::Analyzer;

/// Words made ready to be looked for, and how they are split.
#[derive(Debug)]
pub(in crate::filter) struct Words {
    analyzer: Arc<Analyzer>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Each of them, ascending. No words at all are in no text.
    All(Vec<Box<str>>),
    /// One of them, ascending.
    Any(Vec<Box<str>>),
    /// Side by side, in order; and for each place, where to go on after a mismatch behind it (Knuth, Morris and Pratt).
    Phrase(Vec<Box<str>>, Vec<u32>),
}

impl Words {
    pub(super) fn all(text: &str, analyzer: Arc<Analyzer>) -> Words {
        Words { kind: Kind::All(sorted(analyzer.query(text))), analyzer }
    }

    pub(super) fn any(text: &str, analyzer: Arc<Analyzer>) -> Words {
        Words { kind: Kind::Any(sorted(analyzer.query(text))), analyzer }
    }

    pub(super) fn phrase(text: &str, analyzer: Arc<Analyzer>) -> Words {
        let words = analyzer.phrase(text);
        let borders = borders(&words);
        Words { kind: Kind::Phrase(words, borders), analyzer }
    }

    pub(super) fn in_text(&self, text: &str) -> bool {
        match &self.kind {
            Kind::All(words) | Kind::Any(words) | Kind::Phrase(words, _) if words.is_empty() => false,
            Kind::All(words) => self.has_all(words, text),
            Kind::Any(words) => {
                let known = |word: &str| words.binary_search_by(|one| (**one).cmp(word)).is_ok();
                self.analyzer.document(text, |word| if known(word) { stop() } else { go_on() }).is_break()
            }
            Kind::Phrase(words, borders) => self.has_phrase(words, borders, text),
        }
    }

    fn has_all(&self, words: &[Box<str>], text: &str) -> bool {
        let (mut few, mut many) = ([0u64], Vec::new());
        let seen: &mut [u64] = match words.len() {
            0..=64 => &mut few,
            more => {
                many.resize(more.div_ceil(64), 0);
                &mut many
            }
        };
        let mut missing = words.len();
        let flow = self.analyzer.document(text, |word| {
            let Ok(at) = words.binary_search_by(|one| (**one).cmp(word)) else { return go_on() };
            let (seen, bit) = (&mut seen[at / 64], 1 << (at % 64));
            missing -= usize::from(*seen & bit == 0);
            *seen |= bit;
            if missing == 0 { stop() } else { go_on() }
        });
        flow.is_break()
    }

    fn has_phrase(&self, words: &[Box<str>], borders: &[u32], text: &str) -> bool {
        let mut matched = 0;
        let flow = self.analyzer.document_positions(text, |word| {
            while matched > 0 && *words[matched] != *word {
                matched = borders[matched - 1] as usize;
            }
            matched += usize::from(*words[matched] == *word);
            if matched == words.len() { stop() } else { go_on() }
        });
        flow.is_break()
    }
}

fn stop() -> ControlFlow<()> {
    ControlFlow::Break(())
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn sorted(mut words: Vec<Box<str>>) -> Vec<Box<str>> {
    words.sort_unstable();
    words.dedup();
    words
}

/// For each place the length of the longest proper prefix that also ends there.
fn borders(words: &[Box<str>]) -> Vec<u32> {
    let mut borders = vec![0; words.len()];
    for at in 1..words.len() {
        let mut border = borders[at - 1] as usize;
        while border > 0 && words[border] != words[at] {
            border = borders[border - 1] as usize;
        }
        borders[at] = (border + usize::from(words[border] == words[at])) as u32;
    }
    borders
}
