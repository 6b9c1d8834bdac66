//! Turns rows into the text of all formats, on a separate blocking thread between the read and the compression.

use anyhow::{Context as _, ensure};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    columns::{Piece as ColumnPiece, ToColumns},
    compressor::{Piece, ToCompressor},
    contents::Contents,
    workbook,
};
use crate::{
    failure::Failure,
    serialise::{
        Row, Serialiser,
        formats::{PerFormat, Tallies},
        pseudonym::Pseudonyms,
    },
};

/// What was written.
pub(super) struct Written {
    /// The counts of each entity.
    pub(super) tallies: Vec<Tallies>,
    /// The entity and the rows of each sheet, if there is a workbook.
    pub(super) sheets: Vec<(usize, u64)>,
}

/// A message to the thread.
pub(super) enum Work<R> {
    /// Rows, each with the index of its entity, and the permit for their bytes in the queue.
    Rows(Vec<(usize, R)>, OwnedSemaphorePermit),
    /// There are no more rows. A queue that closes without it was abandoned.
    Finish,
}

/// Writes the rows as they come and hands their text to the compressors.
///
/// Entities come in their order. Entities without rows are written too.
pub(super) fn write_rows<R: Row>(
    contents: &Contents,
    mut queue: mpsc::Receiver<Work<R>>,
    files: PerFormat<ToCompressor>,
    columns: Option<ToColumns>,
) -> anyhow::Result<Written> {
    let mut writer = Writer::new(contents, files, columns)?;
    loop {
        match queue.blocking_recv() {
            Some(Work::Rows(rows, _room)) => {
                for (entity, row) in rows {
                    writer.open(entity)?;
                    writer.row(&row)?;
                }
            }
            Some(Work::Finish) => return writer.finish(),
            None => return Err(Failure::Interrupted.into()),
        }
    }
}

/// The files of the entities, one after the other.
struct Writer<'c> {
    contents: &'c Contents,
    pseudonyms: Pseudonyms,
    files: PerFormat<ToCompressor>,
    /// The Parquet files, if there are any.
    columns: Option<ToColumns>,
    /// The open entity and its rows so far.
    open: Option<(Serialiser, u64)>,
    /// The rows of the open sheet.
    sheet_rows: u64,
    written: Written,
}

impl<'c> Writer<'c> {
    fn new(
        contents: &'c Contents,
        files: PerFormat<ToCompressor>,
        columns: Option<ToColumns>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            contents,
            pseudonyms: Pseudonyms::new(&contents.pseudonym_salt, &contents.user_id)?,
            files,
            columns,
            open: None,
            sheet_rows: 0,
            written: Written { tallies: Vec::new(), sheets: Vec::new() },
        })
    }

    /// Opens the files of an entity, after the files of any skipped entities, which had no rows.
    fn open(&mut self, entity: usize) -> anyhow::Result<()> {
        while self.open.is_none() || self.written.tallies.len() < entity {
            self.close()?;
            let next = self.contents.entities.get(self.written.tallies.len());
            let next = next.with_context(|| format!("there is no entity {entity}"))?;
            self.files.json.send(Piece::Begin(format!("json/{}.json", next.name)))?;
            self.files.csv.send(Piece::Begin(format!("csv/{}.csv", next.name)))?;
            let (relation, order) = (next.relation.clone(), next.order.clone());
            let mut serialiser =
                Serialiser::new(relation, next.columns.clone(), order, self.pseudonyms.clone());
            if let Some(columns) = &self.columns {
                columns.send(ColumnPiece::Begin(self.written.tallies.len()))?;
                serialiser = serialiser.with_row_groups();
            }
            self.begin_sheet()?;
            serialiser.begin(&mut self.files)?;
            self.open = Some((serialiser, 0));
        }
        ensure!(self.written.tallies.len() == entity, "rows of entity {entity} came too late");
        Ok(())
    }

    fn row(&mut self, row: &impl Row) -> anyhow::Result<()> {
        if self.is_sheet_full() {
            self.next_sheet()?;
        }
        let (serialiser, rows) = self.open.as_mut().context("a row came before its entity")?;
        *rows += 1;
        self.sheet_rows += 1;
        serialiser.row(row, &mut self.files)?;
        match (&self.columns, serialiser.full_row_group()) {
            (Some(columns), Some(group)) => columns.send(ColumnPiece::Rows(group)),
            _ => Ok(()),
        }
    }

    fn is_sheet_full(&self) -> bool {
        self.files.xlsx.as_ref().is_some_and(|file| file.sent() >= workbook::SHEET_BYTES)
            || self.open.as_ref().is_some_and(|(serialiser, _)| serialiser.is_sheet_full())
    }

    /// Continues on another sheet of the same entity.
    fn next_sheet(&mut self) -> anyhow::Result<()> {
        let Some((mut serialiser, rows)) = self.open.take() else { return Ok(()) };
        serialiser.end_sheet(&mut self.files)?;
        self.end_sheet()?;
        self.begin_sheet()?;
        serialiser.begin_sheet(&mut self.files)?;
        self.open = Some((serialiser, rows));
        Ok(())
    }

    fn begin_sheet(&mut self) -> anyhow::Result<()> {
        let Some(file) = &mut self.files.xlsx else { return Ok(()) };
        self.sheet_rows = 0;
        Ok(file.send(Piece::Begin(workbook::sheet_file(self.written.sheets.len())))?)
    }

    fn end_sheet(&mut self) -> anyhow::Result<()> {
        let Some(file) = &mut self.files.xlsx else { return Ok(()) };
        file.send(Piece::End(self.sheet_rows))?;
        self.written.sheets.push((self.written.tallies.len(), self.sheet_rows));
        Ok(())
    }

    /// Closes the files of the open entity.
    fn close(&mut self) -> anyhow::Result<()> {
        let Some((mut serialiser, rows)) = self.open.take() else { return Ok(()) };
        if let Some(columns) = &self.columns {
            if let Some(group) = serialiser.last_row_group() {
                columns.send(ColumnPiece::Rows(group))?;
            }
            columns.send(ColumnPiece::End(rows))?;
        }
        let tallies = serialiser.end(&mut self.files)?;
        self.end_sheet()?;
        self.written.tallies.push(tallies);
        self.files.json.send(Piece::End(rows))?;
        self.files.csv.send(Piece::End(rows))?;
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Written> {
        if let Some(last) = self.contents.entities.len().checked_sub(1) {
            self.open(last)?;
        }
        self.close()?;
        self.files.json.send(Piece::Finish)?;
        self.files.csv.send(Piece::Finish)?;
        if let Some(file) = &mut self.files.xlsx {
            file.send(Piece::Finish)?;
        }
        if let Some(columns) = &self.columns {
            columns.send(ColumnPiece::Finish)?;
        }
        Ok(self.written)
    }
}
