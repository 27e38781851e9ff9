//! What makes the command at home in a shell: completions and manual pages.

use crate::Cli;
use crate::exit::Exit;
use crate::record::Output;
use crate::signals::Signals;
use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print the completions of a shell to standard output.
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
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "multiproc", &mut text);
        print(&text)
    }
}

/// Print a manual page to standard output, in the form that man reads.
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
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text)?;
        print(&text)
    }
}

fn print(text: &[u8]) -> anyhow::Result<Exit> {
    let signals = Signals::watch()?;
    Output::new(&signals)?.write(text)?;
    Ok(Exit::Done)
}
