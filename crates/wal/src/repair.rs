//! Making certain what recovery found: cutting a torn tail, and rewriting what may not be durable.
//!
//! After an unclean stop the frames beyond the last record may lie in the page cache only, some of them, after a failed sync, in
//! pages that the kernel wrongly calls clean. A file holding such a frame is copied to a new one, synced, and renamed over the
//! old: then all that is left is durable, and a new generation may record it so. The copy of the last file ends with the mark of
//! a clean close, so that a log that is only read from now on is not rewritten at every opening.
//!
//! Nothing is truncated or written in place. Every step leaves a log that opens to the same state, so a stop in the middle only
//! means doing it again.

use nearfield_platform::Dir;
use nearfield_types::Seq;

use crate::LogError;
use crate::error::Op;
use crate::format::{FrameSeed, clean_mark};
use crate::listing::{file_name, in_folder, open_file, torn_name};
use crate::recover::{LogFile, Report, Scan};
use crate::walk::End;

/// Makes all that the log holds durable and cuts what does not belong to it. Writes nothing where nothing is in doubt.
pub(crate) fn repair(
    scan: &mut Scan,
    dir: &dyn Dir,
    path: &str,
    wal_uuid: &[u8; 16],
) -> Result<Report, LogError> {
    let mut report = scan.report();
    let in_doubt = |file: &LogFile| file.last > scan.durable;
    // A file without frames says nothing of what is durable, not even of its own header: whoever began it may have been stopped
    // before the first sync. Once a later generation stands behind it, its header is as durable as all before.
    let is_bare = scan.files.last().is_some_and(|tail| tail.last < tail.first);
    if !scan.torn && !is_bare && scan.stale.is_empty() && !scan.files.iter().any(in_doubt) {
        return Ok(report);
    }
    let mut mend = Mend { dir, path, leftovers: &mut scan.leftovers };
    mend.remove_temporary()?;
    if let (Some((tail, before)), Some(tip)) = (scan.files.split_last(), scan.tip) {
        for file in before.iter().filter(|file| in_doubt(file)) {
            mend.rewrite(file, &[])?;
            report.rewritten += 1;
        }
        if scan.torn {
            mend.keep(tail)?;
            report.torn += 1;
        }
        if scan.torn || is_bare || in_doubt(tail) {
            let seed = FrameSeed::new(wal_uuid, tip.file_no);
            let mark = clean_mark(&seed, tip.epoch, tip.next_seq, tip.prev_crc);
            // Nothing may follow a `Seal`.
            let mark: &[u8] = if tip.end == End::Sealed { &[] } else { &mark };
            mend.rewrite(tail, mark)?;
            report.rewritten += 1;
        }
    }
    for name in scan.stale.drain(..) {
        report.torn += u32::from(mend.put_aside(name)?);
    }
    dir.sync_dir(path).map_err(repair_error)?;
    scan.durable = scan.last;
    Ok(report)
}

struct Mend<'a> {
    dir: &'a dyn Dir,
    path: &'a str,
    leftovers: &'a mut Vec<String>,
}

impl Mend<'_> {
    fn named(&self, name: &str) -> String {
        in_folder(self.path, name)
    }

    /// Removes what killed processes left of files under way: it is of no use and takes room that the repair may need.
    fn remove_temporary(&mut self) -> Result<(), LogError> {
        let is_temporary = |name: &str| name.ends_with(".tmp");
        let removed = self
            .leftovers
            .iter()
            .filter(|name| is_temporary(name))
            .try_for_each(|name| self.dir.remove(&in_folder(self.path, name)));
        removed.map_err(repair_error)?;
        self.leftovers.retain(|name| !is_temporary(name));
        Ok(())
    }

    /// Copies the frames of `file`, and `mark` behind them, to a durable file of the same name.
    fn rewrite(&self, file: &LogFile, mark: &[u8]) -> Result<(), LogError> {
        let region = open_file(self.dir, self.path, file.first)?;
        let frames = region.get(..file.bytes as usize).unwrap_or_default();
        let name = self.named(&file_name(file.first));
        let copy = format!("{name}.tmp");
        let swap = || {
            let new = self.dir.create(&copy)?;
            new.write_at(0, &[frames, mark])?;
            new.sync()?;
            new.seal()?;
            self.dir.overwrite(&copy, &name)?;
            self.dir.sync_dir(self.path)
        };
        swap().map_err(|error| {
            // The first error is the one to report; a copy that stays is removed by the next repair.
            let _ = self.dir.remove(&copy);
            repair_error(error)
        })
    }

    /// Keeps a copy of a file that is going to be cut.
    fn keep(&mut self, file: &LogFile) -> Result<(), LogError> {
        let region = open_file(self.dir, self.path, file.first)?;
        let used = region.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let name = torn_name(file.first);
        self.dir.replace(&self.named(&name), &region[..used]).map_err(repair_error)?;
        self.kept(name);
        Ok(())
    }

    /// Renames a file that is not part of the log, or removes it if it holds nothing; true if it was kept.
    fn put_aside(&mut self, first: Seq) -> Result<bool, LogError> {
        let name = self.named(&file_name(first));
        if open_file(self.dir, self.path, first)?.iter().all(|&byte| byte == 0) {
            self.dir.remove(&name).map_err(repair_error)?;
            return Ok(false);
        }
        let torn = torn_name(first);
        self.dir.overwrite(&name, &self.named(&torn)).map_err(repair_error)?;
        self.kept(torn);
        Ok(true)
    }

    fn kept(&mut self, name: String) {
        if !self.leftovers.contains(&name) {
            self.leftovers.push(name);
        }
    }
}

fn repair_error(error: std::io::Error) -> LogError {
    LogError::io(Op::Repair, &error)
}
