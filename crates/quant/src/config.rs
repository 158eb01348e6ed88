//! What a codec is made from, checked once, and its bytes.
//!
//! It refuses to be trained: who has seen data chooses the numbers (see [`choose`](crate::choose()) and
//! [`ScalarConfig::from_sample`]).

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_types::Metric;
use nearfield_types::limits::DIMENSION_MAX;

use crate::format::{CONFIG_VERSION, FLAG_MEAN, FLAG_ROTATED, KIND_ROTATED, KIND_SCALAR};

/// The numbers of a codec. Equal numbers make equal codes.
#[derive(Clone, Debug, PartialEq)]
pub enum CodecConfig {
    /// Nested 4 + 4 bit codes.
    Rotated(RotatedConfig),
    /// 7-bit codes on one grid for all dimensions.
    Scalar(ScalarConfig),
}

/// The numbers of a [`Rotated`](crate::Rotated) codec.
#[derive(Clone, Debug, PartialEq)]
pub struct RotatedConfig {
    /// Values of a vector, 1 to 65,536.
    pub dim: u32,
    /// Cosine, dot or Euclid.
    pub metric: Metric,
    /// Which of a collection's codecs this is; not looked at here.
    pub epoch: u32,
    /// The seed of the rotation; `None` for none.
    pub seed: Option<u64>,
    /// What is subtracted before encoding (for cosine, from rows of length 1): a value a dimension, or none at all.
    pub mean: Vec<f32>,
}

/// The numbers of a [`Scalar`](crate::Scalar) codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalarConfig {
    /// Values of a vector, 1 to 65,536.
    pub dim: u32,
    /// Cosine, dot or Euclid.
    pub metric: Metric,
    /// Which of a collection's codecs this is; not looked at here.
    pub epoch: u32,
    /// The value of code 0; what is below gets that code too. For cosine, of rows of length 1.
    pub lower: f32,
    /// The value of code 127, above `lower`.
    pub upper: f32,
    /// The mean squared error of a value; only [`error_bound`](crate::Quantizer::error_bound) looks at it.
    pub noise: f32,
}

/// Why a codec cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// No vector has so many values.
    #[error("dimension {dim} is outside 1 to {DIMENSION_MAX}")]
    Dimension {
        /// The dimension asked for.
        dim: u32,
    },
    /// Inner products tell nothing of this metric.
    #[error("{metric} vectors cannot be encoded: the metric must be cosine, dot or euclid")]
    Metric {
        /// The metric asked for.
        metric: Metric,
    },
    /// The mean is not a vector of the dimension.
    #[error("the mean has {found} values, expected {expected} or none")]
    MeanDimension {
        /// The dimension.
        expected: u32,
        /// What came.
        found: usize,
    },
    /// A value of the mean is NaN or infinite.
    #[error("the mean's value at index {at} is NaN or infinite")]
    MeanNotFinite {
        /// Its index.
        at: usize,
    },
    /// The grid has no extent.
    #[error(
        "the range of scalar codes is {lower} to {upper}: both must be finite, the second above the first"
    )]
    Range {
        /// The value of code 0.
        lower: f32,
        /// The value of code 127.
        upper: f32,
    },
    /// No mean squared error.
    #[error("the noise of scalar codes is {noise}: it must be finite and not negative")]
    Noise {
        /// What came.
        noise: f32,
    },
    /// Not the bytes of a codec.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Made by a later version.
    #[error("codec has {field} {found}, which this program does not know: upgrade Nearfield to use it")]
    Unknown {
        /// What is unknown: the version, the kind, the metric code or a flag.
        field: &'static str,
        /// Its number.
        found: u8,
    },
}

impl CodecConfig {
    /// Values of a vector.
    pub fn dim(&self) -> u32 {
        match self {
            CodecConfig::Rotated(config) => config.dim,
            CodecConfig::Scalar(config) => config.dim,
        }
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        match self {
            CodecConfig::Rotated(config) => config.metric,
            CodecConfig::Scalar(config) => config.metric,
        }
    }

