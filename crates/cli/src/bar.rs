//! A bar of per cents for work whose steps nobody here knows.
//!
//! **It refuses** to draw where standard error is not a terminal, or one that cannot move its cursor.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::is_dumb;

/// Of so many steps a bar is made.
const STEPS: u64 = 1_000;

/// A bar on standard error, gone once it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// At its beginning, with words beside it.
    pub(crate) fn new(what: &str) -> Bar {
        let target =
            if is_dumb() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(STEPS), target);
        let style = ProgressStyle::with_template("  {bar:28.cyan/dim} {percent:>3} %  {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_message(what.to_owned());
        Bar(bar)
    }

    /// So many per cent are done.
    pub(crate) fn reached(&self, per_cent: f64) {
        self.0.set_position((per_cent / 100.0 * STEPS as f64) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
