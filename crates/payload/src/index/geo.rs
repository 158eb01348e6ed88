//! Places in Morton order: the bits of longitude and latitude take turns, so that a square of the map is a run of keys.
//!
//! It refuses to decide by squares: they choose the entries to look at, and the shape itself is asked about each.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::Estimate;
use super::view::View;
use crate::filter::{EARTH_RADIUS_M, GeoBox, GeoPoint, Test};

/// Most squares that a shape is covered with.
const SQUARES_MAX: usize = 256;
/// A square with fewer entries is not divided.
const ENTRIES_MIN: usize = 32;
/// What boxes around circles are widened by, in degrees (a tenth of a metre), for the rounding of sines.
const MARGIN_DEG: f64 = 1e-6;

/// The key of a place.
pub(crate) fn key(point: &GeoPoint) -> u64 {
    spread(code(point.lon, 180.0)) | spread(code(point.lat, 90.0)) << 1
}

/// 2^32 steps over the range; grows with `value`.
fn code(value: f64, half: f64) -> u32 {
    ((value + half) / (2.0 * half) * 4_294_967_296.0) as u32
}

/// Puts a zero before each bit.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// The shape of a geo test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a>(&'a Test);

/// Codes from west to east and from south to north.
#[derive(Clone, Copy, Debug)]
struct Window {
    x: (u32, u32),
    y: (u32, u32),
}

/// A square of the map, the keys of which begin with the same bits.
#[derive(Clone, Copy)]
struct Square {
    x: u32,
    y: u32,
    /// Bits of a side that are free, 32 for the whole map.
    free: u32,
}

/// Entries to look at.
struct Part {
    entries: Range<usize>,
    /// The square lies wholly in the window.
    inside: bool,
}

impl<'a> Shape<'a> {
    /// The shape, if it is one.
    pub(crate) fn of(test: &'a Test) -> Option<Shape<'a>> {
        matches!(test, Test::GeoBox(_) | Test::GeoRadius(_) | Test::GeoPolygon(_)).then_some(Shape(test))
    }

    fn contains(&self, point: &GeoPoint) -> bool {
        match self.0 {
            Test::GeoBox(shape) => shape.contains(point),
            Test::GeoRadius(shape) => shape.contains(point),
            Test::GeoPolygon(shape) => shape.bounds().contains(point) && shape.contains(point),
            _ => false,
        }
    }

    /// Windows that hold the shape; one, or two on both sides of the 180th meridian.
    fn windows(&self) -> Vec<Window> {
        let bounds = match self.0 {
            Test::GeoBox(shape) => *shape,
            Test::GeoRadius(shape) => around(&shape.center, shape.radius_m),
            Test::GeoPolygon(shape) => shape.bounds(),
            _ => EVERYWHERE,
        };
        let corners =
            [bounds.top_left.lon, bounds.bottom_right.lon, bounds.top_left.lat, bounds.bottom_right.lat];
        let bounds = if corners.iter().all(|corner| corner.is_finite()) { bounds } else { EVERYWHERE };
        let (west, east) = (bounds.top_left.lon, bounds.bottom_right.lon);
        let y = (code(bounds.bottom_right.lat, 90.0), code(bounds.top_left.lat, 90.0));
        match west <= east {
            true => vec![Window { x: (code(west, 180.0), code(east, 180.0)), y }],
            false => {
                vec![Window { x: (code(west, 180.0), u32::MAX), y }, Window { x: (0, code(east, 180.0)), y }]
            }
        }
    }
}

const EVERYWHERE: GeoBox = GeoBox {
    top_left: GeoPoint { lon: -180.0, lat: 90.0 },
    bottom_right: GeoPoint { lon: 180.0, lat: -90.0 },
};

/// A box around a circle.
fn around(center: &GeoPoint, radius_m: f64) -> GeoBox {
    let angle = radius_m.max(0.0) / EARTH_RADIUS_M;
    let reach = angle.to_degrees() + MARGIN_DEG;
    let (north, south) = (center.lat + reach, center.lat - reach);
    // A pole inside, or nonsense: every longitude.
    if !(north < 90.0 && south > -90.0 && angle < std::f64::consts::FRAC_PI_2 && center.lon.is_finite()) {
        let (north, south) =
            (if north.is_finite() { north } else { 90.0 }, if south.is_finite() { south } else { -90.0 });
        return GeoBox {
            top_left: GeoPoint { lat: north, ..EVERYWHERE.top_left },
            bottom_right: GeoPoint { lat: south, ..EVERYWHERE.bottom_right },
        };
    }
    let reach = (angle.sin() / center.lat.to_radians().cos()).min(1.0).asin().to_degrees() + MARGIN_DEG;
    if reach >= 180.0 - MARGIN_DEG {
        return GeoBox {
            top_left: GeoPoint { lat: north, ..EVERYWHERE.top_left },
            bottom_right: GeoPoint { lat: south, ..EVERYWHERE.bottom_right },
        };
    }
    let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
    GeoBox {
        top_left: GeoPoint { lon: wrap(center.lon - reach), lat: north },
        bottom_right: GeoPoint { lon: wrap(center.lon + reach), lat: south },
    }
}

/// Runs of entries that hold every point of the windows, each entry once.
fn cover(view: &View<'_>, windows: &[Window]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for window in windows {
        let mut open = std::collections::VecDeque::from([Square { x: 0, y: 0, free: 32 }]);
        let mut found = Vec::new();
        while let Some(square) = open.pop_front() {
            let Some(inside) = square.meets(window) else { continue };
            let entries = square.entries(view);
            if entries.is_empty() {
                continue;
            }
            let small = entries.len() < ENTRIES_MIN || square.free == 0;
            match inside || small || open.len() + found.len() >= SQUARES_MAX {
                true => found.push(Part { entries, inside }),
                false => open.extend(square.quarters()),
            }
        }
        parts.append(&mut found);
    }
    // Squares of two windows may be the same, or one in the other.
    parts.sort_unstable_by_key(|part| (part.entries.start, std::cmp::Reverse(part.entries.end)));
    let mut end = 0;
    parts.retain_mut(|part| {
        part.entries.start = part.entries.start.max(end);
        end = end.max(part.entries.end);
        !part.entries.is_empty()
    });
    parts
}

