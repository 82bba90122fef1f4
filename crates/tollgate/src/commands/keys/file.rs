//! The file of an import, line by line. Nothing of it is held but the row at hand.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use serde_json::{Map, Value};
use tollgate_kernel::{Code, Fault};

use super::{columns::Columns, row::Problem};
use crate::cli::keys::Format;

/// Longest line, in bytes: more than the bounds of a row allow.
const LONGEST_LINE: u64 = 64 * 1024;

/// A row of the table: where it is, and its cells.
pub(super) struct Line {
    /// Counted from one.
    pub(super) number: u64,
    pub(super) cells: Result<Map<String, Value>, Vec<Problem>>,
}

/// The rows of a file.
pub(super) enum Lines {
    Ndjson { reader: BufReader<File>, number: u64 },
    Csv { reader: Box<csv::Reader<File>>, header: Vec<String> },
}

impl Lines {
    /// Opens the file; refuses a table whose columns cannot be imported.
    pub(super) fn open(path: &Path, format: Format, columns: &Columns) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        if format == Format::Ndjson {
            return Ok(Self::Ndjson { reader: BufReader::new(file), number: 0 });
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.headers().map_err(|error| unreadable(path, error.into()))?;
        // A byte order mark, as spreadsheets write it.
        let header: Vec<String> =
            header.iter().map(|it| it.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        if let Some(missing) = columns.unknown(&header) {
            let what = format!("--map names the column `{missing}`, which is not in {}.", path.display());
            return Err(Fault::new(Code::InvalidArgument, what));
        }
        for column in &header {
            columns.of(column)?;
        }
        Ok(Self::Csv { reader: Box::new(reader), header })
    }

    /// The next row; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line>, io::Error> {
        match self {
            Self::Ndjson { reader, number } => next_object(reader, number),
            Self::Csv { reader, header } => next_record(reader, header),
        }
    }
}

fn next_object(reader: &mut BufReader<File>, number: &mut u64) -> Result<Option<Line>, io::Error> {
    loop {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        *number += 1;
        let wrong = |detail: &str| Err(vec![(String::new(), detail.to_owned())]);
        if bytes.len() as u64 > LONGEST_LINE {
            // The rest of the line goes by.
            skip_line(reader)?;
            return Ok(Some(Line { number: *number, cells: wrong("is longer than 64 KiB") }));
        }
        let text = bytes.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let cells = match serde_json::from_slice(text) {
            Ok(Value::Object(cells)) => Ok(cells),
            Ok(_) | Err(_) => wrong("is not a JSON object"),
        };
        return Ok(Some(Line { number: *number, cells }));
    }
}

fn skip_line(reader: &mut BufReader<File>) -> Result<(), io::Error> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn next_record(reader: &mut csv::Reader<File>, header: &[String]) -> Result<Option<Line>, io::Error> {
    let mut record = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        return Ok(None);
    }
    let number = record.position().map_or(0, csv::Position::line);
    let wrong = |detail: String| Err(vec![(String::new(), detail)]);
    let cells = if record.len() == header.len() {
        let texts = csv::StringRecord::from_byte_record(record);
        match texts {
            Ok(texts) => {
                Ok(header.iter().cloned().zip(texts.iter().map(|it| Value::String(it.to_owned()))).collect())
            }
            Err(_) => wrong("is not UTF-8".to_owned()),
        }
    } else {
        wrong(format!("has {} cells; the first line has {} names", record.len(), header.len()))
    };
    Ok(Some(Line { number, cells }))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Fault {
    Fault::new(Code::InvalidArgument, format!("{} cannot be read.", path.display())).caused_by(error)
}
