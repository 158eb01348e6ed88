//! How far a walk must look for a recall: measured once per graph, kept beside it, looked up by every search that names a recall.
//!
//! It refuses to extrapolate: a recall beyond what was reached gets the widest margin that was measured.

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_quant::Precision;

/// Recalls a search may ask for.
pub const RECALL_MIN: f32 = 0.5;
/// The highest of them.
pub const RECALL_MAX: f32 = 0.999;

const VERSION: u8 = 2;
const POINTS_MAX: usize = 64;

/// What the walk of a graph scores by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// The first plane of the codes; the second comes in when results are sorted.
    #[default]
    Coarse,
    /// Both planes: for data that the first alone does not tell apart.
    Fine,
    /// The vectors themselves.
    Exact,
}

impl Tier {
    /// The precision of the codes it walks on, if it walks on codes.
    pub fn precision(self) -> Option<Precision> {
        match self {
            Tier::Coarse => Some(Precision::Coarse),
            Tier::Fine => Some(Precision::Fine),
            Tier::Exact => None,
        }
    }

    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Coarse => "coarse codes",
            Tier::Fine => "fine codes",
            Tier::Exact => "vectors",
        }
    }
}

/// Recall at ten by margin, as measured on rows held out of their own searches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// What walks score by.
    pub tier: Tier,
    /// There are codes, whether or not walks use them.
    pub has_codes: bool,
    /// The length of the longest vector, where scores are products; else 0. It tells how low a score can be.
    pub longest: f32,
    /// Margins, as shares of the distance of the tenth result ([`Margin`](nearfield_ann::Margin)), and recalls, both ascending. Empty
    /// where nothing was measured.
    pub points: Vec<(f32, f32)>,
}

impl Calibration {
    /// The margin for `recall`, between the two points around it by straight line; `None` where nothing was measured.
    pub fn margin(&self, recall: f32) -> Option<f32> {
        let at = self.points.partition_point(|&(_, reached)| reached < recall);
        let Some(&(margin, reached)) = self.points.get(at) else {
            return self.points.last().map(|&(margin, _)| margin);
        };
        let Some(&(below, lower)) = at.checked_sub(1).and_then(|at| self.points.get(at)) else {
            return Some(margin);
        };
        Some(below + (recall - lower) / (reached - lower) * (margin - below))
    }

    /// The highest recall that was reached.
    pub fn best(&self) -> Option<f32> {
        self.points.last().map(|&(_, recall)| recall)
    }

    /// The bytes kept beside the graph.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoder::new();
        bytes.u8(VERSION).u8(self.tier as u8).u8(u8::from(self.has_codes)).u8(self.points.len() as u8);
        bytes.f32(self.longest);
        for &(margin, recall) in &self.points {
            bytes.f32(margin).f32(recall);
        }
        bytes.into_vec()
    }

    /// Reads what [`Calibration::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Calibration, DecodeError> {
        let mut from = Decoder::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(from.range_error(version.into()));
        }
        let tier = match from.u8()? {
            0 => Tier::Coarse,
            1 => Tier::Fine,
            2 => Tier::Exact,
            other => return Err(from.range_error(other.into())),
        };
        let has_codes = match from.u8()? {
            0 => false,
            1 => true,
            other => return Err(from.range_error(other.into())),
        };
        let count = usize::from(from.u8()?);
        if count > POINTS_MAX {
            return Err(from.range_error(count as u64));
        }
        let longest = from.f32()?;
        if !(0.0..=f32::MAX).contains(&longest) {
            return Err(from.range_error(longest.to_bits().into()));
        }
        let mut points: Vec<(f32, f32)> = Vec::new();
        for _ in 0..count {
            let (margin, recall) = (from.f32()?, from.f32()?);
            let ascends = points.last().is_none_or(|&(last, reached)| margin > last && recall > reached);
            if !ascends || !(0.0..=f32::MAX).contains(&margin) || !(0.0..=1.0).contains(&recall) {
                return Err(from.range_error(margin.to_bits().into()));
            }
            points.push((margin, recall));
        }
        from.finish()?;
        Ok(Calibration { tier, has_codes, longest, points })
    }

    /// Adds a measurement; what a walk with a wider margin found cannot be less than what one with a narrower did.
    pub(crate) fn note(&mut self, margin: f32, recall: f32) {
        if self.points.last().is_none_or(|&(last, reached)| margin > last && recall > reached) {
            self.points.push((margin, recall));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        let points = vec![(0.125, 0.75), (0.25, 0.875), (0.5, 1.0)];
        Calibration { tier: Tier::Fine, has_codes: true, longest: 2.0, points }
    }

    #[test]
    fn margins_lie_on_lines_between_points() {
        let calibration = calibration();
        let margins = [0.5, 0.75, 0.8125, 0.875, 0.9375, 1.0].map(|recall| calibration.margin(recall));
        assert_eq!(margins, [0.125, 0.125, 0.1875, 0.25, 0.375, 0.5].map(Some));
        assert_eq!((Calibration::default().margin(0.9), calibration.best()), (None, Some(1.0)));
    }

    #[test]
    fn what_does_not_ascend_is_not_noted() {
        let mut calibration = Calibration::default();
        for (margin, recall) in [(0.1, 0.9), (0.2, 0.9), (0.15, 0.95), (0.14, 0.97), (0.3, 0.94), (0.4, 0.98)]
        {
            calibration.note(margin, recall);
        }
        assert_eq!(calibration.points, [(0.1, 0.9), (0.15, 0.95), (0.4, 0.98)]);
    }

    #[test]
    fn bytes_round_trip_and_damage_is_refused() {
        let bytes = calibration().encode();
        assert_eq!(Calibration::decode(&bytes), Ok(calibration()));
        for length in 0..bytes.len() {
            assert!(Calibration::decode(&bytes[..length]).is_err());
        }
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            if let Ok(read) = Calibration::decode(&damaged) {
                assert!(read.points.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}
