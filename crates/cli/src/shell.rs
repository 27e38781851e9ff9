//! What makes the command at home in a shell: completions and manual pages.

use crate::Cli;
use crate::complete;
use crate::exit::Exit;
use crate::record::Output;
use crate::signals::Signals;
use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

/// Print the completions of a shell.
///
/// Bash, zsh and fish complete the names of queues, too.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc completions bash > ~/.local/share/bash-completion/completions/multiproc
  multiproc completions zsh > ~/.zfunc/_multiproc
  multiproc completions fish > ~/.config/fish/completions/multiproc.fish")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        print(complete::script(self.shell, &mut Cli::command()).as_bytes())
    }
}

/// Print a manual page.
///
/// It has the form that man reads.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc man > ~/.local/share/man/man1/multiproc.1
  multiproc man put | man -l -                           # read the page of one command")]
pub(crate) struct Man {
    /// The command to tell of. Without it: all, each in short.
    command: Option<String>,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let mut all = Cli::command();
        // Gives each command its full name.
        all.build();
        let page = match self.command {
            None => all,
            Some(name) => {
                let command = all.find_subcommand(&name);
                let command = command.with_context(|| format!("there is no command {name}: \"multiproc help\" lists them"))?;
                command.clone().display_name(format!("multiproc-{name}"))
            }
        };
        print(&page_of(page)?)
    }
}

/// The page, with the examples as they are: a line each.
fn page_of(command: Command) -> std::io::Result<Vec<u8>> {
    let has_commands = command.has_subcommands();
    let man = clap_mangen::Man::new(command);
    let (mut text, mut extra) = (Vec::new(), Vec::new());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_extra_section(&mut extra)?;
    let extra = String::from_utf8_lossy(&extra).replacen(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n", 1);
    text.extend_from_slice(extra.as_bytes());
    Ok(text)
}

fn print(text: &[u8]) -> anyhow::Result<Exit> {
    let signals = Signals::watch()?;
    Output::new(&signals)?.write(text)?;
    Ok(Exit::Done)
}
