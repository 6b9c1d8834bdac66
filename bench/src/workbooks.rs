//! The heavy account with a workbook, compared with the export without one, and with other writers of workbooks.

use std::fs;

use anyhow::ensure;

use crate::{
    bench::{Bench, PEER_LEVEL, SLOW_SECONDS},
    contender::Cost,
    goals::Goals,
    table::Table,
};

/// Names of contenders that a goal uses.
pub(crate) const WITHOUT_WORKBOOK: &str = "engine, JSON and CSV";
pub(crate) const WITH_WORKBOOK: &str = "engine, JSON, CSV and XLSX";

/// Programs that make only workbooks, in `bench/peers`.
const PEERS: [(&str, &str); 2] =
    [("duckdb_xlsx", "DuckDB's excel extension"), ("pandas_xlsx", "pandas with XlsxWriter")];

impl Bench {
    /// Measures our workbook and those of others.
    pub(crate) async fn workbooks(&self, goals: &mut Goals) -> anyhow::Result<Table> {
        let user = self.accounts.heavy;
        let mut table = Table::new("The same account with a workbook, at level 1", WITHOUT_WORKBOOK);
        let (job, out) = (self.folder.join("job.json"), self.folder.join("peer.xlsx"));
        self.job(user).await?.write(PEER_LEVEL, &job)?;
        for _ in 0..self.repeats {
            let ours = self.cost(self.engine(1, &[user], 1, None)).await?;
            let rows = ours.did.rows;
            table.add(WITHOUT_WORKBOOK, ours);
            let mut with = self.engine(1, &[user], 1, None);
            with.args(["--format", "xlsx"]);
            table.add(WITH_WORKBOOK, self.cost(with).await?);
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
        goals.workbooks(&table);
        Ok(table)
    }
}
