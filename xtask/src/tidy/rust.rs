//! Just enough of Rust's grammar to look at code without looking into comments and strings.
//!
//! It refuses to parse: it blanks what is not code and then works on words and brackets.

/// A Rust file with its comments and literals blanked out.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// The text as it is.
    pub(crate) text: &'a str,
    /// The same bytes at the same places; comments, strings and characters are spaces, line ends are kept.
    pub(crate) code: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The line of its `fn`.
    pub(crate) line: usize,
    /// Lines from its `fn` to its closing brace.
    pub(crate) lines: usize,
}

impl<'a> Source<'a> {
    /// Blanks what is not code. O(length).
    pub(crate) fn new(text: &'a str) -> Source<'a> {
        let bytes = text.as_bytes();
        let mut code = bytes.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let end = opaque_end(bytes, at);
            if end > at {
                code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                at = end;
            } else {
                at += word_len(&bytes[at..]).max(1);
            }
        }
        // Blanked ranges begin and end at ASCII delimiters, so whole characters went.
        let code = String::from_utf8(code).unwrap_or_default();
        Source { text, code }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        line_of(self.text, at)
    }

    /// Where `word` stands in the code as a whole word.
    pub(crate) fn words(&self, word: &'static str) -> impl Iterator<Item = usize> + '_ {
        let bytes = self.code.as_bytes();
        let free =
            move |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !is_word(*byte));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(move |&at| free(at.checked_sub(1)) && free(Some(at + word.len())))
    }

    /// The last byte of code before `at` that is no space.
    pub(crate) fn before(&self, at: usize) -> Option<u8> {
        self.code[..at].trim_end().bytes().next_back()
    }

    /// Where the first byte of code at or after `at` stands that is no space.
    pub(crate) fn skip_space(&self, at: usize) -> usize {
        self.code.len() - self.code[at.min(self.code.len())..].trim_start().len()
    }

    /// One past the bracket that closes the one at `open`; the end of the file if none does.
    pub(crate) fn close_of(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.code.len()
    }

    /// Where the first of `stops` stands at or after `at`, outside brackets that open after `at`.
    pub(crate) fn find_outside(&self, at: usize, stops: &[u8]) -> Option<usize> {
        let bytes = self.code.as_bytes();
        let mut at = at;
        while let Some(&byte) = bytes.get(at) {
            if stops.contains(&byte) {
                return Some(at);
            }
            at = if matches!(byte, b'(' | b'[' | b'{') { self.close_of(at) } else { at + 1 };
        }
        None
    }

    /// Every function that has a body, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function<'_>> {
        let mut found = Vec::new();
        for at in self.words("fn") {
            let name_at = self.skip_space(at + 2);
            let name = &self.code[name_at..name_at + word_len(&self.code.as_bytes()[name_at..])];
            let Some(body) = self.find_outside(name_at, b"{;") else { continue };
            if name.is_empty() || self.code.as_bytes()[body] == b';' {
                continue;
            }
            let line = self.line_of(at);
            found.push(Function { name, line, lines: self.line_of(self.close_of(body) - 1) - line + 1 });
        }
        found
    }
}

/// The line of a byte of `text`, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn word_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_word(**byte)).count()
}

/// Where the comment, string or character that begins at `at` ends; `at` itself if none begins there.
fn opaque_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment_len(rest),
        [b'"', ..] => at + quoted_len(rest, b'"'),
        [b'\'', b'\\', ..] => at + quoted_len(rest, b'\''),
        [b'\'', first, ..] => {
            let width = char_width(*first);
            // Otherwise it is a lifetime.
            if rest.get(1 + width) == Some(&b'\'') { at + 2 + width } else { at }
        }
        [b'r', ..] | [b'b' | b'c', b'r', ..] => at + raw_string_len(rest),
        _ => at,
    }
}

fn char_width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

fn block_comment_len(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_len(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and so on; 0 if it is a word that only begins like one.
fn raw_string_len(bytes: &[u8]) -> usize {
    let prefix = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let hashes = bytes[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if prefix > 2 || bytes.get(open) != Some(&b'"') || !matches!(&bytes[..prefix], b"r" | b"br" | b"cr") {
        return 0;
    }
    let mut end = vec![b'#'; hashes + 1];
    end[0] = b'"';
    let body = &bytes[open + 1..];
    let close = body.windows(end.len()).position(|window| window == end);
    open + 1 + close.map_or(body.len(), |close| close + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals_and_nothing_else() {
        let text = concat!(
            "let a = \"unsafe \\\" x\"; // unsafe\n",
            "/* unsafe /* nested */ unsafe */ let b = 'u';\n",
            "let c = r#\"unsafe \" \"#; let d: &'a str = b\"x\";\n",
            "let e = ('\\'', 'ä', br\"unsafe\", '\"'); unsafe { r#fn() }\n",
        );
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len());
        let found: Vec<usize> = source.words("unsafe").map(|at| source.line_of(at)).collect();
        assert_eq!(found, [4]);
        assert!(source.code.contains("let d: &'a str = b"), "{}", source.code);
        assert!(!source.code.contains('"'), "{}", source.code);
    }

    #[test]
    fn words_are_whole() {
        let source = Source::new("unsafe_code unsafe my_unsafe (unsafe)");
        assert_eq!(source.words("unsafe").count(), 2);
    }

    #[test]
    fn functions_have_their_lines() {
        let text =
            "fn a() {\n}\ntrait T { fn b(x: [u8; 4]); }\nfn c<'a>(x: [u8; 2])\nwhere\n{\n  \"}\";\n}\n";
        let source = Source::new(text);
        let expected = [Function { name: "a", line: 1, lines: 2 }, Function { name: "c", line: 4, lines: 5 }];
        assert_eq!(source.functions(), expected);
    }

    #[test]
    fn unfinished_text_ends_at_its_end() {
        for text in ["\"abc", "/* abc", "r#\"abc\"", "'", "'\\", "{ (", "b'", "//"] {
            let source = Source::new(text);
            assert_eq!(source.code.len(), text.len(), "{text}");
            assert_eq!(source.close_of(0), text.len(), "{text}");
        }
    }
}
