//! Which slots have a vector: one bit each, only kept where some have none.

/// A bit per slot of `0..len`, set where there is a vector. Bits beyond the length are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    words: Vec<u64>,
}

impl Presence {
    /// Words for `len` bits.
    pub(crate) fn words_for(len: u32) -> usize {
        len.div_ceil(u64::BITS) as usize
    }

    /// From words as a file holds them; `None` where a bit beyond `len` is set or the number of words is not `len`'s.
    pub(crate) fn from_words(words: Vec<u64>, len: u32) -> Option<Presence> {
        let tail = len % u64::BITS;
        let beyond = if tail == 0 { 0 } else { u64::MAX << tail };
        let is_clean = words.last().is_none_or(|last| last & beyond == 0);
        (is_clean && words.len() == Presence::words_for(len)).then_some(Presence { words })
    }

    pub(crate) fn set(&mut self, slot: u32) {
        let word = (slot / u64::BITS) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % u64::BITS);
    }

    #[inline]
    pub(crate) fn has(&self, slot: u32) -> bool {
        let word = self.words.get((slot / u64::BITS) as usize);
        word.is_some_and(|word| word >> (slot % u64::BITS) & 1 == 1)
    }

    /// How many bits are set.
    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The words of `len` bits, trailing ones without any bit included.
    pub(crate) fn into_words(mut self, len: u32) -> Vec<u64> {
        self.words.resize(Presence::words_for(len), 0);
        self.words
    }

    pub(crate) fn memory(&self) -> u64 {
        size_of_val(self.words.as_slice()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_round_trip_and_beyond_is_refused() {
        for len in [0, 1, 63, 64, 65, 200] {
            let mut presence = Presence::default();
            (0..len).filter(|slot| slot % 3 == 0).for_each(|slot| presence.set(slot));
            assert_eq!(presence.count(), len.div_ceil(3));
            let words = presence.clone().into_words(len);
            let read = Presence::from_words(words.clone(), len).unwrap();
            assert!((0..len + 9).all(|slot| read.has(slot) == (slot < len && slot % 3 == 0)));
            assert!(Presence::from_words([words.clone(), vec![0]].concat(), len).is_none());
            if len % 64 != 0 {
                let mut beyond = words;
                *beyond.last_mut().unwrap() |= 1 << (len % 64);
                assert!(Presence::from_words(beyond, len).is_none());
            }
        }
    }
}
