//! Where `run` has its arguments from: the command line, files or standard input, in combinations.

use anyhow::Context;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The arguments of each job in turn.
pub(crate) struct Input {
    rows: Box<dyn Iterator<Item = io::Result<Vec<Vec<u8>>>> + Send>,
}

/// One ":::" with its arguments. `is_linked`: it goes along with the source before it.
#[derive(Debug)]
pub(crate) struct Given {
    arguments: Vec<Vec<u8>>,
    is_linked: bool,
}

/// Splits what stands behind the options into the command and its sources.
pub(crate) fn split(words: &[OsString]) -> (&[OsString], Vec<Given>) {
    let is_mark = |word: &OsString| word == ":::" || word == ":::+";
    let end = words.iter().position(is_mark).unwrap_or(words.len());
    let (command, rest) = words.split_at(end);
    let mut sources: Vec<Given> = Vec::new();
    for word in rest {
        match sources.last_mut().filter(|_| !is_mark(word)) {
            Some(source) => source.arguments.push(word.as_bytes().to_vec()),
            None => sources.push(Given { arguments: Vec::new(), is_linked: word == ":::+" }),
        }
    }
    (command, sources)
}

type Row = Vec<Vec<u8>>;

impl Input {
    /// Reads a single file, or standard input, as its arguments are needed. What is combined is read at once.
    pub(crate) fn open(given: &[Given], files: &[PathBuf], null: bool, per_job: usize) -> anyhow::Result<Self> {
        let end = if null { 0 } else { b'\n' };
        let rows: Box<dyn Iterator<Item = io::Result<Row>> + Send> = match (given, files) {
            ([], []) => single(BufReader::new(io::stdin()), end),
            ([], [file]) => single(open(file)?, end),
            _ => {
                let mut rows: Vec<Row> = vec![Vec::new()];
                for file in files {
                    let arguments: io::Result<Vec<_>> = records(open(file)?, end).collect();
                    rows = product(&rows, &arguments.with_context(|| format!("can't read {}", file.display()))?);
                }
                let mut sources = given.iter().peekable();
                while let Some(source) = sources.next() {
                    let mut tuples: Vec<Row> = source.arguments.iter().map(|argument| vec![argument.clone()]).collect();
                    while let Some(linked) = sources.next_if(|source| source.is_linked) {
                        link(&mut tuples, &linked.arguments);
                    }
                    rows = rows.iter().flat_map(|row| tuples.iter().map(move |tuple| [row.as_slice(), tuple].concat())).collect();
                }
                Box::new(rows.into_iter().map(Ok))
            }
        };
        Ok(Self { rows: if per_job == 1 { rows } else { Box::new(Joined { rows, per_job }) } })
    }
}

impl Iterator for Input {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(file).with_context(|| format!("can't read {}", file.display()))?))
}

fn single(from: impl BufRead + Send + 'static, end: u8) -> Box<dyn Iterator<Item = io::Result<Row>> + Send> {
    Box::new(records(from, end).map(|record| record.map(|record| vec![record])))
}

fn records(from: impl BufRead, end: u8) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    from.split(end)
}

fn product(rows: &[Row], arguments: &[Vec<u8>]) -> Vec<Row> {
    rows.iter()
        .flat_map(|row| arguments.iter().map(move |argument| [row.as_slice(), std::slice::from_ref(argument)].concat()))
        .collect()
}

/// Adds an argument to each tuple. The shorter list begins again where it has ended, as in GNU parallel.
fn link(tuples: &mut Vec<Row>, arguments: &[Vec<u8>]) {
    let len = tuples.len().max(arguments.len());
    if tuples.is_empty() || arguments.is_empty() {
        return tuples.clear();
    }
    let linked = (0..len).map(|at| {
        let mut tuple = tuples[at % tuples.len()].clone();
        tuple.push(arguments[at % arguments.len()].clone());
        tuple
    });
    *tuples = linked.collect();
}

/// Several rows as one.
struct Joined {
    rows: Box<dyn Iterator<Item = io::Result<Row>> + Send>,
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
        let rows = Input::open(&sources, &[], false, per_job).unwrap();
        rows.map(|row| String::from_utf8(row.unwrap().join(&b' ')).unwrap()).collect()
    }

    #[test]
    fn sources_are_combined_or_linked() {
        assert_eq!(rows(&["c", ":::", "a", "b", ":::", "1", "2"], 1), ["a 1", "a 2", "b 1", "b 2"]);
        assert_eq!(rows(&["c", ":::", "a", "b", "c", ":::+", "1", "2"], 1), ["a 1", "b 2", "c 1"]);
        assert_eq!(rows(&["c", ":::", "a", "b", "c"], 2), ["a b", "c"]);
        assert!(rows(&["c", ":::"], 1).is_empty());
    }
}
