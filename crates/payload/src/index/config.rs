//! What a field index is made for: its kind and its options, and their bytes.
//!
//! It refuses options that ask for nothing (an integer index for neither equality nor ranges).

use nearfield_codec::{DecodeError, Decoder, Encoder};

use crate::text::{Analyzer, Language, STOPWORDS_MAX, TextConfig, TextError, Tokenizer, WORD_BYTES_MAX};

/// What the values of an indexed field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexKind {
    /// Text as a whole.
    Keyword,
    /// Integers of 64 bits.
    Integer,
    /// Numbers.
    Float,
    /// `true` and `false`.
    Bool,
    /// Text that is a date or a time.
    Datetime,
    /// Text that is a UUID.
    Uuid,
    /// Places on Earth.
    Geo,
    /// Text, word by word.
    Text,
}

/// The kind of an index with its options. One sorted structure serves equality, ranges and prefixes alike, so an option says
/// what the user asked for; an index answers whatever it can.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexConfig {
    /// Text as a whole.
    Keyword {
        /// Prefixes are asked for.
        prefix: bool,
    },
    /// Integers.
    Integer {
        /// Equality is asked for.
        lookup: bool,
        /// Ranges are asked for.
        range: bool,
    },
    /// Numbers.
    Float,
    /// `true` and `false`.
    Bool,
    /// Dates and times.
    Datetime,
    /// UUIDs.
    Uuid,
    /// Places.
    Geo,
    /// Words.
    Text(TextConfig),
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing would be answered.
    #[error("an integer index needs `lookup` or `range`: both are false")]
    Useless,
    /// A text option is out of its range.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The bytes are not a configuration.
    #[error("configuration of a field index: {0}")]
    Decode(#[from] DecodeError),
}

impl IndexKind {
    /// Every kind.
    pub const ALL: [IndexKind; 8] = [
        IndexKind::Keyword,
        IndexKind::Integer,
        IndexKind::Float,
        IndexKind::Bool,
        IndexKind::Datetime,
        IndexKind::Uuid,
        IndexKind::Geo,
        IndexKind::Text,
    ];

    /// The name in interfaces and messages.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Keyword => "keyword",
            IndexKind::Integer => "integer",
            IndexKind::Float => "float",
            IndexKind::Bool => "bool",
            IndexKind::Datetime => "datetime",
            IndexKind::Uuid => "uuid",
            IndexKind::Geo => "geo",
            IndexKind::Text => "text",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<IndexKind> {
        IndexKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The number in files.
    pub(crate) fn code(self) -> u32 {
        self as u32 + 1
    }

    /// The kind with its usual options.
    pub fn config(self) -> IndexConfig {
        match self {
            IndexKind::Keyword => IndexConfig::Keyword { prefix: false },
            IndexKind::Integer => IndexConfig::Integer { lookup: true, range: true },
            IndexKind::Float => IndexConfig::Float,
            IndexKind::Bool => IndexConfig::Bool,
            IndexKind::Datetime => IndexConfig::Datetime,
            IndexKind::Uuid => IndexConfig::Uuid,
            IndexKind::Geo => IndexConfig::Geo,
            IndexKind::Text => IndexConfig::Text(TextConfig::default()),
        }
    }
}

impl IndexConfig {
    /// Which kind it is.
    pub fn kind(&self) -> IndexKind {
        match self {
            IndexConfig::Keyword { .. } => IndexKind::Keyword,
            IndexConfig::Integer { .. } => IndexKind::Integer,
            IndexConfig::Float => IndexKind::Float,
            IndexConfig::Bool => IndexKind::Bool,
            IndexConfig::Datetime => IndexKind::Datetime,
            IndexConfig::Uuid => IndexKind::Uuid,
            IndexConfig::Geo => IndexKind::Geo,
            IndexConfig::Text(_) => IndexKind::Text,
        }
    }

    /// Refuses what no index can be made of.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the option.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            IndexConfig::Integer { lookup: false, range: false } => Err(ConfigError::Useless),
            IndexConfig::Text(text) => Ok(Analyzer::new(text).map(|_| ())?),
            _ => Ok(()),
        }
    }

    /// The configuration as bytes, the same for the same configuration.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoder::new();
        bytes.u32(self.kind().code());
        match self {
            IndexConfig::Keyword { prefix } => {
                bytes.u8((*prefix).into());
            }
            IndexConfig::Integer { lookup, range } => {
                bytes.u8((*lookup).into()).u8((*range).into());
            }
            IndexConfig::Text(text) => encode_text(text, &mut bytes),
            _ => {}
        }
        bytes.into_vec()
    }

    /// Reads what [`IndexConfig::encode`] wrote, and checks it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<IndexConfig, ConfigError> {
        let mut from = Decoder::new(bytes);
        let code = from.u32()?;
        let kind = IndexKind::ALL.into_iter().find(|kind| kind.code() == code);
        let kind = kind.ok_or_else(|| from.range_error(code.into()))?;
        let config = match kind {
            IndexKind::Keyword => IndexConfig::Keyword { prefix: flag(&mut from)? },
            IndexKind::Integer => IndexConfig::Integer { lookup: flag(&mut from)?, range: flag(&mut from)? },
            IndexKind::Text => IndexConfig::Text(decode_text(&mut from)?),
            kind => kind.config(),
        };
        from.finish()?;
        config.check()?;
        Ok(config)
    }
}

