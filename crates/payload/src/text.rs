//! Text as words: splitting, lower case, ASCII folding, stop words, stems, lengths.
//!
//! **It refuses** languages whose words are not set apart (they stay whole between spaces), guessing a language, and scoring.
//!
//! # Invariants
//!
//! 1. A query and a document of the same words give the same tokens, in the same order, under the same [`TextConfig`].
//! 2. A scan and a text index split by one [`Analyzer`], so they find the same.

mod fold;
mod stopwords;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;

use waken_snowball::Algorithm;

/// Most stop words that may be given.
pub const STOPWORDS_MAX: usize = 65_536;
/// Most bytes of one of them, and of a word that is stemmed; longer words stay as they are.
pub const WORD_BYTES_MAX: usize = 256;
/// Most characters of a prefix; what is longer is found by its first so many.
pub const PREFIX_CHARS_MAX: u32 = 256;

/// How text is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tokenizer {
    /// Runs of letters and digits.
    #[default]
    Word,
    /// What stands between white space.
    Whitespace,
    /// As `Word`; a document has every beginning of its words, so that a query finds words by how they begin.
    Prefix,
}

/// How text becomes tokens. The default is what unindexed text is split by: words in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// How text is split.
    pub tokenizer: Tokenizer,
    /// Case does not count.
    pub lowercase: bool,
    /// Marks on Latin letters do not count.
    pub ascii_folding: bool,
    /// Phrases are looked for; an index keeps positions then.
    pub phrase_matching: bool,
    /// Fewest characters of a token; shortest prefix.
    pub min_token_len: Option<u32>,
    /// Most characters of a token; longest prefix.
    pub max_token_len: Option<u32>,
    /// Languages whose stop words are left out.
    pub stopwords: Vec<Language>,
    /// Other words that are left out.
    pub stopwords_custom: Vec<Box<str>>,
    /// The language whose endings do not count.
    pub stemmer: Option<Language>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No token has such a length.
    #[error(
        "min_token_len is {min} and max_token_len is {max}: the least must be at least 1 and at most the greatest"
    )]
    Lengths {
        /// The fewest characters.
        min: u32,
        /// The most.
        max: u32,
    },
    /// No list for the language.
    #[error("there is no stop word list for {0}: give the words themselves")]
    Stopwords(Language),
    /// Too many words.
    #[error("{count} stop words: at most {STOPWORDS_MAX} are allowed")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// A word is too long.
    #[error("a stop word has {bytes} bytes: at most {WORD_BYTES_MAX} are allowed")]
    Word {
        /// Its length.
        bytes: usize,
    },
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            tokenizer: Tokenizer::Word,
            lowercase: true,
            ascii_folding: false,
            phrase_matching: false,
            min_token_len: None,
            max_token_len: None,
            stopwords: Vec::new(),
            stopwords_custom: Vec::new(),
            stemmer: None,
        }
    }
}

/// Languages with stems; some have stop words.
macro_rules! languages {
    ($($name:ident $text:literal),* $(,)?) => {
        /// A language whose endings are known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Language {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl Language {
            /// Every language.
            pub const ALL: &[Language] = &[$(Language::$name),*];

            /// The English name in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Language::$name => $text,)* }
            }

            fn algorithm(self) -> Algorithm {
                match self { $(Language::$name => Algorithm::$name,)* }
            }
        }
    };
}

languages! {
    Arabic "arabic", Armenian "armenian", Basque "basque", Catalan "catalan", Danish "danish", Dutch "dutch", English "english", Estonian "estonian",
    Finnish "finnish", French "french", German "german", Greek "greek", Hindi "hindi", Hungarian "hungarian", Indonesian "indonesian", Irish "irish",
    Italian "italian", Lithuanian "lithuanian", Nepali "nepali", Norwegian "norwegian", Portuguese "portuguese", Romanian "romanian",
    Russian "russian", Serbian "serbian", Spanish "spanish", Swedish "swedish", Tamil "tamil", Turkish "turkish", Yiddish "yiddish",
}

