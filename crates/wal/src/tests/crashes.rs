//! Power cuts: behind every call of a workload, under every model of loss, twice in a row.
//!
//! What must hold in each image: the log opens; it holds exactly the operations of some prefix of what was appended; nothing that
//! was acknowledged as durable is missing; no Seq that was given out comes again; and what one opening has shown, the next one
//! shows, whatever happens in between.

use std::sync::Arc;

use nearfield_platform::{Dir, Entropy, FaultyDir, LossModel, MemoryDir, SeededEntropy};
use nearfield_types::Seq;

use super::support::{append, open, options, replayed};
use crate::conformance::Operation;
use crate::{Class, FileLogWriter, FileSyncer, Kind, LogError, LogOptions, LogWriter, Syncer};

/// What a workload was told, and by which call.
#[derive(Clone, Copy, Debug)]
struct Told {
    ops: usize,
    /// Operations appended so far.
    appended: usize,
    /// Acknowledged as durable.
    synced: Seq,
    /// As the newest manifest has it.
    recorded: LogOptions,
}

/// One life of a log on a faulty directory.
struct Life {
    dir: Arc<FaultyDir>,
    /// All operations, those found at the start first.
    operations: Vec<Operation>,
    told: Vec<Told>,
}

impl Life {
    /// Opens the log in `image` and works on it for `steps` steps.
    fn lead(image: Arc<MemoryDir>, recorded: LogOptions, random: &SeededEntropy, steps: u64) -> Life {
        let dir = FaultyDir::over(image);
        let operations = replayed(&open(&dir, recorded).unwrap());
        let synced = operations.last().map_or(recorded.flushed, |(seq, ..)| *seq);
        let mut told = Told { ops: dir.ops(), appended: operations.len(), synced, recorded };
        let mut life = Life { dir, operations, told: vec![told] };
        let mut open_log = Some(life.start(recorded));
        for _ in 0..steps {
            life.step(&mut open_log, &mut told, random);
            told.ops = life.dir.ops();
            told.appended = life.operations.len();
            life.told.push(told);
        }
        life
    }

    fn start(&self, recorded: LogOptions) -> (FileLogWriter, Arc<FileSyncer>) {
        open(&self.dir, recorded).unwrap().into_writer().unwrap()
    }

    fn step(
        &mut self,
        log: &mut Option<(FileLogWriter, Arc<FileSyncer>)>,
        told: &mut Told,
        random: &SeededEntropy,
    ) {
        let (writer, syncer) = log.as_mut().unwrap();
        match random.below(16) {
            0..8 => self.operations.push(append(writer, random.below(1000)).unwrap()),
            8 => {
                let seq = writer.append(Kind::Batch, Class::Reducing, &[b"gone"]).unwrap();
                self.operations.push((seq, Kind::Batch, b"gone".to_vec()));
            }
            9 | 10 => told.synced = told.synced.max(syncer.sync(writer.last()).unwrap()),
            11 => {
                let through = self.operations.last().map_or(Seq::ZERO, |(seq, ..)| *seq);
                told.synced = told.synced.max(syncer.sync(through).unwrap());
                if let Some(mark) = writer.sync_mark().unwrap() {
                    told.synced = told.synced.max(syncer.sync(mark).unwrap());
                }
            }
            12 => writer.rotate().unwrap(),
            13 => {
                // A checkpoint: the manifest commits, then the log may forget.
                let durable: Vec<Seq> = self
                    .operations
                    .iter()
                    .map(|(seq, ..)| *seq)
                    .filter(|seq| *seq <= syncer.synced())
                    .collect();
                if !durable.is_empty() {
                    told.recorded.synced = syncer.synced();
                    let flushed = durable[random.below(durable.len() as u64) as usize];
                    told.recorded.flushed = told.recorded.flushed.max(flushed);
                    told.ops = self.dir.ops();
                    self.told.push(*told);
                    syncer.release(told.recorded.flushed).unwrap();
                }
            }
            kind => {
                // The process ends, in good order or not, and another takes over.
                let (writer, _) = log.take().unwrap();
                if kind == 14 {
                    told.synced = told.synced.max(writer.close().unwrap());
                }
                *log = Some(self.start(told.recorded));
                told.synced = told.synced.max(log.as_ref().unwrap().1.synced());
            }
        }
    }

    /// What was told when the first `ops` calls had been made.
    fn told_at(&self, ops: usize) -> Told {
        let at = self.told.partition_point(|told| told.ops <= ops);
        self.told[at.saturating_sub(1)]
    }

    /// Checks one image of this life; answers what it shows.
    fn check(&self, image: &Arc<MemoryDir>, ops: usize, what: &str) -> (Vec<Operation>, Told) {
        let told = self.told_at(ops);
        let log = open(image, told.recorded).unwrap_or_else(|error| panic!("{what}: {error}"));
        let shown = replayed(&log);
        let after = |operations: &[Operation]| -> Vec<Operation> {
            operations.iter().filter(|(seq, ..)| *seq > told.recorded.flushed).cloned().collect()
        };
        let all = after(&self.operations);
        assert!(all.starts_with(&shown), "{what}: not a prefix of what was appended");
        let durable = all.iter().filter(|(seq, ..)| *seq <= told.synced).count();
        assert!(shown.len() >= durable, "{what}: {durable} were durable, {} are shown", shown.len());
        let (mut writer, _) = log.into_writer().unwrap();
        let seq = writer.append(Kind::Batch, Class::Ordinary, &[]).unwrap();
        let given = self.operations[..told.appended].last().map_or(Seq::ZERO, |(seq, ..)| *seq);
        assert!(seq > given, "{what}: {seq} was given before {given}");
        (shown, told)
    }
}

