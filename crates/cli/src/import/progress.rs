//! The bar of an import: how many points, how fast, how long still.
//!
//! **It refuses** to draw where standard error is not a terminal, or one that cannot move its cursor.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::{clock, is_dumb, thousands};
use crate::timing::per_second;

/// A bar on standard error, gone once it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of `rows` in all, where the import begins at row `first`.
    pub(crate) fn new(first: u64, rows: u64) -> Self {
        let target =
            if is_dumb() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(rows), target);
        let rate =
            move |state: &ProgressState| per_second(state.pos().saturating_sub(first), state.elapsed());
        let style = ProgressStyle::with_template(
            "  {bar:28.cyan/dim} {percent:>3} %  {done} points  {rate}/s  {left} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .with_key("done", |state: &ProgressState, out: &mut dyn Write| put(out, &thousands(state.pos())))
        .with_key("rate", move |state: &ProgressState, out: &mut dyn Write| {
            put(out, &thousands(rate(state) as u64));
        })
        .with_key("left", move |state: &ProgressState, out: &mut dyn Write| {
            put(out, &time_left(state.len().unwrap_or(0).saturating_sub(state.pos()), rate(state)));
        });
        bar.set_style(style);
        bar.set_position(first);
        Progress(bar)
    }

    /// Rows up to `row` are written.
    pub(crate) fn reached(&self, row: u64) {
        self.0.set_position(row);
    }

    /// Shows `what` is done instead of a bar: the last steps have no measure.
    pub(crate) fn finishing(&self, what: &str) {
        let style = ProgressStyle::with_template("  {spinner:.cyan} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.set_style(style);
        self.0.set_message(what.to_owned());
        self.0.enable_steady_tick(Duration::from_millis(100));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The time for `rows` at `rate`, or dashes where it cannot be told.
fn time_left(rows: u64, rate: f64) -> String {
    let seconds = rows as f64 / rate;
    if rate > 0.0 && seconds < 1e9 { clock(seconds.ceil() as u64) } else { "-:--".to_owned() }
}

fn put(out: &mut dyn Write, text: &str) {
    // The bar's own buffer: it is a string, which never refuses.
    let _infallible = out.write_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_rounded_up_and_unknown_at_first() {
        assert_eq!(time_left(100, 40.0), "0:03");
        assert_eq!(time_left(100, 0.0), "-:--");
        assert_eq!(time_left(u64::MAX, 1e-9), "-:--");
        assert_eq!(time_left(0, 5.0), "0:00");
    }
}
