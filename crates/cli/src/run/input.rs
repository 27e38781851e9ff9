//! Where `run` has its arguments from: the command line, files or standard input, in combinations.

use anyhow::Context;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The arguments of each job in turn.
pub(crate) struct Input {
    rows: Rows,
    /// How many there are, where all were read at once.
    pub(crate) known: Option<usize>,
}

type Row = Vec<Vec<u8>>;
type Rows = Box<dyn Iterator<Item = io::Result<Row>> + Send>;

/// One ":::" with its arguments, or one "::::" with its files.
#[derive(Debug)]
pub(crate) struct Given {
    words: Vec<OsString>,
    /// It goes along with the source before it.
    is_linked: bool,
    is_files: bool,
}

/// How input becomes the arguments of jobs.
#[derive(Clone, Debug)]
pub(crate) struct Splitting {
    /// Records end with NUL, not with a line end.
    pub(crate) null: bool,
    /// What parts a record into several arguments.
    pub(crate) columns: Option<Vec<u8>>,
    pub(crate) per_job: usize,
}

/// Splits what stands behind the options into the command and its sources.
pub(crate) fn split(words: &[OsString]) -> (&[OsString], Vec<Given>) {
    let is_mark = |word: &OsString| [":::", ":::+", "::::", "::::+"].iter().any(|mark| word == mark);
    let end = words.iter().position(is_mark).unwrap_or(words.len());
    let (command, rest) = words.split_at(end);
    let mut sources: Vec<Given> = Vec::new();
    for word in rest {
        let begin = || Given {
            words: Vec::new(),
            is_linked: word.as_bytes().ends_with(b"+"),
            is_files: word.len() > 4 || word == "::::",
        };
        match sources.last_mut().filter(|_| !is_mark(word)) {
            Some(source) => source.words.push(word.clone()),
            None => sources.push(begin()),
        }
    }
    (command, sources)
}

impl Given {
    /// A list of arguments for each source.
    fn lists(&self, end: u8) -> anyhow::Result<Vec<Row>> {
        if self.is_files {
            self.words.iter().map(|file| list(Path::new(file), end)).collect()
        } else {
            Ok(vec![bytes(&self.words)])
        }
    }
}

fn bytes(words: &[OsString]) -> Row {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl Input {
    /// Reads a single file, or standard input, as its arguments are needed. What is combined is read at once.
    pub(crate) fn open(given: &[Given], files: &[PathBuf], how: &Splitting) -> anyhow::Result<Self> {
        let end = if how.null { 0 } else { b'\n' };
        let single = |file: &Path| -> anyhow::Result<Rows> {
            let name = file.display().to_string();
            let named = move |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
            Ok(Box::new(records(open(file)?, end).map(move |record| record.map(|record| vec![record]).map_err(&named))))
        };
        let mut known = None;
        let rows: Rows = match (given, files) {
            ([], []) => single(Path::new(STDIN))?,
            ([], [file]) => single(file)?,
            ([Given { is_files: true, words, .. }], []) if words.len() == 1 => single(Path::new(&words[0]))?,
            _ => {
                let rows = combined(given, files, end)?;
                known = Some(rows.len().div_ceil(how.per_job));
                Box::new(rows.into_iter().map(Ok))
            }
        };
        let rows: Rows = match how.columns.clone() {
            Some(columns) => Box::new(rows.map(move |row| Ok(row?.iter().flat_map(|record| parts(record, &columns)).collect()))),
            None => rows,
        };
        Ok(Self { rows: if how.per_job == 1 { rows } else { Box::new(Joined { rows, per_job: how.per_job }) }, known })
    }
}

/// All combinations of the sources.
fn combined(given: &[Given], files: &[PathBuf], end: u8) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = vec![Vec::new()];
    for file in files {
        rows = product(&rows, &alone(list(file, end)?));
    }
    let mut sources = Vec::new();
    for source in given {
        let lists = source.lists(end)?;
        // As in GNU parallel, each file of a group is linked if the group is.
        sources.extend(lists.into_iter().map(|list| (source.is_linked, list)));
    }
    let mut sources = sources.into_iter().peekable();
    while let Some((_, list)) = sources.next() {
        let mut tuples = alone(list);
        while let Some((_, linked)) = sources.next_if(|(is_linked, _)| *is_linked) {
            link(&mut tuples, &linked);
        }
        rows = product(&rows, &tuples);
    }
    Ok(rows)
}

fn alone(list: Row) -> Vec<Row> {
    list.into_iter().map(|argument| vec![argument]).collect()
}

fn product(rows: &[Row], tuples: &[Row]) -> Vec<Row> {
    rows.iter().flat_map(|row| tuples.iter().map(move |tuple| [row.as_slice(), tuple].concat())).collect()
}

fn parts(record: &[u8], by: &[u8]) -> Row {
    let (mut parts, mut rest) = (Vec::new(), record);
    while let Some(at) = rest.windows(by.len()).position(|part| part == by) {
        parts.push(rest[..at].to_vec());
        rest = &rest[at + by.len()..];
    }
    parts.push(rest.to_vec());
    parts
}

impl Iterator for Input {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// The file name that stands for standard input.
const STDIN: &str = "-";

fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead + Send>> {
    if file == Path::new(STDIN) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    Ok(Box::new(BufReader::new(File::open(file).with_context(|| format!("can't read {}", file.display()))?)))
}

fn list(file: &Path, end: u8) -> anyhow::Result<Row> {
    let list: io::Result<Row> = records(open(file)?, end).collect();
    list.with_context(|| format!("can't read {}", file.display()))
}

fn records(from: impl BufRead, end: u8) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    from.split(end)
}

/// Adds an argument to each tuple. The shorter list ends both, as in GNU parallel.
fn link(tuples: &mut Vec<Row>, arguments: &[Vec<u8>]) {
    tuples.truncate(arguments.len());
    tuples.iter_mut().zip(arguments).for_each(|(tuple, argument)| tuple.push(argument.clone()));
}

/// Several rows as one.
struct Joined {
    rows: Rows,
    per_job: usize,
}

impl Iterator for Joined {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows: io::Result<Vec<Row>> = self.rows.by_ref().take(self.per_job).collect();
        match rows {
            Ok(rows) if rows.is_empty() => None,
            rows => Some(rows.map(|rows| rows.concat())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(words: &[&str], per_job: usize) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let (command, sources) = split(&words);
        assert_eq!(command, ["c"]);
        let how = Splitting { null: false, columns: Some(b", ".to_vec()), per_job };
        let rows = Input::open(&sources, &[], &how).unwrap();
        rows.map(|row| String::from_utf8(row.unwrap().join(&b' ')).unwrap()).collect()
    }

    #[test]
    fn sources_are_combined_or_linked() {
        assert_eq!(rows(&["c", ":::", "a", "b", ":::", "1", "2"], 1), ["a 1", "a 2", "b 1", "b 2"]);
        assert_eq!(rows(&["c", ":::", "a", "b", "c", ":::+", "1", "2"], 1), ["a 1", "b 2"]);
        assert_eq!(rows(&["c", ":::", "a", ":::+", "1", "2"], 1), ["a 1"]);
        assert_eq!(rows(&["c", ":::", "a", "b", "c"], 2), ["a b", "c"]);
        assert!(rows(&["c", ":::"], 1).is_empty());
        assert_eq!(rows(&["c", ":::", "a, b", ",", ", "], 1), ["a b", ",", " "]);
    }
}
