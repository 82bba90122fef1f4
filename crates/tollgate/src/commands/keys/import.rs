//! `tollgate keys import`: a table goes to the server in batches, each in one transaction. What the server has acknowledged is
//! kept beside the table, so that an import that was interrupted goes on; and since a key that is there stays as it is, nothing
//! is lost if that is not kept.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
};

use http::Uri;
use prost::Message as _;
use serde_json::json;
use tollgate_kernel::{Code, Fault};
use tollgate_proto::{
    fault::from_status,
    keys::{ImportKeysRequest, ImportResult, ImportRow, import_result::Outcome, keys_client::KeysClient},
};

use super::{
    Introduced,
    columns::Columns,
    file::{Line, Lines},
    format_of,
    progress::{Bar, Kept, Progress, measure},
    row::{self, Defaults, Problem},
};
use crate::{
    cli::keys::{Environment, Import},
    commands::{Failure, print},
};

/// So that a batch is one short transaction. The server takes 500.
const ROWS: usize = 200;
/// Half of what a role takes in one message.
const BATCH_BYTES: usize = 512 * 1024;
/// Wrong rows that are shown; the report has all.
const SHOWN: usize = 20;

/// Brings a table in.
pub(super) async fn run(
    keys: &mut KeysClient<Introduced>,
    server: &Uri,
    options: &Import,
) -> Result<(), Failure> {
    let mut run = Run::open(keys, server, options)?;
    run.all().await?;
    run.close()
}

struct Run<'a> {
    keys: &'a mut KeysClient<Introduced>,
    options: &'a Import,
    columns: Columns,
    defaults: Defaults,
    lines: Lines,
    batch: Vec<(u64, ImportRow)>,
    bytes: usize,
    /// The last line that was read.
    seen: u64,
    kept: Kept,
    progress: Progress,
    bar: Bar,
    report: Option<File>,
    /// The first of them, as they are shown.
    wrong: Vec<String>,
}

impl<'a> Run<'a> {
    fn open(
        keys: &'a mut KeysClient<Introduced>,
        server: &Uri,
        options: &'a Import,
    ) -> Result<Self, Failure> {
        let unknown = || {
            let what = "The file's name does not say how it is written: say --format ndjson or --format csv.";
            Fault::new(Code::InvalidArgument, what)
        };
        let format = options.format.or_else(|| format_of(&options.file)).ok_or_else(unknown)?;
        let columns = Columns::parse(&options.map)?;
        let (digest, count) = measure(&options.file)?;
        let lines = Lines::open(&options.file, format, &columns)?;
        let (kept, server) = (Kept::beside(&options.file), server.to_string());
        let before = kept.read(&digest, &server).filter(|_| !options.restart && !options.dry_run);
        let resumes = before.is_some();
        let fresh = Progress { file: digest, server, ..Progress::default() };
        let report = options.report.as_ref().map(|path| {
            // What an import before has said of its rows is true still.
            OpenOptions::new().create(true).write(true).append(resumes).truncate(!resumes).open(path)
        });
        let environment = match options.environment {
            Environment::Live => "live",
            Environment::Test => "test",
        };
        let defaults =
            Defaults { plan: options.plan.clone().unwrap_or_default(), environment: environment.to_owned() };
        Ok(Self {
            keys,
            options,
            columns,
            defaults,
            lines,
            batch: Vec::new(),
            bytes: 0,
            seen: 0,
            kept,
            progress: before.unwrap_or(fresh),
            bar: Bar::new(count),
            report: report.transpose()?,
            wrong: Vec::new(),
        })
    }

    async fn all(&mut self) -> Result<(), Failure> {
        let done = self.progress.line;
        if done > 0 {
            print(&format!("going on after line {done}\n"))?;
        }
        while let Some(line) = self.lines.next()? {
            if line.number <= done {
                continue;
            }
            self.take(line)?;
            if self.batch.len() >= ROWS || self.bytes >= BATCH_BYTES {
                self.send().await?;
            }
        }
        self.send().await
    }