impl Square {
    /// `None` outside of the window, else whether it lies wholly inside.
    fn meets(&self, window: &Window) -> Option<bool> {
        let side = if self.free == 32 { u32::MAX } else { (1 << self.free) - 1 };
        let (east, north) = (self.x | side, self.y | side);
        let apart = self.x > window.x.1 || east < window.x.0 || self.y > window.y.1 || north < window.y.0;
        // Without the edges: a place with the code of an edge may lie on either side of it.
        let inside = self.x > window.x.0 && east < window.x.1 && self.y > window.y.0 && north < window.y.1;
        (!apart).then_some(inside)
    }

    fn quarters(&self) -> [Square; 4] {
        let free = self.free.saturating_sub(1);
        let half = 1u32.checked_shl(free).unwrap_or(0);
        [(0, 0), (half, 0), (0, half), (half, half)].map(|(x, y)| Square {
            x: self.x | x,
            y: self.y | y,
            free,
        })
    }

    fn entries(&self, view: &View<'_>) -> Range<usize> {
        let first = spread(self.x) | spread(self.y) << 1;
        let last = first | if self.free == 32 { u64::MAX } else { (1 << (2 * self.free)) - 1 };
        view.entries(&view.keys.between_narrow(first, last))
    }
}

/// Calls `found` with the slot of each entry in the shape.
fn scan(view: &View<'_>, shape: &Shape<'_>, mut found: impl FnMut(u32)) {
    for part in cover(view, &shape.windows()) {
        let (slots, points) = (view.slots.get(part.entries.clone()), view.points.get(part.entries));
        for (&slot, &[lon, lat]) in slots.unwrap_or_default().iter().zip(points.unwrap_or_default()) {
            if slot < view.rows && shape.contains(&GeoPoint { lon, lat }) {
                found(slot);
            }
        }
    }
}

/// Adds the rows with a point in the shape. Exact.
pub(crate) fn select(view: &View<'_>, shape: &Shape<'_>, out: &mut RoaringBitmap) {
    let mut slots = Vec::new();
    scan(view, shape, |slot| slots.push(slot));
    super::bits::add_list(out, slots, view.base);
}

/// True for a row with a point in the shape.
pub(crate) fn has(view: &View<'_>, row: u32, shape: &Shape<'_>) -> bool {
    view.keys_of(row).iter().any(|&key| {
        let entries = view.entries(&(key.wrapping_sub(1)..key));
        let slots = view.slots.get(entries.clone()).unwrap_or_default();
        let first = slots.partition_point(|&slot| slot < row);
        let own = slots.get(first..).unwrap_or_default().iter().take_while(|&&slot| slot == row).count();
        let points = view.points.get(entries.start + first..entries.start + first + own);
        points.unwrap_or_default().iter().any(|&[lon, lat]| shape.contains(&GeoPoint { lon, lat }))
    })
}

/// From the squares alone: those inside of a box count whole, others in part.
pub(crate) fn estimate(view: &View<'_>, shape: &Shape<'_>) -> Estimate {
    let parts = cover(view, &shape.windows());
    let sum = |inside: bool| -> u64 {
        parts.iter().filter(|part| part.inside == inside).map(|part| part.entries.len() as u64).sum()
    };
    let (inside, partly) = (sum(true), sum(false));
    let high = (inside + partly).min(view.documents.into());
    // A circle fills π/4 of its box, a polygon about half of it.
    let (low, likely) = match shape.0 {
        Test::GeoBox(_) if !view.many => (inside, inside + partly / 2),
        Test::GeoBox(_) => (0, inside + partly / 2),
        Test::GeoRadius(_) => (0, (inside + partly / 2) * 785 / 1000),
        _ => (0, (inside + partly / 2) / 2),
    };
    Estimate { low: low.min(high), likely: likely.min(high), high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::GeoRadius;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = GeoPoint> {
        (-180.0..=180.0f64, -90.0..=90.0f64).prop_map(|(lon, lat)| GeoPoint { lon, lat })
    }

    proptest! {
        #[test]
        fn circles_lie_in_their_windows(center in point(), near in point(), radius_m in 0.0..2.1e7f64, share in 0.0..1.0f64) {
            let probe = GeoPoint {
                lon: ((center.lon + (near.lon - center.lon) * share) + 180.0).rem_euclid(360.0) - 180.0,
                lat: center.lat + (near.lat - center.lat) * share,
            };
            let circle = GeoRadius { center, radius_m };
            prop_assume!(circle.contains(&probe));
            let test = Test::GeoRadius(circle);
            let (x, y) = (code(probe.lon, 180.0), code(probe.lat, 90.0));
            let windows = Shape(&test).windows();
            prop_assert!(windows.iter().any(|w| w.x.0 <= x && x <= w.x.1 && w.y.0 <= y && y <= w.y.1), "{windows:?} {x} {y}");
        }

        #[test]
        fn keys_interleave(point in point()) {
            let (mut bits, x, y) = (0u64, code(point.lon, 180.0), code(point.lat, 90.0));
            for bit in 0..32 {
                bits |= u64::from(x >> bit & 1) << (2 * bit) | u64::from(y >> bit & 1) << (2 * bit + 1);
            }
            prop_assert_eq!(key(&point), bits);
        }
    }
}
