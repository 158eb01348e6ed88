//! The log against a plain vector: any sequence of appends, syncs, rotations, releases, closes, kills and power cuts.

use std::sync::Arc;

use nearfield_platform::{FaultyDir, LossModel};
use nearfield_types::Seq;
use proptest::prelude::*;

use super::support::{SMALL, UUID, open, replayed};
use crate::conformance::Operation;
use crate::{
    Class, FileLogWriter, FileSyncer, GENERATION_GAP, Kind, LogOptions, LogSizes, LogWriter, Syncer,
};

#[derive(Clone, Debug)]
enum Step {
    Append(Kind, Class, Vec<Vec<u8>>),
    Sync(u8),
    Mark,
    Rotate,
    Release(u8),
    Close,
    Kill,
    Cut(LossModel, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![Just(Kind::Batch), Just(Kind::Config), Just(Kind::Checkpoint)];
    let class = prop_oneof![Just(Class::Ordinary), Just(Class::Reducing)];
    let part = prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..60), 1 => prop::collection::vec(any::<u8>(), 100..3000)];
    let append = (kind, class, prop::collection::vec(part, 0..4)).prop_map(|(k, c, p)| Step::Append(k, c, p));
    let model = prop::sample::select(&LossModel::ALL[..]);
    let step = prop_oneof![
        12 => append,
        4 => any::<u8>().prop_map(Step::Sync),
        1 => Just(Step::Mark),
        1 => Just(Step::Rotate),
        1 => any::<u8>().prop_map(Step::Release),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => (model, any::<u64>()).prop_map(|(model, seed)| Step::Cut(model, seed)),
    ];
    prop::collection::vec(step, 0..80)
}

/// The model: what the log must hold, and what of it is durable.
struct Model {
    dir: Arc<FaultyDir>,
    log: Option<(FileLogWriter, Arc<FileSyncer>)>,
    operations: Vec<Operation>,
    durable: usize,
    recorded: LogOptions,
    /// The largest Seq given out.
    given: Seq,
}

impl Model {
    fn new(sizes: LogSizes) -> Model {
        let mut model = Model {
            dir: FaultyDir::new(),
            log: None,
            operations: Vec::new(),
            durable: 0,
            recorded: LogOptions { sizes, ..LogOptions::new(UUID) },
            given: Seq::ZERO,
        };
        model.reopen();
        model
    }

    fn seq(&self, at: u8) -> Seq {
        self.operations.get(at as usize % (self.operations.len() + 1)).map_or(Seq::MAX, |(seq, ..)| *seq)
    }

    /// Opens the log; it must show the model's operations, or, after a power cut, a prefix with all that was durable.
    fn reopen(&mut self) {
        let log = open(&self.dir, self.recorded).unwrap();
        let shown = replayed(&log);
        let released = self.operations.iter().filter(|(seq, ..)| *seq <= self.recorded.flushed).count();
        let kept = released + shown.len();
        assert!(kept >= self.durable, "{kept} of {} durable operations", self.durable);
        assert_eq!(self.operations[released..kept], shown);
        self.operations.truncate(kept);
        self.durable = kept;
        self.log = Some(log.into_writer().unwrap());
    }

    fn note_synced(&mut self, synced: Seq) {
        let durable = self.operations.iter().filter(|(seq, ..)| *seq <= synced).count();
        self.durable = self.durable.max(durable);
    }

    fn take(&mut self, step: Step) {
        let (seq_at, given) = (|at: u8| self.seq(at), self.given);
        let through = match step {
            Step::Sync(at) | Step::Release(at) => seq_at(at),
            _ => Seq::ZERO,
        };
        let (writer, syncer) = self.log.as_mut().unwrap();
        match step {
            Step::Append(kind, class, parts) => {
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let seq = writer.append(kind, class, &slices).unwrap();
                assert!(seq > given && seq.0 < given.0 + 2 * GENERATION_GAP);
                self.given = seq;
                self.operations.push((seq, kind, parts.concat()));
            }
            Step::Sync(_) => {
                let synced = syncer.sync(through).unwrap();
                self.note_synced(synced);
            }
            Step::Mark => {
                if let Some(mark) = writer.sync_mark().unwrap() {
                    self.given = mark;
                }
            }
            Step::Rotate => writer.rotate().unwrap(),
            Step::Release(_) => {
                self.recorded.synced = syncer.synced();
                self.recorded.flushed = self.recorded.flushed.max(through.min(syncer.synced()));
                syncer.release(self.recorded.flushed).unwrap();
            }
            Step::Close => {
                let (writer, _) = self.log.take().unwrap();
                let closed = writer.close().unwrap();
                self.durable = self.operations.len();
                assert!(self.operations.last().is_none_or(|(seq, ..)| *seq <= closed));
                self.reopen();
                assert_eq!(self.durable, self.operations.len());
            }
            Step::Kill => {
                self.log = None;
                self.durable = self.operations.len();
                self.reopen();
            }
            Step::Cut(model, seed) => {
                self.log = None;
                self.dir = FaultyDir::over(self.dir.crash_image(model, seed));
                self.reopen();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_log_is_a_vector_that_survives(steps in steps(), frame_bytes in prop_oneof![Just(64usize), Just(1 << 20)]) {
        let mut model = Model::new(LogSizes { frame_bytes, ..SMALL });
        for step in steps {
            model.take(step);
        }
        model.take(Step::Close);
    }
}
