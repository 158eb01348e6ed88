//! What is written down of tasks: the value of a cell of their own, whole at every change. See `docs/format.md`.
//!
//! It is history and a list of things to do, no truth: damage to it costs the memory of what was asked for, never data.

use std::collections::BTreeMap;

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_types::Uuid;
use nearfield_types::limits::{NAME_BYTES_MAX, TASK_TEXT_BYTES_MAX, TASKS_KEPT_MAX, TASKS_LIVE_MAX};

use crate::format::TASKS_VERSION;
use crate::tasks::{Task, TaskId, TaskKind, TaskState};

/// No id is larger, so adding one never overflows.
pub(crate) const IDS_MAX: u64 = u64::MAX / 2;
/// Bytes of a task without its texts.
const RECORD_BYTES_MIN: usize = 8 + 1 + 1 + 2 + 3 * 8 + 16 + 3 * 4;

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: TaskKind,
    pub(crate) state: TaskState,
    pub(crate) collection: String,
    /// Zeros if there was no such collection.
    pub(crate) uuid: [u8; 16],
    pub(crate) argument: String,
    pub(crate) message: String,
    pub(crate) created_ms: u64,
    /// 0 before it was begun.
    pub(crate) started_ms: u64,
    /// 0 before it ended.
    pub(crate) finished_ms: u64,
}

impl Record {
    /// The task as people see it, `fraction` of it done if it has not ended.
    pub(crate) fn shown(&self, id: u64, fraction: f64) -> Task {
        let time = |ms: u64| (ms > 0).then_some(ms);
        Task {
            id: TaskId(id),
            kind: self.kind,
            state: self.state,
            collection: self.collection.clone(),
            uuid: (self.uuid != [0; 16]).then(|| Uuid::from_bytes(self.uuid)),
            argument: self.argument.clone(),
            progress: if self.state == TaskState::Completed { 100.0 } else { 100.0 * fraction },
            created_ms: self.created_ms,
            started_ms: time(self.started_ms),
            finished_ms: time(self.finished_ms),
            message: self.message.clone(),
        }
    }
}

/// The tasks of a database as they are on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskRecords {
    /// The next id to be given.
    pub(crate) next: u64,
    /// Tasks by id, all below `next`.
    pub(crate) tasks: BTreeMap<u64, Record>,
}

impl TaskRecords {
    /// The records as bytes. See `docs/format.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(TASKS_VERSION).u16(0).u64(self.next).u32(self.tasks.len() as u32);
        for (id, task) in &self.tasks {
            encode_record(&mut out, *id, task);
        }
        out.into_vec()
    }

    /// Reads records.
    pub(crate) fn decode(bytes: &[u8]) -> Result<TaskRecords, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u16()?;
        let reserved = decoder.u16()?;
        if version != TASKS_VERSION || reserved != 0 {
            return Err(decoder.range_error(u64::from(version)));
        }
        let mut records = TaskRecords { next: decoder.u64()?, tasks: BTreeMap::new() };
        if records.next > IDS_MAX {
            return Err(decoder.range_error(records.next));
        }
        let count = decoder.count(RECORD_BYTES_MIN)?;
        if count > TASKS_KEPT_MAX + TASKS_LIVE_MAX {
            return Err(decoder.range_error(count as u64));
        }
        for _ in 0..count {
            let (id, record) = decode_record(&mut decoder)?;
            let last = records.tasks.last_key_value().map(|(id, _)| *id);
            if id >= records.next || last.is_some_and(|last| last >= id) {
                return Err(decoder.range_error(id));
            }
            records.tasks.insert(id, record);
        }
        decoder.finish()?;
        Ok(records)
    }
}

fn encode_record(out: &mut Encoder, id: u64, task: &Record) {
    out.u64(id).u8(kind_number(task.kind)).u8(state_number(task.state)).u16(0);
    out.u64(task.created_ms).u64(task.started_ms).u64(task.finished_ms).bytes(&task.uuid);
    for text in [&task.collection, &task.argument, &task.message] {
        out.counted(text.as_bytes());
    }
}

