//! `nearfield stats`: points and the room they take, by collection.
//!
//! **It refuses** to add up what differs: every figure is one that the engine reports.

use std::time::Duration;

use nearfield::{Collection, Database};
use serde_json::{Value as Json, json};

use crate::args::Stats;
use crate::database;
use crate::failure::Outcome;
use crate::output::{Screen, bytes, clean, duration, thousands};

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Stats) -> Outcome<()> {
    match &command.collection {
        Some(name) => one(screen, &database::read(&command.target, name)?),
        None => all(screen, &database::read_all(&command.target)?),
    }
}

fn one(screen: &Screen, collection: &Collection) -> Outcome<()> {
    let stats = collection.stats()?;
    screen.say(&screen.bold(collection.name()))?;
    let figures = [
        ("points", thousands(stats.points)),
        ("deleted rows not yet removed", thousands(stats.deleted)),
        ("sealed segments", thousands(stats.segments)),
        ("rows not sealed yet", thousands(stats.growing_rows)),
        ("rows not linked yet: searches scan them", thousands(stats.unlinked_rows)),
        ("segments without an index: searches scan them", thousands(stats.unindexed_segments)),
        ("searches scan for want of a graph: rows", thousands(stats.debt.rows)),
        ("searches scan for want of a graph: bytes", bytes(stats.debt.bytes)),
        ("what that adds to a search, estimated", duration(Duration::from_micros(stats.debt.micros))),
        ("indexes built with earlier settings", thousands(stats.stale_indexes)),
        ("segments being merged, or to be", thousands(stats.unmerged_segments)),
        ("indexes found damaged and built anew", thousands(stats.damaged_indexes)),
        ("indexes of payload fields", thousands(stats.field_indexes)),
        ("of these not whole yet: filters read payloads too", thousands(stats.unbuilt_field_indexes)),
        ("graphs of large tenants", thousands(stats.partition_graphs)),
        ("memory of rows not sealed yet", bytes(stats.memory_bytes)),
        ("memory of indexes, mapped files left out", bytes(stats.index_memory_bytes)),
        ("on disk: vectors", bytes(stats.disk.vectors)),
        ("on disk: payload", bytes(stats.disk.payload)),
        ("on disk: ids", bytes(stats.disk.ids)),
        ("on disk: indexes", bytes(stats.disk.index)),
        ("on disk: log, with room reserved", bytes(stats.disk.log)),
        ("on disk: other", bytes(stats.disk.other)),
        ("on disk: all", bytes(stats.disk.total())),
        ("last operation", thousands(stats.visible_seq.0)),
        // The log may be synced beyond the last operation: its own marks have numbers too.
        ("last operation safe from power loss", thousands(stats.synced_seq.min(stats.visible_seq).0)),
    ];
    let width = figures.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, figure) in &figures {
        screen.say(&format!("  {} {figure:>14}", screen.dim(&format!("{label:<width$}"))))?;
    }
    let status = collection.status()?;
    screen.say(&format!("  {} {:>14}", screen.dim(&format!("{:<width$}", "status")), status.name()))?;
    for reason in status.reasons() {
        screen.say(&format!("  {}", screen.dim(&clean(reason))))?;
    }
    let mut answer = stats_json(collection.name(), &stats);
    answer["status"] = json!({"name": status.name(), "reasons": status.reasons()});
    screen.answer(&answer)
}

fn all(screen: &Screen, database: &Database) -> Outcome<()> {
    let (mut rows, mut answer) = (Vec::new(), Vec::new());
    for name in database.collections() {
        let stats = match database.collection(&name) {
            Ok(collection) => collection.stats()?,
            // Closed or damaged: the others have figures all the same.
            Err(error) => {
                screen.say(&format!("{}: {error}", clean(&name)))?;
                answer.push(json!({"collection": name, "error": error.to_string()}));
                continue;
            }
        };
        rows.push(vec![
            name.clone(),
            thousands(stats.points),
            thousands(stats.deleted),
            thousands(stats.segments),
            thousands(stats.growing_rows),
            bytes(stats.disk.total()),
            bytes(stats.memory_bytes),
        ]);
        answer.push(stats_json(&name, &stats));
    }
    if rows.is_empty() {
        screen.say("There are no collections yet.")?;
    } else {
        let heading = ["collection", "points", "deleted", "segments", "unsealed", "disk", "memory"];
        screen.table(&heading, &[1, 2, 3, 4, 5, 6], rows)?;
    }
    screen.answer(&json!({"collections": answer}))
}

fn stats_json(name: &str, stats: &nearfield::Stats) -> Json {
    json!({
        "collection": name,
        "points": stats.points,
        "deleted": stats.deleted,
        "segments": stats.segments,
        "growing_rows": stats.growing_rows,
        "unlinked_rows": stats.unlinked_rows,
        "unindexed_segments": stats.unindexed_segments,
        "debt": {"rows": stats.debt.rows, "bytes": stats.debt.bytes, "micros": stats.debt.micros},
        "stale_indexes": stats.stale_indexes,
        "unmerged_segments": stats.unmerged_segments,
        "damaged_indexes": stats.damaged_indexes,
        "field_indexes": stats.field_indexes,
        "unbuilt_field_indexes": stats.unbuilt_field_indexes,
        "partition_graphs": stats.partition_graphs,
        "index_memory_bytes": stats.index_memory_bytes,
        "memory_bytes": stats.memory_bytes,
        "disk": {
            "vectors": stats.disk.vectors,
            "payload": stats.disk.payload,
            "ids": stats.disk.ids,
            "index": stats.disk.index,
            "log": stats.disk.log,
            "other": stats.disk.other,
            "total": stats.disk.total(),
        },
        "visible_seq": stats.visible_seq.0,
        "synced_seq": stats.synced_seq.0,
        "flushed_seq": stats.flushed_seq.0,
    })
}