#[test]
fn no_power_cut_loses_what_was_synced() {
    let mut images = 0;
    for seed in 0..12 {
        let random = SeededEntropy::new(seed);
        let life = Life::lead(MemoryDir::new(), options(), &random, 60);
        let mut replay = life.dir.replay();
        for ops in 0..=life.dir.ops() {
            for model in LossModel::ALL {
                let draws = if matches!(model, LossModel::Random | LossModel::Prefix) { 2 } else { 1 };
                for draw in 0..draws {
                    let image = replay.image(ops, model, seed * 1000 + draw);
                    life.check(&image, ops, &format!("seed {seed}, {ops} calls, {model:?} {draw}"));
                    images += 1;
                }
            }
        }
    }
    assert!(images > 5000, "{images} images");
}

#[test]
fn a_power_cut_while_recovering_changes_nothing_shown() {
    for seed in 0..120 {
        let random = SeededEntropy::new(seed ^ 0xabcd);
        let life = Life::lead(MemoryDir::new(), options(), &random, 25);
        let ops = random.below(life.dir.ops() as u64 + 1) as usize;
        let model = LossModel::ALL[seed as usize % 4];
        let image = || life.dir.crash_image_at(ops, model, seed);
        let (shown, told) = life.check(&image(), ops, &format!("seed {seed}"));
        let recovering = FaultyDir::over(image());
        let log = open(&recovering, told.recorded).unwrap();
        assert_eq!(replayed(&log), shown, "seed {seed}");
        drop(log.into_writer());
        let opened = recovering.ops();
        let begun = Life::lead(image(), told.recorded, &random, 2);
        let mut replay = recovering.replay();
        for cut in 0..=opened {
            for model in LossModel::ALL {
                let again = replay.image(cut, model, seed);
                let (again, _) =
                    life.check(&again, ops, &format!("seed {seed}, cut {cut} of {opened}, {model:?}"));
                // Until opening returned, nobody had been told; afterwards all that it showed is durable.
                assert!(cut < opened || again == shown, "seed {seed}, after recovery, {model:?}");
            }
        }
        for cut in 0..=begun.dir.ops() {
            for model in LossModel::ALL {
                if begun.told_at(cut).ops <= cut {
                    begun.check(
                        &begun.dir.crash_image_at(cut, model, seed),
                        cut,
                        &format!("seed {seed}, second life"),
                    );
                }
            }
        }
    }
}

#[test]
fn many_lives_and_cuts_in_a_row() {
    for seed in 0..40 {
        let random = SeededEntropy::new(seed ^ 0x7777);
        let (mut image, mut recorded) = (MemoryDir::new(), options());
        for round in 0..6 {
            let life = Life::lead(image, recorded, &random, 15);
            let first = life.told[0].ops as u64;
            let ops = (first + random.below(life.dir.ops() as u64 + 1 - first)) as usize;
            let model = LossModel::ALL[random.below(4) as usize];
            let draw = random.u64();
            life.check(
                &life.dir.crash_image_at(ops, model, draw),
                ops,
                &format!("seed {seed}, round {round}"),
            );
            recorded = life.told_at(ops).recorded;
            image = life.dir.crash_image_at(ops, model, draw);
        }
    }
}

/// After a failed sync the pages may be called clean: another process reads them, and they are not on the disk.
#[test]
fn what_is_shown_after_a_failed_sync_is_durable_by_then() {
    for good in 0..12 {
        let dir = FaultyDir::new();
        dir.fail_sync_after(good);
        let start = || open(&dir, options())?.into_writer();
        let mut given = Seq::ZERO;
        let mut worked = || -> Result<(), LogError> {
            let (mut writer, syncer) = start()?;
            for n in 0..30 {
                given = append(&mut writer, n)?.0;
                if n % 3 == 0 {
                    syncer.sync(Seq::MAX)?;
                }
            }
            Ok(())
        };
        let failed = worked();
        assert!(matches!(failed, Err(LogError::Poisoned(_))), "{failed:?}");
        let log = open(&dir, options()).unwrap();
        let shown = replayed(&log);
        drop(log);
        for model in LossModel::ALL {
            for seed in 0..10 {
                let image = dir.crash_image(model, seed);
                assert_eq!(
                    replayed(&open(&image, options()).unwrap()),
                    shown,
                    "sync {good} failed, {model:?}"
                );
            }
        }
        let image = dir.crash_image(LossModel::All, 0);
        let (mut writer, _) = open(&image, options()).unwrap().into_writer().unwrap();
        assert!(append(&mut writer, 0).unwrap().0 > given);
        assert!(image.list("log").is_ok());
    }
}