fn decode_record(decoder: &mut Decoder<'_>) -> Result<(u64, Record), DecodeError> {
    let id = decoder.u64()?;
    let (kind, state, reserved) = (decoder.u8()?, decoder.u8()?, decoder.u16()?);
    let Some(kind) = TaskKind::ALL.into_iter().find(|known| kind_number(*known) == kind) else {
        return Err(decoder.range_error(u64::from(kind)));
    };
    let Some(state) = TaskState::ALL.into_iter().find(|known| state_number(*known) == state) else {
        return Err(decoder.range_error(u64::from(state)));
    };
    if reserved != 0 {
        return Err(decoder.range_error(u64::from(reserved)));
    }
    let (created_ms, started_ms, finished_ms) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
    let uuid = decoder.array()?;
    let collection = decoder.text(NAME_BYTES_MAX)?.to_owned();
    let argument = decoder.text(TASK_TEXT_BYTES_MAX)?.to_owned();
    let message = decoder.text(TASK_TEXT_BYTES_MAX)?.to_owned();
    let record =
        Record { kind, state, collection, uuid, argument, message, created_ms, started_ms, finished_ms };
    Ok((id, record))
}

fn kind_number(kind: TaskKind) -> u8 {
    match kind {
        TaskKind::Rebuild => 1,
        TaskKind::Optimize => 2,
        TaskKind::Flush => 3,
        TaskKind::CreateIndex => 4,
        TaskKind::Import => 5,
        TaskKind::Snapshot => 6,
        TaskKind::Restore => 7,
    }
}

fn state_number(state: TaskState) -> u8 {
    match state {
        TaskState::Queued => 1,
        TaskState::Running => 2,
        TaskState::Completed => 3,
        TaskState::Failed => 4,
        TaskState::Cancelled => 5,
    }
}

/// `text`, cut where it is longer than what is kept.
pub(crate) fn kept(mut text: String) -> String {
    if text.len() > TASK_TEXT_BYTES_MAX {
        let end = (0..=TASK_TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> TaskRecords {
        let record = |kind, state| Record {
            kind,
            state,
            collection: "books".to_owned(),
            uuid: [7; 16],
            argument: "author.name".to_owned(),
            message: "no room".to_owned(),
            created_ms: 1,
            started_ms: 2,
            finished_ms: 3,
        };
        let all = TaskKind::ALL.into_iter().flat_map(|kind| TaskState::ALL.map(|state| record(kind, state)));
        let tasks: BTreeMap<u64, Record> = (3..).step_by(2).zip(all).collect();
        TaskRecords { next: 1_000, tasks }
    }

    #[test]
    fn round_trip_and_every_prefix() {
        let records = records();
        let bytes = records.encode();
        assert_eq!(TaskRecords::decode(&bytes), Ok(records));
        assert_eq!(TaskRecords::decode(&TaskRecords::default().encode()), Ok(TaskRecords::default()));
        for cut in 0..bytes.len() {
            assert!(TaskRecords::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn ids_count_up_and_stay_below_the_next() {
        let mut records = records();
        records.next = *records.tasks.last_key_value().unwrap().0;
        assert!(TaskRecords::decode(&records.encode()).is_err());
        let bytes = TaskRecords { next: 9, tasks: records.tasks.into_iter().take(2).collect() }.encode();
        // The second id, made the first.
        let second = 16 + (bytes.len() - 16) / 2;
        let mut twice = bytes.clone();
        twice.copy_within(16..24, second);
        assert!(TaskRecords::decode(&bytes).is_ok() && TaskRecords::decode(&twice).is_err());
    }

    #[test]
    fn what_is_said_is_cut_between_letters() {
        let long = "ä".repeat(TASK_TEXT_BYTES_MAX);
        assert_eq!(kept(long.clone()).len(), TASK_TEXT_BYTES_MAX);
        assert_eq!(kept(format!("a{long}")).len(), TASK_TEXT_BYTES_MAX - 1);
        assert_eq!(kept("short".to_owned()), "short");
    }
}
