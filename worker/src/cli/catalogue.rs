//! `catalogue check`, `preview`, `document`, `diff`, `init` and `update`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use export_activities::{
    catalogue::{self, Catalogue, FILE, FindingKind, Link},
    failure::Failure,
    pulse::Pulse,
    source::snapshot::{self, Account, Previewed},
    user_id::UserId,
};
use serde::Serialize;
use uuid::Uuid;

use super::ExitStatus;
use crate::{
    config::Config,
    connect,
    output::{Output, table},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compare the catalogue with the database.
    Check,
    /// Show what the export of one account would hold, and how the source would read it. Exports nothing.
    Preview {
        /// User whose rows are counted.
        #[arg(long)]
        user: UserId,
        /// Also print the plan of each statement.
        #[arg(long)]
        plan: bool,
    },
    /// Print what is exported and what is not, for a register of processing activities.
    Document {
        /// Print CSV instead of Markdown.
        #[arg(long)]
        csv: bool,
    },
    /// Compare two catalogues as those who read archives see them; exit with 1 if a change is breaking.
    Diff {
        /// The folder of the first one.
        old: PathBuf,
        /// The folder of the second one.
        new: PathBuf,
    },
    /// Print a first catalogue, with a decision left open for each column that needs one.
    Init {
        /// Relations such as `public.users`.
        #[arg(required_unless_present = "account", value_name = "SCHEMA.RELATION")]
        relations: Vec<String>,
        /// Instead: the table of accounts, and every table from which foreign keys lead to it.
        #[arg(long = "follow-foreign-keys", value_name = "SCHEMA.TABLE", conflicts_with = "relations")]
        account: Option<String>,
        /// A table of which accounts are members, such as `public.organizations`: also what refers to it.
        #[arg(long = "hub", value_name = "SCHEMA.TABLE", requires = "account")]
        hubs: Vec<String>,
        /// For platforms without foreign keys: a column that holds ids of a table, wherever it stands.
        #[arg(long = "link", value_name = "COLUMN=SCHEMA.TABLE", requires = "account")]
        links: Vec<Link>,
    },
    /// Bring `catalogue.toml` in `EXPORT_CATALOGUE_DIR` up to date after a change of the platform's schema. Keeps every
    /// decision; what is new is left open for a person.
    Update {
        /// As for `init`: a column that holds ids of a table, wherever it stands.
        #[arg(long = "link", value_name = "COLUMN=SCHEMA.TABLE")]
        links: Vec<Link>,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Check => check(config, output).await,
            Self::Preview { user, plan } => preview(config, output, user, plan).await,
            Self::Document { csv } => document(config, csv),
            Self::Diff { old, new } => diff(&old, &new, output),
            Self::Init { relations, account, hubs, links } => {
                init(config, &relations, account.as_deref(), &hubs, &links).await
            }
            Self::Update { links } => update(config, output, &links).await,
        }
    }
}

/// Prints the drift report. Returns `Bad` if something needs a decision.
async fn check(config: &Config, output: Output) -> Result<ExitStatus> {
    let catalogue = connect::catalogue(config)?;
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let report = catalogue.report(&mut conn).await?;
    output.write(&report, |report, out| {
        for finding in &report.findings {
            let what = match finding.kind {
                kind if kind.stops_exports() => "stops the night",
                FindingKind::NoIndex | FindingKind::SlowKeys => "slow",
                FindingKind::UnrelatedRelation => "not looked at",
                _ => "not decided, not exported",
            };
            writeln!(out, "{what}: {finding}")?;
        }
        if report.is_clean() { writeln!(out, "the catalogue fits the database") } else { Ok(()) }
    })?;
    Ok(if report.is_clean() { ExitStatus::Success } else { ExitStatus::Failure })
}

/// Prints the catalogue in words.
fn document(config: &Config, csv: bool) -> Result<ExitStatus> {
    let catalogue = connect::catalogue(config)?;
    let text = if csv { catalogue.csv()? } else { catalogue.markdown().into_bytes() };
    std::io::stdout().write_all(&text).context("failed to print the catalogue")?;
    Ok(ExitStatus::Success)
}

