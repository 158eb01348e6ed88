//! What can be typed about the indexes of payload fields.
//!
//! **It refuses** to know which option belongs to which kind of index: `index` does.

use clap::{Args, Subcommand, ValueEnum};
use nearfield::{FieldKind, Tokenizer};

use super::Target;

#[derive(Debug, Args)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
pub(crate) struct Index {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias
    pub(crate) collection: String,
    #[command(subcommand)]
    pub(crate) action: Option<IndexAction>,
}

/// What to do with indexes; without an action they are listed.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexAction {
    /// Show which there are, and what room they take
    List,
    /// Make an index of a field and build it
    Create {
        /// Path of the field: key, a.b, a[].b, a[0]
        field: String,
        /// What its values are
        kind: KindName,
        #[command(flatten)]
        options: Box<IndexOptions>,
    },
    /// Remove the index of a field; nothing else changes but how fast filters are
    Drop {
        /// Path of the field
        field: String,
    },
}

/// The options of all kinds; one that does not belong to the kind is refused.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct IndexOptions {
    /// keyword: prefixes will be asked for
    #[arg(long)]
    pub(crate) prefix: bool,
    /// integer: no ranges and no orders will be asked for
    #[arg(long)]
    pub(crate) no_range: bool,
    /// integer: no single values will be asked for
    #[arg(long)]
    pub(crate) no_lookup: bool,
    /// text: how it is split
    #[arg(long, value_name = "HOW")]
    pub(crate) tokenizer: Option<TokenizerName>,
    /// text: upper and lower case are different
    #[arg(long)]
    pub(crate) case_sensitive: bool,
    /// text: marks on Latin letters do not count
    #[arg(long)]
    pub(crate) ascii_folding: bool,
    /// text: phrases will be asked for; takes more room
    #[arg(long)]
    pub(crate) phrases: bool,
    /// text: shorter words are left out
    #[arg(long, value_name = "N")]
    pub(crate) min_token_len: Option<u32>,
    /// text: longer words are left out
    #[arg(long, value_name = "N")]
    pub(crate) max_token_len: Option<u32>,
    /// text: stop words of this language are left out, once for each
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) stopwords: Vec<String>,
    /// text: endings of this language do not count
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) stemmer: Option<String>,
}

impl IndexOptions {
    /// Those of a text index.
    pub(crate) const TEXT: &'static [&'static str] = &[
        "tokenizer",
        "case-sensitive",
        "ascii-folding",
        "phrases",
        "min-token-len",
        "max-token-len",
        "stopwords",
        "stemmer",
    ];

    /// The names of those that were typed.
    pub(crate) fn typed(&self) -> Vec<&'static str> {
        let all = [
            ("prefix", self.prefix),
            ("no-range", self.no_range),
            ("no-lookup", self.no_lookup),
            ("tokenizer", self.tokenizer.is_some()),
            ("case-sensitive", self.case_sensitive),
            ("ascii-folding", self.ascii_folding),
            ("phrases", self.phrases),
            ("min-token-len", self.min_token_len.is_some()),
            ("max-token-len", self.max_token_len.is_some()),
            ("stopwords", !self.stopwords.is_empty()),
            ("stemmer", self.stemmer.is_some()),
        ];
        all.into_iter().filter_map(|(name, typed)| typed.then_some(name)).collect()
    }
}

/// The kinds of indexes by the names of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    /// Text as a whole
    Keyword,
    /// Integers
    Integer,
    /// Numbers
    Float,
    /// True and false
    Bool,
    /// Dates and times
    Datetime,
    /// UUIDs
    Uuid,
    /// Places: objects with lon and lat
    Geo,
    /// Text, word by word
    Text,
}

impl From<KindName> for FieldKind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Keyword => FieldKind::Keyword,
            KindName::Integer => FieldKind::Integer,
            KindName::Float => FieldKind::Float,
            KindName::Bool => FieldKind::Bool,
            KindName::Datetime => FieldKind::Datetime,
            KindName::Uuid => FieldKind::Uuid,
            KindName::Geo => FieldKind::Geo,
            KindName::Text => FieldKind::Text,
        }
    }
}

/// The tokenizers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenizerName {
    /// Words, as people would see them; the usual one
    Word,
    /// Between white space
    Whitespace,
    /// Words and all their beginnings
    Prefix,
}

impl From<TokenizerName> for Tokenizer {
    fn from(name: TokenizerName) -> Self {
        match name {
            TokenizerName::Word => Tokenizer::Word,
            TokenizerName::Whitespace => Tokenizer::Whitespace,
            TokenizerName::Prefix => Tokenizer::Prefix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_library() {
        for kind in FieldKind::ALL {
            let name = KindName::from_str(kind.name(), false).unwrap();
            assert_eq!(FieldKind::from(name), kind);
        }
    }
}