impl Language {
    /// The language of this name.
    pub fn from_name(name: &str) -> Option<Language> {
        Language::ALL.iter().copied().find(|language| language.name() == name)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Splits text as a [`TextConfig`] says. Immutable; the default splits as the default configuration does.
///
/// ```
/// use nearfield_payload::text::{Analyzer, Language, TextConfig};
///
/// let config = TextConfig { stopwords: vec![Language::English], stemmer: Some(Language::English), ..TextConfig::default() };
/// let analyzer = Analyzer::new(&config)?;
/// assert_eq!(analyzer.query("The running DOGS").iter().map(|word| &**word).collect::<Vec<_>>(), ["run", "dog"]);
/// # Ok::<(), nearfield_payload::text::TextError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Analyzer {
    config: TextConfig,
    stopwords: HashSet<Box<str>>,
}

/// A buffer of one walk: a token in another form than the text has it.
type Buffer = String;

impl Analyzer {
    /// Checks the configuration and makes its lists ready.
    ///
    /// # Errors
    ///
    /// Lengths that no token has, a language without stop words, too many or too long ones.
    pub fn new(config: &TextConfig) -> Result<Analyzer, TextError> {
        let (min, max) = (config.min_token_len.unwrap_or(1), config.max_token_len.unwrap_or(u32::MAX));
        if min == 0 || min > max {
            return Err(TextError::Lengths { min, max });
        }
        if config.stopwords_custom.len() > STOPWORDS_MAX {
            return Err(TextError::Count { count: config.stopwords_custom.len() });
        }
        if let Some(long) = config.stopwords_custom.iter().find(|word| word.len() > WORD_BYTES_MAX) {
            return Err(TextError::Word { bytes: long.len() });
        }
        let mut analyzer = Analyzer { config: config.clone(), stopwords: HashSet::new() };
        let mut buffer = Buffer::new();
        for word in &config.stopwords_custom {
            let word = analyzer.normal(word, &mut buffer).into();
            analyzer.stopwords.insert(word);
        }
        for &language in &config.stopwords {
            let words = stopwords::of(language).ok_or(TextError::Stopwords(language))?;
            for word in words.split_whitespace() {
                let word = analyzer.normal(word, &mut buffer).into();
                analyzer.stopwords.insert(word);
            }
        }
        Ok(analyzer)
    }

    /// What it splits by.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The tokens of a document in order, to `each` until it breaks. Repeated ones come repeatedly.
    pub fn document(&self, text: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        match self.config.tokenizer {
            Tokenizer::Word | Tokenizer::Whitespace => self.words(text, each),
            Tokenizer::Prefix => self.words(text, |word| self.prefixes(word, &mut each)),
        }
    }

    /// The same as whole words, whatever the tokenizer: a word's place is how many came before it. Phrases are compared so.
    pub fn document_positions(
        &self,
        text: &str,
        each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.words(text, each)
    }

    /// The tokens that a document must have to hold all of this text, or one of which it must have to hold some of it.
    pub fn query(&self, text: &str) -> Vec<Box<str>> {
        match self.config.tokenizer {
            Tokenizer::Word | Tokenizer::Whitespace => self.phrase(text),
            Tokenizer::Prefix => {
                let longest = self.longest_prefix();
                self.phrase(text)
                    .into_iter()
                    .map(|word| first_chars(&word, longest).unwrap_or(&word).into())
                    .collect()
            }
        }
    }

    /// The whole words of this text, in order.
    pub fn phrase(&self, text: &str) -> Vec<Box<str>> {
        let mut words = Vec::new();
        let _ = self.words(text, |word| {
            words.push(word.into());
            ControlFlow::Continue(())
        });
        words
    }

    fn words(&self, text: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut buffer = Buffer::new();
        let mut give = |word: &str| match self.word(word, &mut buffer, &mut each) {
            Some(flow) => flow,
            None => ControlFlow::Continue(()),
        };
        match self.config.tokenizer {
            Tokenizer::Whitespace => text.split_whitespace().try_for_each(&mut give),
            // The same rule, without looking letters up.
            Tokenizer::Word | Tokenizer::Prefix if text.is_ascii() => {
                let words = text.as_bytes().split(|byte| !byte.is_ascii_alphanumeric());
                let mut words =
                    words.filter(|word| !word.is_empty()).filter_map(|word| std::str::from_utf8(word).ok());
                words.try_for_each(&mut give)
            }
            Tokenizer::Word | Tokenizer::Prefix => {
                let mut words =
                    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
                words.try_for_each(&mut give)
            }
        }
    }

