//! The file of a field index, and every question to what it says.

use std::ops::ControlFlow;

use nearfield_codec::Region;
use nearfield_payload::filter::{Datetime, GeoBox, GeoPoint, Range, Test};
use nearfield_payload::index::{Direction, FieldIndex, FieldReader, Question};
use nearfield_types::Slot;
use roaring::RoaringBitmap;

use super::input;
use crate::checksums;

/// Where the number of rows stands: the header is the first section.
const ROWS_AT: usize = 64;

/// Input: control byte, file of a field index.
///
/// What must hold: a file that is accepted answers every question with slots below its rows, or with an error; what must be tested again is
/// among them; a file that also passes `verify` brackets what it finds by its estimate.
pub fn field_index(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    let rows = checksums::u32_at(&file, ROWS_AT);
    let Ok(index) = FieldReader::open(Region::from(file), rows) else { return };
    let sound = index.verify().is_ok();
    let tests = tests();
    let questions = tests.iter().map(Question::Test);
    for question in questions.chain([Question::IsEmpty, Question::IsNull, Question::Exists]) {
        ask(&index, question, sound);
    }
    let go_on = || ControlFlow::Continue(());
    if let Some(ordered) = index.ordered() {
        for direction in [Direction::Ascending, Direction::Descending] {
            let _ = ordered.visit(Some(&tests[3]), direction, &mut |_, slot| {
                assert!(slot.0 < rows);
                go_on()
            });
        }
    }
    if let Some(terms) = index.terms() {
        let _ = terms.visit(Some(&RoaringBitmap::from([0u32, 1, 2])), &mut |_, count| {
            assert!(count > 0);
            go_on()
        });
    }
    if let Some(values) = index.values() {
        for slot in [0, 1, rows, u32::MAX] {
            let _ = values.visit(Slot(slot), &mut |_| ());
        }
    }
    if let Some(words) = index.words() {
        let _ = words.totals();
        let _ = words.postings("able", &mut |slot, _, _| assert!(slot.0 < rows));
    }
}

fn ask(index: &FieldReader, question: Question<'_>, sound: bool) {
    let mut found = RoaringBitmap::new();
    let Ok(Some(exactness)) = index.select(question, &mut found) else { return };
    assert!(found.max().is_none_or(|last| last < index.covered()), "{question:?}");
    let recheck = exactness.into_recheck();
    assert!(recheck.is_subset(&found), "{question:?}");
    let estimate = index.estimate(question).ok().flatten().expect("what was selected can be estimated");
    let certain = found.len() - recheck.len();
    assert!(!sound || (certain <= estimate.high && estimate.low <= found.len()), "{question:?} {estimate:?}");
    let mut narrowed = found.clone();
    let _ = index.narrow(question, &mut narrowed);
    assert!(narrowed.is_subset(&found));
}

fn tests() -> Vec<Test> {
    let corner = |lon, lat| GeoPoint { lon, lat };
    vec![
        Test::value("noun"),
        Test::value(1),
        Test::except(["noun"]),
        Test::Range(Range::at_least(0i64)),
        Test::Datetimes(Range::at_least(Datetime(0))),
        Test::Text("able to do".into()),
        Test::TextAny("able to do".into()),
        Test::Phrase("able to".into()),
        Test::Prefix("n".into()),
        Test::Substring("ou".into()),
        Test::Count(Range::at_least(1u64)),
        Test::GeoBox(GeoBox { top_left: corner(-170.0, 80.0), bottom_right: corner(170.0, -80.0) }),
    ]
}