    fn take(&mut self, line: Line) -> Result<(), Failure> {
        let number = line.number;
        self.seen = number;
        let read = line.cells.and_then(|cells| row::read(number, &cells, &self.columns, &self.defaults));
        match read {
            Ok(row) => {
                self.bytes += row.encoded_len();
                self.batch.push((number, row));
                Ok(())
            }
            Err(problems) => self.refused(number, &problems),
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let (numbers, rows): (Vec<u64>, Vec<ImportRow>) = batch.into_iter().unzip();
        let request = ImportKeysRequest {
            rows,
            dry_run: self.options.dry_run,
            create_consumers: self.options.create_consumers,
            ..ImportKeysRequest::default()
        };
        let answer =
            self.keys.import_keys(request).await.map_err(|status| self.stopped(from_status(status)))?;
        let results = answer.into_inner().results;
        if results.len() != numbers.len() {
            return Err(Fault::internal("the server answers for another number of rows").into());
        }
        for (number, result) in numbers.into_iter().zip(results) {
            self.became(number, result)?;
        }
        self.progress.line = self.seen;
        if !self.options.dry_run {
            self.kept.write(&self.progress)?;
        }
        self.bar.show(self.seen);
        Ok(())
    }

    /// What the server says of a batch that it did not take.
    fn stopped(&self, fault: Fault) -> Fault {
        self.bar.end();
        let line = self.progress.line;
        let again = format!("{} Lines up to {line} are done; run it again to go on.", fault.message());
        let stopped = Fault::violations(fault.violated().to_vec());
        let stopped = if fault.violated().is_empty() { Fault::new(fault.code(), again) } else { stopped };
        stopped.caused_by(fault)
    }

    fn became(&mut self, number: u64, result: ImportResult) -> Result<(), Failure> {
        match result.outcome() {
            Outcome::Created => {
                self.progress.created += 1;
                self.say(&json!({ "line": number, "outcome": "created", "key_id": result.key_id }))
            }
            Outcome::Exists => {
                self.progress.existing += 1;
                self.say(&json!({ "line": number, "outcome": "exists" }))
            }
            Outcome::Invalid | Outcome::Unspecified => {
                let problems: Vec<Problem> =
                    result.problems.into_iter().map(|it| (it.pointer, it.detail)).collect();
                self.refused(number, &problems)
            }
        }
    }

    fn refused(&mut self, number: u64, problems: &[Problem]) -> Result<(), Failure> {
        self.progress.invalid += 1;
        if self.wrong.len() < SHOWN {
            let said = problems
                .iter()
                .map(|(at, detail)| format!("{} {detail}", at.trim_start_matches('/')).trim().to_owned());
            self.wrong.push(format!("  line {number}: {}\n", said.collect::<Vec<_>>().join("; ")));
        }
        let problems: Vec<_> =
            problems.iter().map(|(at, detail)| json!({ "pointer": at, "detail": detail })).collect();
        self.say(&json!({ "line": number, "outcome": "invalid", "problems": problems }))
    }

    fn say(&mut self, line: &serde_json::Value) -> Result<(), Failure> {
        if let Some(report) = &mut self.report {
            writeln!(report, "{line}")?;
        }
        Ok(())
    }

    fn close(self) -> Result<(), Failure> {
        self.bar.end();
        if !self.options.dry_run {
            self.kept.remove()?;
        }
        let Progress { created, existing, invalid, .. } = self.progress;
        let created_word = if self.options.dry_run { "would be created" } else { "created" };
        print(&format!("{created} {created_word}, {existing} there already, {invalid} invalid\n"))?;
        for line in &self.wrong {
            print(line)?;
        }
        if invalid == 0 {
            return Ok(());
        }
        let more = invalid.saturating_sub(self.wrong.len() as u64);
        let rest = if more > 0 { format!(", {more} of them not shown here") } else { String::new() };
        Err(Fault::new(Code::InvalidArgument, format!("{invalid} rows were not taken{rest}.")).into())
    }
}