/// Prints what changes between two catalogues.
fn diff(old: &Path, new: &Path, output: Output) -> Result<ExitStatus> {
    let changes = Catalogue::load(old)?.changes(&Catalogue::load(new)?);
    let is_breaking = changes.iter().any(|change| change.is_breaking);
    output.write(&changes, |changes, out| {
        for change in changes {
            writeln!(out, "{change}")?;
        }
        if changes.is_empty() { writeln!(out, "nothing changes for those who read archives") } else { Ok(()) }
    })?;
    Ok(if is_breaking { ExitStatus::Failure } else { ExitStatus::Success })
}

/// Counts the rows of one account.
async fn preview(config: &Config, output: Output, user_id: UserId, plans: bool) -> Result<ExitStatus> {
    let account = Account { request_id: Uuid::nil(), user_id };
    let source = connect::source(config)?;
    let catalogue = connect::catalogue(config)?;
    let opened = snapshot::open(&source, &catalogue, &account, &Pulse::default()).await;
    let mut snapshot = opened.map_err(|error| match error.downcast_ref() {
        Some(Failure::AccountDeleted { relation }) => {
            anyhow!("`{relation}` has no account `{}`", account.user_id.as_str())
        }
        _ => error,
    })?;
    let mut previewed = snapshot.preview().await?;
    snapshot.close().await?;
    if !plans {
        previewed.iter_mut().for_each(|entity| entity.plan.clear());
    }
    output.write(&previewed, |previewed, out| {
        let row = |entity: &Previewed| {
            vec![entity.entity.clone(), entity.rows.to_string(), entity.bytes.to_string()]
        };
        table(
            out,
            &["ENTITY", "ROWS", "BYTES IN THE SOURCE"],
            &previewed.iter().map(row).collect::<Vec<_>>(),
        )?;
        for entity in previewed.iter().filter(|entity| !entity.plan.is_empty()) {
            writeln!(out, "\n{}", entity.entity)?;
            for line in &entity.plan {
                writeln!(out, "  {line}")?;
            }
        }
        Ok(())
    })?;
    Ok(ExitStatus::Success)
}

/// Prints a first catalogue. The worker refuses it until every column is decided.
async fn init(
    config: &Config,
    relations: &[String],
    account: Option<&str>,
    hubs: &[String],
    links: &[Link],
) -> Result<ExitStatus> {
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let text = match account {
        Some(account) => catalogue::follow_foreign_keys(&mut conn, account, hubs, links).await?,
        None => catalogue::init(&mut conn, relations).await?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// Rewrites the catalogue file. Returns `Bad` if a person has to decide something.
async fn update(config: &Config, output: Output, links: &[Link]) -> Result<ExitStatus> {
    let folder = config.catalogue_dir.as_deref().context(
        "EXPORT_CATALOGUE_DIR is not set: the built-in catalogue is part of the program and is not updated",
    )?;
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let update = catalogue::update(&mut conn, folder, links).await?;
    let path = folder.join(FILE);
    if !update.changes.is_empty() {
        write_whole(&path, &update.text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    let open = Catalogue::load(folder).err().map(|error| format!("{error:#}"));
    let report = UpdateReport { changes: update.changes, open };
    output.write(&report, |report, out| {
        for change in &report.changes {
            writeln!(out, "{change}")?;
        }
        if report.changes.is_empty() {
            writeln!(out, "`{}` is up to date", path.display())?;
        }
        match &report.open {
            Some(open) => writeln!(out, "\nTo be decided:\n{open}"),
            None => Ok(()),
        }
    })?;
    Ok(if report.open.is_none() { ExitStatus::Success } else { ExitStatus::Failure })
}

/// What `catalogue update` did.
#[derive(Debug, Serialize)]
struct UpdateReport {
    changes: Vec<String>,
    /// What a person has to decide before the file is accepted.
    open: Option<String>,
}

/// Replaces a file at once, so that a worker that starts now reads the old or the new one.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("it has no folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = path.metadata() {
        file.as_file().set_permissions(before.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
