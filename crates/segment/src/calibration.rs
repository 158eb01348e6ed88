//! How broad a walk must be for a recall: measured once per graph, kept beside it, looked up by every search that names a recall.
//!
//! It refuses to extrapolate: a recall beyond what was reached gets the broadest walk that was measured.

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_quant::Precision;

/// Recalls a search may ask for.
pub const RECALL_MIN: f32 = 0.5;
/// The highest of them.
pub const RECALL_MAX: f32 = 0.999;

const VERSION: u8 = 1;
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

/// Recall at ten by breadth, as measured on rows held out of their own searches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// What walks score by.
    pub tier: Tier,
    /// There are codes, whether or not walks use them.
    pub has_codes: bool,
    /// Breadth and recall, both ascending. Empty where nothing was measured.
    pub points: Vec<(u32, f32)>,
}

impl Calibration {
    /// The breadth for `recall`, between the two points around it by straight line; `None` where nothing was measured.
    pub fn breadth(&self, recall: f32) -> Option<u32> {
        let at = self.points.partition_point(|&(_, reached)| reached < recall);
        let Some(&(breadth, reached)) = self.points.get(at) else {
            return self.points.last().map(|&(breadth, _)| breadth);
        };
        let Some(&(below, lower)) = at.checked_sub(1).and_then(|at| self.points.get(at)) else {
            return Some(breadth);
        };
        let share = (recall - lower) / (reached - lower);
        // Less a little, so that rounding in the quotient does not add one.
        Some(below + (share * (breadth - below) as f32 - 1e-3).ceil().max(0.0) as u32)
    }

    /// The highest recall that was reached.
    pub fn best(&self) -> Option<f32> {
        self.points.last().map(|&(_, recall)| recall)
    }

    /// The bytes kept beside the graph.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoder::new();
        bytes.u8(VERSION).u8(self.tier as u8).u8(u8::from(self.has_codes)).u8(self.points.len() as u8);
        for &(breadth, recall) in &self.points {
            bytes.u32(breadth).f32(recall);
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
        let mut points: Vec<(u32, f32)> = Vec::new();
        for _ in 0..count {
            let (breadth, recall) = (from.u32()?, from.f32()?);
            let ascends = points.last().is_none_or(|&(last, reached)| breadth > last && recall > reached);
            if !ascends || !(0.0..=1.0).contains(&recall) {
                return Err(from.range_error(breadth.into()));
            }
            points.push((breadth, recall));
        }
        from.finish()?;
        Ok(Calibration { tier, has_codes, points })
    }

    /// Adds a measurement; what a broader walk found cannot be less than what a narrower one did.
    pub(crate) fn note(&mut self, breadth: u32, recall: f32) {
        if self.points.last().is_none_or(|&(last, reached)| breadth > last && recall > reached) {
            self.points.push((breadth, recall));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        Calibration { tier: Tier::Fine, has_codes: true, points: vec![(10, 0.8), (20, 0.9), (64, 0.99)] }
    }

    #[test]
    fn breadths_lie_on_lines_between_points() {
        let calibration = calibration();
        let breadths = [0.5, 0.8, 0.85, 0.9, 0.945, 0.99, 0.999].map(|recall| calibration.breadth(recall));
        assert_eq!(breadths, [10, 10, 15, 20, 42, 64, 64].map(Some));
        assert_eq!((Calibration::default().breadth(0.9), calibration.best()), (None, Some(0.99)));
    }

    #[test]
    fn what_does_not_ascend_is_not_noted() {
        let mut calibration = Calibration::default();
        for (breadth, recall) in [(10, 0.9), (20, 0.9), (15, 0.95), (14, 0.97), (30, 0.94), (40, 0.98)] {
            calibration.note(breadth, recall);
        }
        assert_eq!(calibration.points, [(10, 0.9), (15, 0.95), (40, 0.98)]);
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