fn flag(from: &mut Decoder<'_>) -> Result<bool, DecodeError> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(from.range_error(other.into())),
    }
}

/// Names of languages are short; this is far above.
const LANGUAGE_BYTES_MAX: usize = 32;

fn encode_text(text: &TextConfig, bytes: &mut Encoder) {
    let tokenizer = match text.tokenizer {
        Tokenizer::Word => 0,
        Tokenizer::Whitespace => 1,
        Tokenizer::Prefix => 2,
    };
    bytes
        .u8(tokenizer)
        .u8(text.lowercase.into())
        .u8(text.ascii_folding.into())
        .u8(text.phrase_matching.into());
    // No length is zero, so zero is none.
    bytes.u32(text.min_token_len.unwrap_or(0)).u32(text.max_token_len.unwrap_or(0));
    bytes.u32(text.stopwords.len() as u32);
    text.stopwords.iter().for_each(|language| {
        bytes.counted(language.name().as_bytes());
    });
    bytes.u32(text.stopwords_custom.len() as u32);
    text.stopwords_custom.iter().for_each(|word| {
        bytes.counted(word.as_bytes());
    });
    bytes.counted(text.stemmer.map_or("", Language::name).as_bytes());
}

fn decode_text(from: &mut Decoder<'_>) -> Result<TextConfig, DecodeError> {
    let tokenizer = match from.u8()? {
        0 => Tokenizer::Word,
        1 => Tokenizer::Whitespace,
        2 => Tokenizer::Prefix,
        other => return Err(from.range_error(other.into())),
    };
    let (lowercase, ascii_folding, phrase_matching) = (flag(from)?, flag(from)?, flag(from)?);
    let length = |value: u32| (value > 0).then_some(value);
    let (min_token_len, max_token_len) = (length(from.u32()?), length(from.u32()?));
    let count = from.count(4)?;
    let stopwords = (0..count)
        .map(|_| language(from).and_then(|found| found.ok_or_else(|| from.range_error(0))))
        .collect::<Result<_, _>>()?;
    let count = from.count(4)?;
    if count > STOPWORDS_MAX {
        return Err(from.range_error(count as u64));
    }
    let stopwords_custom =
        (0..count).map(|_| Ok(from.text(WORD_BYTES_MAX)?.into())).collect::<Result<_, DecodeError>>()?;
    let stemmer = language(from)?;
    Ok(TextConfig {
        tokenizer,
        lowercase,
        ascii_folding,
        phrase_matching,
        min_token_len,
        max_token_len,
        stopwords,
        stopwords_custom,
        stemmer,
    })
}

/// The language whose name comes next; `None` for the empty name.
fn language(from: &mut Decoder<'_>) -> Result<Option<Language>, DecodeError> {
    match from.text(LANGUAGE_BYTES_MAX)? {
        "" => Ok(None),
        name => Language::from_name(name).map(Some).ok_or_else(|| from.range_error(name.len() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_back_and_prefixes_do_not() {
        let text = TextConfig {
            tokenizer: Tokenizer::Prefix,
            ascii_folding: true,
            phrase_matching: true,
            min_token_len: Some(2),
            stopwords: vec![Language::English],
            stopwords_custom: vec!["foo".into(), "für".into()],
            stemmer: Some(Language::German),
            ..TextConfig::default()
        };
        let others = [
            IndexConfig::Keyword { prefix: true },
            IndexConfig::Integer { lookup: false, range: true },
            IndexConfig::Text(text),
        ];
        for config in IndexKind::ALL.map(IndexKind::config).into_iter().chain(others) {
            let bytes = config.encode();
            assert_eq!(IndexConfig::decode(&bytes), Ok(config));
            assert!((0..bytes.len()).all(|cut| IndexConfig::decode(&bytes[..cut]).is_err()));
        }
        assert!(IndexConfig::decode(&[9, 0, 0, 0]).is_err());
        let useless = IndexConfig::Integer { lookup: false, range: false };
        assert_eq!(IndexConfig::decode(&useless.encode()), Err(ConfigError::Useless));
        assert!(IndexKind::ALL.iter().all(|&kind| IndexKind::from_name(kind.name()) == Some(kind)));
    }
}
