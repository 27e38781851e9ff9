//! `multiproc run`: runs a command for each argument or line of input. It makes a queue, puts, works and joins in one process.

mod input;

use crate::exit::{Exit, say};
use crate::work::joblog::{self, JobLog};
use crate::work::options::Options;
use crate::work::{Commands, Here, MessageSource, Plan, Template, Worker, item};
use anyhow::{Context, bail};
use clap::Args;
use input::{Input, Splitting};
use multiproc::JoinableQueue;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Run a command for each argument or line of input, several at once.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG)]
pub(crate) struct Run {
    #[command(flatten)]
    options: Options,
    /// Read the arguments from this file, a line each, instead of from standard input. Given twice: all combinations.
    #[arg(short = 'a', long = "arg-file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Input is separated by NUL bytes instead of line ends, as find -print0 writes it.
    #[arg(short = '0', long)]
    null: bool,
    /// Give each job so many arguments.
    #[arg(short = 'n', long, visible_short_alias = 'N', value_name = "N", default_value = "1", hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_args: u32,
    /// Split each record at this text, such as , or \t, into arguments: {1}, {2} and so on.
    #[arg(short = 'C', long, value_name = "TEXT", value_parser = separator)]
    colsep: Option<Separator>,
    /// Run a job that fails up to so many times in all.
    #[arg(long, visible_alias = "retries", value_name = "N", default_value = "1", hide_default_value = true,
          value_parser = clap::value_parser!(u16).range(1..))]
    max_deliveries: u16,
    /// Run only the jobs that the job log does not have.
    #[arg(long, requires = "joblog")]
    resume: bool,
    /// Run the jobs that failed according to the job log, and those that it does not have.
    #[arg(long, requires = "joblog")]
    resume_failed: bool,
    /// Of xargs: nothing runs for no input in any case.
    #[arg(short = 'r', long, hide = true)]
    no_run_if_empty: bool,
    /// Of GNU parallel and xargs: -n is the one that is here.
    #[arg(short = 'X', short_alias = 'm', long = "xargs", hide = true)]
    fills_lines: bool,
    /// Of GNU parallel: a message that is standard input is one of "multiproc work".
    #[arg(long, hide = true)]
    pipe: bool,
    /// The command with {} for the argument, which is appended without {}. After ":::" come arguments instead of input.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The examples of the short help, with which the long one begins.
macro_rules! examples {
    () => {
        "\
Examples:
  multiproc run -- gzip -9 ::: *.log
  find . -name '*.wav' -print0 | multiproc run -0 -j8 -- lame {} {.}.mp3
  multiproc run --keep-order -- echo {1}-{2} ::: a b ::: 1 2"
    };
}

const EXAMPLES: &str = examples!();

const LONG: &str = concat!(
    examples!(),
    "
  multiproc run --joblog log --resume-failed -- ./convert {} < list

Several \":::\" make all combinations; \":::+\" goes along with the source before it. {1} and {2} are their arguments, {} is all.
\"::::\" and \"::::+\" do the same with the lines of files; the file - is standard input.
Placeholders, signals and exit codes are those of \"multiproc work\": see its --help."
);

/// What parts a record.
#[derive(Clone, Debug)]
struct Separator(Vec<u8>);

/// GNU parallel takes a pattern here. A text that would mean something else as a pattern is refused.
fn separator(text: &str) -> Result<Separator, String> {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        plain.push(match (letter, letters.clone().next()) {
            ('\\', Some('t')) => letters.next().map_or(letter, |_| '\t'),
            ('\\', Some(escaped)) if escaped.is_ascii_punctuation() => letters.next().unwrap_or(letter),
            ('\\' | '[' | ']' | '(' | ')' | '+' | '*' | '?' | '^' | '$', _) => {
                return Err("it is a text, not a pattern: use , or \\t, or make the input uniform first, as tr -s does".into());
            }
            (other, _) => other,
        });
    }
    if plain.is_empty() { Err("it is empty".into()) } else { Ok(Separator(plain.into())) }
}

/// Arguments that are read ahead.
const READ_AHEAD: u32 = 256;

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let (command, sources) = input::split(&self.command);
        if self.fills_lines {
            bail!("-X and -m are not here: -n N gives each job N arguments");
        }
        if self.pipe {
            bail!(
                "--pipe is not here: \"multiproc put\" makes messages of lines, and \"multiproc work\" gives each one to standard input"
            );
        }
        let mut template = Template::new(command, self.options.replacement.as_deref());
        if command.is_empty() {
            bail!("no command to run; lines that are commands themselves go through a shell: -- sh -c {{}}");
        }
        if !template.has_placeholder() {
            template.append_arguments();
        }
        let columns = self.colsep.map(|Separator(text)| text);
        let input = Input::open(&sources, &self.files, &Splitting { null: self.null, columns, per_job: self.max_args as usize })?;
        if sources.is_empty() && self.files.is_empty() && io::stdin().is_terminal() {
            say!("the arguments are read from the terminal, a line each, until Ctrl-D");
        }
        if self.options.dry_run {
            return print_all(&template, input);
        }
        let resumes = self.resume || self.resume_failed;
        let done = match self.options.joblog.as_deref().filter(|_| resumes) {
            Some(path) => joblog::read_done(path, self.resume_failed)?,
            None => HashSet::new(),
        };
        let joblog = self.options.joblog.as_deref().map(|path| JobLog::open(path, !resumes)).transpose()?;
        let plan = Plan {
            template,
            has_input: false,
            source: MessageSource::Input,
            options: self.options,
            joblog,
            limit: Some(self.max_deliveries),
            until_empty: false,
            total: input.known.map(|jobs| jobs.saturating_sub(done.len()) as u64),
        };
        let queue = JoinableQueue::bounded(READ_AHEAD).context("can't make a queue in memory")?;
        let failure = feed(queue.clone(), input, done)?;
        let exit = Worker::new(Here::own(&queue), plan)?.work()?;
        match failure.try_recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(exit),
        }
    }
}

/// Puts the arguments into the queue, in a thread of its own that never reads far ahead. What it fails with comes out of the channel.
fn feed(queue: JoinableQueue<Vec<u8>>, input: Input, done: HashSet<u64>) -> anyhow::Result<Receiver<anyhow::Error>> {
    let (failure, failures) = channel();
    let feed = move || {
        let put = |(number, arguments): (u64, io::Result<Vec<Vec<u8>>>)| -> anyhow::Result<()> {
            let arguments = arguments.context("can't read the arguments")?;
            if done.contains(&number) {
                return Ok(());
            }
            let message = item::encode(number, &arguments).context("an argument is longer than 4 GiB")?;
            // Nothing but this thread ends the queue.
            queue.put(message).map_err(|error| anyhow::anyhow!("can't keep an argument: {error}"))
        };
        if let Err(error) = (1..).zip(input).try_for_each(put) {
            // Nobody listens any more if the work has ended.
            let _ = failure.send(error);
        }
        queue.shutdown();
    };
    thread::Builder::new().name("input".into()).spawn(feed).context("can't start the thread that reads the arguments")?;
    Ok(failures)
}

fn print_all(template: &Template, input: Input) -> anyhow::Result<Exit> {
    let mut commands = Commands::new(template);
    for arguments in input {
        let arguments = arguments.context("can't read the arguments")?;
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        if commands.print(&arguments).context("can't write to standard output")?.is_break() {
            return Ok(Exit::Closed);
        }
    }
    Ok(Exit::Done)
}
