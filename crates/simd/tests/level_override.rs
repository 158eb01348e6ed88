//! `NEARFIELD_SIMD` as a program meets it: this test binary runs itself again under each value of the variable.

use nearfield_simd::{Kernels, LEVEL_VARIABLE, Level, kernels, try_kernels};
use std::process::Command;

/// Runs `report` below in a child process and returns the level and message it printed.
fn report_under(value: Option<&str>) -> (String, String) {
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    child.args(["--exact", "report", "--nocapture"]).env_remove(LEVEL_VARIABLE);
    if let Some(value) = value {
        child.env(LEVEL_VARIABLE, value);
    }
    let output = child.output().expect("the child starts");
    assert!(output.status.success(), "the child failed under {value:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // The test harness may print before the marker on the same line.
    let after = |marker: &str| {
        let begin = text.find(marker).unwrap_or_else(|| panic!("no {marker} in {text}")) + marker.len();
        text[begin..].lines().next().unwrap_or_default().to_owned()
    };
    (after("level="), after("error="))
}

/// The child's part; run with the others it checks what holds under any value.
#[test]
fn report() {
    let error = match try_kernels() {
        Ok(table) => {
            assert!(std::ptr::eq(table, kernels()));
            String::new()
        }
        Err(error) => error.to_string(),
    };
    println!("\nlevel={}\nerror={error}", kernels().name());
}

#[test]
fn the_variable_lowers_the_level_and_a_wrong_one_is_reported_without_a_panic() {
    let best = Kernels::available().next().unwrap().name().to_owned();
    assert_eq!(report_under(None), (best.clone(), String::new()));
    assert_eq!(report_under(Some("")), (best.clone(), String::new()));
    for level in Level::ALL {
        let expected = Kernels::available().find(|table| table.level() <= level).unwrap().name();
        let (used, error) = report_under(Some(level.name()));
        assert_eq!(used, expected);
        assert_eq!(error.is_empty(), expected == level.name(), "{error}");
    }
    let (used, error) = report_under(Some("sse9"));
    assert_eq!(used, best);
    assert!(error.starts_with("unknown SIMD level \"sse9\""), "{error}");
}
