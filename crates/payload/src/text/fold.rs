//! Letters without their marks: what ASCII folding makes of a character.
//!
//! It refuses alphabets other than Latin: their letters stay as they are.

use std::collections::HashMap;
use std::sync::LazyLock;

/// ASCII text and the characters that become it: the Latin letters and digits that Unicode decomposes to it, and those with a stroke, hook or ligature.
#[rustfmt::skip]
const FOLDED: &[(&str, &str)] = &[
    ("0", "⁰₀０"),
    ("1", "¹₁１"),
    ("2", "²₂２"),
    ("3", "³₃３"),
    ("4", "⁴₄４"),
    ("5", "⁵₅５"),
    ("6", "⁶₆６"),
    ("7", "⁷₇７"),
    ("8", "⁸₈８"),
    ("9", "⁹₉９"),
    ("A", "ÀÁÂÃÄÅĀĂĄƏǍǞǠǺȀȂȦȺḀẠẢẤẦẨẪẬẮẰẲẴẶＡ"),
    ("AE", "ÆǢǼ"),
    ("B", "ƁƂɃḂḄḆＢ"),
    ("C", "ÇĆĈĊČƇȻḈＣ"),
    ("D", "ÐĎĐƉƊḊḌḎḐḒＤ"),
    ("DZ", "ǄǱ"),
    ("Dz", "ǅǲ"),
    ("E", "ÈÉÊËĒĔĖĘĚȄȆȨɆḔḖḘḚḜẸẺẼẾỀỂỄỆＥ"),
    ("F", "ƑḞＦ"),
    ("G", "ĜĞĠĢƓǤǦǴḠＧ"),
    ("H", "ĤĦȞḢḤḦḨḪＨ"),
    ("I", "ÌÍÎÏĨĪĬĮİƗǏȈȊḬḮỈỊＩ"),
    ("IJ", "Ĳ"),
    ("J", "ĴɈＪ"),
    ("K", "ĶƘǨḰḲḴＫ"),
    ("L", "ĹĻĽŁȽḶḸḺḼＬ"),
    ("LJ", "Ǉ"),
    ("Lj", "ǈ"),
    ("M", "ḾṀṂＭ"),
    ("N", "ÑŃŅŇŊƝǸṄṆṈṊＮ"),
    ("NJ", "Ǌ"),
    ("Nj", "ǋ"),
    ("O", "ÒÓÔÕÖØŌŎŐƠǑǪǬǾȌȎȪȬȮȰṌṎṐṒỌỎỐỒỔỖỘỚỜỞỠỢＯ"),
    ("OE", "Œ"),
    ("P", "ƤṔṖＰ"),
    ("Q", "Ｑ"),
    ("R", "ŔŖŘȐȒɌṘṚṜṞＲ"),
    ("S", "ŚŜŞŠȘṠṢṤṦṨＳ"),
    ("SS", "ẞ"),
    ("T", "ŢŤŦƬƮȚȾṪṬṮṰＴ"),
    ("TH", "Þ"),
    ("U", "ÙÚÛÜŨŪŬŮŰŲƯǓǕǗǙǛȔȖɄṲṴṶṸṺỤỦỨỪỬỮỰＵ"),
    ("V", "ƲṼṾＶ"),
    ("W", "ŴẀẂẄẆẈＷ"),
    ("X", "ẊẌＸ"),
    ("Y", "ÝŶŸƳȲɎẎỲỴỶỸＹ"),
    ("Z", "ŹŻŽƵȤẐẒẔＺ"),
    ("a", "àáâãäåāăąǎǟǡǻȁȃȧəḁạảấầẩẫậắằẳẵặₐₔａ"),
    ("ae", "æǣǽ"),
    ("b", "ƀƃḃḅḇｂ"),
    ("c", "çćĉċčƈȼḉｃ"),
    ("d", "ðďđḋḍḏḑḓｄ"),
    ("dz", "ǆǳ"),
    ("e", "èéêëēĕėęěǝȅȇȩɇḕḗḙḛḝẹẻẽếềểễệₑｅ"),
    ("f", "ƒḟｆ"),
    ("ff", "ﬀ"),
    ("ffi", "ﬃ"),
    ("ffl", "ﬄ"),
    ("fi", "ﬁ"),
    ("fl", "ﬂ"),
    ("g", "ĝğġģǥǧǵḡｇ"),
    ("h", "ĥħȟḣḥḧḩḫẖₕｈ"),
    ("i", "ìíîïĩīĭįıǐȉȋḭḯỉịⁱｉ"),
    ("ij", "ĳ"),
    ("j", "ĵǰȷɉｊ"),
    ("k", "ķƙǩḱḳḵₖｋ"),
    ("l", "ĺļľłƚḷḹḻḽₗｌ"),
    ("lj", "ǉ"),
    ("m", "ḿṁṃₘｍ"),
    ("n", "ñńņňŋƞǹṅṇṉṋⁿₙｎ"),
    ("nj", "ǌ"),
    ("o", "òóôõöøōŏőơǒǫǭǿȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợₒｏ"),
    ("oe", "œ"),
    ("p", "ƥṕṗₚｐ"),
    ("q", "ĸｑ"),
    ("r", "ŕŗřȑȓɍṙṛṝṟｒ"),
    ("s", "śŝşšſșṡṣṥṧṩẛₛｓ"),
    ("ss", "ß"),
    ("st", "ﬅﬆ"),
    ("t", "ţťŧƫƭțṫṭṯṱẗₜｔ"),
    ("th", "þ"),
    ("u", "ùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữựｕ"),
    ("v", "ṽṿｖ"),
    ("w", "ŵẁẃẅẇẉẘｗ"),
    ("x", "ẋẍₓｘ"),
    ("y", "ýÿŷƴȳɏẏẙỳỵỷỹｙ"),
    ("z", "źżžƶȥẑẓẕｚ"),
];

static TABLE: LazyLock<HashMap<char, &'static str>> = LazyLock::new(|| {
    FOLDED.iter().flat_map(|(ascii, letters)| letters.chars().map(move |letter| (letter, *ascii))).collect()
});

/// Appends `text` with every letter that has a form in ASCII in that form; marks that stand alone after a letter are left out.
pub(super) fn fold_into(text: &str, out: &mut String) {
    for letter in text.chars() {
        match TABLE.get(&letter) {
            Some(ascii) => out.push_str(ascii),
            None if matches!(letter, '\u{300}'..='\u{36f}') => {}
            None => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_latin_letters_alone() {
        let cases = [
            ("plain", "plain"),
            ("Straße café ÅNGSTRÖM", "Strasse cafe ANGSTROM"),
            ("œuvre ﬁne łódź Ĳssel", "oeuvre fine lodz IJssel"),
            ("cafe\u{301}", "cafe"),
            ("ｆｕｌｌ１２", "full12"),
            ("ếƠ", "eO"),
            ("Ελλάδα 日本 мир", "Ελλάδα 日本 мир"),
        ];
        for (text, folded) in cases {
            let mut out = String::new();
            fold_into(text, &mut out);
            assert_eq!(out, folded);
        }
    }

    #[test]
    fn every_letter_has_one_form() {
        let letters: usize = FOLDED.iter().map(|(_, letters)| letters.chars().count()).sum();
        assert_eq!(letters, TABLE.len());
        assert!(FOLDED.iter().all(|(ascii, _)| ascii.is_ascii()));
    }
}