    /// Which of a collection's codecs this is.
    pub fn epoch(&self) -> u32 {
        match self {
            CodecConfig::Rotated(config) => config.epoch,
            CodecConfig::Scalar(config) => config.epoch,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let (dim, metric) = (self.dim(), self.metric());
        if dim == 0 || dim as usize > DIMENSION_MAX {
            return Err(ConfigError::Dimension { dim });
        }
        if metric == Metric::Manhattan {
            return Err(ConfigError::Metric { metric });
        }
        match self {
            CodecConfig::Rotated(config) => check_mean(dim, &config.mean),
            CodecConfig::Scalar(config) => check_range(config.lower, config.upper, config.noise),
        }
    }

    /// Appends the numbers to `out`.
    pub fn encode_config(&self, out: &mut Encoder) {
        let (kind, flags) = match self {
            CodecConfig::Rotated(config) => {
                let rotated = if config.seed.is_some() { FLAG_ROTATED } else { 0 };
                (KIND_ROTATED, rotated | if config.mean.is_empty() { 0 } else { FLAG_MEAN })
            }
            CodecConfig::Scalar(_) => (KIND_SCALAR, 0),
        };
        out.u8(CONFIG_VERSION).u8(kind).u8(self.metric().code()).u8(flags).u32(self.dim()).u32(self.epoch());
        match self {
            CodecConfig::Rotated(config) => {
                out.u64(config.seed.unwrap_or(0));
                for &value in &config.mean {
                    out.f32(value);
                }
            }
            CodecConfig::Scalar(config) => {
                out.f32(config.lower).f32(config.upper).f32(config.noise);
            }
        }
    }

    /// Reads the numbers from the front of `input`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; nothing is allocated before the bytes were seen to be there.
    pub fn decode_config(input: &mut Decoder<'_>) -> Result<CodecConfig, ConfigError> {
        let (version, kind, metric_code, flags) = (input.u8()?, input.u8()?, input.u8()?, input.u8()?);
        let (dim, epoch) = (input.u32()?, input.u32()?);
        let unknown = |field, found| Err(ConfigError::Unknown { field, found });
        if version != CONFIG_VERSION {
            return unknown("version", version);
        }
        let Some(metric) = Metric::from_code(metric_code) else { return unknown("metric code", metric_code) };
        let config = match (kind, flags) {
            (KIND_ROTATED, 0..=3) => {
                let seed = input.u64()?;
                let is_rotated = flags & FLAG_ROTATED != 0;
                if !is_rotated && seed != 0 {
                    return Err(input.range_error(seed).into());
                }
                let values = if flags & FLAG_MEAN != 0 { dim as usize } else { 0 };
                let mut mean = Decoder::new(input.bytes(values.saturating_mul(size_of::<f32>()))?);
                let mean = (0..values).map(|_| mean.f32()).collect::<Result<Vec<f32>, _>>()?;
                let seed = is_rotated.then_some(seed);
                CodecConfig::Rotated(RotatedConfig { dim, metric, epoch, seed, mean })
            }
            (KIND_SCALAR, 0) => {
                let (lower, upper, noise) = (input.f32()?, input.f32()?, input.f32()?);
                CodecConfig::Scalar(ScalarConfig { dim, metric, epoch, lower, upper, noise })
            }
            (KIND_ROTATED | KIND_SCALAR, _) => return unknown("flags", flags),
            _ => return unknown("kind", kind),
        };
        config.check()?;
        Ok(config)
    }
}

fn check_mean(dim: u32, mean: &[f32]) -> Result<(), ConfigError> {
    if !mean.is_empty() && mean.len() != dim as usize {
        return Err(ConfigError::MeanDimension { expected: dim, found: mean.len() });
    }
    match mean.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(ConfigError::MeanNotFinite { at }),
        None => Ok(()),
    }
}