    /// Gives the token of a word, if it has one.
    fn word(
        &self,
        word: &str,
        buffer: &mut Buffer,
        each: &mut impl FnMut(&str) -> ControlFlow<()>,
    ) -> Option<ControlFlow<()>> {
        let normal = self.normal(word, buffer);
        if self.stopwords.contains(normal) {
            return None;
        }
        let stem = match self.config.stemmer {
            Some(language) if normal.len() <= WORD_BYTES_MAX => {
                &*waken_snowball::stem(language.algorithm(), normal)
            }
            _ => normal,
        };
        (!stem.is_empty() && self.has_length(stem)).then(|| each(stem))
    }

    /// In lower case and without marks, where that is wished.
    fn normal<'a>(&self, word: &'a str, buffer: &'a mut Buffer) -> &'a str {
        let TextConfig { lowercase, ascii_folding, .. } = self.config;
        if word.is_ascii() {
            if !lowercase || !word.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return word;
            }
            buffer.clear();
            buffer.push_str(word);
            buffer.make_ascii_lowercase();
            return buffer;
        }
        if !lowercase && !ascii_folding {
            return word;
        }
        let lower = if lowercase { &*word.to_lowercase() } else { word };
        buffer.clear();
        match ascii_folding {
            true => fold::fold_into(lower, buffer),
            false => buffer.push_str(lower),
        }
        buffer
    }

    /// Prefixes have their lengths by themselves.
    fn has_length(&self, word: &str) -> bool {
        let (min, max) = (self.config.min_token_len, self.config.max_token_len);
        if self.config.tokenizer == Tokenizer::Prefix || (min.is_none() && max.is_none()) {
            return true;
        }
        let chars = word.chars().count();
        min.is_none_or(|min| chars >= min as usize) && max.is_none_or(|max| chars <= max as usize)
    }

    fn longest_prefix(&self) -> usize {
        self.config.max_token_len.unwrap_or(PREFIX_CHARS_MAX).min(PREFIX_CHARS_MAX) as usize
    }

