//! `tollgate keys export`: all keys that are not revoked, page by page, as `import` takes them.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde_json::Value;
use tollgate_kernel::{Code, Fault};
use tollgate_proto::{
    fault::from_status,
    keys::{ExportKeysRequest, ImportRow, keys_client::KeysClient},
};

use super::{
    Introduced, format_of,
    row::{COLUMNS, written},
};
use crate::{
    cli::keys::{Export, Format},
    commands::Failure,
};

/// Rows of a page: with the longest rows that there can be, they fit into one message.
const PAGE: u32 = 200;

/// Writes them out.
pub(super) async fn run(keys: &mut KeysClient<Introduced>, options: &Export) -> Result<(), Failure> {
    let named = options.file.as_deref().and_then(format_of);
    let format = options.format.or(named).unwrap_or(Format::Ndjson);
    // The first page before the file: who may not export makes no file.
    let mut page = next(keys, String::new()).await?;
    let mut out = Table::new(open(options.file.as_deref())?, format)?;
    let mut count = 0;
    loop {
        for row in page.0 {
            out.write(row)?;
            count += 1;
        }
        match page.1 {
            Some(cursor) => page = next(keys, cursor).await?,
            None => break,
        }
    }
    out.flush()?;
    // Standard output is the table's.
    writeln!(io::stderr(), "{count} exported")?;
    Ok(())
}

async fn next(
    keys: &mut KeysClient<Introduced>,
    cursor: String,
) -> Result<(Vec<ImportRow>, Option<String>), Fault> {
    let request = ExportKeysRequest { limit: PAGE, cursor, ..ExportKeysRequest::default() };
    let answer = keys.export_keys(request).await.map_err(from_status)?.into_inner();
    Ok((answer.rows, answer.next_cursor))
}

/// A new file, for its owner only; or standard output.
fn open(path: Option<&Path>) -> Result<Box<dyn Write>, Fault> {
    let Some(path) = path else { return Ok(Box::new(io::stdout().lock())) };
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let file = file.map_err(|error| {
        Fault::new(Code::InvalidArgument, format!("{} cannot be made.", path.display())).caused_by(error)
    })?;
    Ok(Box::new(io::BufWriter::new(file)))
}

enum Table {
    Ndjson(Box<dyn Write>),
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

impl Table {
    fn new(out: Box<dyn Write>, format: Format) -> Result<Self, Failure> {
        if format == Format::Ndjson {
            return Ok(Self::Ndjson(out));
        }
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS).map_err(io::Error::from)?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn write(&mut self, row: ImportRow) -> Result<(), Failure> {
        let cells = written(row);
        match self {
            Self::Ndjson(out) => writeln!(out, "{}", Value::Object(cells))?,
            Self::Csv(out) => {
                let texts = COLUMNS.iter().map(|name| match cells.get(*name) {
                    None => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => value.to_string(),
                });
                out.write_record(texts).map_err(io::Error::from)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Ndjson(out) => out.flush()?,
            Self::Csv(out) => out.flush()?,
        }
        Ok(())
    }
}
