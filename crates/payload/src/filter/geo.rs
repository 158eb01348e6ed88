//! Places on Earth: points, boxes, circles and polygons, and what lies inside.
//!
//! **It refuses** to project: polygons and boxes are straight in degrees, distances are great-circle.

/// The mean radius of Earth in metres (IUGG).
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place in degrees. In a payload it is an object with numbers `lon` and `lat`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPoint {
    /// Longitude, from -180 to 180.
    pub lon: f64,
    /// Latitude, from -90 to 90.
    pub lat: f64,
}

/// Between two corners, edges not included. Where `top_left` lies east of `bottom_right`, it crosses the 180th meridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoBox {
    /// The north-western corner.
    pub top_left: GeoPoint,
    /// The south-eastern corner.
    pub bottom_right: GeoPoint,
}

/// Nearer than a distance to a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoRadius {
    /// The middle.
    pub center: GeoPoint,
    /// In metres.
    pub radius_m: f64,
}

/// Inside a ring and outside its holes. Rings are closed: the last point is the first, so there are four at least.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoPolygon {
    /// The outline.
    pub exterior: Vec<GeoPoint>,
    /// The holes.
    pub interiors: Vec<Vec<GeoPoint>>,
}

impl GeoPoint {
    /// A point; see [`GeoPoint::is_valid`].
    pub fn new(lon: f64, lat: f64) -> GeoPoint {
        GeoPoint { lon, lat }
    }

    /// True for numbers inside their ranges.
    pub fn is_valid(&self) -> bool {
        (-180.0..=180.0).contains(&self.lon) && (-90.0..=90.0).contains(&self.lat)
    }

    /// Great-circle distance in metres, by the haversine formula.
    pub fn distance_m(&self, other: &GeoPoint) -> f64 {
        let (lat, other_lat) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((other_lat - lat) / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let h = half_lat * half_lat + lat.cos() * other_lat.cos() * half_lon * half_lon;
        2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
    }
}

impl GeoBox {
    /// True for a point inside, not for one on an edge.
    pub fn contains(&self, point: &GeoPoint) -> bool {
        let (west, east) = (self.top_left.lon, self.bottom_right.lon);
        let inside_lon = match west <= east {
            true => west < point.lon && point.lon < east,
            false => point.lon > west || point.lon < east,
        };
        inside_lon && self.bottom_right.lat < point.lat && point.lat < self.top_left.lat
    }
}

impl GeoRadius {
    /// True for a point less than `radius_m` away.
    pub fn contains(&self, point: &GeoPoint) -> bool {
        self.center.distance_m(point) < self.radius_m
    }
}

impl GeoPolygon {
    /// True for a point inside the outline and outside every hole. Points on the outline or on the edge of a hole are not inside.
    pub fn contains(&self, point: &GeoPoint) -> bool {
        side_of(&self.exterior, point) == Side::In
            && self.interiors.iter().all(|hole| side_of(hole, point) == Side::Out)
    }

    /// The corners of the smallest box around the outline.
    pub fn bounds(&self) -> GeoBox {
        let empty = GeoBox {
            top_left: GeoPoint::new(f64::INFINITY, f64::NEG_INFINITY),
            bottom_right: GeoPoint::new(f64::NEG_INFINITY, f64::INFINITY),
        };
        self.exterior.iter().fold(empty, |bounds, point| GeoBox {
            top_left: GeoPoint::new(bounds.top_left.lon.min(point.lon), bounds.top_left.lat.max(point.lat)),
            bottom_right: GeoPoint::new(
                bounds.bottom_right.lon.max(point.lon),
                bounds.bottom_right.lat.min(point.lat),
            ),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    In,
    On,
    Out,
}

/// Even-odd rule: how many edges a ray to the east crosses.
fn side_of(ring: &[GeoPoint], point: &GeoPoint) -> Side {
    let mut inside = false;
    for edge in ring.windows(2) {
        let (a, b) = (edge[0], edge[1]);
        let cross = (b.lon - a.lon) * (point.lat - a.lat) - (b.lat - a.lat) * (point.lon - a.lon);
        let within = |x: f64, a: f64, b: f64| a.min(b) <= x && x <= a.max(b);
        if cross == 0.0 && within(point.lon, a.lon, b.lon) && within(point.lat, a.lat, b.lat) {
            return Side::On;
        }
        // Half-open in latitude, so that a corner counts for one of its two edges.
        if (a.lat > point.lat) != (b.lat > point.lat) {
            // East of the point iff the turn has the direction of the edge.
            inside ^= (cross > 0.0) == (b.lat > a.lat);
        }
    }
    if inside { Side::In } else { Side::Out }
}