    /// The beginnings of a word; a word shorter than the shortest is given whole.
    fn prefixes(&self, word: &str, each: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let longest = self.longest_prefix();
        let shortest = (self.config.min_token_len.unwrap_or(1) as usize).min(longest);
        let ends = word.char_indices().map(|(at, _)| at).chain([word.len()]);
        for (chars, end) in ends.enumerate().take(longest + 1) {
            if chars >= shortest || end == word.len() {
                each(&word[..end])?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The first `count` characters, if there are more.
fn first_chars(word: &str, count: usize) -> Option<&str> {
    word.char_indices().nth(count).map(|(end, _)| &word[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> TextConfig {
        TextConfig::default()
    }

    fn document(config: &TextConfig, text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        let _ = Analyzer::new(config).unwrap().document(text, |token| {
            tokens.push(token.to_owned());
            ControlFlow::Continue(())
        });
        tokens
    }

    fn check(config: TextConfig, text: &str, tokens: &str, query: &str) {
        assert_eq!(document(&config, text).join(" "), tokens, "{text}");
        assert_eq!(Analyzer::new(&config).unwrap().query(text).join(" "), query, "{text}");
    }

    #[test]
    fn splits() {
        let same = |config, text, tokens| check(config, text, tokens, tokens);
        same(config(), "The quick, Brown-fox_don't 3.14", "the quick brown fox don t 3 14");
        same(config(), "Straße CAFÉ Ñandú 日本語 テ", "straße café ñandú 日本語 テ");
        same(config(), "", "");
        same(config(), " .,! ", "");
        same(TextConfig { lowercase: false, ..config() }, "The CAFÉ", "The CAFÉ");
        same(TextConfig { ascii_folding: true, ..config() }, "Straße CAFÉ", "strasse cafe");
        same(TextConfig { ascii_folding: true, lowercase: false, ..config() }, "Straße CAFÉ", "Strasse CAFE");
        same(
            TextConfig { tokenizer: Tokenizer::Whitespace, ..config() },
            "don't  Stop\n-now ",
            "don't stop -now",
        );
    }

    #[test]
    fn filters_and_stems() {
        let same = |config, text, tokens| check(config, text, tokens, tokens);
        let custom = vec!["FOX".into(), "für".into()];
        let stops = TextConfig { stopwords: vec![Language::English], stopwords_custom: custom, ..config() };
        same(stops.clone(), "The quick fox und für the dog", "quick und dog");
        same(TextConfig { ascii_folding: true, ..stops.clone() }, "fur für", "");
        same(TextConfig { lowercase: false, ..stops }, "The the FOX fox", "The fox");
        let stems = TextConfig { stemmer: Some(Language::English), ..config() };
        same(stems.clone(), "running Runs easily", "run run easili");
        let long = "ing".repeat(100);
        same(stems, &long, &long);
        let lengths = TextConfig { min_token_len: Some(2), max_token_len: Some(3), ..config() };
        same(lengths, "a bc def ghij é éé", "bc def éé");
    }

    #[test]
    fn prefixes_of_documents_find_beginnings() {
        let prefix = TextConfig { tokenizer: Tokenizer::Prefix, ..config() };
        check(prefix.clone(), "Abc dé", "a ab abc d dé", "abc dé");
        let some = TextConfig { min_token_len: Some(2), max_token_len: Some(3), ..prefix.clone() };
        check(some, "abcde f gh", "ab abc f gh", "abc f gh");
        let long = "é".repeat(1_000);
        assert_eq!(document(&prefix, &long).len(), PREFIX_CHARS_MAX as usize);
        let query = Analyzer::new(&prefix).unwrap().query(&long);
        assert_eq!(document(&prefix, &long).last().unwrap(), &*query[0]);
        assert_eq!(Analyzer::new(&prefix).unwrap().phrase("Abc dé").join(" "), "abc dé");
    }

    #[test]
    fn refuses_what_says_nothing() {
        let refused = |config: TextConfig| Analyzer::new(&config).unwrap_err();
        let lengths = |min, max| TextConfig { min_token_len: min, max_token_len: max, ..config() };
        assert_eq!(refused(lengths(Some(0), None)), TextError::Lengths { min: 0, max: u32::MAX });
        assert_eq!(refused(lengths(Some(3), Some(2))), TextError::Lengths { min: 3, max: 2 });
        assert_eq!(refused(lengths(None, Some(0))), TextError::Lengths { min: 1, max: 0 });
        let stops = |language| TextConfig { stopwords: vec![language], ..config() };
        assert_eq!(refused(stops(Language::Tamil)), TextError::Stopwords(Language::Tamil));
        let custom = |words| TextConfig { stopwords_custom: words, ..config() };
        assert_eq!(refused(custom(vec!["x".into(); 65_537])), TextError::Count { count: 65_537 });
        assert_eq!(refused(custom(vec!["x".repeat(257).into()])), TextError::Word { bytes: 257 });
        assert!(Language::ALL.iter().all(|language| Language::from_name(language.name()) == Some(*language)));
    }

    proptest! {
        /// Whatever the text and the settings: no panic, and a text holds itself.
        #[test]
        fn texts_hold_themselves(
            text in "\\PC{0,40}",
            (lowercase, ascii_folding, stemmed) in any::<(bool, bool, bool)>(),
            language in proptest::sample::select(Language::ALL),
            tokenizer in proptest::sample::select(&[Tokenizer::Word, Tokenizer::Whitespace, Tokenizer::Prefix][..]),
        ) {
            let stemmer = stemmed.then_some(language);
            let config = TextConfig { tokenizer, lowercase, ascii_folding, stemmer, ..config() };
            let tokens = document(&config, &text);
            for token in Analyzer::new(&config).unwrap().query(&text) {
                prop_assert!(tokens.iter().any(|one| **one == *token));
            }
        }

        /// Words of the alphabets that the stemmers know.
        #[test]
        fn stemmers_never_panic(word in "[a-zäöüßéèñçåøšžа-яёα-ωάέή\u{621}-\u{64a}\u{900}-\u{94f}\u{b80}-\u{bcd}\u{5d0}-\u{5ea}']{1,14}") {
            for &language in Language::ALL {
                let _ = waken_snowball::stem(language.algorithm(), &word);
            }
        }
    }
}