fn check_range(lower: f32, upper: f32, noise: f32) -> Result<(), ConfigError> {
    let extent = f64::from(upper) - f64::from(lower);
    // A step must be an ordinary f32, and so must its inverse.
    let is_sound = lower.is_finite() && upper.is_finite() && extent > 1e-30 && extent < 1e38;
    if !(noise.is_finite() && noise >= 0.0) {
        return Err(ConfigError::Noise { noise });
    }
    if is_sound { Ok(()) } else { Err(ConfigError::Range { lower, upper }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs() -> Vec<CodecConfig> {
        let rotated = |seed, mean: &[f32]| {
            let mean = mean.to_vec();
            CodecConfig::Rotated(RotatedConfig { dim: 3, metric: Metric::Euclid, epoch: 9, seed, mean })
        };
        let scalar =
            ScalarConfig { dim: 77, metric: Metric::Cosine, epoch: 1, lower: -0.25, upper: 0.5, noise: 1e-4 };
        vec![
            rotated(None, &[]),
            rotated(Some(0), &[]),
            rotated(Some(u64::MAX), &[1.0, -2.0, 3.5]),
            rotated(None, &[0.0; 3]),
            CodecConfig::Scalar(scalar),
        ]
    }

    fn bytes(config: &CodecConfig) -> Vec<u8> {
        let mut out = Encoder::new();
        config.encode_config(&mut out);
        out.into_vec()
    }

    #[test]
    fn bytes_round_trip_and_every_cut_is_refused() {
        for config in configs() {
            let bytes = bytes(&config);
            let mut input = Decoder::new(&bytes);
            assert_eq!(CodecConfig::decode_config(&mut input), Ok(config));
            assert_eq!(input.finish(), Ok(()));
            for cut in 0..bytes.len() {
                let found = CodecConfig::decode_config(&mut Decoder::new(&bytes[..cut]));
                assert!(matches!(found, Err(ConfigError::Decode(_))), "cut at {cut}: {found:?}");
            }
        }
    }

    #[test]
    fn every_changed_byte_gives_an_error_or_a_sound_codec() {
        for config in configs() {
            let bytes = bytes(&config);
            for at in 0..bytes.len() {
                for value in [0, 1, 2, 3, 4, 127, 128, 255] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    if let Ok(found) = CodecConfig::decode_config(&mut Decoder::new(&changed)) {
                        assert_eq!(found.check(), Ok(()));
                    }
                }
            }
        }
    }

    #[test]
    fn bad_numbers_are_named() {
        let rotated = |dim, metric, mean: &[f32]| {
            let mean = mean.to_vec();
            CodecConfig::Rotated(RotatedConfig { dim, metric, epoch: 0, seed: None, mean }).check()
        };
        assert_eq!(rotated(0, Metric::Dot, &[]), Err(ConfigError::Dimension { dim: 0 }));
        assert_eq!(rotated(65_537, Metric::Dot, &[]), Err(ConfigError::Dimension { dim: 65_537 }));
        assert_eq!(
            rotated(4, Metric::Manhattan, &[]),
            Err(ConfigError::Metric { metric: Metric::Manhattan })
        );
        let short = ConfigError::MeanDimension { expected: 4, found: 1 };
        assert_eq!(rotated(4, Metric::Dot, &[1.0]), Err(short));
        let mean = [0.0, f32::NAN];
        assert_eq!(rotated(2, Metric::Dot, &mean), Err(ConfigError::MeanNotFinite { at: 1 }));
        for (lower, upper) in [(1.0, 1.0), (1.0, 0.0), (f32::MIN, f32::MAX), (0.0, f32::INFINITY)] {
            let scalar = ScalarConfig { dim: 4, metric: Metric::Dot, epoch: 0, lower, upper, noise: 0.0 };
            assert_eq!(CodecConfig::Scalar(scalar).check(), Err(ConfigError::Range { lower, upper }));
        }
    }
}
