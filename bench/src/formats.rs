//! The heavy account in further formats, compared with the export without them, and with other writers of them.

use std::fs;

use anyhow::ensure;

use crate::{
    bench::{Bench, PEER_LEVEL, SLOW_SECONDS},
    contender::Cost,
    goals::Goals,
    table::Table,
};

/// Names of contenders that a goal uses.
pub(crate) const USUAL: &str = "engine, JSON and CSV";
pub(crate) const WITH_WORKBOOK: &str = "engine, JSON, CSV and XLSX";
const WITH_PARQUET: &str = "engine, JSON, CSV and Parquet";
pub(crate) const ALL: &str = "engine, all formats";

/// Programs that make only one format, in `bench/peers`.
const PEERS: [(&str, &str); 4] = [
    ("duckdb_xlsx", "XLSX by DuckDB's excel extension"),
    ("pandas_xlsx", "XLSX by pandas with XlsxWriter"),
    ("duckdb_parquet", "Parquet by DuckDB"),
    ("pandas_parquet", "Parquet by pandas with pyarrow"),
];

impl Bench {
    /// Measures our further formats and those of others.
    pub(crate) async fn formats(&self, goals: &mut Goals) -> anyhow::Result<Table> {
        let user = self.accounts.heavy;
        let mut table = Table::new("The same account in further formats, at level 1", USUAL);
        let (job, out) = (self.folder.join("job.json"), self.folder.join("peer.out"));
        self.job(user).await?.write(PEER_LEVEL, &job)?;
        for _ in 0..self.repeats {
            let usual = self.cost(self.engine(1, &[user], 1, None)).await?;
            let rows = usual.did.rows;
            table.add(USUAL, usual);
            for (name, formats) in
                [(WITH_WORKBOOK, &["xlsx"][..]), (WITH_PARQUET, &["parquet"]), (ALL, &["xlsx", "parquet"])]
            {
                let mut with = self.engine(1, &[user], 1, None);
                with.args(formats.iter().flat_map(|format| ["--format", format]));
                table.add(name, self.cost(with).await?);
            }
            for (peer, what) in PEERS {
                if table.is_slow(what, SLOW_SECONDS) {
                    continue;
                }
                let cost: Option<Cost> = Box::pin(self.peer(peer, &job, &out)).await?;
                match cost {
                    Some(cost) => {
                        ensure!(cost.did.rows == rows, "{peer} wrote {} rows of {rows}", cost.did.rows);
                        table.add(what, cost);
                    }
                    None => table.absent(what),
                }
                let _ = fs::remove_file(&out);
            }
        }
        goals.formats(&table);
        Ok(table)
    }
}
