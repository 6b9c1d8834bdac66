//! From rows to the text of both formats, on a blocking thread of its own between the read and the compression.

use std::{
    io::{BufWriter, Write as _},
    sync::mpsc::SyncSender,
};

use anyhow::{Context as _, anyhow};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    contents::Contents,
    lane::{PIECE_BYTES, Piece, ToLane},
};
use crate::{
    failure::Failure,
    pseudonym::Pseudonyms,
    serialise::{Csv, Files, Row, Serialiser},
};

/// What the thread is told.
pub(super) enum Work<R> {
    /// The rows that follow are of this entity.
    Begin(usize),
    /// Rows, and the part of the queue that they take, given back when they are written.
    Rows(Vec<R>, OwnedSemaphorePermit),
    /// The entity has no more rows.
    End,
    /// All entities are written. A queue that ends without it was given up.
    Finish,
}

/// Writes the rows as they come and hands their text to the lanes; gives what was counted in the CSV of each entity.
pub(super) fn write_rows<R: Row>(
    contents: &Contents,
    mut queue: mpsc::Receiver<Work<R>>,
    lanes: Files<SyncSender<Piece>>,
) -> anyhow::Result<Vec<Csv>> {
    let pseudonyms = Pseudonyms::new(&contents.pseudonym_salt, contents.user_id)?;
    let text = |lane| BufWriter::with_capacity(PIECE_BYTES, ToLane(lane));
    let mut files = Files { json: text(lanes.json), csv: text(lanes.csv) };
    let mut counts = Vec::new();
    loop {
        let entity = match queue.blocking_recv() {
            Some(Work::Begin(index)) => {
                contents.entities.get(index).with_context(|| format!("there is no entity {index}"))?
            }
            Some(Work::Finish) => {
                files.json.get_ref().send(Piece::Finish)?;
                files.csv.get_ref().send(Piece::Finish)?;
                return Ok(counts);
            }
            Some(Work::Rows(..) | Work::End) => return Err(anyhow!("rows came outside of an entity")),
            None => return Err(Failure::Interrupted.into()),
        };
        files.json.get_ref().send(Piece::Begin(format!("json/{}.json", entity.name)))?;
        files.csv.get_ref().send(Piece::Begin(format!("csv/{}.csv", entity.name)))?;
        let (relation, order) = (entity.relation.clone(), entity.order.clone());
        let mut serialiser = Serialiser::new(relation, entity.serialised(), order, pseudonyms.clone());
        serialiser.begin(&mut files)?;
        let mut count = 0;
        loop {
            match queue.blocking_recv() {
                Some(Work::Rows(rows, _room)) => {
                    count += rows.len() as u64;
                    for row in rows {
                        serialiser.row(&row, &mut files)?;
                    }
                }
                Some(Work::End) => break,
                Some(Work::Begin(_) | Work::Finish) => return Err(anyhow!("an entity was left open")),
                None => return Err(Failure::Interrupted.into()),
            }
        }
        counts.push(serialiser.end(&mut files)?);
        for file in [&mut files.json, &mut files.csv] {
            file.flush()?;
            file.get_ref().send(Piece::End(count))?;
        }
    }
}
